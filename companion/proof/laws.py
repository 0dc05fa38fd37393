"""Random joint laws of named variables: tables of any dependence, and Gaussians.

A law satisfies the independences that a step assumes, and no other: tables are peaked,
flat or deterministic (one variable a function of two others), with 2 to 6 states.
Variables that no one declared discrete are also drawn jointly Gaussian.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from companion.proof import formula as f

CELLS = 5000
ROUNDS = 200


@dataclass
class Table:
    """A joint probability table, one axis for each variable."""

    names: tuple
    joint: np.ndarray

    def marginal(self, names):
        """The table of some variables, axes in the order given."""
        axes = [self.names.index(n) for n in names]
        others = tuple(k for k in range(self.joint.ndim) if k not in axes)
        kept = sorted(axes)
        table = self.joint.sum(others)
        return np.transpose(table, [kept.index(a) for a in axes])

    def states(self, name):
        return self.joint.shape[self.names.index(name)]

    def entropy(self, names):
        p = self.marginal(sorted(names))
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    def impose(self, a, b, c):
        """The nearest law in which a and b are independent given c."""
        sets = [sorted(s) for s in (a, b, c)]
        order = tuple(itertools.chain(*sets))
        rest = tuple(n for n in self.names if n not in order)
        joint = self.marginal(order + rest)
        sizes = [int(np.prod([self.states(n) for n in s])) for s in sets]
        whole = joint.reshape(*sizes, -1)
        abc = whole.sum(3)
        ac, bc, just_c = abc.sum(1), abc.sum(0), abc.sum((0, 1))
        product = ac[:, None] * bc[None] / np.where(just_c > 0, just_c, 1)
        share = np.where(abc > 0, product / np.where(abc > 0, abc, 1), 0)[..., None]
        flat = np.where((abc == 0) & (product > 0), product, 0)[..., None]
        new = whole * share + flat / whole.shape[3]
        return Table(order + rest, new.reshape(joint.shape))


@dataclass
class Gaussian:
    """Zero-mean jointly Gaussian variables, by their covariance."""

    names: tuple
    covariance: np.ndarray

    def block(self, rows, cols):
        at = [[self.names.index(n) for n in part] for part in (rows, cols)]
        return self.covariance[np.ix_(*at)]

    def entropy(self, names):
        names = sorted(names)
        log_det = np.linalg.slogdet(self.block(names, names))[1]
        return float((len(names) * np.log(2 * np.pi * np.e) + log_det) / 2)

    def impose(self, a, b, c):
        """The law with a and b independent given c, the rest as before given them."""
        a, b, c = (sorted(s) for s in (a, b, c))
        core = [*a, *b, *c]
        rest = [n for n in self.names if n not in core]
        old = self.block(core, core)
        new = old.copy()
        cross = np.zeros((len(a), len(b)))
        if c:
            cross = self.block(a, c) @ np.linalg.solve(
                self.block(c, c), self.block(c, b)
            )
        new[: len(a), len(a) : len(a) + len(b)] = cross
        new[len(a) : len(a) + len(b), : len(a)] = cross.T
        slope = np.linalg.solve(old, self.block(core, rest)).T
        left = self.block(rest, rest) - slope @ old @ slope.T + slope @ new @ slope.T
        return Gaussian(
            (*core, *rest), np.block([[new, new @ slope.T], [slope @ new, left]])
        )


def laws_for(formulas, premises, rng, count):
    """`count` random laws of the variables of the formulas, () if there are none."""
    leaves = [e for e in f.subtrees(formulas) if hasattr(e, "variables")]
    names = {n for e in leaves for n in e.variables}
    independences = [p.sets for p in premises if hasattr(p, "sets")]
    names |= {n for sets in independences for part in sets for n in part}
    if not leaves:
        return ()
    counts = {n: getattr(n, "states", None) for n in sorted(names)}
    discrete = any(getattr(n, "is_discrete", False) for n in names)
    tables_only = discrete or any(getattr(e, "tables_only", False) for e in leaves)
    draws = [table] if tables_only else [table, gaussian]
    return [satisfying(draws[k % len(draws)], counts, independences, rng)
            for k in range(count)]  # fmt: skip


def satisfying(draw, counts, independences, rng):
    """A random law with the independences, by imposing them in turn."""
    for _ in range(20):
        law = draw(counts, rng)
        for _ in range(ROUNDS):
            if all(dependence(law, *sets) < 1e-13 for sets in independences):
                return law
            for sets in independences:
                law = law.impose(*sets)
    raise ValueError("no law was found with these independences")


def dependence(law, a, b, c):
    """I[a; b | c]."""
    halves = law.entropy(a | c) + law.entropy(b | c)
    return halves - law.entropy(a | b | c) - (law.entropy(c) if c else 0.0)


def table(counts, rng):
    """A random table; variables with a count of one name have equally many states."""
    most = int(CELLS ** (1 / len(counts)))
    if most < 2:
        raise ValueError(f"{len(counts)} variables are too many for a table")
    sizes = {}
    for name, count in counts.items():
        sizes.setdefault(count or name, int(rng.integers(2, min(most, 6) + 1)))
    names = tuple(counts)
    shape = [sizes[counts[n] or n] for n in names]
    sharpness = rng.choice((0.02, 0.2, 1.0, 5.0))
    joint = rng.dirichlet(np.full(int(np.prod(shape)), sharpness)).reshape(shape)
    for k in range(len(names)):
        if len(names) > 1 and rng.random() < 0.25:
            joint = determined(joint, k, rng)
    joint = joint + rng.choice((0, 0, 1e-9, 1e-3)) / joint.size
    return Table(names, joint / joint.sum())


def determined(joint, k, rng):
    """The table in which variable k is the sum of two others, modulo its states."""
    others = [j for j in range(joint.ndim) if j != k]
    one, two = rng.choice(others, 2)
    grids = np.meshgrid(*map(np.arange, joint.shape), indexing="ij")
    hit = (grids[one] + (grids[two] if two != one else 0)) % joint.shape[k] == grids[k]
    return joint.sum(k, keepdims=True) * hit


def gaussian(counts, rng):
    size = len(counts)
    root = rng.standard_normal((size, size)) * 10.0 ** rng.uniform(-2, 2, (size, 1))
    least = 10.0 ** rng.uniform(-3, 0)
    scale = np.abs(np.diag(root @ root.T))
    return Gaussian(tuple(counts), root @ root.T + np.diag(least * scale))

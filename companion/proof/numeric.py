"""Two sides compared on random instances: counterexamples, and a second opinion.

Nothing here uses the normal forms. A proved relation must also hold here.
"""

from __future__ import annotations

import mpmath
import numpy as np

from companion.proof import arrays, laws
from companion.proof import formula as f
from companion.proof.instances import DECADES, EDGES, PLAIN, Instance, value

WORLDS = 6 * (PLAIN,) + 4 * (DECADES,) + 3 * (EDGES,)
ATTEMPTS = 8  # to find values, of given sizes, for which the premises hold
LAWS = 12  # joint laws that entropies are compared on


def compare(lhs, rhs, relation, rng, premises=(), trials=None):
    """First random instance in which the relation fails, or None.

    `relation` is "=", "<=", ">=" for scalars, "=" or ">=" (Loewner order) for matrices.
    Residuals are relative to the size of the two sides. An instance in which a premise
    does not hold says nothing; if none is found for most choices of sizes, ValueError.
    """
    names, tried, held = counted_sizes(lhs, rhs), 0, 0
    with mpmath.workdps(arrays.DIGITS):
        for start in worlds(lhs, rhs, rng, premises, trials):
            tried += 1
            for name in names:
                start.size(name)
            world = satisfying(start, premises, rng)
            if world is None:
                continue
            held += 1
            left, right = value(lhs, world), value(rhs, world)
            gap, size = np.atleast_1d(left - right), _size(left) + _size(right)
            slack = 1e-8 * (1 + size)
            if world.exact:
                slack = mpmath.mpf(10) ** -40 * size + mpmath.mpf(10) ** -60
            if _fails(gap, relation, slack):
                return f"{describe(world)}: {short(left)} against {short(right)}"
    if 2 * held < tried:
        raise ValueError("the premises hardly ever hold")
    return None


def worlds(lhs, rhs, rng, premises, trials):
    """Instances to compare in, with joint laws if there are entropies."""
    drawn = laws.laws_for((lhs, rhs), premises, rng, trials or LAWS)
    regimes = (PLAIN,) * len(drawn) if drawn else WORLDS[:trials]
    for k, regime in enumerate(regimes):
        world = fresh(rng, regime)
        world.law = drawn[k] if drawn else None
        yield world


def fresh(rng, regime, sizes=()):
    return Instance(np.random.default_rng(rng.integers(2**63)), regime, dict(sizes))


def satisfying(world, premises, rng):
    """A world of these sizes in which the premises hold, or None if none is found."""
    for _ in range(ATTEMPTS):
        if all(satisfied(p, world) for p in premises):
            return world
        world = fresh(rng, world.regime, world.sizes)
    return None


def satisfied(premise, world):
    """Does a premise hold in this instance?"""
    if not hasattr(premise, "holds"):
        return True
    return premise.holds(world)


def _size(x):
    return np.abs(np.atleast_1d(x)).max()


def counted_sizes(*formulas):
    """Sizes that also stand as scalars, as in D log 2: to be drawn first, as sizes."""
    found = list(f.subtrees(formulas))
    scalars = {s.name for e in found for s in _symbols(e)}
    sizes = {part for e in found for n in e.shape for part in str(n).split("+")}
    return sorted(scalars & sizes)


def _symbols(e):
    return e.value.free_symbols if isinstance(e, f.Const) else ()


def _fails(gap, relation, slack):
    if not all(mpmath.isfinite(x) for x in gap.flat):
        return True
    if relation == "=":
        return np.abs(gap).max() > slack
    gap = gap if relation == ">=" else -gap
    return not arrays.is_psd(gap, slack) if gap.ndim == 2 else gap[0] < -slack


def describe(world):
    sizes = ", ".join(f"{k}={v}" for k, v in sorted(world.sizes.items()))
    return f"at {sizes}" if sizes else "at a random point"


def short(x):
    return (
        f"{float(x):.4g}"
        if np.ndim(x) == 0
        else np.array2string(np.asarray(x, dtype=float), precision=3)
    )

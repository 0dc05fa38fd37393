r"""Entropies and mutual informations of named variables, for every joint distribution.

All quantities are integer combinations of joint entropies H(S), so identities are
linear algebra and hold for every distribution, of discrete variables or with densities.
What a model adds is conditional independence, `Independent`; what makes an inequality
is that some quantities are never negative, `Informations`: an information always, an
entropy if its variable is declared `discrete`. Random instances (`laws`) are joint laws
with these independences and no others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from companion.proof import laws
from companion.proof.certificates import Certificate
from companion.proof.formula import SCALAR, Add, Formula, Leaf, as_formula
from companion.proof.rules import Premise, prepared

ROOT = r"\W"


class Discrete(str):
    """The name of a variable with finitely many values; `states` names their number."""

    states: str | None = None
    is_discrete = True


def discrete(name, states=None):
    """Declare a variable to have finitely many values, `states` many."""
    variable = Discrete(name)
    variable.states = states
    return variable


def is_discrete(name):
    return isinstance(name, Discrete)


@dataclass(frozen=True, eq=False)
class Entropy(Formula):
    """Joint entropy H(S) of a set of variables, each named by its LaTeX."""

    variables: frozenset
    shape = SCALAR

    def lower(self, algebra):
        """Its atom in an `Algebra` (0 for no variable)."""
        if not self.variables:
            return sympy.Integer(0)
        return algebra.atom("entropy", tuple(sorted(map(str, self.variables))))

    def evaluate(self, world):
        """Its value under the joint law of the world."""
        return world.law.entropy(self.variables) if self.variables else 0.0


def _names(part):
    return frozenset([part] if isinstance(part, str) else part)


def _tex(part):
    return ",".join([part] if isinstance(part, str) else part)


class Combination(Leaf):
    """A combination of joint entropies; `nonnegative` says whether it is that."""

    def lower(self, algebra):
        return algebra.scalar(self.definition)

    def evaluate(self, world):
        total = 0.0
        for term in self.definition.terms:
            sign, inner = (
                (1, term) if isinstance(term, Entropy) else (-1, term.factors[1])
            )
            total += sign * inner.evaluate(world)
        return total


@dataclass(frozen=True, eq=False)
class Conditional(Combination):
    """H[part | given], never negative if what it is about is discrete."""

    part: str | tuple
    given: str | tuple = ()

    @property
    def variables(self):
        return _names(self.part) | _names(self.given)

    @property
    def definition(self):
        return Entropy(self.variables) - Entropy(_names(self.given))

    @property
    def tex(self):
        bar = rf"\given {_tex(self.given)}" if self.given else ""
        return rf"\Hof{{{_tex(self.part)}{bar}}}"

    @property
    def nonnegative(self):
        return all(map(is_discrete, _names(self.part) - _names(self.given)))


@dataclass(frozen=True, eq=False)
class Information(Combination):
    """I[one; other | given], never negative.

    A variable on both sides has to be discrete: I[Y; Y] is then the entropy of Y, and
    infinite otherwise.
    """

    one: str | tuple
    other: str | tuple
    given: str | tuple = ()

    nonnegative = True

    def __post_init__(self):
        shared = _names(self.one) & _names(self.other) - _names(self.given)
        if not all(map(is_discrete, shared)):
            raise ValueError(f"{set(shared)} on both sides of an information: declare"
                             " it discrete")  # fmt: skip

    @property
    def variables(self):
        return _names(self.one) | _names(self.other) | _names(self.given)

    @property
    def definition(self):
        a, b, c = map(_names, (self.one, self.other, self.given))
        return Entropy(a | c) + Entropy(b | c) - Entropy(a | b | c) - Entropy(c)

    @property
    def tex(self):
        bar = rf"\given {_tex(self.given)}" if self.given else ""
        return rf"\MIof{{{_tex(self.one)};{_tex(self.other)}{bar}}}"


def H(part, given=()):
    """H[part | given] as a formula."""
    return Conditional(part, given)


def MI(one, other, given=()):
    """I[one; other | given] as a formula."""
    return Information(one, other, given)


@dataclass(frozen=True, eq=False)
class LogStates(Leaf):
    """log of the number of values of the variables declared with this `count`."""

    count: str
    tables_only = True

    @property
    def tex(self):
        return rf"\log {self.count}"

    def lower(self, algebra):
        return algebra.atom("log states", (self.count,))

    def evaluate(self, world):
        counted = (n for n in world.law.names if getattr(n, "states", 0) == self.count)
        return float(np.log(world.law.states(next(counted))))


@dataclass(frozen=True, eq=False)
class Average(Leaf):
    """Mean over `given` of what `kind` makes of the distribution p(part | given).

    "entropy": its entropy; "gain": its divergence KL from p(part); "loss": that of
    p(part) from it; "excess": its divergence from the uniform one over its states. The
    value on a random law is computed from this definition.
    """

    part: str
    given: str | None
    kind: str

    def __post_init__(self):
        if self.kind not in ("entropy", "gain", "loss", "excess"):
            raise ValueError(f"no such average: {self.kind!r}")
        if self.kind == "excess" and getattr(self.part, "states", None) is None:
            raise ValueError(f"the number of values of {self.part} is not declared")

    @property
    def variables(self):
        return frozenset([self.part, *([self.given] if self.given else [])])

    @property
    def tables_only(self):
        return self.kind == "excess"

    @property
    def tex(self):
        bar = rf"\given {self.given}" if self.given else ""
        return rf"\operatorname{{{self.kind}}}[{self.part}{bar}]"

    @property
    def nonnegative(self):
        """A divergence is; an entropy of what has finitely many values is."""
        return self.kind != "entropy" or is_discrete(self.part)

    def lower(self, algebra):
        """In joint entropies, because H(S) is the mean of -log p(S)."""
        given = frozenset([self.given] if self.given else [])
        entropy = Entropy(self.variables) - Entropy(given)
        if self.kind == "entropy":
            return algebra.scalar(entropy)
        if self.kind == "gain":
            return algebra.scalar(Entropy(frozenset([self.part])) - entropy)
        if self.kind == "excess":
            return algebra.scalar(LogStates(self.part.states) - entropy)
        raise TypeError("this divergence is not made of entropies")

    def evaluate(self, world):
        if isinstance(world.law, laws.Gaussian):
            return self._of_gaussians(world.law)
        joint = world.law.marginal([self.part, *([self.given] if self.given else [])])
        joint = joint.reshape(joint.shape[0], -1)
        given = joint.sum(0)
        p = joint[:, given > 0] / given[given > 0]
        own = joint.sum(1, keepdims=True) + 0 * p
        terms = {
            "entropy": lambda: -plogq(p, p),
            "gain": lambda: plogq(p, p) - plogq(p, own),
            "loss": lambda: plogq(own, own) - plogq(own, p),
            "excess": lambda: plogq(p, p) + p * np.log(len(p)),
        }
        return float(terms[self.kind]().sum(0) @ given[given > 0])

    def _of_gaussians(self, law):
        """The closed forms, by the share of variance that is left."""
        variance = law.block([self.part], [self.part]).item()
        left = 1.0
        if self.given:
            cross = law.block([self.part], [self.given]).item()
            left -= cross**2 / variance / law.block([self.given], [self.given]).item()
        closed = {
            "entropy": np.log(2 * np.pi * np.e * variance * left) / 2,
            "gain": -np.log(left) / 2,
            "loss": (2 / left - 2 + np.log(left)) / 2,
        }
        return float(closed[self.kind])


def plogq(p, q):
    """p log q, 0 where p is 0 and -inf where only q is."""
    with np.errstate(divide="ignore"):
        return np.where(p > 0, p * np.log(np.where(p > 0, q, 1)), 0)


class Independent(Premise):
    """one and other are independent given `given`: I[one; other | given] = 0."""

    def __init__(self, one, other, given=()):
        self.sets = a, b, c = _names(one), _names(other), _names(given)
        if a & b or a & c or b & c:
            raise ValueError("the three sets of variables overlap")
        self.parts = ()

    def apply(self, algebra):
        a, b, c = self.sets
        value = Add((Entropy(a | c), Entropy(b | c), -Entropy(c)))
        return algebra.scalar(Entropy(a | b | c)), algebra.scalar(value)


@dataclass(frozen=True, eq=False)
class Informations(Certificate):
    """larger - smaller is a sum of nonnegative multiples of what is never negative.

    The terms are informations, entropies of discrete variables, and averages of
    divergences; the weights numbers, or formulas of positive symbols.
    """

    terms: tuple  # of (weight, term)

    def prove(self, smaller, larger, rules=()):
        algebra = prepared(rules)
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        for weight, term in self.terms:
            if type(term) not in (Information, Conditional, Average):
                raise TypeError(f"{type(term).__name__} is no information")
            value = algebra.scalar(as_formula(weight))
            if not (term.nonnegative and algebra.nonnegative(value)):
                return False
            gap -= value * algebra.scalar(term)
        return algebra.is_zero(gap)

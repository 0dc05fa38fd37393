"""Entropies and mutual informations of named variables, for every joint distribution.

All quantities are integer combinations of joint entropies H(S), so identities are
linear algebra and hold for every distribution. What a model adds is conditional
independence, `Independent`; what makes an inequality is that conditional mutual
information is never negative, `Informations`. Random instances are discrete models in
which every variable depends on the parameter `ROOT` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from companion.proof.algebra import Algebra
from companion.proof.formula import SCALAR, Add, Formula, Let
from companion.proof.rules import Rule
from companion.proof.scalars import is_zero, substitute

ROOT = r"\W"
STATES = 3


@dataclass(frozen=True, eq=False)
class Entropy(Formula):
    """Joint entropy H(S) of a set of variables, each named by its LaTeX."""

    variables: frozenset
    shape = SCALAR

    def lower(self, algebra):
        """Its atom in an `Algebra` (0 for no variable)."""
        if not self.variables:
            return sympy.Integer(0)
        return algebra.atom("entropy", tuple(sorted(self.variables)))

    def evaluate(self, world):
        """Its value in a random model where all variables hang on ROOT alone."""
        weights, conditionals = world.memo(ROOT, random_prior)
        joint = weights
        for name in sorted(self.variables - {ROOT}):
            if name not in conditionals:
                conditionals[name] = world.rng.dirichlet(np.ones(STATES), len(weights))
            table = conditionals[name]
            joint = joint[..., None] * table.reshape(
                len(weights), *([1] * (joint.ndim - 1)), STATES
            )
        if ROOT not in self.variables:
            joint = joint.sum(0)
        joint = joint[joint > 0]
        return float(-(joint * np.log(joint)).sum())


def random_prior(rng):
    """Probabilities of ROOT's states, and room for the others' tables."""
    return rng.dirichlet(np.ones(STATES)), {}


def _names(part):
    return frozenset([part] if isinstance(part, str) else part)


def _tex(part):
    return ",".join([part] if isinstance(part, str) else part)


def H(part, given=()):
    """H[part | given] as a formula."""
    part_names, given_names = _names(part), _names(given)
    bar = rf"\given {_tex(given)}" if given else ""
    total, condition = Entropy(part_names | given_names), Entropy(given_names)
    return Let(rf"\Hof{{{_tex(part)}{bar}}}", total - condition)


def MI(one, other, given=()):
    """I[one; other | given] as a formula."""
    a, b, c = _names(one), _names(other), _names(given)
    bar = rf"\given {_tex(given)}" if given else ""
    definition = Entropy(a | c) + Entropy(b | c) - Entropy(a | b | c) - Entropy(c)
    return Let(rf"\MIof{{{_tex(one)};{_tex(other)}{bar}}}", definition)


class Independent(Rule):
    """one and other are independent given `given`: I[one; other | given] = 0."""

    def __init__(self, one, other, given):
        self.sets = _names(one), _names(other), _names(given)

    def apply(self, algebra):
        a, b, c = self.sets
        value = Add((Entropy(a | c), Entropy(b | c), -Entropy(c)))
        return algebra.scalar(Entropy(a | b | c)), algebra.scalar(value)


@dataclass(frozen=True, eq=False)
class Informations:
    """larger - smaller is a sum of mutual informations, none of them negative."""

    terms: tuple  # of (positive rational, MI formula)

    def prove(self, smaller, larger, rules=()):
        algebra = Algebra()
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        for weight, information in self.terms:
            gap -= sympy.Rational(weight) * algebra.scalar(information)
        gap = substitute(gap, [r.apply(algebra) for r in rules])
        return all(c > 0 for c, _ in self.terms) and is_zero(gap)

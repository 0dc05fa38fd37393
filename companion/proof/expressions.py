"""Deciding equations between sympy expressions: they exist, and they are equal."""

from __future__ import annotations

import sympy

from companion.proof.points import UNDEFINED, undefined_part
from companion.proof.rules import Invertible, Positive
from companion.proof.scalars import is_zero


def check_conditions(by):
    """Raise unless every reason is a condition on a sympy expression."""
    for reason in by:
        if type(reason) not in (Positive, Invertible):
            raise TypeError(f"{type(reason).__name__} is no premise of an expression")


def pairs_of(lhs, rhs, relation):
    """The entries of both sides, (left, right) each."""
    if relation != "=":
        raise ValueError("sympy steps are equalities")
    lhs, rhs = sympy.sympify(lhs), sympy.sympify(rhs)
    if isinstance(lhs, sympy.MatrixBase) != isinstance(rhs, sympy.MatrixBase):
        raise TypeError("a matrix is compared with a number")
    if getattr(lhs, "shape", ()) != getattr(rhs, "shape", ()):
        raise TypeError("the two sides differ in shape")
    matrix = isinstance(lhs, sympy.MatrixBase)
    pairs = list(zip(lhs, rhs, strict=True)) if matrix else [(lhs, rhs)]
    for e in (x for pair in pairs for x in pair):
        if not isinstance(e, sympy.Expr) or e.is_commutative is not True:
            raise TypeError(f"{e} is no number")
    names = {}
    for s in sympy.Tuple(lhs, rhs).free_symbols:
        if names.setdefault(s.name, s) != s:
            raise ValueError(f"{s} stands for two things")
    return pairs


def known(conditions):
    """(positive, nonzero) expressions of the conditions."""
    groups = {Positive: [], Invertible: []}
    for c in conditions:
        groups[type(c)].append(c.expression)
    return groups[Positive], groups[Invertible]


def identical(pairs, conditions=()):
    """Do both sides exist for all values of the symbols, and are they equal?"""
    positive, nonzero = known(conditions)
    for e in (x for pair in pairs for x in pair):
        part = undefined_part(e, positive, nonzero)
        if part is not None:
            raise ValueError(f"{part} {UNDEFINED}")
    return all(is_zero(left - right, positive) for left, right in pairs)

"""Derivatives of formulas by a scalar, and what follows from their sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import sympy

from companion.proof import formula as f
from companion.proof.certificates import SCALAR_CERTIFICATES, Certificate
from companion.proof.rules import prepared


def derivative(e, t):
    """d e / d t for a scalar symbol t (a `Const`), by the rules of matrix calculus.

    d X^-1 = -X^-1 dX X^-1 and d log det X = tr(X^-1 dX).
    """
    match e:
        case f.Const():
            return f.Const(sympy.diff(e.value, t.value))
        case f.Sym() | f.Eye() | f.Zero():
            return zero_like(e)
        case f.Let():
            return derivative(e.definition, t)
        case f.Add():
            return f.Add(tuple(derivative(x, t) for x in e.terms))
        case f.Mul():
            return _product_rule(e.factors, t)
        case f.Transpose():
            return f.Transpose(derivative(e.arg, t))
        case f.Inv():
            return -(e * derivative(e.arg, t) * e)
        case f.Tr():
            return f.Tr(derivative(e.arg, t))
        case f.Log() if isinstance(e.arg, f.Det):
            inner = e.arg.arg
            return f.Tr(f.Inv(inner) * derivative(inner, t))
        case f.Log():
            return derivative(e.arg, t) / e.arg
    raise TypeError(f"no derivative for {type(e).__name__}")


def zero_like(e):
    if e.shape == f.SCALAR:
        return f.Const(sympy.Integer(0))
    return f.Zero(*e.shape)


def _product_rule(factors, t):
    terms = []
    for i, factor in enumerate(factors):
        slope = derivative(factor, t)
        if not _vanishes(slope):
            terms.append(f.Mul((*factors[:i], slope, *factors[i + 1 :])))
    return f.Add(tuple(terms)) if terms else zero_like(f.Mul(tuple(factors)))


def _vanishes(e):
    match e:
        case f.Zero():
            return True
        case f.Const():
            return e.value == 0
        case f.Add():
            return all(map(_vanishes, e.terms))
        case f.Mul():
            return any(map(_vanishes, e.factors))
        case f.Transpose() | f.Tr():
            return _vanishes(e.arg)
    return False


@dataclass(frozen=True, eq=False)
class Concave(Certificate):
    """Mean(g(X)) <= g(Mean X) because g is concave where X can be (Jensen).

    `function` maps a matrix formula to g of it; `second(x, v)` is a certificate that
    the second derivative of g at x along v is at most 0, for any x of the kind of the
    random matrix, which has to be psd or pd (convex sets), and any symmetric v. That g
    exists at all of them is proved too.
    """

    function: Callable
    variable: f.Sym  # the random matrix, with its mean
    second: Callable

    def prove(self, smaller, larger, rules=()):
        variable = self.variable
        if variable.mean is None or variable.kind not in ("psd", "pd"):
            raise ValueError(f"{variable.tex} must be random, and psd or pd")
        g = self.function(variable)
        algebra = prepared(rules)
        sides = f.Mean(g), exchanged(g, variable, variable.mean)
        for side, expected in zip((smaller, larger), sides, strict=True):
            gap = algebra.scalar(side) - algebra.scalar(expected)
            if not algebra.is_zero(gap):
                return False
        return self._bends_down(g)

    def _bends_down(self, g):
        """Is the second derivative of g at most 0, for every x and v, without rules?"""
        size = self.variable.shape[0]
        x = f.Sym("X", size, size, self.variable.kind)
        v = f.Sym("V", size, size, "symmetric")
        t = f.Const(sympy.Dummy("t", real=True))
        at_x = exchanged(g, self.variable, x)
        if any(map(f.is_random, f.subtrees(at_x))):
            raise ValueError("g depends on something else that is random")
        prepared(()).scalar(at_x)  # exists for every x
        line = exchanged(g, self.variable, x + t * v)
        bend = at_zero_of(derivative(derivative(line, t), t), t)
        certificate = self.second(x, v)
        if type(certificate) not in SCALAR_CERTIFICATES:
            raise TypeError(f"{type(certificate).__name__} is no certificate")
        return certificate.prove(bend, f.Const(sympy.Integer(0)))


def exchanged(e, old, new):
    """The formula with one symbol replaced, inside definitions too."""
    if e is old:
        return new
    match e:
        case f.Sym() | f.Const() | f.Eye() | f.Zero():
            return e
        case f.Let():
            return exchanged(e.definition, old, new)
        case f.Add():
            return f.Add(tuple(exchanged(x, old, new) for x in e.terms))
        case f.Mul():
            return f.Mul(tuple(exchanged(x, old, new) for x in e.factors))
        case f.Transpose() | f.Inv() | f.Det() | f.Tr() | f.Log():
            return replace(e, arg=exchanged(e.arg, old, new))
    raise TypeError(f"{type(e).__name__} cannot stand in a function of a matrix")


def at_zero_of(e, t):
    """e with t = 0, where all its parts exist."""
    match e:
        case f.Const():
            return f.Const(e.value.subs(t.value, 0))
        case f.Add():
            return f.Add(tuple(at_zero_of(x, t) for x in e.terms))
        case f.Mul():
            factors = tuple(at_zero_of(x, t) for x in e.factors)
            return zero_like(e) if any(map(_vanishes, factors)) else f.Mul(factors)
        case f.Let():
            return at_zero_of(e.definition, t)
        case f.Transpose() | f.Inv() | f.Tr() | f.Log() | f.Det():
            return type(e)(at_zero_of(e.arg, t))
    return e

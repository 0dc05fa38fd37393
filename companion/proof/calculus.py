"""Derivatives of formulas by a scalar, and what follows from their sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy

from companion.proof import formula as f
from companion.proof.algebra import Algebra
from companion.proof.rules import apply_rules, manifestly_psd
from companion.proof.scalars import is_zero, substitute


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
class TraceProducts:
    """The gap is a sum of c tr(M N), c > 0, M and N manifestly psd.

    tr(M N) = tr(N^1/2 M N^1/2) >= 0.
    """

    parts: tuple  # of (c, M, N)

    def prove(self, smaller, larger, rules=()):
        algebra = Algebra()
        pairs = apply_rules(rules, algebra)
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        for weight, m, n in self.parts:
            if not (weight > 0 and manifestly_psd(m) and manifestly_psd(n)):
                return False
            gap -= sympy.Rational(weight) * algebra.scalar(f.Tr(m * n))
        return is_zero(substitute(gap, pairs))


@dataclass(frozen=True, eq=False)
class Concave:
    """Mean(g(X)) <= g(Mean X) because g is concave (Jensen).

    `function` maps a matrix formula to g of it; `second(x, v)` is a certificate that
    the second derivative of g at x along v is at most 0, for a generic psd x and
    symmetric v. Both sides are compared with g as written.
    """

    function: Callable
    variable: f.Sym  # the random matrix, with its mean
    second: Callable

    def prove(self, smaller, larger, rules=()):
        size = self.variable.shape[0]
        x = f.Sym("X", size, size, "psd")
        v = f.Sym("V", size, size, "symmetric")
        t = f.scalar("t", positive=None, real=True)
        bend = derivative(derivative(self.function(x + t * v), t), t)
        at_zero = at_zero_of(bend, t)
        zero = f.Const(sympy.Integer(0))
        algebra = Algebra()
        mean = f.Mean(self.function(self.variable))
        matches = is_zero(algebra.scalar(smaller) - algebra.scalar(mean)) and is_zero(
            algebra.scalar(larger) - algebra.scalar(self.function(self.variable.mean))
        )
        return matches and self.second(x, v).prove(at_zero, zero)


def at_zero_of(e, t):
    """e with t = 0."""
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

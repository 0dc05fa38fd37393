"""Random points of sympy expressions, and where an expression exists.

A symbol is drawn from all that its assumptions allow: either sign where none is
promised, decades of scale, integers if it is one, complex numbers if it is not real. An
equation of expressions that need not exist at some point is refused.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import mpmath
import sympy
from sympy.core.function import AppliedUndef

from companion.proof.scalars import is_nonnegative, is_nonzero, is_positive

DIGITS = 300
REGIMES = 4 * ("plain", "decades", "edges")
EDGES = (0, 1, -1, 2, -2, 3, "1/2", "-1/2", "1/1000000", "-1/1000000", 10**6, -(10**6))
STEEP = (sympy.exp, sympy.tanh, sympy.sinh, sympy.cosh, sympy.erf)
TOTAL = (*STEEP, sympy.sin, sympy.cos, sympy.Abs, sympy.sign, sympy.atan, sympy.asinh)
OF_POSITIVE = (sympy.gamma, sympy.loggamma, sympy.digamma, sympy.polygamma)
SERIES = (sympy.Sum, sympy.Product)
UNDEFINED = "need not exist for all values of the symbols"


# --- numbers ------------------------------------------------------------------------


def to_number(x):
    """A rational, or a complex one, in mpmath's numbers."""
    if x.is_Rational:
        return mpmath.mpf(x.p) / x.q
    real, imaginary = x.as_real_imag()
    return mpmath.mpc(to_number(real), to_number(imaginary))


def draw_number(symbol, rng, regime, steep=False):
    """A rational number (complex if it may be) that the symbol's assumptions allow."""
    for _ in range(500):
        number = _candidate(symbol, rng, regime, steep)
        if allowed(symbol, number):
            return number
    raise ValueError(f"no number was found that {symbol} may be")


def allowed(symbol, number):
    return all(
        getattr(number, f"is_{name}") in (wanted, None)
        for name, wanted in symbol.assumptions0.items()
    )


def _candidate(symbol, rng, regime, steep):
    if symbol.is_real is None and rng.integers(2):
        parts = (_real(symbol, rng, regime, steep) for _ in range(2))
        return sympy.Add(next(parts), sympy.I * next(parts))
    return _real(symbol, rng, regime, steep)


def _real(symbol, rng, regime, steep):
    sign = int(rng.choice((-1, 1)))
    if regime == "edges" and rng.integers(2):
        return sympy.Rational(EDGES[rng.integers(len(EDGES))])
    if symbol.is_integer:
        top = 10 ** int(rng.integers(1, 3 if steep else 7))
        return sympy.Integer(sign * int(rng.integers(0, top)))
    if regime == "plain":
        size = rng.uniform(0.3, 2.5)
    else:
        size = 10 ** rng.uniform(-6, 1.5 if steep else 6)
    return sympy.Rational(sign * int(size * 10**9) or 1, 10**9)


# --- where an expression exists -----------------------------------------------------


def undefined_part(e, positive=(), nonzero=()):
    """A part of e that need not be a finite number, or None.

    `positive` and `nonzero` are expressions that premises make so.
    """
    for x in sympy.preorder_traversal(e):
        if not _exists(x, positive, nonzero):
            return x
    return None


def _exists(x, positive, nonzero):
    if isinstance(x, sympy.log):
        arg = x.args[0]
        arg = arg.function if isinstance(arg, sympy.Product) else arg
        return is_positive(arg, positive)
    if isinstance(x, sympy.Pow):
        return _power_exists(x.base, x.exp, positive, nonzero)
    if isinstance(x, TOTAL):
        return True
    if isinstance(x, OF_POSITIVE):
        return is_positive(x.args[-1], positive)
    if isinstance(x, sympy.factorial):
        return bool(x.args[0].is_integer and is_nonnegative(x.args[0], positive))
    if isinstance(x, sympy.Number):
        return bool(x.is_finite) and not x.is_Float
    if isinstance(x, sympy.Derivative):
        return not x.expr.has(sympy.Abs, sympy.sign)
    if isinstance(x, SERIES):
        return all(_ranges(*limit) for limit in x.limits)
    if isinstance(x, sympy.Subs):  # the chain rule leaves derivatives at a place
        return isinstance(x.expr, sympy.Derivative)
    generic = (AppliedUndef, sympy.Tuple)
    plain = (sympy.Symbol, sympy.Add, sympy.Mul, sympy.NumberSymbol, sympy.MatrixBase)
    units = (sympy.core.numbers.ImaginaryUnit, sympy.core.numbers.Integer)
    return isinstance(x, (*generic, *plain, *units))


def _ranges(index, first, last):
    """Does an index run over finitely many integers, with the sign it declares?"""
    whole = index.is_integer and first.is_integer and last.is_integer
    up = index.is_positive is not True or first.is_positive
    up = up and (index.is_nonnegative is not True or first.is_nonnegative)
    return bool(whole and first.is_finite and last.is_finite and up)


def _power_exists(base, exponent, positive, nonzero):
    if exponent.is_integer and exponent.is_nonnegative:
        return True
    if exponent.is_integer:
        return is_nonzero(base, positive, nonzero)
    if is_positive(base, positive):
        return True
    return bool(exponent.is_positive) and is_nonnegative(base, positive)


# --- instances ------------------------------------------------------------------------


def counterexample(lhs, rhs, rng, conditions=()):
    """Where two lists of expressions differ, in words, or None.

    `conditions` are functions of a point that say whether it counts.
    """
    both = sympy.Tuple(*lhs, *rhs)
    generic = bool(both.atoms(AppliedUndef))
    regimes = REGIMES if both.free_symbols else REGIMES[:1]
    regimes = regimes[:: 4 if generic else 1]
    values, held = None if generic else compiled(both), 0
    for regime in regimes:
        here = compiled(with_random_functions(both, rng)) if generic else values
        point = draw_point(here.symbols, rng, regime, both.has(*STEEP))
        if not all(c(point) for c in conditions):
            continue
        held += 1
        with mpmath.workdps(DIGITS):
            found = here(point)
            for left, right in zip(found[: len(lhs)], found[len(lhs) :], strict=True):
                if not agree(left, right):
                    return f"{short(left)} against {short(right)} at {places(point)}"
    if 4 * held < len(regimes):
        raise ValueError("the premises hardly ever hold")
    return None


def draw_point(symbols, rng, regime, steep=False):
    return {s: draw_number(s, rng, regime, steep) for s in symbols}


class compiled:
    """Numbers for a tuple of expressions at a point; ValueError if one is none."""

    def __init__(self, expressions):
        self.symbols = sorted(expressions.free_symbols, key=str)
        names = [sympy.Dummy() for _ in self.symbols]
        plain = expressions.xreplace(dict(zip(self.symbols, names, strict=True)))
        self.function = sympy.lambdify(names, list(plain), "mpmath", cse=True)

    def __call__(self, point):
        try:
            found = self.function(*(to_number(point[s]) for s in self.symbols))
        except ZeroDivisionError as error:
            raise ValueError(f"a division by zero at {places(point)}") from error
        found = [mpmath.mpmathify(x) for x in found]
        if not all(map(mpmath.isfinite, found)):
            raise ValueError(f"no finite number at {places(point)}")
        return found


def evaluated(e, point):
    """The number that an expression is at a point."""
    return compiled(sympy.Tuple(e))(point)[0]


def agree(left, right):
    size = abs(left) + abs(right)
    return abs(left - right) <= mpmath.mpf(10) ** -60 * size + mpmath.mpf(10) ** -120


def short(x):
    return mpmath.nstr(x, 5)


def places(point):
    return ", ".join(f"{s} = {float(sympy.re(v)):.4g}" for s, v in point.items()) or "-"


def with_random_functions(e, rng, sizes=()):
    """e with its undefined functions replaced by random ones, derivatives taken.

    `sizes` gives the numbers of terms of sums and products.
    """
    applied = {x.func: len(x.args) for x in e.atoms(AppliedUndef)}

    def number():
        return sympy.Rational(int(rng.integers(-999, 1000)), 1000)

    for function, arity in sorted(applied.items(), key=str):
        e = e.replace(function, random_function(arity, number))
    return e.subs({symbol: int(size) for symbol, size in dict(sizes).items()}).doit()


def random_function(arity, number):
    """The exponential of a random polynomial of degree three."""
    powers = [
        p for k in range(4) for p in combinations_with_replacement(range(arity), k)
    ]
    weights = [number() / (1 + len(p)) ** 2 for p in powers]

    def function(*x):
        monomials = (sympy.prod(x[i] for i in p) for p in powers)
        return sympy.exp(sympy.Add(*map(sympy.Mul, weights, monomials)))

    return function

"""Scalars: logarithms, roots, quotients, names of numbers, generic functions."""

import numpy as np
import pytest
import sympy
from attacks import Const, a, b, c, equation, holds, line, refused

from companion.evidence import generic
from companion.evidence.generic import (
    COUNT,
    INDEX,
    TERMS,
    EachEntry,
    density,
    slope,
    vanishes,
)
from companion.evidence.generic import S as s
from companion.evidence.generic import T as t
from companion.proof import (
    Calculus,
    Invertible,
    Let,
    Log,
    Positive,
    Spectral,
    Step,
    Sym,
    generator,
    scalar,
    steps,
)
from companion.proof.points import allowed, draw_number

x, y, w = sympy.symbols("x y w", real=True)
q, r = sympy.symbols("q r", positive=True)
n = sympy.Symbol("n", integer=True, positive=True)
z = sympy.Symbol("z")
log, sqrt, exp, Half = sympy.log, sympy.sqrt, sympy.exp, sympy.Rational(1, 2)

FALSE = {
    "log of a square": equation(log(w**2), 2 * log(w)),  # w = -1
    "log of a fourth power": equation(log(w**4), 2 * log(w**2)),  # w = 0
    "log of a product": equation(log(x * y), log(x) + log(y)),  # x = y = -1
    "log of a power": equation(log(x**n), n * log(x)),  # x = -1, n = 2
    "log of an inverse": equation(log(1 / w), -log(w)),
    "log of a complex exponential": equation(log(exp(z)), z),  # z = 2 pi i
    "log of 1 - q": equation(log((1 - q) ** 2), 2 * log(1 - q)),  # q = 2
    "log that need not exist": equation(log(1 - q), log(1 - q)),
    "root of a square": equation(sqrt(x**2), x),  # x = -1
    "root of a scaled square": equation(sqrt(q**2 * x**2), q * x),
    "root of a complex square": equation(sqrt(z**2), z),
    "root of an exponential": equation(sqrt(exp(z)), exp(z / 2)),  # z = 2 pi i
    "root of a product": equation((x * y) ** Half, sqrt(x) * sqrt(y)),
    "cube of a root": equation((x**2) ** (3 * Half), x**3),
    "quotient that may be 0 / 0": equation((w**2 - w) / w, w - 1),
    "removable pole": equation((w**2 - 1) / (w - 1), w + 1),  # w = 1
    "pole on both sides": equation((x - y) / (x - y) ** 2, 1 / (x - y)),
    "pole that is left unevaluated": equation(
        sympy.Mul(x, sympy.Pow(x, -1, evaluate=False), evaluate=False), sympy.Integer(1)
    ),
    "a symbol of the engine's": equation(exp(x), sympy.Symbol("u0", positive=True)),
    "one name, two symbols": equation(sympy.Symbol("a"), sympy.Symbol("a", real=True)),
    "1e-50": equation(x + sympy.Rational(1, 10**50), x),
    "1e-80 relative": equation(x * (1 + sympy.Rational(1, 10**80)), x),
    "rounded": equation(1.0 * x + 1e-30, 1.0 * x),
    "close numbers": equation(sympy.pi, sympy.Rational(245850922, 78256779)),
    "numbers": equation(2 * log(2), log(5)),
    "exponent of a product": equation(exp(x * y), exp(x) * exp(y)),
    "sigmoid": equation(1 / (1 + exp(-x)), exp(-x) / (1 + exp(-x))),
    "arctan and its inverse": equation(sympy.atan(x) + sympy.atan(1 / x), sympy.pi / 2),
    "for integers only": equation(sympy.sin(sympy.pi * x), sympy.Integer(0)),
    "gamma at a pole": equation(sympy.gamma(x + 1), x * sympy.gamma(x)),
    "conjugate": equation(z * sympy.conjugate(z), z**2),
    "cases": equation(sympy.Piecewise((1, x > 0), (0, True)), sympy.Integer(1)),
    "infinity": equation(sympy.oo, sympy.oo),
    "nan": equation(sympy.nan, sympy.nan),
    "a divergent sum": equation(
        sympy.Sum(1 / INDEX, (INDEX, 1, sympy.oo)),
        sympy.Sum(1 / INDEX, (INDEX, 1, sympy.oo)),
    ),
    "an index of another sign": equation(
        sympy.Sum(log(INDEX), (INDEX, -2, 2)), sympy.Sum(log(INDEX), (INDEX, -2, 2))
    ),
    "a place where there is a pole": equation(
        sympy.Subs(1 / q, q, 0), sympy.Subs(1 / q, q, 0)
    ),
    "shapes": equation(sympy.Matrix([[1, 2]]), sympy.Matrix([[1], [2]])),
    "a matrix and a number": equation(sympy.eye(2), sympy.Integer(1)),
    "an inequality": line(x**2, ">=", sympy.Integer(-1)),
    "a certificate": equation(x, x, Spectral(Let("M", Sym("A", "D", "D", "psd")))),
    "no number": equation(sympy.true, sympy.true),
    "a premise that never holds": equation(q, 2 * q, Positive(-q)),
    # In formulas
    "formula: log of a square": equation(Log(c * c), 2 * Log(c)),
    "formula: inverse of any number": equation(c / c, Const(sympy.Integer(1))),
    "formula: a - b": equation((a * a - b * b) / (a - b), a + b),
    "formula: hidden pole": equation(Const(1 / c.value) * c, Const(sympy.Integer(1))),
    "formula: hidden log": equation(
        Const(log(c.value**2)), 2 * Const(log(c.value))
    ),
    "formula: hidden root": equation(Const(sqrt(c.value**2)), c),
    "formula: complex": equation(Const(z), Const(z)),
    "formula: imaginary": equation(Const(sympy.I), Const(sympy.I)),
    "formula: infinite": equation(Const(sympy.oo), Const(sympy.oo)),
    "formula: rounded": lambda: equation(0.1 * a + 0.2 * a, 0.3 * a)(),
    "formula: a - b > 0, the other log": equation(
        Log((a - b) * (a - b)), 2 * Log(b - a), Positive(a - b)
    ),
    "formula: two assumptions": equation(
        Const(sympy.Symbol("k", real=True)) * scalar("k"), scalar("k") * scalar("k")
    ),
    "calculus: log of a square": lambda: Calculus(
        log((x - y) ** 2), "=", 2 * log(x - y), ""
    ),
}  # fmt: skip
TRUE = {
    "absolute value": equation(sqrt(x**2), sympy.Abs(x)),
    "positive numbers": equation(log(q**2 / r), 2 * log(q) - log(r)),
    "where it exists": equation((x**2 - y**2) / (x - y), x + y, Invertible(x - y)),
    "below one": equation(log((1 - q) ** 2), 2 * log(1 - q), Positive(1 - q)),
    "integers": equation((-1) ** n * (-1) ** n, sympy.Integer(1)),
    "hyperbolic": equation(sympy.tanh(x), (exp(2 * x) - 1) / (exp(2 * x) + 1)),
    "far apart": equation((x + 10**40) ** 2 - 10**80, x**2 + 2 * x * 10**40),
    "formula": equation(Log((a - b) * (a - b)), 2 * Log(a - b), Positive(a - b)),
}


@pytest.mark.parametrize("name", FALSE)
def test_what_does_not_hold_for_every_value_is_refused(name):
    assert refused(FALSE[name])


@pytest.mark.parametrize("name", TRUE)
def test_what_holds_is_proved(name):
    assert holds(TRUE[name])


f, g = sympy.Function("f"), sympy.Function("g")
p_i = sympy.Function("p", positive=True)(INDEX, s, t)
GENERIC = {
    "log of a square": (slope(log(f(s, t) ** 2)), 2 * slope(log(f(s, t)))),
    "where f vanishes": (slope(1 / f(s, t)), -sympy.diff(f(s, t), s) / f(s, t) ** 2),
    "derivatives at two places": (
        sympy.Derivative(f(2 * s), s) / 2,
        sympy.Derivative(f(3 * s), s) / 3,
    ),
    "chain rule without the inside": (
        sympy.Derivative(f(g(s)), s),
        sympy.Derivative(f(s), s) * sympy.Derivative(g(s), s),
    ),
    "a sum of one": (sympy.Sum(1, TERMS), sympy.Integer(1)),
    "N equal terms": (sympy.Sum(p_i, TERMS), COUNT * p_i),
    "square of a sum": (sympy.Sum(p_i, TERMS) ** 2, sympy.Sum(p_i**2, TERMS)),
    "another entry": (sympy.Derivative(f(s, t), s, t), sympy.Derivative(f(s, t), s, s)),
    "no derivative at 0": (slope(sympy.Abs(s)), sympy.sign(s)),
    "no logarithm at 0": (slope(log(s)), 1 / s),
}


@pytest.mark.parametrize("name", GENERIC)
def test_identities_of_generic_functions_that_are_none_are_refused(name):
    left, right = GENERIC[name]
    step = EachEntry(left, "=", right, "")
    assert not any(step.decide(generator(f"{k}")).ok for k in range(2))


def test_derivatives_at_two_places_are_two_unknowns():
    at = [sympy.Derivative(f(k * s), s).doit() / k for k in (2, 3)]
    assert vanishes(at[0] - at[0]) and not vanishes(at[0] - at[1])


def test_a_generic_identity_is_proved():
    p = density("p", s, t)
    row = sympy.diff(p, s) / p
    assert EachEntry(slope(log(p)), "=", row, "").decide(generator("g")).ok
    assert EachEntry(slope(log(p)), "=", -row, "").decide(generator("g")).refuted


@pytest.mark.parametrize(
    ("assumptions", "some"),
    [
        ({"real": True}, (lambda v: v < 0, lambda v: v == 0, lambda v: 0 < v < 1e-3)),
        ({"positive": True}, (lambda v: v > 1e3, lambda v: v < 1e-3)),
        ({"integer": True}, (lambda v: v < 0, lambda v: v == 0, lambda v: v > 1e3)),
        ({"nonnegative": True}, (lambda v: v == 0, lambda v: v > 1)),
        ({"negative": True}, (lambda v: v < -1e3,)),
        ({"even": True, "positive": True}, (lambda v: v > 2,)),
        ({}, (lambda v: sympy.im(v) != 0, lambda v: v.is_real and v < 0)),
    ],
)
def test_numbers_are_drawn_from_all_that_a_symbol_may_be(assumptions, some):
    rng, symbol = np.random.default_rng(0), sympy.Symbol("k", **assumptions)
    drawn = [
        draw_number(symbol, rng, regime)
        for regime in ("plain", "decades", "edges")
        for _ in range(60)
    ]
    assert all(allowed(symbol, v) for v in drawn)
    for has in some:
        assert any(has(v) for v in drawn)


def test_every_step_meets_instances(monkeypatch):
    """With all instances broken, nothing is accepted, however it is proved."""

    def broken(*args, **kwargs):
        raise RuntimeError("an instance")

    one_third = sympy.Rational(1, 3)
    lines = [
        Step(x + x, "=", 2 * x, ""),
        Calculus(one_third + one_third, "=", 2 * one_third, ""),
        Step(a + a, "=", 2 * a, ""),
        EachEntry(slope(f(s)), "=", slope(f(s)), ""),
    ]
    assert all(step.decide(generator("i")).ok for step in lines)
    for module, name in ((steps, "compare"), (steps, "nonzero"), (generic, "instance")):
        monkeypatch.setattr(module, name, broken)
    assert not any(step.decide(generator("i")).ok for step in lines)

"""The families one by one: A against sums and integrals over all labels, for T17.

A row is right if h(y) exp(z'T - A) is the family's usual probability, for every label,
and if gradient and Hessian of A are mean and covariance of T, computed from the labels.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import sympy

from companion.evidence.ch04.score_families import *
from companion.proof import Calculus

U, W = sympy.symbols("u w", positive=True)
MU = sympy.Symbol("mu", real=True)
S = sympy.Symbol("s", positive=True)
RATE = sympy.Symbol("r", positive=True)
TRIALS = 3
log, exp = sympy.log, sympy.exp


@dataclass(frozen=True)
class Row:
    """One family: how it is written, and its usual form."""

    words: str
    tex: str  # of the Hessian of A
    z: tuple  # symbols of the natural parameters
    A: sympy.Expr
    usual: tuple  # the natural parameters in the usual ones
    T: Callable  # label -> the list of sufficient statistics
    log_h: Callable
    log_p: Callable  # label -> log-probability, in the usual parameters
    labels: tuple  # all of them, or one symbol
    mean: Callable  # of a function of the label
    hessian: list


def bernoulli():
    (z,) = symbols(1)
    p = 1 / (1 + U), U / (1 + U)
    return Row(
        r"Bernoulli, $z$ the logit of $\pi$, $A=\log(1+e^z)$", r"\pi(1-\pi)",
        (z,), log(1 + exp(z)), (log(U),), lambda y: [y], lambda y: 0,
        lambda y: log(p[y]), (0, 1), over_classes(p),
        [[p[1] * p[0]]],
    )  # fmt: skip


def categorical():
    z = symbols(3)
    odds = 1, U, W
    p = sympy.Matrix([o / sum(odds) for o in odds])
    return Row(
        r"three classes with three logits, $A=\log\sum_ce^{z_c}$",
        r"\operatorname{diag}(p)-pp^\top",
        z, log(sum(map(exp, z))), tuple(map(log, odds)), one_hot(3), lambda y: 0,
        lambda y: log(p[y]), (0, 1, 2), over_classes(p),
        sympy.diag(*p) - p * p.T,
    )  # fmt: skip


def without_last():
    z = symbols(2)
    p = [o / (1 + U + W) for o in (U, W, 1)]
    top = sympy.Matrix(p[:2])
    return Row(
        r"with two, $z_c=\log\frac{p_c}{p_3}$, $A=\log(1+e^{z_1}+e^{z_2})$",
        r"\operatorname{diag}(p_1,p_2)-(p_1,p_2)^\top(p_1,p_2)",
        z, log(1 + exp(z[0]) + exp(z[1])), (log(U), log(W)),
        lambda y: one_hot(3)(y)[:2], lambda y: 0,
        lambda y: log(p[y]), (0, 1, 2), over_classes(p),
        sympy.diag(*top) - top * top.T,
    )  # fmt: skip


def binomial():
    (z,) = symbols(1)
    pi = U / (1 + U)
    counts = [sympy.Integer(sympy.binomial(TRIALS, y)) for y in range(TRIALS + 1)]
    p = [n * pi**y * (1 - pi) ** (TRIALS - y) for y, n in enumerate(counts)]
    return Row(
        rf"binomial, $n$ trials (here {TRIALS}), $z$ the logit, $A=n\log(1+e^z)$",
        r"n\pi(1-\pi)",
        (z,), TRIALS * log(1 + exp(z)), (log(U),), lambda y: [y],
        lambda y: log(counts[y]), lambda y: log(p[y]), tuple(range(TRIALS + 1)),
        over_classes(p), [[TRIALS * pi * (1 - pi)]],
    )  # fmt: skip


def poisson():
    (z,), y = symbols(1), sympy.Symbol("y", integer=True, nonnegative=True)
    return Row(
        r"Poisson, $z$ the log rate, $A=e^z$", "e^z",
        (z,), exp(z), (log(THETA),), lambda y: [y],
        lambda y: -sympy.loggamma(y + 1),
        lambda y: y * log(THETA) - THETA - sympy.loggamma(y + 1), (y,),
        lambda function: by_powers(function(y), y, count_moment),
        [[THETA]],
    )  # fmt: skip


@functools.cache
def waiting_moment(k):
    """E y^k of a waiting time with rate r, integrated."""
    y = sympy.Symbol("y", positive=True)
    return sympy.integrate(y**k * RATE * exp(-RATE * y), (y, 0, sympy.oo))


def exponential():
    (z,), y = symbols(1), sympy.Symbol("y", positive=True)
    return Row(
        r"exponential with rate $r$, $z=-r<0$, $A=-\log(-z)$", r"\tfrac1{z^2}",
        (z,), -log(-z), (-RATE,), lambda y: [y], lambda y: 0,
        lambda y: log(RATE) - RATE * y, (y,),
        lambda function: by_powers(function(y), y, waiting_moment),
        [[RATE**-2]],
    )  # fmt: skip


def normal_mean(function):
    y, u = sympy.symbols("y u", real=True)
    return by_powers(function(y).subs(y, MU + S * u), u, normal_moment)


def log_normal(y):
    return -((y - MU) ** 2) / (2 * S**2) - log(S) - log(2 * sympy.pi) / 2


def gaussian():
    (z,), y = symbols(1), sympy.Symbol("y", real=True)
    return Row(
        r"Gaussian with known $\sigma^2$, $z=\mu/\sigma^2$, "
        r"$A=\tfrac12\sigma^2z^2$", r"\sigma^2",
        (z,), S**2 * z**2 / 2, (MU / S**2,), lambda y: [y],
        lambda y: log_normal(y).subs(MU, 0), log_normal, (y,), normal_mean,
        [[S**2]],
    )  # fmt: skip


def mean_and_variance():
    z, y = symbols(2), sympy.Symbol("y", real=True)
    s2 = S**2
    off = 2 * MU * s2
    full = 2 * s2**2 + 4 * MU**2 * s2
    return Row(
        r"Gaussian, $z=(\tfrac\mu{s^2},-\tfrac1{2s^2})$, $T=(\y,\y^2)$, "
        r"$A=-\tfrac{z_1^2}{4z_2}-\tfrac12\log(-2z_2)$",
        r"\begin{pmatrix}s^2&2\mu s^2\\2\mu s^2&2s^4+4\mu^2s^2\end{pmatrix}",
        z, -z[0] ** 2 / (4 * z[1]) - log(-2 * z[1]) / 2, (MU / s2, -1 / (2 * s2)),
        lambda y: [y, y**2], lambda y: -log(2 * sympy.pi) / 2, log_normal, (y,),
        normal_mean, [[s2, off], [off, full]],
    )  # fmt: skip


ROWS = (
    bernoulli, categorical, without_last, binomial, poisson, exponential, gaussian,
    mean_and_variance,
)  # fmt: skip


def symbols(count):
    return sympy.symbols(f"z_1:{count + 1}", real=True)


def one_hot(classes):
    return lambda y: [sympy.Integer(int(y == c)) for c in range(classes)]


def both_ways(row):
    """Column: surplus of log p; gradient of A, E T; Hessian of A, Cov T."""
    at = dict(zip(row.z, row.usual, strict=True))
    size = len(row.z)

    def natural(y):
        return sum(map(sympy.Mul, row.z, row.T(y))) + row.log_h(y) - row.A

    surplus = [natural(y).subs(at) - row.log_p(y) for y in row.labels]
    slope = [row.A.diff(z).subs(at) for z in row.z]
    bend = [row.A.diff(a, b).subs(at) for a in row.z for b in row.z]
    mean = [row.mean(lambda y, i=i: row.T(y)[i]) for i in range(size)]
    cov = [
        row.mean(lambda y, i=i, j=j: row.T(y)[i] * row.T(y)[j]) - mean[i] * mean[j]
        for i in range(size)
        for j in range(size)
    ]
    return sympy.Matrix([*surplus, *slope, *mean, *bend, *cov]), mean


def family_step(make):
    row = make()
    found, mean = both_ways(row)
    flat = list(sympy.Matrix(row.hessian))
    return Calculus(
        found,
        "=",
        sympy.Matrix([0] * len(row.labels) + [*mean, *mean, *flat, *flat]),
        row.words,
        tex=(r"\nabla^2\!A=\implicitCov{T(\Y)}", row.tex),
    )

"""Gradient and Hessian of -log p in the mean over all labels, family by family: T15."""

import functools

import sympy

from companion.evidence.notation import HESSIAN, OUTER, ROW
from companion.proof import Calculus, Positive

__all__ = [
    "FAMILIES", "THETA", "by_powers", "count_moment", "family_line", "normal_moment",
    "over_classes", "uniform_lines",
]  # fmt: skip

THETA = sympy.Symbol("theta", positive=True)


def over_classes(probabilities):
    """Mean over labels 0, 1, ...: of a function of the label."""

    def mean(function):
        return sum(
            (p * function(c) for c, p in enumerate(probabilities)), sympy.Integer(0)
        )

    return mean


SHARE = sympy.Symbol("pi", positive=True)


def bernoulli():
    pi = SHARE
    p = (1 - pi, pi)
    return [pi], lambda y: sympy.log(p[y]), over_classes(p), [[1 / (pi * (1 - pi))]]


def categorical():
    z = sympy.symbols("z_1:4", real=True)
    total = sum(map(sympy.exp, z))
    p = sympy.Matrix([sympy.exp(c) / total for c in z])
    fim = sympy.diag(*p) - p * p.T
    return z, lambda y: z[y] - sympy.log(total), over_classes(p), fim


def by_powers(e, y, moment):
    """Mean of a polynomial in y, from the moments of y."""
    terms = sympy.Poly(sympy.expand(e), y).terms()
    return sum((c * moment(k) for (k,), c in terms), sympy.Integer(0))


@functools.cache
def count_moment(k):
    """E y^k of a count with rate theta, summed over all counts."""
    y = sympy.Symbol("y", integer=True, nonnegative=True)
    weight = THETA**y * sympy.exp(-THETA) / sympy.factorial(y)
    return sympy.simplify(sympy.summation(y**k * weight, (y, 0, sympy.oo)))


@functools.cache
def normal_moment(k):
    """E u^k of a standard Gaussian, integrated."""
    u = sympy.Symbol("u", real=True)
    weight = sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi)
    return sympy.integrate(u**k * weight, (u, -sympy.oo, sympy.oo))


def poisson():
    def log_p(y):
        return y * sympy.log(THETA) - THETA - sympy.loggamma(y + 1)

    def mean(function):
        y = sympy.Symbol("y", integer=True, nonnegative=True)
        return by_powers(function(y), y, count_moment)

    return [THETA], log_p, mean, [[1 / THETA]]


def gaussian():
    mu, r = sympy.symbols("mu r", real=True)

    def log_p(y):
        return -((y - mu) ** 2) * sympy.exp(-2 * r) / 2 - r

    def mean(function):
        y, u = sympy.symbols("y u", real=True)
        return by_powers(function(y).subs(y, mu + sympy.exp(r) * u), u, normal_moment)

    return [mu, r], log_p, mean, sympy.diag(sympy.exp(-2 * r), 2)


FAMILIES = {
    "bernoulli": (bernoulli, r"$\y\in\{0,1\}$ with probability $\pi$ of 1",
                  r"\tfrac1{\pi(1-\pi)}", 1 - SHARE),
    "categorical": (categorical, "three classes, softmax of three logits",
                    r"\operatorname{diag}(p)-pp^\top"),
    "poisson": (poisson, r"a count with rate $\theta$, an infinite sum",
                r"\tfrac1\theta"),
    "gaussian": (gaussian, r"$\mathcal N(\mu,e^{2r})$ with parameters $(\mu,r)$, "
                 "an integral", r"\operatorname{diag}(e^{-2r},2)"),
}  # fmt: skip
THREE = rf"\simpleE{{\y}}\big({ROW},\,{OUTER},\,{HESSIAN}\big)"


def moments(theta, log_p, mean):
    """E H' (D, 1), E H'^T H' (D, D) and E H'' (D, D) side by side, exactly."""
    size = len(theta)

    def row(y, i):
        return -sympy.diff(log_p(y), theta[i])

    def hessian(y, i, j):
        return -sympy.diff(log_p(y), theta[i], theta[j])

    return sympy.Matrix.hstack(
        sympy.Matrix(size, 1, lambda i, _: mean(lambda y: row(y, i))),
        sympy.Matrix(size, size, lambda i, j: mean(lambda y: row(y, i) * row(y, j))),
        sympy.Matrix(size, size, lambda i, j: mean(lambda y: hessian(y, i, j))),
    )


def family_line(name):
    """The step (E H', E H'^T H', E H'') = (0, F, F)."""
    family, words, tex, *positive = FAMILIES[name]
    theta, log_p, mean, fim = family()
    fim = sympy.Matrix(fim)
    zero = sympy.zeros(len(theta), 1)
    return Calculus(
        moments(theta, log_p, mean),
        "=",
        sympy.Matrix.hstack(zero, fim, fim),
        words,
        tuple(map(Positive, positive)),
        tex=(THREE, rf"(0,\,F,\,F),\quad F={tex}"),
    )


def uniform_lines(regular=-1):
    """A label uniform on (0, theta): the three means, and the covariance.

    `regular` is the sign of the last of the three.
    """

    def mean(function):
        y = sympy.Symbol("y", positive=True)
        return sympy.integrate(function(y) / THETA, (y, 0, THETA))

    found = moments([THETA], lambda y: -sympy.log(THETA), mean)
    end = (1 if regular == -1 else 0) / THETA, THETA**-2, regular * THETA**-2
    means = Calculus(
        found,
        "=",
        sympy.Matrix([end]),
        r"but a label uniform on $(0,\theta)$, whose support moves",
        tex=(
            THREE,
            r"\big(\tfrac1\theta,\,\tfrac1{\theta^2},\,-\tfrac1{\theta^2}\big)",
        ),
    )
    spread = Calculus(
        found[1] - found[0] ** 2,
        "=",
        sympy.Integer(0),
        r"for which $\HofJacobian{\y}=\tfrac1\theta$ is the same for every label",
        tex=(rf"\implicitCov{{{ROW}^\top}}", "0"),
    )
    return means, spread

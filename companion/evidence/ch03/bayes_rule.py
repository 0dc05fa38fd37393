"""Bayes' rule for Hessians and gradients, at one and the same theta: T11."""

import mpmath
import numpy as np
import sympy

from companion.evidence.ch03.logistic import gradient_at, logistic, posterior_at
from companion.evidence.draws import after, changed, gap
from companion.evidence.generic import EachEntry, S, T, density, entry, slope
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.evidence.notation import same
from companion.proof import Check, Mutant

DIGITS = 1e-8  # of derivatives by differences


@claim(
    "T11",
    HOLDS,
    "thm-hessian-bayes eq-laplace-bayes eq-laplace-posterior-precision",
)
def t11():
    likelihood, prior = density("L", S, T), density("q", S, T)
    posterior = likelihood * prior / sympy.Symbol("Z", positive=True)
    x, y, w, ridge = two_points()
    joint = sum(map(surprise, x * w, y)) + (w.T * ridge * w)[0] / 2
    pi = [1 / (1 + sympy.exp(-z)) for z in x * w]
    spread = sympy.diag(*(p * (1 - p) for p in pi))
    residual = sympy.Matrix(pi) - sympy.Matrix(y)
    steps = [
        EachEntry(
            -entry(sympy.log(posterior)),
            "=",
            -entry(sympy.log(likelihood)) - entry(sympy.log(prior)),
            r"Bayes' rule, $\pof{\w\given\D}=\pof{\D\given\w}\,\pof{\w}/\pof{\D}$, for "
            r"generic densities; $\pof{\D}$ is free of $\w$, and an entry $(i,j)$ of "
            r"a Hessian varies $\theta_i$ and $\theta_j$ only, whatever $D$",
            tex=(
                r"\HofHessian{\w\given\D}",
                r"\HofHessian{\D\given\w}+\HofHessian{\w}",
            ),
        ),
        EachEntry(
            -slope(sympy.log(posterior)),
            "=",
            -slope(sympy.log(likelihood)) - slope(sympy.log(prior)),
            "the same for gradients",
            tex=(
                r"\HofJacobian{\w\given\D}",
                r"\HofJacobian{\D\given\w}+\HofJacobian{\w}",
            ),
        ),
        same(
            sympy.hessian(joint, list(w)),
            x.T * spread * x + ridge,
            r"example: logistic regression, $D=2$, two points, prior $\mathcal N(0,"
            r"\Lambda_0^{-1})$, $\pi_i$ the probabilities of label 1: no label in it",
            tex=(
                r"\HofHessian{\w\given\D}",
                r"\textstyle\sum_i\pi_i(1-\pi_i)\,\x_i\x_i^\top+\Lambda_0",
            ),
        ),
        same(
            sympy.Matrix([joint.diff(v) for v in w]),
            x.T * residual + ridge * w,
            "its gradient",
            tex=(
                r"\HofJacobian{\w\given\D}^\top",
                r"\textstyle\sum_i(\pi_i-\y_i)\,\x_i+\Lambda_0\w",
            ),
        ),
    ]
    hessian, gradient = (
        "logistic regression: GaussianPosterior.precision equals the Hessian of "
        "-log(likelihood × prior) by differences",
        "logistic regression: residuals by the family, plus prior, equal its gradient",
    )
    return evidence(
        steps,
        Check(hessian, precision, joint_hessian, DIGITS),
        Check(gradient, gradient_at, joint_gradient, DIGITS),
        Mutant("prior forgotten", hessian, without_prior),
        Mutant("prior counted twice", hessian, prior_twice),
        Mutant(
            "mean for sum",
            hessian,
            lambda x, y, p, t: without_prior(x, y, p, t) / len(x) + p,
        ),
        Mutant("covariance for precision", hessian, after(precision, np.linalg.inv)),
        Mutant(
            r"likelihood at another $\theta$",
            hessian,
            changed(precision, 3, lambda t: t + 1),
        ),
        Mutant("sign", gradient, lambda *a: -gradient_at(*a)),
        Mutant("prior forgotten", gradient, changed(gradient_at, 2, np.zeros_like)),
    )


def two_points():
    """Inputs, labels, weights and prior precision of two labels, all symbols."""
    x = sympy.Matrix(2, 2, sympy.symbols("x_1 x_2 x_3 x_4", real=True))
    a, b, c = sympy.symbols("a b c", real=True)
    weights = sympy.Matrix(sympy.symbols("w_1 w_2", real=True))
    labels = sympy.symbols("y_1 y_2", real=True)
    return x, labels, weights, sympy.Matrix([[a, b], [b, c]])


def surprise(z, y):
    """-log p(y|z) of a label 0 or 1 with logit z."""
    return sympy.log(1 + sympy.exp(z)) - y * z


def precision(x, y, prior, theta):
    return posterior_at(x, y, prior, theta).precision.numpy()


def without_prior(x, y, prior, theta):
    return precision(x, y, prior, theta) - prior


def prior_twice(x, y, prior, theta):
    return precision(x, y, prior, theta) + prior


def minus_log_joint(x, y, prior):
    """-log of the product of all labels' probabilities and the prior's density."""

    def value(*w):
        product = mpmath.exp(-mpmath.fsum(
            w[i] * prior[i, j] * w[j] for i in range(len(w)) for j in range(len(w))
        ) / 2)  # fmt: skip
        for row, label in zip(x, y, strict=True):
            odds = mpmath.exp(mpmath.fdot(row.tolist(), w))
            product *= (odds if label else 1) / (1 + odds)
        return -mpmath.log(product)

    return value


def derivatives(problem, order):
    """All derivatives of an order of the joint at theta, by differences."""
    x, y, prior, theta = problem
    size = len(theta)
    value = minus_log_joint(x, y, prior)
    eye = np.eye(size, dtype=int)
    rows = eye if order == 1 else (eye[:, None] + eye).reshape(-1, size)
    with mpmath.workdps(40):
        found = [mpmath.diff(value, tuple(theta), tuple(map(int, n))) for n in rows]
    return np.reshape(np.array(found, dtype=float), (size,) * order)


def joint_hessian(function, rng):
    problems = [logistic(rng, size, 5) for size in (1, 2, 3)]
    return max(gap(function(*p), derivatives(p, 2)) for p in problems)


def joint_gradient(function, rng):
    problems = [logistic(rng, size, 5) for size in (1, 2, 3)]
    return max(gap(function(*p), derivatives(p, 1)) for p in problems)

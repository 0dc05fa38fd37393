"""The Gaussian approximation of a posterior at any point: T10.

g and P are the gradient and the Hessian of -log p(theta|D) at theta*.
"""

import functools

import numpy as np
import sympy
import torch
from scipy import optimize, stats
from scipy.special import expit

from companion.evidence.ch03.logistic import *
from companion.evidence.draws import *
from companion.evidence.generic import OnALine
from companion.evidence.generic import T as LINE
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, TWO_PI_E, C, P, at_least, same
from companion.proof import *
from fimlib.blr import BayesianLinearRegression
from fimlib.families import Gaussian

LOG_2_PI = Let(r"\log(2\pi)", Const(sympy.log(2 * sympy.pi)))


@claim(
    "T10",
    CONDITIONS,
    "thm-laplace eq-laplace-precision eq-laplace-gaussian eq-laplace-entropy",
)
def t10():
    """The dots are the Newton step, which vanishes only at a mode; the precision has to
    be positive definite, as GGN plus prior is everywhere and a network's Hessian need
    not be away from a mode.
    """
    entropy, quadratic, newton, shrinking, network = (
        "logistic regression: GaussianPosterior.entropy equals SciPy's entropy",
        "linear regression: from any θ*, what BayesianLinearRegression says",
        "logistic regression: the step, repeated, ends at SciPy's mode",
        "logistic regression: error of the entropy at the mode, times N, to N = 256",
        "tanh network: P is GGN + prior, where the Hessian + prior is indefinite",
    )
    return evidence(
        steps_of_t10(),
        Check(entropy, logistic_entropy, gaussian_entropy, TIGHT),
        Check(quadratic, approximation, linear_regression, TIGHT),
        Check(newton, approximation, repeated_step, TIGHT),
        Check(shrinking, logistic_entropy, true_entropy, 1),
        Check(network, network_precision, ggn_and_prior, TIGHT),
        Mutant("dropped ½", entropy, doubled(logistic_entropy)),
        Mutant("precision for covariance", entropy, entropy_of_precision),
        Mutant(
            "prior forgotten", entropy, changed(logistic_entropy, 2, lambda p: 1e-3 * p)
        ),
        Mutant("plus the Newton step", quadratic, stepped(-1)),
        Mutant("Newton step left out", quadratic, stepped(0)),
        Mutant("precision for covariance", quadratic, inverted),
        Mutant("plus the Newton step", newton, stepped(-1)),
        Mutant("Newton step left out", newton, stepped(0)),
        Mutant("dropped ½", shrinking, doubled(logistic_entropy)),
        Mutant(
            "expanded away from the mode",
            shrinking,
            changed(logistic_entropy, 3, lambda t: t + 1),
        ),
        Mutant("the Hessian for GGN", network, observed_precision),
        Mutant(
            "prior forgotten", network, changed(network_precision, 3, lambda p: 1e-9)
        ),
    )


def steps_of_t10():
    w, star, g = (Sym(name, "D") for name in (r"\w", r"\wstar", "g"))
    mu = Sym(r"\mu", "D")
    mean = Let("m", star - P.I * g)
    move, rest = w - star, w - mean
    taylor = g.T * move + HALF * move.T * P * move
    left_over = HALF * g.T * P.I * g
    square = HALF * rest.T * P * rest - left_over
    entropy = HALF * scalar("D") * (1 + LOG_2_PI) - HALF * logdet(P)
    h, kappa = sympy.Function("h")(LINE), sympy.Symbol("kappa", real=True)
    path = h + (1 - LINE) * h.diff(LINE) + (1 - LINE) ** 2 * kappa / 2
    jac, lam, ridge = Sym("J", C, "D"), Sym(r"\Lambda", C, C, "psd"), scalar(r"\lambda")
    return [
        OnALine(
            sympy.Derivative(path, LINE),
            "=",
            (1 - LINE) * (h.diff(LINE, 2) - kappa),
            r"for $h(t)=-\log\pof{\wstar+t(\w-\wstar)\given\D}$ and $\kappa=h''(0)$; "
            r"over $[0,1]$ this is Taylor's formula: $h(1)=h(0)+h'(0)+\tfrac12h''(0)$ "
            r"plus $\int_0^1(1-t)\,(h''(t)-h''(0))\,dt$",
            tex=(
                r"\tfrac{d}{dt}\big[h+(1-t)\,h'+\tfrac12(1-t)^2\kappa\big]",
                r"(1-t)\,(h''-\kappa)",
            ),
        ),
        same(
            taylor,
            square,
            r"$h'(0)+\tfrac12h''(0)$ without the remainder; completing the square "
            r"with $m=\wstar-P^{-1}g$",
        ),
        same(
            g + P * (mean - star),
            Zero("D", 1),
            r"$m$ is where the slope of the quadratic vanishes: one Newton step",
        ),
        same(
            star - P.I * (P * (star - mu)),
            mu,
            r"a quadratic $\tfrac12(\w-\mu)^\top P(\w-\mu)$ has $g=P(\wstar-\mu)$: its "
            r"mean is found from every $\wstar$",
        ),
        same(
            Let(r"\Hof{\W\given\D}", HALF * logdet(TWO_PI_E * P.I)),
            entropy,
            r"{prf:ref}`thm-blr-entropy` with covariance $P^{-1}$; $\log e=1$",
        ),
        at_least(
            jac.T * lam * jac + ridge * I_D,
            ridge * I_D,
            r"GGN plus prior is positive definite for all $\Lambda\succeq0$, "
            r"$\lambda>0$",
            Congruences(((jac, lam),)),
        ),
    ]


@worst
def gaussian_entropy(function, rng):
    for size in SIZES:
        x, y, prior, theta = logistic(rng, size, 7)
        p = expit(x @ theta)
        precision = prior + (x.T * (p * (1 - p))) @ x
        truth = stats.multivariate_normal(cov=np.linalg.inv(precision)).entropy()
        yield gap(function(x, y, prior, theta), truth)


@worst
def linear_regression(function, rng):
    for size in SIZES:
        x, _, prior, theta = logistic(rng, size, 7)
        y, noise = rng.standard_normal(7), float(np.exp(rng.uniform(-2, 2)))
        blr = BayesianLinearRegression(np.zeros(size), np.linalg.inv(prior), noise)
        exact = blr.condition(x, y)
        mean, covariance = function(x, y, prior, theta, Gaussian(noise))
        yield gap(mean, exact.mean)
        yield gap(covariance, exact.covariance)


@worst
def repeated_step(function, rng):
    for size in (1, 2, 3):
        x, y, prior, _ = logistic(rng, size, 11)
        theta = np.zeros(size)
        for _ in range(12):
            theta, _ = function(x, y, prior, theta)

        def slope(w, x=x, y=y, prior=prior):
            return x.T @ (expit(x @ w) - y) + prior @ w

        mode = optimize.root(slope, np.zeros(size), tol=1e-13).x
        yield gap(theta, mode)


def true_entropy(function, rng):
    """N |entropy - true one|, one weight, labels of a repeating pattern."""
    return max(
        len(y) * abs(function(x, y, prior, mode) - truth)
        for x, y, prior, mode, truth in integrated()
    )


@functools.cache
def integrated():
    """Problems with one weight, their modes and their true entropies."""
    found = []
    for count in (4, 16, 64, 256):
        x = np.resize([1.0, -0.5, 1.5, 0.8], count)[:, None]
        y = np.resize([1.0, 0.0, 1.0, 0.0], count)
        prior = np.array([[0.5]])

        def slope(w, x=x[:, 0], y=y, prior=prior[0, 0]):
            return x @ (expit(x * w) - y) + prior * w

        mode = np.array([optimize.brentq(slope, -9, 9, xtol=1e-14)])
        found.append((x, y, prior, mode, quadrature(x, y, prior, mode)))
    return found


def ggn_and_prior(function, rng):
    net, x, y = tanh_network(rng)
    outputs, theta = outputs_of(net, x)
    jac = torch.autograd.functional.jacobian(outputs, theta)
    p = torch.softmax(outputs(theta), -1).detach()
    lam = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    prior = 0.1
    ggn = torch.einsum("mcd,mce,mef->df", jac, lam, jac)
    truth = ggn + prior * torch.eye(len(theta)).double()
    if not torch.linalg.eigvalsh(observed_precision(net, x, y, prior))[0] < -0.1:
        raise ArithmeticError("the Hessian is positive definite here")
    return gap(function(net, x, y, prior), truth)


def stepped(sign):
    """The approximation with its Newton step times `sign`."""

    def wrong(x, y, prior, theta, family=None):
        mean, covariance = approximation(x, y, prior, theta, family)
        return theta + sign * (mean - theta), covariance

    return wrong


def inverted(*problem):
    mean, covariance = approximation(*problem)
    return mean, np.linalg.inv(covariance)


def entropy_of_precision(x, y, prior, theta):
    precision = posterior_at(x, y, prior, theta).precision.numpy()
    return 0.5 * (len(theta) * np.log(2 * np.pi * np.e) + log_det(precision))

"""Active learning and active sampling: where their objectives coincide: T19.

IG(y) is the drop in the entropy of the parameters when the label is y; EIG its mean.
"""

import functools

import mpmath
import numpy as np
import sympy
import torch
from scipy.stats import norm

from companion.evidence.ch05.coin import *
from companion.evidence.ch05.glm import linear_models
from companion.evidence.draws import *
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.evidence.notation import I_D, LAMBDA, C, P
from companion.evidence.notation import JAC as J
from companion.proof import *
from fimlib import fisher, information, predictive
from fimlib.blr import BayesianLinearRegression
from fimlib.families import Bernoulli
from fimlib.posterior import GaussianPosterior

IG = r"\mathrm{IG}(\x,\y)"
GRID = 20_001


@claim("T19", CORRECTED, "thm-family-sampling eq-family-sampling eq-family-coin")
def t19():
    """The approximations coincide, the objectives do not: a label moves the posterior
    to where the curvature is another.
    """
    curvature = Let(r"\HofHessian{\y}", J.T * LAMBDA * J)
    after = P + curvature
    small = HALF * logdet(Eye(C) + LAMBDA * J * P.I * J.T)
    one, zero, mean, laplace = coin_values()
    steps = [
        *chain(
            Let(IG, HALF * logdet(after) - HALF * logdet(P)),
            eq(
                HALF * logdet(I_D + curvature * P.I),
                r"Gaussian entropies at one $\wstar$, "
                r"$P_{\y}=P+\HofHessian{\y\given\x,\wstar}$",
                Multiplicative(after, P.I),
            ),
            eq(
                small,
                r"{prf:ref}`thm-family-glm`: $\HofHessian{\y}=J^\top\Lambda J$, "
                r"$\Lambda=\nabla^2\!A$, has no label in it; {prf:ref}`thm-sylvester`",
                Sylvester(J.T, LAMBDA * J * P.I),
            ),
        ),
        Calculus(
            coin_gain(1),
            "=",
            one,
            "exactly: a label with logit $z$, prior $\\pof{z}\\propto e^z/(1+e^z)^3$ "
            f"(mean label $\\tfrac13$), shows 1: {digits(one)}",
            tex=(r"\mathrm{IG}(1)", r"\log3-\tfrac56"),
        ),
        Calculus(
            coin_gain(0),
            "=",
            zero,
            f"the same shows 0: {digits(zero)}",
            tex=(r"\mathrm{IG}(0)", r"\log\tfrac32-\tfrac13"),
        ),
        Calculus(
            coin_eig(),
            "=",
            mean,
            rf"EIG, $\Hof{{\Y}}-\simpleE{{z}}\Hof{{\Y\given z}}$, their mean: "
            f"{digits(mean)}",
            tex=(
                r"\tfrac13\mathrm{IG}(1)+\tfrac23\mathrm{IG}(0)",
                r"\log3-\tfrac23\log2-\tfrac12",
            ),
        ),
        Calculus(
            coin_laplace(),
            "=",
            laplace,
            r"and the Gaussian approximation at the mode, $P=\tfrac23$, "
            rf"$F=\tfrac29$, for both: {digits(laplace)}",
            tex=(r"\tfrac12\log\big(1+FP^{-1}\big)", r"\tfrac12\log\tfrac43"),
        ),
        Calculus(
            left_over(lambda k, n: (1 / k - 1 / n) / 2),
            "=",
            (1 - 1 / SHARE**2) / 12,
            r"after $n$ labels, a share $\pi=k/n$ of them 1, by digamma's series. "
            r"So the gain is $\tfrac12(\tfrac1k-\tfrac1n)+O(n^{-2})$, which is "
            r"$\tfrac{1-\pi}\pi$ times the approximation $\tfrac12\log(1+\tfrac1n)$, "
            "*however many labels*",
            tex=(
                r"\lim_{n\to\infty}n^2\big(\mathrm{IG}(1)"
                r"-\tfrac12(\tfrac1k-\tfrac1n)\big)",
                r"\tfrac1{12}\big(1-\pi^{-2}\big)",
            ),
        ),
    ]
    glm, exact, expected, linear, coin = (
        "linear models, five families: ig at every label is the D × D form of F",
        "logistic regression: exact gains by quadrature, .25503 and .19488",
        "predictive.bald is the mean of the exact gains, .21607; eig is .29011",
        "linear regression: ig is the exact drop in entropy, whatever the label",
        "labels of one coin: exact gains by quadrature; line 7 up to 0.7 / n²",
    )
    return evidence(
        steps,
        Check(glm, information.ig, all_labels, TIGHT),
        Check(exact, exact_gains, by_mpmath, TIGHT),
        Check(expected, expected_gains, mean_of_gains, 1e-4),
        Check(linear, information.ig, entropy_drop, TIGHT),
        Check(coin, coin_gains, coin_gap, TIGHT),
        Mutant("the approximation for the exact value", 4, laplace),
        Mutant("equal weights", 5, (one + zero) / 2),
        Mutant("no remainder", 7, sympy.Integer(0)),
        Mutant("dropped ½", glm, doubled(information.ig)),
        Mutant("prior forgotten", glm, flat_prior),
        Mutant("the labels exchanged", exact, lambda *a: exact_gains(*a)[::-1]),
        Mutant("the approximation for the exact value", exact, laplace_gains),
        Mutant(
            "approximation and exact mean exchanged",
            expected,
            reordered(expected_gains, 1, 0, 2, 3),
        ),
        Mutant("prior forgotten", linear, flat_prior),
        Mutant("the labels exchanged", coin, lambda *a: coin_gains(*a)[::-1]),
        Mutant("of the probability, not the logit", coin, probability_gains),
    )


def digits(e):
    return f"${float(e):.5f}$"


def exact_gains(mean, spread):
    """Exact IG of the labels 0 and 1 (2,), in nats, theta ~ N(mean, spread^2), x = 1.

    By the trapezoidal rule, which for such integrands is as exact as the numbers are.
    """
    theta = mean + spread * np.linspace(-12, 12, GRID)
    prior = norm.pdf(theta, mean, spread)
    log_p = -np.logaddexp(0, [theta, -theta])  # labels 0, 1
    step = theta[1] - theta[0]
    joint = np.exp(log_p) * prior
    share = joint.sum(1, keepdims=True) * step
    log_after = log_p + norm.logpdf(theta, mean, spread) - np.log(share)
    after = -(joint / share * log_after).sum(1) * step
    return norm(mean, spread).entropy() - after


@functools.cache
def by_quadrature(mean, spread):
    """p(y) and IG(y) of both labels by mpmath."""
    points = [mean + spread * k for k in range(-12, 13, 3)]

    def density(t):
        return mpmath.npdf(t, mean, spread)

    def integral(f):
        return mpmath.quad(f, points)

    found = []
    with mpmath.workdps(16):
        before = mpmath.log(2 * mpmath.pi * mpmath.e * spread**2) / 2
        for sign in (1, -1):

            def likelihood(t, sign=sign):
                return 1 / (1 + mpmath.exp(sign * t))

            share = integral(lambda t: likelihood(t) * density(t))

            def surprise(t, share=share, likelihood=likelihood):
                p = likelihood(t) * density(t) / share
                return -p * mpmath.log(p)

            found.append((float(share), float(before - integral(surprise))))
    return np.array(found).T


def by_mpmath(function, rng):
    """Three priors, the printed digits of the first among them."""
    worst = 0.0
    for mean, spread in ((1, 2), (0, 1), (2, 0.5)):
        worst = max(worst, gap(function(mean, spread), by_quadrature(mean, spread)[1]))
    # A difference of half a unit of the last printed digit counts as none.
    off = np.abs(function(1, 2) - [0.25503, 0.19488]).max()
    return worst if off < 5.1e-6 else off


def laplace_parts(mean, spread):
    """Observed information (2, 1, 1) of both labels at the mean, roots, posterior."""
    layer = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.constant_(layer.weight, mean)
    x = torch.ones(2, 1, dtype=torch.float64)
    labels = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    observed = fisher.observed_information(layer, x, labels, Bernoulli())
    roots = fisher.network_roots(layer, x[:1], Bernoulli())
    return observed, roots, GaussianPosterior.isotropic(1, spread**-2)


def laplace_gains(mean, spread):
    """IG of the labels 0 and 1 (2,) in the Gaussian approximation at theta* = mean."""
    observed, _, post = laplace_parts(mean, spread)
    return information.ig(observed, post).numpy()


def expected_gains(mean, spread):
    """BALD on quantiles of the prior, `eig`, and `ig` of both labels, (4,)."""
    theta = norm.ppf((np.arange(20_000) + 0.5) / 20_000, mean, spread)
    log_p = -np.logaddexp(0, np.stack([theta, -theta], -1))
    _, roots, post = laplace_parts(mean, spread)
    exact = float(predictive.bald(log_p[None])[0])
    eig = float(information.eig(roots, post)[0])
    return np.array([exact, eig, *laplace_gains(mean, spread)])


@worst
def mean_of_gains(function, rng):
    for mean, spread in ((1, 2), (0, 1), (2, 0.5)):
        shares, gains = by_quadrature(mean, spread)
        p = 1 / (1 + np.exp(-mean))
        approximate = np.log1p(spread**2 * p * (1 - p)) / 2
        truth = np.array([shares @ gains, *[approximate] * 3])
        yield gap(function(mean, spread), truth)
    yield gap(function(1, 2), [0.21607, 0.29011, 0.29011, 0.29011])


@worst
def all_labels(function, rng):
    for model, x, tries, family, _ in linear_models(rng):
        roots = fisher.network_roots(model, x, family)
        post = GaussianPosterior.isotropic(roots.num_parameters, 0.7)
        p = post.precision.numpy()
        truth = [(log_det(p + f) - log_det(p)) / 2 for f in dense(roots)]
        for labels in tries:
            observed = fisher.observed_information(model, x, labels, family)
            yield gap(function(observed, post), truth)


@worst
def entropy_drop(function, rng):
    """Linear regression with noise variance 0.4: precision x x' / 0.4 a label."""
    x = rng.standard_normal((3, 4))
    blr = BayesianLinearRegression(np.zeros(4), np.eye(4) / 0.7, 0.4)
    post = GaussianPosterior.isotropic(4, 0.7)
    observed = torch.tensor(np.einsum("ni,nj->nij", x, x) / 0.4)
    found = function(observed, post)
    for label in (-3.0, 0.1, 50.0):
        after = [blr.condition(row[None], np.array([label])) for row in x]
        truth = [float(blr.entropy() - model.entropy()) for model in after]
        yield gap(found, truth)


def flat_prior(observed, post):
    """As if the prior were a hundred times as wide."""
    flat = GaussianPosterior(post.num_parameters, 1e-4 * post.precision)
    return information.ig(observed, flat)

"""Bayesian linear regression, where every quantity is exact: T5 to T7.

y = x'theta + noise, theta ~ N(mu, Sigma), noise ~ N(0, sigma^2) with sigma^2 known.
"""

import numpy as np
from scipy import stats

from companion.evidence.draws import *
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.proof import MONTE_CARLO, Check, Mutant
from fimlib.blr import BayesianLinearRegression

# --- T5 --------------------------------------------------------------------------


@claim("T5", HOLDS, "thm-blr-entropy eq-blr-entropy")
def t5():
    def sampled(function, rng):
        mu, cov, s2, _, _ = problem(rng, 5)
        density = stats.multivariate_normal(mu, cov)
        surprises = -density.logpdf(density.rvs(40_000, random_state=rng))
        return z_score(surprises, float(function(mu, cov, s2)))

    @worst
    def closed(function, rng):
        for size in SIZES:
            mu, cov, s2, _, _ = problem(rng, size)
            truth = stats.multivariate_normal(mu, cov).entropy()
            yield gap(function(mu, cov, s2), truth)

    name = "BayesianLinearRegression.entropy equals SciPy's Gaussian entropy"
    sampled_name = "mean surprise of samples"
    return evidence(
        (),
        Check(name, model_entropy, closed, TIGHT),
        Check(sampled_name, model_entropy, sampled, 4, MONTE_CARLO),
        Mutant(r"dropped $2\pi e$", name, lambda m, c, s: 0.5 * log_det(c)),
        Mutant("dropped ½", name, doubled(model_entropy)),
        Mutant("dropped ½", sampled_name, doubled(model_entropy)),
    )


def model_entropy(mean, covariance, noise_variance):
    return BayesianLinearRegression(mean, covariance, noise_variance).entropy()


# --- T6 --------------------------------------------------------------------------


@claim("T6", HOLDS, "thm-blr-update eq-blr-update def-blr")
def t6():
    @worst
    def joint(function, rng):
        for size in SIZES:
            mu, cov, s2, x, y = problem(rng, size, count=3)
            posterior = function(mu, cov, s2, x, y)
            cross = cov @ x.T
            total = x @ cross + s2 * np.eye(3)
            gain = cross @ np.linalg.inv(total)
            yield gap(posterior.mean, mu + gain @ (y - x @ mu))
            yield gap(posterior.covariance, cov - gain @ cross.T)

    def two_labels(function, rng):
        mu, cov, s2, x, y = problem(rng, 5)
        one, other = (function(mu, cov, s2, x, y + shift) for shift in (0, 1e3))
        return float(np.abs(np.asarray(one.covariance - other.covariance)).max())

    name = "BayesianLinearRegression.condition equals conditioning the joint Gaussian"

    def no_noise(m, c, s, x, y):
        return update(m, c, 1.0, x, y)

    def doubled(m, c, s, x, y):
        return update(m, c, s / 2, x, y)

    def label_scaled(m, c, s, x, y):
        return update(m, c, s * (1 + y[0] ** 2), x, y)

    same = "two labels, one covariance"
    return evidence(
        (),
        Check(name, update, joint, TIGHT),
        Check(same, update, two_labels, 0),
        Mutant("noise variance left out", name, no_noise),
        Mutant("noise variance halved", name, doubled),
        Mutant("covariance that depends on the label", same, label_scaled),
    )


def update(mean, covariance, noise_variance, x, y):
    return BayesianLinearRegression(mean, covariance, noise_variance).condition(x, y)


# --- T7 --------------------------------------------------------------------------


@claim("T7", HOLDS, "thm-blr-determinant eq-blr-determinant")
def t7():
    @worst
    def entropies(function, rng):
        for size in SIZES:
            mu, cov, s2, x, _ = problem(rng, size, count=4)
            after = [np.linalg.inv(cov) + np.outer(a, a) / s2 for a in x]
            truth = [0.5 * (log_det(cov) + log_det(p)) for p in after]
            yield gap(function(mu, cov, s2, x), truth)

    name = "BayesianLinearRegression.eig equals the drop of the log-determinants"

    def after_update(m, c, s, x):
        return [float(update(m, c, s, a[None], [0.0]).eig(a[None])[0]) for a in x]

    return evidence(
        (),
        Check(name, model_eig, entropies, TIGHT),
        Mutant("dropped ½", name, doubled(model_eig)),
        Mutant(r"$\Sigma_{\text{new}}$ for $\Sigma$", name, after_update),
        Mutant(r"$\sigma$ for $\sigma^2$", name, changed(model_eig, 2, np.sqrt)),
    )


def model_eig(mean, covariance, noise_variance, x):
    return BayesianLinearRegression(mean, covariance, noise_variance).eig(x)

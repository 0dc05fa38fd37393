"""One observation and a batch in Bayesian linear regression, and BALD: T9."""

import numpy as np
from scipy import stats

from companion.evidence.ch02.blr import model_eig
from companion.evidence.draws import *
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.proof import MONTE_CARLO, Check, Mutant
from fimlib.blr import BayesianLinearRegression


@claim(
    "T9",
    CORRECTED,
    "thm-blr-eig eq-blr-eig eq-blr-batch eq-blr-next eq-errata-predictive",
)
def t9():
    """The two variances are the predictive variance of the label and the noise
    variance, not the prior and posterior variance.
    """
    single, several, sampled, told = (
        "BayesianLinearRegression.eig equals ½ log of the variance ratio",
        "batch_eig equals the log-determinant in the label space",
        r"mean of $\log p(\y\given\x,\w)-\log p(\y\given\x)$ over samples",
        "information_gain equals eig for any label",
    )
    return evidence(
        (),
        Check(single, model_eig, ratio_of_variances, TIGHT),
        Check(several, model_batch_eig, label_space, TIGHT),
        Check(sampled, model_eig, sampled_information, 4, MONTE_CARLO),
        Check(told, model_gain, any_label, TIGHT),
        Mutant("dropped ½", single, doubled(model_eig)),
        Mutant("dropped ½", several, doubled(model_batch_eig)),
        Mutant("sum of the singles for the batch", several, after(model_eig, sum)),
        Mutant("dropped ½", sampled, doubled(model_eig)),
        Mutant(
            "gain that grows with the label",
            told,
            lambda m, c, s, x, y: model_gain(m, c, s, x, y) * abs(y[0]),
        ),
    )


def model_batch_eig(mean, covariance, noise_variance, x):
    return BayesianLinearRegression(mean, covariance, noise_variance).batch_eig(x)


def model_gain(mean, covariance, noise_variance, x, y):
    blr = BayesianLinearRegression(mean, covariance, noise_variance)
    return blr.information_gain(x, y)


@worst
def ratio_of_variances(function, rng):
    for size in SIZES:
        mu, cov, s2, x, _ = problem(rng, size, count=7)
        predictive = s2 + np.einsum("nd,de,ne->n", x, cov, x)
        truth = np.log(np.sqrt(predictive)) - np.log(np.sqrt(s2))
        yield gap(function(mu, cov, s2, x), truth)


@worst
def label_space(function, rng):
    for size, count in ((2, 3), (5, 3), (3, 11)):
        mu, cov, s2, x, _ = problem(rng, size, count)
        truth = 0.5 * (log_det(x @ cov @ x.T + s2 * np.eye(count)) - count * np.log(s2))
        yield gap(function(mu, cov, s2, x), truth)


def sampled_information(function, rng):
    mu, cov, s2, x, _ = problem(rng, 5)
    theta = rng.multivariate_normal(mu, cov, size=40_000)
    clean = theta @ x[0]
    y = clean + np.sqrt(s2) * rng.standard_normal(len(clean))
    predictive = s2 + x[0] @ cov @ x[0]
    gains = stats.norm.logpdf(y, clean, np.sqrt(s2)) - stats.norm.logpdf(
        y, x[0] @ mu, np.sqrt(predictive)
    )
    return z_score(gains, float(function(mu, cov, s2, x)[0]))


def any_label(function, rng):
    mu, cov, s2, x, y = problem(rng, 5, count=3)
    truth = np.log1p(np.einsum("nd,de,ne->n", x, cov, x) / s2) / 2
    shifted = (function(mu, cov, s2, x, y + shift) for shift in (0.0, 50.0))
    return max(gap(gains, truth) for gains in shifted)

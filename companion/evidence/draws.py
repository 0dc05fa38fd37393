"""Random problems for the numeric checks, and the residuals they are judged by."""

import functools

import numpy as np
import torch

from fimlib.fisher import last_layer_roots
from fimlib.posterior import GaussianPosterior

__all__ = [
    "PROBLEMS",
    "SIZES",
    "TIGHT",
    "classifier",
    "dense",
    "dense_conditional",
    "doubled",
    "gap",
    "gradients",
    "halved",
    "log_det",
    "pd_matrix",
    "predictive_problem",
    "problem",
    "worst",
    "z_score",
]

TIGHT = 1e-10
SIZES = (1, 2, 3, 5, 11)
PROBLEMS = ((2, 3, 5, 7), (3, 4, 7, 5), (5, 2, 3, 11))  # of `predictive_problem`


def pd_matrix(rng, size, spread=2.0):
    """A (size, size) covariance, eigenvalues from exp(-spread) to exp(spread)."""
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    root = q * np.exp(rng.uniform(-spread, spread, size) / 2)
    return root @ root.T


def problem(rng, size, count=1):
    """Mean, covariance, noise variance, inputs (count, size), labels (count,)."""
    return (
        rng.standard_normal(size),
        pd_matrix(rng, size),
        float(np.exp(rng.uniform(-2, 2))),
        rng.standard_normal((count, size)),
        rng.standard_normal(count),
    )


def classifier(rng, classes=3, width=4, count=7, scale=1.5):
    """Last-layer roots of a random classifier, their logits, and a posterior."""

    def draw(n):
        features = torch.tensor(rng.standard_normal((n, width)))
        logits = torch.tensor(scale * rng.standard_normal((n, classes)))
        return last_layer_roots(features, logits), logits

    train, _ = draw(11)
    roots, logits = draw(count)
    prior = float(np.exp(rng.uniform(-2, 2)))
    return roots, logits, GaussianPosterior.from_roots(train, prior)


def predictive_problem(rng, classes=3, width=4, count=5, evals=7):
    """Roots of candidates and of evaluation inputs, and a posterior."""
    roots, _, post = classifier(rng, classes, width, count)
    eval_roots, _, _ = classifier(rng, classes, width, evals)
    return roots, eval_roots, post


def gradients(rng, count, size):
    """Gradients (count, size) of lengths that differ."""
    return rng.standard_normal((count, size)) * np.exp(rng.uniform(-1, 1, (count, 1)))


def dense(roots):
    """Fisher information matrices (M, D, D) as numpy arrays."""
    rows = roots.dense().numpy()
    return np.einsum("mrd,mre->mde", rows, rows)


def log_det(matrix):
    """numpy's log|det|: independent of `fimlib.linalg`."""
    return np.linalg.slogdet(matrix)[1]


def dense_conditional(f_e, f, p):
    """½ log det(I + F_e (P + F)^-1), by numpy."""
    return 0.5 * (log_det(p + f + f_e) - log_det(p + f))


def gap(value, truth):
    """Worst difference, relative to the size of the truth where that exceeds one."""
    value, truth = (np.asarray(v, dtype=float) for v in (value, truth))
    if value.shape != truth.shape:
        raise ValueError(f"shape {value.shape}, needed {truth.shape}")
    if value.size == 0 or not np.all(np.isfinite(value)):
        return np.inf
    return float((np.abs(value - truth) / np.maximum(1, np.abs(truth))).max())


def z_score(samples, truth):
    """Distance of a Monte-Carlo mean from the truth, in standard errors."""
    samples = np.asarray(samples, dtype=float)
    error = samples.std(ddof=1) / np.sqrt(samples.size)
    return float(abs(samples.mean() - truth) / error)


def worst(check):
    """Make a check of a function that yields residuals: the largest of them.

    One that is not a number stays so, and to have compared nothing is infinitely bad.
    """

    @functools.wraps(check)
    def largest(*arguments, **options):
        residuals = [float(r) for r in check(*arguments, **options)]
        return float(np.max(residuals)) if residuals else np.inf

    return largest


def doubled(function):
    """A wrong version that has lost its ½."""
    return lambda *args, **options: 2 * function(*args, **options)


def halved(function):
    """A wrong version with a ½ too many."""
    return lambda *args, **options: function(*args, **options) / 2

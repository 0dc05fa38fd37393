"""Random problems for the numeric checks, and the residuals they are judged by."""

import functools
import itertools

import numpy as np
import torch
from torch import nn

from fimlib import fisher, information
from fimlib.fisher import FisherRoots, last_layer_roots
from fimlib.posterior import GaussianPosterior

__all__ = [
    "PROBLEMS", "SIZES", "TIGHT", "after", "by_trace", "changed", "classifier",
    "classifiers", "dense", "dense_conditional", "doubled", "flat", "gap", "gradients",
    "halved", "log_det", "network", "network_precision", "noisy_jepig",
    "observed_precision", "outputs", "pd_matrix", "predictive_problem",
    "predictive_problems", "problem", "reordered", "seeded", "table_entropy",
    "with_weights", "worst", "z_score",
]  # fmt: skip

TIGHT = 1e-10
SIZES = (1, 2, 3, 5, 11)
PROBLEMS = ((2, 3, 5, 7), (3, 4, 7, 5), (5, 2, 3, 11))  # of `predictive_problem`


def seeded(rng):
    """A generator of torch's that follows from `rng`."""
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


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


def classifiers(rng, sizes=((2, 3, 5), (3, 4, 7), (5, 2, 11))):
    """Roots, posterior, dense Fisher information (M, D, D) and precision of several."""
    for each in sizes:
        roots, _, post = classifier(rng, *each)
        yield roots, post, dense(roots), post.precision.numpy()


def predictive_problem(rng, classes=3, width=4, count=5, evals=7):
    """Roots of candidates and of evaluation inputs, and a posterior."""
    roots, _, post = classifier(rng, classes, width, count)
    eval_roots, _, _ = classifier(rng, classes, width, evals)
    return roots, eval_roots, post


def predictive_problems(rng):
    """(roots, evaluation roots, posterior), and their dense F_i, F_e and P."""
    for sizes in PROBLEMS:
        roots, evals, post = arguments = predictive_problem(rng, *sizes)
        yield arguments, (dense(roots), dense(evals), post.precision.numpy())


def gradients(rng, count, size):
    """Gradients (count, size) of lengths that differ."""
    return rng.standard_normal((count, size)) * np.exp(rng.uniform(-1, 1, (count, 1)))


def network(rng, *widths, bias=True, scale=1.0):
    """A tanh network of these widths, its weights drawn from `rng`."""
    layers = [nn.Tanh()] * (2 * len(widths) - 3)
    for i, pair in enumerate(itertools.pairwise(widths)):
        layers[2 * i] = nn.Linear(*pair, bias=bias or i < len(widths) - 2)
    return with_weights(nn.Sequential(*layers), rng, scale)


def with_weights(model, rng, scale=1.0):
    """The model in float64, every parameter drawn from `rng`."""
    with torch.no_grad():
        for p in model.double().parameters():
            p.copy_(scale * torch.tensor(rng.standard_normal(tuple(p.shape))))
    return model


def flat(model):
    """All parameters as one vector (D,)."""
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def outputs(model, theta, x):
    """The model's outputs at inputs x with the flat parameters theta, for autodiff."""
    named, start = {}, 0
    for name, p in model.named_parameters():
        named[name] = theta[start : start + p.numel()].view(p.shape)
        start += p.numel()
    return torch.func.functional_call(model, named, (x,))


def network_precision(model, x, labels, prior):
    """The precision that `GaussianPosterior` has at the network's parameters."""
    return GaussianPosterior.from_roots(fisher.network_roots(model, x), prior).precision


def observed_precision(model, x, labels, prior):
    """The same with the Hessians at these labels in the place of Gauss-Newton."""
    total = fisher.observed_information(model, x, labels).sum(0)
    return total + prior * torch.eye(len(total)).double()


def dense(roots):
    """Fisher information matrices (M, D, D) as numpy arrays."""
    rows = roots.dense().numpy()
    return np.einsum("mrd,mre->mde", rows, rows)


def table_entropy(p):
    """Entropy of a table of probabilities, in nats."""
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def log_det(matrix):
    """numpy's log|det|: independent of `fimlib.linalg`."""
    return np.linalg.slogdet(matrix)[1]


def dense_conditional(f_e, f, p):
    """½ log det(I + F_e (P + F)^-1), by numpy."""
    return 0.5 * (log_det(p + f + f_e) - log_det(p + f))


def noisy_jepig(x, x_eval, covariance, noise_variance, eval_noise):
    """JEPIG of linear models whose evaluation labels have a noise of their own."""
    roots = FisherRoots.from_dense(x / np.sqrt(noise_variance))
    evals = FisherRoots.from_dense(x_eval / np.sqrt(eval_noise))
    post = GaussianPosterior.from_roots(roots[:0], np.linalg.inv(covariance))
    return information.jepig(roots, evals, post)


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

    def twice(found):
        return [2 * v for v in found] if isinstance(found, list | tuple) else 2 * found

    return after(function, twice)


def halved(function):
    """A wrong version with a ½ too many."""
    return after(function, lambda found: found / 2)


def after(function, change):
    """A wrong version: what the function finds, changed."""
    return lambda *arguments, **options: change(function(*arguments, **options))


def changed(function, index, change):
    """A wrong version: one of its arguments changed."""

    def wrong(*arguments, **options):
        arguments = list(arguments)
        arguments[index] = change(arguments[index])
        return function(*arguments, **options)

    return wrong


def reordered(function, *order):
    """A wrong version: its results exchanged."""
    return after(function, lambda found: [found[i] for i in order])


def by_trace(function):
    """The trace form of a score, in the place of its log-determinant."""
    return functools.partial(function, form="trace")

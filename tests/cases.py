"""Small problems that several test files share: sizes are distinct primes."""

import mpmath
import torch

from fimlib.fisher import FisherRoots, last_layer_roots
from fimlib.posterior import GaussianPosterior

M, E, N, D, C = 7, 5, 3, 11, 4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def dense_roots(count, rank=2, size=D, seed=0):
    return FisherRoots.from_dense(normal(count, rank, size, seed=seed))


def softmax_roots(count, classes=C, width=3, seed=0, scale=1.0, **options):
    """Last-layer roots of random features and logits: D = C (width + 1)."""
    features = normal(count, width, seed=seed)
    logits = scale * normal(count, classes, seed=seed + 1)
    return last_layer_roots(features, logits, **options)


def problem(kind="dense", prior_precision=0.7):
    """(pool, evaluation roots, posterior) with distinct prime counts."""
    make = dense_roots if kind == "dense" else softmax_roots
    pool, evals, train = make(M, seed=1), make(E, seed=20), make(N, seed=40)
    return pool, evals, GaussianPosterior.from_roots(train, prior_precision)


def fishers(roots):
    """F_i = R_i^T R_i, (M, D, D), the brute-force way."""
    rows = roots.dense()
    return rows.mT @ rows


def mp_matrix(tensor):
    return mpmath.matrix(tensor.tolist())


def mp_log_det(matrix):
    """log det of an mpmath matrix of positive determinant, at the working precision."""
    return mpmath.log(mpmath.det(matrix))


def mp_fisher(rows):
    """R^T R at the working precision from float64 rows (r, D)."""
    rows = mp_matrix(rows)
    return rows.T * rows


def mp_precision(train, prior_precision):
    """lambda I + sum_i F_i at the working precision."""
    return mpmath.mpf(prior_precision) * mpmath.eye(train.num_parameters) + mp_fisher(
        train.dense().flatten(0, 1)
    )

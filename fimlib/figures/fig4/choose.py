"""The batches of Figure 4: each method by its kernel's features, black box or white.

The white-box kernels are those with which a method did best in the benchmark's study
(arXiv:2203.09410); the black box has the covariance of an ensemble for all
of them (Kirsch 2023, arXiv:2302.08981). Selection is fimlib's own.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from fimlib._checks import as_tensor, check_choice, positive_float
from fimlib.figures.fig4.kernels import (
    acs_features,
    ensemble_features,
    given_train,
    scaled_to_train,
    sketched_gradients,
)
from fimlib.figures.fig4.mlp import Stack
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior
from fimlib.selection import (
    bait,
    frank_wolfe,
    greedy_log_det,
    k_means_pp,
    lcmd,
    max_dist,
    top_k,
)
from fimlib.selection.result import Selection, checked_batch_size

METHODS = (
    "uniform", "bald", "batch-bald", "bait", "acs-fw", "core-set", "badge", "lcmd",
)  # fmt: skip
KERNELS = ("white-box", "black-box")
# Methods that look at the training examples as well.
_WITH_TRAIN = ("bait", "lcmd")
# Transforms of the sketched gradients; "lcmd" takes them as they are.
_GIVEN_TRAIN = ("batch-bald", "bait", "core-set")


class Features(NamedTuple):
    """Features of the pool (M, d) and, where the method wants them, of N others."""

    pool: torch.Tensor
    train: torch.Tensor | None = None


def features(
    method: str, kernel: str, stack: Stack, x_pool: Tensor, x_train: Tensor,
    generator: Generator | None = None, width: int = 512, noise: float = 1e-3,
    targets: Tensor | None = None,
) -> Features:  # fmt: skip
    """The features by which a method chooses, of pool (M, d) and training set (N, d).

    "white-box": of the stack's first network, gradients sketched to `width` numbers,
    over their mean length on the training examples; then, for "batch-bald", "bait" and
    "core-set", given the training examples, and for "bald", "badge" and "acs-fw", which
    needs targets (N,), random features of active Bayesian coresets. "black-box": the
    covariance of the stack's predictions. "uniform" has none: its pool is (M, 0).
    """
    check_choice(method, "method", METHODS)
    if method == "uniform":
        return Features(torch.empty(len(x_pool), 0, dtype=torch.float64))
    check_choice(kernel, "kernel", KERNELS)
    both = torch.cat([x_pool, x_train])
    if kernel == "black-box":
        found = ensemble_features(stack.predict(both))
    else:
        found = sketched_gradients(stack[0], both, width, generator)
    pool, train = found[: len(x_pool)], found[len(x_pool) :]
    if kernel == "white-box" and method != "lcmd":
        pool, train = scaled_to_train(pool, train)
        if method in _GIVEN_TRAIN:
            pool, train = given_train(pool, train, noise)
        else:
            form = "hyper" if method == "acs-fw" else "benchmark"
            pool = acs_features(pool, train, width, generator, noise, form, targets)
    return Features(pool, train if method in _WITH_TRAIN else None)


def choose(
    method: str, pool: Tensor, train: Tensor | None, batch_size: int,
    generator: Generator | None = None, noise: float = 1e-3,
) -> Selection:  # fmt: skip
    """A batch by the features (M, d) of pool and, for "bait" and "lcmd", train (N, d).

    In the benchmark's words (arXiv:2203.09410): "bald" is max-diag, "batch-bald"
    max-det with noise^2 on the diagonal, "bait" the forward pass alone, with noise^2 as
    well, "acs-fw" Frank-Wolfe, "core-set" max-dist, "badge" k-means++ with a first
    centre drawn at random, all in mode P; "lcmd" in mode TP.

    Past the kernel's rank every method goes on: "batch-bald" and "bait" by what the
    noise leaves; the others, once nothing is left to gain, by index (see `notes`).
    Raises ValueError for another method and missing training features.
    """
    check_choice(method, "method", METHODS)
    if method == "uniform":
        return _uniform(len(pool), batch_size, generator)
    pool = as_tensor(pool, "pool", ("M", "d"))
    if train is None and method in _WITH_TRAIN:
        raise ValueError(f'train must be given for the method "{method}", got None')
    known = (
        pool[:0] if train is None else as_tensor(train, "train", ("N", len(pool.mT)))
    )
    if method == "bald":
        return top_k(pool.square().sum(1), batch_size)
    if method == "acs-fw":
        return frank_wolfe(pool, batch_size)
    if method == "core-set":
        return max_dist(pool, batch_size)
    if method == "badge":
        return k_means_pp(pool, batch_size, first="uniform", generator=generator)
    if method == "lcmd":
        return lcmd(pool, batch_size, train_features=known)
    noise = positive_float(noise, "noise")
    prior = GaussianPosterior.isotropic(pool.shape[1], 1.0)
    roots = FisherRoots.from_dense(pool / noise)
    if method == "batch-bald":
        return greedy_log_det(roots, prior, batch_size)
    # A common factor of the evaluation roots changes no choice.
    evals = FisherRoots.from_dense(torch.cat([pool, known]))
    return bait(roots, evals, prior, batch_size, oversample=1)


def _uniform(pool_size: int, batch_size: int, generator: Generator | None) -> Selection:
    batch_size = checked_batch_size(batch_size, pool_size)
    indices = torch.randperm(pool_size, generator=generator)[:batch_size]
    return Selection(indices, torch.zeros(batch_size, dtype=torch.float64))

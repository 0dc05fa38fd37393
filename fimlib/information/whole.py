"""Whole sets of examples through the data: N r x N r matrices and products (T8, T30).

With G (N r, D) the stacked roots of N examples, F = G^T G and S = G G^T share all that
is not zero in their spectra: log det(I + F / lambda) and tr F cost what S costs, and
for linear layers S is a sum over layers of products of small inner products. Nothing
of size N x D or D x D is held.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_count, positive_float
from fimlib.fisher.roots import BATCH, FisherRoots
from fimlib.posterior.frame import inner_products, joint_log_det
from fimlib.posterior.gaussian import GaussianPosterior


def gram_matrix(roots: FisherRoots) -> Tensor:
    """Inner products of all rows of the roots, G G^T (M r, M r), in float64 (T30).

    Row i r + k belongs to row k of example i. Raises ValueError for no examples and
    above 20,000 rows.

    >>> gram_matrix(FisherRoots.from_dense([[1.0, 2.0], [0.0, 3.0]])).tolist()
    [[5.0, 6.0], [6.0, 9.0]]
    """
    check_count(len(roots), "roots")
    return inner_products(roots, roots, "roots")


def log_det_fisher(roots: FisherRoots, prior_precision: float = 1.0) -> Tensor:
    """log det(I + F / lambda), () in nats, with F the sum over the examples (T8, T30).

    Twice the information about the parameters in all labels together, under a prior of
    precision lambda (T25), through the smaller of (M r) x (M r) and D x D. Where rows
    cost too much the error is about eps tr(F) / lambda at most, with an
    `AccuracyWarning` past 1e-6. Raises ValueError for no examples, lambda <= 0, and
    when both sizes exceed 20,000.

    >>> roots = FisherRoots.from_dense([[3.0, 0.0], [0.0, 1.0]])
    >>> round(log_det_fisher(roots).exp().item(), 9)
    20.0
    """
    prior_precision = positive_float(prior_precision, "prior_precision")
    check_count(len(roots), "roots")
    post = GaussianPosterior.isotropic(roots.num_parameters, prior_precision)
    return joint_log_det(post, roots)


def fisher_trace(roots: FisherRoots) -> Tensor:
    """Trace of the summed Fisher information, () in float64, without any product (T43).

    Exact for estimator "exact", where one-label estimates have tr F only in the mean.
    Raises ValueError for no examples.

    >>> fisher_trace(FisherRoots.from_dense([[3.0, 4.0], [0.0, 1.0]])).item()
    26.0
    """
    check_count(len(roots), "roots")
    parts = [part.fisher_trace() for part in roots.batches(BATCH)]
    return torch.stack(parts).sum()


def fisher_product(roots: FisherRoots, vectors: Any) -> Tensor:
    """Products F V (D, k) of the summed Fisher information with V (D, k) or (D,).

    Matrix-free: roots of a network that are not held go through it twice, forward with
    the vector and backward with U U^T times what comes out, so that D may be in the
    millions. Raises ValueError for no examples and vectors of another size.

    >>> fisher_product(FisherRoots.from_dense([[3.0, 4.0]]), [1.0, 0.0]).tolist()
    [9.0, 12.0]
    """
    check_count(len(roots), "roots")
    vectors = torch.as_tensor(vectors)
    shape = (roots.num_parameters, *"k"[: vectors.ndim - 1])
    vectors = as_tensor(vectors, "vectors", shape, roots.dtype).to(roots.device)
    columns = vectors.unbind(1) if vectors.ndim == 2 else (vectors,)
    total = torch.zeros(len(columns), len(vectors), dtype=torch.float64)
    total = total.to(roots.device)
    for part in roots.batches(BATCH):
        total += torch.stack([part.fisher_product(one) for one in columns])
    return total[0] if vectors.ndim == 1 else total.mT

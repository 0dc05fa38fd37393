"""Whole sets of examples through the data: N r x N r matrices and products (T8, T30).

With G (N r, D) the stacked roots of N examples, F = G^T G and S = G G^T share all that
is not zero in their spectra: log det(I + F / lambda) and tr F cost what S costs, and
for linear layers S is a sum over layers of products of small inner products.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib._checks import as_tensor, check_count, positive_float, to_tensor
from fimlib.fisher.roots import BATCH, FisherRoots
from fimlib.posterior.frame import inner_products, joint_log_det
from fimlib.posterior.gaussian import GaussianPosterior


def gram_matrix(roots: FisherRoots) -> Tensor:
    """Return G G^T (M r, M r) in float64 of all rows of M roots (M, r, D) (T30).

    Row i r + k belongs to row k of example i. Raises ValueError above 20,000 rows.

    >>> gram_matrix(FisherRoots.from_dense([[1.0, 2.0], [0.0, 3.0]])).tolist()
    [[5.0, 6.0], [6.0, 9.0]]
    """
    check_count(len(roots), "roots")
    return inner_products(roots, roots, "roots")


def log_det_fisher(roots: FisherRoots, prior_precision: float = 1.0) -> Tensor:
    """Return log det(I + F / lambda), () in nats, F the sum over roots (M, r, D) (T8).

    Twice the EIG of all labels under a `prior_precision` lambda > 0 (T25, T30), by the
    smaller of (M r) x (M r) and D x D. Where rows cost too much the error is about
    eps tr(F) / lambda at most, with an `AccuracyWarning` past 1e-6.

    >>> roots = FisherRoots.from_dense([[3.0, 0.0], [0.0, 1.0]])
    >>> round(log_det_fisher(roots).exp().item(), 9)
    20.0
    """
    prior_precision = positive_float(prior_precision, "prior_precision")
    check_count(len(roots), "roots")
    post = GaussianPosterior.isotropic(roots.num_parameters, prior_precision)
    return joint_log_det(post, roots)


def fisher_trace(roots: FisherRoots) -> Tensor:
    """Return tr F, () in float64, F the sum over roots (M, r, D), by no product (T43).

    Exact for estimator "exact", where one-label estimates have tr F only in the mean.

    >>> fisher_trace(FisherRoots.from_dense([[3.0, 4.0], [0.0, 1.0]])).item()
    26.0
    """
    check_count(len(roots), "roots")
    parts = [part.fisher_trace() for part in roots.batches(BATCH)]
    return torch.stack(parts).sum()


def fisher_product(roots: FisherRoots, vectors: ArrayLike) -> Tensor:
    """Return F V of vectors V (D, k) or (D,), alike, F the sum over roots (M, r, D).

    Matrix-free: roots of a network that are not held go through it twice, forward with
    the vector and backward with U U^T times what comes out, so that D may be in the
    millions. Raises ValueError for vectors of another size.

    >>> fisher_product(FisherRoots.from_dense([[3.0, 4.0]]), [1.0, 0.0]).tolist()
    [9.0, 12.0]
    """
    check_count(len(roots), "roots")
    held = to_tensor(vectors, "vectors")
    shape = (roots.num_parameters, *"k"[: held.ndim - 1])
    held = as_tensor(held, "vectors", shape, roots.dtype).to(roots.device)
    columns = held.unbind(1) if held.ndim == 2 else (held,)
    total = torch.zeros(len(columns), len(held)).double().to(roots.device)
    for part in roots.batches(BATCH):
        total += torch.stack([part.fisher_product(one) for one in columns])
    return total[0] if held.ndim == 1 else total.mT

"""Information about parameters and predictions from *known* labels (T2, T42)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_choice, check_count
from fimlib.fisher.roots import FisherRoots
from fimlib.information.expected import check_sizes, eig, epig, jepig
from fimlib.linalg import identity_plus_factor
from fimlib.posterior.gaussian import GaussianPosterior


def ig(observed: Any, post: GaussianPosterior) -> Tensor:
    """Information gain (M,) of known labels, 1/2 log det(I + H_i P^{-1}) in nats (T2).

    observed: (M, D, D), the observed information -grad^2 log p(y_i|x_i, theta*) or an
    estimate of it, or label-based roots (estimator="empirical"), which give `eig`. It
    may be indefinite, so that gains may be negative (T42). Raises ValueError for wrong
    shapes, and where P + H_i is not positive definite and no Gaussian is left.

    >>> ig([[[-0.5]]], GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([0.5000], dtype=torch.float64)
    """
    if hasattr(observed, "rank"):
        return eig(observed, post)
    return torch.log1p(_relative_spectrum(observed, post)[0]).sum(-1) / 2


def jpig(
    observed: Any,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
    form: str = "log_det",
) -> Tensor:
    """Joint predictive information gain (M,) of known labels, in nats (T42).

    I[Y_1..Y_E; y_i | x_1..x_E, x_i] with observed information H_i: the `jepig` formulas
    with H_i in the place of F_i, so that a gain may be negative. In a GLM in its
    natural parameters H_i does not depend on the label and is F_i (T19): jpig = jepig.
    observed: (M, D, D) or label-based roots, which give `jepig`; eval_roots: E
    examples; form: "log_det" or "trace". Raises ValueError for wrong shapes, empty
    roots, another form, and where P + H_i is not positive definite.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> jpig([[[1.0]]], x, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([1.3333], dtype=torch.float64)
    """
    if hasattr(observed, "rank"):
        return jepig(observed, eval_roots, post, form)
    check_choice(form, "form", ("log_det", "trace"))
    check_sizes(post, eval_roots=eval_roots)
    h, vectors = _relative_spectrum(observed, post)
    evals = eval_roots.rows().to(h.device) @ post.root_inverse.to(h.device)
    if len(evals) > evals.shape[1]:
        evals = torch.linalg.qr(evals, mode="r")[1]
    return _shared(evals[None], h, vectors, form)


def pig(
    observed: Any,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
    form: str = "log_det",
) -> Tensor:
    """Predictive information gain (M,) of known labels: the mean over e (T42), in nats.

    log_det: the mean of I[Y_e; y_i | x_e, x_i], each the `jpig` of e alone; trace: the
    `jpig` trace / E. In a GLM it is `epig` (T19). observed: (M, D, D) or label-based
    roots, which give `epig`; eval_roots: E examples. Raises ValueError for wrong
    shapes, empty roots, another form, and where P + H_i is not positive definite.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> pig([[[1.0]]], x, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([1.3333], dtype=torch.float64)
    """
    if hasattr(observed, "rank"):
        return epig(observed, eval_roots, post, form)
    check_choice(form, "form", ("log_det", "trace"))
    if form == "trace":
        return jpig(observed, eval_roots, post, form) / len(eval_roots)
    check_sizes(post, eval_roots=eval_roots)
    h, vectors = _relative_spectrum(observed, post)
    evals = eval_roots.rows().to(h.device) @ post.root_inverse.to(h.device)
    evals = evals.unflatten(0, (len(eval_roots), eval_roots.rank))
    each = [
        _shared(evals, *one, "log_det").mean() for one in zip(h, vectors, strict=True)
    ]
    return torch.stack(each)


def _shared(evals: Tensor, h: Tensor, vectors: Tensor, form: str) -> Tensor:
    """1/2 log det(I + F_E P^{-1}) - 1/2 log det(I + F_E (P + H)^{-1}), or its trace.

    evals: whitened rows B (..., r, D) of the evaluation examples, h and vectors the
    spectrum of X^T H X. With N N^T = I + B (I + X^T H X)^{-1} B^T the difference is
    log det(I + N^{-1} B [h / (1 + h)] B^T N^{-T}): nothing cancels in small gains.
    """
    rows = evals @ vectors
    share = h / (1 + h)
    if form == "trace":
        return (rows.square() * share[..., None, :]).sum((-2, -1)) / 2
    factor = identity_plus_factor(rows / (1 + h).sqrt()[..., None, :])[0]
    rows = torch.linalg.solve_triangular(factor, rows, upper=False)
    gap = rows * share[..., None, :] @ rows.mT
    return torch.log1p(torch.linalg.eigvalsh(gap)).sum(-1) / 2


def _relative_spectrum(observed: Any, post: GaussianPosterior) -> tuple[Tensor, Tensor]:
    """Eigenvalues (M, D) and eigenvectors (M, D, D) of X^T H_i X, with X^T P X = I."""
    size = post.num_parameters
    observed = as_tensor(observed, "observed", ("M", size, size))
    check_count(len(observed), "observed")
    if not torch.allclose(observed, observed.mT, rtol=1e-8, atol=0.0):
        raise ValueError(
            f"observed must be symmetric in its last two axes, got a largest asymmetry "
            f"of {float((observed - observed.mT).abs().max()):.3g}"
        )
    inverse = post.root_inverse.to(observed.device)
    relative = inverse.mT @ observed @ inverse
    values, vectors = torch.linalg.eigh((relative + relative.mT) / 2)
    smallest = values[:, 0]
    if (smallest <= -1).any():
        worst = int(smallest.argmin())
        raise ValueError(
            "observed must leave P + H_i positive definite, got a smallest eigenvalue "
            f"of I + H_i P^(-1) of {float(1 + smallest[worst]):.6g} at example {worst}"
        )
    return values, vectors

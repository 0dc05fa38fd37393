"""Information about parameters and predictions from *known* labels (T2, T42)."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib._checks import as_tensor, check_choice, check_count
from fimlib.fisher.roots import FisherRoots
from fimlib.information.expected import FORMS, Posterior, eig, epig, jepig, shared
from fimlib.information.formulas import measured
from fimlib.posterior.gaussian import GaussianPosterior

Observed = ArrayLike | FisherRoots


def ig(observed: Observed, post: GaussianPosterior) -> Tensor:
    """Return the information gain (M,) in nats of known labels under `post` (T2, T42).

    1/2 log det(I + H_i P^{-1}). observed: H (M, D, D), the observed information
    -grad^2 log p(y_i|x_i, theta*) or an estimate of it, or label-based roots
    (estimator="empirical"), which give `eig`. A gain may be negative. Raises ValueError
    where P + H_i is not positive definite: no Gaussian is left.

    >>> ig([[[-0.5]]], GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([0.5000], dtype=torch.float64)
    """
    if isinstance(observed, FisherRoots):
        return eig(observed, post)
    return torch.log1p(_relative_spectrum(observed, post)[0]).sum(-1) / 2


def jpig(
    observed: Observed, eval_roots: FisherRoots, post: Posterior, form: str = "log_det"
) -> Tensor:
    """Return I[Y_1..Y_E; y_i | x_1..x_E, x_i] (M,) in nats of known labels y_i (T42).

    The `jepig` of this form for E eval_roots under post, with the `observed` H_i of
    `ig` in the place of F_i; roots give `jepig`. In a GLM in its natural parameters H_i
    does not depend on the label and is F_i (T19). Raises ValueError as `ig` does.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> jpig([[[1.0]]], x, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([1.3333], dtype=torch.float64)
    """
    if isinstance(observed, FisherRoots):
        return jepig(observed, eval_roots, post, form)
    h, vectors, evals = _prepared(observed, eval_roots, post, form)
    if len(evals) > evals.shape[1]:
        evals = torch.linalg.qr(evals, mode="r")[1]
    return _shared(evals[None], h, vectors, form)


def pig(
    observed: Observed, eval_roots: FisherRoots, post: Posterior, form: str = "log_det"
) -> Tensor:
    """Return the mean (M,) over E eval_roots of I[Y_e; y_i | x_e, x_i], in nats (T42).

    form: "log_det", the `jpig` of each e alone, or "trace", the `jpig` trace / E, of
    the `observed` under post. In a GLM it is `epig` (T19). Raises as `ig` does.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> pig([[[1.0]]], x, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([1.3333], dtype=torch.float64)
    """
    if isinstance(observed, FisherRoots):
        return epig(observed, eval_roots, post, form)
    check_choice(form, "form", ("log_det", "trace"))
    if form == "trace":
        return jpig(observed, eval_roots, post, form) / len(eval_roots)
    h, vectors, evals = _prepared(observed, eval_roots, post, form)
    evals = evals.unflatten(0, (len(eval_roots), eval_roots.rank))
    each = [_shared(evals, *one, form).mean() for one in zip(h, vectors, strict=True)]
    return torch.stack(each)


def _prepared(
    observed: ArrayLike, eval_roots: FisherRoots, post: Posterior, form: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The spectrum of X^T H_i X, and the whitened rows R_e X (E r, D)."""
    check_choice(form, "form", FORMS)
    shared(post, eval_roots=eval_roots)
    h, vectors = _relative_spectrum(observed, post)
    rows = eval_roots.rows().to(h.device)
    return h, vectors, rows @ post.root_inverse.to(h.device)


def _shared(evals: Tensor, h: Tensor, vectors: Tensor, form: str) -> Tensor:
    """1/2 log det(I + F_E P^{-1}) - 1/2 log det(I + F_E (P + H)^{-1}), or its trace."""
    # With B the whitened rows and N N^T = I + B (I + X^T H X)^{-1} B^T, the difference
    # is log det(I + N^{-1} B [h / (1 + h)] B^T N^{-T}): no small gain cancels.
    rows = evals @ vectors
    share = (h / (1 + h))[..., None, :]
    if form == "trace":
        return (rows.square() * share).sum((-2, -1)) / 2
    rows = measured(rows, rows / (1 + h).sqrt()[..., None, :])
    return torch.log1p(torch.linalg.eigvalsh(rows * share @ rows.mT)).sum(-1) / 2


def _relative_spectrum(observed: ArrayLike, post: Posterior) -> tuple[Tensor, Tensor]:
    """Eigenvalues (M, D) and eigenvectors (M, D, D) of X^T H_i X, with X^T P X = I."""
    size = post.num_parameters
    h = as_tensor(observed, "observed", ("M", size, size))
    check_count(len(h), "observed")
    if not torch.allclose(h, h.mT, rtol=1e-8, atol=0.0):
        raise ValueError(
            f"observed must be symmetric in its last two axes, got a largest asymmetry "
            f"of {float((h - h.mT).abs().max()):.3g}"
        )
    inverse = post.root_inverse.to(h.device)
    relative = inverse.mT @ h @ inverse
    values, vectors = torch.linalg.eigh((relative + relative.mT) / 2)
    smallest = values[:, 0]
    if (smallest <= -1).any():
        worst = int(smallest.argmin())
        raise ValueError(
            "observed must leave P + H_i positive definite, got a smallest eigenvalue "
            f"of I + H_i P^(-1) of {float(1 + smallest[worst]):.6g} at example {worst}"
        )
    return values, vectors

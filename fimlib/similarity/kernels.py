"""Similarity matrices S = R R'^T of roots or gradients (T30, T33, T44)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fimlib._checks import check_choice
from fimlib.fisher.roots import FisherRoots, as_roots, check_parameters
from fimlib.posterior.frame import frame_spanning, inner_products
from fimlib.posterior.gaussian import GaussianPosterior

_KINDS = ("euclidean", "cosine", "similar")


def similarity_matrix(
    a: Any,
    b: Any = None,
    *,
    posterior: GaussianPosterior | None = None,
    kind: str = "euclidean",
) -> Tensor:
    """Return similarities of all rows of `a` and `b`, (M r, M' r') in float64 (T30).

    a, b: Fisher roots of any kind, or gradients (M, D), one row each; `b` defaults to
    `a`. Row i r + k belongs to row k of example i. kind "euclidean": inner products
    R R'^T or, given a posterior, R P^{-1} R'^T, the covariance that the posterior gives
    to the rows' linear responses (T44). "cosine": these divided by the rows' norms, for
    roots of rank 1; a row of zeros has similarity 0 to every row, itself included.
    "similar": (1 + cosine) / 2, the inner products of ``[1, g/|g|] / sqrt 2``, for a
    row of zeros [1, 0] / sqrt 2 (Kothawade et al. 2021, arXiv:2107.00717; T33).

    Raises:
        ValueError: no rows, different numbers of parameters, a rank above 1 where rows
            are normalised, norms that overflow, and results above 3.2 GB.

    >>> similarity_matrix([[3.0, 4.0], [4.0, 3.0]], kind="cosine").tolist()
    [[1.0, 0.96], [0.96, 1.0]]
    """
    check_choice(kind, "kind", _KINDS)
    sides = [as_roots(a, "a")] + ([] if b is None else [as_roots(b, "b")])
    size = sides[0].num_parameters
    check_parameters(sides[-1], "b", size, "a")
    for rows, name in zip(sides, "ab", strict=False):
        if kind != "euclidean" and rows.rank != 1:
            raise ValueError(
                f"{name} must have rank 1 for kind {kind!r}, which normalises each "
                f"gradient, got rank {rows.rank}"
            )
    scale = 1.0
    if posterior is not None:
        check_parameters(posterior, "posterior", size, "the rows")
        sides, scale = _weighted(posterior, *sides)
    matrix = inner_products(sides[0], sides[-1], "a and b")
    if kind == "euclidean":
        return scale * matrix
    cosines = matrix / _norms(sides[0])[:, None] / _norms(sides[-1])
    # Rounding may leave a cosine above one.
    cosines = cosines.clamp(-1.0, 1.0)
    return (1.0 + cosines) / 2 if kind == "similar" else cosines


def _norms(roots: FisherRoots) -> Tensor:
    """Norms of the rows of roots of rank 1, (M,), and 1 for a row of zeros."""
    norms = roots.self_gram().double()[:, 0, 0].sqrt()
    if not torch.isfinite(norms).all():
        raise ValueError("a and b must have rows of finite norm, got an overflow")
    return torch.where(norms > 0, norms, 1.0)


def _weighted(
    post: GaussianPosterior, *sides: FisherRoots
) -> tuple[list[FisherRoots], float]:
    """Roots V and a scale with scale V V'^T = R P^{-1} R'^T."""
    post, *few = post.shared(*sides)
    if post.is_isotropic:
        return few, 1.0 / post.prior_precision
    frame = frame_spanning(post, *few)
    return [FisherRoots(frame.whitened(one)) for one in few], 1.0

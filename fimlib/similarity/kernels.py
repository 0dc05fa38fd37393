"""Similarity matrices S = R R'^T of roots or gradients (T30, T33, T44)."""

import torch

from fimlib._checks import as_tensor, check_choice, check_count
from fimlib.fisher import FisherRoots
from fimlib.posterior import frame
from fimlib.posterior.gaussian import shared_coordinates
from fimlib.posterior.span import BATCH, num_rows

_KINDS = ("euclidean", "cosine", "similar")


def similarity_matrix(a, b=None, *, posterior=None, kind="euclidean"):
    """Similarities of all rows of `a` and `b`, (M r, M' r') in float64 (T30).

    a, b: Fisher roots of any kind, or gradients (M, D), one row each; `b` defaults to
    `a`. Row i r + k belongs to row k of example i. kind "euclidean": inner products
    R R'^T or, given a posterior, R P^{-1} R'^T, the covariance that the posterior gives
    to the rows' linear responses (T44). "cosine": these divided by the rows' norms, for
    roots of rank 1; a row of zeros has similarity 0 to every row, itself included.
    "similar": (1 + cosine) / 2, the inner products of ``[1, g/|g|] / sqrt 2``, for a
    row of zeros [1, 0] / sqrt 2 (Kothawade et al. 2021, arXiv:2107.00717; T33).

    Raises ValueError for no rows, different numbers of parameters, a rank above 1 where
    rows are normalised, norms that overflow, and results above 3.2 GB.
    """
    check_choice(kind, "kind", _KINDS)
    a = as_roots(a, "a")
    sides = [a] if b is None else [a, as_roots(b, "b")]
    _check_sides(sides, posterior, kind)
    scale = 1.0
    if posterior is not None:
        sides, scale = _weighted(posterior, *sides)
    matrix = _inner(sides[0], sides[-1])
    if kind == "euclidean":
        return scale * matrix
    cosines = matrix / _norms(sides[0])[:, None] / _norms(sides[-1])
    # Rounding may leave a cosine above one.
    cosines = cosines.clamp(-1.0, 1.0)
    return (1.0 + cosines) / 2 if kind == "similar" else cosines


def as_roots(rows, name):
    """Roots as they are, or gradients (M, D) as roots of rank 1; at least one."""
    if not hasattr(rows, "num_parameters"):
        rows = FisherRoots.from_dense(as_tensor(rows, name, ("M", "D")))
    check_count(len(rows), name)
    return rows


def _check_sides(sides, posterior, kind):
    size = sides[0].num_parameters
    if sides[-1].num_parameters != size:
        raise ValueError(
            f"b must have {size} parameters, as a has, got {sides[-1].num_parameters}"
        )
    if posterior is not None and posterior.num_parameters != size:
        raise ValueError(
            f"posterior must have {size} parameters, as the rows have, got "
            f"{posterior.num_parameters}"
        )
    for rows, name in zip(sides, "ab", strict=False):
        if kind != "euclidean" and rows.rank != 1:
            raise ValueError(
                f"{name} must have rank 1 for kind {kind!r}, which normalises each "
                f"gradient, got rank {rows.rank}"
            )
    count, other = num_rows(sides[0]), num_rows(sides[-1])
    if count * other > frame.MAX_DENSE**2:
        raise ValueError(
            f"a and b must have at most {frame.MAX_DENSE}^2 pairs of rows, got {count} "
            f"and {other} rows: the matrix would take {8e-9 * count * other:.1f} GB"
        )


def _inner(a, b):
    return a.cross(b).reshape(num_rows(a), num_rows(b)).double()


def _norms(roots):
    """Norms of the rows of roots of rank 1, (M,), and 1 for a row of zeros."""
    norms = roots.self_gram().double()[:, 0, 0].sqrt()
    if not torch.isfinite(norms).all():
        raise ValueError("a and b must have rows of finite norm, got an overflow")
    return torch.where(norms > 0, norms, 1.0)


def _weighted(post, *sides):
    """Roots V and a scale with scale V V'^T = R P^{-1} R'^T."""
    post, *sides = shared_coordinates(post, *sides)
    if post.is_isotropic:
        return sides, 1.0 / post.prior_precision
    kind = frame.kind_of(post, None, sides)
    if kind == "dense":
        found = frame.Frame(post, lambda: post.root_inverse)
    else:
        # A span that holds the rows of both sides too leaves nothing over.
        span, x, _ = frame.span_base(post, kind, sides)
        found = frame.Frame(post, lambda: x, span=span)
    return [_whitened(found, one) for one in sides], 1.0


def _whitened(found, roots):
    parts = [rows for few in roots.batches(BATCH) for rows, _ in found.pieces(few)]
    return FisherRoots(torch.cat(parts))

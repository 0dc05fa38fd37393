"""What is left as the prior precision goes to zero: ranks and angles (T32, T34)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_count, positive_float, symmetric
from fimlib.fisher.roots import as_roots
from fimlib.linalg import EPS
from fimlib.similarity import psd


@dataclass(frozen=True)
class MutualInformationLimit:
    """LogDetMI as the prior precision lambda -> 0: twice JEPIG_0 (T34), in nats.

    value: the limit, inf unless slope is 0; slope: the directions that both row spaces
    share, rank_a + rank_e - rank_union; LogDetMI grows by that many log(1/lambda), and
    the JEPIG by half as many.
    """

    value: float
    slope: int
    rank_a: int
    rank_e: int
    rank_union: int


def principal_angles(a: Any, b: Any) -> Tensor:
    """Return the principal angles of the row spaces of `a` and `b`, ascending.

    a, b: Fisher roots, or gradients (M, D); each row counts, rows may be dependent and
    their lengths do not matter. (min(rank a, rank b),), in 0..pi/2: small angles come
    from their sines, so that they are accurate to eps (Bjorck & Golub 1973). Raises
    ValueError for no rows and different numbers of parameters.

    >>> principal_angles([[1.0, 0.0]], [[1.0, 1.0]]) / math.pi
    tensor([0.2500], dtype=torch.float64)
    """
    cosines, sines = _cosines_and_sines(*_bases(a, b, "ab"))
    small = cosines.square() > 0.5
    return torch.where(small, sines.asin(), cosines.acos())


def log_det_mi_limit(a: Any, e: Any) -> MutualInformationLimit:
    """Return the limit of LogDetMI(A; E) as lambda -> 0 (T34).

    -sum_i log(1 - cos^2 phi_i) over the principal angles of the row spaces: the lengths
    of all gradients cancel. Finite only where no angle is zero. a, e: Fisher roots, or
    gradients (M, D). Raises ValueError for no rows and different numbers of parameters.

    >>> round(math.exp(log_det_mi_limit([[1.0, 0.0]], [[1.0, 1.0]]).value), 9)
    2.0
    """
    left, right = _bases(a, e, "ae")
    cosines, sines = _cosines_and_sines(left, right)
    size = max(left.shape[1], len(left) + len(right))
    shared = int((sines <= 8 * size * EPS).sum())
    terms = torch.where(
        cosines.square() > 0.5, -2.0 * sines.log(), -torch.log1p(-cosines.square())
    )
    return MutualInformationLimit(
        value=float("inf") if shared else float(terms.sum()),
        slope=shared,
        rank_a=len(left),
        rank_e=len(right),
        rank_union=len(left) + len(right) - shared,
    )


def eig_small_prior(S: Any, prior_precision: float, order: int = 1) -> Tensor:
    """Return the EIG () in nats for a small prior precision from S (n, n) (T32).

    With lambda = `prior_precision` and s_i the r eigenvalues of S that are not zero:
    -(r/2) log lambda + 1/2 sum_i log s_i + (lambda/2) sum_i 1/s_i - ..., which is
    1/2 log det(I + S / lambda) but for what `order` leaves out, terms from
    (lambda / s_i)^(order + 1) on. Order 0 is the talk's
    1/2 log det S with the diverging term that it needs. Raises ValueError for lambda
    <= 0, an order below 0, and an S that is not positive semi-definite.

    >>> eig_small_prior([[4.0]], 1.0, order=0).mul(2).exp().round(decimals=9).item()
    4.0
    """
    return _expansion([(1, _spectrum(S, "S"))], prior_precision, order)


def jepig_small_prior(
    S_A: Any, S_AE: Any, S_E: Any, prior_precision: float, order: int = 1
) -> Tensor:
    """Return JEPIG(A; E) for a small prior precision lambda, () in nats (T34).

    The expansions of `eig_small_prior` for A and E, less the one for both together: the
    terms in log lambda cancel where `jepig_small_prior_slope` is 0. S_A (K, K), S_AE
    (K, E), S_E (E, E), lambda = `prior_precision`. Raises ValueError for wrong shapes,
    lambda <= 0, an order below 0, and blocks that belong to no positive semi-definite
    matrix.

    >>> jepig_small_prior([[4.0]], [[2.0]], [[2.0]], 1e-9).mul(2).exp()
    tensor(2.0000, dtype=torch.float64)
    """
    spectra = _spectra(S_A, S_AE, S_E)
    terms = list(zip((1, 1, -1), spectra, strict=True))
    return _expansion(terms, prior_precision, order)


def jepig_small_prior_slope(S_A: Any, S_AE: Any, S_E: Any) -> float:
    """Return JEPIG(A; E)'s growth per log(1/lambda): half the shared rank (T34).

    (rank A + rank E - rank of both) / 2, from S_A (K, K), S_AE (K, E) and S_E (E, E);
    0 where the JEPIG has a finite limit. Raises ValueError for wrong shapes, and blocks
    that belong to no positive semi-definite matrix.

    >>> jepig_small_prior_slope([[1.0]], [[1.0]], [[1.0]])
    0.5
    """
    rank_a, rank_e, rank_union = map(len, _spectra(S_A, S_AE, S_E))
    return (rank_a + rank_e - rank_union) / 2


def _bases(a: Any, b: Any, names: str) -> list[Tensor]:
    """Orthonormal bases (rank, D) of the spans of both sides' rows."""
    rows = [as_roots(*one).rows() for one in zip((a, b), names, strict=True)]
    if rows[0].shape[1] != rows[1].shape[1]:
        raise ValueError(
            f"{names[1]} must have {rows[0].shape[1]} parameters, as {names[0]} has, "
            f"got {rows[1].shape[1]}"
        )
    return [_basis(one) for one in rows]


def _basis(rows: Tensor) -> Tensor:
    """An orthonormal basis (rank, D) of the span of the rows, of whatever lengths."""
    # Scaled twice: a square of the largest entry may overflow.
    rows = rows / rows.abs().amax(1, keepdim=True).clamp(min=1e-300)
    norms = rows.norm(dim=1, keepdim=True)
    rows = rows / torch.where(norms > 0, norms, 1.0)
    _, singular, right = torch.linalg.svd(rows, full_matrices=False)
    return right[singular > 8 * max(rows.shape) * EPS * singular[:1]]


def _cosines_and_sines(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Of the principal angles, ascending, from orthonormal rows (p, D) and (q, D)."""
    if len(left) > len(right):
        left, right = right, left
    inner = left @ right.mT
    cosines = torch.linalg.svdvals(inner).clamp(max=1.0)
    outside = left - inner @ right
    # Once more: what is left of a small angle would else be rounding of the large part.
    outside = outside - (outside @ right.mT) @ right
    return cosines, torch.linalg.svdvals(outside).flip(0).clamp(max=1.0)


def _spectrum(kernel: Tensor, name: str) -> Tensor:
    kernel = symmetric(kernel, name, "n")
    check_count(len(kernel), name)
    try:
        return psd.spectrum(kernel)
    except psd.IndefiniteError as error:
        raise ValueError(
            f"{name} must be positive semi-definite, got a smallest eigenvalue of "
            f"{psd.smallest_eigenvalue(kernel):.6g}"
        ) from error


def _spectra(S_A: Any, S_AE: Any, S_E: Any) -> list[Tensor]:
    S_A, S_E = symmetric(S_A, "S_A", "K"), symmetric(S_E, "S_E", "E")
    S_AE = as_tensor(S_AE, "S_AE", (len(S_A), len(S_E)))
    joint = torch.cat([torch.cat([S_A, S_AE], 1), torch.cat([S_AE.mT, S_E], 1)])
    return [
        _spectrum(S_A, "S_A"),
        _spectrum(S_E, "S_E"),
        _spectrum(joint, "[[S_A, S_AE], [S_EA, S_E]]"),
    ]


def _expansion(terms: list, prior_precision: float, order: int) -> Tensor:
    lam = positive_float(prior_precision, "prior_precision")
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise ValueError(f"order must be an integer from 0 up, got {order!r}")
    total, rank = torch.zeros(()).double(), 0
    for sign, values in terms:
        rank += sign * len(values)
        series = values.log()
        for k in range(1, order + 1):
            series = series - (-lam / values) ** k / k
        total = total + sign * series.sum()
    return (total - rank * math.log(lam)) / 2

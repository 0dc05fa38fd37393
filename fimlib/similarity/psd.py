"""Kernels that may be singular: their factor if that keeps the digits, or spectrum."""

from __future__ import annotations

import torch
from torch import Tensor

from fimlib import linalg
from fimlib.linalg import EPS, squared_singular

# A Cholesky factor is kept up to this condition number, above which small kernels, and
# large ones only when digits are lost, are decomposed by eigenvalues.
_SMALL = 1_000
_TRUSTED_SMALL = 1e4
_TRUSTED_LARGE = 1e8


class IndefiniteError(ValueError):
    """A kernel has an eigenvalue below zero, beyond rounding."""


def factor(kernel: Tensor, jitter: float) -> tuple[Tensor | None, bool]:
    """Return L (n, n), L L^T = S + jitter I, or None, and if it is well-conditioned.

    Conditioning is that of the kernel scaled to a unit diagonal: the scale of single
    rows costs no digits.
    """
    shifted = kernel.clone()
    shifted.diagonal().add_(jitter)
    unit, norms = _unit_diagonal(shifted)
    lower, info = torch.linalg.cholesky_ex(unit)
    if info != 0:
        return None, False
    limit = _TRUSTED_SMALL if len(kernel) <= _SMALL else _TRUSTED_LARGE
    return lower * norms[:, None], linalg.condition_number(lower) <= limit


def rank_floor(kernel: Tensor, eps: float = EPS) -> Tensor:
    """Below this, eigenvalues of S scaled to a unit diagonal are zero: 8 n eps |S|."""
    return 8 * len(kernel) * eps * _unit_diagonal(kernel)[0].abs().sum(1).max()


def spectrum(kernel: Tensor, floor: Tensor | None = None) -> Tensor:
    """Return the eigenvalues of S that are not zero, (rank,), in descending order.

    The rank is that of S scaled to a unit diagonal, as far as eigenvalues exceed the
    floor, S's own or that of a matrix of which S is a block.

    Raises:
        IndefiniteError: an eigenvalue as far below zero.
    """
    if not len(kernel):
        return kernel.new_zeros(0)
    floor = rank_floor(kernel) if floor is None else floor
    unit, norms = _unit_diagonal(kernel)
    values, vectors = torch.linalg.eigh(unit)
    if values[0] < -floor:
        raise IndefiniteError
    kept = values > floor
    rows = vectors[:, kept] * values[kept].sqrt() * norms[:, None]
    return squared_singular(rows.mT)[0][: int(kept.sum())]


def smallest_eigenvalue(kernel: Tensor) -> float:
    """The smallest eigenvalue of a kernel, a float, for messages."""
    return float(torch.linalg.eigvalsh(kernel)[0])


def _unit_diagonal(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel scaled to a unit diagonal, and the norms (n,) taken out of it."""
    diagonal = kernel.diagonal()
    norms = torch.where(diagonal > 0, diagonal, 1.0).sqrt()
    return kernel / norms[:, None] / norms, norms

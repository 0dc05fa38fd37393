"""Orthonormal coordinates of the span of some roots, and what is left over (T8, T30).

With the training roots T in such coordinates, P = lambda I + T^T T is known from T
alone, and outside them it is lambda: what a root has left over counts 1/lambda each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fimlib import linalg
from fimlib.fisher.roots import FisherRoots
from fimlib.linalg import EPS

# Relative error of what is left over that asks for a residual in doubled precision.
_CARELESS = 1e-13


class Form(NamedTuple):
    """S = X inner X^T in a frame, and outside of its span, with `rest`, the prior's.

    inner: weights (k,) or a symmetric matrix (k, k); None is the identity.
    """

    inner: Tensor | None = None
    rest: bool = True

    def times(self, rows: Tensor) -> Tensor:
        """rows @ inner, (..., k)."""
        if self.inner is None:
            return rows
        inner = self.inner.to(rows.device)
        return rows * inner if inner.ndim == 1 else rows @ inner


POSTERIOR = Form()


class AllParameters:
    """All D coordinates: nothing is left over."""

    def __init__(self, num_parameters: int) -> None:
        self.width = num_parameters

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The rows (..., D), and nothing (..., 0)."""
        return rows, rows[..., :0]

    def coordinates(self, part: FisherRoots) -> tuple[Tensor, Tensor]:
        """The rows (M, r, D), and nothing (M, r, 0)."""
        return self.split(part.dense().double())

    def columns(self, coordinates: Tensor) -> Tensor:
        """The coordinates (D, n), as vectors."""
        return coordinates


class RowSpan:
    """An orthonormal basis of the span of training and evaluation rows (n, D).

    The first `inner` vectors span the training rows T. A root's part outside of these
    is divided by a small lambda, and a root that repeats T must have none: with
    `refine` it is a residual in doubled precision, where plain rounding could be seen
    beside it or beside sqrt(lambda).
    """

    def __init__(
        self, train: Tensor, evals: Tensor, prior_precision: float, refine: bool
    ) -> None:
        # Rows far below the prior change no digit of P, but would take part in a basis.
        train = train[train.square().sum(1) > EPS * prior_precision]
        # Scaled by powers of two, which are exact, so that no row is below rounding.
        scale = torch.frexp(train.norm(dim=1, keepdim=True))[1]
        self.train = train * torch.ldexp(torch.ones_like(train[:, :1]), -scale)
        self.width = train.shape[1]
        self.prior_precision, self.refine = prior_precision, refine
        left, singular, right = torch.linalg.svd(self.train, full_matrices=False)
        kept = singular > 8 * max(train.shape) * EPS * singular[:1]
        self.inner = int(kept.sum())
        self.basis = basis = right[kept].mT
        self.inverse = (basis / singular[kept]) @ left[:, kept].mT
        # By P's condition, what plain rounding of a part outside changes of a score.
        condition = 1.0 + float(train.square().sum()) / prior_precision
        self.careful = refine and 8 * EPS * condition**0.5 > _CARELESS
        outside = self._outside(evals)
        if outside.numel():
            more = torch.linalg.qr(torch.cat([basis, outside.mT], dim=1))[0]
            self.basis = torch.cat([basis, more[:, self.inner :]], dim=1)
        self.train_anchors = train @ basis
        self.eval_anchors = self.split(evals)[0]

    def _outside(self, rows: Tensor) -> Tensor:
        """The part of rows (..., D) outside of the training rows; (..., 0) if none."""
        if self.inner in (0, self.width):
            return rows if self.inner == 0 else rows[..., :0]
        basis = self.basis[:, : self.inner].to(rows)
        rest = rows - (rows @ basis) @ basis.mT
        rest = rest - (rest @ basis) @ basis.mT
        if not self.careful:
            return rest
        size = rest.norm(dim=-1).clamp(min=self.prior_precision**0.5)
        unsure = 8 * EPS * rows.norm(dim=-1) > _CARELESS * size
        rest[unsure] = self._residual(rows[unsure])
        return rest

    def _residual(self, rows: Tensor) -> Tensor:
        train, inverse = self.train.to(rows), self.inverse.to(rows)
        # The first residual lies in the span of T but for rounding; a second one leaves
        # nothing of it where T is ill-conditioned.
        for _ in range(2):
            rows = linalg.residual(rows, rows @ inverse, train)
        return rows

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (..., a) of rows (..., D), and what is left, (..., D or 0)."""
        basis = self.basis.to(rows)
        new, inner = basis[:, self.inner :], rows @ basis[:, : self.inner]
        rest = self._outside(rows)
        if not new.shape[1]:
            return inner, rest
        found = rest @ new
        rest = rest - found @ new.mT
        more = rest @ new
        rest = rest - more @ new.mT
        if basis.shape[1] == self.width:
            rest = rest[..., :0]
        return torch.cat([inner, found + more], dim=-1), rest

    def columns(self, coordinates: Tensor) -> Tensor:
        """Vectors (D, n) from coordinates (a, n)."""
        return self.basis.to(coordinates) @ coordinates

    def coordinates(self, part: FisherRoots) -> tuple[Tensor, Tensor]:
        """(M, r, a) in the basis, and a root of what is left, (M, r, at most D)."""
        if not self.basis.shape[1]:
            rest = part.double().own_rows().double()
            return rest[..., :0], rest
        inside, rest = self.split(part.dense().double())
        if rest.shape[1] < rest.shape[2]:
            rest = torch.linalg.qr(rest.mT, mode="r")[1].mT
        return inside, rest


class GramSpan:
    """The same span known from inner products only: no row of D numbers is formed.

    What is left over is a difference, known to eps times the squared norm of a root.
    """

    refine = False

    def __init__(self, train: Sequence, evals: Sequence) -> None:
        self.roots = [one.held_if_small() for one in (*train, *evals)]
        count = sum(one.num_rows for one in train)
        parts = [self._products(part).flatten(0, 1) for part in self.roots]
        gram = torch.cat(parts) if parts else torch.zeros(0, 0).double()
        values, vectors = torch.linalg.eigh((gram + gram.mT) / 2)
        kept = values > len(values) * EPS * values[-1:].clamp(min=0.0)
        values, vectors = values[kept], vectors[:, kept]
        self.whitener = vectors / values.sqrt()
        anchors = vectors * values.sqrt()
        self.train_anchors, self.eval_anchors = anchors[:count], anchors[count:]
        self.inner = anchors.shape[1]
        self.width = len(gram)

    def _products(self, part: FisherRoots) -> Tensor:
        none = torch.zeros(len(part), part.rank, 0, dtype=torch.float64)
        found = [part.cross(one).flatten(2).double() for one in self.roots]
        return torch.cat([none.to(part.device), *found], dim=2)

    def coordinates(self, part: FisherRoots) -> tuple[Tensor, Tensor]:
        """(M, r, k) in the span, and a root of what is left over, (M, r, r)."""
        inside = self._products(part) @ self.whitener.to(part.device)
        whole = part.self_gram().double()
        floor = self.width * EPS * whole.diagonal(dim1=-2, dim2=-1)
        return inside, _semidefinite_factor(whole - inside @ inside.mT, floor)


def _semidefinite_factor(gram: Tensor, floor: Tensor) -> Tensor:
    """L (M, r, r) with L L^T = G where the pivots exceed their floor (M, r)."""
    columns = []
    for k in range(gram.shape[-1]):
        pivot = gram[..., k, k]
        known = pivot > floor[..., k]
        scale = torch.where(known, pivot, 1.0).sqrt()
        column = torch.where(known[..., None], gram[..., k], 0.0) / scale[..., None]
        columns.append(column)
        gram = gram - column[..., :, None] * column[..., None, :]
    return torch.stack(columns, dim=-1)

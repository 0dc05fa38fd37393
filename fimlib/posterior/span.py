"""Orthonormal coordinates of the span of some roots, and what is left over (T8, T30).

With the training roots T in such coordinates, P = lambda I + T^T T is known from T
alone, and outside them it is lambda: what a root has left over counts 1/lambda each.
"""

import warnings

import torch

from fimlib import linalg

EPS = torch.finfo(torch.float64).eps
# Examples scored at once.
BATCH = 16_384


class AccuracyWarning(UserWarning):
    """The precision is so ill-conditioned that scores may lose half their digits."""


def warn_if_inaccurate(error):
    """Emit an `AccuracyWarning` when the expected relative error exceeds 1e-6."""
    if error > 1e-6:
        warnings.warn(
            f"scores may be wrong by a relative error of {min(error, 1.0):.1g}, "
            "because the posterior precision is ill-conditioned: raise the prior "
            "precision, or score fewer examples at once (small problems are solved on "
            "the roots themselves, which keeps twice the digits)",
            AccuracyWarning,
            stacklevel=2,
        )


def num_rows(*roots):
    """Rows of all these roots together."""
    return sum(len(part) * part.rank for part in roots)


def stacked(roots):
    """All rows (M r, D) of the roots in float64."""
    return roots.dense().double().flatten(0, 1)


class RowSpan:
    """An orthonormal basis of the span of training and evaluation rows (a, D).

    The first `inner` vectors span the training rows T. A root's part outside of these
    is divided by a small lambda, and a root that repeats T must have none: with
    `refine` it is a residual in doubled precision, and not only rounding.
    """

    def __init__(self, train, evals, refine):
        # Scaled by powers of two, which are exact, so that no row is below rounding.
        scale = torch.frexp(train.norm(dim=1, keepdim=True))[1]
        self.train = train * torch.ldexp(torch.ones_like(train[:, :1]), -scale)
        left, singular, right = torch.linalg.svd(self.train, full_matrices=False)
        kept = singular > 8 * max(train.shape) * EPS * singular[:1]
        self.inner = int(kept.sum())
        basis = right[kept].mT
        self.inverse = (basis / singular[kept]) @ left[:, kept].mT
        self.refine = refine and self.inner > 0
        self.basis = basis
        outside = self._outside(evals)
        if len(outside):
            more = torch.linalg.qr(torch.cat([basis, outside.mT], dim=1))[0]
            self.basis = torch.cat([basis, more[:, self.inner :]], dim=1)
        self.train_anchors = train @ basis
        self.eval_anchors = self._split(evals)[0]
        self.width = train.shape[1]

    def error(self, condition):
        """Expected relative error of scores under a precision so conditioned."""
        return 100 * EPS * (condition**0.5 if self.refine else condition)

    def _outside(self, rows):
        """The part of rows (..., D) orthogonal to the training rows."""
        if not self.refine:
            basis = self.basis[:, : self.inner].to(rows)
            rows = rows - (rows @ basis) @ basis.mT
            return rows - (rows @ basis) @ basis.mT
        flat = rows.flatten(0, -2)
        train, inverse = self.train.to(rows), self.inverse.to(rows)
        # The first residual lies in the span of T but for rounding; a second one leaves
        # nothing of it where T is ill-conditioned.
        for _ in range(2):
            flat = linalg.residual(flat, flat @ inverse, train)
        return flat.view_as(rows)

    def _split(self, rows):
        """Coordinates (..., a) of rows, and what is left over (..., D)."""
        basis = self.basis.to(rows)
        new = basis[:, self.inner :]
        rest = self._outside(rows)
        found = rest @ new
        rest = rest - found @ new.mT
        more = rest @ new
        rest = rest - more @ new.mT
        inner = rows @ basis[:, : self.inner]
        return torch.cat([inner, found + more], dim=-1), rest

    def coordinates(self, part):
        """(M, r, a) in the basis, and a root of what is left, (M, r, at most D)."""
        if not self.basis.shape[1] and part.kronecker:
            norms = part.features.double().norm(dim=-1)[:, None, None]
            rest = part.factor.double().mT * norms
            return rest[..., :0], rest
        inside, rest = self._split(part.dense().double())
        if self.basis.shape[1] == self.width:
            rest = rest[..., :0]
        elif rest.shape[1] < rest.shape[2]:
            rest = torch.linalg.qr(rest.mT, mode="r")[1].mT
        return inside, rest


class GramSpan:
    """The same span known from inner products only: no row of D numbers is formed.

    What is left over comes from a subtraction: it is known to eps times the squared
    norm of a root.
    """

    def __init__(self, train_roots, evals):
        self.roots = [_held(one) for one in (*train_roots, *evals)]
        none = torch.zeros(0, num_rows(*self.roots), dtype=torch.float64)
        gram = [self._products(part).flatten(0, 1) for part in self.roots]
        gram = torch.cat([none.to(self.roots[0].device), *gram]) if gram else none
        values, vectors = torch.linalg.eigh((gram + gram.mT) / 2)
        kept = values > len(values) * EPS * values[-1:].clamp(min=0.0)
        values, vectors = values[kept], vectors[:, kept]
        self.whitener = vectors / values.sqrt()
        anchors = vectors * values.sqrt()
        count = num_rows(*train_roots)
        self.train_anchors, self.eval_anchors = anchors[:count], anchors[count:]
        self.inner = anchors.shape[1]
        self.width = len(gram)

    def error(self, condition):
        """Expected relative error of scores under a precision so conditioned."""
        return 100 * EPS * condition

    def _products(self, part):
        none = torch.zeros(len(part), part.rank, 0, dtype=torch.float64)
        found = [part.cross(one).flatten(2).double() for one in self.roots]
        return torch.cat([none.to(part.device), *found], dim=2)

    def coordinates(self, part):
        """(M, r, k) in the span, and a root of what is left over, (M, r, r)."""
        inside = self._products(part) @ self.whitener.to(part.device)
        whole = part.self_gram().double()
        floor = self.width * EPS * whole.diagonal(dim1=-2, dim2=-1)
        return inside, _semidefinite_factor(whole - inside @ inside.mT, floor)


def _held(roots):
    """Kronecker roots of a stream together, as they are small; others as they are."""
    if roots.streamed and roots.kronecker and len(roots):
        return next(roots.batches(len(roots)))
    return roots


def _semidefinite_factor(gram, floor):
    """L (M, r, r) with L L^T = G where the pivots exceed their floor (M, r)."""
    columns = []
    for k in range(gram.shape[-1]):
        pivot = gram[..., k, k]
        known = pivot > floor[..., k]
        scale = torch.where(known, pivot, 1.0).sqrt()
        columns.append(
            torch.where(known[..., None], gram[..., k], 0.0) / scale[..., None]
        )
        column = columns[-1]
        gram = gram - column[..., :, None] * column[..., None, :]
    return torch.stack(columns, dim=-1)


def squared_singular(rows):
    """All n squared singular values of rows (a, n), and orthonormal vectors (n, n).

    Large columns come first, so that small ones beside them keep their own digits.
    """
    size = rows.shape[1]
    order = rows.norm(dim=0).argsort(descending=True)
    rows = torch.linalg.qr(rows[:, order], mode="r")[1]
    _, singular, vectors = torch.linalg.svd(rows, full_matrices=True)
    values = rows.new_zeros(size)
    values[: len(singular)] = singular.square()
    return values, vectors.mT[order.argsort()]

"""Covariances R_i S R_j^T of a pool's rows, and what a chosen batch leaves of them.

S is the posterior covariance, or what other examples leave of it. S R^T of a chosen
example is kept as columns: of D numbers each, which rows of the pool meet in a product,
or, where D is too large for that, of M r numbers, its products with all those rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fimlib import linalg
from fimlib.fisher.roots import BATCH, FisherRoots, outer
from fimlib.linalg import EPS
from fimlib.posterior.frame import Frame, frame_of
from fimlib.posterior.gaussian import GaussianPosterior
from fimlib.posterior.span import Form


class Pool:
    """The pool in a frame, by columns of D numbers."""

    def __init__(self, roots: FisherRoots, frame: Frame, by_blocks: bool) -> None:
        self.roots = roots
        self.frame = frame
        self.by_blocks = by_blocks
        self.length = roots.num_parameters

    def grams(self, *forms: Form) -> list[Tensor]:
        """Gram blocks R_i S R_i^T (M, r, r) for each S."""
        # Made first: small results kept between large temporaries would pin memory.
        shape = len(self.roots), self.roots.rank, self.roots.rank
        like: dict = {"dtype": torch.float64, "device": self.roots.device}
        found = [torch.empty(shape, **like) for _ in forms]
        start = 0
        for part in self.roots.batches(BATCH):
            for few in self.frame.grams(part, *forms, by_blocks=self.by_blocks):
                end = start + len(few[0])
                for whole, one in zip(found, few, strict=True):
                    whole[start:end] = one
                start = end
        return found

    def columns(self, index: int, *forms: Form) -> Sequence[Tensor]:
        """S R^T of one example, (D, r), for each S."""
        rows, frame = self.roots[[index]].double().rows(), self.frame
        z, rest = frame.split(rows)
        columns = [frame.columns(form.times(z).mT) for form in forms]
        if not rest.shape[1]:
            return columns
        outside = rest.mT / frame.scale
        return [
            one + form.rest * outside for one, form in zip(columns, forms, strict=True)
        ]

    def product(self, indices: Tensor | list | None, columns: Tensor) -> Tensor:
        """R_i V (m, r, n) of these examples, or of all, with columns V (D, n)."""
        return (self.roots if indices is None else self.roots[indices]).times(columns)

    def coordinates(self, rows: Tensor) -> Tensor:
        """Coordinates (n, k) in the frame of rows (n, D) that lie in its span."""
        return self.frame.split(rows)[0]


class ProductPool(Pool):
    """The pool known from inner products only: no vector of D numbers is formed."""

    def __init__(self, roots: FisherRoots, frame: Frame) -> None:
        super().__init__(roots, frame, False)
        self.length = roots.num_rows
        parts = [frame.span.coordinates(part) for part in roots.batches(BATCH)]
        self.inside = torch.cat([inside for inside, _ in parts])
        self.rest = torch.cat([rest for _, rest in parts])

    def grams(self, *forms: Form) -> list[Tensor]:
        """Gram blocks R_i S R_i^T (M, r, r) for each S."""
        z = self.inside @ self._inverse_root()
        outside = outer(self.rest) / self.frame.post.prior_precision
        return [form.times(z) @ z.mT + form.rest * outside for form in forms]

    def columns(self, index: int, *forms: Form) -> Sequence[Tensor]:
        """R_i S R^T of one example with all rows of the pool, (M r, r), for each S."""
        mine, x = self.inside[index].mT, self._inverse_root()
        rest = self.roots.cross(self.roots[[index]])[:, :, 0].double()
        rest -= self.inside @ mine
        # Rows that lie in the span have nothing left, where products have rounding.
        known = self.rest.square().sum(-1) > 0
        rest *= known[:, :, None] & known[index]
        rest /= self.frame.post.prior_precision
        z = mine.mT @ x
        inside = [self.inside @ (x @ form.times(z).mT) for form in forms]
        return [
            (one + form.rest * rest).flatten(0, 1)
            for one, form in zip(inside, forms, strict=True)
        ]

    def product(self, indices: Tensor | list | None, columns: Tensor) -> Tensor:
        """Rows of these examples, or of all, in columns (M r, n): (m, r, n)."""
        columns = columns.unflatten(0, (len(self.roots), -1))
        return columns if indices is None else columns[indices]

    def coordinates(self, rows: Tensor) -> Tensor:
        """Coordinates (n, k) in the frame of rows (n, D) that lie in its span."""
        inside, _ = self.frame.span.coordinates(FisherRoots(rows[:, None]))
        return inside[:, 0] @ self._inverse_root()

    def _inverse_root(self) -> Tensor:
        return self.frame.inverse_root().to(self.inside)


def pool_of(
    roots: FisherRoots,
    post: GaussianPosterior,
    eval_roots: FisherRoots | None = None,
    by_blocks: bool = True,
) -> Pool:
    """The pool's covariances under P, in a frame with the evaluation roots if given."""
    frame = frame_of(post, roots, eval_roots, again=True)
    if frame.way == "products":
        return ProductPool(roots, frame)
    return Pool(roots, frame, by_blocks)


class Columns:
    """W (n, steps r) with S - W W^T what a growing batch leaves of S."""

    def __init__(self, pool: Pool, steps: int) -> None:
        self.pool = pool
        self.rank = pool.roots.rank
        like: dict = {"dtype": torch.float64, "device": pool.roots.device}
        self.space = torch.empty(pool.length, steps * self.rank, **like)
        self.count = 0

    def add(self, index: int, columns: Tensor, gram: Tensor) -> Tensor:
        """Take one more example, by S R^T (n, r) and its Gram block (r, r) by now."""
        before = self.space[:, : self.count]
        if self.count:
            mine = self.pool.product([index], before)[0]
            columns = columns - before @ mine.mT
        factor = linalg.identity_plus_cholesky(gram)[0]
        new = torch.linalg.solve_triangular(factor, columns.mT, upper=False).mT
        self.space[:, self.count : self.count + self.rank] = new
        self.count += self.rank
        return new

    def products(self, indices: Tensor | None, since: int) -> Tensor:
        """R_i W (m, r, n) of these examples, or of all, from column `since` on."""
        return self.pool.product(indices, self.space[:, since : self.count])


def trace(grams: Tensor) -> Tensor:
    """The traces (M,) of Gram blocks (M, r, r)."""
    return grams.diagonal(dim1=-2, dim2=-1).sum(-1)


def rounding(gram: Tensor, size: Tensor) -> Tensor:
    """Rounding in 1/2 log det(I + G), where G (r, r) is left of a Gram of trace size.

    By the derivative tr((I + G)^{-1} dG) / 2, with dG of eps times the size.
    """
    values = torch.linalg.eigvalsh(gram).clamp(min=0.0)
    return EPS * size * (1.0 / (1.0 + values)).sum() / 2

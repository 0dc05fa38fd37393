"""Covariances R_i S R_j^T of a pool's rows, and what a chosen batch leaves of them.

S is the posterior covariance, or what other examples leave of it. S R^T of a chosen
example is kept as columns: of D numbers each, which rows of the pool meet in a product,
or, where D is too large for that, of M r numbers, its products with all those rows.
"""

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
    """The pool in a frame, whose P holds the F_i `taken`, by columns of D numbers."""

    def __init__(self, roots: FisherRoots, frame: Frame, taken: Sequence[int]) -> None:
        self.roots, self.frame, self.taken = roots, frame, tuple(taken)
        self.length = roots.num_parameters

    def grams(self, *forms: Form) -> list[Tensor]:
        """Gram blocks R_i S R_i^T (M, r, r) for each S."""
        # Made first: small results kept between large temporaries would pin memory.
        rank, start = self.roots.rank, 0
        found = [self.empty(len(self.roots), rank, rank) for _ in forms]
        for part in self.roots.batches(BATCH):
            for few in self.frame.grams(part, *forms, by_blocks=not self.taken):
                end = start + len(few[0])
                for whole, one in zip(found, few, strict=True):
                    whole[start:end] = one
                start = end
        return found

    def empty(self, *shape: int) -> Tensor:
        """A tensor of this shape where the roots are, to be filled."""
        return torch.empty(shape, dtype=torch.float64, device=self.roots.device)

    def columns(self, index: int, *forms: Form) -> list[Tensor]:
        """S R^T of one example, (D, r), for each S."""
        z, rest = self.frame.split(self.roots[[index]].double().rows())
        columns = [self.frame.columns(form.times(z).mT) for form in forms]
        if rest.shape[1]:
            outside = rest.mT / self.frame.scale
            for one, form in zip(columns, forms, strict=True):
                one += form.rest * outside
        return columns

    def product(self, indices: Tensor | list | None, columns: Tensor) -> Tensor:
        """R_i V (m, r, n) of these examples, or of all, with columns V (D, n)."""
        return (self.roots if indices is None else self.roots[indices]).times(columns)

    def coordinates(self, rows: Tensor) -> Tensor:
        """Coordinates (n, k) in the frame of rows (n, D) that lie in its span."""
        return self.frame.split(rows)[0]


class ProductPool(Pool):
    """The pool known from inner products only: no vector of D numbers is formed."""

    def __init__(self, roots: FisherRoots, frame: Frame, taken: Sequence[int]) -> None:
        super().__init__(roots, frame, taken)
        self.length = roots.num_rows
        parts = [frame.span.coordinates(part) for part in roots.batches(BATCH)]
        self.inside, self.rest = map(torch.cat, zip(*parts, strict=True))

    def grams(self, *forms: Form) -> list[Tensor]:
        """Gram blocks R_i S R_i^T (M, r, r) for each S."""
        z = self.inside @ self._inverse_root()
        outside = outer(self.rest) / self.frame.post.prior_precision
        return [form.times(z) @ z.mT + form.rest * outside for form in forms]

    def columns(self, index: int, *forms: Form) -> list[Tensor]:
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
        pairs = zip(inside, forms, strict=True)
        return [(one + form.rest * rest).flatten(0, 1) for one, form in pairs]

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


def held(roots: FisherRoots) -> FisherRoots:
    """Roots that many steps go over: held if small, and factors in float64."""
    roots = roots.held_if_small()
    return roots.double() if roots.factored else roots


def pool_of(
    roots: FisherRoots, post: GaussianPosterior, others: FisherRoots | None = None,
    taken: Sequence[int] = (),
) -> Pool:  # fmt: skip
    """The covariances under P + the F_i `taken`, in a frame with others if given."""
    post = post.update(roots[taken]) if taken else post
    frame = frame_of(post, roots, others, again=True)
    return (ProductPool if frame.way == "products" else Pool)(roots, frame, taken)


class Columns:
    """W (n, steps r) with S - W W^T what a growing batch leaves of S."""

    def __init__(self, pool: Pool, batch_size: int) -> None:
        self.pool, self.count = pool, 0
        steps = batch_size - len(pool.taken)
        self.space = pool.empty(pool.length, steps * pool.roots.rank)

    def add(self, index: int, columns: Tensor, gram: Tensor) -> Tensor:
        """Take one more example, by S R^T (n, r) and its Gram block (r, r) by now."""
        before = self.space[:, : self.count]
        if self.count:
            mine = self.pool.product([index], before)[0]
            columns = columns - before @ mine.mT
        factor = linalg.identity_plus_cholesky(gram)[0]
        new = torch.linalg.solve_triangular(factor, columns.mT, upper=False).mT
        self.space[:, self.count : self.count + len(gram)] = new
        self.count += len(gram)
        return new


def trace(grams: Tensor) -> Tensor:
    """The traces (M,) of Gram blocks (M, r, r)."""
    return grams.diagonal(dim1=-2, dim2=-1).sum(-1)


def rounding(gram: Tensor, size: Tensor) -> Tensor:
    """Rounding in 1/2 log det(I + G), with G (r, r) left of a Gram of trace size."""
    # By the derivative tr((I + G)^{-1} dG) / 2, with dG of eps times the size.
    values = torch.linalg.eigvalsh(gram).clamp(min=0.0)
    return EPS * size * (1.0 / (1.0 + values)).sum() / 2

"""Covariances R_i S R_j^T of a pool's rows, and what a chosen batch leaves of them.

S is the posterior covariance, or what other examples leave of it. S R^T of a chosen
example is kept as columns: of D numbers each, which rows of the pool meet in a product,
or, where D is too large for that, of M r numbers, its products with all those rows.
"""

import math
from typing import NamedTuple

import torch

from fimlib.fisher import FisherRoots, KroneckerRoots, LayeredRoots
from fimlib.fisher.roots import join
from fimlib.fisher.streamed import HELD_NUMBERS
from fimlib.posterior.frame import Frame, frame_of, kind_of
from fimlib.posterior.span import BATCH, EPS, GramSpan, squared_singular

# Pivots taken one by one; larger Gram blocks are eliminated by blocks.
_LEAF = 16
# Numbers of examples that are worked on without cutting them into parts.
_SMALL = 2**20


class Form(NamedTuple):
    """S = X inner X^T in a frame, and outside of its span, with `rest`, the prior's.

    inner: weights (k,) or a symmetric matrix (k, k); None is the identity.
    """

    inner: torch.Tensor | None = None
    rest: bool = True

    def times(self, rows):
        """rows @ inner, (..., k)."""
        if self.inner is None:
            return rows
        inner = self.inner.to(rows.device)
        return rows * inner if inner.ndim == 1 else rows @ inner


POSTERIOR = Form()


class IsotropicPool:
    """The pool under P = lambda I, of which nothing is held beside the roots."""

    def __init__(self, roots, prior_precision):
        self.roots = roots
        self.prior_precision = prior_precision
        self.length = roots.num_parameters

    def grams(self, *forms):
        """Gram blocks R_i S R_i^T (M, r, r) for each S."""
        each = 16 * self.roots.rank * self.length
        parts = ([_self_gram(part)] for part in self.roots.chunks(each))
        (grams,) = _joined(self.roots, parts, 1, self.roots.rank)
        return [grams / self.prior_precision for _ in forms]

    def columns(self, index, *forms):
        """S R^T of one example, (D, r), for each S."""
        rows = _rows(self.roots[[index]])[0]
        return [rows.mT / self.prior_precision for _ in forms]

    def product(self, indices, columns):
        """R_i V (m, r, n) of these examples, or of all, with columns V (D, n)."""
        roots = self.roots if indices is None else self.roots[indices]
        return _times(roots, columns)


class FramePool:
    """The pool in a frame whose coordinates are vectors of D numbers."""

    def __init__(self, roots, frame, by_blocks=True):
        self.roots = roots
        self.frame = frame
        self.by_blocks = by_blocks
        self.length = roots.num_parameters

    def grams(self, *forms):
        """Gram blocks R_i S R_i^T (M, r, r) for each S."""
        parts = self.roots.batches(BATCH)
        if self.by_blocks and self.frame.by_blocks(self.roots):
            matrices = [self._matrix(form) for form in forms]
            found = (
                [_in_double(part).gram_of_symmetric(one) for one in matrices]
                for part in parts
            )
        else:
            found = (grams for part in parts for grams in self._by_rows(part, forms))
        return _joined(self.roots, found, len(forms), self.roots.rank)

    def _by_rows(self, part, forms):
        for few in part.chunks(part.rank * self.length):
            z, rest = self._split(_rows(few))
            outside = outer(rest)
            yield [form.times(z) @ z.mT + form.rest * outside for form in forms]

    def columns(self, index, *forms):
        """S R^T of one example, (D, r), for each S."""
        z, rest = self._split(_rows(self.roots[[index]])[0])
        rows = torch.cat([form.times(z) for form in forms])
        columns = self._inverse_root().to(z) @ rows.mT
        if self.frame.span is None:
            return columns.chunk(len(forms), dim=1)
        columns = (self.frame.span.basis.to(z) @ columns).chunk(len(forms), dim=1)
        outside = rest.mT / self._scale()
        return [
            inside + form.rest * outside
            for inside, form in zip(columns, forms, strict=True)
        ]

    def product(self, indices, columns):
        """R_i V (m, r, n) of these examples, or of all, with columns V (D, n)."""
        roots = self.roots if indices is None else self.roots[indices]
        return _times(roots, columns)

    def coordinates(self, rows):
        """Coordinates (n, k) in the frame of rows (n, D) that lie in its span."""
        return self._split(rows)[0]

    def _split(self, rows):
        inverse_root = self._inverse_root().to(rows)
        if self.frame.span is None:
            return rows @ inverse_root, rows[..., :0]
        inside, rest = self.frame.span._split(rows)
        return inside @ inverse_root, rest / self._scale()

    def _inverse_root(self):
        return self.frame.inverse_root()

    def _scale(self):
        return math.sqrt(self.frame.post.prior_precision)

    def _matrix(self, form):
        if form.inner is None:
            return self.frame.post.covariance
        x = self._inverse_root()
        matrix = form.times(x) @ x.mT
        return (matrix + matrix.mT) / 2


class ProductPool:
    """The pool known from inner products only: no vector of D numbers is formed."""

    def __init__(self, roots, frame):
        self.roots = roots
        self.frame = frame
        self.length = len(roots) * roots.rank
        parts = [frame.span.coordinates(part) for part in roots.batches(BATCH)]
        self.inside = torch.cat([inside for inside, _ in parts])
        self.rest = torch.cat([rest for _, rest in parts])

    def grams(self, *forms):
        """Gram blocks R_i S R_i^T (M, r, r) for each S."""
        z = self.inside @ self._inverse_root()
        outside = outer(self.rest) / self.frame.post.prior_precision
        return [form.times(z) @ z.mT + form.rest * outside for form in forms]

    def columns(self, index, *forms):
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

    def product(self, indices, columns):
        """Rows of these examples, or of all, in columns (M r, n): (m, r, n)."""
        columns = columns.unflatten(0, (len(self.roots), -1))
        return columns if indices is None else columns[indices]

    def coordinates(self, rows):
        """Coordinates (n, k) in the frame of rows (n, D) that lie in its span."""
        inside, _ = self.frame.span.coordinates(FisherRoots(rows[:, None]))
        return inside[:, 0] @ self._inverse_root()

    def _inverse_root(self):
        return self.frame.inverse_root().to(self.inside)


def pool_of(roots, post, eval_roots=None, by_blocks=True):
    """The pool's covariances under P, in a frame with the evaluation roots if given."""
    plain = roots.kronecker or type(roots) is FisherRoots
    if eval_roots is None and post.is_isotropic and plain:
        return IsotropicPool(roots, post.prior_precision)
    evals = () if eval_roots is None else (eval_roots,)
    # Rows of a network's roots are made anew for each product, and D may be large.
    made = isinstance(roots, LayeredRoots) or roots.streamed
    if made and len(roots) * roots.rank * roots.num_parameters > _SMALL:
        if kind_of(post, roots, evals) != "dense":
            return ProductPool(roots, _gram_frame(post, evals))
    frame = frame_of(post, roots, eval_roots)
    if isinstance(frame.span, GramSpan):
        return ProductPool(roots, frame)
    return FramePool(roots, frame, by_blocks)


def _gram_frame(post, evals):
    span, x, _ = post.span_base("gram", evals)
    m = None
    if evals:
        m, vectors = squared_singular(span.eval_anchors @ x)
        x = x @ vectors
    return Frame(post, lambda: x, m, span)


def held(roots):
    """Roots of a stream held, where that is no more than 256 MiB or factors only."""
    if roots.streamed:
        if roots.kronecker:
            roots = next(roots.batches(len(roots)))
        elif len(roots) * roots.numbers_each <= HELD_NUMBERS:
            roots = join(list(roots.parts()))
    return _in_double(roots) if isinstance(roots, LayeredRoots) else roots


def _in_double(roots):
    """Factored roots in float64, so that inner products have its digits."""
    if isinstance(roots, LayeredRoots):
        return LayeredRoots([(d.double(), a.double(), b) for d, a, b in roots.layers])
    return KroneckerRoots(roots.factor.double(), roots.features.double(), roots.basis)


class Columns:
    """W (n, steps r) with S - W W^T what a growing batch leaves of S."""

    def __init__(self, pool, steps):
        self.pool = pool
        self.rank = pool.roots.rank
        like = {"dtype": torch.float64, "device": pool.roots.device}
        self.space = torch.empty(pool.length, steps * self.rank, **like)
        self.count = 0

    def add(self, index, columns, gram):
        """Take one more example, by S R^T (n, r) and its Gram block (r, r) by now."""
        before = self.space[:, : self.count]
        if self.count:
            mine = self.pool.product([index], before)[0]
            columns = columns - before @ mine.mT
        factor = _cholesky_of_identity_plus(gram)[0]
        new = torch.linalg.solve_triangular(factor, columns.mT, upper=False).mT
        self.space[:, self.count : self.count + self.rank] = new
        self.count += self.rank
        return new

    def products(self, indices, since):
        """R_i W (m, r, n) of these examples, or of all, from column `since` on."""
        return self.pool.product(indices, self.space[:, since : self.count])


def outer(rows):
    """Y Y^T (m, r, r) of rows Y (m, r, n)."""
    if rows.shape[1] == 1:
        return torch.linalg.vector_norm(rows, dim=2, keepdim=True).square()
    return rows @ rows.mT


def information(grams, signed=False):
    """1/2 log det(I + G) (M,) in nats of Gram blocks (M, r, r), relatively accurate.

    A negative pivot of G is rounding and counts as 0, unless `signed`: then it counts,
    and the result is NaN where I + G is not positive definite.
    """
    total = 0.0
    while grams.shape[-1] > _LEAF:
        head, side = grams[:, :_LEAF, :_LEAF], grams[:, :_LEAF, _LEAF:]
        total = total + _excess(head, signed)
        factor, _ = _cholesky_of_identity_plus(head)
        side = torch.linalg.solve_triangular(factor, side, upper=False)
        grams = grams[:, _LEAF:, _LEAF:] - side.mT @ side
    total = total + _excess(grams, signed)
    # Where rounding exceeds I, nothing is known.
    return total / 2 if signed else total.nan_to_num(0.0, 0.0, 0.0) / 2


def shared_information(left, gap):
    """1/2 log det(I + G + gap) - 1/2 log det(I + G) (M,) of G = left, as one log det.

    NaN where I + G is not positive definite.
    """
    if left.shape[-1] == 1:
        share = (gap / (1.0 + left)).clamp(min=0.0)
        return torch.where(left > -1.0, share.log1p() / 2, torch.nan)[:, 0, 0]
    factor, info = _cholesky_of_identity_plus(left)
    half = torch.linalg.solve_triangular(factor, gap, upper=False)
    share = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    return torch.where(info == 0, information(share), torch.nan)


def trace(grams):
    """The traces (M,) of Gram blocks (M, r, r)."""
    return grams.diagonal(dim1=-2, dim2=-1).sum(-1)


def rounding(gram, size):
    """Rounding in 1/2 log det(I + G), where G (r, r) is left of a Gram of trace size.

    By the derivative tr((I + G)^{-1} dG) / 2, with dG of eps times the size.
    """
    values = torch.linalg.eigvalsh(gram).clamp(min=0.0)
    return EPS * size * (1.0 / (1.0 + values)).sum() / 2


def _excess(gram, signed):
    """log det(I + G) (M,) pivot by pivot, each kept as its excess over 1."""
    total = 0.0
    while True:
        pivot = gram[:, 0, 0]
        pivot = pivot if signed else pivot.clamp(min=0.0)
        total = total + pivot.log1p()
        if gram.shape[-1] == 1:
            return total
        column = gram[:, 1:, 0]
        scaled = column / (1.0 + pivot)[:, None]
        gram = gram[:, 1:, 1:] - scaled[:, :, None] * column[:, None, :]


def _cholesky_of_identity_plus(gram):
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky_ex(eye + gram)


def _self_gram(part):
    if part.kronecker:
        return _in_double(part).self_gram()
    return outer(_rows(part))


def _rows(roots):
    """All rows (m, r, D) in float64: the products of factors too."""
    roots = _in_double(roots) if roots.kronecker else roots
    return roots.dense().double()


def _times(roots, columns):
    """R_i V (m, r, n) in float64, with V (D, n)."""
    width = columns.shape[1]
    if not isinstance(roots, KroneckerRoots) or len(roots) == 1:
        if len(roots) * roots.rank * len(columns) <= _SMALL:
            return _rows(roots) @ columns
        parts = ([_rows(part) @ columns] for part in roots.chunks())
        return _joined(roots, parts, 1, width)[0]
    outputs, features = roots.num_outputs, roots.features.shape[1]
    folded = columns.view(outputs, features, width).transpose(0, 1)
    folded = folded.reshape(features, outputs * width)

    def product(part):
        inner = (part.features.double() @ folded).view(len(part), outputs, width)
        return [part.factor.double().mT @ inner]

    parts = (product(part) for part in roots.chunks(outputs * width))
    return _joined(roots, parts, 1, width)[0]


def _joined(roots, parts, count, width):
    """Lists of `count` results (m, r, width) of the roots' parts, each as one."""
    # Made first: small results kept between large temporaries would pin memory.
    shape = len(roots), roots.rank, width
    like = {"dtype": torch.float64, "device": roots.device}
    found = [torch.empty(shape, **like) for _ in range(count)]
    start = 0
    for part in parts:
        end = start + len(part[0])
        for whole, one in zip(found, part, strict=True):
            whole[start:end] = one
        start = end
    return found

"""The one place where the way of a computation is chosen, and what all ways share.

Everything in weight space is the Gram block R_i A R_i^T of a root against a matrix, or
the Gram matrix of many. In a frame X, X^T P X = I and X^T F_E X = diag(m), and these
are inner products of whitened rows (T8, T30, T44). The ways, by cost and digits::

    "prior"       P = lambda I, nothing is evaluated: each root's own Gram block
    "rows"        coordinates in the span of the training and evaluation rows, held:
                  an error of eps sqrt(cond P); few rows, or little work
    "products"    the same span by inner products alone, N r x N r: eps cond P; few
                  rows of many parameters, whose inner products cost less than rows
    "parameters"  all D coordinates; many Kronecker roots by Gram blocks against D x D
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from fimlib import linalg
from fimlib.fisher.roots import BATCH, FisherRoots, outer
from fimlib.linalg import EPS, squared_singular, warn_if_inaccurate
from fimlib.posterior import dense
from fimlib.posterior.span import POSTERIOR, AllParameters, Form, GramSpan, RowSpan

# A GaussianPosterior, whose module imports this one.
Posterior = Any

# Work (multiplications) up to which everything is done on the rows themselves: it
# keeps twice the digits of sums and Gram matrices of them, and costs more.
EXACT_WORK = 10**9
# How much more is spent on rows when a sum would lose half its digits.
RESCUE = 30
# Past this many parameters (or rows, in the dual) dense matrices are refused.
MAX_DENSE = 20_000
# Numbers in rows that are made anew for each product, past which they are not made.
REMADE = 2**20
# Relative rounding of a log det of a Gram matrix that asks for the rows instead.
LOST = 1e-13


def affordable(work: float, times: float = 1) -> bool:
    """Whether so many multiplications may be spent on the digits that rows keep."""
    return work <= times * EXACT_WORK


def way_of(post: Posterior, pool: Any, evals: Sequence, again: bool = False) -> str:
    """The way for scores of a pool, whose rows are perhaps needed again and again."""
    size = post.num_parameters
    roots = [*post.train_roots, *evals]
    count = sum(one.num_rows for one in roots)
    if isinstance(post.prior_precision, float):
        rank, pool_rows, pool_count, remade = 0, 0, 0, False
        if pool is not None:
            rank, pool_rows, pool_count = pool.rank, pool.num_rows, len(pool)
            # Whether its rows are made, not held, and are many numbers.
            made = pool.streamed or (pool.factored and not pool.kronecker)
            remade = again and made and pool_rows * size > REMADE
            roots += [pool]
        if not count:
            return "products" if remade else "prior"
        work = (count + pool_rows) * min(max(count, rank), size) * size
        few = count < size and count * size <= MAX_DENSE**2
        few &= not all(one.factored for one in roots)
        if affordable(work) or few:
            return "products" if remade else "rows"
        dense_work = size**3 + pool_count * size**2
        gram_work = 10 * count**3 + pool_rows * count**2
        cheaper = gram_work < dense_work or size > MAX_DENSE
        if count < size and count <= MAX_DENSE and cheaper:
            return "products"
    if size <= MAX_DENSE:
        return "parameters"
    raise ValueError(
        f"the posterior must have at most {MAX_DENSE} parameters, or at most "
        f"{MAX_DENSE} rows of training and evaluation roots together, got {size} "
        f"parameters ({8e-9 * size**2:.1f} GB a matrix) and {count} rows "
        f"({8e-9 * count**2:.1f} GB a matrix): name an approximation, "
        'from_roots(..., approximation="kronecker", "diagonal" or "sketch")'
    )


def side_of(roots: FisherRoots, name: str = "roots") -> str:
    """Of roots G (M r, D): "rows", or the smaller of "products" and "parameters"."""
    count, size = roots.num_rows, roots.num_parameters
    if affordable(count * size * min(count, size)):
        return "rows"
    if min(count, size) > MAX_DENSE:
        raise ValueError(
            f"{name} must have at most {MAX_DENSE} rows or parameters, got {count} "
            f"rows and {size} parameters: a matrix of them would take "
            f"{8e-9 * min(count, size) ** 2:.1f} GB; use fewer examples"
        )
    return "products" if count < size else "parameters"


def smaller_gram(roots: FisherRoots) -> Tensor:
    """G G^T (M r, M r) or G^T G (D, D) of stacked roots, the smaller, in float64."""
    if roots.num_rows < roots.num_parameters:
        return inner_products(roots, roots, "roots")
    return roots.fisher_sum()


def kernel_of(roots: FisherRoots) -> Tensor | None:
    """G G^T (M r, M r) for its spectrum, or None where the rows G are better."""
    made = roots.streamed or roots.factored
    if not made or roots.num_parameters < roots.num_rows:
        return None
    return inner_products(roots, roots, "roots")


def inner_products(a: FisherRoots, b: FisherRoots, name: str) -> Tensor:
    """Inner products (M r, M' r') of all rows, in float64 (T30), 3.2 GB at most."""
    count, other = a.num_rows, b.num_rows
    if count * other > MAX_DENSE**2:
        raise ValueError(
            f"{name} must have at most {MAX_DENSE}^2 pairs of rows, got {count} "
            f"and {other} rows: the matrix would take {8e-9 * count * other:.1f} GB"
        )
    return a.cross(b).reshape(count, other).double()


def joint_log_det(post: Posterior, roots: FisherRoots) -> Tensor:
    """log det(I + F P^{-1}), () in nats, with F the sum over the examples (T8, T25)."""
    # From the smaller Gram matrix of the whitened rows, unless its rounding, eps times
    # the trace, could be seen and the rows can be had.
    post, roots = post.shared(roots)
    if post.is_isotropic:
        scale, digits = post.prior_precision, side_of(roots) == "rows"
        roots = roots.double() if digits else roots
        few = roots.num_rows * roots.num_parameters <= MAX_DENSE**2
        matrix = smaller_gram(roots) / scale
        if digits or (few and not roots.factored):
            eps = torch.finfo(roots.dtype).eps
            return _log_det_of(matrix, lambda: roots.rows() / scale**0.5, eps)
        return _log_det_of(matrix, None)
    frame = _frame(post, way_of(post, roots, (roots,)), (roots,))
    whitened, by_rows = _whitened(frame, roots)
    if not by_rows:
        return _log_det_of(whitened, None)
    thin = whitened if len(whitened) < whitened.shape[1] else whitened.mT
    return _log_det_of(thin @ thin.mT, lambda: whitened)


def _log_det_of(
    matrix: Tensor, rows: Callable[[], Tensor] | None, eps: float = EPS
) -> Tensor:
    trace = float(matrix.diagonal().sum())
    # The trace is at least the log det, and to a small one no I may be added.
    if trace < 1.0 and (rows is None or eps == EPS):
        return linalg.log_det_identity_plus(matrix, check=False)
    eye = torch.eye(len(matrix)).to(matrix)
    factor, info = torch.linalg.cholesky_ex(eye + matrix)
    value = 2.0 * factor.diagonal().log().sum()
    if rows is not None and (info != 0 or eps * trace > LOST * float(value)):
        return torch.log1p(torch.linalg.svdvals(rows()).square()).sum()
    warn_if_inaccurate(EPS * trace)
    if info != 0:
        linalg.cholesky_of_symmetric(eye + matrix, "I + F P^{-1}")
    return value


def precision_of(post: Posterior) -> dense.DensePrecision:
    """P's factors: by rows where that is affordable, or needed for the digits."""
    if rows_are_cheap(post):
        return dense.by_rows(post)
    state, error = dense.by_factor(post)
    rescue = rows_are_cheap(post, RESCUE)
    if state is not None and (error <= 1e-6 or not rescue):
        warn_if_inaccurate(error)
        return state
    if not rescue:
        linalg.cholesky_of_symmetric(post.precision, "precision")
    return dense.by_rows(post)


def rows_are_cheap(post: Posterior, times: float = 1) -> bool:
    """Whether P may be factored from the rows of its training roots."""
    rows = sum(one.num_rows for one in post.train_roots) + post.num_parameters
    return affordable(rows * post.num_parameters**2, times)


class Frame:
    """X and m of the module's first lines, and how to bring roots into them.

    m is None without evaluation roots; large: whether rows of the pool cost too much.
    """

    def __init__(self, post: Posterior, way: str, span: Any, x: Any) -> None:
        self.post, self.way, self.span = post, way, span
        # X, of all D parameters when it is asked for.
        self.inverse_root: Callable[[], Tensor] = x
        self.m: Any = None
        self.large = False
        prior = post.prior_precision
        # By which what is left over is divided.
        self.scale = math.sqrt(prior) if isinstance(prior, float) else 1.0
        # Matrices by the bytes of their weights.
        self._made: dict[bytes, Tensor] = {}

    def by_blocks(self, part: FisherRoots) -> bool:
        """Whether Gram blocks against D x D matrices are the way: many Kronecker."""
        return self.way == "parameters" and self.large and part.kronecker

    def pieces(self, part: FisherRoots) -> Iterator[tuple[Tensor, Tensor]]:
        """Whitened Z (few, r, k), S (few, r, s) left: R P^{-1} R^T = Z Z^T + S S^T."""
        x = self.inverse_root().to(part.device)
        each = part.rank * max(self.span.width, len(x))
        for few in part.chunks(part.numbers_each if self.way == "prior" else each):
            inside, rest = self.span.coordinates(few)
            yield inside @ x, rest / self.scale

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (n, k) of rows (n, D), and what is left over (n, D or 0)."""
        inside, rest = self.span.split(rows)
        return inside @ self.inverse_root().to(rows), rest / self.scale

    def columns(self, z: Tensor) -> Tensor:
        """X z (D, n) of coordinates z (k, n)."""
        return self.span.columns(self.inverse_root().to(z) @ z)

    def whitened(self, roots: FisherRoots) -> Tensor:
        """Whitened rows (M, r, k) of roots of which nothing is left over."""
        parts = roots.batches(BATCH)
        return torch.cat([z for part in parts for z, _ in self.pieces(part)])

    def grams(
        self, part: FisherRoots, *forms: Form, by_blocks: bool = True
    ) -> Iterator[list[Tensor]]:
        """Gram blocks R S R^T (few, r, r), for each form S, of consecutive roots."""
        if self.way == "prior":
            # So few that what is converted stays in the cache.
            each = part.numbers_each * (1 if part.factored else 16) + part.rank**2
            for few in part.chunks(each):
                gram = few.double().self_gram().double() / self.post.prior_precision
                yield [gram * form.rest for form in forms]
        elif by_blocks and self.by_blocks(part):
            double = part.double()
            yield [double.gram_of_symmetric(self.matrix(form)) for form in forms]
        else:
            for z, rest in self.pieces(part):
                outside = outer(rest)
                yield [form.times(z) @ z.mT + form.rest * outside for form in forms]

    def matrix(self, form: Form) -> Tensor:
        """X inner X^T (D, D), made once for each inner."""
        if form.inner is None:
            return self.post.covariance
        key = form.inner.cpu().numpy().tobytes()
        if key not in self._made:
            x = self.inverse_root()
            matrix = form.times(x) @ x.mT
            self._made[key] = (matrix + matrix.mT) / 2
        return self._made[key]

    def blocks(self, part: FisherRoots) -> Callable[[Form], Tensor] | None:
        """How Gram blocks (M, r, r) of a batch are made, where scores need no rows."""
        # Under the prior alone, that is where their rounding could not be seen, or
        # where rows of D numbers cost too much.
        if self.by_blocks(part):
            return lambda form: next(self.grams(part, form))[0]
        if self.way != "prior":
            return None
        gram = torch.cat([found[0] for found in self.grams(part, POSTERIOR)])
        trace = gram.diagonal(dim1=1, dim2=2).sum(-1)
        seen = bool((EPS * trace > LOST * torch.log1p(trace)).any())
        if seen and (part.factored or affordable(part.num_rows * part.num_parameters)):
            return None
        return lambda form: gram

    def pairs_way(self, roots: FisherRoots, eval_roots: FisherRoots) -> str:
        """How pairs of examples are compared: "rows", "products" or "correlations"."""
        ranks = roots.rank + eval_roots.rank
        width = len(self.inverse_root())
        if affordable(roots.num_rows * len(eval_roots) * width * ranks):
            return "rows"
        kronecker = self.way == "parameters" and eval_roots.kronecker
        return "products" if kronecker else "correlations"


def frame_of(
    post: Posterior,
    pool: FisherRoots,
    eval_roots: FisherRoots | None = None,
    again: bool = False,
) -> Frame:
    """The frame for scoring this pool, in the smaller of the two dimensions."""
    evals = () if eval_roots is None else (eval_roots,)
    way = way_of(post, pool, evals, again)
    frame = _frame(post, way, evals)
    frame.large = not affordable(pool.num_rows * post.num_parameters**2)
    if eval_roots is None:
        return frame
    whitened, by_rows = _whitened(frame, eval_roots)
    m, vectors = (squared_singular if by_rows else torch.linalg.eigh)(whitened)
    frame.m = m.clamp(min=0.0)
    x = frame.inverse_root() @ vectors
    frame.inverse_root = lambda: x
    return frame


def frame_spanning(post: Posterior, *sides: FisherRoots) -> Frame:
    """A frame in whose span nothing is left over of any of these roots."""
    return _frame(post, way_of(post, None, sides), sides)


def _frame(post: Posterior, way: str, evals: Sequence[FisherRoots]) -> Frame:
    if way == "parameters":
        everything = AllParameters(post.num_parameters)
        return Frame(post, way, everything, lambda: post.root_inverse)
    span, x, _ = base_of(post, way, evals)
    return Frame(post, way, span, lambda: x)


def _whitened(frame: Frame, roots: FisherRoots) -> tuple[Tensor, bool]:
    """Whitened rows Z (M r, k) of roots, and True; Z^T Z where they cost too much."""
    x = frame.inverse_root()
    if frame.way != "parameters":
        return frame.span.eval_anchors @ x, True
    if affordable(roots.num_rows * roots.num_parameters**2):
        return roots.rows().to(x) @ x, True
    # X^T F X, the symmetric form of F P^{-1}.
    ratio = x.mT @ roots.fisher_sum().to(x) @ x
    return (ratio + ratio.mT) / 2, False


def base_of(post: Posterior, way: str, evals: Sequence) -> tuple:
    """A span of training and evaluation rows, X in it, and log det(P / lambda)."""
    if not evals and way in post.bases:
        return post.bases[way]
    prior = post.prior_precision
    span: RowSpan | GramSpan
    if way == "products":
        span = GramSpan(post.train_roots, evals)
    else:
        train = post.train_rows()
        rows = torch.cat([train[:0], *(one.rows().to(train) for one in evals)])
        work = 8 * len(train) * (len(train) + len(rows)) * post.num_parameters
        span = RowSpan(train, rows, prior, refine=affordable(work))
    values, vectors = squared_singular(span.train_anchors)
    largest = float(values.max()) if len(values) else 0.0
    condition = 1 + largest / prior
    warn_if_inaccurate(100 * EPS * (condition**0.5 if span.refine else condition))
    x = vectors / (values + prior).sqrt()
    new = span.eval_anchors.shape[1] - span.inner
    x = torch.block_diag(x, torch.eye(new).to(x) / math.sqrt(prior))
    found = span, x, torch.log1p(values / prior).sum()
    if not evals:
        post.bases[way] = found
    return found

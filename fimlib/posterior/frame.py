"""Frames: coordinates in which P is the identity and F_E is diagonal (T8, T30, T44).

X^T P X = I and X^T F_E X = diag(m), in all D coordinates or in those that the training
and evaluation roots span, whichever are fewer.
"""

import math

import torch

from fimlib.fisher import LayeredRoots
from fimlib.posterior import dense
from fimlib.posterior.span import (
    EPS,
    GramSpan,
    RowSpan,
    num_rows,
    squared_singular,
    stacked,
    warn_if_inaccurate,
)

# Past this many parameters (or rows, in the dual) dense matrices are refused.
MAX_DENSE = 20_000


class Frame:
    """X and m of the module's first lines, and how to bring roots into them.

    `span` None stands for all D coordinates. `m` is None without evaluation roots.
    """

    def __init__(self, post, inverse_root, m=None, span=None, large=False):
        self.post = post
        self.inverse_root = inverse_root
        self.m = m
        self.span = span
        self.large = large

    def by_blocks(self, part):
        """Whether Gram blocks against D x D matrices are the way: many Kronecker."""
        return self.span is None and self.large and part.kronecker

    def pieces(self, part):
        """Whitened rows Z of the roots, (few, r, k), and what is left, (few, r, s).

        R P^{-1} R^T is Z Z^T + S S^T; S is blind to the evaluation examples.
        """
        width = part.num_parameters if self.span is None else self.span.width
        inverse_root = self.inverse_root().to(part.device)
        for few in part.chunks(part.rank * max(width, len(inverse_root))):
            if self.span is None:
                rows = few.dense().double() @ inverse_root
                yield rows, rows[..., :0]
            else:
                inside, rest = self.span.coordinates(few)
                yield inside @ inverse_root, rest / math.sqrt(self.post.prior_precision)

    def grams(self, part):
        """Gram blocks R P^{-1} R^T of consecutive parts of the roots, (few, r, r)."""
        if self.by_blocks(part):
            yield part.gram_of_symmetric(self.post.covariance).double()
            return
        for rows, rest in self.pieces(part):
            yield rows @ rows.mT + rest @ rest.mT


def frame_of(post, pool, eval_roots=None):
    """The frame for scoring this pool, in the smaller of the two dimensions.

    Raises ValueError when both the parameters and the rows exceed 20,000.
    """
    evals = () if eval_roots is None else (eval_roots,)
    kind = kind_of(post, pool, evals)
    large = num_rows(pool) * post.num_parameters**2 > dense.EXACT_WORK
    if kind == "dense":
        if not evals:
            return Frame(post, lambda: post.root_inverse, large=large)
        x, m = _dense_pencil(post, eval_roots)
        return Frame(post, lambda: x, m, large=large)
    span, x, _ = post.span_base(kind, evals)
    m = None
    if evals:
        m, vectors = squared_singular(span.eval_anchors @ x)
        x = x @ vectors
    return Frame(post, lambda: x, m, span, large)


def kind_of(post, pool, evals):
    """How to work: "rows" of a span, its "gram" only, or "dense" in D x D."""
    size, count = post.num_parameters, num_rows(*post.train_roots, *evals)
    pool_rows = 0 if pool is None else num_rows(pool)
    fits = size <= MAX_DENSE
    if isinstance(post.prior_precision, float):
        inner = max(count, 0 if pool is None else pool.rank)
        work = (count + pool_rows) * min(inner, size) * size
        few = count < size and count * size <= MAX_DENSE**2
        roots = [*post.train_roots, *evals, *([] if pool is None else [pool])]
        few &= count > 0 or pool_rows * size <= dense.EXACT_WORK
        factored = all(_is_factored(one) for one in roots)
        if work <= dense.EXACT_WORK or (few and not factored):
            return "rows"
        if not count:
            # The rows of Kronecker roots are known without D; others have products.
            return "rows" if pool.kronecker else "gram"
        dense_work = size**3 + (0 if pool is None else len(pool)) * size**2
        gram_work = 10 * count**3 + pool_rows * count**2
        if count < size and count <= MAX_DENSE and (gram_work < dense_work or not fits):
            return "gram"
    if fits:
        return "dense"
    raise ValueError(
        f"the posterior must have at most {MAX_DENSE} parameters, or at most "
        f"{MAX_DENSE} rows of training and evaluation roots together, got {size} "
        f"parameters ({8e-9 * size**2:.1f} GB a matrix) and {count} rows "
        f"({8e-9 * count**2:.1f} GB a matrix): name an approximation, "
        'from_roots(..., approximation="kronecker", "diagonal" or "sketch")'
    )


def span_base(post, kind, evals):
    """A span of training and evaluation rows, X in it with X X^T = P^{-1}, and
    log det(P / lambda), for the posterior without the evaluation examples.
    """
    prior = post.prior_precision
    if kind == "gram":
        span = GramSpan(post.train_roots, evals)
    else:
        roots = (*post.train_roots, *evals)
        device = roots[0].device if roots else post.device
        none = torch.zeros(0, post.num_parameters, dtype=torch.float64, device=device)
        rows = [
            torch.cat([none, *(stacked(one).to(device) for one in part)])
            for part in (post.train_roots, evals)
        ]
        # Rows far below the prior change no digit of P, but would take part in a basis.
        rows[0] = rows[0][rows[0].square().sum(1) > EPS * prior]
        work = 8 * len(rows[0]) * (len(rows[0]) + len(rows[1])) * post.num_parameters
        span = RowSpan(*rows, refine=work <= dense.EXACT_WORK)
    values, vectors = squared_singular(span.train_anchors)
    largest = float(values.max()) if len(values) else 0.0
    warn_if_inaccurate(span.error(1 + largest / prior))
    x = vectors / (values + prior).sqrt()
    outer = span.eval_anchors.shape[1] - span.inner
    x = torch.block_diag(x, torch.eye(outer).to(x) / math.sqrt(prior))
    return span, x, torch.log1p(values / prior).sum()


def _is_factored(roots):
    return roots.kronecker or isinstance(roots, LayeredRoots)


def _dense_pencil(post, eval_roots):
    """X (D, D) and m (D,), from X0 with X0 X0^T = P^{-1}."""
    x = post.root_inverse
    if num_rows(eval_roots) * len(x) ** 2 > dense.EXACT_WORK:
        m, vectors = torch.linalg.eigh(dense.symmetric_ratio(x, eval_roots))
        return x @ vectors, m.clamp(min=0.0)
    m, vectors = squared_singular(stacked(eval_roots).to(x) @ x)
    return x @ vectors, m

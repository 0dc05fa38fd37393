"""Greedy batches of the joint expected information gain, lazily (T25)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fimlib import linalg
from fimlib._checks import check_choice
from fimlib.fisher.roots import FisherRoots, in_memory, outer
from fimlib.linalg import EPS, warn_if_inaccurate
from fimlib.posterior.gaussian import GaussianPosterior
from fimlib.posterior.span import POSTERIOR, Form
from fimlib.selection.covariances import Columns, Pool, pool_of, rounding, trace
from fimlib.selection.result import Selection, check_roots, checked_batch_size

# Examples whose gains are brought up to date at once, and their rows.
_FEW, _FEW_ROWS = 32, 128
# A gain is computed anew when rounding exceeds this share of it. Where it cannot be, a
# Gram block this small beside what it was is nothing but rounding.
SHARE, ROUNDING = 1e-8, 256 * EPS
# What is left of chosen examples exceeds 1 by more only where P is not known.
_SURE = 1e-7
# Gains closer than so many times their rounding tie.
TIES = 64

_REST = (
    "after {} examples no other adds anything (or P is too ill-conditioned to tell): "
    "the rest was taken in order of index"
)


def greedy_log_det(
    roots: FisherRoots, post: GaussianPosterior, batch_size: int, lazy: bool = True
) -> Selection:
    """The greedy batch for 1/2 log det(I + sum_i F_i P^{-1}), its joint EIG (T25).

    Each step takes the example that adds most; gains are in nats and sum to the
    `batch_eig` of the batch, which is at least 1 - 1/e of the best one's. A gain only
    falls as the batch grows: with `lazy` an old one bounds it, and few are computed
    anew, with the same result (Minoux 1978). Equal gains, up to rounding, go to the
    lowest index; nothing is taken twice. An example without a gradient gains exactly
    0. Where no other is left, or P too ill-conditioned to tell what is left, the rest
    is taken in order of index with gain 0, and `notes` says so; an `AccuracyWarning`
    comes where rounding exceeds 1e-6 of a gain.

    roots: Fisher roots of the pool, of any rank; `FisherRoots.from_dense(features)` and
    an isotropic posterior make it greedy D-optimal design. Roots of a network or loader
    that are too large to hold are computed anew in each step. Raises ValueError for
    what is not roots, an empty pool, a posterior of another size, and a batch larger
    than the pool. It is a pivoted Cholesky factorisation (Chen et al. 2018,
    arXiv:1709.05135) by products with the roots: no M x M matrix is formed.

    >>> pool = FisherRoots.from_dense([[2.0, 0.0], [1.9, 0.0], [0.0, 1.0]])
    >>> greedy_log_det(pool, GaussianPosterior.isotropic(2, 1.0), 2).indices.tolist()
    [0, 2]
    """
    check_roots(roots, "roots", post)
    batch_size = checked_batch_size(batch_size, len(roots))
    check_choice(lazy, "lazy", (True, False))
    post, roots = post.shared(roots)
    roots = in_memory(roots)

    def start(chosen: list[int]) -> Gains:
        now = post.update(roots[chosen]) if chosen else post
        pool = pool_of(roots, now, by_blocks=not chosen)
        return Gains(pool, batch_size - len(chosen), lazy=lazy, taken=chosen)

    return greedily(start, batch_size)


def greedily(start: Callable[[list[int]], Any], batch_size: int) -> Selection:
    """The batch of the best examples one by one, each given those before it.

    start(chosen) makes the state after these examples from scratch: at first, and
    where rounding has taken too many digits of differences.
    """
    state, error = start([]), 0.0
    chosen: list[int] = []
    gains: list[float] = []
    notes: tuple[str, ...] = ()
    device = state.gains.device
    while len(chosen) < batch_size:
        index = state.best()
        if state.lost(index):
            state = start(chosen)
            # As P holds their F_i, what is left of chosen examples is at most 1 in each
            # direction: P is known no better than that.
            left = float(state.size[chosen].max()) / state.pool.roots.rank
            index = state.best() if left < 1 + _SURE else None
        if index is None or state.exhausted(index):
            notes = (_REST.format(len(chosen)),)
            others = sorted(set(range(batch_size)) - set(chosen))
            chosen += others[: batch_size - len(chosen)]
            gains += [0.0] * (batch_size - len(gains))
            break
        chosen.append(index)
        gains.append(float(state.gains[index]))
        if gains[-1]:
            error = max(error, float(state.rounding(index)) / abs(gains[-1]))
        if len(chosen) < batch_size:
            state.add(index)
    # Rounding of a Gram block hides directions far below its others.
    warn_if_inaccurate(error)
    found = torch.tensor(gains, dtype=torch.float64, device=device)
    return Selection(torch.tensor(chosen, device=device), found, notes)


class Candidates:
    """`gains` (M,) of examples given those added so far, -inf once `taken`.

    size: (M,), of the Gram blocks before; what is left of them is known to eps times
    it. refusal: None where a posterior has this kernel, so that a state can be made
    from scratch; else the error where it is none.
    """

    def __init__(
        self, pool: Pool, size: Tensor, taken: Sequence[int], refusal: str | None
    ) -> None:
        self.pool, self.size, self.refusal = pool, size, refusal
        self.taken = torch.zeros_like(size, dtype=torch.bool)
        self.taken[list(taken)] = True
        self.gains = torch.zeros_like(size)
        # Columns by which the Gram blocks are smaller than at first.
        self.count = 0

    def rounding(self, index: Any) -> Tensor:
        """Rounding in the gain of an example, in nats."""
        raise NotImplementedError

    def lost(self, index: Any) -> bool:
        """Whether rounding has taken too much of the gain of the best example."""
        if self.refusal or not self.count:
            return False
        if self.gains[index] == 0:
            return bool((self.size[~self.taken] > 0).any())
        return bool(self.rounding(index) > SHARE * self.gains[index])

    def exhausted(self, index: int) -> bool:
        """Whether nothing adds anything, if this is the best example."""
        return not self.refusal and bool(self.gains[index] == 0)


class Gains(Candidates):
    """Gains 1/2 log det(I + G_i); upper bounds for those that have not `seen` all.

    With a refusal they may be negative.
    """

    def __init__(
        self,
        pool: Pool,
        steps: int,
        form: Form = POSTERIOR,
        lazy: bool = True,
        taken: Sequence[int] = (),
        refusal: str | None = None,
    ) -> None:
        (self.grams,) = pool.grams(form)
        super().__init__(pool, trace(self.grams), taken, refusal)
        self.form, self.lazy = form, lazy
        self.columns = Columns(pool, steps)
        self.seen = torch.zeros_like(self.size, dtype=torch.int64)
        self._rate(slice(None))

    def best(self) -> int:
        """The example of the largest gain, the first of those that tie."""
        if not self.lazy and self.count:
            self._refresh(None)
        while True:
            top = self.gains.argmax()
            if self.seen[top] < self.count:
                # Its bound says little of it: the next ones will be needed too.
                few = self._first(self.gains)
                few[-1] = top
                self._refresh(self._stale(few))
                continue
            if self.lost(top):
                return int(top)
            near = ties(self.gains, top, self.rounding(top))
            stale = self._stale(near)
            if not len(stale):
                return int(near[0])
            self._refresh(stale[self._first(self.gains[stale])])

    def _first(self, gains: Tensor) -> Tensor:
        # Of a large pool more at once, or passes over all the bounds would dominate.
        few = max(_FEW, _FEW_ROWS // self.pool.roots.rank, len(self.gains) // 1024)
        return gains.topk(min(few, len(gains)))[1]

    def rounding(self, index: Any) -> Tensor:
        """Rounding in the gain of an example, in nats."""
        return rounding(self.grams[index], self.size[index])

    def add(self, index: int) -> None:
        """Take an example whose gain is up to date."""
        (columns,) = self.pool.columns(index, self.form)
        self.columns.add(index, columns, self.grams[index])
        self.count = self.columns.count
        self.taken[index] = True
        self.gains[index] = -torch.inf

    def _stale(self, indices: Tensor) -> Tensor:
        return indices[self.seen[indices] < self.count]

    def _refresh(self, indices: Tensor | None) -> None:
        """Bring the Gram blocks and gains of these examples, or of all, up to date."""
        some = slice(None) if indices is None else indices
        seen, count = self.seen[some], self.count
        since = int(seen.min())
        rows = self.columns.products(indices, since)
        if indices is not None:
            steps = torch.arange(since, count, device=seen.device)
            rows.masked_fill_((steps < seen[:, None])[:, None, :], 0.0)
        self.grams[some] -= outer(rows)
        self.seen[some] = count
        self._rate(some)

    def _rate(self, some: Any) -> None:
        grams = self.grams[some]
        if self.refusal:
            gains = linalg.log_det_identity_plus(grams, signed=True) / 2
            gains[trace(grams).abs() <= ROUNDING * self.size[some]] = 0.0
            if gains[~self.taken[some]].isnan().any():
                raise ValueError(self.refusal)
        else:
            gains = linalg.log_det_identity_plus_rest(grams) / 2
        self.gains[some] = gains.masked_fill(self.taken[some], -torch.inf)


def ties(gains: Tensor, top: Any, rounding: Tensor) -> Tensor:
    """The examples whose gains are the top one's, up to rounding, in order of index."""
    least = gains[top] - 1e-12 * gains[top].abs() - TIES * rounding
    return (gains >= least).nonzero()[:, 0]

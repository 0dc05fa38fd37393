"""Greedy batches of the joint expected information gain, lazily (T25)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fimlib import linalg
from fimlib._checks import check_choice
from fimlib.fisher.roots import FisherRoots, outer
from fimlib.linalg import EPS, warn_if_inaccurate
from fimlib.posterior.frame import POSTERIOR, Form
from fimlib.posterior.gaussian import GaussianPosterior
from fimlib.selection.covariances import Columns, Pool, held, pool_of, rounding, trace
from fimlib.selection.result import Selection, checked_pool, completed

# Examples whose gains are brought up to date at once, and their rows.
_FEW, _FEW_ROWS = 32, 128
# A gain is computed anew when rounding exceeds this share of it. Where it cannot be, a
# Gram block this small beside what it was is nothing but rounding.
_SHARE, NOISE = 1e-8, 256 * EPS
# What is left of chosen examples exceeds 1 by more only where P is not known.
_SURE = 1e-7
# Gains closer than so many times their rounding tie.
_TIES = 64

_REST = (
    "after {} examples no other adds anything (or P is too ill-conditioned to tell): "
    "the rest was taken in order of index"
)


def greedy_log_det(
    roots: FisherRoots, post: GaussianPosterior, batch_size: int, lazy: bool = True
) -> Selection:
    """Return the greedy batch for 1/2 log det(I + sum_i F_i P^{-1}), its EIG (T25).

    Of Fisher roots R_i (M, r, D) under `post`, each of `batch_size` steps takes the one
    that adds most. Gains are in nats and sum to the `batch_eig`, at least 1 - 1/e of
    the best batch's. With `lazy` an old gain bounds the new one, and few are computed
    anew, with the same result (Minoux 1978). Equal gains, up to rounding, go to the
    lowest index; no gradient gains exactly 0. Where no other is left, or P too
    ill-conditioned to tell, the rest is taken in order of index with gain 0, and
    `notes` says so; an `AccuracyWarning` comes where rounding exceeds 1e-6 of a gain.
    Features by `FisherRoots.from_dense` and an isotropic posterior make it D-optimal
    design, a pivoted Cholesky factorisation (arXiv:1709.05135) by products with roots,
    which are computed anew in each step where they are too large to hold. ValueErrors:
    no roots, an empty pool, a posterior of another size, a batch above the pool.

    >>> pool = FisherRoots.from_dense([[2.0, 0.0], [1.9, 0.0], [0.0, 1.0]])
    >>> greedy_log_det(pool, GaussianPosterior.isotropic(2, 1.0), 2).indices.tolist()
    [0, 2]
    """
    batch_size = checked_pool(roots, post, batch_size)
    check_choice(lazy, "lazy", (True, False))
    post, roots = post.shared(roots)
    roots = held(roots)
    return greedily(
        lambda taken: Gains(pool_of(roots, post, taken=taken), batch_size, lazy=lazy),
        batch_size,
    )


def greedily(start: Callable[[list[int]], Any], batch_size: int) -> Selection:
    """Return the batch of the best examples one by one, each given those before it.

    start(chosen) makes the state after these examples from scratch: at first, and
    where rounding has taken too many digits of differences.
    """
    state, error = start([]), 0.0
    chosen: list[int] = []
    gains: list[float] = []
    while len(chosen) < batch_size:
        if chosen:
            state.add(chosen[-1])
        index = state.best()
        if state.lost(index):
            state = start(chosen)
            # As P holds their F_i, what is left of chosen examples is at most 1 in each
            # direction: P is known no better than that.
            left = float(state.size[chosen].max()) / state.pool.roots.rank
            if left >= 1 + _SURE:
                break
            index = state.best()
        # Whether nothing adds anything.
        if not state.refusal and state.gains[index] == 0:
            break
        chosen.append(index)
        gains.append(float(state.gains[index]))
        if gains[-1]:
            error = max(error, float(state.rounding(index)) / abs(gains[-1]))
    # Rounding of a Gram block hides directions far below its others.
    warn_if_inaccurate(error)
    return completed(chosen, gains, batch_size, state.gains, _REST)


class Candidates:
    """`gains` (M,) of examples given those added so far, -inf once `taken`.

    size: (M,), of the Gram blocks before; what is left of them is known to eps times
    it. refusal: None where a posterior has this kernel, so that a state can be made
    from scratch; else the error where it is none, and gains may be negative.
    """

    def __init__(self, pool: Pool, size: Tensor, refusal: str | None) -> None:
        self.pool, self.size, self.refusal = pool, size, refusal
        self.taken = torch.zeros_like(size, dtype=torch.bool)
        self.taken[list(pool.taken)] = True
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
        return bool(self.rounding(index) > _SHARE * self.gains[index])

    def ties(self, top: Any) -> Tensor:
        """Examples whose gains are the top one's, up to rounding, in order of index."""
        gain = self.gains[top]
        least = gain - 1e-12 * gain.abs() - _TIES * self.rounding(top)
        return (self.gains >= least).nonzero()[:, 0]

    def set(self, gains: Tensor, some: Any = ...) -> None:
        """Set the gains of some examples, NaN where there is no such kernel."""
        if self.refusal and gains[~self.taken[some]].isnan().any():
            raise ValueError(self.refusal)
        self.gains[some] = gains.masked_fill(self.taken[some], -torch.inf)


class Gains(Candidates):
    """Gains 1/2 log det(I + G_i); upper bounds for those that have not `seen` all."""

    def __init__(
        self, pool: Pool, batch_size: int, form: Form = POSTERIOR, lazy: bool = True,
        refusal: str | None = None,
    ) -> None:  # fmt: skip
        (self.grams,) = pool.grams(form)
        super().__init__(pool, trace(self.grams), refusal)
        self.form, self.lazy = form, lazy
        self.columns = Columns(pool, batch_size)
        self.seen = torch.zeros_like(self.size, dtype=torch.int64)
        self._rate(...)

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
            near = self.ties(top)
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
        some = ... if indices is None else indices
        seen, count = self.seen[some], self.count
        since = int(seen.min())
        rows = self.pool.product(indices, self.columns.space[:, since:count])
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
            gains[trace(grams).abs() <= NOISE * self.size[some]] = 0.0
        else:
            gains = linalg.log_det_identity_plus_rest(grams) / 2
        self.set(gains, some)

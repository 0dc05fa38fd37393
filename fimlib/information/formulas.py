"""The scores of one batch, from whitened rows or from Gram blocks (T21-T28, T50).

With Z (r, k) the rows of a candidate in the frame of evaluation information m (k,), S
(r, s) what is left over and V = [Z, S]: R P^{-1} R^T = V V^T, and what is shared with
the evaluation examples lies in Z.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fimlib import linalg
from fimlib.fisher.roots import FisherRoots
from fimlib.posterior.frame import Frame, affordable
from fimlib.posterior.span import POSTERIOR, Form

# Below this share of its constant term a proxy is computed apart, not as a difference.
_SMALL = 1e-3


def measured(rows: Tensor, noise: Tensor) -> Tensor:
    """N^{-1} Y (..., r, k) of rows Y, with N N^T = I + V V^T of the noise's rows V."""
    factor = linalg.identity_plus_factor(noise)[0]
    return torch.linalg.solve_triangular(factor, rows, upper=False)


def shared_log_det(m: Tensor, rows: Tensor, *rest: Tensor) -> Tensor:
    """1/2 [log det(I + V V^T) - log det(I + V' V'^T)], V' = [Z (1+m)^{-1/2}, S]."""
    left = torch.cat([rows / (1 + m).sqrt(), *rest], dim=-1)
    gap = measured(rows * (m / (1 + m)).sqrt(), left)
    return linalg.log_det_identity_plus_rows(gap) / 2


class _ByRows:
    """From rows Z (M, r, k) and S (M, r, s): relatively accurate at every scale."""

    def __init__(self, m: Any, rows: Tensor, rest: Tensor) -> None:
        self.m, self.rows, self.rest = m, rows, rest
        self.whole = torch.cat([rows, rest], dim=-1)

    @cached_property
    def own(self) -> tuple[Tensor, Tensor]:
        return linalg.identity_plus_factor(self.whole)

    def gain(self, form: str) -> Tensor:
        if form == "trace":
            return _half_square(self.whole)
        return torch.log1p(self.own[1]).sum(-1) / 2

    def shared(self, m: Tensor) -> Tensor:
        return shared_log_det(m, self.rows, self.rest)

    @cached_property
    def trace(self) -> Tensor:
        rows, factor = self.rows * self.m.sqrt(), self.own[0]
        return _half_square(torch.linalg.solve_triangular(factor, rows, upper=False))

    def left(self, m: Tensor, chosen: Tensor) -> Tensor | None:
        """W of the chosen, W W^T = m^{1/2} (I + V^T V)^{-1} m^{1/2}; None if costly."""
        # Each evaluation direction outside V, and inside it shrunk by 1/(1 + s^2).
        width = self.whole.shape[-1]
        if not affordable(int(chosen.sum()) * width**2 * len(m), 10):
            return None
        _, singular, inside = torch.linalg.svd(self.whole[chosen], full_matrices=False)
        eye = torch.eye(len(m), width, dtype=m.dtype, device=m.device)
        along = inside[..., : len(m)].mT
        outside = eye - along @ inside
        outside = outside - (outside @ inside.mT) @ inside
        shrunk = along / (1 + singular.square()).sqrt()[..., None, :]
        return torch.cat([outside, shrunk], dim=-1) * m.sqrt()[:, None]


class _ByBlocks:
    """From the Gram blocks of a batch against D x D matrices, `grams(form)`."""

    def __init__(self, m: Any, grams: Callable[[Form], Tensor]) -> None:
        self.m, self.grams, self.own = m, grams, grams(POSTERIOR)

    def gain(self, form: str) -> Tensor:
        if form == "trace":
            return _half_trace(self.own)
        return linalg.log_det_identity_plus(self.own, check=False) / 2

    def shared(self, m: Tensor) -> Tensor:
        gap = self.grams(Form(m / (1 + m)))
        # I + the rest is known to eps cond(P), as every block here is.
        shared = linalg.relative(gap, self.own - gap)
        return linalg.log_det_identity_plus(shared, check=False) / 2

    @cached_property
    def trace(self) -> Tensor:
        return _half_trace(linalg.relative(self.grams(Form(self.m)), self.own))

    def left(self, m: Tensor, chosen: Tensor) -> None:
        """None: never computed apart from Gram blocks."""


_Formulas = _ByRows | _ByBlocks


def scores_of(
    frame: Frame, part: FisherRoots, count: int, wanted: list[str]
) -> Iterator[dict[str, Tensor]]:
    """The wanted scores by name, each (few,), of consecutive examples of a batch."""
    m = None if frame.m is None else frame.m.to(part.device)
    grams = frame.blocks(part)
    if grams is not None:
        yield _scores(_ByBlocks(m, grams), count, wanted)
        return
    for rows, rest in frame.pieces(part):
        yield _scores(_ByRows(m, rows, rest), count, wanted)


def _scores(formulas: _Formulas, count: int, wanted: list[str]) -> dict[str, Tensor]:
    found = {one: formulas.gain(one[4:]) for one in wanted if one.startswith("eig_")}
    if formulas.m is None:
        return found
    uppers = {"jepig": ("jepig_log_det", 1), "epig": ("epig_upper", count)}
    for prefix, (upper, n) in uppers.items():
        m, trace = formulas.m / n, f"{prefix}_trace"
        for name, proxy, start, form in (
            (upper, f"{prefix}_proxy_log_det", torch.log1p(m), _half_log_det),
            (trace, f"{prefix}_proxy_trace", m, _half_square),
        ):
            if name not in wanted and proxy not in wanted:
                continue
            found[name] = formulas.shared(m) if name == upper else formulas.trace / n
            if proxy in wanted:
                found[proxy] = left = start.sum() / 2 - found[name]
                small = left <= _SMALL * start.sum() / 2
                rows = formulas.left(m, small) if small.any() else None
                if rows is not None:
                    left[small] = form(rows)
    return {name: found[name] for name in wanted}


def _half_log_det(rows: Tensor) -> Tensor:
    return torch.log1p(torch.linalg.svdvals(rows).square()).sum(-1) / 2


def _half_square(rows: Tensor) -> Tensor:
    return rows.square().sum((-2, -1)) / 2


def _half_trace(gram: Tensor) -> Tensor:
    return gram.diagonal(dim1=-2, dim2=-1).sum(-1) / 2

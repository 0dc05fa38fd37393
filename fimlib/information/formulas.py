"""The scores of one batch, from whitened rows or from Gram blocks (T21-T28, T50).

With Z the rows of a candidate in a frame (X^T P X = I, X^T F_E X = diag(m)) and S what
is left over: R P^{-1} R^T = Z Z^T + S S^T, R (P+F_E)^{-1} R^T has 1/(1+m) between the
Z, and their difference m/(1+m), which is never computed by subtracting log dets. The
mean evaluation information has m / E in the place of m.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from fimlib import linalg
from fimlib.posterior.frame import affordable
from fimlib.posterior.span import POSTERIOR, Form

# Below this share of its constant term a proxy is computed apart, not as a difference.
_SMALL = 1e-3


class ByRows:
    """From rows Z (M, r, k) and S (M, r, s): relatively accurate at every scale."""

    def __init__(self, rows: Tensor, rest: Tensor) -> None:
        self.rows = rows
        self.rest = rest

    @cached_property
    def _whole(self) -> Tensor:
        return torch.cat([self.rows, self.rest], dim=-1)

    @cached_property
    def _own(self) -> tuple[Tensor, Tensor]:
        return linalg.identity_plus_factor(self._whole)

    def gain_log_det(self) -> Tensor:
        """1/2 log det(I + F_i P^{-1})."""
        return torch.log1p(self._own[1]).sum(-1) / 2

    def gain_trace(self) -> Tensor:
        """1/2 tr(F_i P^{-1})."""
        return self._whole.square().sum((-2, -1)) / 2

    def shared_log_det(self, m: Tensor) -> Tensor:
        """What the example shares with evaluation information m, log det form."""
        left = torch.cat([self.rows / (1 + m).sqrt(), self.rest], dim=-1)
        factor = linalg.identity_plus_factor(left)[0]
        gap = self.rows * (m / (1 + m)).sqrt()
        gap = torch.linalg.solve_triangular(factor, gap, upper=False)
        return linalg.log_det_identity_plus_rows(gap) / 2

    def shared_trace(self, m: Tensor) -> Tensor:
        """The same in the trace form: 1/2 tr F_E (P^{-1} - (P + F_i)^{-1})."""
        rows = self.rows * m.sqrt()
        rows = torch.linalg.solve_triangular(self._own[0], rows, upper=False)
        return rows.square().sum((-2, -1)) / 2

    def left(self, m: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor] | None:
        """Both forms of what is left to learn, for the `chosen` examples, or None.

        Rows W with W W^T = m^{1/2} (I + V^T V)^{-1} m^{1/2}, V = [Z, S]: the part of
        each evaluation direction outside V, and inside it shrunk by 1/(1 + s^2).
        """
        width = self._whole.shape[-1]
        if not affordable(int(chosen.sum()) * width**2 * len(m), 10):
            return None
        _, singular, inside = torch.linalg.svd(self._whole[chosen], full_matrices=False)
        eye = torch.eye(len(m), width, dtype=m.dtype, device=m.device)
        along = inside[..., : len(m)].mT
        outside = eye - along @ inside
        outside = outside - (outside @ inside.mT) @ inside
        shrunk = along / (1 + singular.square()).sqrt()[..., None, :]
        rows = torch.cat([outside, shrunk], dim=-1) * m.sqrt()[:, None]
        log_det = torch.log1p(torch.linalg.svdvals(rows).square()).sum(-1) / 2
        return log_det, rows.square().sum((-2, -1)) / 2


class ByBlocks:
    """From the Gram blocks of a batch against D x D matrices, `grams(form)`."""

    def __init__(self, grams: Callable[[Form], Tensor]) -> None:
        self.grams = grams

    @cached_property
    def _own(self) -> Tensor:
        return self.grams(POSTERIOR)

    def gain_log_det(self) -> Tensor:
        """1/2 log det(I + F_i P^{-1})."""
        return linalg.log_det_identity_plus(self._own, check=False) / 2

    def gain_trace(self) -> Tensor:
        """1/2 tr(F_i P^{-1})."""
        return _trace(self._own) / 2

    def shared_log_det(self, m: Tensor) -> Tensor:
        """What the example shares with evaluation information m, log det form."""
        gap = self.grams(Form(m / (1 + m)))
        # I + the rest is known to eps cond(P), as every block here is.
        shared = linalg.relative(gap, self._own - gap)
        return linalg.log_det_identity_plus(shared, check=False) / 2

    def shared_trace(self, m: Tensor) -> Tensor:
        """The same in the trace form: 1/2 tr F_E (P^{-1} - (P + F_i)^{-1})."""
        return _trace(linalg.relative(self.grams(Form(m)), self._own)) / 2

    def left(self, m: Tensor, chosen: Tensor) -> None:
        """Never computed apart from Gram blocks: None."""
        return None


def scores_of(
    formulas: ByRows | ByBlocks, m: Tensor | None, count: int, wanted: set[str]
) -> dict[str, Tensor]:
    """The wanted scores of one batch, each (M,), by name."""
    found = {}
    if "eig_log_det" in wanted:
        found["eig_log_det"] = formulas.gain_log_det()
    if "eig_trace" in wanted:
        found["eig_trace"] = formulas.gain_trace()
    if m is None:
        return found
    if any(name.endswith("trace") for name in wanted - found.keys()):
        found["jepig_trace"] = formulas.shared_trace(m)
        found["epig_trace"] = found["jepig_trace"] / count
    for prefix, log_det, values in (
        ("jepig", "jepig_log_det", m),
        ("epig", "epig_upper", m / count),
    ):
        proxy = f"{prefix}_proxy_log_det"
        if not wanted.isdisjoint((log_det, proxy)):
            found[log_det] = formulas.shared_log_det(values)
        if proxy in wanted:
            start = torch.log1p(values).sum() / 2
            found[proxy] = _left(formulas, values, start, found[log_det], 0)
        proxy = f"{prefix}_proxy_trace"
        if proxy in wanted:
            trace = found[f"{prefix}_trace"]
            found[proxy] = _left(formulas, values, values.sum() / 2, trace, 1)
    return {name: values for name, values in found.items() if name in wanted}


def _left(
    formulas: ByRows | ByBlocks, m: Tensor, start: Tensor, shared: Tensor, form: int
) -> Tensor:
    """A proxy: its constant term less what is shared, or apart where that cancels."""
    proxy = start - shared
    chosen = proxy <= _SMALL * start
    if chosen.any():
        apart = formulas.left(m, chosen)
        if apart is not None:
            proxy[chosen] = apart[form]
    return proxy


def _trace(gram: Tensor) -> Tensor:
    return gram.diagonal(dim1=-2, dim2=-1).sum(-1)

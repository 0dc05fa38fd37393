"""Frank-Wolfe: a batch whose weighted sum stands for that of the pool."""

from __future__ import annotations

from typing import Any

import torch

from fimlib.selection.distances import completed, lowest_best, points_of
from fimlib.selection.result import Selection, checked_batch_size


def frank_wolfe(
    features: Any, batch_size: int, dtype: torch.dtype = torch.float64
) -> Selection:
    """A batch by ACS-FW, a sparse approximation of the pool (Pinsler et al. 2019).

    features: (M, d), or Fisher roots of rank 1. The sum of all g_i is approximated in
    the polytope of the vertices ``s g_i / |g_i|``, ``s = sum |g_j|``: each step chooses
    the vertex most along what is left, and moves towards it by exact line search
    (arXiv:1908.02144, algorithm 1). An example is chosen once, as in bmdal-reg, so
    that K steps give K examples. Ties go to the lowest index. Examples with g_i = 0 are
    no vertices: they come last, and once nothing but rounding is left of the sum the
    others too, by index (`notes` says so). gains: by how much each step lowers the
    squared length of what is left. Raises ValueError for wrong shapes, non-finite
    values, roots of a higher rank and a batch_size outside 1..M.

    >>> frank_wolfe([[1.0, 0.0], [0.0, 0.0], [0.0, 3.0]], 2).indices.tolist()
    [2, 0]
    """
    points = points_of(features, "features", dtype)
    batch_size = checked_batch_size(batch_size, len(points), "features")
    norms = points.norms.sqrt()
    radius, left = norms.sum(), points.total()
    reached = torch.zeros_like(left)
    chosen: list[int] = []
    gains: list[float] = []
    rounding = 64 * torch.finfo(norms.dtype).eps * radius
    closed, why = norms == 0, "have a gradient"
    while len(chosen) < batch_size and not closed.all():
        if left.norm() <= rounding:
            why = "are needed to make up the pool's sum"
            break
        scores = points.products(left) / norms
        # By assignment: a score may be NaN where the norm is 0.
        scores[closed] = -torch.inf
        index = lowest_best(scores)
        step = points[[index]].rows()[0] * (radius / norms[index]) - reached
        length, along = step @ step, step @ left
        share = along / length if length > 0 else torch.zeros_like(length)
        reached = reached + share * step
        left = left - share * step
        chosen.append(index)
        gains.append(float(share * along))
        closed[index] = True
    return completed(chosen, gains, batch_size, norms, why)

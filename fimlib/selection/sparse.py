"""Frank-Wolfe: a batch whose weighted sum stands for that of the pool."""

import torch

from fimlib.selection.distances import Features, lowest_best, points_of
from fimlib.selection.result import FEW, Selection, checked_batch_size, completed


def frank_wolfe(
    features: Features, batch_size: int, dtype: torch.dtype = torch.float64
) -> Selection:
    """Return `batch_size` of the features g_i (M, d) by ACS-FW (arXiv:1908.02144).

    Their sum is approximated in the polytope of ``s g_i / |g_i|``, ``s = sum |g_j|``: a
    step chooses the vertex most along what is left, once as in bmdal-reg, and moves
    towards it by exact line search (algorithm 1). gains: what each takes off the
    squared length of what is left. Ties go to the lowest index; those with g_i = 0 come
    last, or once only rounding is left all others (see `notes`). Errors as in
    `k_means_pp`.

    >>> frank_wolfe([[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]], 2).indices.tolist()
    [1, 0]
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
    return completed(chosen, gains, batch_size, norms, FEW.format(why))

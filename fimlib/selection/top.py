"""The examples with the largest scores, and the same with noise on the scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_choice, positive_float
from fimlib.selection.result import Selection, checked_batch_size


def top_k(scores: Any, batch_size: int) -> Selection:
    """The `batch_size` largest of the scores (M,), ties to the lowest index.

    Gains are the scores. It ignores redundancy: joint information is at most their
    sum (T25). Raises ValueError for scores that are not finite and for a batch larger
    than the pool.

    >>> top_k([0.1, 0.9, 0.5], 2).indices.tolist()
    [1, 2]
    """
    scores = as_tensor(scores, "scores", ("M",))
    batch_size = checked_batch_size(batch_size, len(scores))
    return _selected(scores, scores.sort(descending=True, stable=True)[1], batch_size)


def stochastic_top_k(
    scores: Any,
    batch_size: int,
    kind: str = "power",
    coldness: float = 1.0,
    generator: torch.Generator | None = None,
) -> Selection:
    """A batch drawn without replacement in proportion to what the scores (M,) say.

    kind: "power", probabilities s^b of scores that are not negative; "softmax",
    exp(b s); "softrank", (rank of s)^-b with rank 1 for the largest; b is `coldness`.
    Examples of score zero come after all others under "power", in uniform order. By
    adding Gumbel noise to the log-probabilities and taking the largest; gains are the
    scores. Raises ValueError for scores that are not finite, negative ones under
    "power", a batch larger than the pool and b <= 0. Kirsch et al. 2023, "Stochastic
    Batch Acquisition", arXiv:2106.12059.

    >>> draw = torch.Generator().manual_seed(0)
    >>> stochastic_top_k([0.0, 1.0], 2, generator=draw).indices.tolist()
    [1, 0]
    """
    scores = as_tensor(scores, "scores", ("M",))
    batch_size = checked_batch_size(batch_size, len(scores))
    check_choice(kind, "kind", ("power", "softmax", "softrank"))
    coldness = positive_float(coldness, "coldness")
    if kind == "power" and scores.min() < 0:
        raise ValueError(
            'scores must not be negative for kind "power", got a smallest of '
            f"{float(scores.min()):.6g}"
        )
    noise = -torch.empty_like(scores).exponential_(generator=generator).log()
    if kind == "power":
        keys = coldness * scores.log() + noise
        zero = scores == 0
        # Ordered first, so that the stable sort of the keys -inf keeps their order.
        order = torch.where(zero, noise, 0.0).sort(descending=True)[1]
        keys = keys.masked_fill(zero, -torch.inf)[order]
        order = order[keys.sort(descending=True, stable=True)[1]]
    elif kind == "softmax":
        order = (coldness * scores + noise).sort(descending=True)[1]
    else:
        ranks = torch.empty_like(scores)
        first = scores.sort(descending=True, stable=True)[1]
        ranks[first] = torch.arange(1, len(scores) + 1).to(scores)
        order = (noise - coldness * ranks.log()).sort(descending=True)[1]
    return _selected(scores, order, batch_size)


def _selected(scores: Tensor, order: Tensor, batch_size: int) -> Selection:
    indices = order[:batch_size]
    return Selection(indices, scores[indices].clone())

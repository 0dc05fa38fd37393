"""The examples with the largest scores, and the same with noise on the scores."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib._checks import as_tensor, check_choice, positive_float
from fimlib.selection.result import Selection, checked_batch_size


def top_k(scores: ArrayLike, batch_size: int) -> Selection:
    """Return the `batch_size` largest of the scores (M,), which are the gains.

    Ties go to the lowest index. It ignores redundancy: joint information is at most the
    sum (T25). ValueErrors: scores that are not finite, a batch larger than the pool.

    >>> top_k([0.5, 2.0, 1.0], 2).indices.tolist()
    [1, 2]
    """
    values: Tensor = as_tensor(scores, "scores", ("M",))
    batch_size = checked_batch_size(batch_size, len(values))
    gains, indices = values.sort(descending=True, stable=True)
    return Selection(indices[:batch_size], gains[:batch_size].clone())


def stochastic_top_k(
    scores: ArrayLike, batch_size: int, kind: str = "power", coldness: float = 1.0,
    generator: torch.Generator | None = None,
) -> Selection:  # fmt: skip
    """Return `batch_size` examples drawn without replacement by their scores s (M,).

    In proportion, with `coldness` b, to s^b for kind "power" (score 0 comes last, in
    uniform order), exp(b s) for "softmax", (rank of s)^-b for "softrank": the largest
    of log-probabilities plus Gumbel noise. Gains are the scores. arXiv:2106.12059.

    Raises:
        ValueError: as `top_k`, negative scores under "power", another kind, b <= 0.

    >>> draws = torch.Generator().manual_seed(0)
    >>> stochastic_top_k([0.0, 9.0, 0.0], 1, generator=draws).indices.tolist()
    [1]
    """
    values: Tensor = as_tensor(scores, "scores", ("M",))
    batch_size = checked_batch_size(batch_size, len(values))
    check_choice(kind, "kind", ("power", "softmax", "softrank"))
    coldness = positive_float(coldness, "coldness")
    if kind == "power" and values.min() < 0:
        raise ValueError(
            'scores must not be negative for kind "power", got a smallest of '
            f"{float(values.min()):.6g}"
        )
    noise = -torch.empty_like(values).exponential_(generator=generator).log()
    weights = values
    if kind == "power":
        weights = torch.where(values > 0, values, 1.0).log()
    elif kind == "softrank":
        first = values.sort(descending=True, stable=True)[1]
        weights = torch.empty_like(values)
        weights[first] = -torch.arange(1, len(values) + 1).to(values).log()
    order = (coldness * weights + noise).sort(descending=True)[1]
    if kind == "power":
        # Those of score 0 have noise alone, and come last in its order.
        order = order[(values[order] == 0).byte().sort(stable=True)[1]]
    indices = order[:batch_size]
    return Selection(indices, values[indices])

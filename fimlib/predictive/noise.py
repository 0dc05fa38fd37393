"""How well a score can be known from L samples: split halves of the samples (T37)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Generator

from fimlib.predictive import tables


class NoiseCeiling(NamedTuple):
    """Rank correlations over a pool that the noise of L samples leaves possible.

    `split_half` is Spearman's r between the scores of two halves of the samples;
    `reliability`, 2 r / (1 + r), is expected between two scores of L samples each
    (Spearman-Brown); its root `ceiling` (0 if it is negative) between one of these and
    a score without noise.
    """

    split_half: float
    reliability: float
    ceiling: float


def noise_ceiling(
    score: Callable[..., ArrayLike],
    log_probs: ArrayLike,
    *others: ArrayLike,
    generator: Generator | None = None,
) -> NoiseCeiling:
    """Return how well a score can be known, by two random halves of its samples (T37).

    `score` is a function of `log_probs` (M, L, C) and `others` (E, L, C') that returns
    (M,), as `bald` and `epig`; `generator` draws the halves.

    Raises:
        ValueError: fewer than two samples or examples, tables of different samples,
            halves whose scores are all equal.

    >>> from fimlib.predictive import bald
    >>> seeded = torch.Generator().manual_seed(0)
    >>> logits = torch.randn(50, 40, 3, generator=seeded, dtype=torch.float64)
    >>> noise_ceiling(bald, logits.log_softmax(-1), generator=seeded).ceiling < 1
    True
    """
    from scipy.stats import spearmanr  # it takes longer to import than torch's half

    log_probs = tables.checked(log_probs, "log_probs")
    tensors = [tables.checked(table, "others") for table in others]
    for table in tensors:
        tables.check_samples(log_probs, table, "others")
    if log_probs.shape[1] < 2 or len(log_probs) < 2:
        raise ValueError(
            "log_probs must have at least 2 examples and 2 samples, got shape "
            f"{tuple(log_probs.shape)}"
        )
    device = log_probs.device if generator is None else generator.device
    order = torch.randperm(log_probs.shape[1], generator=generator, device=device)
    size, order = len(order) // 2, order.to(log_probs.device)
    halves = []
    for half in (order[:size], order[size : 2 * size]):
        found = score(log_probs[:, half], *(table[:, half] for table in tensors))
        halves.append(np.asarray(torch.as_tensor(found).cpu()))
        if len(np.unique(halves[-1])) < 2:
            raise ValueError(
                "score must tell examples apart, got equal scores from half the samples"
            )
    split_half = float(spearmanr(*halves).statistic)
    reliability = 2 * split_half / (1 + split_half) if split_half > -1 else -np.inf
    return NoiseCeiling(split_half, reliability, max(reliability, 0.0) ** 0.5)

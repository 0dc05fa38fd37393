"""Greedy BatchBALD: a batch of large joint information I[Theta; Y_1, ..., Y_K]."""

import math
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib._checks import positive_int
from fimlib.predictive import bald, tables
from fimlib.predictive.outcomes import joint_outcomes, merged
from fimlib.predictive.scores import shared_information
from fimlib.selection.result import Selection, checked_batch_size

# Gains closer than this (nats) are a tie, which the lowest index wins.
_TIE = 1e-11
# More than an information in float32 is off by (nats): less than 2e-5 was ever seen.
_ROUGH = 1e-4
# Examples looked at before the best of them is compared with the bounds of others.
_TOGETHER = 32

_DRAWN = "gains from number {} on are estimates, from {} outcomes"


def batch_bald(
    log_probs: ArrayLike, batch_size: int, generator: torch.Generator | None = None,
    max_outcomes: int = 10_000,
) -> Selection:  # fmt: skip
    """Return `batch_size` examples, each adding most joint information (T47), in nats.

    Of log_probs (M, L, C), from the same L samples of theta for each. Exact while the
    labels before have at most max_outcomes joint values C^k; from then on about as many
    are drawn by `generator` at each step, equally many, at least 2, from each sample of
    theta. Gains, whose first is a BALD, are then unbiased estimates (the largest of
    many is optimistic), and `notes` says so. Of gains within 1e-11 the lowest index
    wins. ValueErrors as in `fimlib.predictive.bald`, for a batch_size outside 1..M and
    a max_outcomes below 1. Source: arXiv:1906.08158, algorithm 1.

    >>> certain = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]])
    >>> batch_bald(certain.log(), 2).gains
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    table = tables.checked(log_probs, "log_probs")
    batch_size = checked_batch_size(batch_size, len(table))
    most = positive_int(max_outcomes, "max_outcomes")
    alone = bald(table)
    # I[Theta; Y | chosen labels] falls as more are chosen: an exact gain of an earlier
    # step bounds all later ones. An estimate is bounded by BALD alone.
    bounds, gains = alone.clone(), alone
    chosen: list[int] = []
    values: list[Tensor] = []
    notes: tuple[str, ...] = ()
    for number in range(1, batch_size + 1):
        if chosen:
            outcomes = merged(joint_outcomes(table[chosen], most, generator))
            limits = alone.clone() if outcomes.per_sample else bounds
            limits[chosen] = -math.inf
            gains = _gains_in_reach(table, alone, limits, outcomes)
            if outcomes.per_sample and not notes:
                notes = (_DRAWN.format(number, len(outcomes.weights)),)
        chosen.append(int((gains >= gains.max() - _TIE).nonzero()[0]))
        values.append(gains[chosen[-1]])
    indices = torch.tensor(chosen, device=table.device)
    return Selection(indices, torch.stack(values), notes)


def _gains_in_reach(table: Any, alone: Tensor, limits: Tensor, outcomes: Any) -> Tensor:
    """Gains (M,) of the examples whose limit reaches the best gain, others -inf."""
    # I[Theta; Y | labels] = I[Theta; Y] - I[labels; Y], first in float32, which tells
    # most examples apart, and lowers their limits.
    gains = torch.full_like(limits, -math.inf)
    plain = torch.get_float32_matmul_precision() == "highest"
    rough = outcomes.to(torch.float32 if plain else torch.float64)
    order = limits.argsort(descending=True, stable=True)
    for some in order[limits[order] > -math.inf].split(_TOGETHER):
        reach = gains.max() - _TIE
        if limits[some[0]] < reach:
            break
        near = alone[some] - shared_information(table[some], rough)[0]
        limits[some] = torch.minimum(limits[some], near + _ROUGH)
        some = some[limits[some] >= reach]
        if len(some):
            shared = shared_information(table[some], outcomes)[0]
            gains[some] = alone[some] - shared
    return gains

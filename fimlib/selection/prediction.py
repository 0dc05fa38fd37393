"""Greedy BatchBALD: a batch of large joint information I[Theta; Y_1, ..., Y_K]."""

from __future__ import annotations

import math
from typing import Any

import torch
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


def batch_bald(
    log_probs: Any,
    batch_size: int,
    generator: torch.Generator | None = None,
    max_outcomes: int = 10_000,
) -> Selection:
    """Choose the example that adds most joint information, `batch_size` times: T47.

    log_probs: (M, L, C), from the same L samples of theta for each example. Gains, in
    nats, are the steps of the batch's joint information; the first is a BALD. Exact
    while the labels chosen before have at most max_outcomes joint values C^k; from then
    on about max_outcomes are drawn at each step, equally many, at least 2, from each
    sample of theta. Gains are then estimates (unbiased for each example; the largest of
    many is optimistic within their error), and `notes` says so. Gains within 1e-11 are
    a tie, which the lowest index wins. Raises ValueError for log_probs as
    `fimlib.predictive.bald` does, for a batch_size outside 1..M and for a max_outcomes
    that is not a positive integer.
    Source: Kirsch et al. 2019, arXiv:1906.08158, algorithm 1.

    >>> sure = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).double().log()
    >>> batch_bald(torch.stack([sure * 0 - 2.0**-1, sure]).log_softmax(2), 1).indices
    tensor([1])
    """
    log_probs = tables.checked(log_probs, "log_probs")
    batch_size = checked_batch_size(batch_size, len(log_probs))
    most = positive_int(max_outcomes, "max_outcomes")
    alone = bald(log_probs)
    # I[Theta; Y | chosen labels] falls as more are chosen: an exact gain of an earlier
    # step bounds all later ones. An estimate is bounded by BALD alone.
    bounds, gains = alone.clone(), alone
    chosen: list[int] = []
    values: list[Tensor] = []
    notes: tuple[str, ...] = ()
    for _ in range(batch_size):
        if chosen:
            before = log_probs[chosen]
            outcomes = merged(joint_outcomes(before, most, generator))
            limits = alone.clone() if outcomes.per_sample else bounds
            limits[chosen] = -math.inf
            gains = _gains_in_reach(log_probs, alone, limits, outcomes)
            if outcomes.per_sample and not notes:
                notes = _note(len(chosen) + 1, len(outcomes.weights))
        winner = int((gains >= gains.max() - _TIE).nonzero()[0])
        chosen.append(winner)
        values.append(gains[winner])
    indices = torch.tensor(chosen, device=log_probs.device)
    return Selection(indices, torch.stack(values), notes)


def _note(number: int, drawn: int) -> tuple[str]:
    return (f"gains from number {number} on are estimates, from {drawn} outcomes",)


def _gains_in_reach(
    log_probs: Any, alone: Tensor, limits: Tensor, outcomes: Any
) -> Tensor:
    """Gains (M,) of the examples whose limit reaches the best gain, others -inf.

    I[Theta; Y | labels] = I[Theta; Y] - I[labels; Y], first in float32, which tells
    most examples apart, and lowers their limits.
    """
    gains = torch.full_like(limits, -math.inf)
    plain = torch.get_float32_matmul_precision() == "highest"
    rough = outcomes.to(torch.float32 if plain else torch.float64)
    order = limits.argsort(descending=True, stable=True)
    for some in order[limits[order] > -math.inf].split(_TOGETHER):
        reach = gains.max() - _TIE
        if limits[some[0]] < reach:
            break
        near = alone[some] - shared_information(log_probs[some], rough)[0]
        limits[some] = torch.minimum(limits[some], near + _ROUGH)
        some = some[limits[some] >= reach]
        if len(some):
            gains[some] = alone[some]
            gains[some] -= shared_information(log_probs[some], outcomes)[0]
    return gains

"""Joint outcomes of several labels, all of them or a sample, as posteriors of theta."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from fimlib.predictive import tables


class Outcomes(NamedTuple):
    """Outcomes o of several labels: shifts p(theta_l|o) - 1/L (O, L), weights (O,).

    The weights are p(o) if `per_sample` is 0: the outcomes are all those that can be.
    Else they are drawn, `per_sample` in turn from each theta_l, and of equal weight.
    """

    shift: Tensor
    weights: Tensor
    per_sample: int = 0

    def to(self, dtype: torch.dtype) -> "Outcomes":
        """The same in another floating dtype."""
        return Outcomes(self.shift.to(dtype), self.weights.to(dtype), self.per_sample)

    def moments(
        self, values: Tensor, columns: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """What values (..., O) of these outcomes add to a mean, and to its variance."""
        # Draws are stratified by theta_l, so that only the spread within each counts.
        mean = values @ self.weights[columns]
        if not self.per_sample:
            return mean, torch.zeros_like(mean)
        spread = values.unflatten(-1, (-1, self.per_sample)).var(-1).sum(-1)
        return mean, spread / (self.per_sample * self.shift.shape[1] ** 2)


def fits(log_probs: Tensor, most: int) -> bool:
    """Whether the labels of (K, L, C) have at most `most` joint outcomes."""
    count, _, classes = log_probs.shape
    return classes == 1 or count * math.log(classes) <= math.log(most) + 1e-9


def joint_outcomes(
    log_probs: Tensor,
    most: int,
    generator: Generator | None = None,
    numbers: int | None = None,
) -> Iterator[Outcomes]:
    """Chunks, of about `numbers`, of the joint outcomes of labels (K, L, C).

    All C^K of them if they are at most `most`; else about so many from the joint
    distribution, as many from each theta_l, and at least 2.

    Yields:
        `Outcomes`.
    """
    count, samples, _ = log_probs.shape
    rows = tables.normalised(log_probs).mT.contiguous()
    step = max(1, (numbers or tables.NUMBERS) // max(count, samples))
    if fits(log_probs, most):
        yield from _all(rows, step)
    else:
        yield from _drawn(rows, step, max(2, -(-most // samples)), generator)


def merged(parts: Iterable[Outcomes]) -> Outcomes:
    """All chunks of `joint_outcomes` in one."""
    shifts, weights, per_sample = zip(*parts, strict=True)
    return Outcomes(torch.cat(shifts), torch.cat(weights), per_sample[0])


def _all(rows: Tensor, step: int) -> Iterator[Outcomes]:
    count, classes, _ = rows.shape
    places = classes ** torch.arange(count, device=rows.device)
    for start in range(0, classes**count, step):
        stop = min(start + step, classes**count)
        index = torch.arange(start, stop, device=rows.device)
        shift, weights = _shift(rows, index // places[:, None] % classes)
        possible = weights > 0
        yield Outcomes(shift[possible], weights[possible])


def _drawn(
    rows: Tensor, step: int, per_sample: int, generator: Generator | None
) -> Iterator[Outcomes]:
    samples = rows.shape[-1]
    size = max(1, step // per_sample)
    for start in range(0, samples, size):
        labels = _draw(rows[..., start : start + size], per_sample, generator)
        shift, _ = _shift(rows, labels.flatten(1))
        weights = torch.full_like(shift[:, 0], 1 / (samples * per_sample))
        yield Outcomes(shift, weights, per_sample)


def _draw(rows: Tensor, count: int, generator: Generator | None) -> Tensor:
    """Labels (K, l, count): `count` draws from each log-probabilities (K, C, l)."""
    cumulative = rows.exp().cumsum(1).mT.contiguous()
    cumulative /= cumulative[..., -1:].clone()
    shape, device = (*cumulative.shape[:2], count), rows.device
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
    # The first class whose cumulative probability is above: never one without any.
    return torch.searchsorted(cumulative, uniform, right=True)


def _shift(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """p(theta_l|o) - 1/L (O, L) and p(o) (O,) of labels (K, O); rows (K, C, L)."""
    # An outcome that no theta_l allows has weight zero, and a shift without a meaning.
    shape = (labels.shape[1], rows.shape[-1])
    joint = rows.new_zeros(shape)
    for row, label in zip(rows, labels, strict=True):
        joint += row[label]
    lowest = torch.finfo(torch.float64).min
    largest = joint.amax(1, keepdim=True).clamp(min=lowest)
    evidence = joint.sub_(largest).exp_().sum(1)
    weights = evidence * largest[:, 0].exp() / shape[1]
    return joint.div_(evidence[:, None]).sub_(1 / shape[1]), weights

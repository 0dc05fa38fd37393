"""The scores of a pool: BALD, BatchBALD, EPIG and JEPIG of a table of predictions."""

from collections.abc import Callable
from typing import Literal, overload

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import check_choice, positive_int
from fimlib.predictive import tables
from fimlib.predictive.outcomes import Outcomes, fits, joint_outcomes

# Joint outcomes that are enumerated, or else drawn, unless the caller says otherwise.
# BatchBALD visits an outcome once, JEPIG once for every example of the pool.
_ALL_OF_BATCH = 2**20
_DRAWN = 10_000
Score = Callable[..., Tensor]
# Groups of samples that the jackknife leaves out in turn.
_GROUPS = 5


def bald(log_probs: ArrayLike, jackknife: bool = False) -> Tensor:
    """Mutual information I[Theta; Y_i], the EIG of T1; at most min(log C, log L).

    L samples bias it downward by about a/L. Source: arXiv:1112.5745.

    Args:
        log_probs: (M, L, C), normalised; -inf is a probability of zero.
        jackknife: remove the a/L of the bias, as `jackknifed` does.
    Returns:
        (M,), in nats.
    Raises:
        ValueError: other shapes, NaN, rows that do not sum to 1, jackknife of 1 sample.
    Example:
        >>> sure = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()  # two sure samples
        >>> bald(sure)  # that contradict each other: log 2
        tensor([0.6931], dtype=torch.float64)
    """
    # Rows are checked on the way: another pass would cost as much as the score.
    log_probs = tables.as_table(log_probs, "log_probs")
    return _maybe_jackknifed(_bald, jackknife, log_probs)


def epig(
    log_probs: ArrayLike,
    log_probs_eval: ArrayLike,
    jackknife: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Mean over e of the information I[Y_e; Y_i | x_e, x_i]: the EPIG of T3.

    L samples bias it upward by about a/L (T39). Source: arXiv:2304.08151.

    Args:
        log_probs: (M, L, C), normalised; -inf is a probability of zero.
        log_probs_eval: (E, L, C'), from the same L samples of theta.
        jackknife: cancel the a/L, at 5 times the cost; a score may become negative.
        dtype: torch.float32 is about twice as fast, to about six digits.
    Returns:
        (M,), in nats, of this dtype.
    Raises:
        ValueError: what `bald` refuses, and different numbers of samples.
    Example:
        >>> sure = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
        >>> epig(sure, sure)
        tensor([0.6931], dtype=torch.float64)
    """
    check_choice(dtype, "dtype", (torch.float64, torch.float32))
    log_probs, evals = tables.checked_pair(log_probs, log_probs_eval)

    def score(pool: Tensor, evals: Tensor) -> Tensor:
        return _epig(pool, evals, dtype)

    return _maybe_jackknifed(score, jackknife, log_probs, evals).to(dtype)


def jepig(
    log_probs: ArrayLike,
    log_probs_eval: ArrayLike,
    num_outcomes: int | None = None,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Information I[Y_1, ..., Y_E; Y_i] about all evaluation labels: T3.

    Where labels are drawn it is unbiased for the table's information, and not negative.

    Args:
        log_probs: (M, L, C), normalised; -inf is a probability of zero.
        log_probs_eval: (E, L, C'), from the same L samples of theta.
        num_outcomes: joint evaluation labels (10,000): all if there are at most so
            many, else about so many drawn, equally many, at least 2, from each theta.
        generator: of the draws; None is torch's own.
    Returns:
        Scores (M,) and their standard errors (M,), in nats; errors of 0 where exact.
    Raises:
        ValueError: what `epig` refuses, and a num_outcomes that is no positive integer.
    Example:
        >>> sure = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
        >>> jepig(sure, sure.expand(3, 2, 2))[0]
        tensor([0.6931], dtype=torch.float64)
    """
    log_probs, evals = tables.checked_pair(log_probs, log_probs_eval)
    most = (
        _DRAWN if num_outcomes is None else positive_int(num_outcomes, "num_outcomes")
    )
    zeros = torch.zeros(len(log_probs), dtype=torch.float64, device=log_probs.device)
    score, variance = zeros, zeros.clone()
    for outcomes in joint_outcomes(evals, most, generator):
        mean, spread = shared_information(log_probs, outcomes)
        score += mean
        variance += spread
    return score.clamp_(min=0.0), variance.sqrt()


@overload
def batch_bald(
    log_probs: ArrayLike,
    num_outcomes: int | None = None,
    generator: Generator | None = None,
    return_error: Literal[False] = False,
) -> Tensor: ...
@overload
def batch_bald(
    log_probs: ArrayLike,
    num_outcomes: int | None = None,
    generator: Generator | None = None,
    *,
    return_error: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def batch_bald(
    log_probs: ArrayLike,
    num_outcomes: int | None = None,
    generator: Generator | None = None,
    return_error: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Joint information I[Theta; Y_1, ..., Y_M] of all examples: T47.

    At most log L, and M log C. Source: arXiv:1906.08158, section 3.

    Args:
        log_probs: (M, L, C), normalised; -inf is a probability of zero.
        num_outcomes: joint labels (2^20): all if there are at most so many, else about
            so many (10,000) drawn, equally many, at least 2, from each theta.
        generator: of the draws; None is torch's own.
        return_error: return a pair, the second the standard error, 0 where exact.
    Returns:
        (), in nats, exact or unbiased for the table's information; or the pair.
    Raises:
        ValueError: what `bald` refuses, and a num_outcomes that is no positive integer.
    Example:
        >>> sure = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
        >>> batch_bald(sure.expand(3, 2, 2))  # three times the same question
        tensor(0.6931, dtype=torch.float64)
    """
    log_probs = tables.checked(log_probs, "log_probs")
    if num_outcomes is not None:
        most = positive_int(num_outcomes, "num_outcomes")
    else:
        most = _ALL_OF_BATCH if fits(log_probs, _ALL_OF_BATCH) else _DRAWN
    total = torch.zeros(2, dtype=torch.float64, device=log_probs.device)
    for outcomes in joint_outcomes(log_probs, most, generator, tables.BLOCK):
        # KL(p(theta|o) || p(theta)), with p(theta_l) = 1/L.
        change = outcomes.shift * log_probs.shape[1]
        total += torch.stack(outcomes.moments(tables.excess_(change).mean(1)))
    information, error = total[0], total[1].sqrt()
    return (information, error) if return_error else information


def shared_information(log_probs: Tensor, outcomes: Outcomes) -> Tensor:
    """What outcomes add to I[Y_i; O] and to its variance, (2, M)."""
    shift, group = outcomes.shift, outcomes.per_sample or 1
    found = []
    for part in tables.chunks(log_probs):
        marginal, ratio = (value.to(shift.dtype) for value in tables.ratios(part))
        total = torch.zeros(2, len(part), dtype=torch.float64, device=part.device)
        for rows, columns, values in tables.blocks(marginal, ratio, shift, group):
            total[:, rows] += torch.stack(outcomes.moments(values, columns))
        found.append(total)
    return torch.cat(found, dim=1)


def _bald(log_probs: Tensor) -> Tensor:
    found = []
    for part in tables.chunks(log_probs, tables.BLOCK):
        marginal, ratio = tables.ratios(part)
        found.append((marginal * tables.excess_(ratio).mean(1)).sum(-1))
    return torch.cat(found).clamp_(min=0.0)


def _epig(pool: Tensor, evals: Tensor, dtype: torch.dtype) -> Tensor:
    """The information is the same sum over all labels of all e, each p(y) / E."""
    total = torch.zeros((), dtype=torch.float64, device=pool.device)
    for part in tables.chunks(evals):
        # The label y of e leaves theta_l the weight p(y|theta_l) / (L p(y)).
        marginal, ratio = tables.ratios(part)
        shift = ratio.mT.flatten(0, 1) / ratio.shape[1]
        outcomes = Outcomes(shift, marginal.flatten() / len(evals)).to(dtype)
        total = total + shared_information(pool, outcomes)[0]
    return total.clamp_(min=0.0)


def _maybe_jackknifed(score: Score, jackknife: bool, *log_probs: Tensor) -> Tensor:
    return jackknifed(score, *log_probs) if jackknife else score(*log_probs)


def jackknifed(score: Score, *log_probs: Tensor, groups: int = _GROUPS) -> Tensor:
    """A score less the part of its bias that falls as 1/L.

    With m of L samples left out, (L score - (L - m) rest) / m is the truth if the bias
    is a/L, whatever a; the mean of these over groups weights each by its m. A group is
    a run of samples, so that correlated neighbours of a chain leave together. Few
    groups do nearly as well as L: G of them leave -b G / ((G - 1) L^2) of a bias b/L^2,
    and the spread of the score is, to first order, what it was.
    Source: Quenouille 1956, doi:10.1093/biomet/43.3-4.353.

    Args:
        score: a function of the tables.
        log_probs: (M, L, C) each, of the same L samples.
        groups: G, at most L.
    Returns:
        What the score returns.
    Raises:
        ValueError: one sample.
    """
    samples = log_probs[0].shape[1]
    if samples < 2:
        raise ValueError("jackknife needs at least 2 samples of theta, got 1")
    runs = torch.arange(samples).tensor_split(min(groups, samples))
    total, stop = len(runs) * score(*log_probs), 0
    for group in runs:
        start, stop = stop, stop + len(group)
        rest = score(*(torch.cat([t[:, :start], t[:, stop:]], 1) for t in log_probs))
        total = total - (samples - len(group)) / samples * rest
    return total

"""The scores of a pool: BALD, BatchBALD, EPIG and JEPIG of a table of predictions."""

from collections.abc import Callable
from functools import partial
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
_GROUPS = 5  # of samples, that the jackknife leaves out in turn
Score = Callable[..., Tensor]


def bald(log_probs: ArrayLike, jackknife: bool = False) -> Tensor:
    """Return I[Theta; Y_i] (M,) in nats, the EIG of T1, from `log_probs` (M, L, C).

    It is at most min(log C, log L); L samples bias it downward by about a/L, which
    `jackknife` removes. A ValueError for other shapes, NaN, rows whose probabilities do
    not sum to 1 (-inf is one of zero), jackknife of 1 sample. Source: arXiv:1112.5745.

    >>> sure = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()  # two sure samples
    >>> bald(sure)  # that contradict each other: log 2
    tensor([0.6931], dtype=torch.float64)
    """
    # Rows are checked on the way: another pass would cost as much as the score.
    log_probs = tables.as_table(log_probs, "log_probs")
    return jackknifed(_bald, log_probs) if jackknife else _bald(log_probs)


def epig(
    log_probs: ArrayLike,
    log_probs_eval: ArrayLike,
    jackknife: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Return the mean over e of I[Y_e; Y_i] (M,) in nats, in `dtype`: EPIG (T3).

    From `log_probs` (M, L, C) and `log_probs_eval` (E, L, C') of the same L samples,
    which bias it upward by about a/L (T39): `jackknife` cancels that, at 5 times the
    cost; a score may become negative. torch.float32 is about twice as fast, to about
    six digits. A ValueError as `bald`. Source: arXiv:2304.08151.

    >>> sure = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
    >>> epig(sure, sure)
    tensor([0.6931], dtype=torch.float64)
    """
    check_choice(dtype, "dtype", (torch.float64, torch.float32))
    log_probs, evals = tables.checked_pair(log_probs, log_probs_eval)

    score, pair = partial(_epig, dtype=dtype), (log_probs, evals)
    return (jackknifed(score, *pair) if jackknife else score(*pair)).to(dtype)


def jepig(
    log_probs: ArrayLike,
    log_probs_eval: ArrayLike,
    num_outcomes: int | None = None,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Return I[Y_1, ..., Y_E; Y_i] (M,) and standard errors (M,), in nats: T3.

    From `log_probs` (M, L, C) and `log_probs_eval` (E, L, C') of the same samples: all
    joint evaluation labels if they are at most `num_outcomes` (10,000), and errors are
    0; else about so many drawn by `generator`, equally many, at least 2, from each
    theta: unbiased for the table's information, and not negative.

    >>> sure = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
    >>> jepig(sure, sure.expand(3, 2, 2))[0]
    tensor([0.6931], dtype=torch.float64)
    """
    log_probs, evals = tables.checked_pair(log_probs, log_probs_eval)
    most = _most(num_outcomes, _DRAWN)
    total = _zeros(log_probs, 2, len(log_probs))
    for outcomes in joint_outcomes(evals, most, generator):
        total += shared_information(log_probs, outcomes)
    return total[0].clamp_(min=0.0), total[1].sqrt()


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
    """Return I[Theta; Y_1, ..., Y_M] () in nats of all examples together: T47.

    From `log_probs` (M, L, C): all joint labels if they are at most `num_outcomes`
    (2^20), else about so many (10,000) that `generator` draws, which is unbiased. At
    most log L, and M log C. `return_error` adds the standard error (), 0 where exact.
    Source: arXiv:1906.08158, section 3.

    >>> sure = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
    >>> batch_bald(sure.expand(3, 2, 2))  # three times the same question
    tensor(0.6931, dtype=torch.float64)
    """
    log_probs = tables.checked(log_probs, "log_probs")
    all_fit = fits(log_probs, _ALL_OF_BATCH)
    most = _most(num_outcomes, _ALL_OF_BATCH if all_fit else _DRAWN)
    total = _zeros(log_probs, 2)
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
        total = _zeros(part, 2, len(part))
        for rows, columns, values in tables.blocks(marginal, ratio, shift, group):
            total[:, rows] += torch.stack(outcomes.moments(values, columns))
        found.append(total)
    return torch.cat(found, dim=1)


def _most(num_outcomes: int | None, default: int) -> int:
    number = default if num_outcomes is None else num_outcomes
    return positive_int(number, "num_outcomes")


def _zeros(like: Tensor, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64, device=like.device)


def _bald(log_probs: Tensor) -> Tensor:
    found = map(tables.ratios, tables.chunks(log_probs, tables.BLOCK))
    scores = [(p * tables.excess_(ratio).mean(1)).sum(-1) for p, ratio in found]
    return torch.cat(scores).clamp_(min=0.0)


def _epig(pool: Tensor, evals: Tensor, dtype: torch.dtype) -> Tensor:
    """The information is the same sum over all labels of all e, each p(y) / E."""
    total = _zeros(pool, len(pool))
    for part in tables.chunks(evals):
        # The label y of e leaves theta_l the weight p(y|theta_l) / (L p(y)).
        marginal, ratio = tables.ratios(part)
        shift = ratio.mT.flatten(0, 1) / ratio.shape[1]
        outcomes = Outcomes(shift, marginal.flatten() / len(evals)).to(dtype)
        total += shared_information(pool, outcomes)[0]
    return total.clamp_(min=0.0)


def jackknifed(score: Score, *log_probs: Tensor, groups: int = _GROUPS) -> Tensor:
    """Return `score` of tables (M, L, C) less the part of its bias that falls as 1/L.

    With m of L samples left out, (L score - (L - m) rest) / m is the truth if the bias
    is a/L, whatever a; the mean of these over groups weights each by its m. A group is
    a run of samples, so that correlated neighbours of a chain leave together. Few
    groups do nearly as well as L: G of them leave -b G / ((G - 1) L^2) of a bias b/L^2,
    and the spread of the score is, to first order, what it was.
    Source: Quenouille 1956, doi:10.1093/biomet/43.3-4.353.

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

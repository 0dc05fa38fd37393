"""The scores of a pool: BALD, BatchBALD, EPIG and JEPIG of a table of predictions."""

import torch

from fimlib._checks import check_choice, positive_int
from fimlib.predictive import tables
from fimlib.predictive.outcomes import Outcomes, fits, joint_outcomes

# Joint outcomes that are enumerated, or else drawn, unless the caller says otherwise.
# BatchBALD visits an outcome once, JEPIG once for every example of the pool.
_ALL_OF_BATCH = 2**20
_DRAWN = 10_000
# Groups of samples that the jackknife leaves out in turn.
_GROUPS = 5


def bald(log_probs, jackknife=False):
    """Mutual information I[Theta; Y_i] (M,) of each example: the EIG of T1.

    log_probs: (M, L, C), normalised; -inf is a probability of zero. At most
    min(log C, log L). L samples bias the score downward by about a/L; jackknife removes
    that part of the bias, as in `epig`. Raises ValueError for wrong shapes, NaN, rows
    whose probabilities do not sum to 1, and jackknife of one sample.
    Source: Houlsby et al. 2011, arXiv:1112.5745.
    """
    # Rows are checked on the way: another pass would cost as much as the score.
    log_probs = tables.as_table(log_probs, "log_probs")
    return _maybe_jackknifed(_bald, jackknife, log_probs)


def epig(log_probs, log_probs_eval, jackknife=False, dtype=torch.float64):
    """Mean over e of I[Y_e; Y_i | x_e, x_i] (M,): the EPIG of T3.

    log_probs: (M, L, C) and log_probs_eval: (E, L, C'), from the same L samples of
    theta. L samples bias the score upward by about a/L (T39). jackknife: cut the
    samples into 5 groups (fewer if L < 5), leave each out once, and combine the scores
    so that a/L cancels; this costs 5 times as much, and the score may be negative.
    dtype: torch.float32 is about twice as fast, to about six digits. Raises ValueError
    as `bald` does, and for different numbers of samples.
    Source: Bickford Smith et al. 2023, arXiv:2304.08151.
    """
    check_choice(dtype, "dtype", (torch.float64, torch.float32))
    log_probs = tables.checked(log_probs, "log_probs")
    evals = tables.checked(log_probs_eval, "log_probs_eval")
    tables.check_samples(log_probs, evals, "log_probs_eval")

    def score(pool, evals):
        return _epig(pool, evals, dtype)

    return _maybe_jackknifed(score, jackknife, log_probs, evals).to(dtype)


def jepig(log_probs, log_probs_eval, num_outcomes=None, generator=None):
    """I[Y_1, ..., Y_E; Y_i] (M,) with all evaluation labels, and standard errors: T3.

    log_probs: (M, L, C) and log_probs_eval: (E, L, C'), from the same L samples of
    theta. Exact, with standard errors of 0, if there are at most num_outcomes
    (10,000) joint evaluation labels C'^E. Otherwise about so many are drawn, equally
    many, at least 2, from each sample of theta; the score is then unbiased for the
    information of the table, and never negative. Raises ValueError as `epig` does, and
    for a num_outcomes that is not a positive integer.
    """
    log_probs = tables.checked(log_probs, "log_probs")
    evals = tables.checked(log_probs_eval, "log_probs_eval")
    tables.check_samples(log_probs, evals, "log_probs_eval")
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


def batch_bald(log_probs, num_outcomes=None, generator=None, return_error=False):
    """Joint information I[Theta; Y_1, ..., Y_M] () of all M examples: T47.

    log_probs: (M, L, C). At most log L, and M log C. Exact if there are at most
    num_outcomes joint labels C^M; by default, at most 2^20. Otherwise num_outcomes
    (10,000) are drawn, equally many, at least 2, from each sample of theta; the
    estimate is unbiased for the information of the table. return_error: return
    (information, standard error), which is 0 where exact. Raises ValueError as `bald`
    does, and for a num_outcomes that is not a positive integer.
    Source: Kirsch et al. 2019, arXiv:1906.08158, section 3.
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


def shared_information(log_probs, outcomes):
    """What a set of outcomes adds to I[Y_i; O] and to its variance, (2, M).

    In the outcomes' dtype, but the sum over outcomes.
    """
    shift, group = outcomes.shift, outcomes.per_sample or 1
    found = []
    for part in tables.chunks(log_probs):
        pair = (value.to(shift.dtype) for value in tables.ratios(part))
        total = torch.zeros(2, len(part), dtype=torch.float64, device=part.device)
        for rows, columns, values in tables.blocks(*pair, shift, group):
            total[:, rows] += torch.stack(outcomes.moments(values, columns))
        found.append(total)
    return torch.cat(found, dim=1)


def _bald(log_probs):
    found = []
    for part in tables.chunks(log_probs, tables.BLOCK):
        marginal, ratio = tables.ratios(part)
        found.append((marginal * tables.excess_(ratio).mean(1)).sum(-1))
    return torch.cat(found).clamp_(min=0.0)


def _epig(pool, evals, dtype):
    """The information is the same sum over all labels of all e, each p(y) / E."""
    total = 0.0
    for part in tables.chunks(evals):
        # The label y of e leaves theta_l the weight p(y|theta_l) / (L p(y)).
        marginal, ratio = tables.ratios(part)
        shift = ratio.mT.flatten(0, 1) / ratio.shape[1]
        outcomes = Outcomes(shift, marginal.flatten() / len(evals)).to(dtype)
        total = total + shared_information(pool, outcomes)[0]
    return total.clamp_(min=0.0)


def _maybe_jackknifed(score, jackknife, *log_probs):
    return jackknifed(score, *log_probs) if jackknife else score(*log_probs)


def jackknifed(score, *log_probs, groups=_GROUPS):
    """A score of tables (M, L, C) less the part of its bias that falls as 1/L.

    With m of L samples left out, (L score - (L - m) rest) / m is the truth if the bias
    is a/L, whatever a; the mean of these over groups weights each by its m. A group is
    a run of samples, so that correlated neighbours of a chain leave together. Few
    groups do nearly as well as L: G of them leave -b G / ((G - 1) L^2) of a bias b/L^2,
    and the spread of the score is, to first order, what it was.
    Source: Quenouille 1956, doi:10.1093/biomet/43.3-4.353.
    """
    samples = log_probs[0].shape[1]
    if samples < 2:
        raise ValueError("jackknife needs at least 2 samples of theta, got 1")
    groups = torch.arange(samples).tensor_split(min(groups, samples))
    total, stop = len(groups) * score(*log_probs), 0
    for group in groups:
        start, stop = stop, stop + len(group)
        rest = score(*(torch.cat([t[:, :start], t[:, stop:]], 1) for t in log_probs))
        total = total - (samples - len(group)) / samples * rest
    return total

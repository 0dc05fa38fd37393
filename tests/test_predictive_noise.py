import math

import pytest
import torch
from cases import generator, normal
from scipy.stats import spearmanr

from fimlib.predictive import bald, epig, noise_ceiling

M, L = 1009, 24


def noisy_table(signal, noise, seed):
    """A table whose column 0 has log-odds signal_i + noise_il."""
    odds = signal[:, None] + noise * normal(M, L, seed=seed)
    return torch.stack([odds, torch.zeros_like(odds)], dim=-1).log_softmax(-1)


def mean_odds(table):
    return (table[..., 0] - table[..., 1]).mean(1)


def test_ceiling_predicts_the_correlations_that_other_samples_give():
    """Reliability: with a second run of L samples. Ceiling: with a noise-free score."""
    signal = normal(M, seed=1)
    table, again = (noisy_table(signal, 3.0, seed) for seed in (2, 3))
    found = noise_ceiling(mean_odds, table, generator=generator())
    second = spearmanr(mean_odds(table), mean_odds(again)).statistic
    truth = spearmanr(mean_odds(table), signal).statistic
    # Errors of a correlation over 1009 points are about 0.02.
    assert found.reliability == pytest.approx(second, abs=0.05)
    assert found.ceiling == pytest.approx(truth, abs=0.05)
    assert found.split_half < found.reliability - 0.05
    assert found.reliability < found.ceiling - 0.05


def test_spearman_brown_by_hand():
    """Halves that agree but for one exchange of neighbours: r = 1 - 6*2/(M(M^2-1))."""
    halves = iter([torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 2, 4, 3])])
    table = normal(4, 5, 3).log_softmax(-1)
    found = noise_ceiling(lambda part: next(halves), table)
    assert found.split_half == pytest.approx(0.8)
    assert found.reliability == pytest.approx(1.6 / 1.8)
    assert found.ceiling == pytest.approx(math.sqrt(1.6 / 1.8))


def test_a_score_that_is_all_noise_has_no_ceiling():
    halves = iter([torch.tensor([1.0, 2, 3, 4]), torch.tensor([4.0, 3, 2, 1])])
    found = noise_ceiling(lambda part: next(halves), normal(4, 5, 3).log_softmax(-1))
    assert found.split_half == pytest.approx(-1.0) and found.ceiling == 0.0


def test_halves_share_no_sample_and_are_the_same_for_all_tables():
    seen = []

    def score(part, other):
        seen.append((part, other))
        return torch.arange(3.0)

    odd = normal(3, 7, 2, seed=4).log_softmax(-1)
    noise_ceiling(score, odd, odd.clone(), generator=generator(2))
    rows = [{tuple(row) for row in part[0].tolist()} for part, _ in seen]
    assert len(rows[0]) == len(rows[1]) == 3 and not rows[0] & rows[1]
    assert all(torch.equal(part, other) for part, other in seen)


def test_scores_of_the_package_and_seeds():
    pool = (normal(31, 1, 5) + normal(31, 40, 5, seed=1)).log_softmax(-1)
    evals = normal(7, 40, 5, seed=2).log_softmax(-1)
    first, again = (noise_ceiling(bald, pool, generator=generator()) for _ in range(2))
    assert first == again and 0 < first.split_half < first.reliability < first.ceiling
    assert noise_ceiling(epig, pool, evals, generator=generator()).ceiling <= 1


def test_bad_input_is_refused_by_name():
    table = normal(5, 6, 3).log_softmax(-1)
    with pytest.raises(ValueError, match="at least 2 examples and 2 samples"):
        noise_ceiling(bald, table[:, :1])
    with pytest.raises(ValueError, match="at least 2 examples and 2 samples"):
        noise_ceiling(bald, table[:1])
    with pytest.raises(ValueError, match="score must tell examples apart"):
        noise_ceiling(lambda part: torch.zeros(5), table)
    with pytest.raises(ValueError, match="others must have the 6 samples"):
        noise_ceiling(epig, table, table[:, :5])

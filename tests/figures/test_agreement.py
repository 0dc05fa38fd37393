import numpy as np
import pytest
from scipy import stats

from fimlib.figures import agreement


def scores(seed=0, count=200, noise=0.5):
    draw = np.random.default_rng(seed)
    a = draw.normal(size=count)
    return a, a + noise * draw.normal(size=count)


def test_spearman_is_scipys_also_with_ties():
    a, b = scores()
    assert agreement.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    a, b = np.round(a), np.round(b)
    assert agreement.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert agreement.spearman(a, -a) == pytest.approx(-1.0)


def test_top_takes_the_highest_and_the_first_of_equals():
    assert agreement.top([1.0, 3.0, 2.0, 3.0], 3).tolist() == [1, 3, 2]


def test_within_top_looks_at_one_scores_top_only():
    a, b = scores()
    chosen = np.argsort(a)[-50:]
    expected = stats.spearmanr(a[chosen], b[chosen]).statistic
    assert agreement.spearman_within_top(a, b, 50) == pytest.approx(expected)
    assert agreement.spearman_within_top(a, b, 200) == pytest.approx(
        agreement.spearman(a, b)
    )


def test_the_union_of_two_tops_would_mislead():
    # The reason to condition on one score: independent ones, top tenth of each.
    found = []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        a, b = draw.normal(size=(2, 1000))
        union = np.union1d(agreement.top(a, 100), agreement.top(b, 100))
        found.append(agreement.spearman(a[union], b[union]))
    assert np.mean(found) == pytest.approx(-0.67, abs=0.03)


def test_overlap_counts_shared_points():
    assert agreement.overlap([3, 2, 1, 0], [3, 0, 2, 1], 2) == 1
    a, _ = scores()
    assert agreement.overlap(a, a, 17) == 17
    assert agreement.overlap(a, -a, 17) == 0


def test_within_the_union_both_tops_count():
    a, b = scores()
    union = sorted({*np.argsort(-a)[:30], *np.argsort(-b)[:30]})
    expected = stats.spearmanr(a[union], b[union]).statistic
    assert agreement.spearman_in_union(a, b, 30) == pytest.approx(expected)


def test_the_published_top_half_is_the_lowest_half():
    a, b = scores(count=100)
    low = sorted({*np.argsort(a)[:50], *np.argsort(b)[:50]})
    expected = stats.spearmanr(a[low], b[low]).statistic
    assert agreement.published_top_half(a, b, 50) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 1.0])
def test_the_unions_null_is_what_independent_scores_give(share):
    draw = np.random.default_rng(7)
    found = [
        agreement.spearman_in_union(*draw.normal(size=(2, 2000)), int(share * 2000))
        for _ in range(30)
    ]
    assert np.mean(found) == pytest.approx(agreement.union_null(share), abs=0.015)


def test_the_unions_null_has_its_limits():
    assert agreement.union_null(1e-9) == pytest.approx(-0.75)
    assert agreement.union_null(1) == 0


def test_the_gaussian_reference_is_what_gaussian_scores_give():
    # An independent route: many small pools instead of one large one.
    draw = np.random.default_rng(3)
    pearson = 2 * np.sin(np.pi * 0.9 / 6)
    whole, within = [], []
    for _ in range(60):
        a, noise = draw.normal(size=(2, 1000))
        b = pearson * a + np.sqrt(1 - pearson**2) * noise
        whole.append(agreement.spearman(a, b))
        within.append(agreement.spearman_within_top(a, b, 100))
    assert np.mean(whole) == pytest.approx(0.9, abs=0.005)
    found = agreement.gaussian_reference(0.9, 0.1)
    assert found == pytest.approx(np.mean(within), abs=0.03)
    assert agreement.gaussian_reference(0.9, 1.0) == pytest.approx(0.9, abs=0.003)
    assert agreement.gaussian_reference(1.0, 0.1) == pytest.approx(1.0)


def test_bad_shares_and_correlations_are_named():
    for share in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="share must lie in"):
            agreement.union_null(share)
    for correlation in (1.01, float("nan")):
        with pytest.raises(ValueError, match="correlation must lie in"):
            agreement.gaussian_reference(correlation, 0.1)


def test_inverse_fit_finds_the_limit():
    samples = np.array([20, 50, 100, 1000])
    found = agreement.inverse_fit(samples, 0.3 + 7 / samples)
    assert found == pytest.approx((0.3, 7.0))

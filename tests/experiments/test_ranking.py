import numpy as np
import pytest
from scipy import stats

from fimlib.experiments import ranking
from fimlib.records import Record


def scores(seed=0, count=200, noise=0.5):
    draw = np.random.default_rng(seed)
    a = draw.normal(size=count)
    return a, a + noise * draw.normal(size=count)


def test_spearman_is_scipys_also_with_ties():
    a, b = scores()
    assert ranking.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    a, b = np.round(a), np.round(b)
    assert ranking.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert ranking.spearman(a, -a) == pytest.approx(-1.0)


def test_top_takes_the_highest_and_the_first_of_equals():
    assert ranking.top([1.0, 3.0, 2.0, 3.0], 3).tolist() == [1, 3, 2]


def test_within_top_looks_at_one_scores_top_only():
    a, b = scores()
    chosen = np.argsort(a)[-50:]
    expected = stats.spearmanr(a[chosen], b[chosen]).statistic
    assert ranking.spearman_within_top(a, b, 50) == pytest.approx(expected)
    assert ranking.spearman_within_top(a, b, 200) == pytest.approx(
        ranking.spearman(a, b)
    )


def test_the_union_of_two_tops_would_mislead():
    # The reason to condition on one score: independent ones, top tenth of each.
    found = []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        a, b = draw.normal(size=(2, 1000))
        union = np.union1d(ranking.top(a, 100), ranking.top(b, 100))
        found.append(ranking.spearman(a[union], b[union]))
    assert np.mean(found) == pytest.approx(-0.67, abs=0.03)


def test_overlap_counts_shared_points():
    assert ranking.overlap([3, 2, 1, 0], [3, 0, 2, 1], 2) == 1
    a, _ = scores()
    assert ranking.overlap(a, a, 17) == 17
    assert ranking.overlap(a, -a, 17) == 0


def test_proxies_change_their_sign_and_nothing_else():
    columns = {name: np.arange(3.0) for name in (*ranking.PROXIES, "bald")}
    record = Record("x", columns, {})
    assert ranking.oriented(record, "bald").tolist() == [0, 1, 2]
    for name in ranking.PROXIES:
        assert ranking.oriented(record, name).tolist() == [0, -1, -2]


def test_the_orders_of_the_figures_are_the_published_sums_of_ranks():
    draw = np.random.default_rng(1)
    names = ("bald", "epig", "eig_log_det", "eig_trace", *ranking.PROXIES)
    columns = {name: draw.normal(size=30) for name in names}
    rank = {name: 1 + np.argsort(np.argsort(v)) for name, v in columns.items()}
    ig = rank["bald"] + (rank["eig_log_det"] + rank["eig_trace"]) / 2
    pig = rank["epig"] - (
        rank["epig_proxy_log_det"]
        + rank["epig_proxy_trace"]
        + rank["jepig_proxy_log_det"]
    ) / 3  # fmt: skip
    record = Record("x", columns, {})
    assert np.allclose(ranking.average_ig_rank(record), ig)
    found = ranking.average_pig_rank(record)
    assert np.allclose(found - pig, 31)  # ranks of negated scores: 31 minus the rank


def test_tables_hold_the_correlations_of_oriented_scores():
    draw = np.random.default_rng(2)
    base = draw.normal(size=80)
    columns = {name: base + 0.3 * draw.normal(size=80) for name in ranking.NAMES}
    for name in ranking.PROXIES:
        columns[name] = -(base + 0.3 * draw.normal(size=80))
    record = Record("x", columns, {})
    published = {
        "score": np.array(["bald", "epig"]),
        "other": np.array(["epig_proxy_trace", "bald"]),
        "published": np.array([0.9, 0.8]),
        "checkpoint": np.array([0.7, 0.6]),
    }
    table = ranking.compare(published, {"here": record})
    expected = stats.spearmanr(columns["bald"], -columns["epig_proxy_trace"]).statistic
    assert table["here"][0] == pytest.approx(expected, abs=5e-4)
    assert table["against"] == ["(J)EPIG trace", "BALD"]
    assert table["re-scored"] == [0.7, 0.6]
    found = ranking.top_table(record, counts=(20,))
    row = found["against"].index("(J)EPIG trace")
    chosen = np.argsort(-columns["bald"])[:20]
    expected = stats.spearmanr(
        columns["bald"][chosen], -columns["epig_proxy_trace"][chosen]
    ).statistic
    assert found["its top 20"][row] == pytest.approx(expected, abs=5e-3)
    assert found["shared of top 100"][row] == 80

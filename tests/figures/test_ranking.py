import numpy as np
import pytest

from fimlib.figures import ranking
from fimlib.figures.records import Record, RecordError


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


def record_of(seeds, sha="a", **protocol):
    columns = {"seed": np.array(seeds), "bald": np.arange(float(len(seeds)))}
    run = {"data": {"sha256": sha}, "protocol": {"eval_size": 7} | protocol}
    return Record(f"record-{sha}", columns, run)


def test_seeds_are_never_ranked_together():
    both = record_of([2, 2, 0])
    with pytest.raises(RecordError, match=r"holds seeds 0, 2: .* one seed at a time"):
        ranking.oriented(both, "bald")
    first, second = ranking.by_seed(both)
    assert ranking.oriented(first, "bald").tolist() == [0, 1]
    assert ranking.oriented(second, "bald").tolist() == [2]


def test_a_uniform_score_is_the_same_each_time_and_another_for_each_seed():
    ones = ranking.by_seed(record_of([0] * 5 + [1] * 5))
    first, second = (ranking.oriented(one, "uniform") for one in ones)
    assert np.array_equal(first, ranking.oriented(ones[0], "uniform"))
    assert not np.array_equal(first, second)


def test_records_of_one_run_are_merged():
    found = ranking.merged(record_of([0, 0]), record_of([1, 1]))
    assert found["seed"].tolist() == [0, 0, 1, 1]
    with pytest.raises(RecordError, match="seed 0 is in two of the records"):
        ranking.merged(record_of([0]), record_of([0]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (record_of([1], sha="b"), "data sha256 is a in the first and b in the second"),
        (record_of([1], eval_size=9), "protocol eval_size is 7 in the first and 9 in"),
        (record_of([1], more=1), "protocol more is nothing in the first and 1 in the"),
    ],
)
def test_records_of_different_runs_are_refused(other, message):
    for combine in (ranking.merged, ranking.same_run):
        with pytest.raises(RecordError, match=message):
            combine(record_of([0]), other)

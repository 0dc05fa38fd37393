"""The tables of Figure 4, against records made by hand."""

import math

import numpy as np
import pytest
from fig4_cases import BATCHES, HAND, RUN, by_hand

from fimlib.figures import records
from fimlib.figures.fig4 import study_tables, tables


def test_the_first_network_counts_in_neither_form():
    found = tables.scores(by_hand())
    assert found["a", "uniform", "none"].tolist() == [2.0, 3.0, 1.0]
    last = tables.scores(by_hand(), "last")
    assert last["a", "uniform", "none"].tolist() == [3.0, 4.0, 2.0]
    with pytest.raises(ValueError, match="form must be one of avg, last, got 'mean'"):
        tables.scores(by_hand(), "mean")


def test_an_improvement_is_uniform_less_the_method_in_the_same_split():
    found = tables.improvements(by_hand())
    white, black = found["a", "bald"]
    assert white.tolist() == [1.0, 1.5, 1.0]
    assert black.tolist() == [1.0, 0.5, 0.5]
    assert tables.improvements(by_hand(), "last")["a", "bald"][0].tolist() == [2, 2, 2]


def test_rows_may_come_in_any_order():
    record = by_hand()
    order = np.random.default_rng(0).permutation(len(record))
    mixed = {name: values[order] for name, values in record.columns.items()}
    found = tables.scores(records.Record("x", mixed, RUN))
    expected = tables.scores(record)
    assert {k: v.tolist() for k, v in found.items()} == {
        k: v.tolist() for k, v in expected.items()
    }


def test_the_error_is_that_of_paired_differences():
    white, black = tables.dots(by_hand(), "bald")["a"]
    # 1, 3/2, 1: mean 7/6, squared deviations 1/36 + 4/36 + 1/36 = 1/6.
    assert white.mean == pytest.approx(7 / 6)
    assert white.error == pytest.approx(math.sqrt(1 / 6 / 2 / 3))
    assert white.freedom == 2
    assert white.margin == pytest.approx(4.302652729911275 * white.error)
    assert black.mean == pytest.approx(2 / 3)
    # On b all splits move together: unpaired errors would be large.
    white, _ = tables.dots(by_hand(), "bald")["b"]
    assert (white.mean, white.error) == (-1.0, 0.0)


def test_a_gap_has_the_uniform_draws_cancelled():
    found = tables.gaps(by_hand(), "bald")
    # 0, -1, -1/2: mean -1/2, squared deviations 1/4 + 1/4 + 0.
    assert found["a"].mean == pytest.approx(-0.5)
    assert found["a"].error == pytest.approx(math.sqrt(0.5 / 2 / 3))
    assert (found["b"].mean, found["b"].error) == (0.5, 0.0)
    assert not found["a"].clear
    assert found["b"].clear


def test_a_star_is_the_mean_over_data_sets_and_their_errors_add():
    white, black = tables.star(by_hand(), "bald")
    assert white.mean == pytest.approx((7 / 6 - 1) / 2)
    assert white.error == pytest.approx(math.sqrt(1 / 36) / 2)
    assert white.freedom == pytest.approx(2)  # all variance is that of set a
    assert black.mean == pytest.approx((2 / 3 - 0.5) / 2)
    both = [tables.estimate([0.0, 2.0, 4.0])] * 2
    assert tables.mean_of(both).error == pytest.approx(both[0].error / math.sqrt(2))
    assert tables.mean_of(both).freedom == pytest.approx(4)


def test_wins_are_counted_by_set():
    table = tables.star_table(by_hand())
    assert table["method"] == ["BALD", "LCMD"]
    assert table["black ahead"] == [1, 0]
    assert table["clearly"] == [1, 0]
    # LCMD on a: black is behind by 2, 3, 2.5: 2.5 ± 0.29, t = 4.3.
    assert table["clearly behind"] == [0, 1]
    counts = tables.win_counts(by_hand())
    assert counts["dots"] == 4
    assert counts["black ahead"] == counts["black clearly ahead"] == 1
    assert counts["white clearly ahead"] == 1
    assert counts["median distance"] == pytest.approx(0.5)


def test_one_split_has_no_error():
    with pytest.raises(ValueError, match="at least 2 splits, got 1"):
        tables.estimate([1.0])


def test_all_methods_need_the_same_splits():
    short = {**HAND, ("a", "bald", "white-box"): HAND["a", "bald", "white-box"][:2]}
    with pytest.raises(records.RecordError, match="not the same splits"):
        tables.improvements(by_hand(short))


def published(bald=2.0, lcmd=3.0):
    columns = {
        "method": np.array(["uniform", "bald", "lcmd"]),
        "best": np.array([5.0, bald, lcmd]),
    }
    return records.Record("fig4-published", columns, {})


def test_the_published_order_is_one_of_improvements():
    assert tables.published_improvements(published()) == {"bald": 3.0, "lcmd": 2.0}
    # Ours: BALD 1/12, LCMD (5/3 + 1) / 2 by the white box.
    found = tables.order(by_hand(), published())
    assert found == pytest.approx((-1.0, -1.0, -1.0))
    assert tables.order(by_hand(), published(3.0, 2.0)).spearman == pytest.approx(1)
    # At the last step BALD is ahead by the black box alone: 1/4 against 0.
    for kernel, expected in (("white-box", -1), ("black-box", 1)):
        found = tables.order(by_hand(), published(), kernel, "last")
        assert found.spearman == pytest.approx(expected)
    shown = tables.order_table(by_hand(), published())
    assert shown["method"] == ["BALD", "LCMD"]
    assert shown["published, white box"] == [3.0, 2.0]
    assert shown["white box"][0].startswith("0.083 ± ")


def test_the_range_of_the_order_is_that_of_the_data_sets():
    # Set a has BALD ahead, b has LCMD: which of them is drawn twice decides.
    values = {
        (data, method, kernel): ((0.0, level, level),) * 2
        for data, levels in (("a", (9, 1, 2)), ("b", (9, 4, 2)))
        for (method, kernel), level in zip(
            (("uniform", "none"), ("bald", "white-box"), ("lcmd", "white-box")),
            levels,
            strict=True,
        )
    }
    values |= {
        (data, method, "black-box"): value
        for (data, method, kernel), value in values.items()
        if kernel == "white-box"
    }
    found = tables.order(by_hand(values), published(3.0, 2.0))
    assert found.spearman == pytest.approx(1)  # LCMD ahead in the mean, as published
    assert (found.low, found.high) == pytest.approx((-1.0, 1.0))


def test_overlap_is_of_first_batches_and_chance_by_the_pools():
    table = tables.overlap_table(by_hand(), BATCHES)
    assert table["both choose"] == [pytest.approx((0.5 + 0.25) / 2), 0.0]
    assert (table["least"][0], table["most"][0]) == (0.25, 0.5)
    # Set a has the 50 that are asked for, b the 65 - 10 - 10 - 13 that are left.
    assert table["chance"][0] == pytest.approx((4 / 50 + 4 / 32) / 2)


def test_costs_are_by_method_and_kernel():
    table = tables.cost_table(RUN)
    assert table["method"] == ["uniform", "BALD", "LCMD"]
    assert table["train, white box"] == [1.0, 2.0, 3.0]
    assert table["choose, black box"] == [None, 4.0, 4.5]


def test_filled_batches_are_counted_by_method_and_kernel():
    found = tables.filled_share(RUN)
    assert found["uniform", "none"] == 0.05
    assert found["lcmd", "black-box"] == 0.45


def test_the_set_behind_a_star_and_the_star_without_it():
    # LCMD, white box: 2, 2, 3/2 on a, 1 on b.
    name, share = tables.largest_share(by_hand(), "lcmd")
    assert (name, share) == ("a", pytest.approx(11 / 17))
    rest = tables.without(by_hand(), "a")
    assert tables.data_sets(rest) == ["b"]
    assert tables.star(rest, "lcmd")[0].mean == 1.0


def test_a_learning_curve_is_the_mean_over_splits():
    labels, means = tables.curve(by_hand(), "a", "bald", "black-box")
    assert labels.tolist() == [10, 14, 18]
    assert means == pytest.approx([9.0, 2 / 3, 2.0])


def test_shares_of_a_batch_lie_between_uniform_and_greedy():
    columns = {
        "members": np.array([3, 3, 3, 3, 9, 9]),
        "noise": np.array([0.1, 0.1, 0.1, 7.0, 0.1, 0.1]),
        "batch": np.array([2, 2, 4, 4, 2, 4]),
        "value": np.array([2.0, 3.0, 5.0, 9.0, 3.0, 3.0]),
        "filled": np.array([1.5, 1.5, 1.0, 9.0, 3.0, 2.0]),
        "uniform": np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        "greedy": np.array([3.0, 3.0, 5.0, 9.0, 3.0, 3.0]),
        "gain": np.array([1.0, 2.0, 1.0, 9.0, 1.0, 1.0]),
        "gain_finer": np.array([3.0, 4.0, 1.0, 9.0, 3.0, 3.0]),
    }
    record = records.Record("fig4-rank", columns, {})
    batches, value, filled = study_tables.shares(record, 3)
    assert batches.tolist() == [2, 4]
    assert value.tolist() == [0.75, 1.0]
    assert filled.tolist() == [0.25, 0.0]
    assert study_tables.past_rank(record) == [(3, 4, 1.0, 0.0)]
    assert study_tables.noise_table(record) == {
        "members": [3, 9], 2: [2.0, 2.0], 4: [0.0, 2.0],
    }  # fmt: skip
    assert study_tables.share_table(record)[4] == [1.0, 1.0]


def test_told_once_is_joint_over_sum_set_by_set():
    columns = {
        "data": np.array(["a", "a", "b", "b"]),
        "kernel": np.array(["white-box"] * 4),
        "method": np.array(["bald"] * 4),
        "batch": np.array([8, 8, 8, 8]),
        "together": np.array([1.0, 3.0, 1.0, 2.0]),
        "alone": np.array([4.0, 4.0, 8.0, 8.0]),
    }
    record = records.Record("fig4-redundancy", columns, {})
    batches, mean, low, high = study_tables.told_once(record, "white-box", "bald")
    assert batches.tolist() == [8]
    assert (low[0], high[0]) == (0.1875, 0.5)
    assert mean[0] == pytest.approx(0.34375)


def test_bald_is_compared_within_a_split():
    columns = {
        "data": np.array(["a"] * 6),
        "method": np.array(["uniform"] * 2 + ["bald"] * 4),
        "batch": np.array([16, 16, 4, 4, 8, 8]),
        "split": np.array([0, 1, 1, 0, 0, 1]),
        "log_rmse": np.array([1.0, 2.0, 1.5, 0.0, 2.0, 3.5]),
    }
    found = study_tables.bald_improvements(records.Record("x", columns, {}), "a")
    assert list(found) == [4, 8]
    assert found[4].mean == pytest.approx(0.75)
    assert found[8].mean == pytest.approx(-1.25)
    assert found[8].error == pytest.approx(0.25)
    # Doubling the batch costs 2 in either split: 0 to 2, and 1.5 to 3.5.
    slope = study_tables.bald_slope(records.Record("x", columns, {}), "a")
    assert (slope.mean, slope.error) == pytest.approx((-2.0, 0.0), abs=1e-12)

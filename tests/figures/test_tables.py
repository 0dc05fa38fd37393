import numpy as np
import pytest
from scipy import stats

from fimlib.figures import agreement, ranking, tables
from fimlib.figures.records import Record


def record(seeds=(0, 1), count=80):
    draw = np.random.default_rng(2)
    blocks = []
    for seed in seeds:
        base = draw.normal(size=count) + 100 * seed  # pooled ranks would be wrong
        columns = {
            name: np.exp(base / 9 + 0.1 * draw.normal(size=count))
            for name in ranking.NAMES
            if name != "uniform"
        }
        for name in ranking.PROXIES:
            columns[name] = -(base + 0.3 * draw.normal(size=count))
        blocks.append({"seed": np.full(count, seed), **columns})
    names = blocks[0]
    return Record("x", {n: np.concatenate([b[n] for b in blocks]) for n in names}, {})


def by_hand(found, seed, first, second, top=None):
    one = found.where("seed", seed)
    a, b = one[first], one[second]
    keep = np.argsort(-a)[: top or len(a)]
    return stats.spearmanr(a[keep], b[keep]).statistic


def test_a_correlation_is_the_mean_over_seeds():
    found = record()
    pair = ("bald", "eig_trace")
    expected = [by_hand(found, seed, *pair) for seed in (0, 1)]
    assert tables.over_seeds(found, *pair, agreement.spearman) == pytest.approx(
        expected
    )
    table = tables.top_table(found, counts=(20,))
    row = table["against"].index("EIG trace")
    assert table["whole pool"][row].startswith(f"{np.mean(expected):.2f} ± ")
    expected = [by_hand(found, seed, *pair, top=20) for seed in (0, 1)]
    assert table["its top 20"][row].startswith(f"{np.mean(expected):.2f} ± ")


def test_compare_puts_runs_beside_the_published_table():
    found = record()
    published = {
        "score": np.array(["bald", "epig"]),
        "other": np.array(["epig_proxy_trace", "bald"]),
        "published": np.array([0.9, 0.8]),
        "checkpoint": np.array([0.7, 0.6]),
    }
    table = tables.compare(published, {"here": found})
    ones = [found.where("seed", seed) for seed in (0, 1)]
    expected = np.mean([
        stats.spearmanr(one["bald"], -one["epig_proxy_trace"]).statistic for one in ones
    ])  # fmt: skip
    assert table["here"][0].startswith(f"{expected:.3f} ± ")
    assert table["against"] == ["(J)EPIG trace", "BALD"]
    assert table["re-scored"] == [0.7, 0.6]


def test_bootstrap_errors_are_of_the_right_size():
    # Spearman's error for independent scores is 1 / sqrt(M - 1), here over two seeds.
    draw = np.random.default_rng(0)
    columns = {
        "seed": np.repeat([0, 1], 400),
        "bald": draw.normal(size=800),
        "eig_trace": draw.normal(size=800),
    }
    error = tables.standard_errors(
        Record("x", columns, {}), "bald", ("eig_trace",), 400
    )
    assert error[0] == pytest.approx(400**-0.5 / 2**0.5, rel=0.5)


def test_the_reference_table_has_a_row_that_knows_nothing():
    found = tables.reference_table(record(count=300), count=30)
    row = found["against"].index("uniform")
    assert found["in the union"][row] == pytest.approx(-0.67, abs=0.2)
    assert found["within its top"][row] == pytest.approx(0, abs=0.35)
    assert found["within its top, Gaussian"][row] == pytest.approx(0, abs=0.15)


def test_trace_errors_sort_digits_by_log_det():
    log_det = np.array([0.005, 0.5, 0.6, 3.0])
    trace = log_det * np.array([1.0, 2.0, 4.0, 30.0])
    found = tables.trace_errors(
        Record("x", {"eig_log_det": log_det, "eig_trace": trace}, {})
    )
    assert found["share of the pool"] == [0.25, 0, 0.5, 0, 0.25]
    assert found["trace / log det, median"] == pytest.approx([1, 1, 3, 1, 30])


def test_quartiles_are_of_each_seed():
    found = tables.quartiles(
        Record("x", {"seed": np.repeat([0, 1], 5), "eig_log_det": np.arange(10.0)}, {})
    )
    assert found["median"].tolist() == [2, 7]
    assert found["q25"].tolist() == [1, 6]


def study_record():
    rows = [
        (seed, score, samples, block)
        for seed in (0, 2)
        for score in ("bald", "epig")
        for samples in (20, 50, 100)
        for block in range(2)
    ]
    seed, score, samples, _ = (np.array(column) for column in zip(*rows, strict=True))
    slope = np.where(score == "bald", -1.0, 3.0) * (1 + seed)
    columns = {"seed": seed, "score": score, "samples": samples}
    columns["mean"] = 0.5 + slope / samples
    columns["next_spearman"] = columns["next_top_100"] = samples / (samples + 20)
    columns["half_spearman"] = columns["half_top_100"] = (
        samples / (samples + 20)
    ) ** 0.5
    return Record("x", columns, {})


def test_the_bias_is_fitted_in_each_seed():
    limit, slope = tables.bias_fit(study_record(), "epig", least=20)
    assert limit == pytest.approx([0.5, 0.5])
    assert slope == pytest.approx([3, 9])
    table = tables.bias_table(study_record(), samples=100, leasts=(20, 50))
    assert table["EPIG: excess"] == pytest.approx([0.12, 0.12])  # 0.06 and 0.18
    assert table["BALD: b"] == pytest.approx([-2, -2])


def test_spearman_brown_predicts_a_classical_test():
    # Samples / (samples + 20) is the reliability of a score whose noise falls as 1/L.
    found = tables.noise_table(study_record())
    assert found["split half"][0] == pytest.approx(50 / 70)
    for what in ("another", "noise-free"):
        assert found[f"{what}, predicted"] == pytest.approx(found[f"{what}, measured"])


def test_the_top_half_is_given_as_coded_and_as_intended():
    found = record()
    rows = [{"score": "bald", "other": "eig_trace", "coded": 0.8, "intended": 0.7}]
    table = tables.half_table(rows, found)
    assert table["coded, published"] == [0.8]
    expected = [
        agreement.spearman_in_union(-one["bald"], -one["eig_trace"], 40)
        for one in ranking.by_seed(found)
    ]
    assert table["coded"][0] == pytest.approx(np.mean(expected))
    assert table["coded"][0] != pytest.approx(table["intended"][0])

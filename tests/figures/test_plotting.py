import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from fimlib.figures import plots, ranking, records
from fimlib.figures.plots import FigureError, style
from fimlib.figures.plots.fig23 import FIGURES


def columns(count=120, seed=0):
    draw = np.random.default_rng(seed)
    score = np.exp(draw.normal(size=count))
    found = {
        "seed": np.zeros(count, dtype=int),
        "bald": score / 9,
        "epig": score / 99,
        "eig_log_det": score,
        "eig_trace": score * np.exp(score),
    }
    baselines = ("predictive_entropy", "softmax_entropy", "trace_fisher")
    found |= {name: score / 7 * np.exp(draw.normal(size=count)) for name in baselines}
    return found | {name: 9 - score for name in ranking.PROXIES}


MAIN = [name for name, (_, study) in FIGURES.items() if not study]


def epochs(seeds=(0, 1)):
    draw = np.random.default_rng(0)
    names = ("trace_fisher_train", "eig_log_det_q25", "spearman_log_det")
    return {
        "seed": np.repeat(seeds, 3),
        "epochs": np.tile([5, 20, 46], len(seeds)),
        "stopped": np.tile([0, 1, 0], len(seeds)),
    } | {name: draw.random(3 * len(seeds)) for name in names}


def bias(seeds=(0, 1)):
    rows = [
        (seed, score, samples, 0.1 + 1 / samples)
        for seed in seeds
        for score in ("bald", "epig")
        for samples in (50, 100, 1000)
    ]
    names = ("seed", "score", "samples", "mean")
    return {n: np.array(c) for n, c in zip(names, zip(*rows, strict=True), strict=True)}


@pytest.fixture
def folder(tmp_path):
    for key in plots.DATA_SETS:
        path = tmp_path / f"fig23-{key}.csv"
        records.write_record(path, columns(), {"command": "fimlib run fig23"})
    return tmp_path


@pytest.mark.parametrize("name", MAIN)
def test_the_same_record_gives_the_same_bytes(folder, name):
    record = records.read_record(folder / "fig23-mnist.csv")
    first, again = (plots.draw(name, record) for _ in range(2))
    assert first.svg == again.svg
    assert first.png == again.png
    assert first.png.startswith(b"\x89PNG")
    assert not re.search(r"<dc:date>|<dc:creator>", first.svg)
    ET.fromstring(first.svg)
    assert len(first.svg) < 400_000


@pytest.mark.parametrize("name", ["2", "3"])
def test_a_last_digit_moves_nothing_and_a_changed_score_does(folder, name):
    record = records.read_record(folder / "fig23-mnist.csv")
    drawn = plots.draw(name, record).svg
    nudged = {
        k: v * (1 + 1e-13) if v.dtype.kind == "f" else v
        for k, v in record.columns.items()
    }
    assert plots.draw(name, records.Record("x", nudged, {})).svg == drawn
    changed = dict(record.columns, bald=record["bald"] * 2, epig=record["epig"] ** 2)
    assert plots.draw(name, records.Record("x", changed, {})).svg != drawn


def test_style_and_backend_of_the_reader_are_left_alone(folder):
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.draw("2", records.read_record(folder / "fig23-mnist.csv"))
    assert dict(matplotlib.rcParams) == before


def two_seeds(record):
    both = {
        name: np.concatenate([values, other])
        for (name, values), other in zip(
            record.columns.items(), columns(seed=1).values(), strict=True
        )
    }
    both["seed"][120:] = 1
    return records.Record("x", both, record.run)


@pytest.mark.parametrize("name", MAIN)
def test_the_published_forms_show_one_seed_and_the_others_all(folder, name):
    record = records.read_record(folder / "fig23-mnist.csv")
    drawn = plots.draw(name, two_seeds(record)).svg
    one_seed = name in ("2", "3", "3-panels")
    assert (drawn == plots.draw(name, record).svg) == one_seed


def test_seeds_in_two_records_are_drawn_as_in_one(folder):
    both = two_seeds(records.read_record(folder / "fig23-mnist.csv"))
    parts = ranking.by_seed(both)
    assert plots.draw("2-seeds", *parts).svg == plots.draw("2-seeds", both).svg


def test_records_of_different_runs_are_not_drawn_together(folder):
    first, second = ranking.by_seed(
        two_seeds(records.read_record(folder / "fig23-mnist.csv"))
    )
    for name, value, message in (
        ("data", {"sha256": "0"}, "data sha256 is unknown in the first and 0 in the"),
        ("protocol", {"mc_samples": 9}, "protocol mc_samples is nothing in the first"),
    ):
        other = records.Record("other", second.columns, {**second.run, name: value})
        with pytest.raises(records.RecordError, match=message):
            plots.draw("2-seeds", first, other)


@pytest.mark.parametrize("name, columns", [("epochs", epochs()), ("bias", bias())])
def test_studies_are_drawn_the_same_each_time(tmp_path, name, columns):
    path = tmp_path / f"fig23-mnist-{name}.csv"
    records.write_record(path, columns, {})
    record = records.read_record(path)
    first, again = (plots.draw(name, record) for _ in range(2))
    assert first.svg == again.svg
    paths = plots.figure(name, tmp_path / "out", tmp_path)
    assert [p.name for p in paths] == [
        f"fig23-{name}-mnist.svg", f"fig23-{name}-mnist.png",
    ]  # fmt: skip


def test_figure_writes_one_pair_of_files_per_record(folder):
    paths = plots.figure("2", folder / "out", folder)
    names = [path.name for path in paths]
    assert names == [
        "fig2-mnist.svg", "fig2-mnist.png", "fig2-embedded.svg", "fig2-embedded.png",
    ]  # fmt: skip
    record = records.read_record(folder / "fig23-mnist.csv")
    assert paths[0].read_text() == plots.draw("2", record)._repr_svg_()


def test_unknown_figures_and_missing_records_are_named(tmp_path):
    with pytest.raises(FigureError, match="no figure '5'; there are 2, "):
        plots.figure("5")
    with pytest.raises(FigureError, match=r"no fig23-\*\.csv in .*fimlib run fig23"):
        plots.figure("2", data=tmp_path)
    with pytest.raises(FigureError, match=r"no fig23-\*-bias\.csv .*fig23-studies"):
        plots.figure("bias", data=tmp_path)


def test_a_running_median_is_the_median_of_each_window():
    values = np.random.default_rng(0).normal(size=100)
    found = style.running_median(values)
    half = style._WINDOW // 2
    assert found[50] == np.median(values[50 - half : 51 + half])
    assert found[0] == np.median(values[: half + 1])
    assert found[-1] == np.median(values[-half - 1 :])


def test_six_digits_are_significant_ones():
    found = style.six_digits(np.array([1.23456789e-9, 123456789.0, 0.0]))
    assert found.tolist() == [1.23457e-9, 123457000.0, 0.0]

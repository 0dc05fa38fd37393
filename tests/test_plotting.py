import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from fimlib import plotting, records
from fimlib.experiments import ranking
from fimlib.plotting import FigureError


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
    return found | {name: 9 - score for name in ranking.PROXIES}


@pytest.fixture
def folder(tmp_path):
    for key in plotting.DATA_SETS:
        path = tmp_path / f"fig23-{key}.csv"
        records.write_record(path, columns(), {"command": "fimlib run fig23"})
    return tmp_path


@pytest.mark.parametrize("name", ["2", "3"])
def test_the_same_record_gives_the_same_bytes(folder, name):
    record = records.read_record(folder / "fig23-mnist.csv")
    first, again = (plotting.draw(name, record) for _ in range(2))
    assert first.svg == again.svg
    assert first.png == again.png
    assert first.png.startswith(b"\x89PNG")
    assert not re.search(r"<dc:date>|<dc:creator>", first.svg)
    ET.fromstring(first.svg)
    assert len(first.svg) < 400_000


@pytest.mark.parametrize("name", ["2", "3"])
def test_a_last_digit_moves_nothing_and_a_changed_score_does(folder, name):
    record = records.read_record(folder / "fig23-mnist.csv")
    drawn = plotting.draw(name, record).svg
    nudged = {
        k: v * (1 + 1e-13) if v.dtype.kind == "f" else v
        for k, v in record.columns.items()
    }
    assert plotting.draw(name, records.Record("x", nudged, {})).svg == drawn
    changed = dict(record.columns, bald=record["bald"] * 2, epig=record["epig"] ** 2)
    assert plotting.draw(name, records.Record("x", changed, {})).svg != drawn


def test_style_and_backend_of_the_reader_are_left_alone(folder):
    import matplotlib

    before = dict(matplotlib.rcParams)
    plotting.draw("2", records.read_record(folder / "fig23-mnist.csv"))
    assert dict(matplotlib.rcParams) == before


def test_only_the_first_seed_is_drawn(folder):
    record = records.read_record(folder / "fig23-mnist.csv")
    both = {
        name: np.concatenate([values, other])
        for (name, values), other in zip(
            record.columns.items(), columns(seed=1).values(), strict=True
        )
    }
    both["seed"][120:] = 1
    drawn = plotting.draw("2", records.Record("x", both, {})).svg
    assert drawn == plotting.draw("2", record).svg


def test_figure_writes_one_pair_of_files_per_record(folder):
    paths = plotting.figure("2", folder / "out", folder)
    names = [path.name for path in paths]
    assert names == [
        "fig2-mnist.svg", "fig2-mnist.png", "fig2-embedded.svg", "fig2-embedded.png",
    ]  # fmt: skip
    record = records.read_record(folder / "fig23-mnist.csv")
    assert paths[0].read_text() == plotting.draw("2", record)._repr_svg_()


def test_unknown_figures_and_missing_records_are_named(tmp_path):
    with pytest.raises(FigureError, match="no figure '5'; there are 2, 3"):
        plotting.figure("5")
    with pytest.raises(FigureError, match=r"no fig23-\*\.csv in .*fimlib run fig23"):
        plotting.figure("2", data=tmp_path)


def test_a_running_median_is_the_median_of_each_window():
    values = np.random.default_rng(0).normal(size=100)
    found = plotting._running_median(values)
    half = plotting._WINDOW // 2
    assert found[50] == np.median(values[50 - half : 51 + half])
    assert found[0] == np.median(values[: half + 1])
    assert found[-1] == np.median(values[-half - 1 :])


def test_six_digits_are_significant_ones():
    found = plotting.six_digits(np.array([1.23456789e-9, 123456789.0, 0.0]))
    assert found.tolist() == [1.23457e-9, 123457000.0, 0.0]

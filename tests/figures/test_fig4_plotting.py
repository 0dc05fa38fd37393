"""Figure 4 and its studies as drawn: the artists hold what the tables say."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from fig4_cases import HAND, by_hand
from matplotlib.figure import Figure

from fimlib.figures import plots, records
from fimlib.figures.fig4 import study_tables, tables
from fimlib.figures.plots import FigureError
from fimlib.figures.plots.fig4 import FIGURES, figure_4, figure_bald, figure_curves

STUDIES = {
    "rank": {
        "data": np.array(["a"] * 8),
        "members": np.repeat([3, 5], 4),
        "noise": np.tile([0.1, 0.1, 1.0, 1.0], 2),
        "batch": np.tile([2, 4], 4),
        "value": np.linspace(2, 3, 8),
        "filled": np.linspace(1, 2, 8),
        "uniform": np.ones(8),
        "greedy": np.full(8, 4.0),
        "gain": np.linspace(3, 1, 8),
        "gain_finer": np.linspace(4, 1, 8),
    },
    "redundancy": {
        "data": np.repeat(["a", "b"], 12),
        "kernel": np.tile(np.repeat(["white-box", "black-box"], 6), 2),
        "method": np.tile(np.repeat(["bald", "batch-bald", "uniform"], 2), 4),
        "batch": np.tile([8, 16], 12),
        "together": np.linspace(1, 3, 24),
        "alone": np.linspace(4, 5, 24),
        "nearest": np.linspace(0, 1, 24),
    },
    "bald": {
        "data": np.array(["a"] * 6),
        "method": np.array(["uniform"] * 2 + ["bald"] * 4),
        "batch": np.array([16, 16, 4, 4, 8, 8]),
        "split": np.array([0, 1] * 3),
        "log_rmse": np.array([1.0, 2.0, 1.5, 0.0, 2.0, 3.5]),
    },
}


def record_of(name):
    study = FIGURES[name][1]
    if not study:
        return by_hand()
    return records.Record(f"fig4-{study}", STUDIES[study], {})


@pytest.fixture
def folder(tmp_path):
    record = by_hand()
    records.write_record(tmp_path / "fig4-demo.csv", record.columns, record.run)
    records.write_record(tmp_path / "fig4-reduced.csv", record.columns, record.run)
    for name, columns in STUDIES.items():
        records.write_record(tmp_path / f"fig4-{name}.csv", columns, {})
    return tmp_path


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_record_gives_the_same_bytes(name):
    first, again = (plots.draw(name, record_of(name)) for _ in range(2))
    assert (first.svg, first.png) == (again.svg, again.png)
    ET.fromstring(first.svg)


@pytest.mark.parametrize("form", tables.FORMS)
def test_dots_bars_and_star_are_those_of_the_tables(form):
    canvas, record = Figure(), by_hand()
    figure_4(canvas, record, form)
    titles = [axes.get_title(loc="left") for axes in canvas.axes]
    assert titles[:3] == ["BALD", "LCMD", ""]
    for axes, method in zip(canvas.axes, ("bald", "lcmd"), strict=False):
        found = tables.dots(record, method, form)
        assert len(axes.containers) == len(found)
        for bar, (x, y) in zip(axes.containers, found.values(), strict=True):
            dot, _, (across, up) = bar.lines
            assert dot.get_xydata()[0] == pytest.approx([x.mean, y.mean], rel=1e-5)
            ends = across.get_segments()[0][:, 0], up.get_segments()[0][:, 1]
            for end, one in zip(ends, (x, y), strict=True):
                assert end == pytest.approx(
                    [one.mean - one.margin, one.mean + one.margin], rel=1e-4, abs=1e-5
                )
        (star,) = [line for line in axes.lines if line.get_marker() == "*"]
        expected = [one.mean for one in tables.star(record, method, form)]
        assert star.get_xydata()[0] == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_no_dot_lies_outside_its_panel():
    canvas = Figure()
    figure_4(canvas, by_hand())
    for axes in canvas.axes[:2]:
        (low, high), (down, up) = axes.get_xlim(), axes.get_ylim()
        assert (low, high) == (down, up)
        for bar in axes.containers:
            x, y = bar.lines[0].get_xydata()[0]
            assert low < x < high
            assert down < y < up


def test_the_grey_region_is_where_the_black_box_is_better():
    canvas = Figure()
    figure_4(canvas, by_hand())
    axes = canvas.axes[0]
    path = axes.collections[0].get_paths()[0]
    low, high = axes.get_xlim()
    assert path.contains_point((low + 0.2 * (high - low), high - 1e-3))
    assert not path.contains_point((high - 1e-3, low + 0.2 * (high - low)))


def test_curves_are_a_row_a_set_and_a_line_a_method():
    canvas, record = Figure(), by_hand()
    figure_curves(canvas, record)
    panels = np.array(canvas.axes).reshape(2, 2)
    for row, name in zip(panels, "ab", strict=True):
        for axes, kernel in zip(row, ("white-box", "black-box"), strict=True):
            lines = {line.get_label(): line.get_xydata() for line in axes.lines}
            assert list(lines) == ["BALD", "LCMD", "uniform"]
            expected = np.mean(HAND[name, "bald", kernel], axis=0)
            assert lines["BALD"][:, 1] == pytest.approx(expected, rel=1e-5)
            assert lines["BALD"][:, 0].tolist() == [10, 14, 18]
            uniform = np.mean(HAND[name, "uniform", "none"], axis=0)
            assert lines["uniform"][:, 1] == pytest.approx(uniform, rel=1e-5)


def test_the_study_of_bald_shows_its_improvements():
    canvas, record = Figure(), record_of("4-bald")
    figure_bald(canvas, record)
    shown = canvas.axes[0].containers[0].lines[0].get_ydata()
    found = study_tables.bald_improvements(record, "a")
    assert list(shown) == pytest.approx([one.mean for one in found.values()], rel=1e-5)


def test_figures_are_written_for_every_record(folder):
    paths = plots.figure("4", folder / "out", folder)
    assert [p.name for p in paths] == [
        "fig4-reduced.svg", "fig4-reduced.png", "fig4-demo.svg", "fig4-demo.png",
    ]  # fmt: skip
    paths = plots.figure("4-rank", folder / "out", folder)
    assert [p.name for p in paths] == ["fig4-rank.svg", "fig4-rank.png"]


def test_all_is_every_figure(folder, monkeypatch):
    assert {"2", "3-ranks", "top", "bias", *FIGURES} <= set(plots.names())
    monkeypatch.setattr(plots, "names", lambda: ["4", "4-bald"])
    paths = plots.figure("all", folder / "out", folder)
    assert len(paths) == 6


def test_missing_records_are_named_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(FigureError, match=r"no fig4-\*\.csv in .*`fimlib run fig4`"):
        plots.figure("4", data=tmp_path)
    with pytest.raises(FigureError, match=r"no fig4-rank\.csv .*run fig4-studies`"):
        plots.figure("4-rank", data=tmp_path)

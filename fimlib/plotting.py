"""The book's figures, drawn from records: the same bytes for the same record."""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fimlib import records
from fimlib.experiments import ranking

DATA_SETS = {"mnist": "MNIST", "embedded": "the embedded 5,000 digits"}
STYLE = {
    "svg.hashsalt": "fimlib",
    "svg.fonttype": "path",
    "path.simplify": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
}
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#c04e00", "#00795a", "#8f4a80"
GREY = "#555555"
_SIZE = (6.8, 3.9)  # inches
_WINDOW = 41  # points in the running median


class FigureError(ValueError):
    """A figure is unknown, or the records to draw it from are missing."""


@dataclass(frozen=True)
class Drawing:
    """A finished figure: shows itself in a notebook, writes itself to files."""

    svg: str
    png: bytes

    def _repr_svg_(self):
        return self.svg

    def __repr__(self):
        return "<Drawing>"

    def write(self, stem):
        """Write ``stem``.svg and ``stem``.png; the two paths are returned."""
        stem = Path(stem)
        return [
            records.write_bytes(stem.with_suffix(".svg"), self.svg.encode()),
            records.write_bytes(stem.with_suffix(".png"), self.png),
        ]


def figure(name, out=None, data=None):
    """Draw figure ``name`` from every record there is; paths of the files written.

    out is the folder of the files (figures), data that of the records (figures/data).
    """
    _drawer(name)
    found = [(key, _record_path(key, data)) for key in DATA_SETS]
    found = [(key, path) for key, path in found if path.exists()]
    if not found:
        folder = _record_path("embedded", data).parent
        raise FigureError(
            f"no fig23-*.csv in {folder}: call from the repository's root, or make one "
            "with `fimlib run fig23`"
        )
    written = []
    for key, path in found:
        drawing = draw(name, records.read_record(path))
        written += drawing.write(Path(out or "figures") / f"fig{name}-{key}")
    return written


def draw(name, record):
    """The ``Drawing`` of figure ``name`` from a record of the run fig23, first seed."""
    import matplotlib
    from matplotlib.figure import Figure

    drawer = _drawer(name)
    record = record.where("seed", record["seed"][0])
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        canvas = Figure(figsize=_SIZE, layout="constrained")
        drawer(canvas.add_subplot(), record)
        return finish(canvas)


def _drawer(name):
    if str(name) not in _FIGURES:
        raise FigureError(f"no figure {name!r}; there are {', '.join(_FIGURES)}")
    return _FIGURES[str(name)]


def _record_path(key, data):
    return Path(data or "figures/data") / f"fig23-{key}.csv"


def finish(canvas):
    svg, png = io.BytesIO(), io.BytesIO()
    nothing = {"Date": None, "Creator": None}
    canvas.savefig(svg, format="svg", facecolor="white", metadata=nothing)
    canvas.savefig(png, format="png", dpi=160, facecolor="white", metadata={})
    return Drawing(_shorter(svg.getvalue().decode()), png.getvalue())


def _shorter(svg):
    """Path coordinates with two decimals: half the bytes, a hundredth of a point."""

    def rounded(number):
        return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")

    def path(match):
        return re.sub(r"-?\d+\.\d+", rounded, match[0])

    return re.sub(r' d="[^"]*"', path, svg)


def six_digits(values):
    """Rounded to six significant digits, so that a last bit moves no coordinate."""
    return np.array([float(f"{value:.6g}") for value in np.asarray(values)])


def _running_median(values):
    """Median over a centred window, which shrinks at both ends."""
    half = _WINDOW // 2
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return np.array([np.median(window) for window in windows])


def _line(axes, values, color):
    """Every point, thin, and the running median on it; returns the median."""
    x = np.arange(len(values))
    middle = six_digits(_running_median(values))
    axes.plot(x, six_digits(values), color=color, linewidth=0.5, alpha=0.45)
    some = np.unique([*x[::5], x[-1]])  # a median of 41 needs no more
    axes.plot(some, middle[some], color=color, linewidth=1.8)
    return middle


def _figure_2(axes, record):
    from matplotlib.patheffects import withStroke

    order = np.argsort(-ranking.average_ig_rank(record), kind="stable")
    lines = (  # column, label, colour, where the label stands: at x, times the median
        ("eig_trace", "EIG trace", ORANGE, 0.33, 12.0),
        ("eig_log_det", "EIG log det", GREEN, 0.06, 3.2),
        ("bald", "BALD (MC dropout)", BLUE, 0.06, 0.16),
    )
    for column, label, color, share, factor in lines:
        middle = _line(axes, record[column][order], color)
        x = int(share * len(order))
        axes.text(
            x, middle[x] * factor, label, color=color, va="center",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
    low = six_digits(_running_median(record["eig_log_det"][order]))
    x = int(0.88 * len(order))
    axes.text(
        x, low[x] / 300, "trace and log det\nare one curve",
        color=GREEN, ha="right", va="center",
    )  # fmt: skip
    ceiling = np.log(10)
    axes.axhline(ceiling, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.text(
        len(order), ceiling * 1.25, "log 10: no label can tell more",
        color=GREY, ha="right", va="bottom",
    )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylabel("score (nats)")
    _pool_axis(axes, len(order), "average rank of the three scores")


def _figure_3(axes, record):
    order = np.argsort(-ranking.average_pig_rank(record), kind="stable")
    lines = (
        ("epig", "EPIG\n(MC dropout)", BLUE),
        ("epig_proxy_log_det", "EPIG log det", GREEN),
        ("jepig_proxy_log_det", "JEPIG log det", PURPLE),
        ("epig_proxy_trace", "EPIG trace\n= JEPIG trace", ORANGE),
    )
    for shift, (column, label, color) in enumerate(lines):
        values = ranking.oriented(record, column)[order]
        scaled = (values - values.min()) / (values.max() - values.min())
        axes.axhline(-1.15 * shift, color="#bbbbbb", linewidth=0.6)
        _line(axes, scaled - 1.15 * shift, color)
        axes.text(
            -0.01, 0.45 - 1.15 * shift, label, color=color, ha="right", va="center",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    axes.text(
        len(order), 1.05, "each scaled to [0, 1], proxies negated",
        color=GREY, ha="right", va="top",
    )  # fmt: skip
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _pool_axis(axes, len(order), "average rank of EPIG and its approximations")


def _pool_axis(axes, count, by):
    axes.set_xlim(0, count)
    axes.set_xlabel(f"pool digits, sorted by {by}, highest first")
    axes.grid(axis="x")


_FIGURES = {"2": _figure_2, "3": _figure_3}

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
    _, study = _drawer(name)
    found = [(key, _record_path(key, study, data)) for key in DATA_SETS]
    found = [(key, path) for key, path in found if path.exists()]
    if not found:
        sample = _record_path("*", study, data)
        run = "fig23-studies --data mnist" if study else "fig23"
        raise FigureError(
            f"no {sample.name} in {sample.parent}: call from the repository's root, or "
            f"make one with `fimlib run {run}`"
        )
    written = []
    for key, path in found:
        drawing = draw(name, records.read_record(path))
        written += drawing.write(Path(out or "figures") / f"{_stem(name)}-{key}")
    return written


def _stem(name):
    return f"fig{name}" if str(name)[0].isdigit() else f"fig23-{name}"


def draw(name, *found):
    """The ``Drawing`` of figure ``name`` from records of one run.

    Several records hold different seeds of the run. RecordError, which names the
    difference, if their data or their protocols are not the same.
    """
    import matplotlib
    from matplotlib.figure import Figure

    drawer, _ = _drawer(name)
    record = ranking.merged(*found)
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        canvas = Figure(figsize=_SIZE, layout="constrained")
        drawer(canvas, record)
        return finish(canvas)


def _drawer(name):
    """The function that draws, and the study whose record it draws from."""
    from fimlib.plotting_fig23 import FIGURES  # it takes colours and lines from here

    if str(name) not in FIGURES:
        raise FigureError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    return FIGURES[str(name)]


def _record_path(key, study, data):
    name = f"fig23-{key}-{study}.csv" if study else f"fig23-{key}.csv"
    return Path(data or "figures/data") / name


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


def running_median(values):
    """Median over a centred window, which shrinks at both ends."""
    half = _WINDOW // 2
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return np.array([np.median(window) for window in windows])


def line(axes, values, color):
    """Every point, thin, and the running median on it; returns the median."""
    x = np.arange(len(values))
    middle = six_digits(running_median(values))
    axes.plot(x, six_digits(values), color=color, linewidth=0.5, alpha=0.45)
    some = np.unique([*x[::5], x[-1]])  # a median of 41 needs no more
    axes.plot(some, middle[some], color=color, linewidth=1.8)
    return middle

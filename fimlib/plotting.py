"""The book's figures, drawn from records: the same bytes for the same record."""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fimlib import records
from fimlib.experiments import ranking

DATA_SETS = {"mnist": "MNIST", "embedded": "the embedded 5,000 digits"}
PROTOCOLS = ("full", "reduced", "demo")  # of Figure 4's sweep
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

    "all" is every figure. out is the folder of the files (figures), data that of the
    records (figures/data). Raises FigureError for another name, and where there is no
    record to draw from.
    """
    if name == "all":
        return [path for each in names() for path in figure(each, out, data)]
    folder = Path(data or "figures/data")
    found = {s: path for s, path in _files(name, folder).items() if path.exists()}
    if not found:
        raise FigureError(_missing(name, folder))
    written = []
    for stem, path in found.items():
        drawing = draw(name, records.read_record(path))
        written += drawing.write(Path(out or "figures") / stem)
    return written


def names():
    """Every figure that is drawn from records."""
    from fimlib import plotting_fig4, plotting_fig23

    return [*plotting_fig23.FIGURES, *plotting_fig4.FIGURES]


def _files(name, folder):
    """Stem of the files to write, and the record that each is drawn from."""
    _, study = _drawer(name)
    if _of_figure_4(name):
        if study:
            return {f"fig{name}": folder / f"fig4-{study}.csv"}
        return {f"fig{name}-{key}": folder / f"fig4-{key}.csv" for key in PROTOCOLS}
    stem = f"fig{name}" if str(name)[0].isdigit() else f"fig23-{name}"
    return {f"{stem}-{key}": _record_path(key, study, folder) for key in DATA_SETS}


def _missing(name, folder):
    _, study = _drawer(name)
    if _of_figure_4(name):
        sample, run = f"fig4-{study or '*'}.csv", "fig4-studies" if study else "fig4"
    else:
        sample = _record_path("*", study, folder).name
        run = "fig23-studies --data mnist" if study else "fig23"
    return (
        f"no {sample} in {folder}: call from the repository's root, or make one with "
        f"`fimlib run {run}`"
    )


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
    # Both take colours and lines from here.
    from fimlib import plotting_fig4, plotting_fig23

    figures = {**plotting_fig23.FIGURES, **plotting_fig4.FIGURES}
    if str(name) not in figures:
        raise FigureError(f"no figure {name!r}; there are {', '.join(figures)} and all")
    return figures[str(name)]


def _of_figure_4(name):
    from fimlib.plotting_fig4 import FIGURES

    return str(name) in FIGURES


def _record_path(key, study, folder):
    name = f"fig23-{key}-{study}.csv" if study else f"fig23-{key}.csv"
    return folder / name


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

"""What every figure and picture shares: style, colours, a canvas, the result."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fimlib.figures import records

STYLE: Any = {
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
SIZE = (6.8, 3.9)  # inches
THIN_DASHES = {"linewidth": 0.9, "linestyle": (0, (4, 3))}
_WINDOW = 41  # points in the running median


@dataclass(frozen=True)
class Drawing:
    """A finished figure: shows itself in a notebook, writes itself to files."""

    svg: str
    png: bytes

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return "<Drawing>"

    def write(self, stem: str | Path) -> list[Path]:
        """Write ``stem``.svg and ``stem``.png; the two paths are returned."""
        stem = Path(stem)
        return [
            records.write_bytes(stem.with_suffix(".svg"), self.svg.encode()),
            records.write_bytes(stem.with_suffix(".png"), self.png),
        ]


def write(axes: Axes, x: float, y: float, text: str, color: str = "black",
          ha: str = "left", va: str = "bottom") -> None:  # fmt: skip
    """Text, its lower left corner at (x, y)."""
    axes.text(x, y, text, color=color, ha=ha, va=va)


def drawing(draw: Callable[[Figure], Any], size: tuple[float, float] = SIZE) -> Drawing:
    """A picture in the book's style; size in inches, narrow enough for a phone."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        canvas = Figure(figsize=size, layout="constrained")
        draw(canvas)
        return finish(canvas)


def finish(canvas: Figure) -> Drawing:
    """The same bytes whenever the same things were drawn."""
    svg, png = io.BytesIO(), io.BytesIO()
    nothing = {"Date": None, "Creator": None}
    canvas.savefig(svg, format="svg", facecolor="white", metadata=nothing)
    canvas.savefig(png, format="png", dpi=160, facecolor="white", metadata={})
    return Drawing(_shorter(svg.getvalue().decode()), png.getvalue())


def _shorter(svg: str) -> str:
    """Path coordinates with two decimals: half the bytes, a hundredth of a point."""

    def rounded(number: re.Match[str]) -> str:
        return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")

    def path(match: re.Match[str]) -> str:
        return re.sub(r"-?\d+\.\d+", rounded, match[0])

    return re.sub(r' d="[^"]*"', path, svg)


def six_digits(values: ArrayLike) -> np.ndarray:
    """Rounded to six significant digits, so that a last bit moves no coordinate."""
    return np.array([float(f"{value:.6g}") for value in np.asarray(values)])


def running_median(values: np.ndarray) -> np.ndarray:
    """Median over a centred window, which shrinks at both ends."""
    half = _WINDOW // 2
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return np.array([np.median(window) for window in windows])


def line(axes: Axes, values: np.ndarray, color: str) -> np.ndarray:
    """Every point, thin, and the running median on it; returns the median."""
    x = np.arange(len(values))
    middle = six_digits(running_median(values))
    axes.plot(x, six_digits(values), color=color, linewidth=0.5, alpha=0.45)
    some = np.unique([*x[::5], x[-1]])  # a median of 41 needs no more
    axes.plot(some, middle[some], color=color, linewidth=1.8)
    return middle

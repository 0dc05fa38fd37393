"""What Figure 4 looks like: stars and dots, learning curves, and its studies."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fimlib.figures.fig4 import study_tables, tables
from fimlib.figures.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, six_digits
from fimlib.figures.records import Record

XY = tuple[float, float]
_GOLD, _SKY, _RED = "#8a6d00", "#3a8fc0", "#a5263a"
_COLORS = (BLUE, ORANGE, GREEN, PURPLE, _GOLD, _SKY, _RED)
_MARKS = "osD^vPX"  # of data sets, for readers who do not see the colours
_LINES = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_DASHES = (0, (4, 3))
_SHADE = "#ececec"
_LINEAR = 0.15  # beyond, the axes of Figure 4 are logarithmic


def figure_4(canvas: Figure, record: Record, form: str = "avg") -> None:
    """The published Figure 4: a panel a method, a dot a data set, the star their mean.

    x: improvement of the white box over uniform draws, y: of the black box.
    """
    canvas.set_size_inches(6.8, 3.9)
    panels = list(canvas.subplots(2, 4, sharex=True, sharey=True).flat)
    shown = tables.methods(record)
    limits = _limits(record, form)
    for axes, method in zip(panels, shown, strict=False):
        _panel(axes, record, method, form, limits)
    for k, axes in enumerate(panels[len(shown) :], len(shown)):
        axes.set_axis_off()
        if k >= 4:  # the panel above has no other below it
            panels[k - 4].tick_params(labelbottom=True)
    _dots_key(panels[-1], tables.data_sets(record))
    canvas.supxlabel("white box: improvement over uniform draws, log RMSE", fontsize=9)
    canvas.supylabel("black box: improvement", fontsize=9)


def figure_4_last(canvas: Figure, record: Record) -> None:
    """The same at the last step, in place of the mean over steps."""
    figure_4(canvas, record, "last")


def _limits(record: Record, form: str) -> XY:
    """The same for both axes and all panels: what the dots and their bars need."""
    ends = [
        (one.mean - one.margin, one.mean + one.margin)
        for method in tables.methods(record)
        for pair in tables.dots(record, method, form).values()
        for one in pair
    ]
    means = [(low + high) / 2 for low, high in ends]
    # A long error bar may leave the panel, a dot may not.
    low = max(np.min(ends), np.min(means) - 0.1)
    high = min(np.max(ends), np.max(means) + 0.1)
    pad = 0.04 * (high - low)
    low, high = six_digits([low - pad, high + (3 if high > 2 * _LINEAR else 1) * pad])
    return low, high


def _panel(axes: Axes, record: Record, method: str, form: str, limits: XY) -> None:
    low, high = limits
    ends = np.linspace(low, high, 200)  # a straight line on any pair of equal axes
    axes.fill_between(ends, ends, high, color=_SHADE, linewidth=0, zorder=0)
    axes.plot(limits, limits, color=GREY, linewidth=0.8)
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=_DASHES)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=_DASHES)
    found = tables.dots(record, method, form)
    for k, (x, y) in enumerate(found.values()):
        color, mark = _style_of_set(k)
        left, low_, across, up = six_digits([x.mean, y.mean, x.margin, y.margin])
        axes.errorbar(
            left, low_, up, across, mark, color=color, ms=4, elinewidth=0.7, alpha=0.9
        )
    white, black = tables.star(record, method, form)
    axes.plot(
        *six_digits([white.mean, black.mean]), "*", color="black", ms=11,
        markeredgecolor="white", markeredgewidth=0.7, zorder=5,
    )  # fmt: skip
    axes.set_title(tables.NAMES[method], loc="left", fontsize=9)
    if high > 2 * _LINEAR:
        # One set far from the others: without it, they would be one heap.
        axes.set_xscale("symlog", linthresh=_LINEAR, linscale=2)
        axes.set_yscale("symlog", linthresh=_LINEAR, linscale=2)
    ticks = [tick for tick in (-0.1, 0, 0.1, 0.5) if low <= tick <= high]
    labels = [f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.minorticks_off()
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_box_aspect(1)


def _style_of_set(index: int) -> tuple[str, str]:
    return _COLORS[index % len(_COLORS)], _MARKS[index % len(_MARKS)]


def _dots_key(axes: Axes, names: list[str]) -> None:
    """What the marks mean, in the panel that no method needs."""
    for k, name in enumerate(names):
        color, mark = _style_of_set(k)
        axes.plot([], [], mark, color=color, ms=4, label=name)
    axes.plot([], [], "*", color="black", ms=9, label="mean")
    axes.fill_between([], [], [], color=_SHADE, label="black box better")
    axes.legend(loc="center", fontsize=7, frameon=False, borderaxespad=0)


def figure_curves(canvas: Figure, record: Record) -> None:
    """Log RMSE against labels: a row a data set, a column a kernel, a line a method."""
    names, shown = tables.data_sets(record), tables.methods(record)
    canvas.set_size_inches(6.8, 0.9 + 1.35 * len(names))
    grid = canvas.subplots(len(names), 2, sharex=True, sharey="row", squeeze=False)
    for row, name in zip(grid, names, strict=True):
        for axes, kernel in zip(row, ("white-box", "black-box"), strict=True):
            for k, method in enumerate(shown):
                labels, means = tables.curve(record, name, method, kernel)
                axes.plot(
                    labels, six_digits(means), label=tables.NAMES[method], lw=1.1,
                    color=_COLORS[k % len(_COLORS)], ls=_LINES[k % len(_LINES)],
                )  # fmt: skip
            labels, means = tables.curve(record, name, "uniform", "none")
            axes.plot(labels, six_digits(means), label="uniform", color="black", lw=1.8)
            axes.grid()
        row[0].set_title(name, loc="left", fontsize=9)
    for axes, word in zip(grid[0], ("white box", "black box"), strict=True):
        axes.set_title(word, loc="right", fontsize=9)
    canvas.legend(
        *grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4,
        fontsize=8, frameon=False,
    )  # fmt: skip
    canvas.supxlabel("labels", fontsize=9)
    canvas.supylabel("log RMSE on the test set, mean over splits", fontsize=9)


def figure_rank(canvas: Figure, record: Record) -> None:
    """What batches of L members are worth, and what their last example promises."""
    canvas.set_size_inches(6.8, 3.2)
    panels = canvas.subplots(1, 2)
    _shares(panels[0], record)
    for color, members, batches, gain, finer in _by_members(record):
        panels[1].plot(batches, gain, "o-", color=color, lw=1.4, ms=4)
        panels[1].plot(batches, finer, "o:", color=color, lw=1.0, ms=3, mfc="white")
        panels[1].text(
            batches[-1] * 1.1, gain[-1], f"L = {members}", color=color, fontsize=7,
            va="center",
        )  # fmt: skip
    panels[1].set_yscale("log")
    panels[1].set_title("promised by the last example (nats)", loc="left", fontsize=9)
    for axes in panels:
        _batch_axis(axes, record)
        axes.grid()
    panels[1].set_xlim(None, record["batch"].max() * 1.9)


def _by_members(record: Record) -> Iterator[tuple[Any, ...]]:
    for k, members in enumerate(np.unique(record["members"])):
        found = study_tables.gains(record, members)
        yield (_COLORS[k % len(_COLORS)], members, *map(six_digits, found))


def _shares(axes: Axes, record: Record) -> None:
    """Share of what the reference's own batch is worth above random examples."""
    for k, members in enumerate(np.unique(record["members"])):
        color = _COLORS[k % len(_COLORS)]
        batches, value, filled = study_tables.shares(record, members)
        axes.plot(batches, six_digits(value), "o-", color=color, lw=1.4, ms=4,
                  label=f"L = {members}")  # fmt: skip
        axes.plot(batches, six_digits(filled), color=color, lw=1.0, linestyle=_DASHES)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_title("share of the reference's gain", loc="left", fontsize=9)
    axes.legend(fontsize=7, framealpha=1.0, loc="best")


def _batch_axis(axes: Axes, record: Record) -> None:
    sizes = np.unique(record["batch"])
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("examples in the batch")


def figure_redundancy(canvas: Figure, record: Record) -> None:
    """What a batch tells together over the sum of its parts: a panel a kernel."""
    canvas.set_size_inches(6.8, 3.2)
    panels = canvas.subplots(1, 2, sharey=True)
    shown = (
        ("batch-bald", "BatchBALD (greedy)", GREEN), ("uniform", "uniform", GREY),
        ("bald", "BALD (top k)", BLUE),
    )  # fmt: skip
    for axes, kernel in zip(panels, ("white-box", "black-box"), strict=True):
        for method, label, color in shown:
            batches, middle, low, high = study_tables.told_once(record, kernel, method)
            ends = six_digits(low), six_digits(high)
            axes.fill_between(batches, *ends, alpha=0.2, linewidth=0, color=color)
            middle = six_digits(middle)
            axes.plot(batches, middle, "o-", color=color, lw=1.4, ms=4, label=label)
        axes.set_title(kernel.replace("-", " "), loc="left", fontsize=9)
        axes.set_ylim(0, 1)
        _batch_axis(axes, record)
        axes.grid()
    panels[0].set_ylabel("joint information / sum of single ones")
    panels[0].legend(fontsize=8, framealpha=1.0)


def figure_bald(canvas: Figure, record: Record) -> None:
    """BALD against uniform draws by the size of its batches, labels being equal."""
    canvas.set_size_inches(5.2, 3.2)
    axes = canvas.add_subplot()
    names = list(dict.fromkeys(record["data"].tolist()))
    for k, name in enumerate(names):
        color, mark = _style_of_set(k)
        found = study_tables.bald_improvements(record, name)
        sizes = np.array(list(found)) * 1.04 ** (k - (len(names) - 1) / 2)
        axes.errorbar(
            sizes, six_digits([one.mean for one in found.values()]),
            yerr=six_digits([one.margin for one in found.values()]),
            fmt=f"{mark}-", color=color, ms=5, lw=1.2, elinewidth=0.8, label=name,
        )  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=_DASHES)
    _batch_axis(axes, record.where("method", "bald"))
    axes.set_ylabel("improvement over uniform draws,\nlog RMSE")
    axes.legend(fontsize=8, framealpha=1.0)
    axes.grid()


# Name: what draws it, and the study whose record it needs (none: the sweep's).
FIGURES = {
    "4": (figure_4, ""),
    "4-last": (figure_4_last, ""),
    "4-curves": (figure_curves, ""),
    "4-rank": (figure_rank, "rank"),
    "4-redundancy": (figure_redundancy, "redundancy"),
    "4-bald": (figure_bald, "bald"),
}

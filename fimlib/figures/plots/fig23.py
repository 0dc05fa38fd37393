"""What Figures 2 and 3 look like: as published (one seed), and over all seeds."""

import itertools
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from fimlib.figures import ranking, tables
from fimlib.figures.agreement import gaussian_reference, spearman, spearman_within_top
from fimlib.figures.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    line,
    running_median,
    six_digits,
    write,
)  # fmt: skip
from fimlib.figures.records import Record

_COLORS = (BLUE, ORANGE, GREEN, PURPLE, GREY) * 20  # of seeds
_CEILING = np.log(10)
_SORTED = "pool digits, sorted by {}, highest first"
_NO_MORE = "log 10: no label can tell more"
_DASHES = (0, (4, 3))
_FIGURE_2 = (
    ("eig_trace", "EIG trace", ORANGE),
    ("eig_log_det", "EIG log det", GREEN),
    ("bald", "BALD (MC dropout)", BLUE),
)
_FIGURE_3 = (
    ("epig", "EPIG\n(MC dropout)", BLUE),
    ("epig_proxy_log_det", "EPIG log det", GREEN),
    ("jepig_proxy_log_det", "JEPIG log det", PURPLE),
    ("epig_proxy_trace", "EPIG trace\n= JEPIG trace", ORANGE),
)


def figure_2(canvas: Figure, record: Record) -> None:
    """The published Figure 2: the first seed's scores, sorted by their mean rank."""
    axes, record = canvas.add_subplot(), ranking.by_seed(record)[0]
    order = np.argsort(-ranking.average_ig_rank(record), kind="stable")
    places = ((0.33, 12.0), (0.06, 3.2), (0.06, 0.16))  # x, and times the median
    for (column, label, color), (share, factor) in zip(_FIGURE_2, places, strict=True):
        middle = line(axes, record[column][order], color)
        x = int(share * len(order))
        axes.text(
            x, middle[x] * factor, label, color=color, va="center",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
    low = six_digits(running_median(record["eig_log_det"][order]))
    x = int(0.88 * len(order))
    text = "trace and log det\nare one curve"
    write(axes, x, low[x] / 300, text, GREEN, "right", "center")
    _figure_2_axes(axes, len(order))


def _figure_2_axes(axes: Axes, count: int) -> None:
    write(axes, count, _CEILING * 1.25, _NO_MORE, GREY, "right")
    axes.axhline(_CEILING, color=GREY, linewidth=1.0, linestyle=_DASHES)
    axes.set_yscale("log")
    axes.set_ylabel("score (nats)")
    _pool_axis(axes, count, "average rank of the three scores")


def figure_2_seeds(canvas: Figure, record: Record) -> None:
    """Figure 2 over seeds: median and range of each seed's running median."""
    axes, seeds = canvas.add_subplot(), ranking.by_seed(record)
    shown = (*_FIGURE_2, ("predictive_entropy", "predictive entropy", PURPLE))
    orders = [np.argsort(-ranking.average_ig_rank(one), kind="stable") for one in seeds]
    places = {
        "eig_trace": (0.2, 5.0), "eig_log_det": (0.03, 2.6),
        "bald": (0.03, 0.3), "predictive_entropy": (0.72, 3.0),
    }  # fmt: skip
    for column, label, color in shown:
        curves = [
            running_median(one[column][order])
            for one, order in zip(seeds, orders, strict=True)
        ]
        middle = _band(axes, np.arange(len(orders[0])), np.array(curves), color)
        share, factor = places[column]
        x = int(share * len(middle))
        write(axes, x, middle[x] * factor, label, color, va="center")
    _figure_2_axes(axes, len(orders[0]))


def figure_2_calibrated(canvas: Figure, record: Record) -> None:
    """Scores in nats against BALD in nats: on the diagonal they would agree."""
    axes = canvas.add_subplot()
    edges = np.quantile(record["bald"], np.linspace(0, 1, 26))
    inside = np.clip(np.searchsorted(edges, record["bald"], "right") - 1, 0, 24)
    x = np.array([np.median(record["bald"][inside == k]) for k in range(25)])
    shown = (*_FIGURE_2[:2], ("predictive_entropy", "predictive entropy", PURPLE))
    for (column, label, color), (at, up) in zip(
        shown, ((-1, 1.0), (-1, 1.0), (3, 2.2)), strict=True
    ):
        levels = np.array([
            np.quantile(record[column][inside == k], (0.25, 0.5, 0.75))
            for k in range(25)
        ])  # fmt: skip
        low, middle, high = map(six_digits, levels.T)
        axes.fill_between(six_digits(x), low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(six_digits(x), middle, color=color, linewidth=1.8)
        place = x[at] * (1.12 if at < 0 else 1), levels[at, 1] * up
        write(axes, *place, label, color, "left" if at < 0 else "right", "center")
    ends = np.array([x[0], _CEILING])
    axes.plot(ends, ends, color=GREY, linewidth=1.0)
    write(axes, x[-5], x[-5] / 2.5, "as many nats\nas BALD", GREY, va="top")
    axes.axhline(_CEILING, color=GREY, linewidth=1.0, linestyle=_DASHES)
    write(axes, x[0], _CEILING * 1.25, _NO_MORE, GREY)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(x[0] * 0.9, x[-1] * 3.2)
    axes.set_xlabel("BALD (nats), 25 bins with equal numbers of pool digits")
    axes.set_ylabel("score (nats): median and quartiles")
    axes.grid()


def figure_3(canvas: Figure, record: Record) -> None:
    """The published Figure 3: four scores, scaled to [0, 1] and stacked."""
    axes, record = canvas.add_subplot(), ranking.by_seed(record)[0]
    order = np.argsort(-ranking.average_pig_rank(record), kind="stable")
    for shift, (column, label, color) in enumerate(_FIGURE_3):
        values = ranking.oriented(record, column)[order]
        scaled = (values - values.min()) / (values.max() - values.min())
        axes.axhline(-1.15 * shift, color="#bbbbbb", linewidth=0.6)
        line(axes, scaled - 1.15 * shift, color)
        axes.text(
            -0.01, 0.45 - 1.15 * shift, label, color=color, ha="right", va="center",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    text = "each scaled to [0, 1], proxies negated"
    write(axes, len(order), 1.05, text, GREY, "right", "top")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _pool_axis(axes, len(order), "average rank of EPIG and its approximations")


def figure_3_panels(canvas: Figure, record: Record) -> None:
    """The repository's third figure: the same four scores in their own units."""
    record = ranking.by_seed(record)[0]
    order = np.argsort(-ranking.average_pig_rank(record), kind="stable")
    panels = canvas.subplots(2, 2, sharex=True).flat
    shown = (_FIGURE_3[0], _FIGURE_3[3], _FIGURE_3[1], _FIGURE_3[2])
    for axes, (column, label, color) in zip(panels, shown, strict=True):
        line(axes, record[column][order], color)
        better = "lower" if column in ranking.PROXIES else "higher"
        title = label.replace("\n", " ") + f" ({better} is better)"
        axes.set_title(title, color=color, fontsize=9, loc="left")
        axes.set_xlim(0, len(order))
        axes.grid(axis="x")
    by = "average rank of EPIG and its approximations"
    canvas.supxlabel(_SORTED.format(by), fontsize=9)


def figure_3_ranks(canvas: Figure, record: Record) -> None:
    """Rank by rank, over all seeds: where EPIG's first digits stand in other scores."""
    seeds = ranking.by_seed(record)
    shown = (
        ("epig_proxy_log_det", GREEN), ("jepig_proxy_log_det", PURPLE),
        ("epig_proxy_trace", ORANGE), ("predictive_entropy", BLUE),
        ("softmax_entropy", GREY), ("trace_fisher", GREY),
    )  # fmt: skip
    size = len(seeds[0])
    edges = np.unique(np.geomspace(1, size + 1, 14).round().astype(int))
    middles = np.sqrt(edges[:-1] * (edges[1:] - 1.0))
    panels = canvas.subplots(2, 3, sharex=True, sharey=True).flat
    for axes, (column, color) in zip(panels, shown, strict=True):
        own, other = (
            np.concatenate([_places(ranking.oriented(one, name)) for one in seeds])
            for name in ("epig", column)
        )
        levels = np.array([
            np.quantile(other[(own >= a) & (own < b)], (0.1, 0.5, 0.9))
            for a, b in itertools.pairwise(edges)
        ])  # fmt: skip
        low, middle, high = levels.T
        axes.fill_between(middles, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(middles, middle, color=color, linewidth=1.8)
        axes.plot((1, size), (1, size), color=GREY, linewidth=0.8, linestyle=_DASHES)
        axes.set_title(ranking.NAMES[column], color=color, fontsize=9, loc="left")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, size)
        axes.set_ylim(size, 1)
        axes.grid()
    canvas.supxlabel("place in the order of EPIG (1 is the highest)", fontsize=9)
    canvas.supylabel("place in this score's order", fontsize=9)


def _places(values: np.ndarray) -> np.ndarray:
    """Place of each value, the highest first: 1 to M."""
    places = np.empty(len(values))
    places[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return places


def figure_top(canvas: Figure, record: Record) -> None:
    """Rank correlation within the top of BALD and of EPIG, by how far down it goes."""
    panels = canvas.subplots(1, 2, sharey=True)
    log_det_and_trace = {
        "bald": ("eig_log_det", "eig_trace"),
        "epig": ("epig_proxy_log_det", "epig_proxy_trace"),
    }
    size = len(ranking.by_seed(record)[0])
    counts = np.unique(np.geomspace(min(30, size), size, 12).round().astype(int))
    for axes, (score, names) in zip(panels, log_det_and_trace.items(), strict=True):
        shown = (*names, "predictive_entropy", "trace_fisher")
        for name, color in zip(shown, (GREEN, ORANGE, PURPLE, GREY), strict=True):
            curves = np.transpose([
                tables.over_seeds(record, score, name, spearman_within_top, count)
                for count in counts
            ])  # fmt: skip
            label = ranking.NAMES[name]
            _band(axes, counts, curves, color, label=label, middle=np.mean)
            if name in names:
                pool = tables.over_seeds(record, score, name, spearman).mean()
                bound = [gaussian_reference(pool, count / size) for count in counts]
                axes.plot(counts, six_digits(bound), color=color, lw=1.0, ls=_DASHES)
        axes.set_xscale("log")
        axes.set_title(f"within the top of {ranking.NAMES[score]}", loc="left")
        axes.set_xlabel("digits of the top")
        axes.grid()
        axes.legend(loc="lower right", fontsize=7, framealpha=1.0)
    panels[0].set_ylabel("Spearman's correlation, mean and range of seeds")


def figure_epochs(canvas: Figure, record: Record) -> None:
    """What stopping later changes: a seed a line, the stopped network a dot."""
    panels = canvas.subplots(1, 3, sharex=True)
    shown = (
        ("trace_fisher_train", "tr F of the training digits", True),
        ("eig_log_det_q25", "lower quartile, EIG log det (nats)", True),
        ("spearman_log_det", "Spearman, BALD and log det", False),
    )
    for axes, (column, title, logarithmic) in zip(panels, shown, strict=True):
        for color, one in zip(_COLORS, ranking.by_seed(record), strict=False):
            values = six_digits(one[column])
            axes.plot(one["epochs"], values, color=color, linewidth=1.2)
            stopped = one["stopped"] == 1
            axes.plot(one["epochs"][stopped], values[stopped], "o", color=color)
        axes.set_title(title, loc="left", fontsize=8.5)
        axes.set_xscale("log")
        axes.set_xticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
        axes.minorticks_off()
        if logarithmic:
            axes.set_yscale("log")
        axes.grid()
    canvas.supxlabel("epochs of training", fontsize=9)


def figure_bias(canvas: Figure, record: Record) -> None:
    """Mean BALD and EPIG against 1/L, with lines a + b/L fitted from 100 samples on."""
    panels = canvas.subplots(1, 2)
    for axes, score in zip(panels, ("bald", "epig"), strict=True):
        intercept, slope = tables.bias_fit(record, score)
        seeds = zip(ranking.by_seed(record), _COLORS, strict=False)
        for k, (one, color) in enumerate(seeds):
            means = tables.mean_by(one, "samples", "mean", score=score)
            x = 1 / np.array(list(means))
            axes.plot(x, six_digits(list(means.values())), "o", color=color, ms=4)
            ends = np.array([0.0, x.max()])
            fitted = six_digits(intercept[k] + slope[k] * ends)
            axes.plot(ends, fitted, color=color, lw=1.0)
        axes.set_xlim(0, None)
        axes.set_ylim(0, None)
        ticks = (20, 50, 100, 1000)
        axes.set_xticks([1 / t for t in ticks], [f"1/{t}" for t in ticks])
        axes.set_title(f"mean {ranking.NAMES[score]} of the pool (nats)", loc="left")
        axes.grid()
    canvas.supxlabel("1 / dropout samples", fontsize=9)


def _band(
    axes: Axes, x: np.ndarray, curves: np.ndarray, color: str,
    label: str | None = None, middle: Callable[..., np.ndarray] = np.median,
) -> np.ndarray:  # fmt: skip
    """Range over curves (S, K) and their middle; returns the middle."""
    some = np.unique([*range(0, len(x), 5 if len(x) > 100 else 1), len(x) - 1])
    low, high = six_digits(curves.min(0)), six_digits(curves.max(0))
    between = six_digits(middle(curves, axis=0))
    ends = x[some], low[some], high[some]
    axes.fill_between(*ends, color=color, alpha=0.25, linewidth=0)
    axes.plot(x[some], between[some], color=color, linewidth=1.6, label=label)
    return between


def _pool_axis(axes: Axes, count: int, by: str) -> None:
    axes.set_xlim(0, count)
    axes.set_xlabel(_SORTED.format(by))
    axes.grid(axis="x")


# Name: what draws it, and the study whose record it needs (none: the main run's).
FIGURES = {
    "2": (figure_2, ""),
    "2-seeds": (figure_2_seeds, ""),
    "2-calibrated": (figure_2_calibrated, ""),
    "3": (figure_3, ""),
    "3-panels": (figure_3_panels, ""),
    "3-ranks": (figure_3_ranks, ""),
    "top": (figure_top, ""),
    "epochs": (figure_epochs, "epochs"),
    "bias": (figure_bias, "bias"),
}

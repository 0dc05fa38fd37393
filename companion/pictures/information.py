"""The pictures of the chapter on information quantities, computed when drawn."""

from itertools import pairwise

import numpy as np
import torch
from scipy import stats

from companion.evidence.ch01.information_gain import beta_gains
from companion.pictures.drawing import *
from fimlib import predictive

CELLS = 40  # possible thresholds
EVALS = (0.7, 0.75, 0.8, 0.85, 0.9)
SIZES = (1, 2, 3, 4, 5, 6, 8, 10)
# H[Y], EIG, JEPIG, EPIG: from the outside to the inside.
COLORS = {"entropy": GREY, "EIG": GREEN, "JEPIG": PURPLE, "EPIG": BLUE}
FILLS = {"entropy": "#eeeeee", "EIG": "#cfe8dc", "JEPIG": "#ecd6e6", "EPIG": "#bfdcf0"}


def threshold_log_probs(x, quiet=0.05):
    """log p(y|x, theta) (M, L, 2) in a world with one unknown, a threshold (T1, T3).

    x (M,) are positions in [0, 1]; theta is one of 40 equally likely positions. The
    label says whether x lies beyond theta, and lies itself with a probability that
    falls from 1/2 at x = 0, where labels are coin flips, to `quiet`.
    """
    x = torch.as_tensor(x, dtype=torch.float64)
    theta = (torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS
    lies = quiet + (0.5 - quiet) * torch.exp(-((x / 0.2) ** 2))[:, None]
    one = torch.where(x[:, None] > theta, 1 - lies, lies)
    return torch.stack([1 - one, one], -1).log()


def label_entropy(log_probs):
    """H[Y_i] (M,), noise included, of (M, L, C)."""
    probs = log_probs.exp().mean(1)
    return -torch.special.xlogy(probs, probs).sum(-1)


def four_scores(x, x_eval=EVALS):
    """Entropy, EIG, JEPIG and EPIG of candidates x (M,), as a dict of (M,)."""
    pool, evals = threshold_log_probs(x), threshold_log_probs(x_eval)
    return {
        "entropy": label_entropy(pool),
        "EIG": predictive.bald(pool),
        "JEPIG": predictive.jepig(pool, evals)[0],
        "EPIG": predictive.epig(pool, evals),
    }


def four_answers():
    """`four_scores` of every candidate, one inside the other (T1, T3)."""
    x = np.arange(CELLS + 1) / CELLS
    scores = {name: six_digits(v) for name, v in four_scores(x).items()}

    def draw(canvas):
        axes = canvas.add_subplot()
        for name, values in scores.items():
            axes.fill_between(x, values, color=FILLS[name], linewidth=0)
            axes.plot(x, values, color=COLORS[name], linewidth=1.8)
        for name in ("EIG", "JEPIG", "EPIG"):
            best = scores[name].argmax()
            axes.plot(x[best], scores[name][best], "o", color=COLORS[name], ms=5)
        axes.plot(EVALS, [0.014] * len(EVALS), "^", color="black", markersize=4)
        write(axes, 0.02, 0.71, r"$\mathrm{H}[Y]$, the label's entropy", GREY)
        write(axes, 0.13, 0.42, "noise", GREY, "center")
        write(axes, 0.5, 0.515, "EIG", GREEN, "center")
        write(axes, 0.655, 0.315, "JEPIG", PURPLE, "right")
        write(axes, 0.75, 0.09, "EPIG", BLUE, "center")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 0.78)
        axes.set_xlabel("candidate $x$ (triangles: evaluation inputs)")
        axes.set_ylabel("nats")

    return drawing(draw, (4.8, 3.3))


def what_separates_them(candidates=(0.5, 0.75)):
    """The scores of two candidates, and what each is short of the next (T1, T4)."""
    scores = {name: six_digits(v) for name, v in four_scores(candidates).items()}
    rows = (  # a score, or what is taken from the one above it
        r"$\mathrm{H}[Y]$",
        "noise",
        "EIG",
        "beyond all\nevaluation labels",
        "JEPIG",
        "beyond\na single one",
        "EPIG",
    )

    def draw(canvas):
        panels = canvas.subplots(1, len(candidates), sharex=True, sharey=True)
        for i, (axes, x) in enumerate(zip(panels, candidates, strict=True)):
            ends = [values[i] for values in scores.values()]
            for row, (name, value) in enumerate(zip(scores, ends, strict=True)):
                color, fill = COLORS[name], FILLS[name]
                axes.barh(2 * row, value, height=0.8, color=fill, edgecolor=color)
                write(axes, value + 0.015, 2 * row, f"{value:.3f}", color, va="center")
            for row, (high, low) in enumerate(pairwise(ends)):
                place = 2 * row + 1
                axes.barh(place, high - low, 0.5, low, color="white", edgecolor=GREY)
                gap = f"\N{MINUS SIGN}{high - low:.3f}"
                write(axes, high + 0.015, place, gap, GREY, va="center")
            axes.set_title(f"candidate $x={x:g}$", fontsize=9)
            axes.set_xlabel("nats")
            axes.tick_params(axis="y", length=0)
        panels[0].set_yticks(range(len(rows)), rows)
        panels[0].set_xlim(0, 0.9)
        panels[0].set_ylim(6.6, -0.6)
        for label in panels[0].get_yticklabels()[1::2]:
            label.set_color(GREY)

    return drawing(draw, (4.9, 3.4))


def widening():
    """A coin's prior, its posterior after either label, and both gains (T2)."""
    a, b = 1, 10
    t = np.round(np.linspace(0, 0.6, 121), 6)
    gains = beta_gains(a, b)
    means = gains @ [b / (a + b), a / (a + b)]
    drop, kl = (
        six_digits([*row, mean]) for row, mean in zip(gains, means, strict=True)
    )

    def draw(canvas):
        left, right = canvas.subplots(1, 2, width_ratios=(1.25, 1))
        curves = (
            (a, b + 1, BLUE, "after $y=0$", 0.03, 9.2),
            (a, b, GREY, "prior", 0.055, 6.4),
            (a + 1, b, ORANGE, "after $y=1$", 0.19, 3.2),
        )
        for first, second, color, name, x, y in curves:
            density = six_digits(stats.beta(first, second).pdf(t))
            left.plot(t, density, color=color, linewidth=1.8)
            write(left, x, y, name, color)
        left.set_xlim(0, 0.6)
        left.set_ylim(0, 11.5)
        left.set_xlabel("probability $t$ of $y=1$")
        left.set_ylabel("density")
        rows = np.arange(3)
        right.axvline(0, color=GREY, linewidth=0.7)
        right.plot(drop, rows - 0.12, "o", color=GREEN, markersize=5)
        right.plot(kl, rows + 0.12, "s", color=PURPLE, markersize=4.5)
        write(right, -0.51, 0.76, "entropy\ndrop", GREEN)
        write(right, 0.55, 1.26, "divergence", PURPLE, "right", "top")
        right.set_yticks(rows, ["$y=0$", "$y=1$", "mean"])
        right.tick_params(axis="y", length=0)
        right.set_ylim(2.4, -0.4)
        right.set_xlim(-0.55, 0.55)
        right.set_xticks([-0.4, 0, 0.4])
        right.set_xlabel("gain (nats)")

    return drawing(draw, (4.9, 2.9))


def evaluation_sets(candidate=0.6, sizes=SIZES, count=60):
    """JEPIG of nested random sets, (count, sizes), and EPIG and EIG, () each (T3).

    Inputs are drawn from 20 equally likely positions in (1/2, 1]; EPIG is that of their
    distribution.
    """
    positions = 0.5 + np.arange(1, 21) / 40
    rng = np.random.default_rng(0)
    draws = rng.choice(positions, (count, max(sizes)))
    pool = threshold_log_probs([candidate])
    joint = [
        [float(predictive.jepig(pool, threshold_log_probs(row[:n]))[0]) for n in sizes]
        for row in draws
    ]
    single = float(predictive.epig(pool, threshold_log_probs(positions)))
    return np.array(joint), single, float(predictive.bald(pool))


def random_evaluation_sets():
    """`evaluation_sets`, their mean, and the two lines between which it runs (T3)."""
    joint, epig, eig = evaluation_sets()
    mean = six_digits(joint.mean(0))

    def draw(canvas):
        axes = canvas.add_subplot()
        for row in joint[:12]:
            axes.plot(SIZES, six_digits(row), color=PURPLE, linewidth=0.5, alpha=0.6)
        axes.plot(SIZES, mean, "o-", color=PURPLE, linewidth=1.8, markersize=4)
        axes.axhline(round(eig, 6), color=GREEN, **THIN_DASHES)
        axes.axhline(round(epig, 6), color=BLUE, **THIN_DASHES)
        write(axes, 10, eig + 0.006, "EIG", GREEN, "right")
        write(axes, 10, epig - 0.008, "EPIG", BLUE, "right", "top")
        write(axes, 10, 0.05, "JEPIG of twelve sets (thin)", PURPLE, "right")
        write(axes, 10, 0.02, "and its mean over sixty", PURPLE, "right")
        axes.set_xlim(0.8, 10.2)
        axes.set_ylim(0, 1.12 * eig)
        axes.set_xlabel("evaluation inputs drawn")
        axes.set_ylabel("nats")

    return drawing(draw, (4.8, 3.2))

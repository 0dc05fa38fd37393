"""The pictures of the chapter on Fisher information, computed when drawn."""

import math

import numpy as np
import torch

from companion.pictures.drawing import *
from fimlib.families import Bernoulli
from fimlib.fisher import last_layer_roots

AT = 0.45  # theta* of the curves
# E H', E H'^2, Cov and E H'' at theta = 1 of labels uniform on (0, theta), and of
# exponential ones with mean theta.
EDGE_MEANS = {"uniform": (1, 1, 0, -1), "exponential": (0, 1, 1, 1)}
MODEL, DATA = (0.5, 0.3, 0.2), (0.15, 0.2, 0.65)
# Jacobian of three logits by two parameters.
JACOBIAN = np.array([[1.5, 0.5], [-0.9, 0.9], [-0.8, -1.1]])


def label_curves(theta, at=AT):
    """-log p of labels 0 and 1 at theta (...,), and their mean under p(.|at) (T14).

    A tanh unit with one weight: the logit of label 1 is 4 tanh(theta).
    """
    logit = 4 * np.tanh(theta)
    zero, one = np.logaddexp(0, logit), np.logaddexp(0, -logit)
    share = 1 / (1 + math.exp(-4 * math.tanh(at)))
    return zero, one, (1 - share) * zero + share * one


def curvatures(at=AT):
    """Slopes and second derivatives at `at` of the three `label_curves`, (3,) each."""
    t = math.tanh(at)
    slope, bend = 4 * (1 - t**2), -8 * t * (1 - t**2)
    pi = 1 / (1 + math.exp(-4 * t))
    first = np.array([pi, pi - 1]) * slope
    second = pi * (1 - pi) * slope**2 + np.array([pi, pi - 1]) * bend
    weights = 1 - pi, pi
    return np.append(first, weights @ first), np.append(second, weights @ second)


def mean_curve():
    """The curves of two labels, and their mean, whose bend at theta* is F (T13-T15)."""
    theta = np.round(np.linspace(-1.1, 1.9, 121), 6)
    curves = [six_digits(c) for c in label_curves(theta)]
    here = [float(c) for c in label_curves(np.array(AT))]
    slopes, bends = curvatures()
    near = np.round(np.linspace(-0.65, 0.65, 41), 6)
    colors = ORANGE, PURPLE, BLUE

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.axvline(AT, color=GREY, linewidth=0.6)
        for values, color, width in zip(curves, colors, (1.3, 1.3, 2.2), strict=True):
            axes.plot(theta, values, color=color, linewidth=width)
        tangent = np.array([-0.33, 0.33])
        for value, slope, color in zip(here, slopes, colors, strict=True):
            line = six_digits(value + slope * tangent)
            axes.plot(AT + tangent, line, color=color, linewidth=0.8)
            axes.plot([AT], six_digits([value]), "o", color=color, markersize=4.5)
        bowl = six_digits(here[2] + bends[2] * near**2 / 2)
        axes.plot(AT + near, bowl, color=BLUE, **THIN_DASHES)
        write(axes, 1.88, 4.12, f"$y=0$, bends by {signed(bends[0])}", ORANGE, "right")
        write(axes, -1.06, 3.62, f"$y=1$, by {signed(bends[1])}", PURPLE)
        mean = f"mean over the\nmodel's labels,\nby $F={bends[2]:.2f}$"
        write(axes, 1.88, 0.92, mean, BLUE, "right")
        axes.set_xticks([AT], [r"$\theta^*$"])
        axes.set_xlim(-1.1, 1.9)
        axes.set_ylim(0, 4.7)
        axes.set_xlabel(r"$\theta$")
        axes.set_ylabel(r"$-\log\,p(y|x,\theta)$ (nats)")

    return drawing(draw, (4.8, 3.4))


def signed(value):
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def gradients(p=MODEL):
    """The rows H'_y = (p - e_y)' J of a softmax with two parameters, (3, 2) (T15)."""
    return (np.asarray(p) - np.eye(3)) @ JACOBIAN


def mean_square(weights, p=MODEL):
    """sum_y w_y H'_y^T H'_y (2, 2): F if the weights are the model's own."""
    rows = gradients(p)
    return rows.T @ (np.asarray(weights)[:, None] * rows)


def ellipse(matrix, count=121):
    """Points (2, count) of u' M^-1 u = 1, for a positive definite M (2, 2)."""
    angle = np.linspace(0, 2 * np.pi, count)
    points = np.linalg.cholesky(matrix) @ [np.cos(angle), np.sin(angle)]
    return six_digits(points.ravel()).reshape(2, -1)


def balanced_gradients():
    """Gradients weighted by the model, and by the data; their ellipses (T14, T15)."""
    rows = gradients()
    panels = (
        (MODEL, "labels of the model", BLUE, "#cfe3f1"),
        (DATA, "labels of the data", ORANGE, "#f6dcc8"),
    )

    def draw(canvas):
        both = canvas.subplots(1, 2, sharex=True, sharey=True)
        for axes, (weights, title, color, fill) in zip(both, panels, strict=True):
            axes.fill(*ellipse(mean_square(weights)), color=fill, linewidth=0)
            axes.plot(*ellipse(mean_square(weights)), color=color, linewidth=1.5)
            axes.plot(*ellipse(mean_square(MODEL)), color=BLUE, **THIN_DASHES)
            for row, weight in zip(rows, weights, strict=True):
                axes.plot(*np.c_[[0, 0], row], color=GREY, linewidth=0.9)
                axes.scatter(*row, s=260 * weight, color=color, zorder=3)
                place = row * (1 + (0.44 + 0.15 * weight) / np.linalg.norm(row))
                axes.text(*place, f"{weight:g}", ha="center", va="center")
            mean = six_digits(np.asarray(weights) @ rows + 0.0)
            axes.plot(*mean, "+", color="black", markersize=11, markeredgewidth=1.6)
            axes.set_title(title, fontsize=9, color=color)
            axes.set_aspect("equal")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(r"slope along $\theta_1$")
        both[0].set_ylabel(r"slope along $\theta_2$")
        both[0].set_xlim(-2.0, 2.0)
        both[0].set_ylim(-1.6, 2.0)

    return drawing(draw, (4.9, 2.7))


def pool():
    """Inputs (40, 2) and logits (40, 1) of logistic regression at theta* (T14)."""
    waves = torch.arange(1, 81, dtype=torch.float64).square().cos().reshape(40, 2)
    x = waves @ torch.tensor([[1.6, 0.3], [0.0, 0.9]], dtype=torch.float64)
    return x, x @ torch.tensor([[1.5], [-1.2]], dtype=torch.float64)


def estimates(draws=12):
    """Mean Fisher information of `pool` from labels of four sources, a dict (T14).

    "exact" (2, 2); "sampled" (draws, 2, 2), a label a point each time; "agreeing", with
    the more probable labels, and "opposite", with the others, (2, 2).
    """
    x, logits = pool()
    likely = (logits > 0).double()

    def fisher(**options):
        roots = last_layer_roots(x, logits, Bernoulli(), bias=False, **options)
        return roots.fisher_mean().numpy()

    generator = torch.Generator().manual_seed(0)
    sampled = [
        fisher(estimator="monte_carlo", generator=generator) for _ in range(draws)
    ]
    return {
        "exact": fisher(),
        "sampled": np.array(sampled),
        "agreeing": fisher(estimator="empirical", labels=likely),
        "opposite": fisher(estimator="empirical", labels=1 - likely),
    }


def four_sources():
    """The ellipses of `estimates` (T14)."""
    found = estimates()

    def draw(canvas):
        left, right = canvas.subplots(1, 2, sharex=True, sharey=True)
        for matrix in found["sampled"]:
            left.plot(*ellipse(matrix), color=PURPLE, linewidth=0.7, alpha=0.8)
        colors = {"agreeing": GREEN, "opposite": ORANGE}
        for name, color in colors.items():
            right.plot(*ellipse(found[name]), color=color, linewidth=1.5)
        for axes in (left, right):
            axes.plot(*ellipse(found["exact"]), color=BLUE, linewidth=2)
            axes.set_aspect("equal")
            axes.axis("off")
        left.set_title("labels sampled from the model", fontsize=9, color=PURPLE)
        right.set_title("labels of the data", fontsize=9)
        top = float(np.sqrt(found["opposite"][1, 1]))
        low = -float(np.sqrt(found["exact"][1, 1]))
        write(right, -0.1, 1.02 * low, "all as expected", GREEN, "center", "top")
        write(right, 0, 1.06 * top, "none as expected", ORANGE, "center")
        write(left, 0, 0, "$F$", BLUE, "center", "center")
        left.set_ylim(-1.1 * top, 1.4 * top)

    return drawing(draw, (4.9, 2.0))


def moving_edge():
    """A label uniform on (0, theta): the edge moves; and the means it spoils (T15)."""
    wide = 1.3
    names = (
        r"$\mathbb{E}\,\mathrm{H}'$",
        r"$\mathbb{E}\,\mathrm{H}'^\top\mathrm{H}'$",
        r"$\mathrm{Cov}$",
        r"$\mathbb{E}\,\mathrm{H}''$",
    )

    def draw(canvas):
        left, right = canvas.subplots(1, 2, width_ratios=(1.05, 1))
        left.fill_between([0, 1], 1, 1 / wide, color="#f6dcc8", linewidth=0)
        left.fill_between([1, wide], 1 / wide, color="#cfe8dc", linewidth=0)
        left.plot([0, 1, 1], [1, 1, 0], color=BLUE, linewidth=1.8)
        low = 1 / wide
        left.plot([0, wide, wide], [low, low, 0], color=BLUE, **THIN_DASHES)
        write(left, 0.5, 0.9, "every label seen loses", ORANGE, "center", "center")
        write(left, 1.15, 0.4, "new\nlabels", GREEN, "center", "center")
        write(left, 0.5, 0.35, r"$p(y|\theta)=1/\theta$", BLUE, "center")
        left.set_xticks([0, 1, wide], ["0", r"$\theta$", r"$\theta+\delta$"])
        left.set_yticks([])
        left.set_xlim(0, 1.42)
        left.set_ylim(0, 1.15)
        left.set_xlabel("$y$")
        rows = np.arange(4)
        right.axvline(0, color=GREY, linewidth=0.7)
        right.plot(EDGE_MEANS["uniform"], rows - 0.13, "o", color=ORANGE, markersize=6)
        right.plot(
            EDGE_MEANS["exponential"], rows + 0.13, "s", color=BLUE, markersize=5.5
        )
        write(right, 0.9, -0.13, "uniform", ORANGE, "right", "center")
        write(right, 0.9, 3.13, "exponential", BLUE, "right", "center")
        right.set_yticks(rows, names)
        right.tick_params(axis="y", length=0)
        right.set_ylim(3.5, -0.5)
        right.set_xlim(-1.2, 1.2)
        right.set_xticks([-1, 0, 1])
        right.set_xlabel(r"at $\theta=1$")

    return drawing(draw, (4.9, 2.7))

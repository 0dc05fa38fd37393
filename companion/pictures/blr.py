"""Pictures of Bayesian linear regression and of Sylvester's two sides."""

import math

import numpy as np

from companion.pictures.drawing import *
from fimlib.blr import BayesianLinearRegression

LOG_DET, TRACE = r"$\frac{1}{2}\log\det$", r"$\frac{1}{2}\mathrm{tr}$"
X, THETA = r"\boldsymbol{x}", r"\boldsymbol{\theta}"


def squeezed_ellipse():
    """Prior and posterior ellipse (one standard deviation) of one observation (T6-T9).

    x^T Sigma x = 3 s2, so that the EIG is log 2: both the ellipse's area and its extent
    along x are halved.
    """
    x = np.array([1.0, 0.4])
    covariance = np.array([[1.5, -0.6], [-0.6, 0.9]])
    noise = x @ covariance @ x / 3
    prior = BayesianLinearRegression([0.0, 0.0], covariance, noise)
    shift = 1.5 * math.sqrt(noise + x @ covariance @ x)
    after = [prior.condition(x[None], [y]) for y in (0.0, -shift, shift)]

    def draw(canvas):
        axes = canvas.add_subplot(aspect="equal")
        _ellipse(axes, prior, color=GREY, linewidth=1.6, fill="#eeeeee")
        for model in after[1:]:
            _ellipse(axes, model, color=BLUE, **THIN_DASHES)
        _ellipse(axes, after[0], color=BLUE, linewidth=1.8, fill="#cfe3f1")
        _shadows(axes, x, (prior, after[0]))
        _unmeasured(axes, x, prior)
        axes.annotate(
            "", xy=0.75 * x, xytext=(0, 0), arrowprops={"arrowstyle": "->", "lw": 1.2}
        )
        write(axes, 0.62, 0.2, f"${X}$", va="top")
        write(axes, -0.72, 1.02, "prior", GREY, ha="right")
        write(axes, -0.2, 0.42, "posterior", BLUE, ha="center")
        write(axes, -2.3, -0.85, "other labels:\nsame shape", BLUE, va="top")
        axes.set_xlabel(r"$\theta_1$")
        axes.set_ylabel(r"$\theta_2$", rotation=0, labelpad=8)
        axes.set_xticks([])
        axes.set_yticks([])

    return drawing(draw, (4.8, 4.2))


def _ellipse(axes, model, fill=None, **style):
    """Where the density has fallen by exp(-1/2): sqrt(det) pi is its area."""
    angle = np.linspace(0, 2 * np.pi, 181)
    root = np.linalg.cholesky(model.covariance.numpy())
    points = model.mean.numpy()[:, None] + root @ [np.cos(angle), np.sin(angle)]
    points = six_digits(points.ravel()).reshape(2, -1)
    if fill:
        axes.fill(*points, color=fill, linewidth=0)
    axes.plot(*points, **style)


def _shadows(axes, x, models):
    """Bars along x, below the ellipses, as wide as each one's extent along x."""
    along = x / np.linalg.norm(x)
    across = np.array([along[1], -along[0]])
    for model, depth, color in zip(models, (1.75, 1.55), (GREY, BLUE), strict=True):
        covariance = model.covariance.numpy()
        half = math.sqrt(along @ covariance @ along)
        ends = depth * across + np.outer([-half, half], along)
        axes.plot(*ends.T, color=color, linewidth=4, solid_capstyle="butt")
        touch = covariance @ along / half
        for start, end in zip((-touch, touch), ends, strict=True):
            axes.plot(*np.stack([start, end], axis=1), color=color, linewidth=0.6)
    write(axes, *(1.95 * across), f"extent along ${X}$", GREY, ha="center", va="top")


def _unmeasured(axes, x, model):
    """Where both ellipses touch: the direction about which x says nothing."""
    direction = np.array([-x[1], x[0]])
    inverse = np.linalg.inv(model.covariance.numpy())
    touch = direction / math.sqrt(direction @ inverse @ direction)
    axes.plot(*np.stack([-touch, touch], axis=1), "o", color=PURPLE, markersize=4)
    label = rf"${X}^\top{THETA}=0$"
    write(axes, touch[0] + 0.05, touch[1] + 0.06, label, PURPLE)


def sylvester_sides():
    """I + AB (8 x 8) and I + BA (3 x 3) with A = B^T, and their eigenvalues (T8)."""
    large, small = 8, 3
    root = np.cos(np.arange(1, small * large + 1) ** 2).reshape(small, large)
    sides = np.eye(large) + root.T @ root, np.eye(small) + root @ root.T
    values = [np.log(np.linalg.eigvalsh(side))[::-1] for side in sides]

    def draw(canvas):
        top, bottom = canvas.subfigures(2, 1, height_ratios=(1.1, 1))
        titles = rf"$I_M+AB$, $M={large}$", rf"$I_N+BA$, $N={small}$"
        for axes, side, title in zip(top.subplots(1, 2), sides, titles, strict=True):
            # Cells of one size in both panels, whatever the matrices' sizes.
            axes.pcolormesh(
                np.round(side, 6), cmap="PuOr", vmin=-6, vmax=6, edgecolors="white",
                linewidth=0.5,
            )  # fmt: skip
            edge = (large - len(side)) / 2
            axes.set_xlim(-edge, large - edge)
            axes.set_ylim(large - edge, -edge)
            axes.set_aspect("equal")
            axes.axis("off")
            write(axes, len(side) / 2, len(side) + 0.3, title, ha="center", va="top")
        axes = bottom.subplots()
        rank = np.arange(1, large + 1)
        # The log of an eigenvalue 1 is 0 up to rounding: it is drawn as 0.
        heights = np.where(rank <= small, six_digits(values[0]), 0.0)
        axes.bar(rank, heights, width=0.55, color="#cfe3f1", edgecolor=BLUE)
        axes.plot(rank[:small], six_digits(values[1]), "o", color=ORANGE)
        axes.plot(rank[small:], heights[small:], "_", color=BLUE, markersize=16)
        axes.set_ylim(bottom=-0.08)
        write(axes, 3.5, 0.72 * heights[0], f"bars: $I_{large}+AB$", BLUE)
        write(axes, 3.5, 0.52 * heights[0], f"dots: $I_{small}+BA$", ORANGE)
        axes.set_xlabel("eigenvalues, largest first")
        axes.set_ylabel("log eigenvalue")
        axes.set_xticks(rank)

    return drawing(draw, (4.8, 4.8))


def pair_information(ratio=4.0):
    """Information of two candidates against their correlation under Sigma (T9).

    ratio is x^T Sigma x / s2, the same for both.
    """
    correlation = np.round(np.linspace(-1, 1, 81), 3)
    pair = [_pair(ratio, r).batch_eig(np.eye(2)) for r in correlation[1:-1]]
    one = 0.5 * math.log1p(ratio)
    twice = 0.5 * math.log1p(2 * ratio)
    pair = six_digits([twice, *map(float, pair), twice])

    def draw(canvas):
        axes = canvas.add_subplot()
        for height, text in (
            (2 * one, "twice the information of one"),
            (twice, "one of them, measured twice"),
            (one, "one of them"),
        ):
            axes.axhline(height, color=GREY, **THIN_DASHES)
            write(axes, 0, height + 0.02 * one, text, GREY, ha="center")
        axes.plot(correlation, pair, color=BLUE, linewidth=1.8)
        write(axes, 0.7, pair[-13], "the pair ", BLUE, ha="right", va="top")
        axes.set_xlim(-1, 1)
        axes.set_ylim(0.9 * one, 2.12 * one)
        axes.set_xlabel(rf"correlation of ${X}_1^\top{THETA}$ and ${X}_2^\top{THETA}$")
        axes.set_ylabel("information (nats)")

    return drawing(draw, (4.8, 3.1))


def _pair(ratio, correlation):
    covariance = ratio * np.array([[1.0, correlation], [correlation, 1.0]])
    return BayesianLinearRegression([0.0, 0.0], covariance, 1.0)

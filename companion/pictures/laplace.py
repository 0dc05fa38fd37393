"""The pictures of the chapter on the Gaussian approximation, computed when drawn."""

import math

import numpy as np
import torch
from scipy.special import expit

from companion.evidence.ch03.logistic import approximation, mode_of, posterior_at
from companion.pictures.drawing import *
from fimlib.families import Bernoulli

# Logistic regression with one weight: inputs, labels, prior precision.
X = np.array([[1.0], [1.5], [2.0], [-0.5]])
LABELS = np.array([1.0, 1.0, 1.0, 1.0])
PRIOR = np.array([[0.2]])
OFF_MODE = 0.0


def energy(theta, x=X, y=LABELS, prior=PRIOR):
    """-log p(theta|D) up to a constant, theta (..., d) to (...)."""
    z = theta @ x.T
    quadratic = ((theta @ prior) * theta).sum(-1) / 2
    return (np.logaddexp(0, z) - y * z).sum(-1) + quadratic


# --- the approximation ---------------------------------------------------------------


def parabolas():
    """Expansion point, mean and variance, at the mode and at 0 (T10)."""
    found = []
    for star in (mode_of(X, LABELS, PRIOR), np.array([OFF_MODE])):
        mean, covariance = approximation(X, LABELS, PRIOR, star)
        found.append((float(star[0]), float(mean[0]), float(covariance[0, 0])))
    return found


def touching_parabolas():
    """-log posterior with its parabola at two points, and the Gaussians (T10)."""
    theta = np.round(np.linspace(-2, 6, 161), 6)
    height = energy(theta[:, None])
    lowest = float(height.min())
    exact = np.exp(lowest - height)
    exact /= exact.sum() * (theta[1] - theta[0])

    def gaussian(mean, variance):
        values = np.exp(-((theta - mean) ** 2) / (2 * variance))
        return six_digits(values / math.sqrt(2 * math.pi * variance))

    def draw(canvas):
        top, bottom = canvas.subplots(2, 1, sharex=True, height_ratios=(1.1, 1))
        top.plot(theta, six_digits(height - lowest), color="black", linewidth=2)
        bottom.fill_between(theta, six_digits(exact), color="#dddddd", linewidth=0)
        for color, (star, mean, variance) in zip(
            (BLUE, GREEN), parabolas(), strict=True
        ):
            touch = float(energy(np.array([star]))) - lowest
            floor = touch - (star - mean) ** 2 / (2 * variance)
            curve = floor + (theta - mean) ** 2 / (2 * variance)
            top.plot(theta, six_digits(curve), color=color, linewidth=1.4)
            top.plot(*six_digits([star, touch]), "o", color=color, markersize=5)
            bottom.plot(theta, gaussian(mean, variance), color=color, linewidth=1.6)
        bottom.plot(theta, gaussian(star, variance), color=GREEN, **THIN_DASHES)
        arrow = {"arrowstyle": "->", "color": GREEN, "lw": 1.2}
        top.annotate("", xy=(mean, -0.55), xytext=(star, -0.55), arrowprops=arrow)
        write(top, mean + 0.1, -0.58, "Newton step", GREEN, va="center")
        write(top, 3.75, 1.0, r"$-\log p(\theta\,|\,\mathcal{D})$")
        write(top, 4.5, 4.4, "at the\nmode", BLUE, va="center")
        write(top, 2.75, 4.5, "parabola at 0", GREEN, "right", "center")
        top.set_ylim(-1, 5)
        top.set_ylabel("nats")
        write(bottom, 2.75, 0.22, "posterior", GREY)
        write(bottom, 2.35, 0.3, "Gaussian at the mode", BLUE)
        write(bottom, 1.6, 0.46, "at 0", GREEN)
        write(bottom, -0.7, 0.46, "at 0,\nwithout\nthe step", GREEN, "right", "center")
        bottom.set_xlim(-2, 6)
        bottom.set_ylim(0, 0.62)
        bottom.set_yticks([])
        bottom.set_xlabel(r"$\theta$")

    return drawing(draw, (4.8, 4.4))


# --- Hessians add --------------------------------------------------------------------

# One unknown position theta, prior N(0, 1/PULL); question i asks whether it lies beyond
# C_i, and the answer is yes with probability 1 / (1 + exp(-STEEP (theta - C_i))).
PULL, STEEP = 0.3, 2.0
POSITIONS = np.array([-1.5, 0.5, 1.0, 2.5])
ANSWERS = np.array([1.0, 1.0, 0.0, 1.0])


def curvatures(theta, count=None):
    """Prior's and labels' Hessians at positions theta (n,), as rows (1 + count, n)."""
    z = torch.as_tensor(STEEP * (np.asarray(theta) - POSITIONS[:count, None]))
    labels = STEEP**2 * Bernoulli().fisher(z.reshape(-1, 1)).reshape(z.shape)
    return np.vstack([np.full(len(theta), PULL), labels.numpy()])


def position_mode(count=None):
    """The mode after the first answers, by Newton's method."""
    theta = 0.0
    for _ in range(50):
        p = expit(STEEP * (theta - POSITIONS[:count]))
        slope = STEEP * (p - ANSWERS[:count]).sum() + PULL * theta
        theta -= slope / curvatures([theta], count).sum()
    return float(theta)


def stacked_curvatures():
    """The prior's and four labels' Hessians on top of each other (T11, T12)."""
    theta = np.round(np.linspace(-4, 5, 181), 6)
    rows = curvatures(theta)
    fills = ("#dddddd", "#bfdcf0", "#cfe8dc", "#f6dfc0", "#ecd6e6")
    before, after = position_mode(len(POSITIONS) - 1), position_mode()

    def draw(canvas):
        axes = canvas.add_subplot()
        edges = np.vstack([np.zeros(len(theta)), rows.cumsum(0)])
        for low, high, fill in zip(edges, edges[1:], fills, strict=False):
            axes.fill_between(
                theta, six_digits(low), six_digits(high), color=fill, linewidth=0
            )
            axes.plot(theta, six_digits(high), color="white", linewidth=0.8)
        axes.plot(theta, six_digits(edges[-1]), color="black", linewidth=1.6)
        for star, color in ((before, GREY), (after, BLUE)):
            total = float(curvatures([star]).sum())
            axes.plot([star] * 2, six_digits([0, total]), color=color, lw=1.4)
            axes.plot(*six_digits([star, total]), "o", color=color, markersize=5)
        write(
            axes, before - 0.22, 2.47, "$P$ at the mode\nof three", GREY, "right", "top"
        )
        write(axes, after + 0.15, 1.93, "$P$ at the mode of all four", BLUE)
        write(axes, -3.8, 0.15, "prior", GREY, va="center")
        for place, height, name in (
            (-1.5, 0.7, "1"), (0.35, 0.75, "2"), (0.98, 1.45, "3"), (2.55, 0.9, "4"),
        ):  # fmt: skip
            write(axes, place, height, name, GREY, "center", "center")
        axes.set_xlim(-4, 5)
        axes.set_ylim(0, 2.55)
        axes.set_xlabel(r"position $\theta$")
        axes.set_ylabel("curvature")

    return drawing(draw, (4.8, 3.3))


# --- entropy -------------------------------------------------------------------------

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
DATA_SETS = 8
TRUTH = np.array([1.5, -1.0])
PRIOR_2 = 0.25 * np.eye(2)


def grid_entropy(x, y, prior, mode, covariance, points=49, reach=8.0):
    """Entropy of a posterior of two weights, in nats, on a grid about its mode."""
    axis = np.linspace(-reach, reach, points)
    unit = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    root = np.linalg.cholesky(covariance)
    height = energy(mode + unit @ root.T, x, y, prior)
    weight = np.exp(height.min() - height)
    cell = (axis[1] - axis[0]) ** 2 * np.linalg.det(root)
    total = weight.sum() * cell
    mean = (weight * (height - height.min())).sum() * cell / total
    return math.log(total) + mean


def entropies(sizes=SIZES, data_sets=DATA_SETS):
    """Exact entropies, those at the mode and those at 0: (data sets, sizes) each."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(data_sets):
        x = rng.standard_normal((max(sizes), 2))
        y = (rng.random(max(sizes)) < expit(x @ TRUTH)).astype(float)
        for n in sizes:
            mode = mode_of(x[:n], y[:n], PRIOR_2, steps=15)
            post = posterior_at(x[:n], y[:n], PRIOR_2, mode)
            start = posterior_at(x[:n], y[:n], PRIOR_2, np.zeros(2))
            spread = post.covariance.numpy()
            exact = grid_entropy(x[:n], y[:n], PRIOR_2, mode, spread)
            found.append((exact, float(post.entropy()), float(start.entropy())))
    return np.array(found).reshape(data_sets, len(sizes), 3).transpose(2, 0, 1)


def entropy_of_growing_data():
    """Entropy of the approximations and of the posterior as data grow (T10, T12)."""
    exact, at_mode, kept = entropies()
    sizes = np.array(SIZES)

    def draw(canvas):
        top, bottom = canvas.subplots(2, 1, sharex=True)
        for values, color, style in (
            (kept, ORANGE, {"linewidth": 1.8}),
            (exact, "black", {"linewidth": 1.8}),
            (at_mode, BLUE, {"linewidth": 1.5, "linestyle": (0, (4, 2))}),
        ):
            top.plot(sizes, six_digits(values.mean(0)), color=color, **style)
        for values, color in ((kept, ORANGE), (at_mode, BLUE)):
            error = np.abs(values - exact).mean(0)
            bottom.plot(sizes, six_digits(error), "o-", color=color, ms=3.5, lw=1.5)
        write(top, 12, 2.85, "exact", "black")
        write(top, 38, 1.5, "expanded at the mode", BLUE)
        write(top, 9, 0.9, "expanded at 0,\nwhatever the data", ORANGE, "right")
        guide = 3 / sizes[3:]
        bottom.plot(sizes[3:], six_digits(guide), color=GREY, **THIN_DASHES)
        top.set_xscale("log", base=2)
        bottom.set_yscale("log")
        bottom.set_xticks(sizes, [str(n) for n in sizes])
        bottom.minorticks_off()
        write(bottom, 40, 0.03, "falls as 1 / labels", GREY, "right")
        top.set_ylabel("entropy (nats)")
        bottom.set_ylabel("error (nats)")
        bottom.set_xlabel("labels")

    return drawing(draw, (4.8, 4.4))

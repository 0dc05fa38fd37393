"""Pictures of the approximations of EIG: Gaussian, log det, trace, batch."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from companion.pictures.drawing import *
from fimlib import information
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

LOG_DET, TRACE = r"$\frac{1}{2}\log\det$", r"$\frac{1}{2}\mathrm{tr}$"
X, THETA = r"\boldsymbol{x}", r"\boldsymbol{\theta}"


def probit_ladder(mean=1.0, spread=2.0):
    """From exact EIG to `eig`, one assumption of T21 a step: a dict of nats.

    Probit regression p(y=1|theta) = Phi(theta), theta ~ N(mean, spread^2), x = 1,
    theta* = mean. Its observed information is positive, so P_y > 0 for both labels.
    """
    precision = 1 / spread**2
    theta, weights = _normal_nodes(mean, spread)
    log_p = np.stack([norm.logcdf(-theta), norm.logcdf(theta)])
    exact, marginal = _exact_information(log_p, weights)
    model = norm.cdf([-mean, mean])
    here = [_probit_observed(mean, y) for y in (0, 1)]
    modes = [_probit_mode(mean, precision, y) for y in (0, 1)]
    there = [_probit_observed(mode, y) for y, mode in enumerate(modes)]
    post = GaussianPosterior.isotropic(1, precision)

    def gains(observed):
        return information.ig(np.reshape(observed, (2, 1, 1)), post).numpy()

    fisher = math.sqrt(model @ here)
    root = FisherRoots.from_dense(np.array([[fisher]]))
    return {
        "exact": exact,
        "Gaussian posteriors": float(marginal @ gains(there)),
        "the same expansion point": float(marginal @ gains(here)),
        "labels of one model": float(model @ gains(here)),
        "Fisher information": float(information.eig(root, post)[0]),
    }


def _probit_observed(theta, y):
    """-d^2/dtheta^2 log p(y|theta)."""
    z = theta if y else -theta
    hazard = math.exp(norm.logpdf(z) - norm.logcdf(z))
    return hazard * (hazard + z)


def _probit_mode(mean, precision, y):
    """Where the posterior after the label y has its mode."""
    sign = 1 if y else -1

    def slope(theta):
        z = sign * theta
        hazard = math.exp(norm.logpdf(z) - norm.logcdf(z))
        return precision * (theta - mean) - sign * hazard

    reach = 10 / math.sqrt(precision)
    return brentq(slope, mean - reach, mean + reach, xtol=1e-13)


def assumptions():
    """The values of `probit_ladder`, one below the other (T21)."""
    values = six_digits(list(probit_ladder().values()))
    labels = (
        "exact information",
        "Gaussian posteriors,\neach at its own mode",
        "one $\\boldsymbol{\\theta}^*$,\nbefore and after",
        "labels drawn\nfrom the model at $\\boldsymbol{\\theta}^*$",
        "Fisher information\ninside the log (a bound)",
    )

    def draw(canvas):
        axes = canvas.add_subplot()
        rows = np.arange(len(values))
        axes.axvline(values[0], color=BLUE, **THIN_DASHES)
        for row in rows[1:]:
            axes.annotate(
                "", xy=(values[row], row), xytext=(values[row - 1], row - 1),
                arrowprops={"arrowstyle": "->", "color": GREY, "lw": 1,
                            "shrinkA": 5, "shrinkB": 5},
            )  # fmt: skip
        colors = [BLUE, GREY, GREY, GREY, GREEN]
        axes.scatter(values, rows, color=colors, s=36, zorder=3)
        # Beside the dots, out of the way of the arrows.
        places = "bottom", "bottom", "center", "center", "center"
        for row, (value, va) in enumerate(zip(values, places, strict=True)):
            step, ha = (-0.009, "right") if row == 3 else (0.009, "left")
            write(axes, value + step, row, f"{value:.3f}", colors[row], ha, va)
        axes.set_yticks(rows, labels)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0.3, 0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("information (nats)")

    return drawing(draw, (4.9, 3.4))


def trace_excess(excess=0.1):
    """The eigenvalue at which l exceeds log(1 + l) by this fraction of it (T23)."""
    return brentq(lambda x: x - (1 + excess) * math.log1p(x), 1e-9, 1e9)


def trace_bound():
    """Trace and log-determinant of one eigenvalue, and the 10% point (T23)."""
    eigenvalue = six_digits(np.logspace(-2, 2, 161))
    low = eigenvalue[eigenvalue < 1.9]
    at = trace_excess()

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.loglog(eigenvalue, eigenvalue / 2, color=ORANGE, linewidth=1.8)
        log_det = six_digits(np.log1p(eigenvalue) / 2)
        axes.loglog(eigenvalue, log_det, color=GREEN, linewidth=1.8)
        second = six_digits((low - low**2 / 2) / 2)
        axes.loglog(low, second, color=GREY, **THIN_DASHES)
        axes.axvline(at, ymax=0.52, color=GREY, linewidth=0.7)
        score = six_digits([math.log1p(at) / 2])
        axes.plot([at], score, "o", color=GREEN, markersize=5)
        apart = f"10% apart:\n$\\ell={at:.2f}$,\n{score[0]:.3f} nats"
        write(axes, 0.85 * at, 0.4, apart, GREY, "right", "center")
        write(axes, 17, 13, r"$\frac{1}{2}\ell$, the trace", ORANGE, "right")
        write(axes, 100, 1.5, r"$\frac{1}{2}\log(1+\ell)$", GREEN, "right", "top")
        write(axes, 2.2, 0.07, r"$\frac{1}{2}(\ell-\ell^2/2)$", GREY)
        axes.set_xlim(0.01, 100)
        axes.set_ylim(0.004, 60)
        axes.set_xlabel(r"eigenvalue $\ell$ of $G$")
        axes.set_ylabel("its part of the score (nats)")

    return drawing(draw, (4.8, 3.3))


def logistic_information(mean, spread):
    """The EIG of a logistic label and its two forms: (exact, log det, trace) (T24).

    p(y=1|theta) = 1 / (1 + exp(-theta)), theta ~ N(mean, spread^2), x = 1 and
    theta* = mean; in nats.
    """
    theta, weights = _normal_nodes(mean, spread)
    log_p = -np.logaddexp(0, np.stack([theta, -theta]))
    exact, _ = _exact_information(log_p, weights)
    p = 1 / (1 + math.exp(-mean))
    roots = FisherRoots.from_dense(np.array([[math.sqrt(p * (1 - p))]]))
    post = GaussianPosterior.isotropic(1, 1 / spread**2)
    forms = (information.eig(roots, post, form=form) for form in ("log_det", "trace"))
    return exact, *(float(value[0]) for value in forms)


def _normal_nodes(mean, spread, count=4001):
    """Nodes and weights of the trapezoidal rule, exact to rounding when smooth."""
    standard = np.linspace(-10, 10, count)
    weights = norm.pdf(standard)
    return mean + spread * standard, weights / weights.sum()


def _exact_information(log_p, weights):
    """(EIG, p(y)) by its definition as E KL(p(y|theta) || p(y)), log_p (C, nodes)."""
    marginal = np.exp(log_p) @ weights
    gap = log_p - np.log(marginal)[:, None]
    return float(((np.exp(log_p) * gap).sum(0)) @ weights), marginal


def logistic_scores():
    """`logistic_information` against the prior's width, for two means (T24)."""
    means = (0.0, 5.0)
    spreads = six_digits(np.logspace(-1, math.log10(30), 49))
    curves = {
        mean: six_digits(
            np.ravel([logistic_information(mean, s) for s in spreads])
        ).reshape(-1, 3)
        for mean in means
    }

    def draw(canvas):
        panels = canvas.subplots(len(means), 1, sharex=True, sharey=True)
        for axes, (mean, curve) in zip(panels, curves.items(), strict=True):
            axes.axhline(np.round(math.log(2), 6), color=GREY, **THIN_DASHES)
            for values, color in zip(curve.T, (BLUE, GREEN, ORANGE), strict=True):
                axes.loglog(spreads, values, color=color, linewidth=1.8)
            axes.set_ylabel("nats")
            write(axes, 28, 5e-5, f"prior mean {mean:g}", ha="right")
        top = panels[0]
        write(top, 0.105, 0.8, "log 2, the most a label can tell", GREY)
        write(top, 9, 16, TRACE, ORANGE, "right")
        write(top, 28, 3.6, LOG_DET, GREEN, "right")
        write(top, 28, 0.42, "exact", BLUE, "right", "top")
        write(panels[-1], 2.2, 0.12, "exact", BLUE, "right")
        top.set_xlim(0.1, 30)
        top.set_ylim(2e-5, 150)
        panels[-1].set_xlabel("standard deviation of the prior")

    return drawing(draw, (4.8, 4.8))


def redundancy():
    """Three scores of K copies of one point, g^T P^{-1} g = 4.245 (T25)."""
    signal, most = 4.245, 100
    copies = np.unique(np.round(np.logspace(0, math.log10(most), 41)).astype(int))
    post = GaussianPosterior.isotropic(1, 1.0)
    roots = FisherRoots.from_dense(np.full((most, 1), math.sqrt(signal)))
    one = float(information.eig(roots[:1], post)[0])
    joint = six_digits([float(information.batch_eig(roots[:k], post)) for k in copies])

    def draw(canvas):
        axes = canvas.add_subplot()
        lines = (
            (six_digits(copies * signal / 2), ORANGE, TRACE + " of the batch"),
            (six_digits(copies * one), PURPLE, "sum of single " + LOG_DET),
            (joint, GREEN, LOG_DET + " of the batch"),
        )
        places = (11, 40, "right"), (13, 8.2, "left"), (most, 1.75, "right")
        for (values, color, label), (x, y, side) in zip(lines, places, strict=True):
            axes.loglog(copies, values, color=color, linewidth=1.8)
            write(
                axes, 1.08 * most, values[-1], f"{values[-1]:.3g}", color, va="center"
            )
            write(axes, x, y, label, color, side, "center")
        axes.set_xlim(1, most)
        axes.set_xlabel("copies of one point in the batch")
        axes.set_ylabel("score (nats)")

    return drawing(draw, (4.8, 3.2))

"""The pictures of the derivation chapters, computed when drawn."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from fimlib import information
from fimlib.blr import BayesianLinearRegression
from fimlib.fisher import FisherRoots
from fimlib.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, STYLE, finish, six_digits
from fimlib.posterior import GaussianPosterior

LOG_DET, TRACE = r"$\frac{1}{2}\log\det$", r"$\frac{1}{2}\mathrm{tr}$"
THIN_DASHES = {"linewidth": 0.9, "linestyle": (0, (4, 3))}
X, THETA = r"\boldsymbol{x}", r"\boldsymbol{\theta}"


# --- Bayesian linear regression ------------------------------------------------------


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
        _text(axes, 0.62, 0.2, f"${X}$", va="top")
        _text(axes, -0.72, 1.02, "prior", GREY, ha="right")
        _text(axes, -0.2, 0.42, "posterior", BLUE, ha="center")
        _text(axes, -2.3, -0.85, "other labels:\nsame shape", BLUE, va="top")
        axes.set_xlabel(r"$\theta_1$")
        axes.set_ylabel(r"$\theta_2$", rotation=0, labelpad=8)
        axes.set_xticks([])
        axes.set_yticks([])

    return _drawing(draw, (4.8, 4.2))


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
    _text(axes, *(1.95 * across), f"extent along ${X}$", GREY, ha="center", va="top")


def _unmeasured(axes, x, model):
    """Where both ellipses touch: the direction about which x says nothing."""
    direction = np.array([-x[1], x[0]])
    inverse = np.linalg.inv(model.covariance.numpy())
    touch = direction / math.sqrt(direction @ inverse @ direction)
    axes.plot(*np.stack([-touch, touch], axis=1), "o", color=PURPLE, markersize=4)
    label = rf"${X}^\top{THETA}=0$"
    _text(axes, touch[0] + 0.05, touch[1] + 0.06, label, PURPLE)


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
            _text(axes, len(side) / 2, len(side) + 0.3, title, ha="center", va="top")
        axes = bottom.subplots()
        rank = np.arange(1, large + 1)
        # The log of an eigenvalue 1 is 0 up to rounding: it is drawn as 0.
        heights = np.where(rank <= small, six_digits(values[0]), 0.0)
        axes.bar(rank, heights, width=0.55, color="#cfe3f1", edgecolor=BLUE)
        axes.plot(rank[:small], six_digits(values[1]), "o", color=ORANGE)
        axes.plot(rank[small:], heights[small:], "_", color=BLUE, markersize=16)
        axes.set_ylim(bottom=-0.08)
        _text(axes, 3.5, 0.72 * heights[0], f"bars: $I_{large}+AB$", BLUE)
        _text(axes, 3.5, 0.52 * heights[0], f"dots: $I_{small}+BA$", ORANGE)
        axes.set_xlabel("eigenvalues, largest first")
        axes.set_ylabel("log eigenvalue")
        axes.set_xticks(rank)

    return _drawing(draw, (4.8, 4.8))


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
            _text(axes, 0, height + 0.02 * one, text, GREY, ha="center")
        axes.plot(correlation, pair, color=BLUE, linewidth=1.8)
        _text(axes, 0.7, pair[-13], "the pair ", BLUE, ha="right", va="top")
        axes.set_xlim(-1, 1)
        axes.set_ylim(0.9 * one, 2.12 * one)
        axes.set_xlabel(rf"correlation of ${X}_1^\top{THETA}$ and ${X}_2^\top{THETA}$")
        axes.set_ylabel("information (nats)")

    return _drawing(draw, (4.8, 3.1))


def _pair(ratio, correlation):
    covariance = ratio * np.array([[1.0, correlation], [correlation, 1.0]])
    return BayesianLinearRegression([0.0, 0.0], covariance, 1.0)


# --- Approximating the EIG -----------------------------------------------------------


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
            _text(axes, value + step, row, f"{value:.3f}", colors[row], ha, va)
        axes.set_yticks(rows, labels)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0.3, 0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("information (nats)")

    return _drawing(draw, (4.9, 3.4))


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
        _text(axes, 0.85 * at, 0.4, apart, GREY, "right", "center")
        _text(axes, 17, 13, r"$\frac{1}{2}\ell$, the trace", ORANGE, "right")
        _text(axes, 100, 1.5, r"$\frac{1}{2}\log(1+\ell)$", GREEN, "right", "top")
        _text(axes, 2.2, 0.07, r"$\frac{1}{2}(\ell-\ell^2/2)$", GREY)
        axes.set_xlim(0.01, 100)
        axes.set_ylim(0.004, 60)
        axes.set_xlabel(r"eigenvalue $\ell$ of $G$")
        axes.set_ylabel("its part of the score (nats)")

    return _drawing(draw, (4.8, 3.3))


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
            _text(axes, 28, 5e-5, f"prior mean {mean:g}", ha="right")
        top = panels[0]
        _text(top, 0.105, 0.8, "log 2, the most a label can tell", GREY)
        _text(top, 9, 16, TRACE, ORANGE, "right")
        _text(top, 28, 3.6, LOG_DET, GREEN, "right")
        _text(top, 28, 0.42, "exact", BLUE, "right", "top")
        _text(panels[-1], 2.2, 0.12, "exact", BLUE, "right")
        top.set_xlim(0.1, 30)
        top.set_ylim(2e-5, 150)
        panels[-1].set_xlabel("standard deviation of the prior")

    return _drawing(draw, (4.8, 4.8))


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
            _text(
                axes, 1.08 * most, values[-1], f"{values[-1]:.3g}", color, va="center"
            )
            _text(axes, x, y, label, color, side, "center")
        axes.set_xlim(1, most)
        axes.set_xlabel("copies of one point in the batch")
        axes.set_ylabel("score (nats)")

    return _drawing(draw, (4.8, 3.2))


def _text(axes, x, y, text, color="black", ha="left", va="bottom"):
    axes.text(x, y, text, color=color, ha=ha, va=va)


def _drawing(draw, size):
    """A picture in the book's style; size in inches, narrow enough for a phone."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        canvas = Figure(figsize=size, layout="constrained")
        draw(canvas)
        return finish(canvas)

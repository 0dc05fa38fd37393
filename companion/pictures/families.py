"""The pictures of the chapter on exponential families, computed when drawn."""

import math

import numpy as np
import torch
from torch import nn

from companion.evidence.ch05.active_sampling import exact_gains, laplace_parts
from companion.pictures.drawing import *
from fimlib import information
from fimlib.families import Bernoulli, Categorical, Poisson
from fimlib.fisher import network_roots, observed_information

# Corners of the triangle of three probabilities, (2, 3).
CORNERS = np.array([[0.0, 1.0, 0.5], [0.0, 0.0, math.sqrt(3) / 2]])


def partition_curves(family, z):
    """A, its slope and its bend (3, M) at natural parameters z (M,) (T16, T17)."""
    column = torch.as_tensor(z)[:, None]
    curves = family.log_partition(column), family.mean(column), family.fisher(column)
    return np.stack([c.flatten().numpy() for c in curves])


def one_function():
    """A, its slope and its bend, of Bernoulli and Poisson labels (T16, T17)."""
    columns = (
        (Bernoulli(), np.linspace(-5, 5, 101), np.array([-3.0, 0.0, 2.0])),
        (Poisson(), np.linspace(-3, 1.6, 93), np.array([-2.0, 0.0, 1.2])),
    )
    ticks = (-4, -2, 0, 2, 4), (-3, -2, -1, 0, 1)
    titles = "label 0 or 1, $z$ its logit", "a count, $z$ its log rate"
    names = ("$A(z)$", "slope:\nmean label", "bend: variance,\nFisher information")
    colors = "black", PURPLE, BLUE

    def draw(canvas):
        # A fixed layout: the solver's last bits differ from run to run on this grid.
        canvas.set_layout_engine("none")
        panels = canvas.subplots(
            3, 2, sharex="col", height_ratios=(1.3, 1, 1),
            gridspec_kw={"left": 0.15, "right": 0.985, "bottom": 0.09, "top": 0.945,
                         "hspace": 0.12, "wspace": 0.16},
        )  # fmt: skip
        for j, (family, z, marks) in enumerate(columns):
            curves, points = (partition_curves(family, v) for v in (z, marks))
            half = 0.13 * (z[-1] - z[0])
            for i, axes in enumerate(panels[:, j]):
                axes.plot(
                    np.round(z, 6), six_digits(curves[i]), color=colors[i], linewidth=2
                )
                for x in marks:
                    axes.axvline(x, color=GREY, linewidth=0.5)
                axes.plot(marks, six_digits(points[i]), "o", color=colors[i], ms=4)
                axes.set_ylim(-0.06 * curves[i].max(), 1.1 * curves[i].max())
            for x, height, slope in zip(marks, *points[:2], strict=True):
                run = np.array([-half, half])
                panels[0, j].plot(
                    x + run, six_digits(height + slope * run), color=PURPLE,
                    linewidth=1.2, zorder=3,
                )  # fmt: skip
            panels[0, j].set_title(titles[j], fontsize=9)
            panels[2, j].set_xlabel("$z$")
            panels[2, j].set_xticks(ticks[j])
        for axes, name, color in zip(panels[:, 0], names, colors, strict=True):
            axes.set_ylabel(name, color=color)
            axes.yaxis.set_label_coords(-0.2, 0.5)

    return drawing(draw, (4.9, 4.6))


def simplex_grid(steps=8):
    """Inner points (M, 3) of a regular grid on the triangle of probabilities."""
    rows = [(i, j, steps - i - j) for i in range(1, steps) for j in range(1, steps - i)]
    return np.array(rows) / steps


def label_spread(p):
    """Covariance (2, 2) of the corner at which a label drawn from p lies (T17)."""
    fisher = Categorical().fisher(np.log(np.asarray(p))[None])[0].numpy()
    return CORNERS @ fisher @ CORNERS.T


def triangle_of_labels(scale=0.085):
    """tr Lambda over the triangle, and Lambda as an ellipse at some points (T17)."""
    fine = np.array([(i, j, 90 - i - j) for i in range(91) for j in range(91 - i)]) / 90
    trace = six_digits(1 - (fine**2).sum(1))
    where = six_digits((fine @ CORNERS.T).ravel()).reshape(-1, 2).T
    angle = np.linspace(0, 2 * np.pi, 61)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    levels = np.array([0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.67])

    def draw(canvas):
        axes = canvas.add_subplot(aspect="equal")
        filled = axes.tricontourf(*where, trace, levels=levels, cmap="Blues", vmax=0.95)
        edge = CORNERS[:, [0, 1, 2, 0]]
        axes.plot(*edge, color=GREY, linewidth=0.8)
        for p in simplex_grid():
            root = np.linalg.cholesky(label_spread(p))
            ring = (CORNERS @ p)[:, None] + scale * root @ circle
            axes.plot(
                *six_digits(ring.ravel()).reshape(2, -1), color=ORANGE, linewidth=1.3
            )
            axes.plot(*six_digits(CORNERS @ p), ".", color="black", markersize=2.5)
        places = ((-0.03, -0.02, "right"), (1.03, -0.02, "left"), (0.5, 0.9, "center"))
        for c, (x, y, side) in enumerate(places, 1):
            write(axes, x, y, f"label {c}", ha=side)
        bar = canvas.colorbar(filled, ax=axes, shrink=0.8, ticks=levels[:-1])
        bar.set_label(r"$\mathrm{tr}\,\nabla^2\!A=1-\Vert p\Vert^2$")
        axes.set_xlim(-0.24, 1.24)
        axes.axis("off")

    return drawing(draw, (4.9, 3.2))


class Link(nn.Module):
    """The logit of p(y=1) at eta = x + b, b = 0 the only parameter."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.b = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        eta = x + self.b
        if self.name == "logit":
            return eta
        return torch.log(torch.erfc(-eta / 2**0.5) / torch.erfc(eta / 2**0.5))


def link_curves(eta):
    """Observed information of labels 1 and 0, and F, (3, M): a dict by link (T18)."""
    column = torch.as_tensor(np.asarray(eta, dtype=float))[:, None]
    found = {}
    for name in ("logit", "probit"):
        model, family = Link(name), Bernoulli()
        one, zero = (
            observed_information(model, column, y * torch.ones_like(column), family)
            for y in (1, 0)
        )
        roots = network_roots(model, column, family).dense()
        curves = [one, zero, roots.square()]
        found[name] = np.stack([c.flatten().numpy() for c in curves])
    return found


def two_links():
    """Observed and Fisher information of logit and probit regression (T18)."""
    eta = np.round(np.linspace(-3.5, 3.5, 57), 6)
    curves = link_curves(eta)
    texts = {
        "logit": ((0, 0.29, "$y=1$, $y=0$ and $F$:\none curve", BLUE, "center"),),
        "probit": (
            (-1.0, 0.93, "$y=1$", PURPLE, "right"),
            (1.0, 0.93, "$y=0$", ORANGE, "left"),
            (0, 0.45, "$F$", BLUE, "center"),
        ),
    }

    def draw(canvas):
        both = canvas.subplots(1, 2, sharex=True, sharey=True)
        for axes, (name, (one, zero, fisher)) in zip(both, curves.items(), strict=True):
            axes.plot(eta, six_digits(fisher), color=BLUE, linewidth=2.4)
            dashes = {"linewidth": 1.3}
            if name == "logit":
                dashes = {"linewidth": 1.3, "linestyle": (0, (3, 3))}
            axes.plot(eta, six_digits(one), color=PURPLE, **dashes)
            if name == "probit":
                axes.plot(eta, six_digits(zero), color=ORANGE, **dashes)
            axes.set_title(f"{name} link", fontsize=9)
            axes.set_xlabel(r"$\eta=\boldsymbol{\theta}^\top\boldsymbol{x}$")
            axes.set_ylim(0, 1.08)
            for x, y, text, color, side in texts[name]:
                write(axes, x, y, text, color, side)
        both[0].set_ylabel("curvature of one label")

    return drawing(draw, (4.9, 2.7))


def gains(mean, spread):
    """Exact IG of labels 0 and 1, exact EIG, and the approximation, (4,) nats (T19)."""
    exact = exact_gains(mean, spread)
    _, roots, post = laplace_parts(mean, spread)
    return np.array(
        [*exact, share(mean, spread) @ exact, float(information.eig(roots, post)[0])]
    )


def share(mean, spread):
    """p(y) of labels 0 and 1 (2,), integrated over theta ~ N(mean, spread^2)."""
    u = np.linspace(-12, 12, 4001)
    weight = np.exp(-(u**2) / 2)
    one = weight @ (1 / (1 + np.exp(-mean - spread * u))) / weight.sum()
    return np.array([1 - one, one])


def four_gains(mean=1.0):
    """`gains` against the width of the prior (T19)."""
    spreads = np.round(np.linspace(0.1, 6, 45), 6)
    zero, one, eig, approximate = np.array([gains(mean, s) for s in spreads]).T
    lines = (
        (
            approximate,
            BLUE,
            {"linewidth": 2},
            "approximation,\nthe same for all",
            4.0,
            0.57,
        ),
        (zero, ORANGE, {"linewidth": 1.4}, "IG, $y=0$", 6.08, 0.522),
        (eig, "black", {"linewidth": 1.4}, "EIG", 6.08, 0.47),
        (one, PURPLE, {"linewidth": 1.4}, "IG, $y=1$", 6.08, 0.417),
    )

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.axvline(2, color=GREY, linewidth=0.6)
        for values, color, style, label, x, y in lines:
            axes.plot(spreads, six_digits(values), color=color, **style)
            write(axes, x, y, label, color)
        axes.plot([0.1, 6], [math.log(2)] * 2, color=GREY, **THIN_DASHES)
        write(axes, 0.2, math.log(2) + 0.01, "log 2", GREY)
        axes.set_xlim(0.1, 7.2)
        axes.set_ylim(-0.03, 0.78)
        axes.set_xlabel("standard deviation of the prior")
        axes.set_ylabel("information gain (nats)")

    return drawing(draw, (4.8, 3.2))


def example_network():
    """The network and the input of the chapter: D = 21, three classes."""
    waves = torch.arange(1, 28, dtype=torch.float64).square().cos()
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    nn.utils.vector_to_parameters(2 * waves[:21], model.parameters())
    return model, waves[21:23][None]


def spectra():
    """Eigenvalues (21,) of the Hessians of three labels, and of their mean (T20)."""
    model, x = example_network()
    observed = observed_information(model, x.expand(3, -1), torch.arange(3))
    roots = network_roots(model, x).dense()[0]
    matrices = [*observed, roots.mT @ roots]
    return np.stack([torch.linalg.eigvalsh(m).numpy() for m in matrices])


def four_spectra():
    """`spectra`, one row a matrix (T20)."""
    values = spectra()
    model, x = example_network()
    p = torch.softmax(model(x)[0], 0).tolist()
    names = [f"label {c}\n(p = {p[c]:.2f})" for c in range(3)] + ["Gauss-\nNewton"]

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.axvline(0, color=GREY, linewidth=0.7)
        for row, spectrum in enumerate(values):
            spectrum = np.where(np.abs(spectrum) < 1e-9, 0.0, spectrum)
            for sign, color in (
                (-1, ORANGE),
                (0, GREY),
                (1, BLUE if row == 3 else GREEN),
            ):
                some = six_digits(spectrum[np.sign(spectrum) == sign])
                axes.plot(
                    some, np.full(len(some), row), "o", color=color, markersize=5,
                    markerfacecolor="none" if sign == 0 else color,
                )  # fmt: skip
        axes.set_yticks(range(4), names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(3.5, -0.5)
        axes.set_xscale("symlog", linthresh=0.01)
        axes.set_xlim(-4, 4)
        ticks = (-1, -0.1, -0.01, 0, 0.01, 0.1, 1)
        axes.set_xticks(ticks, [f"{t:g}".replace("-", "\N{MINUS SIGN}") for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("eigenvalues")

    return drawing(draw, (4.8, 2.6))

"""Pictures of methods at work: one pool, every method; ensembles for posteriors."""

import numpy as np
import torch

from companion.claims import one_thread
from companion.pictures.drawing import *
from fimlib import information, registry
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

SIZES = (2, 5, 10, 20, 50, 100, 300, 1000)
BATCHES = (1, 8, 32)
# Where a label stands from its mark: right and up, and its alignment.
_PLACES = {
    "JEPIG log det, greedy": (-0.012, 0.022, "right"),
    "BAIT, about the targets": (0.014, -0.028, "left"),
    "LogDetMI, lengths kept": (-0.012, 0.02, "right"),
    "BAIT": (-0.012, 0.018, "right"),
    "EIG log det, greedy": (0.08, 0.066, "right"),
    "BatchBALD": (0.012, -0.022, "left"),
    "ACS-FW": (0.012, -0.022, "left"),
    "k-DPP": (-0.012, 0.024, "right"),
    "LCMD": (-0.042, 0.007, "right"),
    "Core-Set": (-0.042, -0.014, "right"),
    "BADGE": (0.012, -0.024, "left"),
    "EPIG log det": (0.012, -0.024, "left"),
    "SIMILAR LogDet": (0.012, -0.022, "left"),
    "random": (0.012, -0.022, "left"),
    "EIG trace": (0.038, -0.022, "left"),
    "EGL": (0.012, -0.026, "left"),
}
_COLORS = {"EIG": BLUE, "CG": BLUE, "JEPIG": ORANGE, "CMI": ORANGE, "EPIG": GREEN}


def awkward_pool(seed):
    """A pool of near-copies, and a linear classifier of three classes.

    weight: (3, 6); pool: (120, 6), ten near-copies of each of twelve inputs; train:
    (24, 6); evals: (24, 6), which use two of six features; and the generator.
    """
    rng = np.random.default_rng(seed)
    weight = 0.5 * rng.standard_normal((3, 6))
    length = np.exp(rng.standard_normal((12, 1, 1)) / 2)
    centres = 1.5 * length * rng.standard_normal((12, 1, 6))
    copies = centres + 0.1 * rng.standard_normal((12, 10, 6))
    train = rng.standard_normal((24, 6))
    evals = rng.standard_normal((24, 6)) * [1, 1, 0, 0, 0, 0]
    return weight, copies.reshape(120, 6), train, evals, rng


def attained(batches, roots, eval_roots, post):
    """What each method's batch is worth: {name: (EIG, JEPIG)} in nats, by log det.

    batches: {name: index tensor (K,), or a list of them for a method that samples, of
    which the mean is taken}.
    """
    precision = post.precision
    known = precision + eval_roots.fisher_sum()

    def worth(indices):
        fisher = roots[indices].fisher_sum()
        now, then = (
            float(torch.logdet(p + fisher) - torch.logdet(p)) / 2
            for p in (precision, known)
        )
        return now, now - then

    found = {}
    with one_thread():
        for name, drawn in batches.items():
            drawn = drawn if isinstance(drawn, list) else [drawn]
            found[name] = tuple(np.mean([worth(i) for i in drawn], axis=0))
    return found


def side_by_side(shares):
    """EIG and JEPIG of every method's batches, as shares of the best on each pool.

    shares: {name: (S, 2)}, one row a pool. A mark is the mean, its bars twice the
    standard error. Colours and hollow marks are those of the map.
    """

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.grid()
        for name, each in shares.items():
            x, y = six_digits(np.mean(each, axis=0))
            error = np.std(each, axis=0, ddof=1) / np.sqrt(len(each))
            wide, high = six_digits(2 * error)
            color, filled = _mark(name)
            axes.errorbar([x], [y], high, wide, "o", markersize=6, color=color,
                          elinewidth=0.8, alpha=0.9,
                          markerfacecolor=color if filled else "white")  # fmt: skip
            right, up, side = _PLACES.get(name, (0.012, 0.018, "left"))
            write(axes, x + right, y + up, name, color, side, "center")
        axes.set_xlim(0.4, 1.09)
        axes.set_ylim(0.2, 1.05)
        axes.set_xlabel("EIG of the batch, share of the best")
        axes.set_ylabel("JEPIG of the batch, share of the best")

    return drawing(draw, (5, 5.4))


def _mark(name):
    """Colour of what a method estimates, and whether it keeps the posterior."""
    named = [m for m in registry.methods() if name.startswith(m.name)]
    if not named:
        return GREY, False
    method = named[0]
    if not method.quantities:
        return GREY, method.keeps_posterior
    color = "black" if len(method.quantities) > 1 else _COLORS[method.quantity]
    return color, method.keeps_posterior


def ensemble_shares(sizes=SIZES, batches=BATCHES, repeats=20):
    """Batch EIG of an ensemble's covariance over that of k: (repeats, sizes, batches).

    A linear regression with 40 parameters, theta ~ N(0, I), noise variance 0.1, and 32
    standard normal inputs; an ensemble of L members is L draws of theta.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((max(batches), 40)) / np.sqrt(40)
    whole, scale = GaussianPosterior.isotropic(40, 1.0), np.sqrt(0.1)

    def seen(features, post):
        rows = FisherRoots.from_dense(features / scale)
        return np.array([float(information.batch_eig(rows[:k], post)) for k in batches])

    truth, shares = seen(x, whole), np.empty((repeats, len(sizes), len(batches)))
    for i in range(repeats):
        outputs = rng.standard_normal((max(sizes), 40)) @ x.T
        for j, members in enumerate(sizes):
            some = outputs[:members]
            features = (some - some.mean(0)).T / np.sqrt(members)
            post = GaussianPosterior.isotropic(members, 1.0)
            shares[i, j] = seen(features, post) / truth
    return shares


def growing_ensemble():
    """How much of a batch's EIG an ensemble sees, against its size (T44)."""
    with one_thread():
        shares = ensemble_shares()

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.axhline(1, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
        places = (7, 1.06, "one label"), (3.1, 0.63, "8 labels"), (60, 0.8, "32 labels")
        colors = BLUE, ORANGE, GREEN
        for k, (color, (x, y, label)) in enumerate(zip(colors, places, strict=True)):
            low, middle, high = (
                six_digits(np.quantile(shares[:, :, k], q, axis=0))
                for q in (0.05, 0.5, 0.95)
            )
            axes.fill_between(SIZES, low, high, color=color, alpha=0.15, linewidth=0)
            axes.semilogx(SIZES, middle, "o-", color=color, markersize=3.5)
            write(axes, x, y, label, color)
        axes.set_xlim(2, 1000)
        axes.set_ylim(0, 1.5)
        axes.set_xlabel("members of the ensemble")
        axes.set_ylabel("batch EIG seen, share of the true one")

    return drawing(draw, (4.8, 3.4))

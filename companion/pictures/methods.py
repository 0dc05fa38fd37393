"""Pictures of methods at work: one pool, every method; ensembles for posteriors."""

import numpy as np

from companion.claims import one_thread
from companion.pictures.drawing import *
from fimlib import information, registry
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

SIZES = (2, 5, 10, 20, 50, 100, 300, 1000)
BATCHES = (1, 8, 32)
# Where a label stands beside its mark: its side's alignment, and how far up.
_PLACES = {
    "JEPIG log det, greedy": ("right", 0.005),
    "LogDetMI": ("right", 0.0),
    "SIMILAR LogDet": ("right", 0.0),
    "BADGE": ("right", 0.0),
    "BatchBALD": ("right", 0.008),
    "EIG log det, greedy": ("right", -0.012),
    "LCMD": ("left", 0.012),
    "Core-Set": ("left", -0.018),
    "random": ("left", 0.024),
    "EPIG log det": ("right", 0.0),
    "EIG log det, top-k": ("left", 0.042),
    "EIG trace": ("left", 0.004),
    "EGL": ("left", -0.034),
}
_COLORS = {"EIG": BLUE, "CG": BLUE, "JEPIG": ORANGE, "CMI": ORANGE, "EPIG": GREEN}


def attained(batches, roots, eval_roots, post):
    """What each method's batch is worth: {name: (EIG, JEPIG)} in nats, by log det.

    batches: {name: index tensor (K,), or a list of them for a method that samples, of
    which the mean is taken}.
    """
    known = post.update(eval_roots)

    def worth(indices):
        now, then = (
            float(information.batch_eig(roots[indices], p)) for p in (post, known)
        )
        return now, now - then

    found = {}
    with one_thread():
        for name, drawn in batches.items():
            drawn = drawn if isinstance(drawn, list) else [drawn]
            found[name] = tuple(np.mean([worth(i) for i in drawn], axis=0))
    return found


def side_by_side(found):
    """EIG and JEPIG of every method's batch, as shares of the best found.

    found: as `attained` returns it. Colours and hollow marks are those of the map.
    """
    best = np.max(list(found.values()), axis=0)

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.grid()
        for name, nats in found.items():
            x, y = six_digits(np.array(nats) / best)
            color, filled = _mark(name)
            axes.plot([x], [y], "o", markersize=6.5, color=color,
                      markerfacecolor=color if filled else "white")  # fmt: skip
            side, up = _PLACES.get(name, ("left", 0))
            shift = 0.018 if side == "left" else -0.018
            write(axes, x + shift, y + up, name, color, side, "center")
        axes.set_xlim(0.3, 1.04)
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("EIG of the batch, share of the best")
        axes.set_ylabel("JEPIG of the batch, share of the best")

    return drawing(draw, (4.9, 4.9))


def _mark(name):
    """Colour of what a method estimates, and whether it keeps the posterior."""
    named = [m for m in registry.methods() if name.startswith(m.name)]
    if not named or not named[0].quantities:
        return GREY, False
    method = named[0]
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

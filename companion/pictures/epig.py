"""The pictures of the chapter on predictive information, computed when drawn."""

import math

import numpy as np

from companion.pictures.drawing import *
from fimlib import information
from fimlib.blr import BayesianLinearRegression
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def display_and_epig(x):
    """EPIG and the talk's right-hand side, (2, M), for theta ~ N(0, 1) (T27).

    Noise variance 1, one evaluation input x_e = 1, candidates x (M,). With one
    evaluation input the right-hand side *is* what is left to learn.
    """
    x = np.asarray(x, dtype=float)[:, None]
    blr = BayesianLinearRegression([0.0], [[1.0]], 1.0)
    roots, target = FisherRoots.from_dense(x), FisherRoots.from_dense([[1.0]])
    post = GaussianPosterior.isotropic(1, 1.0)
    right = information.epig_proxy(roots, target, post)
    return np.stack([blr.epig(x, [[1.0]]).numpy(), right.numpy()])


def falling_display():
    """`display_and_epig` as the candidate moves out (T26, T27)."""
    x = np.round(np.linspace(0, 10, 201), 6)
    epig, right = (six_digits(values) for values in display_and_epig(x))

    def draw(canvas):
        axes = canvas.add_subplot()
        total = round(math.log(2) / 2, 6)
        axes.axhline(total, color=GREY, **THIN_DASHES)
        axes.plot(x, epig, color=BLUE, linewidth=1.8)
        axes.plot(x, right, color=ORANGE, linewidth=1.8)
        write(
            axes, 10, total + 0.006, "all there is to learn: their sum", GREY, "right"
        )
        write(axes, 10, 0.318, "EPIG", BLUE, "right", "top")
        write(axes, 10, 0.022, "the talk's right-hand side", ORANGE, "right")
        for values, color in ((epig, BLUE), (right, ORANGE)):
            axes.plot([10], [values[-1]], "o", color=color, markersize=5, clip_on=False)
            write(axes, 10.2, values[-1], f"{values[-1]:.3f}", color, va="center")
        axes.set_xlim(0, 10)
        axes.set_ylim(0, 0.39)
        axes.set_xlabel("candidate $x$, against an evaluation input at 1")
        axes.set_ylabel("nats")

    return drawing(draw, (4.8, 3.1))


def sandwich(roots, eval_roots, post):
    """EPIG between two bounds that are one display and two constants (T27, T50)."""
    found = information.scores(roots, post, eval_roots, pairwise=True)
    order = found["epig_log_det"].argsort(stable=True)
    epig, upper = (found[k][order].numpy() for k in ("epig_log_det", "epig_upper"))
    start = float(information.eig(eval_roots, post).mean())
    lower = start - found["epig_proxy_log_det"][order].numpy()
    rank = np.arange(1, len(epig) + 1)

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.axhline(0, color=GREY, linewidth=0.7)
        lines = (
            (upper, GREEN, "EPIG upper"),
            (epig, BLUE, "EPIG"),
            (lower, ORANGE, "lower\nbound"),
        )
        for values, color, label in lines:
            values = six_digits(values)
            axes.plot(rank, values, ".-", color=color, linewidth=1.0, markersize=4)
            write(axes, len(rank) + 1.5, values[-1], label, color, va="center")
        axes.set_xlim(0, len(rank) + 1)
        axes.set_xlabel("candidates, by EPIG")
        axes.set_ylabel("nats")

    return drawing(draw, (4.8, 3.4))


def score_chain(roots, eval_roots, post):
    """EPIG <= EPIG upper <= JEPIG <= EIG over a pool, sorted by EPIG (T50)."""
    found = information.scores(roots, post, eval_roots, pairwise=True)
    order = found["epig_log_det"].argsort(stable=True)
    rank = np.arange(1, len(order) + 1)
    lines = (
        ("eig_log_det", GREY, "EIG", 1.25),
        ("jepig_log_det", PURPLE, "JEPIG", 0.75),
        ("epig_upper", GREEN, "EPIG upper", 1.25),
        ("epig_log_det", BLUE, "EPIG", 0.75),
    )

    def draw(canvas):
        axes = canvas.add_subplot()
        for name, color, label, place in lines:
            values = six_digits(found[name][order])
            axes.semilogy(rank, values, ".-", color=color, linewidth=1.0, markersize=4)
            height = np.exp(np.log(values[-9:]).mean()) * place
            write(axes, len(rank) + 1.5, height, label, color, va="center")
        axes.set_xlim(0, len(rank) + 1)
        axes.set_xlabel("candidates, by EPIG")
        axes.set_ylabel("score (nats)")

    return drawing(draw, (4.9, 3.6))


def information_shares(directions=5, sizes=SIZES, count=200):
    """JEPIG / EIG and EPIG / EIG, (2, sizes, M), as evaluation inputs are added (T3).

    Five features, Sigma = I, noise variance 1, all inputs standard normal; of the
    evaluation inputs only the first `directions` features are not zero.
    """
    rng = np.random.default_rng(0)
    blr = BayesianLinearRegression(np.zeros(5), np.eye(5), 1.0)
    x, x_eval = (rng.standard_normal((n, 5)) for n in (count, max(sizes)))
    x_eval[:, directions:] = 0
    eig = blr.eig(x)
    scores = blr.jepig, blr.epig
    return np.array([[(f(x, x_eval[:n]) / eig).numpy() for n in sizes] for f in scores])


def growing_evaluation_set():
    """JEPIG and EPIG as shares of EIG, for two kinds of evaluation inputs (T3)."""
    alike, few = information_shares(5), information_shares(2)
    sizes = np.array(SIZES)

    def draw(canvas):
        axes = canvas.add_subplot()
        axes.axhline(1, color=GREY, **THIN_DASHES)
        curves = (
            (alike[0], PURPLE, "-"),
            (few[0], PURPLE, (0, (5, 2))),
            (alike[1], BLUE, "-"),
        )
        for values, color, style in curves:
            low, middle, high = (
                six_digits(np.quantile(values, q, axis=1)) for q in (0.05, 0.5, 0.95)
            )
            if style == "-":
                axes.fill_between(
                    sizes, low, high, color=color, alpha=0.15, linewidth=0
                )
            axes.semilogx(sizes, middle, color=color, linestyle=style, linewidth=1.8)
        write(axes, 2000, 1.02, "EIG", GREY, "right")
        write(
            axes, 90, 0.86, "JEPIG, evaluation\ninputs like the pool", PURPLE, va="top"
        )
        write(axes, 90, 0.32, "JEPIG, two of five\nfeatures used", PURPLE)
        write(axes, 2000, 0.133, "EPIG, inputs like the pool", BLUE, "right")
        axes.set_xlim(1, 2000)
        axes.set_ylim(0, 1.1)
        axes.set_xlabel("evaluation inputs")
        axes.set_ylabel("share of EIG")

    return drawing(draw, (4.8, 3.3))


def gains_after_copies(copies):
    """JEPIG and EIG of b = (-1, 2) after `copies` labels at a = (2, 0), () each (T49).

    P = I_2, noise variance 1, evaluation input u = (2, 2).
    """
    evals, b = (FisherRoots.from_dense([v]) for v in ([2.0, 2.0], [-1.0, 2.0]))
    post = GaussianPosterior.isotropic(2, 1.0)
    if copies:
        post = post.update(FisherRoots.from_dense([[2.0, 0.0]] * copies))
    jepig = float(information.jepig(b, evals, post)[0])
    return jepig, float(information.eig(b, post)[0])


def rising_gain():
    """Why a point is worth more after another one, and how much (T49)."""
    u, b, a = np.array([2.0, 2.0]), np.array([-1.0, 2.0]), np.array([2.0, 0.0])
    prior = BayesianLinearRegression([0.0, 0.0], np.eye(2), 1.0)
    models = prior, prior.condition(a[None], [0.0])
    labels = np.stack([b, u])
    copies = np.arange(7)
    jepig, eig = (
        six_digits(np.ravel([gains_after_copies(k) for k in copies])).reshape(-1, 2).T
    )

    def draw(canvas):
        left, right = canvas.subplots(1, 2, width_ratios=(1, 1.15))
        names = "before $a$", "after $a$"
        for model, color, name in zip(models, (GREY, BLUE), names, strict=True):
            joint = labels @ model.covariance.numpy() @ labels.T + np.eye(2)
            rho = joint[0, 1] / math.sqrt(joint[0, 0] * joint[1, 1])
            angle = np.linspace(0, 2 * np.pi, 181)
            points = np.linalg.cholesky(joint) @ [np.cos(angle), np.sin(angle)]
            points = six_digits(points.ravel()).reshape(2, -1)
            left.plot(*points, color=color, linewidth=1.6)
            y, va = (3.3, "bottom") if color == GREY else (-3.4, "top")
            write(left, 0, y, f"{name}:\ncorrelation {rho:.2f}", color, "center", va)
        left.set_aspect("equal")
        left.set_xlim(-3.2, 3.2)
        left.set_ylim(-5.1, 5.1)
        left.set_xticks([])
        left.set_yticks([])
        left.set_xlabel("label of $b$")
        left.set_ylabel("evaluation label")
        right.plot(copies, eig, "o-", color=GREY, linewidth=1.4, markersize=4)
        right.plot(copies, jepig, "o-", color=PURPLE, linewidth=1.4, markersize=4)
        write(right, 6, eig[-1] - 0.03, "EIG: falls", GREY, "right", "top")
        write(right, 6, jepig[-1] - 0.05, "JEPIG: rises", PURPLE, "right", "top")
        right.set_ylim(0, 1)
        right.set_xticks(copies[::2])
        right.set_xlabel("labels at $a$ before")
        right.set_ylabel("gain of $b$ (nats)")

    return drawing(draw, (4.9, 3.2))

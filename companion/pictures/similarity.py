"""The pictures of the chapter on similarity matrices, computed when drawn."""

import math

import numpy as np

from companion.pictures.drawing import *
from fimlib import information, similarity
from fimlib.families import Categorical
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

PALE, PALE_GREY = "#cfe3f1", "#eeeeee"


# --- two gradients, and what they share ----------------------------------------------


def at_angle(degrees, length=2.0):
    """A pair of gradients (2, 2) of this length and angle, the first along the axis."""
    turn = math.radians(degrees)
    return length * np.array([[1.0, 0.0], [math.cos(turn), math.sin(turn)]])


def parallelograms():
    """Three pairs of gradients, their area, and their similarity matrices (T30)."""
    panels = (90, "at right angles"), (30, "alike"), (150, "one turned round")

    def draw(canvas):
        top, bottom = canvas.subplots(
            2, 3, height_ratios=(1, 1.15), width_ratios=(2.8, 4.1, 4.1)
        )
        for axes, cells, (degrees, name) in zip(top, bottom, panels, strict=True):
            rows = at_angle(degrees)
            _parallelogram(axes, rows)
            axes.set_title(name, fontsize=9)
            _numbers(cells, similarity.similarity_matrix(rows).numpy())
            distance = math.sqrt(((rows[0] - rows[1]) ** 2).sum())
            area = np.linalg.det(rows)
            text = f"$\\det S={area**2:.0f}$\ndistance {distance:.1f}"
            write(cells, 1, 2.1, text, ha="center", va="top")
        write(top[0], 1, 1, "area²\n= $\\det S$", BLUE, "center", "center")

    return drawing(draw, (4.9, 3.2))


def _parallelogram(axes, rows):
    corners = np.array([[0, 0], rows[0], rows.sum(0), rows[1]])
    # Clipped, it would be named after the last bit of the layout.
    axes.fill(*corners.T, color=PALE, linewidth=0, clip_on=False)
    for row, color in zip(rows, (BLUE, ORANGE), strict=True):
        _arrow(axes, (0, 0), row, color)
    axes.set_aspect("equal")
    middle = (corners[:, 0].min() + corners[:, 0].max()) / 2
    half = 1.4 if rows[1, 1] > 1.5 else 2.05  # one scale for all: see width_ratios
    axes.set_xlim(middle - half, middle + half)
    axes.set_ylim(-0.15, 2.15)
    axes.axis("off")


def _arrow(axes, start, end, color, width=1.6):
    style = {"arrowstyle": "-|>", "lw": width, "color": color}
    style |= {"shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def _numbers(axes, matrix):
    """A small matrix as coloured cells with their numbers."""
    axes.pcolormesh(
        np.round(matrix, 6), cmap="PuOr", vmin=-8, vmax=8, edgecolors="white",
        linewidth=1.5, clip_on=False,
    )  # fmt: skip
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            text = f"{abs(value):.1f}".rstrip("0").rstrip(".")
            sign = "−" if value < -1e-9 else ""
            write(axes, j + 0.5, i + 0.5, sign + text, ha="center", va="center")
    axes.set_aspect("equal")
    axes.set_xlim(-0.2, 2.2)
    axes.set_ylim(3.2, 0)
    axes.axis("off")


# --- hard and sampled labels ---------------------------------------------------------

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])


def fisher_ellipse(p, count=121):
    """Points p + u with u' Lambda^+ u = 1, (count, 2), in the plane of the simplex.

    A corner e_y is p - g_y, so that it lies inside if and only if g_y g_y' <= Lambda,
    that is, if p_y >= 1/2 (T31).
    """
    root = Categorical().fisher_root(np.log([p]))[0].numpy()
    angle = np.linspace(0, 2 * np.pi, count)
    return (np.asarray(p) + (root @ [np.cos(angle), np.sin(angle)]).T) @ CORNERS


def labels_on_the_simplex():
    """Gradients of the three labels against the ellipse of Fisher information (T31)."""
    panels = (
        ((0.6, 0.3, 0.1), "inside:\n$gg^\\top$ is not more than $\\Lambda$"),
        ((0.4, 0.35, 0.25), "outside:\n$gg^\\top$ is more along $v$"),
    )

    def draw(canvas):
        for axes, (p, verdict) in zip(canvas.subplots(1, 2), panels, strict=True):
            _simplex(axes)
            ellipse = six_digits(fisher_ellipse(p).ravel()).reshape(-1, 2)
            axes.plot(*ellipse.T, color=BLUE, linewidth=1.6)
            here = np.asarray(p) @ CORNERS
            for label, (share, corner) in enumerate(zip(p, CORNERS, strict=True)):
                hard = label == int(np.argmax(p))
                color = ORANGE if hard else GREY
                _arrow(axes, here, corner, color, 0.6 + 2.2 * share)
            axes.plot(*here, "o", color="black", markersize=4)
            axes.set_title(f"$p=$({', '.join(map(str, p))})", fontsize=9)
            text = f"the hard label, 1, is {verdict}"
            write(axes, 0.5, -0.3, text, ORANGE, "center", "top")
        left = canvas.axes[0]
        write(left, 0.7, 0.68, r"$p_3\geq\frac{1}{2}$", GREY)

    return drawing(draw, (4.9, 2.9))


def _simplex(axes):
    closed = np.vstack([CORNERS, CORNERS[:1]])
    axes.plot(*closed.T, color=GREY, linewidth=0.8)
    for c in range(3):
        # Where p_c >= 1/2: the corner and the two midpoints next to it.
        near = [(CORNERS[c] + CORNERS[d]) / 2 for d in range(3)]
        axes.fill(*np.array(near).T, color=PALE_GREY, linewidth=0)
    places = (-0.12, -0.06, "right"), (1.12, -0.06, "left"), (0.5, 0.9, "center")
    for c, (x, y, ha) in enumerate(places):
        write(axes, x, y, str(c + 1), GREY, ha, "bottom" if c == 2 else "top")
    axes.set_aspect("equal")
    axes.set_xlim(-0.35, 1.35)
    axes.set_ylim(-0.65, 1.05)
    axes.axis("off")


# --- a prior that knows nothing ------------------------------------------------------

# Eigenvalues of S that are not zero, of three batches of three gradients.
BATCHES = {"A": (1.0, 1.0, 1.0), "B": (25.0, 25.0), "C": (40.0, 0.1, 0.01)}


def eig_of_prior(values, prior_precisions):
    """EIG (n,) of a batch with these eigenvalues of S under P = lambda I (T32)."""
    rows = FisherRoots.from_dense(np.diag(np.sqrt(values)))
    size = len(values)
    return np.array(
        [
            float(information.batch_eig(rows, GaussianPosterior.isotropic(size, lam)))
            for lam in prior_precisions
        ]
    )


def vanishing_prior():
    """EIG of three batches as the prior precision goes to zero (T32)."""
    lams = six_digits(np.logspace(3, -6, 91))
    small = lams[lams < 1]

    def draw(canvas):
        axes = canvas.add_subplot()
        for (name, values), color in zip(
            BATCHES.items(), (GREEN, ORANGE, PURPLE), strict=True
        ):
            eig = six_digits(eig_of_prior(values, lams))
            kernel = np.diag(values)
            series = six_digits(
                [similarity.eig_small_prior(kernel, lam, order=0) for lam in small]
            )
            axes.semilogx(small, series, color=color, **THIN_DASHES)
            axes.semilogx(lams, eig, color=color, linewidth=1.8)
            text = f"{name}: {', '.join(f'{v:g}' for v in values)}"
            write(axes, 6e-7, eig[-1], text, color, va="center")
        axes.set_xlim(1e3, 1e-6)
        axes.set_ylim(-3, 22)
        axes.set_xlabel(r"prior precision $\lambda$, falling")
        axes.set_ylabel("EIG of the batch (nats)")

    return drawing(draw, (4.9, 3.4))


# --- distance to a point, distance to the span ---------------------------------------

POINTS = {"a": (2.0, 0.0), "b": (-1.9, 0.0), "c": (0.0, 1.0)}


def squared_distances(degrees, length=1.9):
    """(to the point a, to the span of a), (2, n), of a gradient at these angles (T33).

    a = (2, 0); the second is the factor by which it multiplies det S_a = 4.
    """
    turn = np.radians(degrees)
    rows = length * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    point = ((rows - [2.0, 0.0]) ** 2).sum(1)
    kernels = [similarity.similarity_matrix(np.array([[2.0, 0.0], r])) for r in rows]
    span = np.array([float(np.linalg.det(k.numpy())) / 4 for k in kernels])
    return np.stack([point, span])


def point_and_span():
    """What BADGE looks at, and what a determinant looks at (T33)."""
    degrees = np.linspace(0, 180, 91)
    to_point, to_span = (six_digits(v) for v in squared_distances(degrees).round(9))

    def draw(canvas):
        top, bottom = canvas.subplots(2, 1, height_ratios=(1, 1.25))
        _distances_of_points(top)
        bottom.plot(degrees, to_point, color=ORANGE, linewidth=1.8)
        bottom.plot(degrees, to_span, color=GREEN, linewidth=1.8)
        for values, color in ((to_point, ORANGE), (to_span, GREEN)):
            bottom.plot([180], values[-1:], "o", color=color, clip_on=False)
        write(bottom, 184, to_point[-1], "$b$", GREY, va="center")
        write(bottom, 184, 0, "$b$", GREY, va="center")
        write(bottom, 112, 12.3, "to $a$: BADGE", ORANGE, "right")
        write(bottom, 98, 3.9, "to the span of $a$: log det", GREEN)
        bottom.set_xticks([0, 45, 90, 135, 180], ["0°", "45°", "90°", "135°", "180°"])
        bottom.set_xlim(0, 180)
        bottom.set_ylim(0, 16)
        bottom.set_xlabel("angle to $a$ of a gradient of length 1.9")
        bottom.set_ylabel("squared distance")

    return drawing(draw, (4.8, 4.6))


def _distances_of_points(axes):
    a, b, c = (np.array(p) for p in POINTS.values())
    axes.axhline(0, color=GREEN, **THIN_DASHES)
    axes.plot(*np.stack([a, c]).T, color=ORANGE, linewidth=1.2)
    style = {"arrowstyle": "<->", "color": ORANGE, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=b - [0, 0.3], xytext=a - [0, 0.3], arrowprops=style)
    for (name, point), color in zip(POINTS.items(), (BLUE, GREY, GREY), strict=True):
        _arrow(axes, (0, 0), point, color)
        side = {"a": (0.14, 0.06), "b": (-0.14, 0.06), "c": (0, 0.08)}[name]
        write(axes, *(np.array(point) + side), f"${name}$", color, "center")
    share = 3.9**2 / (3.9**2 + 5)
    write(axes, 0, -0.38, f"distance 3.9: drawn with {share:.3f}", ORANGE,
          "center", "top")  # fmt: skip
    write(axes, 1.1, 0.62, f"2.2: drawn with {1 - share:.3f}", ORANGE)
    write(axes, -0.12, 0.5, "1 from the span", GREEN, "right")
    write(axes, -1.1, 0.08, "0 from the span", GREEN, "center")
    axes.set_aspect("equal")
    axes.set_xlim(-2.4, 2.9)
    axes.set_ylim(-0.75, 1.4)
    axes.axis("off")


# --- angles --------------------------------------------------------------------------


def jepig_at_angle(degrees, length, prior_precision):
    """JEPIG (n,) of one gradient about one evaluation gradient of length 1 (T34).

    degrees: the angles between the two; 0 needs a prior precision above zero.
    """
    values = []
    for degree in degrees:
        a, e = at_angle(degree, 1.0)[[1]] * length, at_angle(degree, 1.0)[[0]]
        pairs = (a, a), (a, e), (e, e)
        blocks = [similarity.similarity_matrix(*pair) for pair in pairs]
        value = similarity.log_det_mi(*blocks, jitter=prior_precision)
        values.append(float(value) / 2)
    return np.array(values)


def angles_and_lengths():
    """JEPIG against the angle, for three lengths and two priors (T34)."""
    degrees = np.linspace(0, 90, 61)
    lengths = (10.0, 1.0, 0.3)
    limit = six_digits(-np.log(np.sin(np.radians(degrees[1:]))))

    def draw(canvas):
        panels = canvas.subplots(1, 2, sharey=True)
        canvas.get_layout_engine().set(wspace=0.1)
        for axes, lam in zip(panels, (0.1, 1e-4), strict=True):
            axes.plot(degrees[1:], limit, color="black", **THIN_DASHES)
            for length, color in zip(lengths, (PURPLE, BLUE, GREEN), strict=True):
                values = six_digits(jepig_at_angle(degrees, length, lam).round(9))
                axes.plot(degrees, values, color=color, linewidth=1.8)
            axes.set_xlim(0, 90)
            axes.set_ylim(0, 5)
            axes.set_xticks([0, 45, 90], ["0°", "45°", "90°"])
            axes.set_xlabel("angle of the two gradients")
            axes.set_title(rf"$\lambda={lam:g}$", fontsize=9)
        left = panels[0]
        left.set_ylabel("JEPIG (nats)")
        for i, (length, color) in enumerate(
            zip(lengths, (PURPLE, BLUE, GREEN), strict=True)
        ):
            write(left, 40, 4.3 - 0.4 * i, f"length {length:g}", color)
        for axes in panels:
            write(axes, 17, 1.6, r"$-\log\,\sin\,\varphi$")

    return drawing(draw, (4.9, 3.1))

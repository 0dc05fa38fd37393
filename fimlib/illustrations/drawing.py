"""What the pictures share: colours, lines, and a canvas in the book's style."""

from fimlib.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, STYLE, finish, six_digits

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "THIN_DASHES",
    "drawing",
    "six_digits",
    "write",
]

THIN_DASHES = {"linewidth": 0.9, "linestyle": (0, (4, 3))}


def write(axes, x, y, text, color="black", ha="left", va="bottom"):
    axes.text(x, y, text, color=color, ha=ha, va=va)


def drawing(draw, size):
    """A picture in the book's style; size in inches, narrow enough for a phone."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        canvas = Figure(figsize=size, layout="constrained")
        draw(canvas)
        return finish(canvas)

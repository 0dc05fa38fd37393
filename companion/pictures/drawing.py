"""What every picture of the book is drawn with: the figures' own colours and canvas."""

from fimlib.figures.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    THIN_DASHES,
    drawing,
    six_digits,
    write,
)

__all__ = [
    "BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "THIN_DASHES", "drawing", "six_digits",
    "write",
]  # fmt: skip

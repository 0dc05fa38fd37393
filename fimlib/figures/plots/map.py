"""The map of methods, drawn from the registry.

Columns are information quantities, rows ways of computing them, a method is a card in
the place that its record gives it. Lengths are in points.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.textpath import TextPath

from fimlib import registry
from fimlib.figures.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Drawing,
    drawing,
)
from fimlib.registry import Method

XY = tuple[float, float]
Bands = dict[str, XY]
INK, SOFT, RULE = "#1f2328", "#4d5560", "#b9c0c9"
WIDTH, LEFT, TOP = 540.0, 73.0, 46.0  # of the map; where columns and rows begin
GAP, PAD, CHIP, STRIPE = 4, 4, 6.6, 3  # between cards, inside them; radius; edge
NAME, DETAIL, LEADING = 8.6, 7.9, 1.2
COLUMNS = (  # heading, explanation, quantities, colour, tint
    ("EIG", "about the parameters", ("EIG", "CG"), BLUE, "#e7f0f8"),
    ("JEPIG", "all targets at once", ("JEPIG", "CMI"), ORANGE, "#faece2"),
    ("EPIG", "one target at a time", ("EPIG",), GREEN, "#e4f2ee"),
    ("IG, JPIG, PIG", "label already known", ("IG", "JPIG", "PIG"), PURPLE, "#f4ebf2"),
)
BANDS = {  # name: what stands beside it, and the gutter below it
    "prediction\nspace": ("probabilities\nunder samples", 27),
    "log det": (r"$\frac{1}{2}\log\det(I+FP^{-1})$", 27),
    "trace": (r"$\frac{1}{2}\,\mathrm{tr}\,FP^{-1}$", 44),
    "similarity": ("$S=GG^\\top$: one\ngradient each", 28),
    "none\nknown": ("distances,\ncoverage", 0),
}
PREDICTION, LOG_DET, TRACE, SIMILARITY, NONE = BANDS
BELOW = {"EPIG log det": "≤ by Jensen (T50)"}  # written between a card and the next
CHIPS = {  # matrix: the letter that stands for it, and what a legend calls it
    "samples": ("p", "probabilities"),
    "losses": ("p", "probabilities"),
    "exact Fisher": ("F", "Fisher information"),
    "exact Fisher, mean": (r"\bar F", "its mean over targets"),
    "observed Hessian": ("H", "observed Hessian"),
    "ensemble covariance": (r"\hat k", "covariance of an ensemble"),
    "hard-label gradient": (r"\hat g", "gradient of the hard label"),
    "true-label gradient": ("g", "gradient of the true label"),
    "any similarity S": ("S", "any similarity"),
    "features": (r"\phi", "features"),
    "gradient features": (r"\phi", "features"),
}


@functools.cache
def text_width(text: str, size: float, weight: str) -> float:
    """Width of a line of text as it will be drawn."""
    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    return TextPath((0, 0), text, prop=font).get_extents().width


def wrapped(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Lines of `text` no wider than `width`, broken at spaces."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@dataclass(frozen=True)
class Card:
    """A method's rectangle (x, y its upper left corner), and what is written on it."""

    method: Method
    x: float
    y: float
    width: float
    colors: tuple  # of its stripe, from top to bottom

    @property
    def lines(self) -> list[tuple[str, float, str]]:
        """(text, size, weight) of each line: name, form and optimiser, targets."""
        room = 0.96 * (self.width - STRIPE - 3 * PAD - 2 * CHIP)
        said = band_of(self.method) in (LOG_DET, TRACE)
        form = self.method.aggregation
        parts = [] if said and form in ("log det", "trace") else [form]
        detail = ", ".join([*parts, self.method.optimiser])
        name = wrapped(self.method.name, room, NAME, "bold")
        rest = wrapped(detail, room, DETAIL)
        if self.method.targets not in ("none", "any"):
            rest += wrapped(f"→ {self.method.targets}", room, DETAIL)
        return [(x, NAME, "bold") for x in name] + [(x, DETAIL, "normal") for x in rest]

    @property
    def height(self) -> float:
        """What its lines need."""
        return 2 * PAD + LEADING * sum(size for _, size, _ in self.lines)


def band_of(method: Method) -> str:
    """The row of the map that a method belongs to."""
    if not method.quantities:
        return NONE
    if method.space in ("prediction", "similarity"):
        return {"prediction": PREDICTION, "similarity": SIMILARITY}[method.space]
    return LOG_DET if method.aggregation == "log det" else TRACE


def span_of(method: Method) -> tuple[int, int]:
    """First and last column of a method; all of them if it has no quantity."""
    found = [i for i, c in enumerate(COLUMNS) if {*c[2]} & {*method.quantities}]
    return (found[0], found[-1]) if found else (0, len(COLUMNS) - 1)


def edge(column: int) -> float:
    """Left edge of a column."""
    return LEFT + column * (WIDTH - LEFT) / len(COLUMNS)


def layout(methods: Sequence[Method]) -> tuple[list[Card], Bands]:
    """The cards of all methods, and (top, bottom) of each band, from the top down."""
    cards: list[Card] = []
    bands, top = Bands(), TOP
    for band, (_, gutter) in BANDS.items():
        inside = [m for m in methods if band_of(m) == band]
        bottom = top + GAP
        for span in sorted({span_of(m) for m in inside}):
            stack = [m for m in inside if span_of(m) == span]
            new = placed(stack, span, top + GAP)
            cards += new
            bottom = max(bottom, *(c.y + c.height + GAP for c in new))
        bands[band] = (top, bottom)
        top = bottom + gutter
    return cards, bands


def placed(methods: list[Method], span: tuple[int, int], top: float) -> list[Card]:
    """Cards in as many lanes as columns are spanned, each into the shortest lane."""
    first, last = span
    whole = (first, last) == (0, len(COLUMNS) - 1)
    lanes = len(methods) if whole else last - first + 1
    width = (edge(last + 1) - edge(first)) / lanes
    colors = (GREY,) if whole else tuple(c[3] for c in COLUMNS[first : last + 1])
    ends, cards = [top] * lanes, []
    for method in methods:
        i = ends.index(min(ends))
        x = edge(first) + i * width + GAP / 2
        cards.append(Card(method, x, ends[i], width - GAP, colors))
        ends[i] += cards[-1].height + GAP + (14 if method.name in BELOW else 0)
    return cards


def map_of_methods() -> Drawing:
    """Every method of the registry, by quantity and by form: the chapter's map."""
    height = layout(registry.methods())[1][NONE][1] + 62
    return drawing(draw_map, (WIDTH / 72, height / 72))


def draw_map(canvas: Figure) -> Axes:
    """Draw the map on a matplotlib figure; the axes are returned."""
    cards, bands = layout(registry.methods())
    canvas.set_layout_engine("none")
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(bands[NONE][1] + 62, 0)
    axes.axis("off")
    _columns(axes, bands[SIMILARITY][1])
    _rows(axes, bands)
    for card in cards:
        _card(axes, card)
    _arrows(axes, bands)
    _blanks(axes, bands)
    _legend(axes, bands[NONE][1] + 16)
    return axes


def _write(axes: Axes, x: float, y: float, text: str, size: float = DETAIL,
           color: str = INK, ha: str = "left", va: str = "center", **style: Any
           ) -> None:  # fmt: skip
    axes.text(x, y, text, size=size, color=color, ha=ha, va=va, **style)


def _box(axes: Axes, corner: XY, size: XY, **style: Any) -> None:
    shape = "round,pad=0,rounding_size=4"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=shape, **style))


def _columns(axes: Axes, bottom: float) -> None:
    for i, (heading, words, _, color, tint) in enumerate(COLUMNS):
        left, right = edge(i), edge(i + 1)
        _box(axes, (left, 2), (right - left - 1.5, bottom - 2), fc=tint, ec="none")
        middle = (left + right) / 2
        _write(axes, middle, 16, heading, 12, color, "center", weight="bold")
        _write(axes, middle, 32, words, 7.8, SOFT, "center")
    for i in (1, 2):
        _write(axes, edge(i), 16, r"$\geq$", 13, INK, "center")


def _rows(axes: Axes, bands: Bands) -> None:
    for band, (top, _) in bands.items():
        low = top + GAP
        for line in band.split("\n"):
            _write(axes, 2, low, line, 9.2, va="top", weight="bold")
            low += 12
        for line in BANDS[band][0].split("\n"):
            _write(axes, 2, low + 3, line, 7.4, SOFT, va="top")
            low += 10.5


def _card(axes: Axes, card: Card) -> None:
    height = card.height
    whole = (card.x, card.y), (card.width, height)
    _box(axes, *whole, fc="white", ec=RULE, lw=0.7)
    share = (height - 2 * PAD) / len(card.colors)
    for i, color in enumerate(card.colors):
        y = card.y + PAD + i * share
        axes.plot([card.x + 2.5] * 2, [y, y + share], color=color, linewidth=STRIPE,
                  solid_capstyle="butt")  # fmt: skip
    color = card.colors[0] if len(card.colors) == 1 else INK
    letter, at = CHIPS[card.method.matrix][0], card.x + STRIPE + PAD + CHIP
    keeps = card.method.keeps_posterior
    _disc(axes, (at, card.y + PAD + CHIP), letter, color, keeps)
    x, y = card.x + STRIPE + 2 * PAD + 2 * CHIP, card.y + PAD
    for text, size, weight in card.lines:
        y += LEADING * size / 2
        _write(axes, x, y, text, size, INK if weight == "bold" else SOFT, weight=weight)
        y += LEADING * size / 2
    if card.method.name in BELOW:
        x = card.x + card.width / 2
        _arrow(axes, x - 42, card.y + height + 2, card.y + height + GAP + 12)
        y = card.y + height + GAP / 2 + 7
        _write(axes, x + 4, y, BELOW[card.method.name], DETAIL, ha="center")


def _disc(axes: Axes, at: XY, letter: str, color: str, filled: bool) -> None:
    """A letter in a disc: filled if the training data still counts."""
    face, ink = (color, "white") if filled else ("white", color)
    axes.add_patch(Circle(at, CHIP, fc=face, ec=color, linewidth=1.1))
    if letter:
        _write(axes, *at, f"${letter}$", 8.2, ink, "center", va="center_baseline")


def _arrow(axes: Axes, x: float, start: float, end: float, color: str = INK) -> None:
    style = {"arrowstyle": "-|>,head_width=0.22,head_length=0.42", "color": color,
             "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}  # fmt: skip
    axes.annotate("", (x, end), (x, start), arrowprops=style)


def _arrows(axes: Axes, bands: Bands) -> None:
    """What leads from one form to the next, in the gutters between them."""
    x = LEFT + 12
    notes = (
        (PREDICTION, LOG_DET, "≈ a Gaussian posterior, one expansion point (T21)"),
        (LOG_DET, TRACE, "≤ the trace (T23)"),
    )
    for above, below, text in notes:
        start, end = bands[above][1] + 2, bands[below][0] + 2
        _arrow(axes, x, start, end)
        _write(axes, x + 9, (start + end) / 2, text, 8.4)
    both = (edge(1) + edge(3)) / 2
    _write(axes, both, (start + end) / 2, "one trace for both: JEPIG's is E times "
           "EPIG's (T28)", 8.4, ha="center")  # fmt: skip
    start, end = bands[LOG_DET][1] - 14, bands[SIMILARITY][0] + 2
    turn = bands[TRACE][1] + 9
    lane = [LEFT, LEFT - 5, LEFT - 5, x], [start, start, turn, turn]
    axes.plot(*lane, color=INK, linewidth=1.3, solid_joinstyle="miter")
    _arrow(axes, x, turn - 0.6, end)
    middle = (turn + end) / 2 + 1
    first = "= examples instead of parameters, by Sylvester (T30); then"
    then = "≈ drop the posterior (hollow discs), keep one gradient each (T31, T32)"
    _write(axes, x + 9, middle - 5.5, first, 8.4)
    _write(axes, x + 9, middle + 6, then, 8.4)
    y = (bands[SIMILARITY][1] + bands[NONE][0]) / 2
    _write(axes, LEFT + 4, y + 1, "outside: no determinant, no trace, no information "
           "quantity that we know of", 8.4)  # fmt: skip


def _blanks(axes: Axes, bands: Bands) -> None:
    """Places without a method."""
    top, bottom = bands[SIMILARITY]
    for column in (2, 3):
        x = (edge(column) + edge(column + 1)) / 2
        _write(axes, x, (top + bottom) / 2, "no method", 7.9, SOFT, "center",
               style="italic")  # fmt: skip


def _legend(axes: Axes, y: float) -> None:
    entries = [(letter, True, words) for letter, words in dict(CHIPS.values()).items()]
    entries += [
        ("", True, "training data counts"),
        ("", False, "training data dropped"),
    ]
    x = LEFT + 2
    for letter, filled, words in entries:
        width = 2 * CHIP + 4 + text_width(words, 7.8, "normal")
        if x + width > WIDTH:
            x, y = LEFT + 2, y + 17
        _disc(axes, (x + CHIP, y), letter, GREY, filled)
        _write(axes, x + 2 * CHIP + 4, y, words, 7.8, SOFT)
        x += width + 11
    _write(axes, x, y, "→ its targets, where the method fixes them", 7.8, SOFT)

"""Draw figures/opening.svg, the map on the welcome page.

Each method is a line that ends at the information quantity it estimates; the lines of
the weight-space methods run through the Fisher information, in one of its three forms.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 500, 416
COLOURS = {
    "text": "#1f2328",
    "soft": "#57606a",
    "lens": "#e6ecf4",
    "rim": "#a9b7c8",
    "card": "#ffffff",
    "EIG": "#0b5cad",
    "JEPIG": "#b4410e",
    "EPIG": "#0f7b4f",
}
LEFT, MIDDLE, RIGHT = 88, 226, 350  # labels end, forms stand, labels begin
METHODS = {
    "BALD": 64,
    "BADGE": 126,
    "SIMILAR": 162,
    "LogDetMI": 198,
    "BAIT": 302,
    "EPIG": 380,
}
FORMS = {"similarity": 150, "log det": 226, "trace": 302}
GOALS = {
    "EIG": (126, "the parameters"),
    "JEPIG": (226, "all targets at once"),
    "EPIG": (326, "one target"),
}
IN, OUT, HALF = MIDDLE - 54, MIDDLE + 54, 18  # edges of a form's box
START, END = LEFT + 8, RIGHT - 8
LINES = [  # quantity, the points a line runs through
    ("EIG", [(START, 64), (OUT, 64), (END, 126)]),
    ("EIG", [(START, 126), (IN, 143)]),
    ("EIG", [(START, 162), (IN, 150)]),
    ("JEPIG", [(START, 198), (IN, 157)]),
    ("EIG", [(OUT, 219), (END, 126)]),
    ("JEPIG", [(OUT, 226), (END, 226)]),
    ("JEPIG", [(START, 302), (IN, 298)]),
    ("EPIG", [(START, 302), (IN, 306)]),
    ("JEPIG", [(OUT, 298), (END, 226)]),
    ("EPIG", [(OUT, 306), (END, 326)]),
    ("EPIG", [(START, 380), (OUT, 380), (END, 326)]),
]


def text(x, y, words, colour, anchor="start", size=16, weight=400):
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}" '
        f'font-weight="{weight}" text-anchor="{anchor}">{words}</text>'
    )


def curve(points, colour):
    """A smooth line through points, level at each of them."""
    (x, y), path = points[0], f"M{points[0][0]} {points[0][1]}"
    for u, v in points[1:]:
        path += f" C{(x + u) / 2:g} {y} {(x + u) / 2:g} {v} {u} {v}"
        x, y = u, v
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="3"/>'


def lens(c):
    """The middle: a lens that holds the three forms of the Fisher information."""
    shape = (
        f'<path d="M{MIDDLE} 84 C{MIDDLE + 118} 150 {MIDDLE + 118} 300 {MIDDLE} 368 '
        f'C{MIDDLE - 118} 300 {MIDDLE - 118} 150 {MIDDLE} 84 Z" fill="{c["lens"]}" '
        f'stroke="{c["rim"]}"/>'
    )
    words = ((118, "Fisher"), (343, "information"))
    return [shape, *(text(MIDDLE, y, w, c["soft"], "middle", 14) for y, w in words)]


def form(name, y, c):
    box = (
        f'<rect x="{IN}" y="{y - HALF}" width="{OUT - IN}" height="{2 * HALF}" rx="8" '
        f'fill="{c["card"]}" stroke="{c["soft"]}" stroke-width="1.5"/>'
    )
    return box + text(MIDDLE, y + 5, name, c["text"], "middle")


def relations(c):
    """How the three forms hang together."""
    between = [(188, "= (Sylvester)"), (264, "≤")]
    return [text(MIDDLE, y + 5, words, c["soft"], "middle", 14) for y, words in between]


def labels(c):
    for x, words, anchor in (
        (LEFT, "method", "end"),
        (RIGHT, "information on", "start"),
    ):
        yield text(x, 26, words, c["soft"], anchor, 14)
    for name, y in METHODS.items():
        yield text(LEFT, y + 5, name, c["text"], "end")
    for name, (y, note) in GOALS.items():
        yield text(RIGHT, y + 1, name, c[name], weight=700, size=17)
        yield text(RIGHT, y + 18, note, c["soft"], size=14)
    for y, words in ((54, "prediction space"), (402, "prediction space")):
        yield text(MIDDLE, y, words, c["soft"], "middle", 14)


def draw(c):
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="system-ui, sans-serif">',
        *lens(c),
        *(curve(points, c[goal]) for goal, points in LINES),
        *(form(name, y, c) for name, y in FORMS.items()),
        *relations(c),
        *labels(c),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    (ROOT / "figures" / "opening.svg").write_text(draw(COLOURS))

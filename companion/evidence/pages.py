"""A claim's title and statement, read from the theorem in its chapter that names it.

The theorem is the block ``{prf:KIND} Title (T7)`` of the chapter's text twin.
"""

import functools
import re
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "chapters" / "src"
THEOREM = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{prf:\w+\} (?P<title>[^\n]+) \((?P<id>T\d+)\)\n"
    r"(?P<body>.*?)^(?P=fence) *$",
    re.M | re.S,
)
LABELS = re.compile(r"^ *:(?:label|name): .*\n|(?<=\$\$) *\([a-z0-9-]+\)(?= *$)", re.M)


def chapter(folder):
    """The name of the page that a folder of the evidence belongs to: "ch02"."""
    found = sorted(SOURCES.glob(f"{folder.removeprefix('ch')}-*.md"))
    if len(found) != 1:
        raise LookupError(
            f"the claims' statements stand in the book: no page of {folder} in "
            f"{SOURCES}; run in a copy of the repository"
        )
    return found[0].stem


@functools.cache
def theorems(page):
    """Title and body of every theorem of a page that names a claim, by the claim."""
    text = (SOURCES / f"{page}.md").read_text()
    return {m["id"]: (m["title"], m["body"].strip()) for m in THEOREM.finditer(text)}


def theorem(page, id):
    """Title and statement of a claim, without the labels that its page defines."""
    found = theorems(page)
    if id not in found:
        raise LookupError(
            f"{page} has no theorem whose title ends with ({id}); it has those of "
            f"{', '.join(found) or 'no claim'}"
        )
    title, body = found[id]
    return title, LABELS.sub("", body).strip()

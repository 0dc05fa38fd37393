"""The derivations that stand in the chapters: their tagged cells, run in this process.

A code cell with the tag "derivation" uses names of such cells above it and nothing
else of its chapter, so that they run alone, within seconds and without a kernel.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from companion.proof import cell
from companion.proof.formula import Let
from companion.proof.render import tex
from companion.proof.trees import nodes

CHAPTERS = Path(__file__).parents[1] / "chapters"
TAG = "derivation"


@functools.cache
def derivations(chapter: str, folder: Path = CHAPTERS) -> tuple[cell.Derived, ...]:
    """What the tagged cells of a chapter's notebook derive, in order."""
    path = folder / f"{chapter}.ipynb"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: the derivations stand in the book's chapters, so run "
            "this in a clone of the repository"
        )
    return run_cells(chapter, json.loads(path.read_text())["cells"])


def run_cells(chapter, cells) -> tuple[cell.Derived, ...]:
    """Run the tagged ones among a notebook's cells and collect what they derive."""
    world = {"__name__": chapter}
    with cell.collected() as found:
        for number, c in enumerate(cells, 1):
            if c["cell_type"] == "code" and TAG in c["metadata"].get("tags", ()):
                place = f"{chapter}, cell {number}"
                exec(compile("".join(c["source"]), place, "exec"), world)
    _one_name_one_thing(chapter, found)
    return tuple(found)


def _one_name_one_thing(chapter, found):
    """Raise where two derivations of a chapter mean different things by one name."""
    meant = {}
    for d in found:
        for e in nodes(*(x for s in d.steps for x in (s.lhs, s.rhs))):
            if isinstance(e, Let):
                told = _written(e)
                first = meant.setdefault(e.tex, told)
                if first != told:
                    raise cell.NotDerived(
                        f"{chapter}: {e.tex} is {first} and, in {d.claim}, {told}"
                    )


def _written(name):
    try:
        return tex(name.definition)
    except TypeError:  # an entropy, which has its name from its variables
        return name.tex

"""Write the displays of theorems from the formulas that the chapters' cells decide.

The cells tagged "derivation" say with `states` what each display of a theorem or
definition prints. sync_displays.py [02 ...] runs those cells and writes the displays
into notebook and twin; with --check it writes nothing, names every display that differs
and exits with 1. Chapters without such cells are not converted yet and are passed over.
"""

import argparse
import re
import sys
from pathlib import Path

import jupytext
import nbformat
from sync_macros import ROOT, replace_text

from companion.chapters import TAG, run_cells

# Displays of theorems that no cell can state, and why.
BY_HAND = {}
BLOCK = re.compile(r"^(:{3,})\{prf:(?!proof)\w+\}.*?^\1$", re.M | re.S)
DISPLAY = re.compile(
    r"^\$\$\n(?P<tex>.*?)(?P<end>[.,;]?)(?P<close>\n\\end{aligned})?\n"
    r"\$\$ \((?P<label>\S+)\)$",
    re.M | re.S,
)
OTHER = re.compile(r"^(?:`{3,}|:{3,})\{math\}\n(?::label: (?P<label>\S+))?", re.M)


def displays(cells):
    """(label, LaTeX) of each display in a theorem or definition."""
    for block in blocks(cells):
        for m in DISPLAY.finditer(block):
            yield m["label"], m["tex"] + (m["close"] or "")
        for m in OTHER.finditer(block):
            yield m["label"] or "(no label)", None


def blocks(cells):
    for cell in cells:
        if cell.cell_type == "markdown":
            yield from (m[0] for m in BLOCK.finditer(cell.source))


def is_converted(cells):
    return any(TAG in c.metadata.get("tags", ()) for c in cells)


def stated(chapter, cells):
    """What the chapter's derivations state: {label: LaTeX}."""
    found = {}
    for derived in run_cells(chapter, cells):
        failures = [*derived.failures()]
        if failures:
            sys.exit("\n".join(failures))
        if twice := found.keys() & derived.displays.keys():
            sys.exit(f"{chapter}: stated twice: {', '.join(sorted(twice))}")
        found |= derived.displays
    return found


def problems(cells, said):
    """A line for each display that is not what the derivations state."""
    shown = dict(displays(cells))
    for label, tex in shown.items():
        if label in BY_HAND:
            continue
        if label not in said:
            yield f"{label}: no derivation states it"
        elif tex is None:
            yield f"{label}: write it as $$ ... $$ ({label})"
        elif tex != said[label]:
            yield f"{label}: differs from what is derived\n  {tex}\n  {said[label]}"
    yield from (f"{x}: stated, but no theorem has it" for x in said.keys() - shown)


def rewrite(cells, said):
    """Put what is stated into the displays; True where that changed something."""

    def display(m):
        if m["label"] not in said:
            return m[0]
        tex, close, rest = said[m["label"]].partition("\n\\end{aligned}")
        return f"$$\n{tex}{m['end']}{close}{rest}\n$$ ({m['label']})"

    changed = False
    for cell in cells:
        if cell.cell_type == "markdown":
            new = BLOCK.sub(lambda m: DISPLAY.sub(display, m[0]), cell.source)
            changed |= new != cell.source
            cell.source = new
    return changed


def sync(twin, check=False):
    """The problems of a chapter that are left."""
    nb = jupytext.read(twin)
    if not is_converted(nb.cells):
        return []
    said = stated(twin.stem, nb.cells)
    if not check and rewrite(nb.cells, said):
        text = jupytext.writes(nb, fmt="md:myst")
        replace_text(twin, re.sub(r" *jupytext_version: .*\n", "", text, count=1))
        print("displays ->", twin)
    found = [*problems(nb.cells, said)]
    notebook = twin.parents[1] / f"{twin.stem}.ipynb"
    if notebook.exists():
        stored = nbformat.read(notebook, as_version=4)
        if not check and rewrite(stored.cells, said):
            replace_text(notebook, nbformat.writes(stored) + "\n")
            print("displays ->", notebook)
        if check:  # without it the next run takes over what stands in the twin
            found += [x for x in problems(stored.cells, said) if x not in found]
    return [f"{twin.stem}: {x}" for x in found]


def main(names, check=False, chapters=ROOT / "chapters"):
    twins = sorted(Path(chapters).glob("src/*.md"))
    chosen = [t for t in twins if not names or t.stem.startswith(tuple(names))]
    found = [x for twin in chosen for x in sync(twin, check)]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapters", nargs="*", help="02 ... (all for none)")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    main(options.chapters, options.check)

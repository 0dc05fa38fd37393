"""Write macros.tex into the hidden first cell of every notebook and text twin.

A notebook opened outside the book (JupyterLab, Colab) then typesets the same formulas.
Outputs stay; a file that is right already is not touched.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat

from fimlib.figures.records import write_bytes

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))
from bookmath import macro_lines  # noqa: E402  (the extension is not installed)

TAG = "remove-cell"


def macro_source(path=ROOT / "macros.tex"):
    """The text of the hidden cell."""
    return "\n".join(["$$", *macro_lines(path), "$$"])


def is_macro_cell(cell):
    return cell.cell_type == "markdown" and r"\newcommand{" in cell.source


def put_macros(nb, source):
    """Make ``source`` the first cell of a notebook; True where that changed it."""
    first = nb.cells[0] if nb.cells else None
    if not (first and is_macro_cell(first)):
        nb.cells.insert(0, nbformat.v4.new_markdown_cell(id="macros"))
    elif first.source.strip() == source and first.metadata.get("tags") == [TAG]:
        return False
    nb.cells[0].source = source
    nb.cells[0].metadata["tags"] = [TAG]
    return True


def replace_text(path, text):
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def sync_twin(path, source):
    nb = jupytext.read(path)
    if put_macros(nb, source):
        text = jupytext.writes(nb, fmt="md:myst")
        replace_text(path, re.sub(r" *jupytext_version: .*\n", "", text, count=1))
        print("macros ->", path)


def sync_notebook(path, source):
    nb = nbformat.read(path, as_version=4)
    if put_macros(nb, source):
        replace_text(path, nbformat.writes(nb) + "\n")
        print("macros ->", path)


def main(chapters=ROOT / "chapters", macros=ROOT / "macros.tex"):
    source = macro_source(macros)
    for path in sorted(Path(chapters).glob("src/*.md")):
        sync_twin(path, source)
    for path in sorted(Path(chapters).glob("*.ipynb")):
        sync_notebook(path, source)


if __name__ == "__main__":
    main()

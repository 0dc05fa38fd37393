"""What nbval does not see: that notebooks were run, in order, and can be compared."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat import v4

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
FORBIDDEN = {"nbval-skip", "nbval-ignore-output", "skip-execution"}
PICTURES = {"image/png", "image/svg+xml", "image/jpeg"}
WIDTH = 76  # what the code column of a page holds
VOLATILE = re.compile(
    r"0x[0-9a-f]{6,}"  # an address in memory
    r"|(^|[\s'\"(=])/(\w+/)+|\blocalhost\b"  # a path or host of one machine
    r"|\d(\.\d+)? ?(ms|µs|seconds)\b"  # a time
)
LABEL = re.compile(r"^\(([^)\s]+)\)=|:(?:label|name): *(\S+)|^ +name: (\S+)$", re.M)


def code_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def output_text(output):
    """What a reader sees of an output, pictures apart."""
    data = output.get("data", {})
    shown = ("text/plain", "text/latex", "text/markdown", "text/html")
    return output.get("text", "") + "".join(data.get(kind, "") for kind in shown)


def cell_problems(cell):
    """Why a code cell could not be trusted or compared."""
    lines = cell.source.splitlines()
    yield from (f"line of {len(x)} characters: {x}" for x in lines if len(x) > WIDTH)
    tags = set(cell.metadata.get("tags", []))
    if tags & FORBIDDEN:
        yield f"tag {tags & FORBIDDEN}"
    if "NBVAL_" in cell.source:
        yield "a comment that tells nbval to look away"
    if "execution" in cell.metadata:
        yield "times of execution"
    if cell.source.rstrip().endswith(";"):
        yield "a trailing ; that nbval ignores"
    if VOLATILE.search(cell.source):
        yield f"a path or host of one machine: {VOLATILE.search(cell.source)[0]}"
    for output in cell.outputs:
        yield from output_problems(output, cell.metadata)


def output_problems(output, metadata):
    if output.output_type == "error" or output.get("name") == "stderr":
        yield f"an error or warning: {output.get('text') or output.get('evalue')}"
    if found := VOLATILE.search(output_text(output)):
        yield f"output that another run would not repeat: {found[0]}"
    if PICTURES & set(output.get("data", {})):
        image = metadata.get("mystnb", {}).get("image", {})
        if not image.get("alt"):
            yield "a figure without alt text"


def notebook_problems(path):
    cells = code_cells(path)
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        yield f"not run from top to bottom: counts {counts}"
    for cell in cells:
        yield from cell_problems(cell)


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_run_top_to_bottom_and_repeatable(path):
    problems = list(notebook_problems(path))
    assert not problems, "\n".join(problems)


def in_toc(node):
    """Every file named in a table of contents."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("root", "file") if key in node)
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from in_toc(part)


def test_toc_holds_every_page_and_no_other():
    toc = set(in_toc(yaml.safe_load((ROOT / "_toc.yml").read_text())))
    pages = {*NOTEBOOKS, *(ROOT / "chapters").glob("*.md")}
    assert toc == {f"chapters/{p.stem}" for p in pages}


def texts():
    return [*(ROOT / "chapters").glob("*.md"), *(ROOT / "chapters").glob("src/*.md")]


@pytest.mark.parametrize("path", texts(), ids=lambda p: p.stem)
def test_labels_are_plain_and_not_used_twice(path):
    labels = [next(filter(None, m)) for m in LABEL.findall(path.read_text())]
    labels = [x for x in labels if x not in ("python3", "Python")]
    assert [x for x in labels if not re.fullmatch(r"[a-z0-9-]+", x)] == []
    assert sorted(set(labels)) == sorted(labels)


def bad_cells():
    """(a cell that must be refused, a word of the reason)."""
    svg = v4.new_output("display_data", {"image/svg+xml": "<svg/>"})
    printed = "<object at 0x7f3a12bc>"
    yield v4.new_code_cell("x" * 77), "77 characters"
    yield v4.new_code_cell("f()", metadata={"tags": ["nbval-skip"]}), "tag"
    yield v4.new_code_cell("# NBVAL_IGNORE_OUTPUT\nf()"), "look away"
    yield v4.new_code_cell("fig;"), "trailing"
    yield v4.new_code_cell("open('/home/me/x')"), "one machine"
    yield v4.new_code_cell("f", outputs=[svg]), "alt text"
    for kind, key in (("stdout", "not repeat"), ("stderr", "warning")):
        out = v4.new_output("stream", name=kind, text=printed)
        yield v4.new_code_cell("f()", outputs=[out]), key
    error = v4.new_output("error", ename="E", evalue="wrong", traceback=[])
    yield v4.new_code_cell("f()", outputs=[error]), "wrong"


@pytest.mark.parametrize(
    ("cell", "reason"),
    bad_cells(),
    ids=lambda x: x if isinstance(x, str) else "cell",  # a cell has a random id
)
def test_a_bad_cell_is_refused(cell, reason):
    assert any(reason in problem for problem in cell_problems(cell))


@pytest.mark.parametrize("counts", [(None, None), (1, 3), (2, 1)])
def test_an_unrun_notebook_is_refused(tmp_path, counts):
    nb = v4.new_notebook(
        cells=[v4.new_code_cell("1", execution_count=n) for n in counts]
    )
    nbformat.write(nb, tmp_path / "x.ipynb")
    (problem,) = notebook_problems(tmp_path / "x.ipynb")
    assert "not run" in problem

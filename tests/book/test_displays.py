"""The displays of theorems are those that the chapters' cells derive, and no other."""

import copy
from pathlib import Path

import jupytext
import nbformat
import pytest
import run_notebooks
import sync_displays
from sync_displays import BY_HAND, displays, problems, rewrite, stated

CHAPTERS = Path(__file__).parents[2] / "chapters"
CONVERTED = [
    twin
    for twin in sorted(CHAPTERS.glob("src/*.md"))
    if sync_displays.is_converted(jupytext.read(twin).cells)
]


@pytest.fixture(scope="module")
def chapter():
    """chapter("02"): its twin's cells and what they state, run once."""
    found = {}

    def read(name):
        if name not in found:
            (twin,) = CHAPTERS.glob(f"src/{name}-*.md")
            cells = jupytext.read(twin).cells
            found[name] = cells, stated(twin.stem, cells)
        return found[name]

    return read


@pytest.mark.parametrize("twin", CONVERTED, ids=lambda p: p.stem)
def test_every_display_of_a_theorem_is_derived(twin):
    assert sync_displays.sync(twin, check=True) == []


def test_what_is_written_by_hand_says_why():
    assert all(len(reason.split()) >= 4 for reason in BY_HAND.values())


ROWS = "\\begin{aligned}\na &= b \\\\[4pt]\n&= c\n\\end{aligned}"


# --- broken theorems of chapter 2 ---------------------------------------------------

TWIN = next(CHAPTERS.glob("src/02-*.md"))
LABELS = dict(displays(jupytext.read(TWIN).cells))
SLIPS = {
    "sign": (" + ", " - "),
    "direction": ("= ", r"\ge "),
    "factor": (r"\log", r"2 \log"),
    "half": (r"\tfrac{1}{2}", ""),
    "inverse": ("^{-1}", ""),
    "letter": (r"\Sigma", r"\Lambda"),
    "power": (r"\sigma^{2}", r"\sigma"),
}
BROKEN = [
    (label, slip)
    for label, tex in LABELS.items()
    for slip, (right, _) in SLIPS.items()
    if right in tex
]


def test_chapter_2_has_its_nine_displays():
    assert len(LABELS) == 9 and len(BROKEN) > 30


@pytest.mark.parametrize(("label", "slip"), BROKEN, ids=lambda x: x)
def test_a_broken_display_is_named(chapter, label, slip):
    cells, said = chapter("02")
    cells = copy.deepcopy(cells)
    (cell,) = [c for c in cells if f"$$ ({label})" in c.source]
    right, wrong = SLIPS[slip]
    broken = LABELS[label].replace(right, wrong, 1)
    assert broken != LABELS[label]
    # without the punctuation that the page may have added inside
    start = cell.source.index(f"$$ ({label})")
    opening = cell.source.rindex("$$\n", 0, start)
    cell.source = f"{cell.source[:opening]}$$\n{broken}\n{cell.source[start:]}"
    (problem,) = problems(cells, said)
    assert problem.startswith(f"{label}: differs from what is derived")
    assert rewrite(cells, said) and list(problems(cells, said)) == []


def test_the_command_exits_with_the_label(chapter, tmp_path, capsys):
    (tmp_path / "src").mkdir()
    twin = tmp_path / "src" / TWIN.name
    twin.write_text(TWIN.read_text().replace(r"\Sigma_{\text{new}}^{-1} &=", "P &="))
    with pytest.raises(SystemExit, match=r"eq-blr-update: differs"):
        sync_displays.main(["02"], check=True, chapters=tmp_path)
    sync_displays.main(["02"], chapters=tmp_path)
    assert twin.read_text() == TWIN.read_text()
    sync_displays.main(["02"], check=True, chapters=tmp_path)


def theorem(body):
    text = f":::{{prf:theorem}} A (T1)\n:label: thm-a\n\n{body}\n:::"
    return [nbformat.v4.new_markdown_cell(text)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("$$\nx\n$$ (eq-b)", "eq-b: no derivation states it"),
        ("$$\nx\n$$", "eq-a: stated, but no theorem has it"),
        ("```{math}\n:label: eq-a\nx\n```", "eq-a: write it as $$ ... $$ (eq-a)"),
        ("```{math}\nx\n```", "(no label): no derivation states it"),
    ],
)
def test_a_display_that_cannot_be_compared_is_named(body, reason):
    assert reason in list(problems(theorem(body), {"eq-a": "x"}))


@pytest.mark.parametrize("end", ["", ".", ","])
def test_punctuation_is_the_pages_own(end):
    for tex, shown in (
        ("x", f"x{end}"),
        (ROWS, ROWS.replace("\n\\end", f"{end}\n\\end")),
    ):
        cells = theorem(f"$$\n{shown}\n$$ (eq-a)")
        assert list(problems(cells, {"eq-a": tex})) == []
        assert not rewrite(cells, {"eq-a": tex})


# --- a broken derivation --------------------------------------------------------------

PAGE = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A page

:::{prf:theorem} Sylvester (T8)
:label: thm-a

$$
to be written,
$$ (eq-a)
:::

```{code-cell} ipython3
:tags: [derivation]

from companion.proof import *

A, B = Sym("A", "M", "N"), Sym("B", "N", "M")
left, right = Det(Eye("M") + A * B), Det(Eye("N") + B * A)
derive("T8", *chain(left, eq(right, "Sylvester", Sylvester(A, B))),
       states={"eq-a": (left, right)})
```
"""


def test_a_run_writes_displays_and_a_broken_line_fails_it(tmp_path):
    (tmp_path / "src").mkdir()
    twin = tmp_path / "src" / "01-page.md"
    twin.write_text(PAGE)
    run_notebooks.main(["01"], tmp_path)
    stored = jupytext.read(tmp_path / "01-page.ipynb")
    shown = "\\det \\left(I_{M} + A B\\right) "
    assert dict(displays(stored.cells))["eq-a"].startswith(shown)
    assert "all dimensions ✓" in str(stored.cells[-1].outputs)
    assert "I_{N} + B A\\right),\n$$ (eq-a)" in twin.read_text()
    # what nbval does: the same cell, broken, in a kernel
    cell = stored.cells[-1]
    cell.source = cell.source.replace("eq(right,", "eq(2 * right,")
    with pytest.raises(SystemExit, match="line 1 is ✗"):
        run_notebooks.execute(stored, tmp_path)
    outputs = str(cell.outputs)
    assert "all dimensions ✗" in outputs and "NotDerived" in outputs

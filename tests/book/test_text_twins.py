"""chapters/X.ipynb and chapters/src/X.md say the same, and runs keep it so."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
import run_notebooks
import sync_macros
from run_notebooks import cells
from sync_macros import macro_source

CHAPTERS = Path(__file__).parents[2] / "chapters"
NOTEBOOKS = sorted(CHAPTERS.glob("*.ipynb"))
TWIN = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A page

```{code-cell} ipython3
:tags: [hide-input]

print(1 + 1)
```
"""


def test_every_notebook_has_a_twin_and_no_twin_is_alone():
    twins = {p.stem for p in (CHAPTERS / "src").glob("*.md")}
    assert twins == {p.stem for p in NOTEBOOKS} != set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_twin_has_the_same_cells(path):
    assert cells(path) == cells(CHAPTERS / "src" / f"{path.stem}.md")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """A folder of one small chapter, made from its twin alone."""
    folder = tmp_path_factory.mktemp("chapters")
    (folder / "src").mkdir()
    (folder / "src" / "01-page.md").write_text(TWIN)
    run_notebooks.main(["01"], folder)
    return folder


@pytest.fixture
def chapter(first_run, tmp_path):
    """A copy of it: the notebook and its twin."""
    shutil.copytree(first_run, tmp_path, dirs_exist_ok=True)
    return tmp_path / "01-page.ipynb", tmp_path / "src" / "01-page.md"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def newer(path, than):
    later = than.stat().st_mtime + 10
    os.utime(path, (later, later))


def test_run_stores_outputs_macros_and_equal_twins(chapter):
    notebook, twin = chapter
    nb = nbformat.read(notebook, as_version=4)
    assert nb.cells[-1].outputs[0].text == "2\n"
    assert nb.cells[0].source == macro_source()
    assert nb.cells[0].metadata.tags == ["remove-cell"]
    assert cells(notebook) == cells(twin)


def test_second_run_gives_the_same_bytes(chapter, tmp_path):
    before = [path.read_bytes() for path in chapter]
    run_notebooks.main([], tmp_path)
    assert [path.read_bytes() for path in chapter] == before


@pytest.mark.parametrize(("old", "new"), [("A page", "The page"), ("hide", "remove")])
def test_drift_is_seen_and_cured_by_a_run(chapter, tmp_path, old, new):
    notebook, twin = chapter
    edit(twin, old, new)
    newer(twin, notebook)
    assert cells(notebook) != cells(twin)
    run_notebooks.main(["01-page"], tmp_path)
    assert cells(notebook) == cells(twin)
    assert new in notebook.read_text()


def test_a_run_does_not_undo_an_edit_of_the_notebook(chapter, tmp_path):
    notebook, twin = chapter
    edit(notebook, "A page", "The page")
    newer(notebook, twin)
    with pytest.raises(SystemExit, match="jupytext --sync"):
        run_notebooks.main(["01"], tmp_path)
    assert "The page" in notebook.read_text()


def test_a_failing_cell_leaves_the_notebook_as_it_was(chapter, tmp_path):
    notebook, twin = chapter
    before = notebook.read_bytes()
    edit(twin, "1 + 1", "1 / 0")
    newer(twin, notebook)
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        run_notebooks.main(["01"], tmp_path)
    assert notebook.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["01-page.ipynb", "src"]


def test_unknown_chapter_names_the_known(chapter, tmp_path):
    with pytest.raises(SystemExit, match=r"no chapter '7'.* 01-page"):
        run_notebooks.main(["7"], tmp_path)


def test_new_macros_reach_both_files_and_outputs_stay(chapter, tmp_path):
    notebook, twin = chapter
    macros = tmp_path / "macros.tex"
    macros.write_text("\\newcommand{\\one}{1}\n")
    sync_macros.main(tmp_path, macros)
    assert cells(notebook) == cells(twin)
    assert cells(twin)[0][1] == "$$\n\\newcommand{\\one}{1}\n$$"
    assert nbformat.read(notebook, as_version=4).cells[-1].outputs[0].text == "2\n"
    before = [path.stat().st_mtime_ns for path in chapter]
    sync_macros.main(tmp_path, macros)
    assert [path.stat().st_mtime_ns for path in chapter] == before

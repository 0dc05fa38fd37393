"""Macros, the ledger page and the page check; a planted fault must be found."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import bookledger
import bookmath
import booknumbers
import check_book
import nbformat
import pytest
import torch
from docutils import nodes
from sync_macros import macro_source

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
PAGES = [*NOTEBOOKS, *sorted((ROOT / "chapters").glob("*.md"))]
MATH = re.compile(
    r"\$\$(.*?)\$\$|(?<![\\$])\$([^$\n][^$]*?)\$|```\{math\}(.*?)```", re.S
)
CODE = re.compile(r"```\{(code-cell|eval-rst)\}.*?```|(?<!`)`[^`\n]+`", re.S)


def formulas(text):
    """The TeX of a Markdown text, code left out."""
    return ["".join(m) for m in MATH.findall(CODE.sub("", text))]


def texts(path):
    """Everything on a page that may hold TeX, outputs included."""
    if path.suffix == ".md":
        yield path.read_text()
        return
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and r"\newcommand" not in cell.source:
            yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("data", {}).get("text/markdown", "")


@pytest.fixture(scope="session")
def known():
    """Every control word: those of the MathJax bundle and those of macros.tex."""
    script = bookmath.bundle().read_text()
    names = set(re.findall(r'[{,]"?(?:\\\\)?([A-Za-z]+)"?:(?=["\[])', script))
    return names | set(bookmath.read_macros(ROOT / "macros.tex"))


def unknown(tex, known):
    tex = re.sub(r"\\(begin|end)\{\w+\*?\}", "", tex)
    return set(re.findall(r"\\([A-Za-z]+)", tex)) - known


def test_known_words_are_told_from_unknown(known):
    assert (
        unknown(r"\tfrac12\log\det\MIof{\W}\succeq\boldsymbol\phantom", known) == set()
    )
    assert unknown(r"\frac{\Hoff}{\tracee}", known) == {"Hoff", "tracee"}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_every_macro_of_a_page_is_defined(path, known):
    found = [unknown(tex, known) for text in texts(path) for tex in formulas(text)]
    assert set().union(*found) == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_first_cell_holds_the_macros(path):
    cell = nbformat.read(path, as_version=4).cells[0]
    assert cell.source == macro_source(), "run tools/sync_macros.py"
    assert cell.metadata.tags == ["remove-cell"]


def test_macros_use_no_undefined_word(known):
    for line in bookmath.macro_lines(ROOT / "macros.tex"):
        assert unknown(line, known) == set(), line


@pytest.mark.parametrize(
    "text",
    [r"\newcommand{\a}{1" + "\n", r"\def\a{1}", "\\newcommand{\\a}{1}\n" * 2],
    ids=["unfinished", "not newcommand", "twice"],
)
def test_a_bad_macro_line_is_refused(tmp_path, text):
    (tmp_path / "macros.tex").write_text(text)
    with pytest.raises(ValueError, match="newcommand"):
        bookmath.read_macros(tmp_path / "macros.tex")


def test_a_changed_mathjax_is_refused(monkeypatch):
    monkeypatch.setattr(bookmath, "DIGEST", "0" * 64)
    with pytest.raises(ValueError, match="expected sha256 0000"):
        bookmath.bundle()


def test_the_examples_of_the_readme_run():
    parts = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    torch.manual_seed(0)
    names = {"torch": torch, "head": torch.nn.Linear(4, 3)}
    for role, size in (("train", 20), ("pool", 107), ("eval", 5)):
        names[f"{role}_features"] = torch.randn(size, 4)
        names[f"{role}_logits"] = names["head"](names[f"{role}_features"]).detach()
    exec("".join(parts), names)
    assert names["best"] in range(107)


def test_the_readme_points_to_files_that_exist():
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"\]\(([^)]+)\)|\(`([^`]+)`\)|To cite: `([^`]+)`", text)
    paths = [next(filter(None, m)) for m in named]
    paths = [p for p in paths if not p.startswith("make ")]
    assert len(paths) == 5
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_chapters_are_numbered_by_their_files():
    title, link = nodes.title(secnumber=[2]), nodes.reference(secnumber=[2, 1])
    page = "chapters/06-x"
    env = SimpleNamespace(
        toc_secnumbers={page: {"": (2,), "#a": (2, 1), "#b": ()}, "chapters/api": {}},
        titles={page: title},
        tocs={page: nodes.paragraph("", "", link)},
    )
    booknumbers.renumber(env)
    assert env.toc_secnumbers[page] == {"": (6,), "#a": (6, 1), "#b": ()}
    assert (title["secnumber"], link["secnumber"]) == ([6], [6, 1])


def claim(status="pass"):
    ok = status == "pass"
    return {
        "id": "T9",
        "title": "EIG | BALD",
        "verdict": "corrected",
        "status": status,
        "chapter": "chapters/02-lines",
        "seconds": 0.1,
        "steps": [{"statement": "a", "reason": "b", "kind": "c", "ok": ok}],
        "checks": [{"name": "forms", "kind": "numeric", "ok": True, "detail": "1e-15"}],
        "mutants": [{"name": "no half", "rejected": ok}] * 2,
    }


def ledger(*claims):
    return {
        "date": "2026-01-02",
        "python": "3.12.1",
        "platform": "Linux",
        "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
        "seconds": 12.3,
        "claims": list(claims),
    }


def test_ledger_page_counts_what_passed():
    first, *rest = bookledger.render(json.loads(json.dumps(ledger(claim()))))
    assert first.startswith("**1 of 1 claims pass.** Run on 2026-01-02 in 12 seconds")
    assert "numpy 2.4.6, torch 2.13.0" in first
    assert rest[-1] == "| T9 | ✓\u00a0pass | EIG \\| BALD | corrected | 1 | 1 | 2 |"


def test_ledger_page_names_what_failed():
    text = "\n".join(bookledger.render(ledger(claim(), claim("fail"))))
    assert "**1 of 2 claims pass.**" in text
    assert "- **T9** step not decided: a (b)" in text
    assert "- **T9** mutant not rejected: no half" in text
    assert "✗\u00a0**fail**" in text
    assert "**0 of 1** | 1 | **0 of 2** |" in text


ENTRY = """<p id="claim-t9">T9 <a href="02.html"><span class="doc">Lines</span></a>
<a href="../_modules/blr.html#t9">[source]</a></p>"""


def built(folder, chapter='<a href="ledger.html#claim-t9">T9</a>', entry=ENTRY):
    """A built book of a chapter, the ledger and a page of code."""
    (folder / "chapters").mkdir()
    (folder / "_modules").mkdir()
    (folder / "_modules" / "blr.html").write_text('<div id="t9">def t9()</div>')
    (folder / "chapters" / "02.html").write_text(chapter)
    (folder / "chapters" / "ledger.html").write_text(entry)
    return check_book.check_links(folder)


def test_every_link_leads_somewhere(tmp_path):
    assert built(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("ledger.html#claim-t9", "ledger.html", "02.html: no link to T9"),
        ("#claim-t9", "#claim-t99", "02.html: dead link: ledger.html#claim-t99"),
        ("#t9", "#t10", "ledger.html: dead link: ../_modules/blr.html#t10"),
        ("blr.html", "glm.html", "ledger.html: dead link: ../_modules/glm.html#t9"),
        ('<a href="../_modules/blr.html#t9">', "<a>", "T9 has no link to its source"),
        ('<span class="doc">', "", "T9 names no chapter"),
        ('id="claim-t9"', "", "no entry of a claim"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, old, new, problem):
    chapter = '<a href="ledger.html#claim-t9">T9</a>'.replace(old, new)
    problems = built(tmp_path, chapter, ENTRY.replace(old, new))
    assert any(problem in found for found in problems), problems


needs_chromium = pytest.mark.skipif(
    not check_book.chromium(), reason="no Chromium (Debian: apt-get install chromium)"
)
MACROS = {"tex": {"macros": {"w": "w"}, "packages": {"[-]": ["noundefined"]}}}


def page(folder, body, script=""):
    """A built book of one page."""
    (folder / "mathjax.js").symlink_to(bookmath.bundle())
    (folder / "x.html").write_text(
        f"<!doctype html><meta charset=utf-8><script>{script}\n"
        f"MathJax = {json.dumps(MACROS)}</script>"
        f"<script src=mathjax.js></script><article>{body}</article>"
    )
    return check_book.check(folder)


@needs_chromium
def test_a_good_page_passes(tmp_path):
    body = r'<p><span class="math">\(\w\)</span> costs $ 5 <code>$x$</code></p>'
    assert page(tmp_path, body) == ([], 1, 1)


@needs_chromium
@pytest.mark.parametrize(
    ("body", "script", "problem"),
    [
        (r'<span class="math">\(\nosuch\)</span>', "", "TeX error: Undefined control"),
        ('<span class="math">x</span>', "", "1 formulas, 0 typeset"),
        ("<p>so $x^2$ it is</p>", "", "raw markup: so $x^2$"),
        ("<p>see {eq}<code>eq-a</code></p>", "", "raw markup: see {eq}"),
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', "", "no alt text"),
        ('<img src="none.png" alt="a">', "", "broken picture: none.png"),
        ('<div style="width: 500px">wide</div>', "", "px wide on a screen of 390"),
        ("", "fetch('https://example.org/x').catch(e => 0);", "outside request"),
        ("", "throw Error('oops');", "script error: oops"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, body, script, problem):
    problems, _, _ = page(tmp_path, body, script)
    assert any(problem in found for found in problems), problems


def run_check(folder, path, **environment):
    """tools/check_book.py as a reader runs it, with this PATH."""
    command = [sys.executable, ROOT / "tools" / "check_book.py", folder]
    environment = {"PATH": str(path), **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_without_chromium_the_check_says_so_and_ci_fails(tmp_path):
    done = run_check(tmp_path, path=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("skipped: no Chromium")
    assert run_check(tmp_path, path=tmp_path, CI="true").returncode == 1


@needs_chromium
def test_an_empty_book_is_refused(tmp_path):
    done = run_check(tmp_path, path=os.environ["PATH"])
    assert done.returncode == 1
    assert "no page there" in done.stdout

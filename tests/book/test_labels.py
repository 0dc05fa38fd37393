"""Every display has a label, and every label a claim of the ledger or a citation.

A display inside a proof needs none. Neither does a derivation, which is the output of
a cell that calls `show`: its lines are numbered, and its claim is named above it.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from companion.claims import all_claims

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
PAGES = sorted((ROOT / "chapters").glob("*.md")) + sorted(
    (ROOT / "chapters" / "src").glob("*.md")
)
EXTENSIONS = {"amsmath", "colon_fence", "deflist", "dollarmath", "tasklist"}
PARSER = create_md_parser(MdParserConfig(enable_extensions=EXTENSIONS), RendererHTML)
DIRECTIVE = re.compile(r"\{([\w:-]+)\}")
OPTION = re.compile(r"^:?(label|name): *(\S+)", re.M)
CITATION = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")
SHOWN = re.compile(r"\bshow\(")
RST_MATH = re.compile(r"^( *)\.\. math::.*\n((?:\1 +:.*\n)*)", re.M)


@dataclass(frozen=True)
class Formula:
    """A display, or a theorem with its label, and the citations beside it."""

    place: str
    label: str | None
    cited: tuple
    what: str


def options_and_body(content):
    """The options of a directive, its body, and how many lines come before that."""
    lines = content.split("\n")
    count = 0
    if lines[0].strip() == "---":
        count = 1 + next(
            (i for i, x in enumerate(lines[1:], 1) if x.strip() == "---"), 0
        )
    while count < len(lines) and re.match(r" *:[\w-]+:", lines[count]):
        count += 1
    return "\n".join(lines[:count]), "\n".join(lines[count:]), count


def paragraph(lines, first, last):
    """The lines first..last-1 with those above and below, up to blank lines."""
    while first > 0 and lines[first - 1].strip():
        first -= 1
    while last < len(lines) and lines[last].strip():
        last += 1
    return "\n".join(lines[first:last])


def keys(text):
    return tuple(k.strip() for m in CITATION.findall(text) for k in m.split(","))


def formulas(text, page="page", above=0, block=""):
    """Every display outside a proof, and every theorem, in a Markdown text.

    `above` lines of the page come before the text; `block` is the theorem it is from.
    """
    lines = text.split("\n")
    for token in PARSER.parse(text):
        if token.map is None:
            continue
        first, last = token.map
        place = f"{page}:{above + first + 1}"
        near = keys(paragraph(lines, first, last) + block)
        if token.type in ("math_block", "math_block_label", "amsmath"):
            if not token.content.lstrip().startswith(r"\newcommand"):
                yield Formula(place, token.info or None, near, token.content.strip())
        elif token.type == "inline" and broken_dollars(token.children):
            yield Formula(place, None, near, token.content)
        elif token.type in ("fence", "colon_fence"):
            yield from in_directive(token, page, above + first, place, near, block)


def broken_dollars(children):
    """Whether $$ stands inside a paragraph: meant as a display, shown as $ x $."""
    around = zip(children, children[1:], children[2:], strict=False)
    return any(
        math.type == "math_inline"
        and before.content.endswith("$")
        and after.content.startswith("$")
        for before, math, after in around
    )


def in_directive(token, page, above, place, near, block):
    found = DIRECTIVE.match(token.info.strip())
    name = found[1] if found else None
    options, body, count = options_and_body(token.content)
    label = dict(m[::-1] for m in OPTION.findall(options))
    label = next(iter(label), None)
    if name == "math":
        yield Formula(place, label, near, body.strip())
    elif name == "eval-rst":
        for _, rest in RST_MATH.findall(token.content + "\n"):
            label = re.search(r":label: *(\S+)", rest)
            yield Formula(place, label and label[1], near, ".. math::")
    elif name not in (None, "prf:proof", "code-cell", "code-block", "code"):
        theorem = name.startswith("prf:")
        if theorem:
            yield Formula(place, label, near + keys(body), name)
        block = token.content if theorem else block
        yield from formulas(body, page, above + 1 + count, block)


def outputs(path):
    """Displays in stored outputs, those of derivations left out."""
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type != "code" or SHOWN.search(cell.source):
            continue
        place = f"{path.name}, output of cell {number + 1}"
        for data in (out.get("data", {}) for out in cell.outputs):
            if tex := data.get("text/latex"):
                yield Formula(place, None, (), tex)
            yield from formulas(data.get("text/markdown", ""), place)


def problems(found, ledger, sources):
    """'file:line label reason: formula' for each formula that nothing stands behind."""
    seen = set()
    for f in found:
        reasons = []
        if not f.label:
            reasons = ["has no label"]
        elif not re.fullmatch("[a-z0-9-]+", f.label):
            reasons = ["a label has only the characters a-z, 0-9 and -"]
        elif f.label in seen:
            reasons = ["this label is used twice"]
        elif f.label not in ledger and not f.cited:
            reasons = ["named by no claim of the ledger, and nothing cited beside it"]
        seen.add(f.label)
        reasons += [f"cites {k}, which is unknown" for k in f.cited if k not in sources]
        for reason in reasons:
            first = " ".join(f.what.split())[:50]
            yield f"{f.place} {f.label or '(none)'} {reason}: {first}"


@functools.cache
def all_formulas():
    found = []
    for page in PAGES:
        found += formulas(page.read_text(), page.relative_to(ROOT).as_posix())
    for path in NOTEBOOKS:
        found += outputs(path)
    return found


def ledger():
    """Every label that a claim names."""
    return {label for claim in all_claims().values() for label in claim.labels}


def test_nothing_stands_on_its_own():
    sources = re.findall(r"^@\w+\{(.+),", (ROOT / "references.bib").read_text(), re.M)
    assert "kirsch2022unifying" in sources
    bad = list(problems(all_formulas(), ledger(), set(sources)))
    assert not bad, "\n".join(["formulas without support:", *bad])


def test_the_scanner_sees_the_pages():
    """As many displays as a plain search finds, so that no page is passed over."""
    text = "".join(page.read_text() for page in PAGES)
    labels = re.findall(r"```\{math\}\n *:label: (\S+)|^\$\$ \((\S+)\)$", text, re.M)
    labels = [one or other for one, other in labels]
    found = [f.label for f in all_formulas()]
    assert len(labels) > 80
    assert set(labels) <= set(found)


@pytest.mark.parametrize("claim", all_claims().values(), ids=lambda c: c.id)
def test_the_ledger_names_labels_that_exist(claim):
    text = (ROOT / "chapters" / "src" / f"{claim.chapter}.md").read_text()
    assert set(claim.labels) <= {f.label for f in all_formulas()}
    assert len(set(claim.labels)) == len(claim.labels)
    (label,) = re.findall(rf"\{{prf:.*\({claim.id}\)\n:label: (\S+)", text)
    assert label in claim.labels


def test_no_docstring_hides_a_display():
    modules = (ROOT / "fimlib").rglob("*.py")
    assert [p.name for p in modules if ".. math::" in p.read_text()] == []


# --- the scanner -----------------------------------------------------------------

THEOREM = """:::{prf:theorem} A bound
:label: thm-a
```{math}
:label: eq-a
x
```
:::
"""
GOOD = {
    "label in a claim": "```{math}\n:label: eq-a\nx\n```\n",
    "dollars with a label": "$$ x $$ (eq-a)\n",
    "theorem": THEOREM,
    "proof": ":::{prf:proof}\n$$\nx\n$$\n```{math}\ny\n```\n:::\n",
    "citation before": "As in {cite:p}`known`:\n```{math}\n:label: eq-z\nx\n```\n",
    "citation after": "```{math}\n:label: eq-z\nx\n```\nsays {cite:t}`known`.\n",
    "citation in the definition": ":::{prf:definition} D\n:label: def-z\n"
    "```{math}\n:label: eq-z\nx\n```\n\nSee {cite:p}`known`.\n:::\n",
    "code": "```{code-cell}\ns = '$$x$$'\n```\n\n    $$ x $$\n",
    "inline": "so $x$ is\n",
    "macros": "$$\n\\newcommand{\\a}{b}\n$$\n",
}
BAD = {
    "display": ("a\n\n```{math}\nx\n```\n", "page:3 (none) has no label: x"),
    "dollars": ("$$\nx\n$$\n", "page:1 (none) has no label"),
    "dollars in a paragraph": ("text\n$$ x $$\nmore\n", "page:1 (none) has no label"),
    "environment": ("\\begin{align}\nx\n\\end{align}\n", "(none) has no label"),
    "colons": (":::{math}\nx\n:::\n", "page:1 (none) has no label"),
    "in a theorem": (THEOREM.replace(":label: eq-a\n", ""), "page:3 (none) has no"),
    "theorem": (THEOREM.replace(":label: thm-a\n", ""), "(none) has no label: prf:th"),
    "in a list": ("1. a\n\n   ```{math}\n   x\n   ```\n", "page:3 (none) has no label"),
    "in a box": (":::{admonition} A\n:class: tip\n$$\nx\n$$\n:::\n", "page:3 (none)"),
    "in a folded box": ("::::{dropdown} A\n:::{note}\n$$x$$\n:::\n::::\n", "page:3"),
    "quoted": ("> $$\n> x\n> $$\n", "page:1 (none) has no label"),
    "in no claim": ("```{math}\n:label: eq-z\nx\n```\n", "eq-z named by no claim"),
    "yaml options": ("```{math}\n---\nlabel: eq-z\n---\nx\n```\n", "eq-z named by no"),
    "citation elsewhere": (
        "See {cite:p}`known`.\n\n```{math}\n:label: eq-z\nx\n```\n",
        "page:3 eq-z named by no claim",
    ),
    "unknown source": (
        "{cite:p}`nobody`\n```{math}\n:label: eq-z\nx\n```\n",
        "cites nobody, which is unknown",
    ),
    "characters": ("```{math}\n:label: eq:a\nx\n```\n", "eq:a a label has only"),
    "used twice": ("```{math}\n:label: eq-a\nx\n```\n\n" * 2, "used twice"),
    "reStructuredText": (
        "```{eval-rst}\n.. math::\n\n   x\n```\n",
        "page:1 (none) has no label",
    ),
}


def judge(text):
    return list(problems(formulas(text), {"eq-a", "thm-a"}, {"known"}))


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_supported_formula_passes(text):
    assert judge(text) == []


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD)
def test_an_unsupported_formula_is_listed(text, reason):
    (found,) = judge(text)
    assert reason in found


@pytest.mark.parametrize(
    ("source", "data", "count"),
    [
        ("show('T1')", {"text/markdown": "$$\nx\n$$"}, 0),
        ("table()", {"text/markdown": "$$\nx\n$$"}, 1),
        ("table()", {"text/markdown": "a $x$"}, 0),
        ("expression", {"text/latex": "$\\displaystyle x$"}, 1),
    ],
)
def test_displays_of_outputs_are_seen(tmp_path, source, data, count):
    output = nbformat.v4.new_output("display_data", data)
    cell = nbformat.v4.new_code_cell(source, outputs=[output])
    path = tmp_path / "x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    assert len(list(problems(outputs(path), set(), set()))) == count

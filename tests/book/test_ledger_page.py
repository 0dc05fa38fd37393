"""From a page to the ledger, and from there to the source, in a book of two pages."""

import json
import re
from pathlib import Path

import bookledger
import check_book
import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from companion import claims
from companion.evidence import pages

CHAPTERS = Path(__file__).parents[2] / "chapters" / "src"
PAGE = """# A page

By T9 and T99, `T9`, $T9$ and [T9](https://example.org/T9).

## The gain (T9)

```{toctree}
chapters/ledger
```
"""
LEDGER = """# Ledger

```{ledger-run}
```

```{ledger-entries}
```
"""
RUN = {
    "date": "2026-01-02",
    "python": "3.12.1",
    "platform": "Linux",
    "versions": {"torch": "2.13.0"},
    "seconds": 12.3,
}
OPTIONS = {
    "extensions": ["myst_parser", "sphinx.ext.viewcode", "sphinx_proof", "bookledger"],
    "myst_enable_extensions": ["dollarmath"],
    "html_theme": "basic",
    "suppress_warnings": ["*"],
}


@pytest.fixture(params=[True, False], ids=["with a run", "without"])
def book(request, tmp_path, monkeypatch):
    """The folder of a built book whose ledger has one claim."""
    monkeypatch.setattr(
        bookledger, "all_claims", lambda: {"T9": claims.all_claims()["T9"]}
    )
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_build").mkdir()
    (tmp_path / "index.md").write_text(PAGE)
    (tmp_path / "chapters" / "ledger.md").write_text(LEDGER)
    if request.param:
        run = RUN | {"claims": claims.verify(["T9"])["claims"]}
        (tmp_path / "_build" / "ledger.json").write_text(json.dumps(run))
    out = tmp_path / "out"
    with docutils_namespace():
        app = Sphinx(
            tmp_path, None, out, tmp_path / "trees", "html", OPTIONS, status=None
        )
        app.build()
    return out


def test_two_clicks_from_a_page_to_the_source(book):
    page = check_book.Anchors((book / "index.html").read_text())
    entry = "chapters/ledger.html#claim-t9"
    assert page.links.count(entry) == 2, "in the text and in the heading, and no more"
    text = (book / "chapters" / "ledger.html").read_text()
    ledger = check_book.Anchors(text)
    assert "claim-t9" in ledger.ids
    (link,) = [x for x in ledger.links if "_modules/" in x and x.endswith("#t9")]
    path, _, anchor = link.partition("#")
    source = (book / "chapters" / path).resolve().read_text()
    assert anchor in check_book.Anchors(source).ids
    assert '<span class="k">def</span>' in source, "highlighted"


def test_an_entry_says_how_strong_the_proof_is(book):
    text = (book / "chapters" / "ledger.html").read_text()
    assert "Information gain of observations" in text
    ran = (book.parent / "_build" / "ledger.json").exists()
    assert ("8 all dimensions" in text) == ran
    assert ("3 numeric, 1 Monte Carlo" in text) == ran


@pytest.mark.parametrize("claim", claims.all_claims().values(), ids=lambda c: c.id)
def test_a_claim_is_shown_in_its_chapter(claim):
    """There it gets its link, below the derivation."""
    text = (CHAPTERS / f"{claim.chapter}.md").read_text()
    assert claim.id in bookledger.SHOWN.findall(text)


def test_an_erratum_names_its_claims():
    headings = re.findall(r"^## Erratum.*", (CHAPTERS / "errata.md").read_text(), re.M)
    assert len(headings) >= 23
    for heading in headings:
        named = bookledger.NUMBER.findall(heading)
        assert named, heading
        assert set(named) <= set(claims.all_claims()), heading


def test_what_is_not_decided_is_counted_apart():
    good, bad = {"kind": "numeric", "ok": True}, {"kind": "numeric", "ok": False}
    assert bookledger.tally([good, good, bad]) == "2 numeric, **1 not decided**"
    assert bookledger.tally([]) == "none"


def test_an_entry_has_what_was_put_right_and_where():
    lines = bookledger.entry(claims.all_claims()["T24"])
    text = "\n".join(lines)
    assert "- *Put right*: A bound of the approximation" in text
    assert "{prf:ref}`thm-trace-not-bound`, {eq}`eq-eig-not-bound`" in text
    assert "*Proof*" not in text, "nothing was run"


def test_a_shown_derivation_gets_a_link_below():
    page = new_document("page")
    cells = [nodes.container(nb_element="cell_code") for _ in range(3)]
    for cell, code in zip(cells, ("show('T9')", "show('T99')", "show()"), strict=True):
        cell += nodes.literal_block(code, code)
        page += cell
    bookledger.link_derivations(page, "page", {"T9"})
    assert [cell.astext().count("in the ledger") for cell in cells] == [1, 0, 0]


@pytest.mark.parametrize("claim", claims.all_claims().values(), ids=lambda c: c.id)
def test_a_claim_is_stated_by_its_theorem(claim):
    """Its own words, with no label, which would be defined twice."""
    text = (CHAPTERS / f"{claim.chapter}.md").read_text()
    assert f"}} {claim.title} ({claim.id})\n:label: " in text
    assert claim.statement
    assert not re.search(r":label:|\$\$ *\(", claim.statement)
    without_labels = re.sub(r"^ *:label: .*\n|(?<=\$\$) *\(.*\)$", "", text, flags=re.M)
    assert claim.statement in without_labels


DISPLAYS = """:::{prf:theorem} A bound (T1)
:label: thm-a
Let $x$.
$$ x $$ (eq-a)

1. Then
   ```{math}
   :label: eq-b
   y
   ```
:::
"""


def test_labels_stay_on_the_page(monkeypatch, tmp_path):
    (tmp_path / "page.md").write_text(DISPLAYS)
    monkeypatch.setattr(pages, "SOURCES", tmp_path)
    title, statement = pages.theorem("page", "T1")
    assert title == "A bound"
    assert statement == "Let $x$.\n$$ x $$\n\n1. Then\n   ```{math}\n   y\n   ```"


def test_a_claim_without_a_theorem_is_named():
    with pytest.raises(LookupError, match=r"no theorem .* \(T99\); it has .* T5, T6"):
        pages.theorem("02-bayesian-linear-regression", "T99")


def test_without_the_book_an_error_says_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "SOURCES", tmp_path / "chapters" / "src")
    with pytest.raises(LookupError, match="chapters/src; run in a copy of the repo"):
        _ = claims.all_claims()["T9"].title

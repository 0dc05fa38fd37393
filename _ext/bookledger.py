"""Sphinx extension: ``{ledger-run}``, the result of ``fimlib verify --json``."""

import json
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

MISSING = (
    "*The ledger was not run in this build: `make book` runs it on your machine "
    "first, and `fimlib verify` prints it at any time.*"
)
STATUS = {
    "pass": "✓\u00a0pass",
    "fail": "✗\u00a0**fail**",
    "no records": "–\u00a0no records",  # nothing failed, not everything was decided
}
COLUMNS = ["claim", "result", "about", "verdict", "steps", "checks", "mutants"]


def count(items, good):
    """'7', or '6 of 7' where some are not good."""
    hits = sum(bool(item[good]) for item in items)
    return str(hits) if hits == len(items) else f"**{hits} of {len(items)}**"


def row(claim, link=None):
    cells = [
        f"[{claim['id']}]({link})" if link else claim["id"],
        STATUS[claim["status"]],
        claim["title"].replace("|", r"\|"),
        claim["verdict"],
        count(claim["steps"], "ok"),
        count(claim["checks"], "ok"),
        count(claim["mutants"], "rejected"),
    ]
    return f"| {' | '.join(cells)} |"


def summary(ledger):
    claims = ledger["claims"]
    passed = sum(claim["status"] == "pass" for claim in claims)
    versions = ", ".join(f"{k} {v}" for k, v in sorted(ledger["versions"].items()))
    return (
        f"**{passed} of {len(claims)} claims pass.** Run on {ledger['date']} in "
        f"{ledger['seconds']:.0f} seconds with Python {ledger['python']} on "
        f"{ledger['platform']}; {versions}."
    )


def failures(claim):
    """One line for each thing that failed in a claim."""
    for step in claim["steps"]:
        if not step["ok"]:
            yield f"step not decided: {step['statement']} ({step['reason']})"
    for check in claim["checks"]:
        if not check["ok"] and not check.get("absent"):
            yield f"check {check['name']}: {check['detail']}"
    for mutant in claim["mutants"]:
        if not mutant["rejected"] and not mutant.get("absent"):
            yield f"mutant not rejected: {mutant['name']}"


def render(ledger, link=lambda claim: None):
    """The ledger as lines of Markdown."""
    lines = [summary(ledger), ""]
    for claim in ledger["claims"]:
        lines += [f"- **{claim['id']}** {text}" for text in failures(claim)]
    lines += ["", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    return lines + [row(claim, link(claim)) for claim in ledger["claims"]]


class LedgerRun(SphinxDirective):
    def run(self):
        path = Path(self.env.srcdir) / "_build" / "ledger.json"
        self.env.note_dependency(str(path))
        if path.exists():
            lines = render(json.loads(path.read_text()), self.link)
        else:
            lines = [MISSING]
        return self.parse_text_to_nodes("\n".join(lines))

    def link(self, claim):
        """The notebook of a claim's chapter, where it is in the book."""
        name = Path(claim["chapter"]).name
        known = {Path(docname).name for docname in self.env.found_docs}
        return f"{name}.ipynb" if name in known else None


def setup(app):
    app.add_directive("ledger-run", LedgerRun)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

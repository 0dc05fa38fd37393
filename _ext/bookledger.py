"""Sphinx extension: the ledger's pages, and a link to it wherever a claim is named.

``{ledger-run}`` is the table of ``fimlib verify --json``, ``{ledger-entries}`` has an
entry for each claim, with its displays and the source of its checks. On every page a
claim's number, T9, leads to its entry, and so does a line below each ``show("T9")``.
"""

import json
import re
from collections import Counter
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
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


def row(claim, linked=False):
    cells = [
        to_entry(claim["id"]) if linked else claim["id"],
        STATUS[claim["status"]],
        claim["title"].replace("|", r"\|"),
        claim["verdict"],
        count(claim["steps"], "ok"),
        count(claim["checks"], "ok"),
        count(claim["mutants"], "rejected"),
    ]
    return f"| {' | '.join(cells)} |"


def to_entry(id):
    return f"{{ref}}`{id} <{anchor(id)}>`"


def anchor(id):
    """The label of a claim's entry."""
    return f"claim-{id.lower()}"


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


def render(ledger, linked=False):
    """The ledger as lines of Markdown."""
    lines = [summary(ledger), ""]
    for claim in ledger["claims"]:
        lines += [f"- **{claim['id']}** {text}" for text in failures(claim)]
    lines += ["", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    return lines + [row(claim, linked) for claim in ledger["claims"]]


def tally(items):
    """How strong the checks are: '4 all dimensions, 2 numeric'."""
    kinds = Counter(item["kind"] for item in items if item["ok"])
    missing = len(items) - kinds.total()
    parts = [f"{n} {kind}" for kind, n in kinds.items()]
    return ", ".join(parts + [f"**{missing} not decided**"] * bool(missing)) or "none"


def entry(claim, result=None):
    """A claim's entry as lines of Markdown; `result` is its part of the run's JSON."""
    status = f" · {STATUS[result['status']]}" if result else ""
    function = claim.derive
    return [
        f"({anchor(claim.id)})=",
        f"**{claim.id} {claim.title}.** {claim.verdict}{status}",
        "",
        claim.statement,
        "",
        *(f"- *{name}*: {text}" for name, text in facts(claim, result).items()),
        "",
        f"```{{py:function}} {function.__name__}()",
        f":module: {function.__module__}",
        ":no-contents-entry:",
        "```",
    ]


def facts(claim, result):
    found = {"Put right": claim.correction} if claim.correction else {}
    if result:
        found["Proof"] = tally(result["steps"])
        found["Evidence"] = tally(result["checks"])
        found["Mutants rejected"] = count(result["mutants"], "rejected")
    found["Where"] = ", ".join([f"{{doc}}`{claim.chapter}`", *map(place, claim.labels)])
    return found


def place(label):
    role = "eq" if label.startswith("eq-") else "prf:ref"
    return f"{{{role}}}`{label}`"


def all_claims():
    from companion import claims

    return claims.all_claims()


def read_run(env):
    """The JSON of this build's run, or None."""
    path = Path(env.srcdir) / "_build" / "ledger.json"
    env.note_dependency(str(path))
    return json.loads(path.read_text()) if path.exists() else None


class LedgerRun(SphinxDirective):
    def run(self):
        run = read_run(self.env)
        lines = render(run, linked=True) if run else [MISSING]
        return self.parse_text_to_nodes("\n".join(lines))


class LedgerEntries(SphinxDirective):
    def run(self):
        run = read_run(self.env)
        results = {c["id"]: c for c in run["claims"]} if run else {}
        found = []
        for claim in all_claims().values():
            lines = entry(claim, results.get(claim.id))
            box = nodes.container(classes=["ledger-entry"])
            box += self.parse_text_to_nodes("\n".join(lines))
            found.append(box)
        return found


# --- links to the ledger ---------------------------------------------------------

NUMBER = re.compile(r"\bT[1-9]\d?\b")
SHOWN = re.compile(r"\bshow\(\s*[\"'](T\d+)")
INERT = (
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.comment,
    nodes.reference,
    addnodes.pending_xref,
    addnodes.desc_signature,
)


def link(id, text, docname):
    """A reference to a claim's entry, resolved when the page is written."""
    node = addnodes.pending_xref(
        refdomain="std",
        reftype="ref",
        reftarget=anchor(id),
        refexplicit=True,
        refwarn=True,
        refdoc=docname,
    )
    node += nodes.inline("", text)
    return node


def is_inert(node):
    while node is not None:
        if isinstance(node, INERT):
            return True
        node = node.parent
    return False


def link_numbers(doctree, docname, known):
    """Make every T9 in running text a link."""
    for text in list(doctree.findall(nodes.Text)):
        if is_inert(text):
            continue
        parts, end = [], 0
        for match in NUMBER.finditer(text):
            if match[0] in known:
                parts += [nodes.Text(text[end : match.start()])] * (match.start() > end)
                parts.append(link(match[0], match[0], docname))
                end = match.end()
        if parts:
            parts += [nodes.Text(text[end:])] * (end < len(text))
            text.parent.replace(text, parts)


def link_derivations(doctree, docname, known):
    """Below a cell that shows a claim's derivation, a line that leads to its entry."""
    for cell in list(doctree.findall(nodes.container)):
        if cell.get("nb_element") != "cell_code":
            continue
        code = "\n".join(block.astext() for block in cell.findall(nodes.literal_block))
        for id in SHOWN.findall(code):
            if id in known:
                line = nodes.paragraph(classes=["to-ledger"])
                line += link(id, f"{id} in the ledger", docname)
                cell += line


def link_page(app, doctree):
    known, docname = all_claims(), app.env.docname
    link_derivations(doctree, docname, known)
    link_numbers(doctree, docname, known)


def setup(app):
    app.add_directive("ledger-run", LedgerRun)
    app.add_directive("ledger-entries", LedgerEntries)
    app.connect("doctree-read", link_page, priority=900)  # titles have been collected
    return {"parallel_read_safe": True, "parallel_write_safe": True}

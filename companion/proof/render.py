"""LaTeX of formulas and Markdown of derivations, from the trees that were checked."""

from __future__ import annotations

import re

from companion.proof import formula as f
from companion.proof.latex import tex
from companion.proof.steps import RECORDED

RELATIONS = {"=": "=", "<=": r"\le", ">=": r"\ge"}
LOEWNER = {"=": "=", "<=": r"\preceq", ">=": r"\succeq"}
MARK = {True: "✓", False: "✗"}
LINE = 34  # symbols that fit beside each other on the page


def step_tex(step):
    """LaTeX of a step; a chained one begins with its relation."""
    matrix = isinstance(step.lhs, f.Formula) and step.lhs.shape != f.SCALAR
    relation = (LOEWNER if matrix else RELATIONS)[step.relation]
    left, right = step.tex or (tex(step.lhs), tex(step.rhs))
    if step.chained:
        return rf"\quad {relation} {right}"
    if visible(left) + visible(right) > LINE:
        return (
            rf"\begin{{aligned}} &{left} \\ &\quad {relation} {right} \end{{aligned}}"
        )
    return f"{left} {relation} {right}"


def visible(text):
    """Roughly how many symbols of a LaTeX formula are seen side by side."""
    if r"\begin" in text:
        return 0
    return len(re.sub(r"\\(left|right|t?frac)|\\[A-Za-z]+|[{}^_\s]", "", text)) + len(
        re.findall(r"\\(?!left|right|t?frac)[A-Za-z]+", text)
    )


def derivation_markdown(report):
    """The steps as a table with reasons and verdicts, then checks and mutants."""
    rows = []
    if report.steps:
        rows += ["| | step | because | decided |", "|---|:---|:---|:---|"]
    for i, (step, outcome) in enumerate(report.steps, 1):
        verdict = f"{outcome.kind} {MARK[outcome.ok]}"
        rows.append(
            rf"| {i} | $\displaystyle {step_tex(step)}$ | {step.because} | {verdict} |"
        )
    lines = ["\n".join(rows)] if rows else []
    for check, outcome in report.checks:
        limit = f"within {check.tolerance:g}" if check.tolerance else "exactly"
        if outcome.kind == "Monte Carlo":
            limit = f"z-score within {check.tolerance:g}"
        if (
            outcome.kind == RECORDED
        ):  # what the limit limits differs from check to check
            limit = "records not found, so not decided" if outcome.absent else ""
        mark = "–" if outcome.absent else MARK[outcome.ok]
        text = f"- {mark} {outcome.kind}: {check.name}"
        lines.append(f"{text} ({limit})" if limit else text)
    for what, kind in (("lines of the derivation", int), ("functions", str)):
        names = [
            m.name if o.ok else f"**NOT** {m.name}"
            for m, o in report.mutants
            if isinstance(m.of, kind) and not o.absent
        ]
        if names:
            unique = " · ".join(dict.fromkeys(names))
            lines.append(f"- wrong {what} that were rejected: {unique}")
    head, bullets = lines[: bool(rows)], lines[bool(rows) :]
    return "\n\n".join([*head, "\n".join(bullets)])

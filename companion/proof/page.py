"""Derivations and their evidence as Markdown, for a chapter's page and JupyterLab."""

from __future__ import annotations

import sympy

from companion.proof import formula as f
from companion.proof.render import LOEWNER, RELATIONS, step_tex, tex, visible
from companion.proof.steps import DEFINITION, MONTE_CARLO, RECORDED
from companion.proof.trees import defines, distinct, key, nodes

MARK = {True: "✓", False: "✗"}
WIDE = 25  # symbols that a display holds in one line, on a phone too
ORDER = {"pd": r"\succ 0", "psd": r"\succeq 0"}


class Markdown(str):
    """Text that a notebook displays as Markdown."""

    def _repr_markdown_(self):
        return str(self)


def lines_markdown(steps):
    """(table, sentence) of the lines: formula, reason, how decided; what they need."""
    rows = ["| | step | because | decided |", "|---|:---|:---|:---|"]
    for i, (step, outcome) in enumerate(steps, 1):
        shown = step_tex(step).replace("|", r"\vert ")  # | would end the table's cell
        formula = rf"$\displaystyle {shown}$"
        words = ", in words" if step.tex else ""  # not rendered from what was decided
        rows.append(f"| {i} | {formula} | {step.because} | {verdict(outcome)}{words} |")
    lines = [step for step, _ in steps]
    needs = {"where": names(lines), "for": domain(lines), "given": given(lines)}
    told = {word: ", ".join(what) for word, what in needs.items()}
    return "\n".join(rows), "; ".join(f"*{w}* {x}" for w, x in told.items() if x)


def verdict(outcome):
    if outcome.ok and outcome.kind == DEFINITION:
        return DEFINITION
    return f"{outcome.kind} {MARK[outcome.ok]}"


def formulas(steps):
    return [e for s in steps for e in (s.lhs, s.rhs) if isinstance(e, f.Formula)]


def names(steps):
    """What the names in the lines stand for, where no line says it."""
    ends = [e for s in steps if defines(s) for e in (s.lhs, s.rhs)]
    told = {key(e.arg if isinstance(e, f.Inv) else e) for e in ends}
    lets = distinct(e for e in nodes(*formulas(steps)) if isinstance(e, f.Let))
    for let in lets:
        if key(let) not in told and written_out(let.definition):
            yield f"${let.tex}$ {_breakable(let.definition)}"


def _breakable(e):
    """ "= a + b" in pieces between which a narrow page may begin a new line."""
    first, *rest = e.terms if isinstance(e, f.Add) else (e,)
    signed = [tex(x) if tex(x).startswith("-") else f"+ {tex(x)}" for x in rest]
    return " ".join(f"${x}$" for x in (f"= {tex(first)}", *signed))


def written_out(definition):
    """Whether LaTeX can be made of it; entropies are named and nothing else."""
    try:
        tex(definition)
    except TypeError:
        return False
    return True


def domain(steps):
    """What the symbols stand for: the values for which the lines hold."""
    found = distinct(nodes(*formulas(steps)))
    for e in found:
        if isinstance(e, f.Sym):
            yield symbol(e)
    sizes = {str(n) for e in found if isinstance(e, f.Sym) for n in e.shape}
    exprs = [e.value for e in found if isinstance(e, f.Const)]
    exprs += [x for s in steps for x in (s.lhs, s.rhs) if not isinstance(x, f.Formula)]
    free = set().union(*(sympy.sympify(x).free_symbols for x in exprs))
    scalars = {}
    for s in sorted(free, key=str):
        if s.name not in sizes:
            scalars.setdefault(sign(s), []).append(sympy.latex(s))
    yield from (f"${', '.join(names)}{kind}$" for kind, names in scalars.items())


def symbol(s):
    """A matrix with its shape, sign and mean."""
    rows, cols = s.shape
    size = rf"{rows}\times {cols}" if cols != 1 else rows
    kind = ORDER.get(s.kind, "")
    word = f" {s.kind}" if s.kind in ("symmetric", "invertible") and cols != 1 else ""
    mean = f" with mean ${tex(s.mean)}$" if s.mean is not None else ""
    return f"${s.tex}{kind}$ (${size}$){word}{mean}"


def sign(s):
    if s.is_positive:
        return ">0"
    return r"\ge 0" if s.is_nonnegative else r"\in\mathbb R"


def given(steps):
    """The premises that the lines rest on."""
    return list(dict.fromkeys(premise for step in steps for premise in step.premises))


# --- displays ---------------------------------------------------------------------


def display_tex(statements):
    """LaTeX of chains (formula, relation, formula, ...), on as few lines as fit."""
    parts = [_parts(chain) for chain in statements]
    flat = r", \qquad ".join(" ".join(x) for x in parts)
    if visible(flat) <= WIDE:
        return flat
    rows = []
    for first, *rest in parts:
        head = visible(first) + visible(rest[0]) <= WIDE if rest else True
        rows.append(f"{first} &{rest[0]}" if head and rest else f"&{first}")
        rows += [f"&{x}" if head else rf"&\quad {x}" for x in rest[head:]]
    body = " \\\\[4pt]\n".join(rows)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def _parts(chain):
    """["a", "= b", "= c"] of a chain."""
    first, *rest = chain
    matrix = isinstance(first, f.Formula) and first.shape != f.SCALAR
    signs = LOEWNER if matrix else RELATIONS
    return [
        tex(first),
        *(f"{signs[r]} {tex(e)}" for r, e in zip(rest[::2], rest[1::2], strict=True)),
    ]


# --- evidence ---------------------------------------------------------------------


def evidence_markdown(report):
    """One line, "2 checks, 14 mutants", that unfolds."""
    count = len(report.mutants)
    head = [_number(len(report.checks), "check"), _number(count, "mutant")]
    lines = [*map(check_line, report.checks), *mutant_lines(report)]
    good = all(o.ok or o.absent for _, o in (*report.checks, *report.mutants))
    mark = "" if good else f" {MARK[False]}"
    return "\n".join(
        [
            f"<details><summary>{', '.join(filter(None, head))}{mark}</summary>",
            "",
            *lines,
            "",
            "</details>",
        ]
    )


def _number(count, word):
    return f"{count} {word}{'s' * (count != 1)}" if count else ""


def check_line(pair):
    check, outcome = pair
    limit = f"within {check.tolerance:g}" if check.tolerance else "exactly"
    if outcome.kind == MONTE_CARLO:
        limit = f"z-score within {check.tolerance:g}"
    if outcome.kind == RECORDED:  # what the limit limits differs from check to check
        limit = "records not found, so not decided" if outcome.absent else ""
    mark = "–" if outcome.absent else MARK[outcome.ok]
    text = f"- {mark} {outcome.kind}: {check.name}"
    return f"{text} ({limit})" if limit else text


def mutant_lines(report):
    """The mutants by what they break: each kind of error once, with its number."""
    for what, kind in (("lines", int), ("functions", str)):
        found = {}
        for m, o in report.mutants:
            if isinstance(m.of, kind) and not o.absent:
                name = m.name if o.ok else f"**NOT** {m.name}"
                found[name] = found.get(name, 0) + 1
        if found:
            told = [n if k == 1 else f"{n} ({k})" for n, k in found.items()]
            yield f"- wrong {what}, rejected: {' · '.join(told)}"


def derivation_markdown(report):
    """The lines, if there are any, then the evidence."""
    parts = lines_markdown(report.steps) if report.steps else []
    return "\n\n".join([*filter(None, parts), evidence_markdown(report)])


def derived_markdown(report):
    """The lines of a cell, and how many wrong versions of them were told apart."""
    table, needs = lines_markdown(report.steps)
    count = _number(sum(o.ok for _, o in report.mutants), "wrong version")
    told = f"{count} of these lines refuted" if count else ""
    return f"{table}\n\n{' · '.join(filter(None, (needs, told)))}"

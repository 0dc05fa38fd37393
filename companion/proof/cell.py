"""`derive`: the lines of a claim, decided in the cell of a chapter where they stand.

What a cell shows is what was decided: no line has a hand-written formula, and the
displays of the chapter's theorems are written from the same trees (`states`).
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace

import sympy

from companion.proof import formula as f
from companion.proof.page import derived_markdown, display_tex
from companion.proof.render import step_tex, tex
from companion.proof.steps import Derivation, Report, Step, run
from companion.proof.trees import distinct, key, nodes, opened

FLIPPED = {"=": "=", "<=": ">=", ">=": "<="}


class NotDerived(Exception):
    """A line of a derivation does not hold, or a display says what no line says."""


@dataclass(frozen=True)
class Derived:
    """What `derive` found: the claim's lines, decided, and the displays they state."""

    claim: str
    steps: tuple
    report: Report
    displays: dict  # label -> LaTeX

    def _repr_markdown_(self):
        return derived_markdown(self.report)

    def failures(self):
        """One sentence for each line that does not hold, or holds whatever it says."""
        for i, (step, outcome) in enumerate(self.report.steps, 1):
            if not outcome.ok:
                yield f"{self.claim}, line {i} is ✗: {step_tex(step)}: {outcome.detail}"
        for mutant, outcome in self.report.mutants:
            if not outcome.ok:
                yield f"{self.claim}, line {mutant.of}: {mutant.name}: {outcome.detail}"


_collected = None  # where derivations go while chapters are run for them


@contextlib.contextmanager
def collected():
    """The list of every derivation made inside, also of those that do not hold."""
    global _collected
    before, _collected = _collected, []
    try:
        yield _collected
    finally:
        _collected = before


def derive(claim: str, *steps: Step, states: dict | None = None) -> Derived:
    r"""Decide the lines of a claim and show them.

    Args:
        claim: its id in the ledger, "T7".
        steps: the lines: `chain(start, eq(...), le(...))` makes several, `Step` one.
        states: for each label of a display the formulas that it prints, in order: a
            tuple, or a list of tuples for statements side by side. The relations
            between them are those that the lines prove.
    Returns:
        What the notebook shows: lines, reasons, verdicts, premises.
    Raises:
        NotDerived: a line is ✗, or a display states what no line connects.
    Example:
        >>> from companion.proof import Det, Eye, Sylvester, Sym, chain, eq
        >>> A, B = Sym("A", "M", "N"), Sym("B", "N", "M")
        >>> large, small = Det(Eye("M") + A * B), Det(Eye("N") + B * A)
        >>> line = eq(small, "Sylvester", Sylvester(A, B))
        >>> shown = derive("T8", *chain(large, line), states={"eq": (large, small)})
        >>> print(shown.displays["eq"])
        \det \left(I_{M} + A B\right) = \det \left(I_{N} + B A\right)
    """
    _refuse_lies(claim, steps)
    report = run(Derivation([evaluated(s) for s in steps]), claim)
    pairs = zip(steps, report.steps, strict=True)
    report = replace(report, steps=[(s, o) for s, (_, o) in pairs])
    derived = Derived(claim, steps, report, {})
    failures = list(derived.failures())
    if not failures:
        said = Said(steps)
        for label, chains in (states or {}).items():
            chains = chains if isinstance(chains, list) else [chains]
            linked = [said.chain(c, f"{claim}, {label}") for c in chains]
            derived.displays[label] = display_tex(linked)
    if _collected is not None:
        _collected.append(derived)
    elif failures:
        show_red(derived)
        raise NotDerived("\n".join(failures))
    return derived


def show_red(derived):
    """The lines with their ✗, above the exception, where there is a notebook."""
    with contextlib.suppress(ImportError):
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython():
            display(derived)


def evaluated(step):
    """The step with sympy's integrals, determinants and limits carried out."""
    if isinstance(step.lhs, sympy.Basic):
        return replace(step, lhs=step.lhs.doit(), rhs=sympy.sympify(step.rhs).doit())
    return step


def _refuse_lies(claim, steps):
    """Raise where what is shown could be something else than what is decided."""
    if not steps:
        raise NotDerived(f"{claim} has no line")
    for i, step in enumerate(steps, 1):
        if step.tex:
            raise NotDerived(f"{claim}, line {i}: shown by hand (tex=), not from trees")
    meant = {}
    sides = [e for s in steps for e in (s.lhs, s.rhs)]
    named = (e for e in nodes(*sides) if isinstance(e, f.Sym | f.Let))
    for e in distinct(named):
        what = key(e.definition if isinstance(e, f.Let) else e)
        if meant.setdefault(e.tex, what) != what:
            raise NotDerived(f"{claim}: {e.tex} names two things")


class Said:
    """The relations that the lines of a derivation, and its names, establish."""

    def __init__(self, steps):
        self.links = {}
        for s in steps:
            self._link(s.lhs, s.relation, s.rhs)
        for e in distinct(nodes(*(x for s in steps for x in (s.lhs, s.rhs)))):
            if isinstance(e, f.Let):
                self._link(e, "=", opened(e))
                if e.shape[0] == e.shape[1]:
                    self._link(f.Inv(e), "=", opened(f.Inv(e)))

    def _link(self, left, relation, right):
        self.links.setdefault(key(left), []).append((relation, key(right)))
        self.links.setdefault(key(right), []).append((FLIPPED[relation], key(left)))

    def chain(self, formulas, place):
        """(formula, relation, formula, ...) or an error that names the two."""
        out = [formulas[0]]
        for left, right in itertools.pairwise(formulas):
            relation = self.relation(left, right)
            if relation is None:
                raise NotDerived(
                    f"{place}: no line connects {tex(left)} with {tex(right)}"
                )
            out += [relation, right]
        if len(out) == 1 and key(out[0]) not in self.links:
            raise NotDerived(f"{place}: no line has {tex(out[0])}")
        return out

    def relation(self, left, right):
        """The strongest relation that follows, or None."""
        goal = key(right)
        for allowed in ("=", "<=", ">="):
            seen, todo = set(), [key(left)]
            while todo:
                at = todo.pop()
                if at == goal:
                    return allowed
                seen.add(at)
                todo += [
                    to
                    for relation, to in self.links.get(at, ())
                    if relation in ("=", allowed) and to not in seen
                ]
        return None

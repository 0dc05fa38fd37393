"""Wrong versions: of a line, made by machine from its own tree; of a function, by hand.

A line that its own checks cannot tell from its near variants has not been checked. So
every line is broken in the ways in which formulas are mistyped (`edits`), and each
variant has to be shown false on random instances. Variants that are true as well (zero
doubled, a term dropped from a loose bound) are no mutants and do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import zip_longest
from typing import Any

import numpy as np
import sympy

from companion.proof import formula as f
from companion.proof.numeric import compare
from companion.proof.rules import Premise
from companion.proof.trees import distinct, key, nodes

PER_LINE = 6  # of each line's variants so many are tried, of every kind before twice
REVERSED = {"<=": ">=", ">=": "<="}


@dataclass(frozen=True, eq=False)
class Mutant:
    """A plausible wrong version, named after the error: "½ dropped".

    `of` is the number of a line (from 1) or the name of a check; `wrong` is the wrong
    right-hand side (or whole line), or the wrong function.
    """

    name: str
    of: int | str
    wrong: Any


def machine_made(step, number, rng):
    """Up to PER_LINE mutants of a line, with the line that each one claims."""
    seen, kinds = {(key(step.rhs), step.relation)}, {}
    for name, wrong in variants(step):
        if (mark := (key(wrong.rhs), wrong.relation)) not in seen:
            seen.add(mark)
            kinds.setdefault(name, []).append(Mutant(name, number, wrong))
    for found in kinds.values():
        rng.shuffle(found)
    in_turn = (m for round in zip_longest(*kinds.values()) for m in round if m)
    return [m for m, _ in zip(in_turn, range(PER_LINE), strict=False)]


def variants(step):
    """(kind of error, the line with it)."""
    if step.relation in REVERSED:  # a bound may be loose, and a variant of it true
        yield "relation reversed", replace(step, relation=REVERSED[step.relation])
        return
    if isinstance(step.rhs, sympy.Basic | sympy.MatrixBase):
        edited = sympy_edits(step.rhs)
    else:
        edited = edits(step.rhs, symbols(step.lhs, step.rhs))
    for name, rhs in edited:
        yield name, replace(step, rhs=rhs)


def symbols(*formulas):
    """The symbols and names of formulas, each once."""
    found = nodes(*formulas, open_names=False)
    return distinct(e for e in found if isinstance(e, f.Sym | f.Let | f.Leaf))


def edits(e, others=()):
    """(kind of error, the formula with it): mistakes at the top, then further down."""
    if not isinstance(e, f.Block):
        yield "doubled", 2 * e
        yield "sign changed", -e
    yield from _edits_inside(e, others)


def _edits_inside(e, others):
    yield from _fitting(_edits_here(e, others), e.shape)
    if isinstance(e, f.Let | f.Sym | f.Leaf):
        return
    for x in fields(e):
        part = getattr(e, x.name)
        if isinstance(part, f.Formula):
            for name, new in _edits_inside(part, others):
                yield name, replace(e, **{x.name: new})
        elif isinstance(part, tuple) and x.init:
            for name, new in _edits_in_tuple(part, others):
                yield name, replace(e, **{x.name: new})


def _edits_in_tuple(parts, others):
    for i, part in enumerate(parts):
        if isinstance(part, f.Formula):
            inside = _edits_inside(part, others)
        elif isinstance(part, tuple):
            inside = _edits_in_tuple(part, others)
        else:
            continue
        for name, new in inside:
            yield name, (*parts[:i], new, *parts[i + 1 :])


def _edits_here(e, others):
    """Mistakes at a node, as functions: what does not fit together is no mistake."""
    match e:
        case f.Inv():
            yield "inverse dropped", lambda: e.arg
        case f.Transpose():
            yield "transpose dropped", lambda: e.arg
        case f.Add():
            for i, term in enumerate(e.terms):
                before, after = e.terms[:i], e.terms[i + 1 :]
                yield "term dropped", lambda a=before, b=after: _sum((*a, *b))
                if i:
                    yield (
                        "sign flipped",
                        lambda a=before, t=term, b=after: f.Add((*a, -t, *b)),
                    )
        case f.Mul():
            for i, factor in enumerate(e.factors):
                rest = (*e.factors[:i], *e.factors[i + 1 :])
                half = isinstance(factor, f.Const) and factor.value == f.HALF.value
                name = "½ dropped" if half else "factor dropped"
                yield name, lambda r=rest: _product(r)
        case f.Sym() | f.Let() | f.Leaf():
            for other in others:
                if key(other) != key(e):
                    yield f"${other.tex}$ for ${e.tex}$", lambda o=other: o


def _fitting(made, shape):
    for name, make in made:
        try:
            new = make()
        except TypeError:  # shapes that do not fit
            continue
        if new.shape == shape:
            yield name, new


def _sum(terms):
    return terms[0] if len(terms) == 1 else f.Add(terms)


def _product(factors):
    return factors[0] if len(factors) == 1 else f.Mul(factors)


def sympy_edits(e):
    """The same mistakes in a sympy expression or matrix."""
    yield "doubled", 2 * e
    yield "sign changed", -e
    if isinstance(e, sympy.Add | sympy.Mul):
        for i, part in enumerate(e.args):
            rest = e.func(*e.args[:i], *e.args[i + 1 :])
            if isinstance(e, sympy.Mul):
                half = part == sympy.Rational(1, 2)
                yield "½ dropped" if half else "factor dropped", rest
            else:
                yield "term dropped", rest
                yield "sign flipped", rest - part


def refuted(step, rng):
    """Whether a line is shown false: on a random instance, or by sympy."""
    try:
        if isinstance(step.lhs, f.Formula):
            premises = [r for r in step.by if isinstance(r, Premise)]
            found = compare(step.lhs, step.rhs, step.relation, rng, premises)
            return found is not None
        return step.decide(rng).refuted
    except (ArithmeticError, TypeError, ValueError, np.linalg.LinAlgError):
        return False  # it has no value, as a number, that could be false

"""Steps, checks and mutants: what a claim consists of, and how each is decided.

A `Step` is lhs, relation, rhs and a reason. It is decided twice: by an exact procedure
(normal forms in all dimensions, a certificate, or sympy on explicit matrices), and on
random instances of all that its symbols may be. It holds only if the procedure proves
it and no instance contradicts. A `Check` is evidence by numbers about a public function
of fimlib. A `Mutant` (`companion.proof.mutants`) is a wrong version of either; it is
rejected if the same machinery shows it false.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sympy

from companion.proof import formula as f
from companion.proof.expressions import check_conditions, identical, pairs_of
from companion.proof.mutants import machine_made, refuted
from companion.proof.names import check_names
from companion.proof.numeric import compare
from companion.proof.points import counterexample
from companion.proof.reasons import check_kinds, check_reasons
from companion.proof.render import premises_of
from companion.proof.rules import Given, Premise, Rule, blocks_equal, prepared
from companion.proof.trees import defines
from companion.proof.words import add, scale

ALL = "all dimensions"
GENERIC = "generic symbolic"
CALCULUS = "calculus"
NUMERIC = "numeric"
MONTE_CARLO = "Monte Carlo"
RECORDED = "recorded data"
DEFINITION = "definition"  # a line that says what a name stands for: nothing to prove
KINDS = (ALL, GENERIC, CALCULUS, NUMERIC, MONTE_CARLO, RECORDED)  # the strongest first


class NotRecorded(Exception):
    """The recorded numbers that a check reads are not part of this installation."""


@dataclass(frozen=True, eq=False)
class Step:
    """One line of a derivation.

    `by` holds rules and premises, and for an inequality one certificate. For two sympy
    expressions it holds premises only: sympy decides.
    """

    lhs: Any
    relation: str
    rhs: Any
    because: str
    by: tuple = ()
    chained: bool = False
    tex: tuple = ()  # how the two sides of a sympy step are written, if not in full

    kind = GENERIC  # of a step between sympy expressions

    @property
    def premises(self):
        """What the step rests on, each in Markdown: sets, conditions, independences."""
        return premises_of(self)

    def decide(self, rng):
        if isinstance(self.lhs, (sympy.Basic, sympy.MatrixBase)):
            return self._by_sympy(rng)
        try:
            proved, reason = self._prove(), "not provable by the reason given"
        except Exception as error:  # whatever broke, nothing was proved
            proved, reason = False, f"{type(error).__name__}: {error}"
        try:
            premises = [r for r in self.by if isinstance(r, Premise)]
            for premise in (r for r in premises if isinstance(r, Given)):
                if false := compare(*premise.parts, "=", rng):
                    return Outcome(False, ALL, f"a premise does not hold {false}")
            counterexample = compare(self.lhs, self.rhs, self.relation, rng, premises)
        except Exception as error:  # no value to compare, so no second opinion
            told = f"{type(error).__name__}: {error}"
            return Outcome(False, ALL, told if proved else reason)
        if counterexample is not None:
            return Outcome(False, ALL, f"false {counterexample}", refuted=True)
        return Outcome(bool(proved), ALL, "" if proved else reason)

    def _prove(self):
        check_reasons(self.by)
        check_names(self.lhs, self.rhs, self.by)
        check_kinds(self.lhs, self.rhs, self.by)
        if self.lhs.shape != self.rhs.shape:
            raise TypeError(f"shapes {self.lhs.shape} and {self.rhs.shape} differ")
        rules = tuple(r for r in self.by if isinstance(r, Rule))
        certificates = [c for c in self.by if not isinstance(c, Rule)]
        if self.relation == "=":
            return equal(self.lhs, self.rhs, rules)
        (certificate,) = certificates
        ends = {"<=": (self.lhs, self.rhs), ">=": (self.rhs, self.lhs)}
        return certificate.prove(*ends[self.relation], rules)

    def _by_sympy(self, rng):
        """Proved for all values, and not contradicted at random ones."""
        try:
            check_conditions(self.by)
            pairs = pairs_of(self.lhs, self.rhs, self.relation)
            if found := nonzero(pairs, rng, self.by):
                return Outcome(False, self.kind, f"false: {found}", refuted=True)
            proved = identical(pairs, self.by)
        except Exception as error:  # whatever broke, nothing was proved
            return Outcome(False, self.kind, f"{type(error).__name__}: {error}")
        return Outcome(proved, self.kind, "" if proved else "not provable")


class Calculus(Step):
    """A step between two expressions, one of which was integrated exactly."""

    kind = CALCULUS


def equal(lhs, rhs, rules=()):
    """Are two formulas equal in every dimension, given the rules?"""
    algebra = prepared(rules)
    if lhs.shape != rhs.shape:
        raise TypeError(f"shapes {lhs.shape} and {rhs.shape} differ")
    if isinstance(lhs, f.Block):
        return blocks_equal(algebra, lhs, *rhs.factors)
    if lhs.shape == f.SCALAR:
        return algebra.is_zero(algebra.scalar(lhs) - algebra.scalar(rhs))
    gap = add(algebra.matrix(lhs), scale(algebra.matrix(rhs), -1))
    return all(map(algebra.is_zero, algebra.reduce(gap).values()))


def nonzero(pairs, rng, conditions=()):
    """Where the two sides of sympy expressions differ at a random point, or None."""
    lhs, rhs = zip(*pairs, strict=True)
    return counterexample(lhs, rhs, rng, [c.at for c in conditions])


@dataclass(frozen=True)
class Outcome:
    """Whether an item holds; `refuted` if it was shown false, not merely unproved.

    `absent`: neither, since the recorded numbers to decide it from are not here.
    """

    ok: bool
    kind: str
    detail: str = ""
    refuted: bool = False
    absent: bool = False


@dataclass(frozen=True, eq=False)
class Line:
    """A later line of a chain: relation, right-hand side, reason, rules."""

    relation: str
    rhs: Any
    because: str
    by: tuple


def eq(rhs, because, *by):
    return Line("=", rhs, because, by)


def le(rhs, because, *by):
    return Line("<=", rhs, because, by)


def ge(rhs, because, *by):
    return Line(">=", rhs, because, by)


def chain(start, *lines):
    """Steps start R1 rhs1, rhs1 R2 rhs2, ..."""
    steps, left = [], start
    for i, line in enumerate(lines):
        steps.append(
            Step(left, line.relation, line.rhs, line.because, line.by, chained=i > 0)
        )
        left = line.rhs
    return steps


@dataclass(frozen=True, eq=False)
class Check:
    """Evidence by numbers about `subject`, a public function of fimlib.

    `test(subject, rng)` returns the worst residual (already divided by its scale, or a
    z-score for Monte Carlo); the check holds if that is finite and at most `tolerance`.
    """

    name: str
    subject: Callable
    test: Callable
    tolerance: float
    kind: str = NUMERIC

    def decide(self, rng):
        try:
            residual = float(self.test(self.subject, rng))
        except NotRecorded as missing:
            return Outcome(
                False, self.kind, f"records not found: {missing}", False, True
            )
        except Exception as error:  # whatever broke, the check has not held
            return Outcome(False, self.kind, f"{type(error).__name__}: {error}")
        ok = bool(np.isfinite(residual) and residual <= self.tolerance)
        word = "z-score" if self.kind == MONTE_CARLO else "worst residual"
        detail = f"{word} {residual:.2g}, allowed {self.tolerance:g}"
        return Outcome(ok, self.kind, detail, refuted=not ok)


@dataclass(frozen=True, eq=False)
class Derivation:
    """The steps, checks and mutants of one claim."""

    steps: list = field(default_factory=list)
    checks: list = field(default_factory=list)
    mutants: list = field(default_factory=list)

    def target(self, mutant):
        """The mutated line or check."""
        if isinstance(mutant.wrong, Step):
            return mutant.wrong
        if isinstance(mutant.of, int):
            return replace(self.steps[mutant.of - 1], rhs=mutant.wrong)
        (check,) = [c for c in self.checks if c.name == mutant.of]
        return replace(check, subject=mutant.wrong)


@dataclass(frozen=True)
class Report:
    """Outcomes of a run: (item, outcome) pairs.

    A mutant is ok if it was shown false: one that merely failed to be proved, or that
    raised an error, says nothing about the check.
    """

    steps: list
    checks: list
    mutants: list

    @property
    def ok(self):
        has_evidence = bool(self.steps or self.checks)
        everything = [*self.steps, *self.checks, *self.mutants]
        return has_evidence and all(o.ok or o.absent for _, o in everything)

    @property
    def absent(self):
        """Whether a recorded number is missing, so that something was not decided."""
        return any(o.absent for _, o in (*self.checks, *self.mutants))


def generator(name):
    """A generator that depends on the name alone: a claim's numbers never move."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def run(derivation, name):
    """Decide every line, check and mutant of a derivation, machine-made ones too."""

    def outcome(item, tag):
        return item.decide(generator(f"{name} {tag}"))

    steps = [
        (s, _line(s, outcome(s, f"step {i}"))) for i, s in enumerate(derivation.steps)
    ]
    checks = [(c, outcome(c, c.name)) for c in derivation.checks]
    mutants = []
    for m in derivation.mutants:
        tag = f"step {m.of - 1}" if isinstance(m.of, int) else m.of
        o = outcome(derivation.target(m), tag)
        mutants.append((m, replace(o, ok=o.refuted)))
    return Report(steps, checks, mutants + try_variants(steps, name))


def _line(step, outcome):
    """A line that holds because it says what a name stands for proves nothing."""
    return replace(outcome, kind=DEFINITION) if defines(step) else outcome


def try_variants(steps, name):
    """Machine-made mutants of the lines that hold, and whether each is told apart.

    A variant that no random instance contradicts is true as well, so no mutant. One
    that an instance contradicts and the line's reason proves would be a hole: the
    first of each line is tried (the tests try them all).
    """
    found = []
    for number, (step, outcome) in enumerate(steps, 1):
        if not outcome.ok or outcome.kind == DEFINITION:
            continue
        rng = generator(f"{name} variants of {number}")
        wrong = [m for m in machine_made(step, number, rng) if refuted(m.wrong, rng)]
        for i, m in enumerate(wrong):
            hole = i == 0 and isinstance(step.lhs, f.Formula) and proves(m.wrong)
            detail = "proved, though an instance contradicts" if hole else ""
            found.append((m, Outcome(not hole, outcome.kind, detail, True)))
    return found


def proves(step):
    """Does the line's own reason prove it, whatever random instances say?"""
    try:
        return bool(step._prove())
    except Exception:  # whatever broke, nothing was proved
        return False

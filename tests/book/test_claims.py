"""The ledger: every claim holds, and goes red when its formula is broken."""

import sys
import types

import numpy as np
import pytest

from companion import claims, proof
from companion.evidence.draws import gap, worst
from companion.evidence.ledger import CONDITIONS, CORRECTED, HOLDS
from companion.proof.formula import Formula
from companion.proof.mutants import machine_made, refuted
from companion.proof.page import derivation_markdown
from companion.proof.rules import Rule
from companion.proof.steps import proves
from fimlib.blr import BayesianLinearRegression

CLAIMS = claims.all_claims()


@pytest.mark.parametrize("id", CLAIMS)
def test_claim_holds(id, decided):
    entry = claims.entry(CLAIMS[id], decided(id))
    bad = [s for s in entry["steps"] + entry["checks"] if not s["ok"]]
    bad += [m for m in entry["mutants"] if not m["rejected"]]
    assert not bad
    assert entry["status"] == "pass"


@pytest.mark.parametrize("id", CLAIMS)
def test_claim_is_complete(id, decided):
    claim = CLAIMS[id]
    derivation = claim.derive()
    assert decided(id).steps, "a symbolic derivation"
    assert derivation.checks, "evidence by numbers"
    assert derivation.mutants, "wrong versions that are rejected"
    mutated = {m.of for m in derivation.mutants}
    assert {c.name for c in derivation.checks} <= mutated, "a check never seen to fail"
    assert claim.verdict in (HOLDS, CONDITIONS, CORRECTED)
    assert (claim.verdict == HOLDS) == (not claim.correction)
    assert claim.title and claim.statement


SYMBOLIC = {proof.ALL, proof.GENERIC, proof.CALCULUS}
BY_NUMBERS = {proof.NUMERIC, proof.MONTE_CARLO}


@pytest.mark.parametrize("id", CLAIMS)
def test_claim_has_a_symbolic_and_a_numeric_check(id, decided):
    """Claims about a figure have recorded numbers in the place of the second."""
    entry = claims.entry(CLAIMS[id], decided(id))
    assert {s["kind"] for s in entry["steps"] if s["ok"]} & SYMBOLIC
    kinds = {c["kind"] for c in entry["checks"] if c["ok"]}
    empirical = CLAIMS[id].chapter.startswith(("10-", "11-"))
    assert kinds & (BY_NUMBERS | ({proof.RECORDED} if empirical else set()))


@pytest.mark.parametrize("id", CLAIMS)
def test_the_record_says_how_strong_a_claim_is(id, decided):
    entry = claims.entry(CLAIMS[id], decided(id))
    used = {item["kind"] for item in entry["steps"] + entry["checks"]}
    assert entry["strength"] == [kind for kind in proof.KINDS if kind in used]
    assert used <= {*proof.KINDS, proof.DEFINITION}
    module, _, function = entry["source"].rpartition(".")
    assert getattr(sys.modules[module], function) is CLAIMS[id].derive
    assert entry["labels"] == list(CLAIMS[id].labels)


# The identities of the talk that hold for matrices of every size, and its inequalities.
EVERY_SIZE = (6, 7, 8, 9, 11, 12, 15, 16, 18, 22, 23, 26, 27, 30, 32, 34, 35, 46, 50)
INEQUALITIES = (3, 23, 25, 27, 31, 50)


@pytest.mark.parametrize("number", EVERY_SIZE)
def test_claim_is_proved_in_all_dimensions(number, decided):
    steps = decided(f"T{number}").steps
    assert any(o.ok and o.kind == proof.ALL for _, o in steps)


@pytest.mark.parametrize("number", INEQUALITIES)
def test_inequality_is_proved_not_sampled(number, decided):
    """By a certificate: a random instance cannot make a step hold."""
    steps = decided(f"T{number}").steps
    bounds = [(s, o) for s, o in steps if s.relation in ("<=", ">=")]
    assert bounds
    assert all(o.ok and o.kind == proof.ALL for _, o in bounds)
    assert all(any(not isinstance(r, Rule) for r in s.by) for s, _ in bounds)


def test_the_ledger_has_the_claims_of_the_chapters():
    assert list(CLAIMS) == [f"T{i}" for i in range(1, 51)]


@pytest.mark.parametrize("residuals", [[], [0.0, np.nan], [np.inf, 0.0]])
def test_what_was_not_compared_does_not_hold(residuals):
    @worst
    def compare(function, rng):
        yield from residuals

    assert not proof.Check("any", abs, compare, 1.0).decide(None).ok
    assert gap([], []) == gap([np.nan], [np.nan]) == np.inf


# --- broken lines and functions --------------------------------------------------


@pytest.mark.parametrize("id", CLAIMS)
def test_no_reason_proves_a_wrong_line(id, decided):
    """Whatever random instances say: the exact procedure alone must refuse it."""
    for number, (step, outcome) in enumerate(decided(id).steps, 1):
        if not outcome.ok or not isinstance(step.lhs, Formula):
            continue
        rng = proof.generator(f"{id} wrong line {number}")
        for mutant in machine_made(step, number, rng):
            if proves(mutant.wrong):
                assert not refuted(mutant.wrong, rng), (number, mutant.name)


def reaches_the_library(function, seen):
    """Is a function fimlib's, or does what it names lead to one?"""
    if id(function) in seen:
        return False
    seen.add(id(function))
    home = function if isinstance(function, types.ModuleType) else function.__module__
    if str(getattr(home, "__name__", home)).startswith("fimlib"):
        return True
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    names = {name for c in (code, *inner) for name in c.co_names}
    used = [function.__globals__[n] for n in names if n in function.__globals__]
    used += [cell.cell_contents for cell in function.__closure__ or ()]
    can_lead = (types.FunctionType, types.ModuleType, type)
    return any(reaches_the_library(x, seen) for x in used if isinstance(x, can_lead))


@pytest.mark.parametrize("id", CLAIMS)
def test_a_claim_is_evidence_about_the_library(id):
    """So that its wrong functions, which are rejected, stand for wrong code.

    Claims about a figure may be about its record alone.
    """
    if CLAIMS[id].chapter.startswith(("10-", "11-")):
        return
    subjects = [check.subject for check in CLAIMS[id].derive().checks]
    assert any(reaches_the_library(s, set()) for s in subjects)


def test_a_broken_function_turns_its_claim_red(monkeypatch):
    """Once through the whole: `make mutants` breaks the rest of the library."""
    right = BayesianLinearRegression.eig
    monkeypatch.setattr(BayesianLinearRegression, "eig", lambda *a: 2 * right(*a))
    entry = claims.verify(["T9"])["claims"][0]
    assert entry["status"] == "fail"
    assert any(not check["ok"] for check in entry["checks"])


# --- showing and selecting -------------------------------------------------------


def test_show_is_markdown_and_deterministic():
    text = claims.show("T9")
    assert text == claims.show("t9")
    assert text._repr_markdown_() == text
    assert text.startswith("<details><summary>4 checks, 5 mutants</summary>")
    assert "wrong functions, rejected: dropped ½" in text
    assert "✗" not in text


def test_a_claim_without_a_cell_shows_its_lines_too():
    text = claims.show("T24")
    assert text.startswith("| | step |")
    assert "all dimensions ✓" in text
    assert "wrong lines, rejected: " in text


def test_ledger_has_a_row_for_each_claim():
    rows = claims.ledger(["T5", "T24"]).splitlines()[2:]
    assert [row.split("**")[1] for row in rows] == ["T5", "T24"]


def test_unknown_claim_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"unknown claim T99; the ledger has T1, T2"):
        claims.show("T99")


@pytest.mark.parametrize("id", CLAIMS)
def test_shown_lines_fit_a_table_cell(id, decided):
    text = derivation_markdown(decided(id))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}

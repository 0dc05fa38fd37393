"""The edits break what they should, and their runner tells outcomes apart."""

import ast
import os
from pathlib import Path

import mutants
import pytest
from edits import edits_of

SOURCE = '''
"""No formula here: 1 + 1."""
import math, torch
LIMIT = 2 * 3

def score(gram, noise, factor):
    """Words: a + b."""
    if gram.ndim != 2:
        raise ValueError(f"{gram.ndim + 1} dimensions")
    start = gram[len(gram) - 1]
    log_det = 2 * factor.diagonal().log().sum() - math.log(noise)
    return -(0.5 * log_det / noise + (gram @ factor.mT).sqrt() ** 2) / 2

def check_this(a, b):
    return a + b
'''
EDITS = {(e.kind, e.before): e for e in edits_of("a.py", SOURCE)}


def test_the_vocabulary():
    """The kinds are those of the derivations, and two of code alone."""
    assert {kind for kind, _ in EDITS} == {
        "sign flipped",
        "term dropped",
        "factor dropped",
        "½ dropped",
        "inverse dropped",
        "sign changed",
        "transpose dropped",
        "function dropped",
        "mean for sum",
    }
    assert len({e.rank for e in EDITS.values()}) == len(EDITS)


def test_no_edit_of_sizes_messages_refusals_or_checks():
    touched = " ".join(before for _, before in EDITS)
    for text in ("len(", "ndim", "1 + 1", "2 * 3", "a + b"):
        assert text not in touched


@pytest.mark.parametrize("edit", EDITS.values(), ids=lambda e: f"{e.kind} {e.before}")
def test_an_edit_changes_one_place(edit):
    wrong = edit.applied(SOURCE)
    right = ast.unparse(ast.parse(SOURCE))
    changed = [
        (a, b)
        for a, b in zip(right.splitlines(), wrong.splitlines(), strict=True)
        if a != b
    ]
    assert len(changed) == 1
    compile(wrong, "a.py", "exec")


def test_examples():
    half = EDITS["½ dropped", "0.5 * log_det"].applied(SOURCE)
    assert "return -(log_det / noise + " in half
    mean = EDITS["mean for sum", "factor.diagonal().log().sum()"].applied(SOURCE)
    assert "factor.diagonal().log().mean() - math.log(noise)" in mean
    bare = EDITS["function dropped", "math.log(noise)"].applied(SOURCE)
    assert ".sum() - noise\n" in bare


def test_the_library_gives_enough_edits_in_an_order_of_their_own():
    edits = mutants.all_edits()
    assert len(edits) > 500
    assert len({e.name for e in edits}) == len(edits)
    first = {e.file.split("/")[1] for e in edits[:200]}
    assert len(first) >= 8, "from most of the library"
    assert not any("figures" in e.file for e in edits)


def test_the_tests_of_a_module_come_first():
    assert mutants.test_files("fimlib/blr.py")[0] == "tests/test_blr.py"
    first, *_ = mutants.test_files("fimlib/selection/dpp.py")
    assert first.startswith("tests/selection/")
    files = set(mutants.test_files("fimlib/blr.py"))
    assert files == set(mutants.test_files("fimlib/linalg.py"))
    assert all(Path(mutants.ROOT / file).exists() for file in files)


def test_what_changes_no_result_is_still_an_edit():
    names = [e.name for e in mutants.all_edits()]
    for start, why in mutants.without_effect():
        assert any(name.startswith(start) for name in names), start
        assert len(why.split()) >= 4


@pytest.mark.parametrize(("code", "who"), [(0, None), (1, "tests"), (2, "ledger")])
def test_outcomes(monkeypatch, code, who):
    monkeypatch.setattr(mutants, "checks", lambda tests: code)
    assert mutants.NOTICED[mutants.forked([])] == who


def test_a_crash_and_an_endless_run_are_noticed(monkeypatch):
    monkeypatch.setattr(mutants, "checks", lambda tests: os.kill(os.getpid(), 9))
    assert mutants.forked([]) == 1
    monkeypatch.setattr(mutants, "SECONDS", 0.2)
    monkeypatch.setattr(mutants, "checks", lambda tests: mutants.time.sleep(60))
    assert mutants.forked([]) == 3

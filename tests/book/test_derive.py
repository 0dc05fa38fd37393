"""Derivations in cells: what they show is what was decided, and a wrong line raises."""

import pytest
import sympy

from companion import chapters, claims
from companion.proof import (
    HALF,
    MI,
    Const,
    Derivation,
    Eye,
    Given,
    Independent,
    Invertible,
    Let,
    Multiplicative,
    Spectral,
    Step,
    Sylvester,
    Sym,
    Tr,
    Zero,
    chain,
    derive,
    eq,
    ge,
    le,
    logdet,
    mutants,
    ones,
    probabilities,
    scalar,
)
from companion.proof.cell import NotDerived, collected
from companion.proof.page import derived_markdown
from companion.proof.steps import generator, run
from companion.proof.trees import key

D = "D"
S, x, s2 = Sym(r"\Sigma", D, D, "pd"), Sym("x", D), scalar(r"\sigma^2")
S_new = Let(r"\Sigma_{new}", (S.I + x * x.T / s2).I)
gain = Let("G", HALF * logdet(S) - HALF * logdet(S_new))
ratio = HALF * logdet(S * S_new.I)
large = HALF * logdet(Eye(D) + S * x * x.T / s2)
small = HALF * logdet(1 + x.T * S * x / s2)
NAMED = eq(HALF * logdet(S) - HALF * logdet(S_new), "before and after")
JOINED = eq(ratio, "a product", Multiplicative(S, S_new.I))
SYLVESTER = eq(small, "Sylvester", Sylvester(S * x / s2, x.T))
LINES = chain(gain, NAMED, JOINED, eq(large, "multiply out"), SYLVESTER)


def test_lines_are_shown_with_their_reason_and_verdict():
    text = derive("T7", *LINES)._repr_markdown_()
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ")]
    assert [row[3].rstrip(" |") for row in rows[1:]] == [
        "definition",
        *["all dimensions ✓"] * 3,
    ]
    assert rows[2][2] == "a product"
    assert r"\left(\Sigma \Sigma_{new}^{-1}\right)" in rows[2][1]


def test_what_the_lines_need_is_told():
    text = derive("T7", *LINES)._repr_markdown_()
    assert r"*where* $\Sigma_{new}$ $= \left(\Sigma^{-1} +" in text
    assert r"*for* $\Sigma\succ 0$ ($D\times D$), $x$ ($D$), $\sigma^{2}>0$" in text
    one = ones("o", 2)
    p, q = Sym("p", 2), probabilities("q", one)
    line = Step(one.T * q * p, "=", p, "", (Given(one.T * q, Const(sympy.Integer(1))),))
    shown = derive("T7", line)._repr_markdown_()
    assert "$q$: positive entries that sum to one" in shown
    assert "$o^\\top q = 1$" in shown
    free = eq(MI("Y", r"\W"), "", Independent("Y", "Z", (r"\W",)))
    line = chain(MI("Y", (r"\W", "Z")), free)
    assert r"*given* $Y \indep Z \given \W$" in derive("T7", *line)._repr_markdown_()


def test_an_inverse_that_may_not_exist_is_an_assumption():
    p, u = Sym("P", D, D), Sym("U", D, D)
    swapped = (p * u).I, "=", u.I * p.I, ""
    with pytest.raises(NotDerived, match="P U is not proved to be invertible"):
        derive("T8", Step(*swapped))
    line = Step(*swapped, (Invertible(p), Invertible(u)))
    shown = derive("T8", line)._repr_markdown_()
    assert "$P$ invertible" in shown and "$U$ invertible" in shown
    assert "invertible" not in derive("T7", *LINES)._repr_markdown_()


def test_a_wrong_line_raises_and_is_named():
    broken = chain(gain, NAMED, eq(logdet(S * S_new.I), "½ forgotten"))
    with pytest.raises(NotDerived, match=r"T7, line 2 is ✗: .*false at D="):
        derive("T7", *broken)


def test_an_unproved_truth_raises_too():
    with pytest.raises(NotDerived, match=r"line 1 is ✗.*not provable by the reason"):
        derive("T8", *chain(large, eq(small, "no reason")))


def test_when_collected_it_is_recorded_instead():
    with collected() as found:
        derive("T8", *chain(large, eq(small, "no reason")))
    (derived,) = found
    assert not derived.report.steps[0][1].ok
    assert "✗" in derived._repr_markdown_()


def test_no_line_means_nothing():
    with pytest.raises(NotDerived, match="T7 has no line"):
        derive("T7")


def test_a_formula_written_by_hand_is_refused():
    """It could show another line than the one that is decided."""
    r = sympy.Symbol("r", positive=True)
    line = Step(r * (1 - r), "=", r - r**2, "", tex=("r(1-r)", "r+r^2"))
    with pytest.raises(NotDerived, match="line 1: shown by hand"):
        derive("T13", line)


@pytest.mark.parametrize(
    "other", [Sym(r"\Sigma", D, D), Let(r"\Sigma", S + S)], ids=["symbol", "name"]
)
def test_one_name_stands_for_one_thing(other):
    with pytest.raises(NotDerived, match=r"\\Sigma names two things"):
        derive("T7", *chain(S + other, eq(other + S, "")))


def test_sympy_carries_out_what_is_left_undone():
    t = sympy.Symbol("t", positive=True)
    line = Step(sympy.Integral(sympy.exp(-t), (t, 0, sympy.oo)), "=", 1, "by sympy")
    shown = derive("T5", line)._repr_markdown_()
    assert r"\int" in shown and "generic symbolic ✓" in shown
    line = Step(sympy.Integral(sympy.exp(-t), (t, 0, sympy.oo)), "=", 2, "by sympy")
    with pytest.raises(NotDerived):
        derive("T5", line)


def test_bars_do_not_end_a_cell_of_the_table():
    a, b = sympy.symbols("a b", real=True)
    matrix = sympy.Determinant(sympy.Matrix([[1, a], [b, 1]]))
    row = (
        derive("T8", Step(matrix, "=", 1 - a * b, ""))._repr_markdown_().split("\n")[2]
    )
    assert row.count("|") == 5


# --- displays ---------------------------------------------------------------------


def states(*lines, **said):
    return derive("T7", *lines, states=said).displays


def test_a_display_prints_what_the_lines_connect():
    shown = states(*LINES, eq=(gain, small))["eq"]
    assert shown.startswith("G = \\tfrac{1}{2} \\log \\left(1 + ")
    both = states(*LINES, eq=[(gain, ratio), (S_new.I, S.I + x * x.T / s2)])["eq"]
    assert r"\Sigma_{new}^{-1} &= \Sigma^{-1} + \frac{x x^\top}{\sigma^{2}}" in both


@pytest.mark.parametrize(
    "formulas",
    [(gain, 2 * small), (gain, -small), (ratio, HALF * logdet(S * S_new)), (2 * gain,)],
)
def test_a_display_cannot_say_more_than_the_lines(formulas):
    with pytest.raises(NotDerived, match="eq: no line"):
        states(*LINES, eq=formulas)


def test_the_relation_of_a_display_is_the_one_that_was_proved():
    G = Let("M", S)
    bound = le(Tr(G), "", Spectral(G))
    lines = chain(logdet(Eye(D) + G), bound, eq(Tr(G) + 1 - 1, "the same"))
    up, down = logdet(Eye(D) + G), Tr(G) + 1 - 1
    assert r"\le \tr" in states(*lines, eq=(up, down))["eq"]
    assert r"\ge \log" in states(*lines, eq=(down, up))["eq"]


def test_two_bounds_in_opposite_directions_connect_nothing():
    G = Let("M", S)
    both = [
        *chain(logdet(Eye(D) + G), le(Tr(G), "", Spectral(G))),
        *chain(Tr(G), ge(Tr(G) - HALF * Tr(G * G), "", Spectral(G))),
    ]
    with pytest.raises(NotDerived, match="no line connects"):
        states(*both, eq=(logdet(Eye(D) + G), Tr(G) - HALF * Tr(G * G)))


# --- chapters ---------------------------------------------------------------------

CELL = """
from companion.proof import *
A = Sym("A", "D", "D", "pd")
name = Let("N", {definition})
derive("T1", *chain(name, eq({definition}, "so called")))
"""


def notebook(*sources, tags=("derivation",)):
    return [
        {"cell_type": "code", "source": s, "metadata": {"tags": tags}} for s in sources
    ]


def test_the_tagged_cells_of_a_chapter_are_run():
    cells = notebook(CELL.format(definition="logdet(A)"))
    (derived,) = chapters.run_cells("x", cells)
    assert derived.claim == "T1" and derived.report.steps[0][1].kind == "definition"
    assert chapters.run_cells("x", notebook("1 / 0", tags=())) == ()


def test_a_name_means_the_same_in_the_whole_chapter():
    """A ½ dropped inside a name that another derivation uses is seen."""
    cells = [CELL.format(definition=d) for d in ("HALF * logdet(A)", "logdet(A)")]
    with pytest.raises(NotDerived, match=r"N is .*frac.* and, in T1, \\log"):
        chapters.run_cells("x", notebook(*cells))


def test_a_claim_takes_its_lines_from_its_chapter(decided):
    found = chapters.derivations("02-bayesian-linear-regression")
    assert {d.claim for d in found} == {"T5", "T6", "T7", "T8", "T9"}
    for id in ("T5", "T9"):
        lines = sum(len(d.steps) for d in found if d.claim == id)
        assert len(decided(id).steps) == lines
        assert not claims.all_claims()[id].derive().steps, "once, in the cell"


def test_without_the_book_it_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="in a clone of the repository"):
        chapters.derivations("02-x", tmp_path)


# --- machine-made mutants -----------------------------------------------------------


def kinds(lhs, rhs, relation="="):
    return {name for name, _ in mutants.variants(Step(lhs, relation, rhs, ""))}


def test_a_formula_is_broken_in_every_way_in_which_it_is_mistyped():
    A = Sym("A", D, D)
    rhs = HALF * Tr(A.T * S.I * A) - Tr(A)
    assert kinds(Tr(A), rhs) == {
        "doubled",
        "sign changed",
        "½ dropped",
        "factor dropped",
        "inverse dropped",
        "transpose dropped",
        "term dropped",
        "sign flipped",
        "$A$ for $\\Sigma$",
        "$\\Sigma$ for $A$",
    }
    assert kinds(Tr(A), Tr(S), "<=") == {"relation reversed"}
    a, b = sympy.symbols("a b", positive=True)
    assert {"doubled", "term dropped", "sign flipped"} <= kinds(a, a + b)


def test_the_variants_of_a_line_are_other_lines_of_the_same_shape():
    for step in LINES:
        for name, wrong in mutants.variants(step):
            assert key(wrong.rhs) != key(step.rhs), name
            assert wrong.rhs.shape == step.rhs.shape
            wrong.decide(generator("t"))  # it can be decided


def test_wrong_lines_are_rejected_and_counted():
    report = run(Derivation(LINES), "t")
    assert len(report.mutants) >= 12 and all(o.refuted for _, o in report.mutants)
    assert {m.of for m, _ in report.mutants} == {2, 3, 4}, "1 is a definition"
    assert f"{len(report.mutants)} wrong versions" in derived_markdown(report)


def test_a_variant_that_is_true_as_well_is_no_mutant():
    zero = Zero(D, D)
    assert run(Derivation([Step(S - S, "=", zero, "")]), "t").mutants == []


def test_a_reason_that_proves_anything_is_found_out():
    class Anything(Step):
        def _prove(self):
            return True

    line = Anything(large, "=", small, "believe me", (Sylvester(S * x / s2, x.T),))
    report = run(Derivation([line]), "t")
    assert not report.ok
    with pytest.raises(NotDerived, match="proved, though an instance contradicts"):
        derive("T7", line)

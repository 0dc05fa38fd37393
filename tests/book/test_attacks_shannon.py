"""Entropies and informations: what does not hold for every joint law is refused."""

import numpy as np
import pytest
from attacks import ONE, ZERO, Const, a, c, equation, holds, line, refused, scalar
from sympy import Rational

from companion.proof import (
    HALF,
    MI,
    Average,
    H,
    Independent,
    Informations,
    Let,
    Log,
    LogStates,
    Step,
    discrete,
)
from companion.proof.laws import Gaussian, Table, dependence

W, Y, E, V = r"\W", r"\Y", "E", "V"
LABEL, SAMPLE = discrete(Y, "C"), discrete(W, "L")
TINY = Const(Rational(1, 10**6))


def sums(*terms):
    return Informations(tuple((1, t) for t in terms))


INGLETON = MI(Y, E, given=W) + MI(Y, E, given=V) + MI(W, V)
FALSE = {
    # Four equally likely classes: 1.386 nats.
    "the gap as its own certificate": line(
        H(Y), "<=", Const(Rational(6, 5)), sums(Const(Rational(6, 5)) - H(Y))
    ),
    "a constant entropy": line(H(Y), ">=", TINY, sums(H(Y) - TINY)),
    "a name for the gap": line(H(Y), "<=", ONE, sums(Let("I", ONE - H(Y)))),
    # E = Y: I[E; Y] = H[Y], and W may say nothing.
    "processing without freshness": line(
        MI(E, Y), "<=", MI(W, Y), sums(MI(W, Y) - MI(E, Y))
    ),
    "processing, half the premise": line(
        MI(E, Y), "<=", MI(W, Y), sums(MI(Y, W, given=E))
    ),
    # XOR: Y, E fair bits, W their sum; 0 against log 2.
    "conditioning loses": line(
        MI(Y, E, given=W), "<=", MI(Y, E), sums(MI(Y, E) - MI(Y, E, given=W))
    ),
    "subadditive without a premise": line(
        MI(W, (Y, E)), "<=", MI(W, Y) + MI(W, E), sums(MI(Y, E))
    ),
    # Pairwise independent bits need not be independent: XOR again.
    "pairs for triples": equation(
        MI(Y, (W, E)), ZERO, Independent(Y, W), Independent(Y, E)
    ),
    "marginal for conditional independence": equation(
        MI(Y, E, given=W), ZERO, Independent(Y, E)
    ),
    "additive by marginal independence": equation(
        MI(W, (Y, E)), MI(W, Y) + MI(W, E), Independent(Y, E)
    ),
    # Zhang and Yeung: some laws of four variables violate Ingleton's inequality.
    "Ingleton": line(
        MI(Y, E),
        "<=",
        INGLETON,
        sums(MI(W, V), MI(Y, E, given=W), MI(Y, E, given=V)),
    ),
    "five variables, one condition short": equation(
        MI(W, ("F", "G", "K", V)),
        MI(W, "F")
        + MI(W, "G", given="F")
        + MI(W, "K", given=("F", "G"))
        + MI(W, V, given=("F", "G")),
    ),
    # Differential entropies: that of a narrow Gaussian is negative.
    "entropy of any variable": line(H(Y), ">=", ZERO, sums(H(Y))),
    "noise of any label": line(MI(W, Y), "<=", H(Y), sums(H(Y, given=W))),
    "mean entropy of any label": line(
        Average(Y, W, "entropy"), ">=", ZERO, sums(Average(Y, W, "entropy"))
    ),
    "information of a density with itself": lambda: Step(
        MI(Y, Y), ">=", ZERO, "", (sums(MI(Y, Y)),)
    ),
    "declared on one side alone": line(
        MI(W, LABEL), "<=", H(Y), sums(H(LABEL, given=W))
    ),
    "another variable is discrete": line(
        H((LABEL, W)), ">=", H(LABEL), sums(H(W, given=LABEL))
    ),
    # A label of C classes may have more than L values.
    "another count": line(
        H(LABEL), "<=", LogStates("L"), sums(Average(LABEL, None, "excess"))
    ),
    "the count of a pair": line(
        H((LABEL, SAMPLE)), "<=", LogStates("C"), sums(Average(LABEL, None, "excess"))
    ),
    "two counts for one label": line(H(LABEL), "<=", H(discrete(Y, "L")), sums()),
    "half the cap": line(
        H(LABEL),
        "<=",
        HALF * LogStates("C"),
        Informations(((HALF, Average(LABEL, None, "excess")),)),
    ),
    "two classes": line(
        H(LABEL),
        "<=",
        Const(Rational(7, 10)),
        sums(Average(LABEL, None, "excess")),
    ),
    "a weight of any sign": line(
        c * MI(W, Y), ">=", ZERO, Informations(((c, MI(W, Y)),))
    ),
    "a negative weight": line(ZERO, ">=", MI(W, Y), Informations(((-1, MI(W, Y)),))),
    "a rounded weight": line(
        MI(W, Y) / 10, ">=", ZERO, Informations(((0.1, MI(W, Y)),))
    ),
    "an information as a weight": line(
        MI(W, Y) * MI(W, E), ">=", ZERO, Informations(((MI(W, Y), MI(W, Y)),))
    ),
    "the divergence the other way": equation(
        Average(Y, W, "loss"), Average(Y, W, "gain")
    ),
    "a quotient": equation(H(LABEL) / H(LABEL), ONE),  # a certain label: 0 / 0
    "a logarithm": equation(Log(H(LABEL)), Log(H(LABEL))),
    "twice the information by its name": equation(
        Let(r"\MIof{\W;\Y}", 2 * MI(W, Y)), MI(W, Y) + MI(Y, W)
    ),
    "two variables by one name": equation(H("Y;W"), H("Y;W")),
    "a variable independent of itself": lambda: Step(
        H(LABEL), "=", ZERO, "", (Independent(LABEL, LABEL, W),)
    ),
}
TRUE = {
    "processing": line(
        MI(E, Y), "<=", MI(W, Y), Independent(Y, E, W), sums(MI(Y, W, given=E))
    ),
    "entropy of a label": line(H(LABEL), ">=", ZERO, sums(H(LABEL))),
    "the cap": line(
        MI(W, LABEL),
        "<=",
        LogStates("C"),
        sums(H(LABEL, given=W), Average(LABEL, None, "excess")),
    ),
    "chain rule of four": equation(
        MI(W, ("F", "G", "K", V)),
        MI(W, "F")
        + MI(W, "G", given="F")
        + MI(W, "K", given=("F", "G"))
        + MI(W, V, given=("F", "G", "K")),
    ),
    "conditioning lowers any entropy": line(H(Y, given=W), "<=", H(Y), sums(MI(Y, W))),
    "symbolic weights": line(
        a * MI(W, Y), "<=", (a + scalar("b")) * MI(W, Y), Informations(
            ((scalar("b"), MI(W, Y)),)
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FALSE)
def test_what_does_not_hold_for_every_law_is_refused(name):
    assert refused(FALSE[name])


@pytest.mark.parametrize("name", TRUE)
def test_what_holds_is_proved(name):
    assert holds(TRUE[name])


def test_laws_have_the_independences_asked_for_and_no_others():
    rng = np.random.default_rng(0)
    table = Table(("a", "b", "c"), rng.dirichlet(np.ones(24)).reshape(2, 3, 4))
    root = rng.standard_normal((3, 3))
    for law in (table, Gaussian(("a", "b", "c"), root @ root.T)):
        new = law.impose({"a"}, {"b"}, {"c"})
        assert dependence(new, {"a"}, {"b"}, {"c"}) == pytest.approx(0, abs=1e-12)
        assert dependence(new, {"a"}, {"c"}, set()) > 1e-3
        assert new.entropy({"a", "c"}) == pytest.approx(law.entropy({"a", "c"}))


def test_xor_is_seen():
    """Of a law with I[a; b] = 0 and I[a; b | c] = log 2."""
    joint = np.array([[[0.25, 0], [0, 0.25]], [[0, 0.25], [0.25, 0]]])
    law = Table(("a", "b", "c"), joint)
    assert dependence(law, {"a"}, {"b"}, set()) == pytest.approx(0)
    assert dependence(law, {"a"}, {"b"}, {"c"}) == pytest.approx(np.log(2))

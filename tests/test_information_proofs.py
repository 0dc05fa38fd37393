"""The leaves and certificates of T1 to T4 refuse what is not so."""

import numpy as np
import pytest
import sympy

from companion.evidence.ch01.information_gain import beta_entropy, beta_mean
from companion.evidence.ch01.information_quantities import EIG, H_Y
from companion.evidence.ch01.label_tables import (
    conditional,
    information,
    outcomes,
    tables,
)
from companion.evidence.ch01.predictive_quantities import EVALS
from companion.evidence.notation import LABEL as Y
from companion.evidence.notation import SAMPLED, C, W
from companion.proof import (
    HALF,
    MI,
    Average,
    Calculus,
    Const,
    H,
    Informations,
    LogStates,
    Step,
    scalar,
)

ZERO = Const(sympy.Integer(0))
KINDS = ((Y, W, "gain"), (W, Y, "gain"), (Y, W, "entropy"), (W, Y, "entropy"))


def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("leaf", KINDS, ids=str)
def test_an_average_has_the_value_of_its_entropies(leaf):
    """Its definition, by Bayes' rule, against the entropies that it is lowered to."""
    part, given, kind = leaf
    entropies = H(part) - H(part, given=given) if kind == "gain" else H(part, given)
    assert Step(Average(*leaf), "=", entropies, "").decide(rng()).ok


def test_excess_is_the_missing_entropy():
    excess = Average(Y, None, "excess")
    assert Step(excess, "=", LogStates(C) - H(Y), "").decide(rng()).ok
    assert not Step(excess, "=", LogStates("L") - H(Y), "").decide(rng()).ok
    with pytest.raises(ValueError, match="not declared"):
        Average(W, None, "excess")


def test_the_divergence_the_other_way_round_is_no_sum_of_entropies():
    outcome = Step(Average(Y, W, "loss"), "=", EIG, "").decide(rng())
    assert not outcome.ok and outcome.refuted


@pytest.mark.parametrize(
    ("smaller", "larger", "average"),
    [
        (EIG, H_Y, Average(SAMPLED, Y, "entropy")),  # the wrong gap
        (H_Y, EIG, Average(Y, W, "entropy")),  # reversed
        (ZERO, HALF * EIG, Average(Y, W, "gain")),  # a fraction of it
    ],
    ids=["wrong gap", "reversed", "half"],
)
def test_a_certificate_of_another_gap_proves_nothing(smaller, larger, average):
    assert not Informations(((1, average),)).prove(smaller, larger)


def test_weights_must_be_positive_and_make_the_gap():
    pair, one = MI(EVALS[:2], Y), MI(EVALS[0], Y)
    more = MI(EVALS[1], Y, given=EVALS[0])
    a = scalar("a")
    assert Informations(((a, more),)).prove(a * one, a * pair)
    assert not Informations(((a, more),)).prove(one, pair)
    negative = Const(sympy.Symbol("c", negative=True))
    assert not Informations(((negative, more),)).prove(negative * one, negative * pair)


@pytest.mark.parametrize(("a", "b"), [(1, 5), (2, 3), (4, 1)])
def test_exact_beta_means_are_those_of_sympy(a, b):
    t = sympy.Symbol("t", positive=True)
    density = sympy.expand(t ** (a - 1) * (1 - t) ** (b - 1))
    for power, log in ((0, True), (1, True), (2, False)):
        f = t**power * (sympy.log(t) if log else 1)
        integral = sympy.integrate(sympy.expand(density * f), (t, 0, 1))
        truth = integral / sympy.integrate(density, (t, 0, 1))
        assert sympy.simplify(beta_mean(a, b, power, log) - truth) == 0


def test_beta_entropy_and_its_step():
    exact = sympy.log(sympy.Rational(1, 10)) + sympy.Rational(9, 10)
    assert Calculus(beta_entropy(1, 10), "=", exact, "").decide(rng()).ok
    assert Calculus(beta_entropy(1, 10), "=", -exact, "").decide(rng()).refuted
    uniform = beta_entropy(1, 1)
    assert uniform == 0


def test_conditional_information_obeys_the_chain_rule():
    p = np.exp(tables(rng(), 3, 5, 3, certain=0.2))
    pair = outcomes(p[1:])
    chained = information(p[0], p[1]) + conditional(p[0], p[2], p[1])
    assert information(p[0], pair) == pytest.approx(chained, abs=1e-12)

"""Derivatives of formulas, concavity, and information identities."""

import numpy as np
import pytest

from companion.proof import (
    HALF,
    MI,
    Concave,
    Eye,
    H,
    Independent,
    Informations,
    Invertible,
    Mean,
    Step,
    Sym,
    Tr,
    TraceProducts,
    derivative,
    generator,
    logdet,
    scalar,
)
from companion.proof.instances import Instance
from companion.proof.numeric import value

P, Q = Sym("P", "D", "D", "pd"), Sym("Q", "D", "D", "pd")
V = Sym("V", "D", "D", "symmetric")
R, L = Sym("R", "r", "D"), Sym("L", "m", "D")
I_R = Eye("r")
t = scalar("t", positive=None, real=True)
W, Y, E1, E2 = r"\W", "Y", "E_1", "E_2"


def decide(lhs, relation, rhs, *by):
    return Step(lhs, relation, rhs, "", by).decide(generator("test"))


@pytest.mark.parametrize(
    "formula",
    [
        t * t * Tr(P) / (1 + t * t),
        Tr((P + t * V) * Q),
        logdet(P + t * t * Q),
        Tr((P + t * t * Q).I * V),
        Tr(P * (V + t * Q).T * (V + t * Q)),
        logdet(3 + t * t * Tr(P)),
        Tr((P + Q + t * V / 100).I * (P + t * Q)),
    ],
)
def test_derivative_equals_a_central_difference(formula):
    world = Instance(np.random.default_rng(0))
    value(formula, world)  # draws everything, t among it
    step, slopes = 1e-5, []
    (_, point) = world.values[t.value]
    here = point[0]
    for shift in (step, -step):
        point[0] = here + shift
        world.known.clear()
        slopes.append(value(formula, world))
    point[0] = here
    world.known.clear()
    numeric = (slopes[0] - slopes[1]) / (2 * step)
    assert value(derivative(formula, t), world) == pytest.approx(numeric, rel=1e-6)


def test_second_derivative_of_log_det():
    bend = derivative(derivative(logdet(P + t * V), t), t)
    inverse = (P + t * V).I
    exists = Invertible(P + t * V)
    assert decide(bend, "=", -Tr(inverse * V * inverse * V), exists).ok
    assert decide(bend, "=", Tr(inverse * V * inverse * V)).refuted


def test_trace_products():
    gap = P.I * R.T * (I_R + R * P.I * R.T).I * R * P.I
    smaller, larger = Tr((P + R.T * R).I * Q), Tr(P.I * Q)
    assert decide(smaller, "<=", larger, TraceProducts(((1, gap, Q),))).ok
    assert decide(larger, "<=", smaller, TraceProducts(((1, gap, Q),))).refuted
    # V need not be psd: the right difference, but no proof.
    step = Step(Tr(P), "<=", Tr(P) + Tr(Q * V), "", (TraceProducts(((1, Q, V),)),))
    assert not step._prove()


def log_det_of(x):
    return HALF * logdet(Q + x)


def bend_of_log_det(x, v):
    inverse = (Q + x).I
    return TraceProducts(((HALF.value, inverse, v * inverse * v),))


def test_concavity():
    random = Sym("F", "D", "D", "psd", mean=L.T * L)
    by = Concave(log_det_of, random, bend_of_log_det)
    assert decide(Mean(log_det_of(random)), "<=", log_det_of(L.T * L), by).ok
    assert decide(Mean(log_det_of(random)), ">=", log_det_of(L.T * L), by).refuted
    # A convex function is not proved concave by the wrong second derivative.
    convex = Concave(lambda x: -log_det_of(x), random, bend_of_log_det)
    step = Step(Mean(-log_det_of(random)), "<=", -log_det_of(L.T * L), "", (convex,))
    assert not step._prove()
    # The sides must be the function's own.
    assert not Step(Mean(log_det_of(random)), "<=", Tr(Q), "", (by,))._prove()


def test_information_identities():
    independent = Independent(Y, E1, W)
    left = MI(W, E1)
    assert decide(left, "=", MI(Y, E1) + MI(W, E1, given=Y), independent).ok
    assert decide(left, "=", MI(Y, E1) - MI(W, E1, given=Y), independent).refuted
    # Without the independence it is not provable (and false in general).
    assert not decide(left, "=", MI(Y, E1) + MI(W, E1, given=Y)).ok
    assert decide(H((Y, E1)), "=", H(Y) + H(E1, given=Y)).ok
    assert decide(H((Y, E1)), "=", H(Y) + H(E1)).refuted


def test_information_inequalities():
    joint = MI(Y, (E1, E2))
    rest = Informations(((1, MI(Y, E2, given=E1)),))
    assert decide(MI(Y, E1), "<=", joint, rest).ok
    assert decide(MI(Y, E1), ">=", joint, rest).refuted
    processing = Informations(((1, MI(Y, W, given=(E1, E2))),))
    independent = Independent(Y, (E1, E2), W)
    assert decide(joint, "<=", MI(Y, W), independent, processing).ok
    negative = Informations(((-1, MI(Y, E2, given=E1)),))
    assert not Step(joint, "<=", MI(Y, E1), "", (negative,))._prove()

"""Premises about symbols, sizes that are sums, and a softmax of any size."""

import numpy as np
import pytest
import sympy

from companion.evidence.softmax import (
    E_Y,
    HARD,
    LAMBDA,
    ONES,
    P_MAX,
    PI,
    PROBS,
    SLACK,
    SOFTMAX,
)
from companion.proof import (
    Congruences,
    Const,
    Det,
    Eye,
    Given,
    Scaled,
    Step,
    Sylvester,
    Sym,
    TraceProducts,
    generator,
    logdet,
    orthonormal_rows,
    rows_of,
    scalar,
)
from companion.proof.instances import Instance
from companion.proof.numeric import counted_sizes
from companion.proof.words import dimension

M, A = Sym("M", "n", "n"), Sym("A", "n", "D")
I_N = Eye("n")
ONE = Const(sympy.Integer(1))


Q = orthonormal_rows("Q", "n", "n")
ORTHOGONAL = Given(Q * Q.T, I_N)


def decide(lhs, relation, rhs, *by):
    return Step(lhs, relation, rhs, "", by).decide(generator("test"))


def test_a_premise_proves_what_follows_from_it():
    assert decide((Q.T * A).T * (Q.T * A), "=", A.T * A, ORTHOGONAL).ok
    assert decide(Q * Q.T * Q * M, "=", Q * M, ORTHOGONAL).ok


def test_without_the_premise_nothing_is_proved():
    outcome = decide((Q.T * A).T * (Q.T * A), "=", A.T * A)
    assert not outcome.ok
    assert not outcome.refuted  # its instances do satisfy the premise


def test_a_premise_does_not_prove_what_is_false():
    outcome = decide((Q.T * A).T * (Q.T * A), "=", 2 * A.T * A, ORTHOGONAL)
    assert not outcome.ok
    assert outcome.refuted
    assert decide(Q * A, "=", A, ORTHOGONAL).refuted


def test_a_false_premise_is_found_out():
    """M is any matrix: that it is orthogonal holds for no random instance."""
    outcome = decide((M * A).T * (M * A), "=", A.T * A, Given(M.T * M, I_N))
    assert not outcome.ok
    assert "premise" in outcome.detail or outcome.refuted
    # Here even the conclusion holds, so that only the premise can give it away.
    outcome = decide(M, "=", M, Given(M.T * M, I_N))
    assert not outcome.ok
    assert "a premise does not hold" in outcome.detail


def test_contradictory_premises_prove_nothing():
    rules = ORTHOGONAL, Given(Q * Q.T, 2 * I_N)
    assert not decide(A, "=", 2 * A, *rules).ok


def test_a_premise_must_fit_and_name_one_number():
    with pytest.raises(TypeError, match="differ"):
        Given(A, M)
    u = Sym("u", "n")
    unclear = Given(u.T * u + 1, u.T * M * u)
    assert not decide(u.T * u, "=", u.T * u, unclear).ok


def test_premises_serve_certificates_too():
    psd = Sym("S", "n", "n", "psd")
    turned = Q.T * A
    congruence = Congruences(((A, I_N),))
    assert decide(0 * A.T * A, "<=", turned.T * turned, ORTHOGONAL, congruence).ok
    assert not decide(0 * A.T * A, "<=", turned.T * turned, congruence).ok
    trace = TraceProducts(((1, SLACK, PI),))
    assert decide(PROBS.T * PROBS, "<=", P_MAX, *HARD, trace).ok
    assert not decide(PROBS.T * PROBS, "<=", P_MAX, trace).ok
    assert decide(P_MAX, "<=", PROBS.T * PROBS, *HARD, trace).refuted
    assert not decide(0 * psd, "<=", -psd, congruence).ok


def test_sizes_that_are_sums():
    n, m = (sympy.Symbol(s, positive=True) for s in "nm")
    assert dimension("n+m") == n + m
    assert dimension("n+1") == n + 1
    assert dimension(1) == 1
    world = Instance(np.random.default_rng(0))
    assert world.size("n+m+1") == world.size("n") + world.size("m") + 1
    wide = Sym("B", "n+m", "n+m")
    s = scalar("s")
    powers = (scalar("n") + scalar("m")) * logdet(s)
    rule = Scaled(s, wide.T * wide + Eye("n+m"))
    whole = wide.T * wide + Eye("n+m")
    assert decide(logdet(s * whole), "=", powers + logdet(whole), rule).ok
    wrong = scalar("n") * logdet(s) + logdet(whole)
    assert decide(logdet(s * whole), "=", wrong, rule).refuted


def test_a_size_that_stands_as_a_number_is_drawn_as_a_size():
    """Whichever side names it first: n log s was once a random n."""
    s = scalar("s")
    kernel = A * A.T
    left = scalar("n") * logdet(s) + logdet(I_N + kernel / s)
    assert counted_sizes(left, kernel) == ["n"]
    assert counted_sizes(kernel) == []
    rule = Scaled(s, I_N + kernel / s)
    assert decide(left, "=", logdet(s * I_N + kernel), rule).ok
    assert decide(logdet(s * I_N + kernel), "=", left, rule).ok


def test_a_stack_of_two_sets():
    b = Sym("B", "m", "D")
    both = rows_of("C", A, b)
    rule = Given(both.T * both, A.T * A + b.T * b)
    left = Det(Eye("n+m") + both * both.T)
    right = Det(Eye("D") + A.T * A + b.T * b)
    assert decide(left, "=", right, rule, Sylvester(both, both.T)).ok
    assert decide(left, "=", Det(Eye("D") + A.T * A), rule).refuted


def test_the_softmax_is_one():
    world = Instance(np.random.default_rng(3))
    p = world.draw(PROBS)[:, 0]
    assert p.sum() == pytest.approx(1)
    assert (world.draw(PI) == np.diag(p)).all()
    assert sorted(world.draw(E_Y)[:, 0]) == [0] * (len(p) - 1) + [1]
    assert (world.draw(SLACK) == np.diag(p.max() - p)).all()
    assert world.draw(ONES).shape == world.draw(PROBS).shape == (len(p), 1)


def test_the_softmax_has_no_curvature_along_the_ones():
    assert decide(LAMBDA * ONES, "=", 0 * ONES, *SOFTMAX).ok
    assert decide(LAMBDA * PROBS, "=", 0 * PROBS, *SOFTMAX).refuted
    assert decide(ONES.T * PI * ONES, "=", ONE, *SOFTMAX).ok

"""Matrices: inverses, determinants, orders and spectra that are not what they say."""

import numpy as np
import pytest
import sympy
from attacks import (
    ONE,
    ZERO,
    A,
    B,
    D,
    I,
    N,
    P,
    Q,
    R,
    S,
    Z,
    a,
    c,
    equation,
    holds,
    line,
    refused,
    x,
    y,
)

from companion.proof import (
    BlockProduct,
    Congruences,
    Const,
    Det,
    Eye,
    Grows,
    Invertible,
    Let,
    Log,
    Multiplicative,
    Positive,
    Scaled,
    Spectral,
    Step,
    Sylvester,
    Sym,
    Tr,
    TraceProducts,
    Triangular,
    Zero,
    block,
    generator,
    logdet,
    scalar,
)
from companion.proof.certificates import nonnegative, sign_on
from companion.proof.formula import Block
from companion.proof.rules import DetRule, Rule

FIXED = Const(sympy.Integer(10**6))
K = Sym("K", "D", "D", "psd")
one_by_one = Sym("s", 1, 1)
zeros = Zero("D", "D")
whole, lower = block([I, Z], [Q, I]), block([I, zeros], [Q, I])
upper = block([I, Z], [zeros, I])


def name(definition, **kind):
    return Let("M", definition, **kind)


EQUATIONS = {
    # Not invertible: a rank-one matrix for D > 1, psd matrices, wide roots.
    "inverse of a gram": (x.T * (x * x.T).I * x, ONE),
    "its trace": (Tr(x * x.T * (x * x.T).I), D),
    "inverse of psd": (A.I * A, I),
    "inverse of a sum of psd": ((A + B).I * (A + B), I),
    "inverse of a wide root": (R.T * (R * R.T).I * R, I),
    "that, given the inverse": (R.T * (R * R.T).I * R, I, Invertible(R * R.T)),
    "inverse of any": (Z.I * Z, I),
    "inverse of symmetric": ((P + S).I * (P + S), I),
    "inverse of a difference": ((P - Q).I * (P - Q), I),
    "inverse of nothing": ((P - P).I * (P - P), I),
    "inverse of zero": (zeros.I, zeros.I),
    "inverse of a scaled": ((c * P).I, P.I / c),
    "pd times psd": ((P * A).I * (P * A), I),
    "quadratic form below": ((x.T * P * x) / (x.T * P * x), ONE),
    "one by one": (one_by_one.I * one_by_one, ONE),
    "what is invertible for D = 1": (
        x.T * (x * x.T).I * x,
        ONE,
        Invertible(x * x.T),
    ),
    # Logarithms of what may be negative, or zero.
    "log det of a square": (logdet(Z * Z), 2 * logdet(Z)),
    "of an invertible square": (logdet(N * N), 2 * logdet(N)),
    "of a symmetric square": (logdet(S * S), 2 * logdet(S)),
    "of a gram": (logdet(Z.T * Z), 2 * logdet(Z)),
    "of minus": (logdet(-1 * P), logdet(P)),
    "of a difference": (logdet(P - Q), logdet(P) - logdet(Q)),
    "of any scale": (logdet(c * P), D * Log(c) + logdet(P), Scaled(c, P)),
    "of I + Z^2": (logdet(I + Z * Z), logdet(I + Z * Z)),
    "of I - P Q": (logdet(I - P * Q), logdet(I - Q * P), Sylvester(-1 * P, Q)),
    "of three pd and psd": (
        logdet(I + P * Q * A),
        logdet(I + Q * A * P),
        Sylvester(P, Q * A),
    ),
    "one det positive for two": (
        logdet(Z * N),
        logdet(Z) + logdet(N),
        Positive(Det(Z * N)),
        Multiplicative(Z, N),
    ),
    "det of a square by its log": (
        Log(Det(Z) * Det(Z)),
        2 * Log(Det(Z)),
    ),
    # Algebra.
    "commuting": (P * Q, Q * P),
    "trace in another order": (Tr(Z * N * S), Tr(N * Z * S)),
    "transposed form": (x.T * Z * y, y.T * Z * x),
    "symmetric product": ((P * Q).T, P * Q),
    "trace of an inverse": (Tr(P.I), 1 / Tr(P)),
    "Cayley and Hamilton for D = 1": (Tr(Z) * I, Z),
    "scalar for matrix": ((x.T * x) * I, x * x.T),
    "det of an outer product": (Det(x * x.T), x.T * x),
    "det of rectangular": (Det(R.T * R), Det(R * R.T)),
    "det of a sum": (Det(P + Q), Det(P) + Det(Q)),
    "det scaled once": (Det(2 * P), 2 * Det(P)),
    "det of minus": (Det(-1 * Z), -Det(Z)),
    "a size for another": (Tr(I), scalar("K")),
    "a size is no number": (Tr(I), Const(sympy.Integer(3))),
    "no size": (Tr(Eye("0")), ZERO),
    "identities of two sizes": (Eye("D"), Eye("K")),
    # Rules.
    "any rule": (Det(P), Det(Q), Rule()),
    "Sylvester of others": (Det(I + P * Q), Det(I + P * P), Sylvester(P, Q)),
    "scaled by one power": (Det(c * (Z + P)), c * Det(Z + P), Scaled(c, Z + P)),
    "not triangular": (Det(whole), ONE),
    "blocks do not multiply": (whole, upper * lower),
    "three block factors": (upper, upper * upper * upper),
    "blocks exchanged": (Det(whole), Det(upper)),
    "det of blocks, singular": (Det(block([P, P], [P, P])), Det(P) * Det(P)),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_false_equations_are_refused(name):
    lhs, rhs, *by = EQUATIONS[name]
    assert refused(equation(lhs, rhs, *by))


class Lie(DetRule):
    def sides(self):
        return P, (Q,)


class Yes:
    def prove(self, *anything):
        return True


@pytest.mark.parametrize(
    "build",
    [
        lambda: equation(Det(P), Det(Q), Lie())(),
        lambda: line(Tr(A), "<=", Tr(B) + 10**30 * D, Yes())(),
        lambda: equation(Det(c * Z), c * Det(Z), Multiplicative(c, Z))(),
        lambda: equation(Det(A * P), Tr(A) * Det(P), Scaled(A, P))(),
        lambda: equation(Det(P), Det(P), Sylvester(R, R))(),
        lambda: equation(Det(P), ONE, Triangular(P))(),
        lambda: equation(Det(whole), ONE, Triangular(whole))(),
        lambda: equation(
            Det(whole),
            ONE,
            BlockProduct(whole, upper, lower),
            Triangular(upper),
            Triangular(lower),
        )(),
        lambda: equation(Det(P), Det(P), BlockProduct(P, P, P))(),
        lambda: line(logdet(A), "<=", Tr(A), Spectral(A))(),
    ],
)
def test_rules_that_are_none_are_refused(build):
    assert refused(build)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Sym("s", "m", "n", "pd"),
        lambda: Sym("s", "m", "m", "positive"),
        lambda: block([I, R.T]),
        lambda: block([I, Z], [Q]),
        lambda: Block(((R, R), (R, R))),
    ],
)
def test_shapes_and_kinds_that_there_are_not_cannot_be_written(build):
    with pytest.raises((TypeError, ValueError)):
        build()


M_A, M_S, M_PQ = name(A), name(S), name(P * Q)
GRAM = name(R * P.I * R.T)
MINUS = -1 * (I - M_A)
INEQUALITIES = {
    # The Loewner order.
    "symmetric for psd": (P, "<=", P + S, Congruences(((I, S),))),
    "a square of any": (P, "<=", P + Z * Z, Congruences(((I, Z * Z),))),
    "commutator": (zeros, "<=", P * Q + Q * P, Congruences(((I, P * Q + Q * P),))),
    "product of pd": (zeros, "<=", P * Q, Congruences(((I, P * Q),))),
    # Squares do not keep the order: P = [[1, 1], [1, 1]] + tiny, A = diag(1, 0).
    "order of squares": (
        P * P,
        "<=",
        (P + A) * (P + A),
        Congruences(((I, A * A), (I, P * A + A * P))),
    ),
    "inverses keep the order": (
        P.I,
        "<=",
        (P + A).I,
        Congruences(((I, P.I - (P + A).I),)),
    ),
    "a multiple of any sign": (zeros, "<=", c * P, Congruences(((I, c * P),))),
    "psd for pd": (A, ">=", I / 10**9, Congruences(((I, A - I / 10**9),))),
    "parts of another size": (0 * I, "<=", I, Congruences(((Eye("K"), Eye("K")),))),
    "sides of two sizes": (Eye("D"), "<=", Eye("K"), Congruences(())),
    "no certificate": (P, "<=", P + A),
    "strictly": (zeros, "<", A, Congruences(((I, A),))),
    "unequal": (P, "!=", P),
    "blocks": (upper, "<=", lower, Congruences(())),
    # Traces.
    "trace with symmetric": (ZERO, "<=", Tr(P * S), TraceProducts(((1, P, S),))),
    "trace of three": (ZERO, "<=", Tr(P * Q * A), TraceProducts(((1, P * Q, A),))),
    "trace of a square": (ZERO, "<=", Tr(Z * Z), TraceProducts(((1, Z, Z),))),
    "a negative weight": (Tr(P * Q), "<=", ZERO, TraceProducts(((-1, P, Q),))),
    "a weight of any sign": (
        ZERO,
        "<=",
        c * Tr(P * Q),
        TraceProducts(((c.value, P, Q),)),
    ),
    "a rounded weight": (ZERO, "<=", Tr(P * Q) / 10, TraceProducts(((0.1, P, Q),))),
    "another size": (ZERO, "<=", Tr(I), TraceProducts(((1, Eye("K"), Eye("K")),))),
    # Growth.
    "grows with symmetric": (logdet(P), "<=", logdet(P + S), Grows(P, S)),
    "grows from psd": (logdet(A), "<=", logdet(A + B), Grows(A, B)),
    "grows by nothing": (logdet(P), "<=", logdet(Q), Grows(P, zeros)),
    "shrinks": (logdet(P + A), "<=", logdet(P), Grows(P, A)),
    "times minus one": (-1 * logdet(P), "<=", -1 * logdet(P + A), Grows(P, A)),
    "times any number": (c * logdet(P), "<=", c * logdet(P + A), Grows(P, A)),
    # Spectra. M = A B is not symmetric: A = 1e3 [[2, 1], [1, 1]] and so on.
    "a kind that is declared": (
        Tr(name(A * B, kind="symmetric").T * name(A * B, kind="symmetric")),
        "<=",
        Tr(A * B * A * B) + FIXED * D,
        Spectral(name(A * B, kind="symmetric"), positive=True),
    ),
    "a transpose": (
        Tr(M_PQ.T * M_PQ),
        "<=",
        Tr(M_PQ * M_PQ) + FIXED * D,
        Spectral(M_PQ, positive=True),
    ),
    "symmetric spectrum": (logdet(I + M_S), "<=", Tr(M_S), Spectral(M_S)),
    "zero in the spectrum": (
        logdet(name(A * P)),
        "<=",
        Tr(name(A * P)) - D,
        Spectral(name(A * P), positive=True),
    ),
    "a number by its name": (
        scalar("ell"),
        "<=",
        Tr(name(100 * I + A)),
        Spectral(name(100 * I + A)),
    ),
    "in LaTeX": (
        scalar(r"\ell"),
        "<=",
        Tr(name(100 * I + A)),
        Spectral(name(100 * I + A)),
    ),
    "square of a trace": (Tr(M_A * M_A), "<=", 2 * Tr(M_A) * Tr(M_A), Spectral(M_A)),
    "slack": (Tr(M_A * M_A), "<=", Tr(M_A) + FIXED * D, Spectral(M_A)),
    "another matrix": (Tr(M_A * K), ">=", ZERO - D, Spectral(M_A)),
    "a constant": (
        logdet(I + M_A),
        "<=",
        Tr(M_A) - ONE / 10**6,
        Spectral(M_A),
    ),
    "sizes exchanged": (
        logdet(Eye("r") + GRAM),
        "<=",
        Tr(GRAM) + D - scalar("r"),
        Spectral(GRAM),
    ),
    "second order from above": (
        logdet(I + M_A),
        "<=",
        Tr(M_A) - Tr(M_A * M_A) / 2,
        Spectral(M_A),
    ),
    "eigenvalues beyond one": (logdet(I - M_A), "<=", -Tr(M_A), Spectral(M_A)),
    # det > 0 for two eigenvalues beyond one, where log(1 - l) is none.
    "det positive, factors negative": (
        logdet(I - M_A),
        ">=",
        -Tr(M_A) - FIXED * D,
        Positive(Det(I - M_A)),
        Spectral(M_A),
    ),
}


@pytest.mark.parametrize("name", INEQUALITIES)
def test_false_inequalities_are_refused(name):
    lhs, relation, rhs, *by = INEQUALITIES[name]
    assert refused(line(lhs, relation, rhs, *by))


TRUE = {
    "inverse of a product": equation((N * P).I, P.I * N.I),
    "log det of a gram": equation(logdet(N.T * N * P), logdet(N.T * N) + logdet(P)),
    "premises": equation(
        logdet(Z * N),
        logdet(Z) + logdet(N),
        Positive(Det(Z)),
        Positive(Det(N)),
        Multiplicative(Z, N),
    ),
    "scaled": equation(logdet(a * P), D * Log(a) + logdet(P), Scaled(a, P)),
    "square of a number": line(
        zeros, "<=", c * c * P, Congruences(((I, c * c * P),))
    ),
    "square of a symmetric": line(
        ZERO, "<=", Tr(S * S), TraceProducts(((1, S * S, I),))
    ),
    "grows": line(logdet(P), "<=", logdet(P + A), Grows(P, A)),
    "spectral": line(logdet(I + M_A), "<=", Tr(M_A), Spectral(M_A)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUE)
def test_what_holds_is_proved(name):
    assert holds(TRUE[name])


def test_counterexamples_are_what_they_are_said_to_be():
    one, two = (
        1e3 * np.array([[2.0, 1], [1, 1]]),
        1e3 * np.array([[1.0, -0.9], [-0.9, 1]]),
    )
    both = one @ two
    assert np.trace(both.T @ both) > np.trace(both @ both) + 2e6
    p, added = np.ones((2, 2)) + 1e-3 * np.eye(2), np.diag([1.0, 0])
    larger = (p + added) @ (p + added) - p @ p
    assert np.linalg.eigvalsh(larger)[0] < -0.1


def test_a_pole_is_no_monotone_function():
    ell = sympy.Symbol("ell", positive=True)
    with pytest.raises(ValueError, match="changes sign"):
        sign_on(1 / (ell - 2) ** 2, ell, 0, sympy.oo)  # its integral jumps at 2
    with pytest.raises(ValueError, match="more than"):
        nonnegative(ell + scalar("k").value, ell)


def test_slack_beyond_the_scale_of_instances_is_for_the_proof_to_refuse():
    """10^40 D hides the difference from every instance, not from the certificate."""
    slack = Const(sympy.Integer(10) ** 40)
    step = Step(
        Tr(M_PQ.T * M_PQ),
        "<=",
        Tr(M_PQ * M_PQ) + slack * D,
        "",
        (Spectral(M_PQ, positive=True),),
    )
    outcome = step.decide(generator("slack"))
    assert not outcome.ok
    assert not outcome.refuted

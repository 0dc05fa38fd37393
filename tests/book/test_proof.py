"""The checking engine: it proves what is true and refuses what is false."""

import numpy as np
import pytest
import sympy

from companion.proof import (
    HALF,
    BlockProduct,
    Check,
    Congruences,
    Const,
    Derivation,
    Det,
    Eye,
    Grows,
    Invertible,
    Let,
    Mean,
    Multiplicative,
    Mutant,
    Scaled,
    Spectral,
    Step,
    Sylvester,
    Sym,
    Tr,
    Triangular,
    Zero,
    block,
    chain,
    eq,
    generator,
    le,
    logdet,
    run,
    scalar,
)
from companion.proof.certificates import manifestly_psd, nonnegative, sign_on
from companion.proof.page import derivation_markdown
from companion.proof.render import step_tex, tex
from companion.proof.scalars import is_zero

P, Q = Sym("P", "D", "D", "pd"), Sym("Q", "D", "D", "pd")
A, B = Sym("A", "D", "K"), Sym("B", "K", "D")
R, C = Sym("R", "r", "D"), Sym("C", "r", "D")
x, y = Sym("x", "D"), Sym("y", "D")
s = scalar("s")
VARIANCE = scalar(r"\sigma^2")
I, I_K, I_R = Eye("D"), Eye("K"), Eye("r")


def decide(step):
    return step.decide(generator("test"))


def statement(lhs, relation, rhs, *by):
    return Step(lhs, relation, rhs, "", by)


def proved(step):
    try:
        return step._prove()
    except ValueError:
        return False


TRUE = {
    "product transposed": ((A * B).T, "=", B.T * A.T),
    "inverse of a product": ((P * Q).I, "=", Q.I * P.I),
    "difference of inverses": (P.I - Q.I, "=", P.I * (Q - P) * Q.I),
    "parallel sum": (P.I - (P + Q).I, "=", P.I * (P.I + Q.I).I * P.I),
    "push-through": (
        A * (I_K + B * A).I,
        "=",
        (I + A * B).I * A,
        Invertible(I_K + B * A),
        Invertible(I + A * B),
    ),
    "Woodbury": (
        (P + A * B).I,
        "=",
        P.I - P.I * A * (I_K + B * P.I * A).I * B * P.I,
        Invertible(P + A * B),
        Invertible(I_K + B * P.I * A),
    ),
    "Sherman-Morrison": (
        (P + x * y.T / s).I,
        "=",
        P.I - P.I * x * y.T * P.I / (s + y.T * P.I * x),
        Invertible(P + x * y.T / s),
        Invertible(s + y.T * P.I * x),
    ),
    "trace is cyclic": (Tr(A * B * P), "=", Tr(P * A * B)),
    "trace of a transpose": (Tr(A * B), "=", Tr(B.T * A.T)),
    "a scalar is its own transpose": (x.T * A * B * y, "=", y.T * B.T * A.T * x),
    "Sylvester": (Det(I + A * B), "=", Det(I_K + B * A), Sylvester(A, B)),
    "log of a square": (logdet(P * P), "=", 2 * logdet(P)),
    "scaled": (logdet(s * P), "=", scalar("D") * logdet(s) + logdet(P)),
}


@pytest.mark.parametrize("name", TRUE)
def test_true_identities_are_proved(name):
    outcome = decide(statement(*TRUE[name]))
    assert outcome.ok, outcome.detail
    assert outcome.kind == "all dimensions"


FALSE = {
    "no reversal": ((P * Q).T, "=", P.T * Q.T),
    "factors in the wrong order": ((P * Q).I, "=", P.I * Q.I),
    "sign": (P.I - Q.I, "=", P.I * (P - Q) * Q.I),
    "push-through without transfer": (A * (I_K + B * A).I, "=", (I - A * B).I * A),
    "Woodbury with plus": (
        (P + A * B).I,
        "=",
        P.I + P.I * A * (I_K + B * P.I * A).I * B * P.I,
    ),
    "commuting": (P * Q, "=", Q * P),
    "trace of a product": (Tr(P * Q), "=", Tr(P) * Tr(Q)),
    "Sylvester with minus": (Det(I + A * B), "=", Det(I_K - B * A), Sylvester(A, B)),
    "dropped half": (HALF * logdet(P * P), "=", 2 * logdet(P)),
    "det of a sum": (Det(P + Q), "=", Det(P) + Det(Q)),
    "scaled by one power": (logdet(s * P), "=", logdet(s) + logdet(P)),
    "log of a sum": (logdet(I + P), "=", logdet(P)),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_identities_are_refuted(name):
    outcome = decide(statement(*FALSE[name]))
    assert not outcome.ok
    assert outcome.refuted


def test_an_unproved_truth_is_not_accepted():
    # True (Sylvester), but no reason is given.
    outcome = decide(statement(Det(I + A * B), "=", Det(I_K + B * A)))
    assert not outcome.ok
    assert not outcome.refuted


def test_numeric_agreement_is_needed_too():
    """A rule that lies is caught by the random instances."""

    class Liar(Sylvester):
        def __init__(self, a, b):
            super().__init__(a, b)
            self.sides = lambda: (I + A * B, (I_K + 2 * B * A,))

    outcome = decide(statement(Det(I + A * B), "=", Det(I_K + 2 * B * A), Liar(A, B)))
    assert not outcome.ok
    assert outcome.refuted


@pytest.mark.parametrize(
    "build",
    [
        lambda: A + B,
        lambda: A * A,
        lambda: A.I,
        lambda: Tr(A),
        lambda: Det(B),
        lambda: P + 1,
        lambda: P / x,
        lambda: block([I, A], [A, I]),
    ],
)
def test_shapes_that_do_not_fit_cannot_be_written(build):
    with pytest.raises(TypeError):
        build()


# --- inequalities ------------------------------------------------------------------

G = Let("G", R * P.I * R.T)
Z = Let("Z", P.I * Q)


def test_spectral_inequalities():
    good = [
        (logdet(I_R + G), "<=", Tr(G), Spectral(G)),
        (logdet(I_R + G), ">=", Tr(G) - HALF * Tr(G * G), Spectral(G)),
        (logdet(Z), "<=", Tr(Z) - scalar("D"), Spectral(Z, positive=True)),
        (Tr(G * G), ">=", Const(sympy.Integer(0)), Spectral(G)),
    ]
    for lhs, relation, rhs, by in good:
        assert decide(statement(lhs, relation, rhs, by)).ok


def test_false_spectral_inequalities_are_refuted():
    bad = [
        (logdet(I_R + G), "<=", HALF * Tr(G), Spectral(G)),
        (logdet(I_R + G), ">=", Tr(G), Spectral(G)),
        (logdet(Z), "<=", Tr(Z) - scalar("D") - 1, Spectral(Z, positive=True)),
    ]
    for lhs, relation, rhs, by in bad:
        assert decide(statement(lhs, relation, rhs, by)).refuted


def test_spectral_needs_a_known_spectrum():
    any_square = Let("X", Sym("X", "D", "D"))
    step = statement(logdet(I + any_square), "<=", Tr(any_square), Spectral(any_square))
    assert not proved(step)


def test_spectral_refuses_what_is_no_sum_over_eigenvalues():
    for rhs in (Tr(G) * Tr(G), Tr(G) + Tr(P)):
        step = statement(logdet(I_R + G), "<=", rhs, Spectral(G))
        assert not proved(step)


def test_congruences():
    gain = (I_R + R * P.I * R.T).I
    good = statement((P + R.T * R).I, "<=", P.I, Congruences(((R * P.I, gain),)))
    assert decide(good).ok
    wrong_way = statement(P.I, "<=", (P + R.T * R).I, Congruences(((R * P.I, gain),)))
    assert decide(wrong_way).refuted
    # The right difference with a matrix that need not be psd proves nothing.
    m = Sym("M", "r", "r", "symmetric")
    step = statement(P, "<=", P + R.T * m * R, Congruences(((R, m),)))
    assert not step._prove()


def test_growth_of_log_det():
    good = statement(logdet(P), "<=", logdet(P + R.T * R), Grows(P, R.T * R))
    assert decide(good).ok
    half = statement(logdet(P + R.T * R), "<=", logdet(P), Grows(P, R.T * R))
    assert decide(half).refuted


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (P, True),
        (P.I, True),
        (R.T * R, True),
        (P + Q, True),
        (R * P.I * R.T, True),
        ((R * P).T * R * P, True),
        (2 * P / s, True),
        (-P, False),
        (P - Q, False),
        (P * Q, False),
        (R.T * C, False),
        (Sym("S", "D", "D", "symmetric"), False),
    ],
)
def test_manifestly_psd(formula, expected):
    assert manifestly_psd(formula) is expected


def test_calculus_of_the_eigenvalue():
    ell = sympy.Symbol("ell", positive=True)
    log = sympy.log
    assert nonnegative(ell - log(1 + ell), ell)
    assert nonnegative(ell - 1 - log(ell), ell, start=1)
    assert not nonnegative(log(1 + ell) - ell, ell)
    assert sign_on((ell - 2) ** 2, ell, 0, sympy.oo) == 1
    assert sign_on(-ell / (1 + ell), ell, 0, sympy.oo) == -1
    with pytest.raises(ValueError, match="changes sign"):
        sign_on((ell - 2) * (ell + 1), ell, 0, sympy.oo)


# --- rules ---------------------------------------------------------------------------


def test_rules_verify_their_instances():
    from companion.proof.algebra import Algebra

    full = block([I, A], [B, I_K])
    with pytest.raises(ValueError, match="triangular"):
        Triangular(full).apply(Algebra())
    lower = block([I, Zero("D", "K")], [B, I_K])
    with pytest.raises(ValueError, match="multiply"):
        BlockProduct(full, lower, lower).apply(Algebra())
    with pytest.raises(TypeError):
        Multiplicative(A, B)


def test_scaling_rule():
    lam = scalar("lambda")
    step = statement(
        logdet(lam * (P + Q)),
        "=",
        scalar("D") * logdet(lam) + logdet(P + Q),
        Scaled(lam, P + Q),
    )
    assert decide(step).ok


def test_expectation_is_linear_and_nothing_more():
    m = Sym("M", "D", "D", "pd", mean=P)
    assert decide(statement(Mean(Tr(Q * m)), "=", Tr(Q * P))).ok
    assert decide(statement(Mean(logdet(m)), "=", logdet(P))).refuted
    assert decide(statement(Mean(Tr(m * m)), "=", Tr(P * P))).refuted


# --- scalars ---------------------------------------------------------------------


def test_scalar_decision_procedure():
    a, b = sympy.symbols("a b", positive=True)
    z = sympy.Symbol("z", real=True)
    log, exp = sympy.log, sympy.exp
    assert is_zero(log(a / b) - log(a) + log(b))
    assert is_zero(log((a**2 - b**2) / (a + b)) - log(a - b))
    assert is_zero(1 / (1 + exp(-z)) - exp(z) / (1 + exp(z)))
    assert is_zero(sympy.tanh(z) - (exp(2 * z) - 1) / (exp(2 * z) + 1))
    assert not is_zero(log(a + b) - log(a) - log(b))
    assert not is_zero(1 / (1 + exp(-z)) - exp(-z) / (1 + exp(-z)))
    assert not is_zero(a / 2 - a)


def test_sympy_steps_are_decided_and_refuted():
    a = sympy.Symbol("a", positive=True)
    assert decide(Step((1 + a) ** 2, "=", 1 + 2 * a + a**2, "")).ok
    outcome = decide(Step((1 + a) ** 2, "=", 1 + a**2, ""))
    assert outcome.refuted


# --- running -----------------------------------------------------------------------


def good_derivation(mutants):
    steps = chain(
        logdet(P * Q),
        eq(logdet(P) + logdet(Q), "multiplicative"),
    )
    checks = [Check("square", np.square, lambda f, rng: abs(f(3.0) - 9), 1e-12)]
    return Derivation(steps, checks, mutants)


def test_report_needs_every_mutant_rejected():
    wrong = [Mutant("minus", 1, logdet(P) - logdet(Q)), Mutant("abs", "square", abs)]
    assert run(good_derivation(wrong), "t").ok
    harmless = [Mutant("not wrong at all", 1, logdet(Q) + logdet(P))]
    assert not run(good_derivation(harmless), "t").ok


def test_a_mutant_that_only_crashes_is_not_rejected():
    def crash(_):
        raise ValueError("boom")

    report = run(good_derivation([Mutant("crash", "square", crash)]), "t")
    assert not report.mutants[0][1].ok


def test_a_mutant_that_is_only_unproved_is_not_rejected():
    steps = chain(Det(I + A * B), eq(Det(I_K + B * A), "", Sylvester(A, B)))
    true_but_unproved = Mutant("x", 1, Det(I_K + B * A * I_K.I))
    report = run(Derivation(steps, [], [true_but_unproved]), "t")
    assert not report.mutants[0][1].ok


def test_nothing_to_check_is_no_success():
    assert not run(Derivation(), "t").ok


@pytest.mark.parametrize("residual", [np.nan, np.inf, 1.0])
def test_a_check_fails_on_bad_residuals(residual):
    check = Check("c", abs, lambda f, rng: residual, 0.5)
    assert not check.decide(generator("c")).ok


def test_chain_links_each_line_to_the_one_before():
    steps = chain(P, eq(Q, "a"), le(P + Q, "b"))
    assert steps[1].lhs is steps[0].rhs
    assert [step.chained for step in steps] == [False, True]


def test_draws_depend_on_the_name_alone():
    one, two = generator("T9").standard_normal(3), generator("T9").standard_normal(3)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, generator("T8").standard_normal(3))


# --- rendering -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (HALF * logdet(P), r"\tfrac{1}{2} \log \det P"),
        (P + Q - A * B, r"P + Q -A B"),
        ((P + Q).I, r"\left(P + Q\right)^{-1}"),
        (x.T * P * x / s, r"\frac{x^\top P x}{s}"),
        (x * x.T / s, r"\frac{x x^\top}{s}"),
        (HALF * (P + Q), r"\tfrac{1}{2} \left(P + Q\right)"),
        (1 / s, r"\frac{1}{s}"),
        (HALF / s, r"\tfrac{1}{2}\frac{1}{s}"),
        (s * s, "s^{2}"),
        (VARIANCE * VARIANCE, r"\left(\sigma^{2}\right)^{2}"),
        (1 / (VARIANCE * VARIANCE), r"\frac{1}{\left(\sigma^{2}\right)^{2}}"),
        (2 * (HALF * P), r"2 \cdot \tfrac{1}{2} P"),
        (Let("a + b", P + Q) * P, r"\left(a + b\right) P"),
        (Let("x^2", P).I, r"\left(x^2\right)^{-1}"),
        (-(P + Q), r"-\left(P + Q\right)"),
    ],
)
def test_tex_keeps_the_authors_order(formula, expected):
    assert tex(formula) == expected


def test_matrix_order_is_loewner():
    step = statement((P + Q).I, "<=", P.I)
    assert r"\preceq" in step_tex(step)
    assert r"\le" in step_tex(statement(Tr(P), "<=", Tr(Q)))


def test_failures_show_in_the_rendered_table():
    steps = chain(logdet(P * Q), eq(logdet(P) - logdet(Q), "wrong"))
    text = derivation_markdown(run(Derivation(steps), "t"))
    assert "✗" in text
    assert "✓" not in text


# --- updates of rank one ---------------------------------------------------------

UPDATED = (P + x * x.T / s).I
BEFORE, ALONG = y.T * P.I * y, y.T * P.I * x


@pytest.mark.parametrize("sign", [-1, 1, 7])
def test_a_quadratic_form_of_an_update_is_no_other_number(sign):
    """Its value and that before are related; no vector may vanish for it."""
    rhs = BEFORE + sign * ALONG * ALONG / (s + x.T * P.I * x)
    line = statement(y.T * UPDATED * y, "=", rhs)
    assert line._prove() == (sign == -1)
    assert decide(line).refuted == (sign != -1)


def test_a_trace_of_an_update():
    rhs = Tr(P.I) - x.T * P.I * P.I * x / (s + x.T * P.I * x)
    assert decide(statement(Tr(UPDATED), "=", rhs)).ok
    assert not statement(Tr(UPDATED), "=", Tr(P.I))._prove()

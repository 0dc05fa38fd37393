"""Premises and names: no assumption is hidden, and a name says what it stands for."""

import mpmath
import numpy as np
import pytest
import sympy
from attacks import (
    ONE,
    ZERO,
    A,
    D,
    I,
    P,
    Q,
    S,
    Z,
    a,
    b,
    c,
    equation,
    holds,
    line,
    refused,
    x,
)

from companion.proof import (
    MI,
    Congruences,
    Const,
    Det,
    Equal,
    Eye,
    Given,
    Independent,
    Invertible,
    Let,
    Log,
    Positive,
    Step,
    Sym,
    Tr,
    Zero,
    centred,
    diagonal,
    discrete,
    generator,
    logdet,
    one_hot,
    ones,
    orthonormal_rows,
    probabilities,
    rows_of,
    scalar,
    signs,
    slack,
    solution,
)
from companion.proof.formula import Leaf
from companion.proof.instances import DECADES, EDGES, PLAIN, Instance
from companion.proof.sets import Diagonal, Ones, Orthonormal, Slack

ones_n = ones("o", "n")
p = probabilities("p", ones_n)
PI = diagonal(r"\Pi", p)
hot, best = one_hot("e", PI), one_hot("h", PI, probable=True)
I_N, n = Eye("n"), scalar("n")
flip, turn = signs("s", "n"), orthonormal_rows("q", "n", "n+m")
zero_sum = centred("z", ones_n, "k")
stack = rows_of("C", Sym("E", "n", "k"), Sym("F", "m", "k"))
wide = Sym("q", "n", "m", among=Orthonormal())
TINY = Const(sympy.Rational(1, 10**30))
FREE_PSD = Sym("N", "D", "D", "psd")
TWICE = solution("X", lambda v: v - 2 * I, I)  # I does not solve X - 2 I = 0
ANYTHING = solution("X", lambda v: v - v, I)

GIVEN = {
    # An equation about free symbols is no premise: it would be the whole statement.
    "X = I": equation(Det(Z), ONE, Given(Z, I)),
    "psd by assumption": line(
        P, ">=", Q, Given(FREE_PSD, P - Q), Congruences(((I, FREE_PSD),))
    ),
    "commuting": equation(P * Q, Q * P, Given(P * Q, Q * P)),
    "a number is one more": equation(c, c + 1, Given(Tr(Z), Tr(Z) + 1)),
    "a number is a little more": equation(c, c + TINY, Given(Tr(Z), Tr(Z) + TINY)),
    # tr Pi^2 = 1 / n for uniform probabilities alone.
    "uniform": equation(Tr(PI * PI), 1 / n, Given(PI, I_N / n)),
    "certain": equation(p.T * p, ONE, Given(p.T * p, ONE)),
    "the class is certain": equation(hot.T * p, ONE, Given(hot.T * p, ONE)),
    "one of n": equation(ones_n.T * p, 2 * ONE, Given(ones_n.T * p, 2 * ONE)),
    "rows orthonormal, not columns": equation(
        turn.T * turn, Eye("n+m"), Given(turn * turn.T, I_N)
    ),
    "more rows than columns": equation(wide * wide.T, I_N, Given(wide * wide.T, I_N)),
    "signs all positive": equation(flip, I_N, Given(flip, I_N)),
    "trace of signs": equation(Tr(flip), n, Given(flip * flip, I_N)),
    "columns that vanish": equation(
        zero_sum, Zero("n", "k"), Given(ones_n.T * zero_sum, Zero(1, "k"))
    ),
    "a stack the other way": equation(
        stack * stack.T, Eye("n+m"), Given(stack.T * stack, Eye("k"))
    ),
    "a solution that is none": equation(TWICE, 2 * I, Given(TWICE, 2 * I)),
    "any solution": equation(ANYTHING, I, Given(ANYTHING, I)),
    "two distributions": equation(probabilities("w", ones_n).T * p, p.T * p),
    "diagonal of anything": lambda: equation(
        Tr(Sym("d", "n", "n", "pd", among=Diagonal(Sym("w", "n")))), ONE
    )(),
    "ones of another kind": lambda: equation(
        Sym("o", "n", "n", "pd", among=Ones()), Eye("n")
    )(),
    "slack of any class": lambda: line(
        Zero("n", "n"),
        "<=",
        hot.T * p * I_N - PI,
        Congruences(((I_N, Sym("N", "n", "n", "psd", among=Slack(hot))),)),
    )(),
    "slack, by its maker": lambda: slack("N", hot),
    "rows that need not fit": lambda: orthonormal_rows("q", "n", "m"),
    "instances by hand": lambda: Sym("U", "D", "D", make=lambda world: 1),
    # p_y = 1 for a single class: 0 / 0.
    "one class": equation((1 / (hot.T * p) - 1) / (1 / (hot.T * p) - 1), ONE),
    "log of what is left": equation(
        Log((1 - hot.T * p) * (1 - hot.T * p)), 2 * Log(1 - hot.T * p)
    ),
}
CONDITIONS = {
    "never": equation(D, 2 * D, Positive(-1 * Tr(P))),
    "of zero": equation(D, 2 * D, Positive(Tr(P * Q) - Tr(Q * P))),
    "zero is not zero": equation(D, 2 * D, Invertible(Tr(P * Q) - Tr(Q * P))),
    "inverse of nothing": equation((Z - Z).I * (Z - Z), I, Invertible(Z - Z)),
    "not symmetric": equation(D, 2 * D, Positive(Z)),
    "of a rectangle": lambda: equation(D, D, Positive(Sym("B", "m", "n")))(),
    "that need not exist": equation(logdet(Z), logdet(Z), Positive(logdet(Z))),
    "of what it should allow": equation(Z.I * Z, I, Positive(Tr(Z.I * Z))),
    "invertible is not positive": equation(logdet(Z * Z), 2 * logdet(Z), Invertible(Z)),
    "of the opposite": equation(Log(a - b) + Log(b - a), ZERO, Positive(a - b)),
    "for one size alone": equation(
        x.T * (x * x.T).I * x, ONE, Invertible(x * x.T)
    ),
    "equal, but not so": equation(logdet(S * S), 2 * logdet(S), Equal(S, P)),
}  # fmt: skip
P_ANY = Sym("P", "D", "D")
half = Const(sympy.Rational(1, 2))
NAMES = {
    "two symbols": equation(P * P_ANY, P * P_ANY),
    "a number named as a matrix": equation(scalar("P") * P, P * scalar("P")),
    "a name for two things": equation(Let("L", P) * Let("L", Q), P * Q),
    "a name that is a symbol's": equation(Let("P", Q) * P, Q * P),
    "a number": equation(Let("3", 2 * ONE), 2 * ONE),
    "nothing": equation(Let("", P), P),
    "half of it": equation(
        Let(r"\tfrac12\log\det P", logdet(P)), logdet(P)
    ),
    "twice": equation(Let("2P", P), P),
    "a quotient": equation(Let("P/2", P), P),
    "a fraction": equation(Let(r"\frac{P}{2}", P), P),
    "an inverse": equation(Let("P^{-1}", P), P),
    "a power": equation(Let("P^2", P), P),
    "a sum": equation(Let("P+I", P), P),
    "a sign": equation(Let("-P", P), P),
    "an equation": equation(Let("Q=P", P), P),
    "a relation": equation(Let(r"0 \le P", P), P),
    "a symbol that is a formula": equation(Sym("2P", "D", "D"), Sym("2P", "D", "D")),
    "a size of any sign": equation(scalar("D", positive=None, real=True), Tr(I)),
    "a size and a matrix": equation(Tr(Sym("D", "D", "D")), Tr(Sym("D", "D", "D"))),
    "a kind that is not so": equation(
        Let("M", P - Q, kind="pd"), Let("M", P - Q, kind="pd")
    ),
    "psd that is not": equation(Tr(Let("M", P * Q, kind="psd")), Tr(P * Q)),
    "two declarations": equation(
        MI("W", discrete("Y", "C")), MI("W", discrete("Y", "L"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GIVEN)
def test_what_a_symbol_stands_for_cannot_be_made_up(name):
    assert refused(GIVEN[name])


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_that_no_or_few_values_satisfy_are_refused(name):
    assert refused(CONDITIONS[name])


@pytest.mark.parametrize("name", NAMES)
def test_names_that_say_something_else_are_refused(name):
    assert refused(NAMES[name])


N_SLACK = slack("N", best)
X = solution("X", lambda v: v - 2 * I, 2 * I)
TRUE = {
    "diagonal": equation(PI.I * p, ones_n, Given(PI * ones_n, p)),
    "positive class": equation(Log(hot.T * p * (hot.T * p)), 2 * Log(hot.T * p)),
    "slack": line(
        Zero("n", "n"),
        "<=",
        best.T * p * I_N - PI,
        Given(N_SLACK, best.T * p * I_N - PI),
        Congruences(((I_N, N_SLACK),)),
    ),
    "a solution": equation(Tr(X), 2 * D, Given(X, 2 * I)),
    "a condition": equation((P - Q).I * (P - Q), I, Invertible(P - Q)),
    "a name that is its formula": equation(Let(r"\log\det P", logdet(P)), logdet(P)),
    "a norm": equation(Let(r"\lvert x\rvert^2", x.T * x), x.T * x),
    "a kind that is proved": equation(
        Tr(Let("M", P + Q, kind="pd")), Tr(P) + Tr(Q)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUE)
def test_what_holds_is_proved(name):
    assert holds(TRUE[name])


class Lie(Leaf):
    """Zero in the proof, one in every instance: and so, one is zero."""

    tex = "l"

    def lower(self, algebra):
        return ZERO.value

    def evaluate(self, world):
        return 0.0


class AllOnes(Ones):
    def facts(self, sym):
        return ((sym, 0 * sym),)


class Unit(Sym):
    pass


@pytest.mark.parametrize(
    "build",
    [
        equation(Lie(), ZERO),
        equation(Sym("o", "n", among=AllOnes()), Zero("n", 1)),
        equation(Unit("U", "D", "D", "pd").I * Unit("U", "D", "D", "pd"), I),
    ],
)
def test_classes_that_are_not_the_engines_are_refused(build):
    assert refused(build)


def test_premises_are_told():
    by = (Given(PI * ones_n, p), Positive(1 - hot.T * p), Invertible(Z))
    step = Step(PI * ones_n, "=", p, "", by)
    told = " ".join(step.premises)
    for words in (
        r"$\Pi=\operatorname{diag}(p)$",
        "$p$: positive entries that sum to one",
        r"$\Pi o = p$",
        r"$1 -e^\top p>0$",
        "$Z$ invertible",
    ):
        assert words in told
    label = discrete(r"\Y", "C")
    step = Step(MI(label, "E"), "=", MI("E", label), "", (Independent("E", "F", "W"),))
    assert set(step.premises) == {r"$\Y$ has $C$ values", r"$E \indep F \given W$"}


@pytest.mark.parametrize("regime", [PLAIN, DECADES, EDGES])
def test_instances_are_of_their_kind(regime):
    """Against numpy's eigenvalues, of matrices scaled to one."""
    for seed in range(20):
        with mpmath.workdps(60):
            world = Instance(np.random.default_rng(seed), regime)
            drawn = {
                s: world.draw(s) for s in (P, A, S, Sym("N", "D", "D", "invertible"))
            }
        for symbol, value in drawn.items():
            size = max(float(abs(value).max()), 1e-300)
            low = np.linalg.eigvals((value / size).astype(float))
            if symbol.symmetric:
                assert (abs(value - value.T) <= 1e-12 * size).all()
                low = low.real
            if symbol.kind in ("psd", "pd"):
                assert low.min() > -1e-9
            if symbol.kind == "invertible":
                assert abs(low).min() > 1e-9


def test_instances_span_scales_sizes_and_signs():
    sizes, scales, singular, indefinite = set(), [], 0, 0
    for seed in range(60):
        with mpmath.workdps(60):
            world = Instance(np.random.default_rng(seed), (DECADES, EDGES)[seed % 2])
            pd, psd, symmetric = (world.draw(s) for s in (P, A, S))
        sizes.add(len(pd))
        scales.append(float(abs(pd).max()))
        psd = psd.astype(float)
        singular += np.linalg.matrix_rank(psd / max(psd.max(), 1e-300)) < len(psd)
        values = np.linalg.eigvalsh(symmetric.astype(float))
        indefinite += values[0] < 0
    assert {1, 2, 3} <= sizes
    assert min(scales) < 1e-4 and max(scales) > 1e8
    assert singular > 10 and indefinite > 10


def test_outcomes_have_their_mean_and_kind():
    root = Sym("L", "m", "D")
    random = Sym("X", "D", "D", "psd", mean=root.T * root)
    for seed in range(12):
        with mpmath.workdps(60):
            regime = (PLAIN, DECADES, EDGES)[seed % 3]
            world = Instance(np.random.default_rng(seed), regime)
            mean, total = world.draw(root).T @ world.draw(root), 0
            for world.outcome in range(3):
                each = world.draw(random)
                total = total + each * world.weights[world.outcome]
                size = max(float(abs(each).max()), 1e-300)
                low = np.linalg.eigvalsh((each / size).astype(float))
                assert low[0] > -1e-9
        scale = max(float(abs(mean).max()), 1e-300)
        assert float(abs(total - mean).max()) <= 1e-9 * scale


def test_constants_beyond_the_scale_of_one_are_contradicted():
    outcome = line(Tr(P * P), "<=", Tr(P) + 10**6 * D)().decide(generator("slack"))
    assert outcome.refuted

"""Expectations and concavity: what is not linear, or not concave everywhere."""

import numpy as np
import pytest
import sympy
from attacks import A, B, D, I, P, Q, S, Z, equation, holds, line, refused, x

from companion.proof import (
    Concave,
    Const,
    Det,
    Let,
    Mean,
    Spectral,
    Sym,
    Tr,
    TraceProducts,
    block,
    logdet,
)

F, G = Sym("F", "D", "D", "pd"), Sym("G", "D", "D", "psd")
X_PD = Sym("X", "D", "D", "pd", mean=F)  # random matrices, by what they can be
X_PSD = Sym("X", "D", "D", "psd", mean=G)
X_SYM = Sym("X", "D", "D", "symmetric", mean=F)
X_ANY = Sym("X", "D", "D", mean=Z)
OTHER = Sym("Y", "D", "D", "psd", mean=B)
THOUSAND = Const(sympy.Integer(1000))
SLACK = 10**6 * D
INVERSE = (P + X_PD).I


def form(m):
    return x.T * m * x


NOT_LINEAR = {
    # D = 1, P = 1, F = 1e8: the mean of F / (P + X) can be 5e13 times that of X / ...
    "inverse beside its mean": (Mean(Tr(F * INVERSE)), Mean(Tr(X_PD * INVERSE))),
    "the other way round": (Mean(Tr(X_PD * INVERSE)), Mean(Tr(F * INVERSE))),
    "inverse of a sum": (Mean(P * INVERSE * P), P * (P + F).I * P),
    "inverse": (Mean(X_PD.I), F.I),
    "inverse times mean": (Mean(X_PD.I * F), I),
    "with its own inverse": (Mean(P * X_PD * INVERSE), P * F * (P + F).I),
    "by a name": (Mean(Tr(F * Let("W", INVERSE))), Tr(F * (P + F).I)),
    "in a coefficient": (
        Mean(Tr(((form(X_PD) + 1) * P + Q).I * F)),
        Tr(((form(F) + 1) * P + Q).I * F),
    ),
    "log det": (Mean(logdet(X_PD)), logdet(F)),
    "det": (Mean(Det(X_PD)), Det(F)),
    "det of blocks": (
        Mean(Det(block([X_PD, Z], [Z.T, P]))),
        Det(block([F, Z], [Z.T, P])),
    ),
    "square": (Mean(Tr(X_PD * X_PD)), Tr(F * F)),
    "square of a trace": (Mean(Tr(X_PD) * Tr(X_PD)), Tr(F) * Tr(F)),
    "trace times matrix": (Mean(Tr(X_PD) * X_PD), Tr(F) * F),
    "square of a form": (Mean(form(X_PD) * form(X_PD)), form(F) * form(F)),
    "reciprocal of a form": (Mean(1 / (form(X_PD) + 1)), 1 / (form(F) + 1)),
    "det times trace": (Mean(Det(X_PD) * Tr(X_PD)), Mean(Det(X_PD)) * Tr(F)),
    "two random matrices": (Mean(Tr(X_PSD * OTHER)), Tr(G * B)),
    "outside the mean": (Mean(Tr(X_PD)), Tr(X_PD)),
    "a factor in the sign of the mean": (Mean(Tr(X_PD), r"2\simpleE{}"), Tr(F)),
    "no sign of the mean": (Mean(Tr(X_PD), ""), Tr(F)),
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_expectation_of_what_is_not_linear_is_refused(name):
    assert refused(equation(*NOT_LINEAR[name]))


@pytest.mark.parametrize(
    "build",
    [
        # No random psd matrix has an indefinite mean.
        lambda: equation(
            Mean(Tr(Sym("h", "D", "D", "psd", mean=S))), Tr(S)
        )(),
        lambda: equation(
            Mean(Tr(Sym("h", "D", "D", "pd", mean=G))), Tr(G)
        )(),
        lambda: equation(
            Mean(Tr(Sym("h", "D", "D", "symmetric", mean=Z))), Tr(Z)
        )(),
        lambda: Sym("h", "D", "D", "pd", mean=X_PD + P),  # a random mean
        lambda: Sym("h", "D", "D", "pd", mean=Z * x),  # of another shape
    ],
)  # fmt: skip
def test_a_mean_has_to_be_one(build):
    assert refused(build)


def cubic(m):
    shifted = m + THOUSAND * I
    return -1 * Tr(shifted * shifted * shifted)


def bend_of_cubic(m, v):
    return TraceProducts(((6, m + THOUSAND * I, v.T * v),))


def growth(m):
    return logdet(P + m)


def bend_of_growth(m, v):
    return TraceProducts(((1, (P + m).I, v * (P + m).I * v),))


def shifted(m):
    return logdet(THOUSAND * I + m)


def bend_of_shifted(m, v):
    inverse = (THOUSAND * I + m).I
    return TraceProducts(((1, inverse, v * inverse * v),))


def square(m):
    return Tr(m * m)


def jensen(g, variable, second, relation="<=", mean=None, slack=0):
    mean = variable.mean if mean is None else mean
    right = g(mean) + slack * D if slack else g(mean)
    return line(Mean(g(variable)), relation, right, Concave(g, variable, second))


class Yes:
    def prove(self, *anything):
        return True


def nothing(m, v):
    return TraceProducts(())


def two_faced(m):
    """Convex where the sides are compared, concave where the bend is taken."""
    return square(m) if m in (X_PSD, G) else -1 * square(m)


CONVEX = {
    # Eigenvalues below -1000: X = -3000 I or 3010 I.
    "cubic of symmetric": jensen(cubic, X_SYM, bend_of_cubic),
    "log det of symmetric": jensen(shifted, X_SYM, bend_of_shifted),
    "log det of any": jensen(shifted, X_ANY, bend_of_shifted),
    "log det at zero": jensen(
        logdet, X_PSD, lambda m, v: TraceProducts(((1, m.I, v * m.I * v),))
    ),
    "shifted below zero": jensen(
        lambda m: logdet(m - I),
        X_PD,
        lambda m, v: TraceProducts(((1, (m - I).I, v * (m - I).I * v),)),
    ),
    "the other way": jensen(growth, X_PSD, bend_of_growth, relation=">="),
    "another mean": jensen(growth, X_PSD, bend_of_growth, mean=A),
    "convex": jensen(square, X_PSD, nothing),
    "convex, with slack": jensen(two_faced, X_PSD, bend_of_growth, slack=10**6),
    "inverse is convex": jensen(lambda m: Tr((P + m).I), X_PSD, bend_of_growth),
    "a certificate of nothing": jensen(square, X_PSD, lambda m, v: Yes()),
    "nothing random": line(growth(A), "<=", growth(A), Concave(growth, A, nothing)),
    "two random matrices": jensen(
        lambda m: Tr(m * OTHER) - square(m),
        X_PSD,
        lambda m, v: TraceProducts(((2, v * v, I),)),
    ),
    "random on one side": line(
        Mean(Tr(Let("M", X_PD * P))),
        "<=",
        Tr(Let("M", X_PD * P)),
        Spectral(Let("M", X_PD * P), positive=True),
    ),
    "a mean of log det": line(
        Mean(logdet(Let("M", X_PD * P))),
        "<=",
        logdet(F * P),
        Spectral(Let("M", X_PD * P), positive=True),
    ),
    "slack of 10^6": line(
        Mean(Tr(F * INVERSE)),
        "<=",
        Mean(Tr(X_PD * INVERSE)) + SLACK,
        TraceProducts(((10**6, I, I),)),
    ),
    "slack of 10^40": line(
        Mean(Tr(F * INVERSE)),
        "<=",
        Mean(Tr(X_PD * INVERSE)) + 10**40 * D,
        TraceProducts(((10**40, I, I),)),
    ),
}
CONCAVE = {
    "cubic of psd": jensen(cubic, X_PSD, bend_of_cubic),
    "log det of psd": jensen(growth, X_PSD, bend_of_growth),
    "log det of pd": jensen(
        logdet, X_PD, lambda m, v: TraceProducts(((1, m.I, v * m.I * v),))
    ),
}


@pytest.mark.parametrize("name", CONVEX)
def test_what_is_not_concave_where_the_matrix_can_be_is_refused(name):
    assert refused(CONVEX[name])


@pytest.mark.parametrize("name", CONCAVE)
def test_what_is_concave_is_proved(name):
    assert holds(CONCAVE[name])


def test_a_mean_goes_through_what_is_linear():
    assert holds(equation(Mean(Tr(P.I * X_PD) + logdet(P)), Tr(P.I * F) + logdet(P)))
    assert holds(equation(Mean(Tr(X_PD) * Mean(Tr(X_PD))), Tr(F) * Tr(F)))
    named = Let("M", X_PD * P)
    bound = Spectral(named, positive=True)
    assert holds(line(Mean(logdet(named)), "<=", Mean(Tr(named)) - D, bound))


def test_counterexamples_are_what_they_are_said_to_be():
    weights, values = np.array([0.1, 0.9]), np.array([-11000.0, 2000.0])  # D = 1
    mean = weights @ values
    assert mean > 0
    assert -(weights @ (values + 1000) ** 3) > -((mean + 1000) ** 3)
    low, high = -3000.0, 3010.0  # multiples of I, D = 2
    log_dets = [2 * np.log(abs(v + 1000)) for v in (low, high)]
    assert np.mean(log_dets) > 2 * np.log((low + high) / 2 + 1000)
    p, f, values = 1.0, 1e8, np.array([1e-6, 2e8 - 1e-6])
    assert np.mean(f / (p + values)) > np.mean(values / (p + values)) + 1e6

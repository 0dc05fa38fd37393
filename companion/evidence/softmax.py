"""A softmax with any number of classes, as symbols with premises.

p are the probabilities, Pi = diag(p), e_y the one-hot label, g_y = p - e_y the gradient
by the logits, Lambda the mean of g_y g_y' over the labels. Every class has positive
probability, as a softmax gives it.
"""

import sympy

from companion.evidence.notation import ONE, C, same
from companion.proof import *

__all__ = [
    "G_Y", "HARD", "I_C", "KAPPA", "LAMBDA", "ONES", "PI", "PROBS", "P_MAX", "P_Y",
    "SLACK", "SOFTMAX", "TRACE_ONE", "V", "variance_of_one_sample",
]  # fmt: skip

I_C = Eye(C)


ONES = ones(r"\mathbf 1", C)
PROBS = probabilities("p", ONES)
PI = diagonal(r"\Pi", PROBS)
E_Y = one_hot("e_y", PI)
E_HARD = one_hot(r"e_{\hat y}", PI, probable=True)
SLACK = slack("N", E_HARD)
P_Y, P_MAX = Let("p_y", E_Y.T * PROBS), Let(r"p_{\hat y}", E_HARD.T * PROBS)
SOFTMAX = (
    Given(PI * ONES, PROBS),
    Given(ONES.T * PROBS, ONE),
    Given(PI * E_Y, P_Y * E_Y),
    Given(E_Y.T * E_Y, ONE),
    Given(ONES.T * E_Y, ONE),
)
TRACE_ONE = Given(Tr(PI), ONE)
HARD = (TRACE_ONE, Given(Tr(PI * PI), PROBS.T * PROBS), Given(SLACK, P_MAX * I_C - PI))
CENTRED = ONES * PROBS.T - I_C  # its rows are p - e_c
LAMBDA = Let(r"\Lambda", CENTRED.T * PI * CENTRED)
G_Y = Let("g_y", PROBS - E_Y)
V = Let("v", -(E_Y / P_Y))
KAPPA = Let(r"\kappa", V.T * LAMBDA * V)


def three_classes():
    """p with two free entries, Lambda, and the three gradients."""
    a, b = sympy.symbols("p_1 p_2", positive=True)
    p = sympy.Matrix([a, b, 1 - a - b])
    gradients = [p - sympy.eye(3).col(c) for c in range(3)]
    return p, sympy.diag(*p) - p * p.T, gradients


def mean_fourth_power():
    p, _, gradients = three_classes()
    return sum(p[c] * g.dot(g) ** 2 for c, g in enumerate(gradients))


def variance_of_one_sample():
    p, lam, gradients = three_classes()
    gaps = [g * g.T - lam for g in gradients]
    spread = sum(p[c] * (m * m).trace() for c, m in enumerate(gaps))
    return same(
        spread,
        mean_fourth_power() - (lam * lam).trace(),
        r"the variance of one sampled label, $\Vert g_y\Vert^2=1+\Vert p\Vert^2-2p_y$ "
        r"(expanded for $\numclasses=3$)",
        tex=(
            r"\simpleE{y}\Vert g_yg_y^\top-\Lambda\Vert_F^2",
            r"\simpleE{y}\Vert g_y\Vert^4-\Vert\Lambda\Vert_F^2",
        ),
    )

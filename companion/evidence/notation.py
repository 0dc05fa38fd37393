"""The symbols that the claims share, as the book writes them.

P is the posterior precision, FIM the Fisher information of one label, R a root of it
(r x D), G = R P^-1 R' its Gram block; J the outputs' Jacobian and Lambda the label's
Fisher information in the outputs; S the covariance of Bayesian linear regression.
"""

import sympy

from companion.proof import HALF, Const, Eye, Let, Step, Sym, discrete, logdet, scalar

__all__ = [
    "EIG", "FIM", "HESSIAN", "I_D", "I_K", "I_N", "I_R", "JAC", "LABEL", "LAM",
    "LAMBDA", "ONE", "OUTER", "ROW", "S2", "SAMPLED", "S_NEW", "TWO_PI", "TWO_PI_E",
    "X_1", "ZERO", "C", "E", "G", "K", "N", "P", "R", "S", "W", "Y", "at_least",
    "at_most", "entropy", "same",
]  # fmt: skip

# Dimensions: classes, batch, training set, evaluation set.
C, K, N, E = r"\numclasses", r"\batchvar", r"\trainsize", r"\evalsize"
W, Y = r"\W", r"\Y"
# A label of C classes, and L samples of the parameters in the place of all.
LABEL, SAMPLED = discrete(Y, C), discrete(W, "L")
EIG = r"\MIof{\W;\Y\given\x}"
ROW, HESSIAN = r"\HofJacobian{\y}", r"\HofHessian{\y}"
OUTER = rf"{ROW}^\top{ROW}"

ZERO, ONE = Const(sympy.Integer(0)), Const(sympy.Integer(1))
TWO_PI = Let(r"2\pi", Const(2 * sympy.pi))
TWO_PI_E = Let(r"2\pi e", Const(2 * sympy.pi * sympy.E))
LAM = scalar(r"\lambda")
I_D, I_R, I_K, I_N = Eye("D"), Eye("r"), Eye(K), Eye(N)

P = Sym("P", "D", "D", "pd")
FIM = Sym(r"F_{\x}", "D", "D", "psd")
R = Sym("R", "r", "D")
G = Let("G", R * P.I * R.T)
JAC, LAMBDA = Sym("J", C, "D"), Sym(r"\Lambda", C, C, "psd")

S = Sym(r"\Sigma", "D", "D", "pd")
X_1 = Sym(r"\x", "D")
S2 = scalar(r"\sigma^2")
S_NEW = Let(r"\Sigma_{\text{new}}", (S.I + X_1 * X_1.T / S2).I)


def entropy(covariance):
    """H of a Gaussian, in nats (T5)."""
    return HALF * logdet(TWO_PI_E * covariance)


def same(left, right, because, *by, tex=()):
    """One line of a derivation: an equality."""
    return Step(left, "=", right, because, by, tex=tex)


def at_most(left, right, because, *by):
    """One line of a derivation: an upper bound, `by` a certificate and rules."""
    return Step(left, "<=", right, because, by)


def at_least(left, right, because, *by):
    """One line of a derivation: a lower bound."""
    return Step(left, ">=", right, because, by)

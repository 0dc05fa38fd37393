"""Weight-space information scores from Fisher information (T21-T28, T42, T50), in nats.

Every score of an example i is a function of Gram blocks R_i A R_i^T (r, r). With P the
posterior precision and F_E the sum of the evaluation examples' Fisher information, one
matrix X with X^T P X = I and X^T F_E X = diag(m) gives all the A there are:
P^{-1} = X X^T, (P + F_E)^{-1} = X diag(1/(1+m)) X^T, their difference
X diag(m/(1+m)) X^T, which is never computed by subtracting, and P^{-1} F_E P^{-1} =
X diag(m) X^T. The mean evaluation information has m / E in the place of m.

Small problems are solved on the rows R_i X themselves, with a relative error of about
eps sqrt(cond(P)); larger ones on Gram blocks, with eps cond(P) and a warning past 1e-6.
"""

from fimlib._checks import guard
from fimlib.information.expected import (
    batch_eig,
    eig,
    epig,
    epig_proxy,
    epig_upper,
    jepig,
    jepig_proxy,
    scores,
)
from fimlib.information.known import ig, jpig, pig

__all__ = [
    "batch_eig",
    "eig",
    "epig",
    "epig_proxy",
    "epig_upper",
    "ig",
    "jepig",
    "jepig_proxy",
    "jpig",
    "pig",
    "scores",
]

guard(globals())

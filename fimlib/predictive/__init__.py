"""Prediction-space scores from Monte-Carlo log-probabilities (M, L, C): T1, T3; nats.

Row (i, l) is log p(y|x_i, theta_l) for samples theta_l of the posterior, which are the
same ones for every example. An example with K labels, independent given theta, has
(M, L, K, C): its score is that of the K together. Every score is the information of a
table: theta is one of the L samples, each with probability 1/L.

`bald`, `batch_bald`, `epig` and `jepig` are one computation. With p(y|o) the prediction
of Y_i after an outcome o of other labels, the information I[Y_i; O] is the mean over o
of the divergences KL(p(Y_i|o) || p(Y_i)), and a matrix product gives these for many i
and o at once (`fimlib.predictive.tables`).
"""

from fimlib._checks import guard
from fimlib.predictive.noise import NoiseCeiling, noise_ceiling
from fimlib.predictive.scores import bald, batch_bald, epig, jepig

__all__ = ["NoiseCeiling", "bald", "batch_bald", "epig", "jepig", "noise_ceiling"]

guard(globals())

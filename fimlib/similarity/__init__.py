"""Similarity matrices of gradients, and the log-determinants of them (T30-T36, T44).

With rows R (M r, D) of roots or gradients, S = R R^T is the data's side of the Fisher
information R^T R: what a log-determinant over D parameters says, one over M r rows
says too (T8). With A a candidate set, E the evaluation (query) set, T what is known
already (the training or private set) and lambda = `jitter` the prior precision::

    function        as log-determinants f(X) = log det(S_X + lambda I)   information
    log_det         f(A)                                       2 EIG(A) + K log lambda
    log_det_mi      f(A) + f(E) - f(A, E)                      2 JEPIG(A; E)
    log_det_cg      f(A, T) - f(T)                             2 EIG(A|T) + K log lambda
    log_det_cmi     f(A, T) + f(E, T) - f(A, E, T) - f(T)      2 JEPIG(A; E|T)

K counts the rows of A, "given T" stands for the precision lambda I + F_T, and a general
posterior P has S -> R P^{-1} R^T and lambda -> 1. These are plain log-determinants:
the information carries the 1/2.

Conventions elsewhere (each computes the same formulas)::

    here                submodlib's LogDeterminant*Function        SIMILAR
    jitter              lambdaVal                                  1
    eta on S_AE         magnificationEta                           eta, 1
    nu on S_AT          privacyHardness                            nu, 1
    E, T                queries Q, privates P                      queries, private set
    kind="similar"      (1 + metric "cosine") / 2                  its kernel
    kind="euclidean"    inner products; not metric "euclidean",    -
                        which is a function of distances

Sources: Kothawade et al. 2021 (SIMILAR, arXiv:2107.00717); Kothawade et al. 2022
(PRISM, arXiv:2103.00128).
"""

from fimlib._checks import guard
from fimlib.similarity.kernels import similarity_matrix
from fimlib.similarity.limits import (
    MutualInformationLimit,
    eig_small_prior,
    jepig_small_prior,
    jepig_small_prior_slope,
    log_det_mi_limit,
    principal_angles,
)
from fimlib.similarity.log_dets import log_det, log_det_cg, log_det_cmi, log_det_mi

__all__ = [
    "MutualInformationLimit", "eig_small_prior", "jepig_small_prior",
    "jepig_small_prior_slope", "log_det", "log_det_cg", "log_det_cmi", "log_det_mi",
    "log_det_mi_limit", "principal_angles", "similarity_matrix",
]  # fmt: skip

guard(globals())

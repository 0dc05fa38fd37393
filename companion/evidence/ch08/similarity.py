"""Similarity matrices and the duality of data and parameters: T30.

R stacks gradients, or the roots of several points, as rows; S = R R' compares rows,
R' R is the Fisher information that they stand for.
"""

import numpy as np

from companion.evidence.draws import *
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.evidence.notation import I_D, I_N, LAM, C, N, P, same
from companion.proof import *
from fimlib import information, similarity

ROWS = Sym("R", N, "D")
S = Let("S", ROWS * ROWS.T)


FLIP = signs(r"\Delta", N)
FLIPPED = FLIP * ROWS


@claim("T30", HOLDS, "thm-sim-duality eq-sim-duality")
def t30():
    count, size = scalar(N), scalar("D")
    outer, kernel = ROWS.T * ROWS, ROWS * P.I * ROWS.T
    u, jac = Sym("U", C, "r"), Sym("J", C, "D")
    g_i, g_j = Sym("g_i", "D"), Sym("g_j", "D")
    rule = Given(FLIP.T * FLIP, I_N)
    steps = [
        *chain(
            logdet(LAM * I_N + S),
            eq(
                count * logdet(LAM) + logdet(I_N + S / LAM),
                r"$\lambda$ out of an $\trainsize\times\trainsize$ determinant",
                Scaled(LAM, I_N + S / LAM),
            ),
            eq(
                count * logdet(LAM) + logdet(I_D + outer / LAM),
                r"{prf:ref}`thm-sylvester`: from the data's side to the parameters'",
                Sylvester(ROWS, ROWS.T / LAM),
            ),
            eq(
                count * logdet(LAM) - size * logdet(LAM) + logdet(LAM * I_D + outer),
                r"$\lambda$ back in, $D$ times",
                Scaled(LAM, I_D + outer / LAM),
            ),
        ),
        same(
            logdet(P + outer) - logdet(P),
            logdet(I_N + kernel),
            r"the same for any precision: $RP^{-1}R^\top$ takes the place of $S$",
            Multiplicative(P, I_D + P.I * outer),
            Sylvester(P.I * ROWS.T, ROWS),
        ),
        same(
            (u.T * jac).T * (u.T * jac),
            jac.T * (u * u.T) * jac,
            r"rows $U^\top J$ with $\Lambda=UU^\top$: exact, at $r\le\numclasses$ rows "
            "a point",
        ),
        same(
            FLIPPED.T * FLIPPED,
            outer,
            r"turn some gradients round, $\Delta^\top\Delta=I$: the Fisher side does "
            "not notice",
            rule,
        ),
        same(
            logdet(LAM * I_N + FLIPPED * FLIPPED.T),
            logdet(LAM * I_N + S),
            "nor does any log-determinant (lines 1 to 3)",
            rule,
            Scaled(LAM, I_N + S / LAM),
            Scaled(LAM, I_N + FLIPPED * FLIPPED.T / LAM),
            Sylvester(ROWS, ROWS.T / LAM),
            Sylvester(FLIPPED, FLIPPED.T / LAM),
        ),
        same(
            (g_i + g_j).T * (g_i + g_j),
            (g_i - g_j).T * (g_i - g_j) + 4 * g_i.T * g_j,
            "but the distance of two gradients changes when one is turned round",
        ),
    ]
    sides, weighted, turned = (
        r"similarity.log_det with jitter $\lambda$ equals the $D\times D$ side",
        "with a posterior it is twice batch_eig, and the D × D log-determinants",
        "gradients turned round at random leave log_det as it is",
    )
    return evidence(
        steps,
        Check(sides, similarity.log_det, parameter_side, TIGHT),
        Check(weighted, posterior_log_det, two_batch_eig, TIGHT),
        Check(turned, euclidean_log_det, unchanged_by_signs, TIGHT),
        Mutant("no jitter", sides, lambda s, jitter: similarity.log_det(s, 1.0)),
        Mutant("halved", sides, halved(similarity.log_det)),
        Mutant("posterior left out", weighted, prior_log_det),
        Mutant("unit diagonal left out", weighted, bare_log_det),
        Mutant(r"$(1+\cos)/2$ for inner products", turned, cosine_log_det),
    )


@worst
def parameter_side(function, rng):
    for count, size in ((2, 5), (7, 3), (5, 11)):
        rows = gradients(rng, count, size)
        for lam in (0.3, 7.0):
            value = function(similarity.similarity_matrix(rows), lam)
            truth = log_det(lam * np.eye(size) + rows.T @ rows)
            truth += (count - size) * np.log(lam)
            yield gap(value, truth)


def posterior_log_det(roots, post):
    return similarity.log_det(
        similarity.similarity_matrix(roots, posterior=post), jitter=1.0
    )


def prior_log_det(roots, post):
    return similarity.log_det(similarity.similarity_matrix(roots), jitter=1.0)


def bare_log_det(roots, post):
    kernel = similarity.similarity_matrix(roots, posterior=post)
    return similarity.log_det(kernel, jitter=1e-3)


@worst
def two_batch_eig(function, rng):
    for roots, post, fishers, p in classifiers(rng, ((2, 3, 5), (3, 4, 7), (5, 2, 3))):
        value = function(roots, post)
        yield gap(value, log_det(p + fishers.sum(0)) - log_det(p))
        yield gap(value, 2 * information.batch_eig(roots, post))


def euclidean_log_det(rows):
    return similarity.log_det(similarity.similarity_matrix(rows), 0.5)


def cosine_log_det(rows):
    return similarity.log_det(similarity.similarity_matrix(rows, kind="similar"), 0.5)


@worst
def unchanged_by_signs(function, rng):
    for count, size in ((3, 5), (5, 7)):
        rows = gradients(rng, count, size)
        turned = rows * rng.permutation([-1.0, 1.0] * count)[:count, None]
        yield gap(function(turned), function(rows))

"""Similarity matrices and the duality of data and parameters: T30.

R stacks gradients, or the roots of several points, as rows; S = R R' compares rows,
R' R is the Fisher information that they stand for.
"""

from __future__ import annotations

import numpy as np

from companion.evidence.ch06.eig import I_D, TIGHT, C, P, classifier, dense
from companion.evidence.ch08.one_sample import CHAPTER
from companion.evidence.draws import gap, log_det
from companion.evidence.ledger import HOLDS, claim
from companion.proof import (
    Check,
    Derivation,
    Eye,
    Given,
    Let,
    Multiplicative,
    Mutant,
    Scaled,
    Step,
    Sylvester,
    Sym,
    chain,
    eq,
    logdet,
    scalar,
    signs,
)
from fimlib import information, similarity

N = r"\trainsize"
LAM = scalar(r"\lambda")
ROWS = Sym("R", N, "D")
S = Let("S", ROWS * ROWS.T)
I_N = Eye(N)


FLIP = signs(r"\Delta", N)
FLIPPED = FLIP * ROWS


@claim(
    "T30",
    title="Two sides of one stack of gradients",
    talk=(
        r"$\similarityMatrix{}{\D\given\w}_{ij}=\langle\HofJacobian{\y_i\given\x_i,"
        r"\wstar},\HofJacobian{\y_j\given\x_j,\wstar}\rangle$, and "
        r"$\HofJacobianDataShort^\top\HofJacobianDataShort\approx$ the FIM"
    ),
    statement=(
        r"For rows $R$ ($\trainsize\times D$), $S=RR^\top$ and $\lambda>0$: "
        r"$\log\det(\lambda I_{\trainsize}+S)-\trainsize\log\lambda"
        r"=\log\det(\lambda I_D+R^\top R)-D\log\lambda$; for a precision $P$, "
        r"$\log\det(P+R^\top R)-\log\det P=\log\det(I_{\trainsize}+RP^{-1}R^\top)$. "
        r"Rows $U^\top J$ with $\Lambda=UU^\top$ give the exact Fisher information."
    ),
    assumptions=(r"$\lambda>0$, $P\succ0$; nothing about the rows",),
    verdict=HOLDS,
    chapter=CHAPTER,
    labels=("thm-sim-duality", "eq-sim-duality"),
)
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
        *chain(
            logdet(P + outer) - logdet(P),
            eq(
                logdet(I_N + kernel),
                r"the same for any precision: $RP^{-1}R^\top$ takes the place of $S$",
                Multiplicative(P, I_D + P.I * outer),
                Sylvester(P.I * ROWS.T, ROWS),
            ),
        ),
        Step(
            (u.T * jac).T * (u.T * jac),
            "=",
            jac.T * (u * u.T) * jac,
            r"rows $U^\top J$ with $\Lambda=UU^\top$: exact, at $r\le\numclasses$ rows "
            "a point",
        ),
        Step(
            FLIPPED.T * FLIPPED,
            "=",
            outer,
            r"turn some gradients round, $\Delta^\top\Delta=I$: the Fisher side does "
            "not notice",
            (rule,),
        ),
        Step(
            logdet(LAM * I_N + FLIPPED * FLIPPED.T),
            "=",
            logdet(LAM * I_N + S),
            "nor does any log-determinant (lines 1 to 3)",
            (
                rule,
                Scaled(LAM, I_N + S / LAM),
                Scaled(LAM, I_N + FLIPPED * FLIPPED.T / LAM),
                Sylvester(ROWS, ROWS.T / LAM),
                Sylvester(FLIPPED, FLIPPED.T / LAM),
            ),
        ),
        Step(
            (g_i + g_j).T * (g_i + g_j),
            "=",
            (g_i - g_j).T * (g_i - g_j) + 4 * g_i.T * g_j,
            "but the distance of two gradients changes when one is turned round",
        ),
    ]
    sides, weighted, turned = (
        r"similarity.log_det with jitter $\lambda$ equals the $D\times D$ side",
        "with a posterior it is twice batch_eig, and the D × D log-determinants",
        "gradients turned round at random leave log_det as it is",
    )
    return Derivation(
        steps,
        [
            Check(sides, similarity.log_det, parameter_side, TIGHT),
            Check(weighted, posterior_log_det, two_batch_eig, TIGHT),
            Check(turned, euclidean_log_det, unchanged_by_signs, TIGHT),
        ],
        [
            Mutant("no power of λ", 3, logdet(LAM * I_D + outer)),
            Mutant("λ once", 1, logdet(LAM) + logdet(I_N + S / LAM)),
            Mutant(r"$P$ for $P^{-1}$", 4, logdet(I_N + ROWS * P * ROWS.T)),
            Mutant("the root not transposed", 5, jac.T * jac),
            Mutant("signs count", 6, -outer),
            Mutant("distances do not change", 8, (g_i - g_j).T * (g_i - g_j)),
            Mutant("no jitter", sides, lambda s, jitter: similarity.log_det(s, 1.0)),
            Mutant(
                "halved", sides, lambda s, jitter: similarity.log_det(s, jitter) / 2
            ),
            Mutant("posterior left out", weighted, prior_log_det),
            Mutant("unit diagonal left out", weighted, bare_log_det),
            Mutant(r"$(1+\cos)/2$ for inner products", turned, cosine_log_det),
        ],
    )


def gradients(rng, count, size):
    """Gradients (count, size) of lengths that differ."""
    return rng.standard_normal((count, size)) * np.exp(rng.uniform(-1, 1, (count, 1)))


def parameter_side(function, rng):
    worst = 0.0
    for count, size in ((2, 5), (7, 3), (5, 11)):
        rows = gradients(rng, count, size)
        for lam in (0.3, 7.0):
            value = function(similarity.similarity_matrix(rows), lam)
            truth = log_det(lam * np.eye(size) + rows.T @ rows)
            truth += (count - size) * np.log(lam)
            worst = max(worst, gap(value, truth))
    return worst


def posterior_log_det(roots, post):
    return similarity.log_det(
        similarity.similarity_matrix(roots, posterior=post), jitter=1.0
    )


def prior_log_det(roots, post):
    return similarity.log_det(similarity.similarity_matrix(roots), jitter=1.0)


def bare_log_det(roots, post):
    kernel = similarity.similarity_matrix(roots, posterior=post)
    return similarity.log_det(kernel, jitter=1e-3)


def two_batch_eig(function, rng):
    worst = 0.0
    for classes, width, count in ((2, 3, 5), (3, 4, 7), (5, 2, 3)):
        roots, _, post = classifier(rng, classes, width, count)
        p = post.precision.numpy()
        truth = log_det(p + dense(roots).sum(0)) - log_det(p)
        value = function(roots, post)
        worst = max(worst, gap(value, truth))
        worst = max(worst, gap(value, 2 * information.batch_eig(roots, post)))
    return worst


def euclidean_log_det(rows):
    return similarity.log_det(similarity.similarity_matrix(rows), 0.5)


def cosine_log_det(rows):
    return similarity.log_det(similarity.similarity_matrix(rows, kind="similar"), 0.5)


def unchanged_by_signs(function, rng):
    worst = 0.0
    for count, size in ((3, 5), (5, 7)):
        rows = gradients(rng, count, size)
        turned = rows * rng.permutation([-1.0, 1.0] * count)[:count, None]
        worst = max(worst, gap(function(turned), function(rows)))
    return worst

"""Sylvester's identity, the determinant lemma and Woodbury: T8."""

import numpy as np

from companion.evidence.draws import TIGHT, changed, gap, log_det, pd_matrix, worst
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.proof import Check, Mutant
from fimlib import linalg


@claim("T8", HOLDS, "thm-sylvester eq-blr-sylvester eq-blr-lemma eq-blr-woodbury")
def t8():
    @worst
    def both_sides(function, rng):
        for m, n in ((1, 4), (2, 3), (5, 2), (7, 3)):
            a, b = rng.standard_normal((m, n)), rng.standard_normal((n, m))
            left, right = (float(side) for side in function(a, b))
            eigenvalues = np.linalg.eigvals(b @ a)
            truth = np.prod(1 + eigenvalues).real
            yield gap(left, truth)
            yield gap(right, truth)

    def lemma(function, rng):
        p = pd_matrix(rng, 7)
        u = rng.standard_normal((7, 3))
        value = function(log_det(p), np.linalg.solve(p, u), u)
        return gap(value, log_det(p + u @ u.T))

    def inverse(function, rng):
        p, u, v = pd_matrix(rng, 7), rng.random((7, 3)), rng.random((7, 3))
        return gap(function(np.linalg.inv(p), u, v), np.linalg.inv(p + u @ v.T))

    sides, det_lemma = "both sides equal the product of $1+\\lambda_i(BA)$", "the lemma"
    woodbury = "Woodbury's inverse"

    def flipped(a, b):
        return linalg.sylvester(-a, b)

    def without_inverse(ld, solved, v):
        return linalg.matrix_determinant_lemma(ld, v, v)

    return evidence(
        (),
        Check(sides, linalg.sylvester, both_sides, TIGHT),
        Check(det_lemma, linalg.matrix_determinant_lemma, lemma, TIGHT),
        Check(woodbury, linalg.woodbury, inverse, TIGHT),
        Mutant("minus for plus", sides, flipped),
        Mutant(r"$P$ left out", det_lemma, without_inverse),
        Mutant(
            "sign of the update", woodbury, changed(linalg.woodbury, 1, np.negative)
        ),
    )

"""Sylvester's identity, the determinant lemma and Woodbury: T8."""

from __future__ import annotations

import numpy as np
import sympy

from companion.evidence.ch02.blr import CHAPTER, I_D, TIGHT, K
from companion.evidence.draws import gap, log_det, pd_matrix
from companion.evidence.ledger import HOLDS, claim
from companion.proof import (
    BlockProduct,
    Check,
    Derivation,
    Det,
    Eye,
    Invertible,
    Multiplicative,
    Mutant,
    Step,
    Sylvester,
    Sym,
    Triangular,
    Zero,
    block,
    chain,
    eq,
)
from fimlib import linalg


@claim(
    "T8",
    title="Sylvester's identity and the determinant lemma",
    talk=r"$\det(I_M+AB)=\det(I_N+BA)$",
    statement=(
        r"$\det(I_M+AB)=\det(I_N+BA)$ for every $A$ ($M\times N$) and $B$ "
        r"($N\times M$); hence $\det(P+UV)=\det P\,\det(I_{\batchvar}+VP^{-1}U)$ for "
        r"invertible $P$."
    ),
    assumptions=(
        r"none for Sylvester; $P$ invertible for the lemma, and "
        r"$I_{\batchvar}+VP^{-1}U$ too for Woodbury",
    ),
    verdict=HOLDS,
    chapter=CHAPTER,
    labels=("thm-sylvester", "eq-blr-sylvester", "eq-blr-lemma", "eq-blr-woodbury"),
)
def t8():
    a, b = Sym("A", "M", "N"), Sym("B", "N", "M")
    i_m, i_n = Eye("M"), Eye("N")
    whole = block([i_m, -a], [b, i_n])
    upper = block([i_m, -a], [Zero("N", "M"), i_n + b * a])
    lower = block([i_m, Zero("M", "N")], [b, i_n])
    other = block([i_m + a * b, -a], [Zero("N", "M"), i_n])
    p = Sym("P", "D", "D", "invertible")
    u, v = Sym("U", "D", K), Sym("V", K, "D")
    i_k = Eye(K)
    steps = [
        Step(whole, "=", lower * upper, "multiply out"),
        Step(whole, "=", other * lower, "multiply out"),
        *chain(
            Det(i_m + a * b),
            eq(
                Det(whole),
                "line 2: the determinant of a block triangular matrix is the product "
                "of those of its diagonal blocks",
                BlockProduct(whole, other, lower),
                Triangular(other),
                Triangular(lower),
            ),
            eq(
                Det(i_n + b * a),
                "line 1, likewise",
                BlockProduct(whole, lower, upper),
                Triangular(upper),
                Triangular(lower),
            ),
        ),
        *chain(
            Det(p + u * v),
            eq(
                Det(p) * Det(I_D + p.I * u * v),
                r"$P+UV=P\,(I_D+P^{-1}UV)$",
                Multiplicative(p, I_D + p.I * u * v),
            ),
            eq(
                Det(p) * Det(i_k + v * p.I * u),
                "Sylvester, line 4",
                Sylvester(p.I * u, v),
            ),
        ),
        Step(
            (p + u * v).I,
            "=",
            p.I - p.I * u * (i_k + v * p.I * u).I * v * p.I,
            "Woodbury: both sides times $P+UV$ give $I_D$",
            (Invertible(p + u * v), Invertible(i_k + v * p.I * u)),
        ),
        explicit_sylvester(),
    ]

    def both_sides(function, rng):
        worst = 0.0
        for m, n in ((1, 4), (2, 3), (5, 2), (7, 3)):
            a, b = rng.standard_normal((m, n)), rng.standard_normal((n, m))
            left, right = (float(side) for side in function(a, b))
            eigenvalues = np.linalg.eigvals(b @ a)
            truth = np.prod(1 + eigenvalues).real
            worst = max(worst, gap(left, truth), gap(right, truth))
        return worst

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

    return Derivation(
        steps,
        [
            Check(sides, linalg.sylvester, both_sides, TIGHT),
            Check(det_lemma, linalg.matrix_determinant_lemma, lemma, TIGHT),
            Check(woodbury, linalg.woodbury, inverse, TIGHT),
        ],
        [
            Mutant("minus for plus", 4, Det(i_n - b * a)),
            Mutant("wrong block in the factor", 1, lower * other),
            Mutant(r"$P$ for $P^{-1}$", 6, Det(p) * Det(i_k + v * p * u)),
            Mutant(
                "Woodbury with plus",
                7,
                p.I + p.I * u * (i_k + v * p.I * u).I * v * p.I,
            ),
            Mutant("minus for plus", sides, flipped),
            Mutant(r"$P$ left out", det_lemma, without_inverse),
            Mutant(
                "sign of the update",
                woodbury,
                lambda i, u, v: linalg.woodbury(i, -u, v),
            ),
        ],
    )


def explicit_sylvester():
    """The identity with twelve free entries, A 2 x 3 and B 3 x 2, expanded by sympy."""
    a = sympy.Matrix(2, 3, sympy.symbols("a1:7"))
    b = sympy.Matrix(3, 2, sympy.symbols("b1:7"))
    return Step(
        (sympy.eye(2) + a * b).det(),
        "=",
        (sympy.eye(3) + b * a).det(),
        "expanded entry by entry",
        tex=(r"\det(I_2+AB)", r"\det(I_3+BA)"),
    )

"""A prior that knows nothing: the EIG as its precision goes to zero: T32.

S = R R' has rank r; L (K x r) is any root of it, S = L L', so that L' L is invertible
and its eigenvalues are those of S that are not zero.
"""

import itertools

import mpmath
import numpy as np
import torch

from companion.evidence.draws import doubled, gap, gradients, worst
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.evidence.notation import I_D, I_K, I_R, LAM, K, at_least, at_most, same
from companion.proof import *
from fimlib import information, similarity
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

ROWS = Sym("R", K, "D")


@claim(
    "T32", CORRECTED, "thm-sim-prior eq-sim-prior eq-errata-prior eq-errata-talk-prior"
)
def t32():
    """The EIG diverges like (r/2) log(1/λ); rank comes first, and without full rank log
    det S is minus infinity for every batch.
    """
    s_full = Sym("S", K, K, "pd")
    root = Sym("L", "r+n", "r")
    inner = Let(r"(L^\top L)", root.T * root)
    full_rank = Positive(inner)
    rest = Let("M", LAM * inner.I)
    rank, count = scalar("r"), scalar(K)
    batch_a, batch_b = two_batches()
    steps = [
        same(
            HALF * logdet(I_D + ROWS.T * ROWS / LAM),
            HALF * logdet(I_K + ROWS * ROWS.T / LAM),
            r"{prf:ref}`thm-sim-duality`: EIG under $P=\lambda I$",
            Sylvester(ROWS.T, ROWS / LAM),
        ),
        same(
            HALF * logdet(I_K + s_full / LAM),
            -HALF * count * logdet(LAM)
            + HALF * logdet(s_full)
            + HALF * logdet(I_K + LAM * s_full.I),
            r"full rank, $S\succ0$: take $S/\lambda$ out",
            Scaled(1 / LAM, s_full + LAM * I_K),
            Multiplicative(s_full, I_K + LAM * s_full.I),
        ),
        *chain(
            HALF * logdet(Eye("r+n") + root * root.T / LAM),
            eq(
                HALF * logdet(I_R + inner / LAM),
                r"rank $r$, $S=LL^\top$ with $r$ columns in $L$: {prf:ref}"
                "`thm-sylvester` again",
                Sylvester(root, root.T / LAM),
            ),
            eq(
                -HALF * rank * logdet(LAM)
                + HALF * logdet(inner)
                + HALF * logdet(I_R + rest),
                r"$M=\lambda(L^\top L)^{-1}$; the eigenvalues of $L^\top L$ are "
                "$s_1,\\dots,s_r$",
                full_rank,
                Scaled(1 / LAM, inner + LAM * I_R),
                Multiplicative(inner, I_R + rest),
            ),
        ),
        at_least(
            HALF * logdet(I_R + rest),
            HALF * (Tr(rest) - HALF * Tr(rest * rest)),
            r"what is left over: $\log(1+\ell)\ge\ell-\ell^2/2$, so that its first "
            "order is",
            full_rank,
            Spectral(rest),
        ),
        at_most(
            HALF * logdet(I_R + rest),
            HALF * Tr(rest),
            r"$\tfrac12\tr M=\tfrac\lambda2\sum_i1/s_i$",
            full_rank,
            Spectral(rest),
        ),
        same(
            at_small_prior(*batch_a) - at_small_prior(*batch_b),
            HALF * (batch_b[0] - batch_a[0]) * logdet(LAM)
            + HALF * logdet(batch_a[1])
            - HALF * logdet(batch_b[1])
            + remainder(*batch_a)
            - remainder(*batch_b),
            r"two batches, $S_A$ and $S_B$ reduced to their nonzero parts, "
            r"$\rho=\tfrac12\log\det(I+\lambda S^{-1})$: the divergence cancels if and "
            r"only if $r_A=r_B$",
            *(
                rule
                for _, part, eye in (batch_a, batch_b)
                for rule in (
                    Scaled(1 / LAM, part + LAM * eye),
                    Multiplicative(part, eye + LAM * part.I),
                )
            ),
        ),
    ]
    series, deficient, extreme, best = (
        "eig_small_prior: off by at most (λ²/4) Σ 1/s², D × D with 60 digits",
        "six gradients in four dimensions: EIG + 2 log λ tends to half the pseudo-"
        "determinant",
        "λ = 1e-30: log_det of S keeps its digits in float64",
        "12 gradients: the best triple at λ = 1e-6 is the one with the largest det S",
    )
    return evidence(
        steps,
        Check(series, similarity.eig_small_prior, first_order, 1.0),
        Check(deficient, information.batch_eig, dependent_rows, 1e-5),
        Check(extreme, similarity.log_det, thirty_orders, 1e-13),
        Check(best, similarity.log_det, best_triple, 0),
        Mutant("the talk's display, no log λ", 2, HALF * logdet(s_full)),
        Mutant("second order dropped", 5, HALF * Tr(rest)),
        Mutant("half the first order", 6, HALF * HALF * Tr(rest)),
        Mutant(
            "zeroth order for first",
            series,
            lambda s, lam: similarity.eig_small_prior(s, lam, order=0),
        ),
        Mutant("dropped ½", series, doubled(similarity.eig_small_prior)),
        Mutant("dropped ½", deficient, doubled(information.batch_eig)),
        Mutant("D × D in float64", extreme, parameter_side_float64),
        Mutant("trace for log det", best, torch.trace),
    )


def two_batches():
    """(rank, the nonzero part of S, the identity of its size) of two batches."""
    for name in "AB":
        size = f"r_{name}"
        part = Sym(f"S_{name}", size, size, "pd")
        yield scalar(size), part, Eye(size)


def at_small_prior(rank, part, eye):
    return HALF * logdet(eye + part / LAM)


def remainder(rank, part, eye):
    return Let(rf"\rho_{part.tex[-1]}", HALF * logdet(eye + LAM * part.I))


def precise_eig(rows, lam, digits=60):
    """½ log det(I_D + R'R/λ) with `digits` digits, by mpmath."""
    with mpmath.workdps(digits):
        r = mpmath.matrix(np.asarray(rows).tolist())
        size = r.cols
        value = mpmath.log(mpmath.det(mpmath.eye(size) + r.T * r / lam)) / 2
        return float(value)


@worst
def first_order(function, rng):
    """Error as a share of what the second order allows; full rank and deficient."""
    for count, size in ((4, 10), (6, 4)):
        rows = gradients(rng, count, size)
        values = np.linalg.svd(rows, compute_uv=False) ** 2
        for lam in (1e-1, 1e-2):
            error = abs(float(function(rows @ rows.T, lam)) - precise_eig(rows, lam))
            error = max(0.0, error - 1e-12)
            allowed = lam**2 / 4 * (values**-2.0).sum()
            yield error / allowed


def dependent_rows(function, rng):
    rows = gradients(rng, 6, 4)
    lam = 1e-7
    post = GaussianPosterior.isotropic(4, lam)
    value = function(FisherRoots.from_dense(rows), post)
    truth = np.linalg.slogdet(rows.T @ rows)[1] / 2
    return gap(value + 2 * np.log(lam), truth)


def thirty_orders(function, rng):
    rows, lam = gradients(rng, 4, 10), 1e-30
    value = float(function(rows @ rows.T, lam)) / 2 - 2 * np.log(lam)
    return gap(value, precise_eig(rows, lam, digits=90))


def parameter_side_float64(s, lam):
    """What the D x D determinant has left of log det(S + λ I) in float64."""
    values, vectors = np.linalg.eigh(np.asarray(s))
    turn, _ = np.linalg.qr(np.cos(np.arange(1, 101.0).reshape(10, 10) ** 2))
    rows = vectors @ np.diag(np.sqrt(values)) @ turn[:4]
    whole = lam * np.eye(10) + rows.T @ rows
    return np.linalg.slogdet(whole)[1] - 6 * np.log(lam)


def best_triple(function, rng):
    """How many of three pools have another best triple under the prior."""
    wrong = 0
    for _ in range(3):
        rows = gradients(rng, 12, 5)
        triples = list(itertools.combinations(range(12), 3))
        by_det = max(triples, key=lambda t: float(function(gram(rows[list(t)]))))
        by_eig = max(triples, key=lambda t: volume(gram(rows[list(t)]), 1e-6))
        wrong += by_det != by_eig
    return wrong


def gram(rows):
    return torch.tensor(rows @ rows.T)


def volume(s, lam):
    """The EIG under λ I by numpy."""
    return np.linalg.slogdet(np.eye(len(s)) + s.numpy() / lam)[1] / 2

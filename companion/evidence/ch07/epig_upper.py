"""The talk's EPIG display put right, an upper bound of EPIG: T50."""

import numpy as np
import torch

from companion.evidence.ch07.epig import F_BAR, F_E, I_M, ROOT_E, Q, dense_jepig, mean
from companion.evidence.draws import TIGHT, predictive_problem, worst
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.evidence.notation import I_R, P, R, at_most
from companion.proof import *
from fimlib import information


@claim(
    "T50",
    CORRECTED,
    "thm-epig-upper eq-epig-g eq-epig-upper eq-epig-repaired eq-epig-sandwich "
    "eq-epig-disguise",
)
def t50():
    r"""The missing first term $\tfrac12\log\det(I+\bar FP^{-1})$ turns the display into
    a true upper bound of EPIG.
    """
    extra = Sym("B", "n", "D")
    f_one = Sym("F", "D", "D", "psd")
    n = Let("N", ROOT_E * Q.I * ROOT_E.T)
    m = Let("M", ROOT_E * P.I * ROOT_E.T)
    z = Let("Z", (I_M + n).I * (I_M + m))
    gain = (I_R + R * P.I * R.T).I
    difference = ROOT_E * P.I * R.T * gain * R * P.I * ROOT_E.T

    def g(x):
        return (
            HALF * logdet(P + x)
            - HALF * logdet(P)
            - HALF * logdet(Q + x)
            + HALF * logdet(Q)
        )

    def second(x, v):
        a, b = (P + x).I, (Q + x).I
        excess = a * R.T * (I_R + R * a * R.T).I * R * a
        half = HALF.value
        return TraceProducts(((half, excess, v * a * v), (half, excess, v * b * v)))

    def block(precision):
        return R * precision.I * R.T

    inner = (Eye("n") + extra * (P + f_one).I * extra.T).I
    lost = extra * (P + f_one).I * R.T
    f_sum = Let("F_E", ROOT_E.T * ROOT_E)
    jepig = HALF * logdet(I_R + block(P)) - HALF * logdet(I_R + block(P + f_sum))
    trace = HALF * Tr(m) - HALF * Tr(n)
    steps = [
        at_most(
            mean(g(F_E)),
            g(F_BAR),
            r"Jensen: with $A=(P+F)^{-1}\succeq B=(Q+F)^{-1}$, "
            r"$g''[V,V]=-\tfrac12\tr(AVAV)+\tfrac12\tr(BVBV)\le0$",
            Concave(g, F_E, second),
        ),
        at_most(
            HALF * logdet(I_R + block(P + f_one + extra.T * extra)),
            HALF * logdet(I_R + block(P + f_one)),
            r"$g(F)$ is EIG under $P$ minus EIG under $P+F$, and the latter falls with "
            r"$F$: $g(\bar F)\le g(F_E)$",
            Grows(I_R + block(P + f_one + extra.T * extra), lost.T * inner * lost),
        ),
        at_most(
            jepig,
            HALF * logdet(I_R + block(P)),
            r"EIG under $P+F_E$ is not negative: JEPIG $\le$ EIG",
            Grows(I_R, block(P + f_sum)),
        ),
        *chain(
            HALF * logdet(I_M + m) - HALF * logdet(I_M + n),
            eq(
                HALF * logdet(z),
                r"JEPIG, $M=LP^{-1}L^\top$, $N=LQ^{-1}L^\top$, "
                r"$Z=(I+N)^{-1}(I+M)$",
                Multiplicative(I_M + n, z),
            ),
            le(
                HALF * Tr(z) - HALF * scalar("m"),
                r"$\log\ell\le\ell-1$ for the eigenvalues of $Z$",
                Spectral(z, positive=True),
            ),
            le(
                trace,
                r"$\tr Z-m=\tr((I+N)^{-1}(M-N))$ and $(I+N)^{-1}\preceq I$",
                TraceProducts(
                    ((HALF.value, ROOT_E * (Q + F_BAR).I * ROOT_E.T, difference),)
                ),
            ),
        ),
        *left_over(),
    ]
    upper, order = (
        "information.epig_upper equals the four log-determinants of the mean",
        "EPIG ≤ EPIG upper ≤ JEPIG ≤ EIG and JEPIG ≤ its trace, 60 random problems",
    )
    return evidence(
        steps,
        Check(upper, information.epig_upper, dense_upper, TIGHT),
        Check(order, chain_of_scores, violations, 0),
        Mutant("the bound with the display's term alone", 1, -g(F_BAR)),
        Mutant("half the bound", 1, HALF * g(F_BAR)),
        Mutant("JEPIG below half the EIG", 3, HALF * HALF * logdet(I_R + block(P))),
        Mutant("half the trace", 6, HALF * trace),
        Mutant("a quarter for ½", 8, HALF * LEAST.I * Tr(R.T * R) * HALF),
        Mutant("sum for mean", upper, information.jepig),
        Mutant("no Jensen", upper, information.epig),
        Mutant("the talk's display", upper, information.epig_proxy),
        Mutant("order reversed", order, lambda *a: chain_of_scores(*a).flip(0)),
    )


LEAST = scalar(r"\lambda_{\min}")


def left_over():
    """What JEPIG leaves out of EIG; F_E + P is written with its smallest eigenvalue."""
    rest = Sym("B", "n", "D")
    known = LEAST * Eye("D") + rest.T * rest
    gram = Let("G_E", R * known.I * R.T)
    inner = (LEAST * Eye("n") + rest * rest.T).I
    moved = rest * R.T * R * rest.T
    return chain(
        HALF * logdet(I_R + gram),
        le(
            HALF * Tr(gram),
            r"what JEPIG leaves out of EIG, $G_E=R(P+F_E)^{-1}R^\top$: "
            r"{prf:ref}`thm-trace-bound`",
            Spectral(gram),
        ),
        le(
            HALF * LEAST.I * Tr(R.T * R),
            r"$(P+F_E)^{-1}\preceq I/\lambda_{\min}$, since $P+F_E"
            r"=\lambda_{\min}I+B^\top B$",
            TraceProducts(((HALF.value, LEAST.I * inner, moved),)),
        ),
    )


def dense_upper(function, rng):
    return dense_jepig(function, rng, combine=np.mean)


def chain_of_scores(roots, eval_roots, post):
    """(5, M): EPIG, EPIG upper, JEPIG, EIG, and then JEPIG's trace."""
    arguments = roots, eval_roots, post
    return torch.stack(
        [
            information.epig(*arguments),
            information.epig_upper(*arguments),
            information.jepig(*arguments),
            information.eig(roots, post),
            information.jepig(*arguments, form="trace"),
        ]
    )


@worst
def violations(function, rng):
    for _ in range(60):
        roots, evals, post = predictive_problem(rng, 3, 2, 4, int(rng.integers(1, 6)))
        epig, upper, jepig, eig, trace = function(roots, evals, post)
        for small, large in (
            (epig, upper),
            (upper, jepig),
            (jepig, eig),
            (jepig, trace),
        ):
            yield float((small - large).max()) - 1e-13

"""What separates EPIG from JEPIG, and JEPIG from EIG: T4."""

import numpy as np
import sympy

from companion.evidence.ch01.label_tables import conditional, label_tables, outcomes
from companion.evidence.ch01.predictive_quantities import (
    EVALS,
    FRESH,
    linear_scores,
    others,
    table_scores,
    total,
)
from companion.evidence.draws import TIGHT, gap, problem, worst
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.evidence.notation import W, Y, same
from companion.proof import MI, Check, Const, Independent, Let, Mutant
from fimlib.blr import BayesianLinearRegression


@claim("T4", CORRECTED, "thm-information-difference eq-information-difference")
def t4():
    """The question has to read: difference between EPIG and JEPIG?."""
    share = Const(sympy.Rational(1, 3))
    epig = Let(r"\simpleE{e}\MIof{\Yeval_e;\Y}", share * total(MI(e, Y) for e in EVALS))
    jepig = Let(r"\MIof{\Yevalset;\Y}", MI(EVALS, Y))
    added = share * total(MI(others(e), Y, given=e) for e in EVALS)
    one = EVALS[0]
    steps = [
        same(
            jepig - epig,
            Let(r"\simpleE{e}\MIof{\Yeval_{-e};\Y\given\Yeval_e}", added),
            r"chain rule: $\Yeval_{-e}$ are the evaluation labels without $\Yeval_e$ "
            "(written out for three)",
        ),
        same(
            MI(W, Y) - jepig,
            Let(r"\MIof{\W;\Y\given\Yevalset}", MI(W, Y, given=EVALS)),
            r"given $\W$, evaluation labels say nothing more about $\Y$",
            FRESH,
        ),
        same(
            MI(W, Y) - MI(one, Y),
            MI(W, Y, given=one),
            "a single evaluation input: EPIG and JEPIG are one number, EIG another",
            Independent(Y, one, W),
        ),
    ]
    pieces, single = (
        "both differences equal their conditional informations, by Bayes' rule",
        "BLR, one evaluation input: EPIG equals JEPIG, EIG is ½ log det larger",
    )
    return evidence(
        steps,
        Check(pieces, differences, conditional_tables, TIGHT),
        Check(single, linear_scores, one_input, TIGHT),
        Mutant("the talk's question", 1, MI(W, Y, given=EVALS)),
        Mutant("not conditioned", 2, MI(W, Y)),
        Mutant("the talk's question", pieces, lambda *a: differences(*a)[::-1]),
        Mutant(
            "EIG for EPIG",
            pieces,
            lambda p, e: differences(p, e) - [[1], [0]] * differences(p, e)[1:],
        ),
        Mutant("EIG for JEPIG", single, lambda *a: linear_scores(*a)[[0, 2, 2]]),
    )


def added_without(share):
    return share * total(MI(others(e), Y) for e in EVALS)


def differences(log_p, log_p_eval):
    """JEPIG - EPIG and EIG - JEPIG, (2, M), in prediction space."""
    return np.diff(table_scores(log_p, log_p_eval), axis=0)


@worst
def conditional_tables(function, rng):
    for _ in range(10):
        log_p, log_e = label_tables(rng)
        pool, evals = np.exp(log_p), np.exp(log_e)
        parameters = np.eye(pool.shape[1])
        empty = np.ones((pool.shape[1], 1))
        truth = []
        for p in pool:
            added = [
                conditional(p, outcomes([*evals[:e], *evals[e + 1 :], empty]), evals[e])
                for e in range(len(evals))
            ]
            left = conditional(p, parameters, outcomes(evals))
            truth.append((np.mean(added), left))
        yield gap(function(log_p, log_e), np.transpose(truth))


@worst
def one_input(function, rng):
    for size in (1, 2, 5):
        mu, cov, s2, x, _ = problem(rng, size, count=3)
        x_eval = rng.standard_normal((1, size))
        after = np.linalg.inv(np.linalg.inv(cov) + x_eval.T @ x_eval / s2)
        total, left = (
            np.log1p(np.einsum("nd,de,ne->n", x, c, x) / s2) / 2 for c in (cov, after)
        )
        blr = BayesianLinearRegression(mu, cov, s2)
        yield gap(function(blr, x, x_eval), [total - left, total - left, total])

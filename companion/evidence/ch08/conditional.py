"""LogDetCG, LogDetCMI, and what all the similarity methods have in common: T35, T36.

R_T stacks the gradients of what is known already, P_T = lambda I + R_T' R_T is the
precision that they leave; the other letters are those of `log_det_mi`.
"""

import numpy as np

from companion.evidence.ch08.log_det_mi import R_A, R_E, S_A, schur, stacked
from companion.evidence.draws import TIGHT, gap, gradients, log_det, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, I_K, LAM, K, same
from companion.proof import *
from fimlib import information, similarity
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

T = "T"
R_T, I_T = Sym("R_T", T, "D"), Eye(T)
S_T = Let("S_T", R_T * R_T.T)
S_AT, S_TA = Let("S_{A T}", R_A * R_T.T), Let("S_{T A}", R_T * R_A.T)
P_T = Let("P_T", LAM * I_D + R_T.T * R_T)
F_A, F_E = Let("F_A", R_A.T * R_A), Let("F_E", R_E.T * R_E)


def stack(name, *parts):
    """ℓ(name) = log det(λ I + S) of several sets in one, and the rules for it."""
    size = "+".join(p.rows for p in parts)
    rows = rows_of(f"R_{{{name}}}", *parts)
    fisher = parts[0].T * parts[0]
    for part in parts[1:]:
        fisher = fisher + part.T * part
    small, large = Eye(size) + rows * rows.T / LAM, I_D + fisher / LAM
    rules = (
        Given(rows.T * rows, fisher),
        Scaled(LAM, small),
        Sylvester(rows, rows.T / LAM),
        Scaled(LAM, large),
    )
    return Let(rf"\ell({name})", logdet(LAM * Eye(size) + rows * rows.T)), rules


@claim("T35", CONDITIONS, "thm-sim-conditional eq-sim-conditional")
def t35():
    """With the training set as T this is the posterior that T32 forgot; with its
    true-label gradients, which vanish on a fitted set, it is forgotten again.
    """
    count = scalar(K)
    a, t = LAM * I_K + S_A, LAM * I_T + S_T
    rest = a - S_AT * t.I * S_TA
    conditional = Let(r"S_{A\mid T}", rest)
    whole, block_rules = schur(a, S_AT, t, S_TA)
    after = I_K + R_A * P_T.I * R_A.T
    gain = logdet(after)
    f_t, rules_t = stack("T", R_T)
    f_at, rules_at = stack("A,T", R_A, R_T)
    f_et, rules_et = stack("E,T", R_E, R_T)
    f_aet, rules_aet = stack("A,E,T", R_A, R_E, R_T)
    p_at, p_et = Let("P_{A T}", P_T + F_A), Let("P_{E T}", P_T + F_E)
    p_aet = Let("P_{A E T}", P_T + F_A + F_E)
    by_parameters = logdet(p_at) + logdet(p_et) - logdet(p_aet) - logdet(P_T)
    left = logdet(I_K + R_A * p_et.I * R_A.T)
    alike = Equal(rest, LAM * after)
    steps = [
        same(
            LAM * after,
            rest,
            r"Woodbury, {prf:ref}`thm-sylvester`; call this $S_{A\mid T}$",
        ),
        *chain(
            logdet(whole) - logdet(t),
            eq(
                logdet(conditional),
                r"$\ell(A,T)-\ell(T)$ is LogDetCG: Schur complement",
                alike,
                *block_rules,
            ),
            eq(
                count * logdet(LAM) + gain,
                r"line 1: twice the EIG under $P_T$, and a constant",
                alike,
                Scaled(LAM, after),
            ),
        ),
        *chain(
            f_at + f_et - f_aet - f_t,
            eq(
                by_parameters,
                r"{prf:ref}`thm-sim-duality` for all four, $P_{AT}=P_T+F_A$ and so on; "
                r"every power of $\lambda$ cancels",
                *rules_t,
                *rules_at,
                *rules_et,
                *rules_aet,
            ),
            eq(
                gain - left,
                r"twice {eq}`eq-epig-jepig` under $P_T$",
                Multiplicative(P_T, I_D + P_T.I * F_A),
                Multiplicative(P_T + F_E, I_D + (P_T + F_E).I * F_A),
                Sylvester(P_T.I * R_A.T, R_A),
                Sylvester((P_T + F_E).I * R_A.T, R_A),
            ),
        ),
    ]
    gains, mutual, order = (
        r"log_det_cg is 2 batch_eig under $\lambda I+F_T$, plus $\batchvar\log\lambda$",
        r"log_det_cmi is 2 jepig under $\lambda I+F_T$, and the four $D\times D$ "
        "log-determinants",
        "the more is known, the less a batch is worth: log_det_cg falls with T",
    )
    return evidence(
        steps,
        Check(gains, similarity.log_det_cg, twice_eig, TIGHT),
        Check(mutual, similarity.log_det_cmi, twice_jepig, TIGHT),
        Check(order, similarity.log_det_cg, falls, 0),
        Mutant("dropped ½", gains, lambda *k, jitter: cg(*k, jitter=jitter) / 2),
        Mutant("known set left out", gains, without_known),
        Mutant("dropped ½", mutual, lambda *k, jitter: cmi(*k, jitter=jitter) / 2),
        Mutant("known set left out", mutual, unconditional),
        Mutant("sign turned", order, lambda *k, jitter: -cg(*k, jitter=jitter)),
    )


def cg(*blocks, jitter):
    return similarity.log_det_cg(*blocks, jitter=jitter)


def cmi(*blocks, jitter):
    return similarity.log_det_cmi(*blocks, jitter=jitter)


def without_known(s_a, s_at, s_t, jitter):
    return similarity.log_det(s_a, jitter)


def unconditional(s_a, s_ae, s_e, s_at, s_et, s_t, jitter):
    return similarity.log_det_mi(s_a, s_ae, s_e, jitter=jitter)


def kernel(a, b):
    return similarity.similarity_matrix(*map(FisherRoots.from_dense, (a, b)))


def known_problem(rng, count, evals, known, size):
    """Gradients of a batch, an evaluation and a known set, λ, and the posterior."""
    a, e, t = (gradients(rng, n, size) for n in (count, evals, known))
    lam = float(np.exp(rng.uniform(-2, 2)))
    post = GaussianPosterior.from_roots(FisherRoots.from_dense(t), lam)
    return a, e, t, lam, post


PROBLEMS = ((2, 3, 5, 7), (3, 5, 2, 11), (5, 2, 7, 3))


@worst
def twice_eig(function, rng):
    for sizes in PROBLEMS:
        a, _, t, lam, post = known_problem(rng, *sizes)
        value = function(kernel(a, a), kernel(a, t), kernel(t, t), jitter=lam)
        truth = 2 * information.batch_eig(FisherRoots.from_dense(a), post)
        yield gap(value, truth + len(a) * np.log(lam))


@worst
def twice_jepig(function, rng):
    for sizes in PROBLEMS:
        a, e, t, lam, post = known_problem(rng, *sizes)
        pairs = (a, a), (a, e), (e, e), (a, t), (e, t), (t, t)
        value = function(*(kernel(*p) for p in pairs), jitter=lam)
        truth = 2 * information.jepig(stacked(a), stacked(e), post)[0]
        p = lam * np.eye(a.shape[1]) + t.T @ t
        f_a, f_e = a.T @ a, e.T @ e
        dense = log_det(p + f_a) + log_det(p + f_e) - log_det(p + f_a + f_e)
        yield gap(value, truth)
        yield gap(value, dense - log_det(p))


def falls(function, rng):
    """Largest rise of log_det_cg as rows join the known set."""
    a, _, t, lam, _ = known_problem(rng, 3, 2, 7, 11)
    values = []
    for n in range(1, 8):
        few = t[:n]
        blocks = kernel(a, a), kernel(a, few), kernel(few, few)
        values.append(float(function(*blocks, jitter=lam)))
    return max(0.0, np.diff(values).max())

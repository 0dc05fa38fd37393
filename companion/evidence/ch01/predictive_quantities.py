"""EPIG and JEPIG, and their order: T3.

Evaluation labels are fresh: given the parameters they are independent of each other and
of the candidate's label, even where an input occurs twice. An evaluation set is a
sequence of inputs, so that sets with repetitions are included.
"""

import numpy as np

from companion.evidence.ch01.information_quantities import NOISE
from companion.evidence.ch01.label_tables import information, label_tables, outcomes
from companion.evidence.draws import TIGHT, gap, problem, worst
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.evidence.notation import LABEL, W, at_least, at_most
from companion.proof import *
from fimlib import predictive
from fimlib.blr import BayesianLinearRegression

EVALS = tuple(rf"\Yeval_{e}" for e in (1, 2, 3))
REST = r"\Yeval_{2..\evalsize}"
FRESH = Independent(LABEL, EVALS, W)


def others(e):
    """The evaluation labels without e."""
    return tuple(other for other in EVALS if other != e)


def total(terms):
    first, *more = terms
    for term in more:
        first = first + term
    return first


@claim(
    "T3", HOLDS, "thm-information-order eq-information-order eq-information-predictive"
)
def t3():
    weights = [scalar(f"a_{e}") for e in (1, 2, 3)]
    shares = [a / total(weights) for a in weights]
    pairs = list(zip(shares, EVALS, strict=True))
    epig = Let(
        r"\sum_ew_e\MIof{\Yeval_e;\Y}", total(w * MI(e, LABEL) for w, e in pairs)
    )
    jepig = Let(r"\MIof{\Yevalset;\Y}", MI(EVALS, LABEL))
    one = EVALS[0]
    steps = [
        at_least(
            MI((one, REST), LABEL),
            MI(one, LABEL),
            r"chain rule: more labels add $\MIof{"
            rf"{REST};\Y\given{one}}}\ge0$, whatever their number",
            Informations(((1, MI(REST, LABEL, given=one)),)),
        ),
        *chain(
            epig,
            le(
                jepig,
                r"line 1 for every $e$; a mean of numbers is at most their bound "
                r"(written out for three labels, $w_e>0$, $\sum_ew_e=1$)",
                Informations(
                    tuple((w, MI(others(e), LABEL, given=e)) for w, e in pairs)
                ),
            ),
            le(
                MI(W, LABEL),
                r"data processing: given $\W$ the labels are independent, and the gap "
                r"is $\MIof{\W;\Y\given\Yevalset}\ge0$",
                FRESH,
                Informations(((1, MI(W, LABEL, given=EVALS)),)),
            ),
        ),
        random_sets(),
        *chain(
            MI(LABEL, LABEL),
            eq(
                H(LABEL),
                r"an evaluation label that *is* $\Y$, not a fresh draw, is not "
                r"independent of it given $\W$",
            ),
            ge(
                MI(W, LABEL),
                r"JEPIG would be $\Hof{\Y}$, more than EIG by the noise",
                Informations(((1, NOISE),)),
            ),
        ),
    ]
    single, joint, order, linear, outside, trend = (
        "predictive.epig equals the mean information of pairs of labels, by tables",
        "predictive.jepig equals the information of the joint label, by tables",
        "EPIG ≤ JEPIG ≤ EIG on 60 tables, repeated inputs included",
        "EPIG ≤ JEPIG ≤ EIG on 60 linear models",
        "BLR: EPIG of an input outside JEPIG's set, ½ log 4/3 = .14384 against 0",
        "BLR, D = 5: JEPIG rises to EIG, E = 5, 50, 500, 2000, as its bound says",
    )
    return evidence(
        steps,
        Check(single, predictive.epig, mean_of_pairs, TIGHT),
        Check(joint, joint_information, joint_label, TIGHT),
        Check(order, table_scores, table_violations, 0),
        Check(linear, linear_scores, linear_violations, 0),
        Check(outside, linear_scores, outside_the_set, TIGHT),
        Check(trend, linear_scores, approach_to_eig, 0),
        Mutant("the parameters for an evaluation label", 1, MI(W, LABEL)),
        Mutant("one evaluation label for all", 2, MI(one, LABEL)),
        Mutant("half the EIG", 3, HALF * MI(W, LABEL)),
        Mutant("one set for the mean over sets", 4, MI(REPEATED, LABEL)),
        Mutant("entropy of the parameters", 5, H(W)),
        Mutant("sum for mean", single, lambda p, e: len(e) * predictive.epig(p, e)),
        Mutant("mean label for mean of informations", single, mean_label),
        Mutant("JEPIG for EPIG", single, joint_information),
        Mutant("EIG for EPIG", single, lambda p, e: predictive.bald(p)),
        Mutant("EPIG for JEPIG", joint, predictive.epig),
        Mutant("EIG for JEPIG", joint, lambda p, e: predictive.bald(p)),
        Mutant("sum of EPIGs for JEPIG", joint, sum_of_pairs),
        Mutant("order reversed", order, lambda *a: table_scores(*a)[::-1]),
        Mutant("sum for mean", order, summed(table_scores)),
        Mutant("order reversed", linear, lambda *a: linear_scores(*a)[::-1]),
        Mutant("sum for mean", linear, summed(linear_scores)),
        Mutant(
            "both on JEPIG's set",
            outside,
            lambda blr, x, e, e_joint=None: linear_scores(blr, x, e_joint),
        ),
        Mutant("EPIG for JEPIG", trend, lambda *a: linear_scores(*a)[[0, 0, 2]]),
        Mutant("half the JEPIG", trend, lambda *a: halved(linear_scores(*a))),
    )


# The labels of a set that holds the first input twice.
REPEATED = (EVALS[0], r"{\Yeval}'_1")


def random_sets():
    """EPIG is at most the mean JEPIG of two inputs drawn from its distribution."""
    a, b = scalar("a"), scalar("b")
    w, v = a / (a + b), b / (a + b)  # the probabilities of two possible inputs
    first, second = EVALS[:2]
    again = r"{\Yeval}'_2"
    twice = REPEATED
    mean = (
        w * w * MI(twice, LABEL)
        + 2 * w * v * MI((first, second), LABEL)
        + v * v * MI((second, again), LABEL)
    )
    more = (
        (w * w, MI(twice[1], LABEL, given=first)),
        (w * v, MI(second, LABEL, given=first)),
        (w * v, MI(first, LABEL, given=second)),
        (v * v, MI(again, LABEL, given=second)),
    )
    return at_most(
        Let(
            r"\simpleE{e}\MIof{\Yeval_e;\Y}",
            w * MI(first, LABEL) + v * MI(second, LABEL),
        ),
        Let(r"\simpleE{\text{sets}}\MIof{\Yevalset;\Y}", mean),
        "sets drawn from the distribution of EPIG: line 2 for each set, and each "
        "member of a set has that distribution (here two labels, two possible inputs)",
        Informations(more),
    )


def joint_information(log_p, log_p_eval):
    return predictive.jepig(log_p, log_p_eval)[0]


def table_scores(log_p, log_p_eval):
    """EPIG, JEPIG and EIG, (3, M), in prediction space."""
    joint = joint_information(log_p, log_p_eval)
    found = predictive.epig(log_p, log_p_eval), joint, predictive.bald(log_p)
    return np.stack([np.asarray(v) for v in found])


def linear_scores(blr, x, x_eval, x_joint=None):
    """EPIG, JEPIG and EIG, (3, M), of a linear model; x_joint is JEPIG's set."""
    joint = blr.jepig(x, x_eval if x_joint is None else x_joint)
    return np.stack([blr.epig(x, x_eval), joint, blr.eig(x)])


def summed(function):
    """EPIG as a sum over the evaluation inputs, which are the last argument."""
    return lambda *a: function(*a) * np.array([[len(a[-1])], [1], [1]])


def halved(scores):
    return scores * np.array([[1], [0.5], [1]])


def mean_label(log_p, log_p_eval):
    """I[Y_eval; Y] of the label of an input that nobody was told."""
    mean = np.logaddexp.reduce(log_p_eval, keepdims=True) - np.log(len(log_p_eval))
    return predictive.epig(log_p, mean)


def sum_of_pairs(log_p, log_p_eval):
    return len(log_p_eval) * predictive.epig(log_p, log_p_eval)


@worst
def mean_of_pairs(function, rng):
    for _ in range(10):
        log_p, log_e = label_tables(rng)
        pool, evals = np.exp(log_p), np.exp(log_e)
        truth = [np.mean([information(p, e) for e in evals]) for p in pool]
        yield gap(function(log_p, log_e), truth)


@worst
def joint_label(function, rng):
    for _ in range(10):
        log_p, log_e = label_tables(rng)
        joint = outcomes(np.exp(log_e))
        truth = [information(p, joint) for p in np.exp(log_p)]
        yield gap(function(log_p, log_e), truth)


def excess(scores):
    """How far scores (3, M) are from ascending, up to rounding."""
    return float((scores[:-1] - scores[1:]).max()) - 1e-12


def table_violations(function, rng):
    instances = (label_tables(rng) for _ in range(60))
    return max(0.0, *(excess(function(*each)) for each in instances))


@worst
def linear_violations(function, rng):
    for _ in range(60):
        size, evals = (int(n) for n in rng.integers(1, 6, 2))
        mu, cov, s2, x, _ = problem(rng, size, count=4)
        x_eval = rng.standard_normal((evals, size))
        x_eval[-1] = rng.choice([x_eval[0], x[0]])
        blr = BayesianLinearRegression(mu, cov, s2)
        yield excess(function(blr, x, x_eval))


def outside_the_set(function, rng):
    """P = I_2, noise variance 1: candidate e_1, EPIG about e_1, JEPIG about e_2."""
    blr = BayesianLinearRegression(np.zeros(2), np.eye(2), 1.0)
    one, two = np.eye(2)[:1], np.eye(2)[1:]
    truth = [[np.log(4 / 3) / 2], [0.0], [np.log(2) / 2]]
    return gap(function(blr, one, one, two), truth)


@worst
def approach_to_eig(function, rng):
    """By how much EIG - JEPIG misses its closed form, its bound or its trend."""
    blr = BayesianLinearRegression(np.zeros(5), np.eye(5), 1.0)
    x, many = rng.standard_normal((200, 5)), rng.standard_normal((2000, 5))
    shares = [0.0]
    for size in (5, 50, 500, 2000):
        _, jepig, eig = function(blr, x, many[:size])
        precision = np.eye(5) + many[:size].T @ many[:size]
        left = np.log1p(np.einsum("nd,nd->n", x, np.linalg.solve(precision, x.T).T)) / 2
        bound = (x**2).sum(1) / (2 * np.linalg.eigvalsh(precision)[0])
        shares.append(np.median(jepig / eig))
        yield np.abs(eig - jepig - left).max() - 1e-12
        yield (eig - jepig - bound).max()
        yield shares[-2] - shares[-1]
    yield 0.99 - shares[-1]

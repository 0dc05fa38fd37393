"""Expected information gain, by entropies and by divergences: T1."""

import numpy as np
from scipy import stats

from companion.evidence.ch01.label_tables import plogp, posteriors, tables
from companion.evidence.ch02.blr import model_eig
from companion.evidence.draws import SIZES, TIGHT, doubled, gap, problem, worst
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.evidence.notation import LABEL, SAMPLED, ZERO, C, W
from companion.proof import *
from fimlib import predictive
from fimlib.blr import BayesianLinearRegression

EIG = Let(r"\MIof{\W;\Y\given\x}", MI(W, LABEL))
H_Y = Let(r"\Hof{\Y\given\x}", H(LABEL))
P_Y, P_Y_W = r"\pof{\y\given\x}", r"\pof{\y\given\x,\w}"


NOISE = Average(LABEL, W, "entropy")
REMAINING = Average(W, LABEL, "entropy")
KNOWN = Average(SAMPLED, LABEL, "entropy")
ENTROPY_LEFT = Let(rf"\E{{{P_Y}}}{{\Hof{{\W\given\y,\x}}}}", REMAINING)
LABEL_NOISE = Let(r"\E{\pof{\w}}{\Hof{\Y\given\x,\w}}", NOISE)


@claim("T1", HOLDS, "thm-information-eig eq-information-eig")
def t1():
    kl = Let(rf"\simpleE{{\w}}\Kale{{{P_Y_W}}}{{{P_Y}}}", Average(LABEL, W, "gain"))
    reverse = Let("", Average(LABEL, W, "loss"))
    log_c = Let(r"\log\numclasses", LogStates(C))
    log_l = Let(r"\log L", LogStates("L"))
    steps = [
        *chain(
            EIG,
            eq(
                H(W) - ENTROPY_LEFT,
                r"chain rule: $\Hof{\W,\Y\given\x}$ $=\Hof{\Y\given\x}$ "
                rf"$+\,\simpleE{{{P_Y}}}\Hof{{\W\given\y,\x}}$",
            ),
            eq(
                H_Y - LABEL_NOISE,
                "the same chain rule in the other order: information is symmetric. "
                "This is BALD",
            ),
            eq(
                kl,
                rf"$-\log{P_Y}$ has the mean $\Hof{{\Y\given\x}}$ also under "
                rf"$\pof{{\w}}\,{P_Y_W}$",
            ),
            ge(
                ZERO,
                r"Gibbs: a divergence is the mean of $u-1-\log u\ge0$, $u$ the ratio "
                "of the two probabilities",
                Informations(((1, kl.definition),)),
            ),
        ),
        *chain(
            EIG,
            le(
                H_Y,
                r"the noise $\Hof{\Y\given\x,\w}$, a mean of $-\log p$, is not "
                "negative for classes",
                Informations(((1, NOISE),)),
            ),
            le(
                log_c,
                rf"the gap is the divergence of ${P_Y}$ from equal probabilities",
                Informations(((1, Average(LABEL, None, "excess")),)),
            ),
        ),
        *chain(
            Let(EIG.tex, MI(SAMPLED, LABEL)),
            le(
                H(SAMPLED),
                r"for $L$ samples in the place of $\w$: their entropy after the label "
                "is not negative",
                Informations(((1, KNOWN),)),
            ),
            le(
                log_l,
                r"$L$ values have at most the entropy $\log L$",
                Informations(((1, Average(SAMPLED, None, "excess")),)),
            ),
        ),
    ]
    forms, caps, linear = (
        "predictive.bald equals the three forms, by Bayes' rule on tables",
        "predictive.bald stays between 0 and min(log C, log L), certain labels too",
        "BLR: eig equals both entropy drops, of the parameters and of the label",
    )
    return evidence(
        steps,
        Check(forms, predictive.bald, three_forms, TIGHT),
        Check(caps, predictive.bald, over_the_caps, 0),
        Check(linear, model_eig, both_drops, TIGHT),
        Mutant("the divergence the other way round", 3, reverse),
        Mutant("difference of the two entropies", 5, H_Y - H(SAMPLED)),
        Mutant("half of it is a cap", 6, HALF * log_c),
        Mutant("label entropy for information", forms, label_entropy),
        Mutant("expectation over one model's labels", forms, one_models_labels),
        Mutant("the divergence the other way round", forms, reversed_kl),
        Mutant("bits for nats", forms, lambda p: predictive.bald(p) / np.log(2)),
        Mutant("label entropy for information", caps, label_entropy),
        Mutant("bits for nats", caps, lambda p: predictive.bald(p) / np.log(2)),
        Mutant("sign", caps, lambda p: -predictive.bald(p)),
        Mutant("dropped ½", linear, doubled(model_eig)),
        Mutant("label entropy for information", linear, predictive_entropy),
    )


@worst
def three_forms(function, rng):
    for sizes in ((7, 5, 3), (3, 11, 2), (5, 2, 7)):
        log_p = tables(rng, *sizes)
        p = np.exp(log_p)
        after, marginal = posteriors(p)
        drop = np.log(p.shape[1]) - (marginal * plogp(after)).sum(1)
        own_drop = plogp(p.mean(1)) - plogp(p).mean(1)
        kl = (p * (log_p - np.log(p.mean(1, keepdims=True)))).sum(-1).mean(1)
        found = function(log_p)
        yield from (gap(found, truth) for truth in (drop, own_drop, kl))


@worst
def over_the_caps(function, rng):
    """How far the score leaves [0, min(log C, log L)], over tables of all sharpness."""
    for certain in (0, 0.5, 1):
        for samples, classes in ((2, 7), (7, 2), (3, 3)):
            score = np.asarray(function(tables(rng, 30, samples, classes, certain)))
            cap = np.log(min(samples, classes))
            yield -score.min()
            yield (score - cap).max() - 1e-12


@worst
def both_drops(function, rng):
    for size in SIZES:
        mu, cov, s2, x, y = problem(rng, size, count=3)
        model = BayesianLinearRegression(mu, cov, s2)
        after = [model.condition(a[None], b[None]) for a, b in zip(x, y, strict=True)]
        drop = [float(model.entropy() - new.entropy()) for new in after]
        spread = np.sqrt(s2 + np.einsum("nd,de,ne->n", x, cov, x))
        label = stats.norm.entropy(scale=spread) - stats.norm.entropy(scale=s2**0.5)
        found = function(mu, cov, s2, x)
        yield gap(found, drop)
        yield gap(found, label)


def label_entropy(log_p):
    return plogp(np.exp(log_p).mean(1))


def one_models_labels(log_p):
    """Labels drawn from p(y|x, theta_1), not from the marginal p(y|x)."""
    p = np.exp(log_p)
    return np.log(p.shape[1]) - (p[:, 0] * plogp(posteriors(p)[0])).sum(1)


def reversed_kl(log_p):
    mean = np.exp(log_p).mean(1, keepdims=True)
    return (mean * (np.log(mean) - log_p)).sum(-1).mean(1)


def predictive_entropy(mean, covariance, noise_variance, x):
    signal = np.einsum("nd,de,ne->n", x, covariance, x)
    return stats.norm.entropy(scale=np.sqrt(noise_variance + signal))

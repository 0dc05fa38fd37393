"""Expected information gain: T1, and means of entropies and divergences.

Entropies are proved equal for every distribution (`companion.proof.shannon`). `Average`
adds means of entropies and of divergences, whose values on random tables are computed
from their definitions, not from the entropies that they are proved to equal.
"""

from dataclasses import dataclass

import numpy as np
import sympy
from scipy import stats

from companion.evidence.ch01.label_tables import plogp, posteriors, tables
from companion.evidence.ch02.blr import model_eig
from companion.evidence.draws import SIZES, TIGHT, doubled, gap, problem, worst
from companion.evidence.ledger import HOLDS, claim
from companion.evidence.notation import ZERO, W, Y
from companion.proof import *
from companion.proof.algebra import Algebra
from companion.proof.formula import SCALAR, Formula
from companion.proof.rules import nonnegative
from companion.proof.scalars import is_zero
from companion.proof.shannon import ROOT, STATES, Entropy, random_prior
from fimlib import predictive
from fimlib.blr import BayesianLinearRegression

EIG = Let(r"\MIof{\W;\Y\given\x}", MI(W, Y))
H_Y = Let(r"\Hof{\Y\given\x}", H(Y))
P_Y, P_Y_W = r"\pof{\y\given\x}", r"\pof{\y\given\x,\w}"


@dataclass(frozen=True, eq=False)
class LogStates(Formula):
    """log of the number of values of a variable, called `count`."""

    count: str
    shape = SCALAR

    def lower(self, algebra):
        return algebra.atom("log states", (self.count,))

    def evaluate(self, world):
        return float(np.log(STATES))


@dataclass(frozen=True, eq=False)
class Average(Formula):
    """Mean over `given` of what `kind` makes of the distribution p(part | given).

    "entropy": its entropy; "gain": its divergence KL from p(part); "loss": that of
    p(part) from it; "excess": its divergence from the uniform one over `count` values.
    """

    part: str
    given: str | None
    kind: str
    count: str = ""
    shape = SCALAR

    def lower(self, algebra):
        """In joint entropies, because H(S) is the mean of -log p(S)."""
        part = frozenset([self.part])
        given = frozenset([self.given] if self.given else [])
        entropy = Entropy(part | given) - Entropy(given)
        value = {
            "entropy": entropy,
            "gain": Entropy(part) - entropy,
            "excess": LogStates(self.count) - entropy,
        }
        return algebra.scalar(value[self.kind])  # "loss" is not made of entropies

    def evaluate(self, world):
        """Bayes' rule on the tables, then the definition."""
        weights, tables = world.memo(ROOT, random_prior)
        Entropy(frozenset([Y])).evaluate(world)  # draws p(y | theta) if none was met
        joint = weights[:, None] * tables[Y]
        joint = joint if self.part == W else joint.T
        marginal = joint.sum(1)
        given = joint.sum(0) if self.given else np.ones(1)
        p = joint / given if self.given else marginal[:, None]
        own, log_p = marginal[:, None], np.log(p)
        terms = {
            "entropy": -p * log_p,
            "gain": p * (log_p - np.log(own)),
            "loss": own * (np.log(own) - log_p),
            "excess": p * (log_p + np.log(len(p))),
        }
        return float(terms[self.kind].sum(0) @ given)


@dataclass(frozen=True, eq=False)
class NonNegative:
    """larger - smaller is an `Average` of something that is never negative.

    A divergence is the mean of u - 1 - log u, u the ratio of the two probabilities; the
    entropy of finitely many values is the mean of -log p = log(1 + t), p = 1 / (1 + t).
    """

    average: Average

    def prove(self, smaller, larger, rules=()):
        algebra, t = Algebra(), sympy.Symbol("t", positive=True)
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        if not is_zero(gap - algebra.scalar(self.average)):
            return False
        if self.average.kind == "entropy":
            return nonnegative(sympy.log(1 + t), t)
        return nonnegative(t - 1 - sympy.log(t), t, start=1)


NOISE = Average(Y, W, "entropy")
REMAINING = Average(W, Y, "entropy")
ENTROPY_LEFT = Let(rf"\E{{{P_Y}}}{{\Hof{{\W\given\y,\x}}}}", REMAINING)
LABEL_NOISE = Let(r"\E{\pof{\w}}{\Hof{\Y\given\x,\w}}", NOISE)


# --- T1 --------------------------------------------------------------------------


@claim("T1", HOLDS, "thm-information-eig eq-information-eig")
def t1():
    kl = Let(rf"\simpleE{{\w}}\Kale{{{P_Y_W}}}{{{P_Y}}}", Average(Y, W, "gain"))
    reverse = Let("", Average(Y, W, "loss"))
    log_c = Let(r"\log\numclasses", LogStates("C"))
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
                NonNegative(kl.definition),
            ),
        ),
        *chain(
            EIG,
            le(
                H_Y,
                r"the noise $\Hof{\Y\given\x,\w}$, a mean of $-\log p$, is not "
                "negative for classes",
                NonNegative(NOISE),
            ),
            le(
                log_c,
                rf"the gap is the divergence of ${P_Y}$ from equal probabilities",
                NonNegative(Average(Y, None, "excess", "C")),
            ),
        ),
        *chain(
            EIG,
            le(
                H(W),
                r"for $L$ samples in the place of $\w$: their entropy after the label "
                "is not negative",
                NonNegative(REMAINING),
            ),
            le(
                log_l,
                r"$L$ values have at most the entropy $\log L$",
                NonNegative(Average(W, None, "excess", "L")),
            ),
        ),
    ]
    forms, caps, linear = (
        "predictive.bald equals the three forms, by Bayes' rule on tables",
        "predictive.bald stays between 0 and min(log C, log L), certain labels too",
        "BLR: eig equals both entropy drops, of the parameters and of the label",
    )
    return Derivation(
        steps,
        [
            Check(forms, predictive.bald, three_forms, TIGHT),
            Check(caps, predictive.bald, over_the_caps, 0),
            Check(linear, model_eig, both_drops, TIGHT),
        ],
        [
            Mutant("the divergence the other way round", 3, reverse),
            Mutant("difference of the two entropies", 5, H_Y - H(W)),
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
        ],
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

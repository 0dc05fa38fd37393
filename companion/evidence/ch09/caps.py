"""What a score may be: caps and orders, T45.

P is the posterior precision, R a root of the candidate's Fisher information (F = R'R),
G = R P^-1 R' its Gram block, F_E the Fisher information of the evaluation labels.
"""

import itertools

import numpy as np
import sympy
import torch

from companion.evidence.ch09.lens import Y_1, Y_2, ZERO, label_entropy, tables
from companion.evidence.draws import PROBLEMS, gap, predictive_problem, reordered, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_R, G, P, R, W, Y, at_least, at_most, same
from companion.proof import *
from fimlib import information, predictive
from fimlib.fisher import last_layer_roots
from fimlib.posterior import GaussianPosterior


@claim("T45", CONDITIONS, "thm-lens-caps eq-lens-caps eq-lens-order")
def t45():
    """Only estimates in prediction space respect the cap: a log-determinant or trace
    above it is no amount of information.
    """
    # A label has finitely many classes, and estimates rest on finitely many samples.
    label, *both = (discrete(y) for y in (Y, Y_1, Y_2))
    samples = discrete(W)
    f_e = Sym("F_E", "D", "D", "psd")
    known = R * (P + f_e).I * R.T
    eig = HALF * logdet(I_R + G)
    c = sympy.Symbol(r"\numclasses", positive=True)
    steps = [
        at_most(
            MI(W, label),
            H(label),
            r"$\Hof{\Y\given\W}\ge0$ for classes; and "
            r"$\Hof{\Y}\le\log\numclasses$",
            Informations(((1, H(label, given=W)),)),
        ),
        at_most(
            MI(samples, Y),
            H(samples),
            r"$\Hof{\W\given\Y}\ge0$; with $L$ equally likely values of $\W$, "
            r"$\Hof{\W}=\log L$",
            Informations(((1, H(samples, given=Y)),)),
        ),
        at_most(
            MI(W, both),
            H(both[0]) + H(both[1]),
            r"a batch: at most $\batchvar\log\numclasses$",
            Informations(((1, MI(*both)), (1, H(both, given=W)))),
        ),
        at_most(
            MI(samples, both),
            H(samples),
            r"and at most $\log L$, however long the batch",
            Informations(((1, H(samples, given=both)),)),
        ),
        at_least(eig, ZERO, "weight space: $G\\succeq0$", Spectral(G)),
        *chain(
            eig - HALF * logdet(I_R + known),
            le(
                eig,
                r"JEPIG is EIG less what is left after the evaluation labels; for one "
                r"of them, and in the mean, EPIG",
                Grows(I_R, known),
            ),
            le(HALF * Tr(G), "{prf:ref}`thm-trace-bound`", Spectral(G)),
        ),
        same(
            sympy.log(1 + (c**2 - 1)) / 2,
            sympy.log(c),
            r"rank one with $g^\top P^{-1}g=\numclasses^2-1$: the cap, and beyond it "
            "nothing stops the score",
            tex=(r"\tfrac12\log\big(1+(\numclasses^2-1)\big)", r"\log\numclasses"),
        ),
    ]

    @worst
    def within_caps(function, rng):
        """Excess over [0, min(log C, log L)] in flat and in nearly certain tables."""
        for samples, classes in ((2, 5), (5, 2), (11, 3)):
            for sharpness in (0.1, 1.0, 100.0):
                log_p = tables(rng, 50, samples, classes, sharpness)
                score = np.asarray(function(log_p))
                cap = min(np.log(classes), np.log(samples)) + 1e-12
                yield (score - cap).max()
                yield -score.min()
        for size in (2, 3):  # samples that are certain of different classes: the cap
            certain = np.log(np.eye(size) + 1e-300)[None]
            yield gap(function(certain), [np.log(size)]) - 1e-12

    @worst
    def batch_caps(function, rng):
        for samples, classes, count in ((2, 3, 5), (20, 2, 3), (7, 3, 2)):
            for sharpness in (0.1, 1.0, 100.0):
                log_p = tables(rng, count, samples, classes, sharpness)
                cap = min(count * np.log(classes), np.log(samples)) + 1e-9
                value = float(function(log_p))
                yield value - cap
                yield -value

    @worst
    def ordered(function, rng):
        """Worst violation of 0 <= EPIG <= JEPIG <= EIG <= trace, relative to EIG."""
        for sizes in PROBLEMS:
            scores = [np.asarray(s) for s in function(*predictive_problem(rng, *sizes))]
            scores = [0 * scores[0], *scores]
            for low, high in itertools.pairwise(scores):
                yield ((low - high) / (1e-12 + scores[3])).max() - 1e-9

    def uncapped(function, rng):
        """How far eig stays below log C + 1 under a broad posterior; BALD obeys."""
        roots, log_p, post = broad_classifier(rng)
        if float(predictive.bald(log_p).max()) > np.log(3) + 1e-12:
            raise ArithmeticError("BALD exceeds log C")
        return max(0.0, np.log(3) + 1 - float(function(roots, post).max()))

    single, batch, order, above = (
        "predictive.bald lies between 0 and min(log C, log L), and reaches it",
        "predictive.batch_bald lies between 0 and min(K log C, log L)",
        "EPIG, JEPIG, EIG and the trace in this order",
        "information.eig exceeds log C where BALD of the same posterior does not",
    )
    return evidence(
        steps,
        Check(single, predictive.bald, within_caps, 0),
        Check(batch, predictive.batch_bald, batch_caps, 0),
        Check(order, four_scores, ordered, 0),
        Check(above, information.eig, uncapped, 0),
        Mutant("noise subtracted twice", 1, H(Y) - 2 * H(Y, given=W)),
        Mutant("one label for two", 3, MI(W, Y_1)),
        Mutant("sign of the score", 5, HALF * Tr(G)),
        Mutant("half of EIG bounds JEPIG", 6, HALF * eig),
        Mutant("bits for nats", single, lambda p: predictive.bald(p) / np.log(2)),
        Mutant("entropy of the label", single, label_entropy),
        Mutant("sum of the singles", batch, lambda p: predictive.bald(p).sum()),
        Mutant("EPIG and JEPIG exchanged", order, reordered(four_scores, 1, 0, 2, 3)),
        Mutant("trace for log det", order, reordered(four_scores, 0, 1, 3, 2)),
        Mutant(
            "capped score",
            above,
            lambda r, p: information.eig(r, p).clamp(max=np.log(3)),
        ),
    )


def four_scores(roots, eval_roots, post):
    """EPIG, JEPIG, EIG in the log det form, and EIG's trace."""
    return [
        information.epig(roots, eval_roots, post),
        information.jepig(roots, eval_roots, post),
        information.eig(roots, post),
        information.eig(roots, post, form="trace"),
    ]


def broad_classifier(rng, classes=3, width=2, count=5, samples=400):
    """Roots at theta* = 0, a broad prior, and the labels' log-probabilities under it.

    theta ~ N(0, 100 I): every logit is known to a standard deviation of ten or more.
    """
    features = torch.tensor(rng.standard_normal((count, width)))
    roots = last_layer_roots(features, torch.zeros(count, classes), bias=False)
    theta = torch.tensor(10.0 * rng.standard_normal((samples, classes, width)))
    logits = torch.einsum("md,lcd->mlc", features, theta)
    post = GaussianPosterior.isotropic(classes * width, 0.01)
    return roots, torch.log_softmax(logits, -1), post

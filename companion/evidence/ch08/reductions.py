"""What the similarity methods have in common, and which do not: T36.

f(X) = log det(P + F_X) - log det P for sets X of examples with stacked roots R_X; the
letters are those of `log_det_mi` and `conditional`.
"""

import numpy as np
import torch

from companion.evidence.ch08.badge import POINTS
from companion.evidence.ch08.conditional import F_A, F_E, R_T, kernel
from companion.evidence.ch08.log_det_mi import R_A, stacked
from companion.evidence.draws import TIGHT, gap, gradients, seeded, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, I_K, LAM, P, same
from companion.proof import *
from fimlib import information, selection, similarity
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

F_T = Let("F_T", R_T.T * R_T)


def f(name, *parts):
    """f of a union, named."""
    total = P
    for part in parts:
        total = total + part
    return Let(f"f({name})", logdet(total) - logdet(P))


def gain(precision):
    """log det(I + R_A precision^-1 R_A'): twice the EIG of A, and its rules."""
    rules = (
        Multiplicative(precision, I_D + precision.I * F_A),
        Sylvester(precision.I * R_A.T, R_A),
    )
    return logdet(I_K + R_A * precision.I * R_A.T), rules


@claim("T36", CONDITIONS, "thm-sim-one eq-sim-one")
def t36():
    """True of the log-determinants that they score, not of how they choose: k-means++,
    Core-Set and LCMD steps come from no such f, nor do PRISM's facility location and
    graph cut.
    """
    p_t = Let("P_T", P + F_T)
    (own, own_rules), (after, after_rules) = gain(P), gain(P + F_E)
    (given, given_rules), (left, left_rules) = gain(p_t), gain(p_t + F_E)
    g = Sym("g", "D")
    steps = [
        same(f("A", F_A), own, "LogDet: twice the EIG", *own_rules),
        same(
            f("A", F_A) + f("E", F_E) - f(r"A\cup E", F_A, F_E),
            own - after,
            "LogDetMI: twice the JEPIG",
            *own_rules,
            *after_rules,
        ),
        same(
            f(r"A\cup T", F_A, F_T) - f("T", F_T),
            given,
            r"LogDetCG: twice the EIG under $P_T=P+F_T$",
            *given_rules,
        ),
        same(
            f(r"A\cup T", F_A, F_T)
            + f(r"E\cup T", F_E, F_T)
            - f(r"A\cup E\cup T", F_A, F_E, F_T)
            - f("T", F_T),
            given - left,
            r"LogDetCMI: twice the JEPIG under $P_T$",
            *given_rules,
            *left_rules,
        ),
        same(
            HALF * Tr(g * g.T / LAM),
            g.T * g / (2 * LAM),
            r"the trace form of one gradient under $P=\lambda I$: its squared length",
        ),
    ]
    greedy, mutual, lengths, signs, scales = (
        "greedy_log_det: its gains sum to ½ log_det(S, λ) - (K/2) log λ of its batch",
        "selection.log_det_mi: its gains sum to half the log_det_mi of its batch",
        "longest first: BADGE's first choice has the largest EIG trace under λ I",
        "exception: turning gradients round changes BADGE's batches, no log det",
        "exception: lengths change every EIG, and no $(1+\\cos)/2$",
    )
    return evidence(
        steps,
        Check(greedy, selection.greedy_log_det, sum_of_gains, TIGHT),
        Check(mutual, selection.log_det_mi, half_log_det_mi, TIGHT),
        Check(lengths, selection.badge, longest_first, 0),
        Check(signs, selection.k_means_pp, signs_matter, 0),
        Check(scales, similarity.similarity_matrix, lengths_matter, TIGHT),
        Mutant("prior for posterior", 3, own),
        Mutant("k-means++", greedy, k_means_batch),
        Mutant("EIG for JEPIG", mutual, eig_batch),
        Mutant("the most certain first", lengths, most_certain),
        Mutant("greedy log det", signs, greedy_batch),
        Mutant("inner products", scales, lambda rows, **_: gram(rows)),
    )


def gram(rows):
    return similarity.similarity_matrix(rows)


@worst
def sum_of_gains(function, rng):
    for lam in (0.1, 3.0):
        rows = gradients(rng, 13, 5)
        post = GaussianPosterior.isotropic(5, lam)
        batch = function(FisherRoots.from_dense(rows), post, 3)
        chosen = rows[batch.indices.numpy()]
        truth = similarity.log_det(gram(chosen), lam) / 2 - 1.5 * np.log(lam)
        yield gap(batch.gains.sum(), truth)


def k_means_batch(roots, post, batch_size):
    generator = torch.Generator().manual_seed(0)
    return selection.k_means_pp(roots, batch_size, generator=generator)


def half_log_det_mi(function, rng):
    rows, evals = gradients(rng, 13, 5), gradients(rng, 3, 5)
    lam = 0.5
    post = GaussianPosterior.isotropic(5, lam)
    roots = map(FisherRoots.from_dense, (rows, evals))
    batch = function(*roots, post, 3)
    chosen = rows[batch.indices.numpy()]
    pairs = (chosen, chosen), (chosen, evals), (evals, evals)
    truth = similarity.log_det_mi(*(kernel(*p) for p in pairs), jitter=lam) / 2
    joint = information.jepig(stacked(chosen), stacked(evals), post)[0]
    return max(gap(batch.gains.sum(), truth), gap(truth, joint))


def eig_batch(roots, eval_roots, post, batch_size):
    return selection.greedy_log_det(roots, post, batch_size)


def longest_first(function, rng):
    """0 if the first choice has the largest trace form, of hard-label gradients."""
    wrong = 0
    for _ in range(7):
        features, logits = rng.standard_normal((11, 3)), rng.standard_normal((11, 4))
        post = GaussianPosterior.isotropic(12, float(np.exp(rng.uniform(-2, 2))))
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        hard = p - np.eye(4)[p.argmax(1)]
        rows = (hard[:, :, None] * features[:, None, :]).reshape(11, 12)
        traces = information.eig(FisherRoots.from_dense(rows), post, form="trace")
        wrong += int(function(features, logits, 1).indices[0]) != int(traces.argmax())
    return wrong


def most_certain(features, logits, batch_size):
    sure = torch.log_softmax(torch.tensor(logits), 1).amax(1)
    return selection.top_k(sure, batch_size)


def greedy_batch(points, batch_size, generator):
    roots = FisherRoots.from_dense(points)
    return selection.greedy_log_det(roots, GaussianPosterior.isotropic(2, 1.0), 2)


def signs_matter(function, rng):
    """0 if most of 200 batches of two hold b, and few once b is turned round."""
    points = np.array(POINTS)
    turned = points * [[1.0], [-1.0], [1.0]]
    generator = seeded(rng)

    def batches_with_b(rows):
        drawn = [function(rows, 2, generator=generator) for _ in range(200)]
        return sum(1 in batch.indices for batch in drawn)

    volumes = [float(similarity.log_det(gram(r), 1.0)) for r in (points, turned)]
    if gap(*volumes) > 1e-12:
        return np.inf
    # |b - a|² is 15.21, and .01 once b is turned round; |c - a|² is 5.
    return float(not (batches_with_b(points) > 100 > 5 > batches_with_b(turned)))


def lengths_matter(function, rng):
    """Residual of the kernel under a change of lengths; the EIG must change with it."""
    rows = gradients(rng, 5, 7)
    longer = np.exp(rng.uniform(0.5, 1, (5, 1))) * rows
    post = GaussianPosterior.isotropic(7, 1.0)
    eig = [information.eig(FisherRoots.from_dense(r), post) for r in (rows, longer)]
    if not (eig[1] > eig[0]).all():
        return np.inf
    return gap(function(longer, kind="similar"), function(rows, kind="similar"))

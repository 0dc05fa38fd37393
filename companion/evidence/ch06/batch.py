"""Batches: redundancy, submodularity, and what the trace ignores: T25."""

import itertools

import numpy as np

from companion.evidence.draws import *
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, I_R, G, P, R, at_most, same
from companion.proof import *
from fimlib import information
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior


@claim("T25", CONDITIONS, "thm-batch eq-eig-gain eq-eig-batch eq-errata-talk-batch")
def t25():
    """The talk's two displays lack the factor ½."""
    a, b = Sym("A", "n", "D"), Sym("B", "m", "D")
    i_n, i_m = Eye("n"), Eye("m")
    p_a = Let("P_A", P + a.T * a)
    w = a * P.I * R.T
    inner = (i_n + a * P.I * a.T).I
    p_ab = Let("P_{A B}", P + a.T * a + b.T * b)
    w_ab, inner_ab = b * p_a.I * R.T, (i_m + b * p_a.I * b.T).I
    k = scalar(r"\batchvar")
    g = Sym("g", "D")
    quad = g.T * P.I * g
    steps = [
        same(
            HALF * logdet(I_D + (a.T * a + R.T * R) * P.I),
            HALF * logdet(I_D + a.T * a * P.I) + HALF * logdet(I_R + R * p_a.I * R.T),
            r"chain rule, $P_A=P+A^\top A$: one more point adds its gain given $A$",
            Multiplicative(I_D + R.T * R * p_a.I, p_a, P.I),
            Multiplicative(p_a, P.I),
            Sylvester(R.T, R * p_a.I),
        ),
        at_most(
            p_ab.I,
            p_a.I,
            r"Woodbury: the difference is a congruence; more data, less covariance",
            Congruences(((b * p_a.I, inner_ab),)),
        ),
        at_most(
            HALF * logdet(I_R + R * p_ab.I * R.T),
            HALF * logdet(I_R + R * p_a.I * R.T),
            "so the gain falls as the batch grows: submodular",
            Grows(I_R + R * p_ab.I * R.T, w_ab.T * inner_ab * w_ab),
        ),
        *chain(
            HALF * logdet(I_R + R * p_a.I * R.T),
            le(
                HALF * logdet(I_R + G),
                r"the same against no batch at all",
                Grows(I_R + R * p_a.I * R.T, w.T * inner * w),
            ),
            le(HALF * Tr(G), "{prf:ref}`thm-trace-bound`", Spectral(G)),
        ),
        same(
            HALF * Tr((a.T * a + R.T * R) * P.I),
            HALF * Tr(a.T * a * P.I) + HALF * Tr(G),
            "the trace is linear: additive, whatever the points share",
        ),
        same(
            HALF * logdet(I_D + k * g * g.T * P.I),
            HALF * logdet(1 + k * quad),
            r"$\batchvar$ copies of one rank-one point: a logarithm, where the "
            r"trace has $\tfrac12\batchvar\,g^\top P^{-1}g$",
            Sylvester(k * g, g.T * P.I),
        ),
    ]
    joint, copies, order, greedy = (
        "information.batch_eig equals the D × D log-determinant",
        r"copies of one point: $\tfrac12\log(1+\batchvar g^\top P^{-1}g)$",
        "subsets: monotone, submodular, at most the sum",
        "greedy reaches 1 - 1/e of the best of all subsets",
    )
    return evidence(
        steps,
        Check(joint, information.batch_eig, dense_batch, TIGHT),
        Check(copies, information.batch_eig, duplicates, TIGHT),
        Check(order, information.batch_eig, diminishing_returns, 0),
        Check(greedy, information.batch_eig, greedy_guarantee, 0),
        Mutant(
            "additive log det",
            1,
            HALF * logdet(I_D + a.T * a * P.I) + HALF * logdet(I_R + G),
        ),
        Mutant("more data, more covariance", 2, p_ab.I * p_a * p_ab.I),
        Mutant("additive copies", 7, k * HALF * logdet(1 + quad)),
        Mutant("sum of the singles", joint, lambda r, p: information.eig(r, p).sum()),
        Mutant("dropped ½", joint, doubled(information.batch_eig)),
        Mutant("trace", copies, by_trace(information.batch_eig)),
        Mutant(
            "square of the gain", order, after(information.batch_eig, lambda v: v**2)
        ),
        Mutant(
            "a supermodular value",
            greedy,
            lambda r, p: information.batch_eig(r, p).exp() * (-1.0) ** len(r),
        ),
    )


@worst
def dense_batch(function, rng):
    for roots, post, fishers, p in classifiers(rng):
        yield gap(function(roots, post), dense_conditional(fishers.sum(0), 0, p))


@worst
def duplicates(function, rng):
    t = 4.245
    for k in (1, 10, 100):
        roots = FisherRoots.from_dense(np.full((k, 1), np.sqrt(t)))
        value = function(roots, GaussianPosterior.isotropic(1, 1.0))
        yield gap(value, 0.5 * np.log1p(k * t))


@worst
def diminishing_returns(function, rng):
    """Worst violation over random A ⊆ B, x: 0 if the value is as T25 says."""
    for _ in range(20):
        roots, _, post = classifier(rng, classes=3, width=2, count=5)

        def value(indices, roots=roots, post=post):
            return float(function(roots[indices], post)) if indices else 0.0

        for small, large in (([0], [0, 1]), ([], [1, 2]), ([3], [0, 1, 2, 3])):
            gains = [value([*part, 4]) - value(part) for part in (small, large)]
            yield gains[1] - gains[0] - 1e-12
            yield -gains[1]
        singles = sum(value([i]) for i in range(5))
        yield value([0, 1, 2, 3, 4]) - singles - 1e-12


@worst
def greedy_guarantee(function, rng):
    """How far greedy falls below (1 - 1/e) times the best of all triples of 8."""
    for _ in range(5):
        roots, _, post = classifier(rng, classes=3, width=2, count=8)

        def value(indices, roots=roots, post=post):
            return float(function(roots[list(indices)], post))

        chosen = []
        for _ in range(3):
            rest = [i for i in range(8) if i not in chosen]
            chosen.append(max(rest, key=lambda i: value([*chosen, i])))
        best = max(value(c) for c in itertools.combinations(range(8), 3))
        yield (1 - np.exp(-1)) * best - value(chosen)

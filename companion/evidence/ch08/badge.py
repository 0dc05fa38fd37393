"""What BADGE and SIMILAR do with a similarity matrix: T33.

B stacks the gradients chosen so far, g is one more; S_B = B B'. U has rows of length
one, Delta holds the lengths: the gradients are Delta U.
"""

import numpy as np
import sympy
import torch

from companion.evidence.ch08.log_det_mi import schur
from companion.evidence.draws import TIGHT, gap, gradients, seeded
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.evidence.notation import I_N, N, at_most, same
from companion.proof import *
from fimlib import information, selection, similarity
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

# After a, D^2 sampling draws b with probability .753; b lies on the line through a.
POINTS = ((2.0, 0.0), (-1.9, 0.0), (0.0, 1.0))
SHARE = 15.21 / 20.21


HALF_ROOT = Const(1 / sympy.sqrt(2))
UNIT = Sym("U", N, "D")
ONES = ones(r"\mathbf 1", N)
AUGMENTED = columns_of("V", HALF_ROOT * ONES, HALF_ROOT * UNIT)
LENGTHS = Sym(r"\Delta", N, N, "pd")
GRAM = HALF * (ONES * ONES.T + UNIT * UNIT.T)
SIMILAR = Let(r"\tfrac12(\mathbf 1\mathbf 1^\top+U U^\top)", GRAM)


@claim("T33", CORRECTED, "thm-sim-span eq-sim-span")
def t33():
    """Neither maximises log det S: BADGE samples by distances to points, SIMILAR
    normalises the gradients, or features, and adds λ to the diagonal.
    """
    chosen = Sym("B", "n", "n+m")
    g, w = Sym("g", "n+m"), Sym("w", "n")
    s_b = Let("S_B", chosen * chosen.T)
    projector = Let(r"\Pi_B", chosen.T * s_b.I * chosen)
    squared, cross = g.T * g, g.T * chosen.T
    whole, rules = schur(squared, cross, s_b, chosen * g)
    to_span = g.T * (Eye("n+m") - projector) * g
    to_point = (g - chosen.T * w).T * (g - chosen.T * w)
    share, flat, square = counterexample()
    unit = Sym("U", N, f"{N}+n")
    kernel = (LENGTHS * unit) * (LENGTHS * unit).T
    steps = [
        same(
            Det(whole),
            to_span * Det(s_b),
            r"one more gradient, $\Pi_B=B^\top S_B^{-1}B$: the volume grows by the "
            "squared distance to the span",
            Positive(s_b),
            *rules,
        ),
        at_most(
            to_span,
            to_point,
            r"no point $B^\top w$ of the span is closer, no chosen gradient in "
            "particular",
            Positive(s_b),
            Congruences(((chosen * g - s_b * w, s_b.I),)),
        ),
        share,
        flat,
        square,
        same(
            logdet(kernel),
            2 * logdet(LENGTHS) + logdet(unit * unit.T),
            r"gradients $\Delta U$ with unit rows in $U$: $\log\det S$ counts every "
            "length, a cosine none",
            Positive(unit * unit.T),
            Multiplicative(LENGTHS, unit * unit.T, LENGTHS),
        ),
        same(
            logdet(I_N + SIMILAR),
            logdet(Eye("1+D") + AUGMENTED.T * AUGMENTED),
            r"$\frac12(1+\cos)$ is the Gram matrix of $V=[1,U]/\sqrt2$: twice an EIG "
            "under $P=I_{D+1}$, {prf:ref}`thm-sim-duality`",
            Given(AUGMENTED * AUGMENTED.T, GRAM),
            Sylvester(AUGMENTED, AUGMENTED.T),
        ),
    ]
    points, networks, volume, dpp, cosine, similar = (
        "k_means_pp after a = (2, 0): b = (-1.9, 0) with probability .753",
        "badge likewise: parallel features, opposite predicted classes",
        "greedy_log_det takes a and c = (0, 1), the pair with the largest det S",
        "k_dpp draws {a, c} with probability 4 / 7.61: it samples, too",
        "kind='similar' is the Gram matrix of [1, g/|g|]/√2, whatever the lengths",
        "log_det of it with jitter 1 is twice batch_eig of [1, g/|g|]/√2 under P = I",
    )
    return evidence(
        steps,
        Check(points, selection.k_means_pp, share_of_b, 4, MONTE_CARLO),
        Check(networks, badge_of_points, share_of_b, 4, MONTE_CARLO),
        Check(volume, greedy_pair, best_pair, 0),
        Check(dpp, selection.k_dpp, share_of_ac, 4, MONTE_CARLO),
        Check(cosine, similarity.similarity_matrix, gram_of_augmented, TIGHT),
        Check(similar, similarity.similarity_matrix, similar_log_det, TIGHT),
        Mutant("distance to the origin", 1, squared * Det(s_b)),
        Mutant("half the distance", 2, HALF * HALF * to_point),
        Mutant("cosine alone", 7, logdet(I_N + UNIT * UNIT.T)),
        Mutant("k-DPP for k-means++", points, selection.k_dpp),
        Mutant("uniform for k-means++", points, at_random),
        Mutant("log det for BADGE", networks, lambda x, k, **_: greedy_pair(x)),
        Mutant("the two longest", volume, lambda x: selection.top_k(norms(x), 2)),
        Mutant("k-means++ for a k-DPP", dpp, selection.k_means_pp),
        Mutant("inner products", cosine, with_kind("euclidean")),
        Mutant("cosine", cosine, with_kind("cosine")),
        Mutant("cosine", similar, with_kind("cosine")),
    )


def counterexample():
    """a = (2, 0), b = (-19/10, 0), c = (0, 1): exact lines."""
    a, b, c = (sympy.Matrix([sympy.nsimplify(v) for v in p]) for p in POINTS)

    def squared_distance(u, v):
        return (u - v).dot(u - v)

    def det(u, v):
        rows = sympy.Matrix.hstack(u, v).T
        return (rows * rows.T).det()

    to_b, to_c = squared_distance(a, b), squared_distance(a, c)
    lines = (
        (
            to_b / (to_b + to_c),
            sympy.Rational(1521, 2021),
            r"\frac{\Vert b-a\Vert^2}{\Vert b-a\Vert^2+\Vert c-a\Vert^2}",
            r"$a=(2,0)$, $b=(-1.9,0)$, $c=(0,1)$: after $a$, BADGE takes $b$ with "
            "probability .753",
        ),
        (det(a, b), sympy.Integer(0), r"\det S_{\{a,b\}}", "a batch without volume"),
        (det(a, c), sympy.Integer(4), r"\det S_{\{a,c\}}", "the best batch of two"),
    )
    return [
        same(found, value, reason, tex=(label, sympy.latex(value)))
        for found, value, label, reason in lines
    ]


def batches_of_two(function, rng, draws=400):
    """Sets of two of the POINTS, drawn again and again."""
    generator = seeded(rng)
    points = np.array(POINTS)
    return [
        set(function(points, 2, generator=generator).indices.tolist())
        for _ in range(draws)
    ]


def binomial_z(hits, share):
    """Distance of a frequency from its probability, in standard errors."""
    return abs(np.mean(hits) - share) / np.sqrt(share * (1 - share) / len(hits))


def share_of_b(function, rng):
    return binomial_z([b == {0, 1} for b in batches_of_two(function, rng)], SHARE)


def share_of_ac(function, rng):
    return binomial_z([b == {0, 2} for b in batches_of_two(function, rng)], 4 / 7.61)


def badge_of_points(points, batch_size, generator):
    """BADGE on a binary classifier whose gradients are these points, up to a rotation.

    All logits are equally sure, so that g = ±(1 - p)(1, -1) ⊗ φ; features φ on the left
    half plane are turned round, and predicted to be of the other class.
    """
    sign = np.where(points[:, :1] < 0, -1.0, 1.0)
    logits = torch.tensor(sign * [[1.0, -1.0]])
    return selection.badge(sign * points, logits, batch_size, generator)


def at_random(points, batch_size, generator):
    order = torch.randperm(len(points), generator=generator)[:batch_size]
    return selection.Selection(order, torch.zeros(batch_size))


def greedy_pair(points):
    roots = FisherRoots.from_dense(points)
    return selection.greedy_log_det(roots, GaussianPosterior.isotropic(2, 1e-6), 2)


def norms(points):
    return torch.tensor(points).norm(dim=1)


def best_pair(function, rng):
    """0 if the pair has the largest determinant of three, by numpy."""
    points = np.array(POINTS)
    pairs = {(0, 1): 0.0, (0, 2): 4.0, (1, 2): 3.61}
    for pair, volume in pairs.items():
        rows = points[list(pair)]
        if abs(np.linalg.det(rows @ rows.T) - volume) > 1e-12:
            return np.inf
    found = tuple(sorted(function(points).indices.tolist()))
    return float(max(pairs.values()) - pairs[found])


def with_kind(kind):
    return lambda rows, **options: similarity.similarity_matrix(rows, kind=kind)


def augmented_unit(rows):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.column_stack([np.ones(len(rows)), unit]) / np.sqrt(2)


def gram_of_augmented(function, rng):
    rows = gradients(rng, 5, 3)
    truth = augmented_unit(rows) @ augmented_unit(rows).T
    longer = np.exp(rng.uniform(-2, 2, (5, 1))) * rows
    return max(gap(function(r, kind="similar"), truth) for r in (rows, longer))


def similar_log_det(function, rng):
    rows = gradients(rng, 5, 3)
    value = similarity.log_det(function(rows, kind="similar"), jitter=1.0)
    roots = FisherRoots.from_dense(augmented_unit(rows))
    truth = information.batch_eig(roots, GaussianPosterior.isotropic(4, 1.0))
    return gap(value, 2 * truth)

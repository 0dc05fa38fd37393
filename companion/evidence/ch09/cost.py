"""What the trace saves, and what it does not: T48.

P is the posterior precision, R a root of the candidate's Fisher information (F = R'R),
G = R P^-1 R' its Gram block, F_E the Fisher information of the evaluation labels.
"""

from __future__ import annotations

import numpy as np
import sympy
import torch
from torch.utils.flop_counter import FlopCounterMode

from companion.evidence.ch06.eig import I_R, TIGHT, G, P, R, classifier, dense
from companion.evidence.ch09.lens import CHAPTER
from companion.evidence.draws import gap, pd_matrix
from companion.evidence.ledger import CORRECTED, claim
from companion.proof import (
    HALF,
    Check,
    Derivation,
    Eye,
    Mean,
    Mutant,
    Step,
    Sym,
    Tr,
    chain,
    eq,
)
from fimlib import information

# --- T48 -------------------------------------------------------------------------


@claim(
    "T48",
    title="When the trace is easier to compute",
    talk=(
        "The trace approximation only gives an upper bound but is easier to compute, "
        "especially for large models"
    ),
    statement=(
        r"For one point both forms need $RP^{-1}$ or its like, about $2rD^2$ "
        r"operations; the determinant adds $r^2D+r^3/3$, a share of $r/D$. The "
        r"trace is easier where it is linear: a batch is a sum, an evaluation set one "
        r"matrix $P^{-1}F_EP^{-1}$, and $\tr G=\simpleE{v}v^\top Gv$ for random signs "
        r"$v$, without any block."
    ),
    assumptions=(r"$P^{-1}$ or a factor of $P$ is at hand", r"$r\ll D$"),
    verdict=CORRECTED,
    correction=(
        "cheaper per point where the precision is structured, as in large models, not "
        "where its inverse is dense; cheaper for batches and evaluation sets, by "
        "linearity, and for stochastic estimates"
    ),
    chapter=CHAPTER,
    labels=("thm-lens-cost", "eq-lens-cost"),
)
def t48():
    signs = Sym(r"vv^\top", "r", "r", "psd", mean=Eye("r"))
    f_e = Sym("F_E", "D", "D", "psd")
    other = Sym("R_2", "s", "D")
    after = (P + R.T * R).I
    block = R * P.I * f_e * P.I * R.T
    steps = [
        *chain(
            HALF * Tr(R.T * R * P.I),
            eq(HALF * Tr(G), "the trace is cyclic: the same block as the log det's"),
        ),
        Step(
            HALF * Tr((R.T * R + other.T * other) * P.I),
            "=",
            HALF * Tr(G) + HALF * Tr(other * P.I * other.T),
            "a batch is a sum: no block across points",
        ),
        Step(
            HALF * Tr(f_e * (P.I - after)),
            "=",
            HALF * Tr((I_R + G).I * block),
            r"an evaluation set is one matrix, $P^{-1}F_EP^{-1}$, made once",
        ),
        Step(
            Mean(Tr(G * signs), r"\simpleE{v}"),
            "=",
            Tr(G),
            r"$v^\top Gv=\tr(G\,vv^\top)$, and $\simpleE{v}vv^\top=I$: unbiased from a "
            "single draw",
        ),
        sign_step(),
    ]
    blocks, draws, work, structured = (
        "both forms of information.eig come from the diagonal and the spectrum of G",
        "eig (trace) of one row v'R, over all sign vectors v, has the mean eig (trace)",
        "P⁻¹ dense: products of the trace and of the log det, 2rD² and 2r²D more, by "
        "torch's counter",
        "P⁻¹ a Kronecker product, softmax: both forms against D × D matrices",
    )
    return Derivation(
        steps,
        [
            Check(blocks, both_forms, from_spectrum, TIGHT),
            Check(draws, sign_average, dense_trace, TIGHT),
            Check(work, dense_products, counted, 0),
            Check(structured, kronecker_forms, dense_kronecker, TIGHT),
        ],
        [
            Mutant("dropped ½", 1, Tr(G)),
            Mutant("the first point alone", 2, HALF * Tr(G)),
            Mutant("no whitening", 3, HALF * Tr(block)),
            Mutant("twice the trace", 4, 2 * Tr(G)),
            Mutant("off-diagonal entries left in", 5, sum(matrix_of_symbols())),
            Mutant("forms exchanged", blocks, lambda r, p: both_forms(r, p)[::-1]),
            Mutant("dropped ½", blocks, lambda r, p: [2 * s for s in both_forms(r, p)]),
            Mutant(
                "two draws for all",
                draws,
                lambda r, p: sign_average(r, p, sign_vectors(r.rank)[:2]),
            ),
            Mutant("a trace that forms the block", work, products_of_the_block),
            Mutant("the outputs' covariance left out", structured, without_outputs),
        ],
    )


def matrix_of_symbols(size=3):
    return sympy.Matrix(
        size, size, lambda i, j: sympy.Symbol(f"a{min(i, j)}{max(i, j)}")
    )


def sign_step(size=3):
    """The mean of v'Av over all sign vectors v, written out."""
    a = matrix_of_symbols(size)
    total = 0
    for v in sign_vectors(size).tolist():
        v = sympy.Matrix([int(x) for x in v])
        total += (v.T * a * v)[0]
    return Step(
        sympy.expand(total / 2**size),
        "=",
        a.trace(),
        r"all eight sign vectors of length 3, written out",
        tex=(r"2^{-3}\sum_vv^\top Av", r"\tr A"),
    )


def sign_vectors(size):
    """All vectors of +1 and -1, (2^size, size)."""
    axes = [torch.tensor([1.0, -1.0], dtype=torch.float64)] * size
    return torch.cartesian_prod(*axes).reshape(2**size, size)


def both_forms(roots, post):
    return [information.eig(roots, post, form=form) for form in ("log_det", "trace")]


def from_spectrum(function, rng):
    worst = 0.0
    for classes, width, count in ((2, 3, 5), (3, 4, 7), (5, 2, 11)):
        roots, _, post = classifier(rng, classes, width, count)
        inverse = np.linalg.inv(post.precision.numpy())
        rows = roots.dense().numpy()
        grams = rows @ inverse @ rows.swapaxes(1, 2)
        spectra = np.linalg.eigvalsh(grams)
        truth = np.log1p(spectra).sum(1) / 2, spectra.sum(1) / 2
        worst = max(worst, *map(gap, function(roots, post), truth))
    return worst


def sign_average(roots, post, signs=None):
    """Mean over sign vectors v (all of them by default) of the trace form of v'R."""
    signs = sign_vectors(roots.rank) if signs is None else signs
    one = torch.ones(len(roots), 1, 1, dtype=torch.float64)
    each = [information.eig(roots.scaled(one * v), post, form="trace") for v in signs]
    return torch.stack(each).mean(0)


def dense_trace(function, rng):
    worst = 0.0
    for classes, width, count in ((2, 3, 5), (3, 4, 7), (5, 2, 11)):
        roots, _, post = classifier(rng, classes, width, count)
        inverse = np.linalg.inv(post.precision.numpy())
        truth = [np.trace(f @ inverse) / 2 for f in dense(roots)]
        worst = max(worst, gap(function(roots, post), truth))
    return worst


def trace_of(rows, covariance):
    return ((rows @ covariance) * rows).sum() / 2


def block_of(rows, covariance):
    return rows @ covariance @ rows.mT


def operations(form, rank, size):
    """Operations in matrix products, as torch counts them."""
    rows = torch.ones(rank, size, dtype=torch.float64)
    with FlopCounterMode(display=False) as counter:
        form(rows, torch.eye(size, dtype=torch.float64))
    return counter.get_total_flops()


def dense_products(rank, size):
    return [operations(form, rank, size) for form in (trace_of, block_of)]


def products_of_the_block(rank, size):
    return [operations(block_of, rank, size)] * 2


def counted(function, rng):
    worst = 0
    for rank, size in ((2, 30), (9, 1290), (50, 200), (150, 200)):
        trace = 2 * rank * size**2
        truth = trace, trace + 2 * rank**2 * size
        found = function(rank, size)
        worst = max(worst, *(abs(f - t) for f, t in zip(found, truth, strict=True)))
    return worst


def kronecker_forms(features, p, out, inside):
    """Log det and trace form of a softmax point, P^-1 = out (x) inside, by its parts.

    features: (d,); p: (C,); out: (C, C); inside: (d, d). No D x D matrix is made.
    """
    spread = features @ inside @ features
    far = out @ p  # U' out U = s (out - far 1' - 1 far' + p'far) s, s = sqrt(p)
    block = out - far[:, None] - far + p @ far
    block = spread * np.sqrt(p)[:, None] * block * np.sqrt(p)
    trace = spread * (p @ np.diag(out) - p @ far)
    factor = np.linalg.cholesky(np.eye(len(p)) + block)
    return np.log(np.diag(factor)).sum(), trace / 2


def without_outputs(features, p, out, inside):
    return kronecker_forms(features, p, np.eye(len(p)), inside)


def dense_kronecker(function, rng):
    worst = 0.0
    for classes, width in ((2, 5), (5, 3), (7, 2)):
        out, inside = pd_matrix(rng, classes), pd_matrix(rng, width)
        p = rng.dirichlet(np.ones(classes))
        features = rng.standard_normal(width)
        fisher = np.kron(np.diag(p) - np.outer(p, p), np.outer(features, features))
        relative = fisher @ np.kron(out, inside)
        log_det = np.linalg.slogdet(np.eye(classes * width) + relative)[1]
        truth = log_det / 2, np.trace(relative) / 2
        found = function(features, p, out, inside)
        worst = max(worst, *(gap(f, t) for f, t in zip(found, truth, strict=True)))
    return worst

"""What the trace saves, and what it does not: T48.

P is the posterior precision, R a root of the candidate's Fisher information (F = R'R),
G = R P^-1 R' its Gram block, F_E the Fisher information of the evaluation labels.
"""

import numpy as np
import sympy
import torch
from torch.utils.flop_counter import FlopCounterMode

from companion.evidence.draws import TIGHT, classifiers, doubled, gap, pd_matrix, worst
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.evidence.notation import I_R, G, P, R, same
from companion.proof import HALF, Check, Eye, Mean, Mutant, Sym, Tr
from fimlib import information


@claim("T48", CORRECTED, "thm-lens-cost eq-lens-cost")
def t48():
    """Cheaper per point where the precision is structured, as in large models, not
    where its inverse is dense; cheaper for batches and evaluation sets, by linearity,
    and for stochastic estimates.
    """
    signs = Sym(r"vv^\top", "r", "r", "psd", mean=Eye("r"))
    f_e = Sym("F_E", "D", "D", "psd")
    other = Sym("R_2", "s", "D")
    after = (P + R.T * R).I
    block = R * P.I * f_e * P.I * R.T
    steps = [
        same(
            HALF * Tr(R.T * R * P.I),
            HALF * Tr(G),
            "the trace is cyclic: the same block as the log det's",
        ),
        same(
            HALF * Tr((R.T * R + other.T * other) * P.I),
            HALF * Tr(G) + HALF * Tr(other * P.I * other.T),
            "a batch is a sum: no block across points",
        ),
        same(
            HALF * Tr(f_e * (P.I - after)),
            HALF * Tr((I_R + G).I * block),
            r"an evaluation set is one matrix, $P^{-1}F_EP^{-1}$, made once",
        ),
        same(
            Mean(Tr(G * signs), r"\simpleE{v}"),
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
    return evidence(
        steps,
        Check(blocks, both_forms, from_spectrum, TIGHT),
        Check(draws, sign_average, dense_trace, TIGHT),
        Check(work, dense_products, counted, 0),
        Check(structured, kronecker_forms, dense_kronecker, TIGHT),
        Mutant("forms exchanged", blocks, lambda r, p: both_forms(r, p)[::-1]),
        Mutant("dropped ½", blocks, doubled(both_forms)),
        Mutant(
            "two draws for all",
            draws,
            lambda r, p: sign_average(r, p, sign_vectors(r.rank)[:2]),
        ),
        Mutant("a trace that forms the block", work, products_of_the_block),
        Mutant("the outputs' covariance left out", structured, without_outputs),
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
    return same(
        sympy.expand(total / 2**size),
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


@worst
def from_spectrum(function, rng):
    for roots, post, _, p in classifiers(rng):
        rows = roots.dense().numpy()
        grams = rows @ np.linalg.inv(p) @ rows.swapaxes(1, 2)
        spectra = np.linalg.eigvalsh(grams)
        truth = np.log1p(spectra).sum(1) / 2, spectra.sum(1) / 2
        yield from map(gap, function(roots, post), truth)


def sign_average(roots, post, signs=None):
    """Mean over sign vectors v (all of them by default) of the trace form of v'R."""
    signs = sign_vectors(roots.rank) if signs is None else signs
    one = torch.ones(len(roots), 1, 1, dtype=torch.float64)
    each = [information.eig(roots.scaled(one * v), post, form="trace") for v in signs]
    return torch.stack(each).mean(0)


@worst
def dense_trace(function, rng):
    for roots, post, fishers, p in classifiers(rng):
        truth = [np.trace(f @ np.linalg.inv(p)) / 2 for f in fishers]
        yield gap(function(roots, post), truth)


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


@worst
def counted(function, rng):
    for rank, size in ((2, 30), (9, 1290), (50, 200), (150, 200)):
        trace = 2 * rank * size**2
        truth = trace, trace + 2 * rank**2 * size
        found = function(rank, size)
        yield from (abs(f - t) for f, t in zip(found, truth, strict=True))


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


@worst
def dense_kronecker(function, rng):
    for classes, width in ((2, 5), (5, 3), (7, 2)):
        out, inside = pd_matrix(rng, classes), pd_matrix(rng, width)
        p = rng.dirichlet(np.ones(classes))
        features = rng.standard_normal(width)
        fisher = np.kron(np.diag(p) - np.outer(p, p), np.outer(features, features))
        relative = fisher @ np.kron(out, inside)
        log_det = np.linalg.slogdet(np.eye(classes * width) + relative)[1]
        truth = log_det / 2, np.trace(relative) / 2
        found = function(features, p, out, inside)
        yield from (gap(f, t) for f, t in zip(found, truth, strict=True))

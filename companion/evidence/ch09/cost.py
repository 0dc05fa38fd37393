"""What the trace saves, and what it does not: T48.

P is the posterior precision, R a root of the candidate's Fisher information (F = R'R),
G = R P^-1 R' its Gram block, F_E the Fisher information of the evaluation labels.
"""

import numpy as np
import sympy
import torch
from torch.utils.flop_counter import FlopCounterMode

from companion.evidence.draws import TIGHT, classifier, classifiers, doubled, gap, worst
from companion.evidence.ledger import CORRECTED, claim
from companion.evidence.notation import I_R, G, P, R, same
from companion.proof import *
from fimlib import information

# --- T48 -------------------------------------------------------------------------


@claim(
    "T48",
    CORRECTED,
    "thm-lens-cost eq-lens-cost",
    correction=(
        "same dominant cost per point; cheaper for batches and evaluation sets, by "
        "linearity, and for stochastic estimates"
    ),
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
    blocks, draws, work = (
        "both forms of information.eig come from the diagonal and the spectrum of G",
        "eig (trace) of one row v'R, over all sign vectors v, has the mean eig (trace)",
        "matrix products of the two forms cost the same within 1%, torch's counter",
    )
    return Derivation(
        steps,
        [
            Check(blocks, both_forms, from_spectrum, TIGHT),
            Check(draws, sign_average, dense_trace, TIGHT),
            Check(work, both_forms, same_work, 0.01),
        ],
        [
            Mutant("forms exchanged", blocks, lambda r, p: both_forms(r, p)[::-1]),
            Mutant("dropped ½", blocks, doubled(both_forms)),
            Mutant(
                "two draws for all",
                draws,
                lambda r, p: sign_average(r, p, sign_vectors(r.rank)[:2]),
            ),
            Mutant("naive D × D determinant", work, naive_forms),
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


def naive_forms(roots, post):
    """The log det from D x D determinants, the trace as it should be."""
    whole = torch.eye(roots.num_parameters, dtype=torch.float64)
    rows = roots.dense()
    relative = post.covariance @ rows.mT @ rows
    log_det = torch.linalg.slogdet(whole + relative)[1] / 2
    return [log_det, information.eig(roots, post, form="trace")]


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


def same_work(function, rng):
    """Relative difference of the work in matrix products, as torch counts it."""
    roots, _, post = classifier(rng, classes=5, width=40, count=50)
    function(roots, post)  # what is made once is made here

    def products(forms):
        with FlopCounterMode(display=False) as counter:
            forms()
        return counter.get_total_flops()

    both = products(lambda: function(roots, post))
    trace = products(lambda: information.eig(roots, post, form="trace"))
    return abs(both / trace - 2)

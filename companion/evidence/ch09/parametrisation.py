"""What a change of parameters changes: T46.

P is the posterior precision, R a root of the candidate's Fisher information (F = R'R),
G the stacked gradients of a batch, B the change of parameters.
"""

import itertools

import numpy as np
import sympy
import torch

from companion.evidence.draws import gap, log_det, pd_matrix, predictive_problems, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, I_R, G, P, R, same
from companion.proof import HALF, Check, Mutant, Sylvester, Sym, Tr, logdet, scalar
from fimlib import information, similarity
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior


@claim("T46", CONDITIONS, "thm-lens-parameters eq-lens-parameters")
def t46():
    r"""$\lambda I$, and with it $\log\det S$, depends on the parametrisation: scale one
    feature, or one layer of several, and the batch may be another.
    """
    b, n, grads = (Sym(name, "D", "D", "invertible") for name in "BNG")
    root = R * b.I
    precision = b.I.T * P * b.I
    lam = scalar(r"\lambda")
    steps = [
        same(
            root * precision.I * root.T,
            R * P.I * R.T,
            r"$R\mapsto RB^{-1}$, $P\mapsto B^{-\top}PB^{-1}$: every $B$ meets its "
            "inverse",
        ),
        same(
            HALF * logdet(I_D + root.T * root * precision.I),
            HALF * logdet(I_R + G),
            "so the log det form does not change",
            Sylvester(root.T, root * precision.I),
        ),
        same(
            HALF * Tr(root.T * root * precision.I), HALF * Tr(G), "nor does the trace"
        ),
        same(
            logdet(grads * n * n.T * grads.T),
            logdet(grads * grads.T) + logdet(n * n.T),
            r"$\log\det S$ of $D$ gradients, which become $GN$ with $N=B^{-1}$, moves; "
            "for fewer gradients even the order of batches may change",
        ),
        same(
            root * (lam * b.I.T * b.I).I * root.T,
            R * R.T / lam,
            r"unless the prior moves along: then it is no longer $\lambda I$",
        ),
        bent_step(),
    ]
    invariant, similar = (
        "eig, batch_eig, epig, jepig and their traces under a random B",
        "log det S changes by -log det(BB'), and picks another pair",
    )
    return evidence(
        steps,
        Check(invariant, moved_scores, unchanged, 1e-9),
        Check(similar, similarity_log_det, changed, 1e-9),
        Mutant("precision moved the wrong way", 1, root * (b * P * b.T).I * root.T),
        Mutant("isotropic after the change", 5, root * root.T / lam),
        Mutant("tensor rule for the Hessian", 6, tensor_rule()),
        Mutant(
            "posterior left as it was",
            invariant,
            lambda b, r, e, p: all_scores(moved(r, b), moved(e, b), p),
        ),
        Mutant(
            "invariant similarity",
            similar,
            lambda g, b: similarity_log_det(g, torch.eye(len(b)).double()),
        ),
    )


def bent_step():
    """Negative log-posterior p t^2/2 in t = s + a s^2/2: its second derivative."""
    s, a, p = sympy.symbols("s a p", real=True)
    t = s + a * s**2 / 2
    return same(
        sympy.diff(p * t**2 / 2, s, 2),
        tensor_rule() + p * t * a,
        r"one parameter, $\theta=s+as^2/2$: off the mode the Hessian is no tensor",
        tex=(
            r"\tfrac{d^2}{ds^2}\tfrac p2\theta^2",
            r"p\,\big(\tfrac{d\theta}{ds}\big)^2+p\,\theta\,a",
        ),
    )


def tensor_rule():
    s, a, p = sympy.symbols("s a p", real=True)
    return p * (1 + a * s) ** 2


def all_scores(roots, eval_roots, post):
    found = information.scores(roots, post, eval_roots, pairwise=True)
    joint = [information.batch_eig(roots, post)] * len(roots)
    return torch.stack([*found.values(), torch.stack(joint)])


def moved(roots, b):
    """Roots R B^-1, in the parameters B theta."""
    return FisherRoots.from_dense(roots.dense() @ torch.linalg.inv(b))


def moved_scores(b, roots, eval_roots, post):
    """All scores in the parameters B theta."""
    inverse = torch.linalg.inv(b)
    precision = inverse.T @ post.precision @ inverse
    new = moved(roots, b)
    return all_scores(
        new, moved(eval_roots, b), GaussianPosterior.from_roots(new[:0], precision)
    )


@worst
def unchanged(function, rng):
    for (roots, evals, post), _ in predictive_problems(rng):
        size = roots.num_parameters
        b = torch.tensor(pd_matrix(rng, size, 1.0) @ np.triu(np.ones((size, size))))
        truth = all_scores(roots, evals, post)
        yield gap(function(b, roots, evals, post), truth)


def similarity_log_det(grads, b):
    """log det S of gradients (K, D) in the parameters B theta, S = G B^-1 B^-T G'."""
    kernel = similarity.similarity_matrix(grads @ torch.linalg.inv(b))
    return similarity.log_det(kernel)


def changed(function, rng):
    """The shift for D gradients, and a pair of three that is no longer the best."""
    grads, b = (torch.tensor(rng.standard_normal((5, 5))) for _ in range(2))
    truth = 2 * (log_det(grads.numpy()) - log_det(b.numpy()))
    worst = gap(function(grads, b), truth)
    three = torch.diag(torch.tensor([2.0, 1.5, 1.0], dtype=torch.float64))
    pairs = list(itertools.combinations(range(3), 2))
    for last, best in ((1.0, (0, 1)), (0.25, (0, 2))):
        scale = torch.diag(torch.tensor([1.0, 1.0, last], dtype=torch.float64))
        values = [float(function(three[list(pair)], scale)) for pair in pairs]
        worst = max(worst, float(pairs[int(np.argmax(values))] != best))
    return worst

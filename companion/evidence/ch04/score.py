"""Fisher information as the mean square and the covariance of the gradient: T15.

p_c are the probabilities of finitely many labels, G stacks their gradients by the
parameters, so that -G / p stacks the rows H'. Probabilities sum to one wherever they
are differentiated: the columns of G, and any second derivatives, sum to zero.
"""

import numpy as np
import sympy
import torch

from companion.evidence.ch04.label_network import *
from companion.evidence.ch04.score_families import *
from companion.evidence.draws import TIGHT, changed, dense, doubled, gap, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import HESSIAN, ONE, OUTER, ROW, at_least
from companion.evidence.softmax import ONES, PI, PROBS
from companion.proof import *
from fimlib import fisher
from fimlib.families import Bernoulli, Categorical, GaussianMeanLogSd, Poisson

G = centred("G", ONES, "D")
B = centred("b", ONES)
U = Sym("v", "D")
STACK = Let(r"\HofJacobianDataShort", -(PI.I * G))
MEAN = Let(rf"\simpleE{{\y}}{ROW}", ONES.T * PI * STACK)
SQUARE = Let(rf"\simpleE{{\y}}[{OUTER}]", STACK.T * PI * STACK)
CENTRED = STACK - ONES * MEAN
COV = Let(rf"\implicitCov{{{ROW}^\top}}", CENTRED.T * PI * CENTRED)
CURVATURE = Let(
    rf"\simpleE{{\y}}[v^\top{HESSIAN}v]", U.T * SQUARE * U - ONES.T * PI * (PI.I * B)
)
SIMPLEX = (Given(PI * ONES, PROBS), Given(ONES.T * PROBS, ONE))
FIRST = Given(ONES.T * G, Zero(1, "D"))
SECOND = Given(ONES.T * B, Const(sympy.Integer(0)))


@claim("T15", CONDITIONS, "thm-fisher-score eq-fisher-score")
def t15():
    """For a label whose support moves with the parameters the mean Hessian can be
    negative, and is neither the mean square nor the covariance of the gradient.
    """
    uniform, spread = uniform_lines()
    steps = [
        *chain(
            MEAN,
            eq(
                -(ONES.T * G),
                rf"${ROW}=-\nabla p_{{\y}}/p_{{\y}}$, weighted by $p_{{\y}}$; the "
                r"rows of $G$ are $\nabla p_c$",
            ),
            eq(
                Zero(1, "D"),
                r"$\sum_cp_c=1$ for every $\w$, differentiated once",
                FIRST,
            ),
        ),
        *chain(
            COV,
            eq(
                SQUARE - MEAN.T * MEAN,
                "a covariance is the mean square minus the square of the mean",
                *SIMPLEX,
            ),
            eq(SQUARE, "and the mean is zero", *SIMPLEX, FIRST),
        ),
        *chain(
            CURVATURE,
            eq(
                U.T * SQUARE * U - ONES.T * B,
                r"{prf:ref}`thm-fisher-observed` along $v$, with "
                r"$b_c=v^\top\nabla^2p_c\,v$",
            ),
            eq(
                U.T * SQUARE * U,
                r"$\sum_cp_c=1$ differentiated twice, for every $v$: so $F_{\x}$ is "
                "the mean square",
                SECOND,
            ),
        ),
        at_least(
            SQUARE,
            Zero("D", "D"),
            rf"$v^\top F_{{\x}}v=\simpleE{{\y}}({ROW}v)^2$",
            Congruences(((STACK, PI),)),
        ),
        *map(family_line, FAMILIES),
        uniform,
        spread,
    ]
    zero, cov, hessian, families = (
        "network_roots at each label, D = 21: the rows have the mean zero",
        "network_roots, exact: the covariance of autodiff's rows over labels",
        "observed_information, mean over labels: no negative eigenvalue, equal to it",
        "output_root and output_hessian of the four families: mean over all labels",
    )
    observed, roots = fisher.observed_information, fisher.network_roots
    return evidence(
        steps,
        Check(zero, roots, mean_row, TIGHT),
        Check(cov, roots, covariance_gap, TIGHT),
        Check(hessian, observed, mean_hessian, TIGHT),
        Check(families, output_fisher, families_gap, 1e-8),
        Mutant("bounded away from zero", 7, POSITIVE),
        Mutant("as a regular label has it", 12, uniform_lines(regular=1)[0].rhs),
        Mutant("uncentred for centred", 13, spread.rhs + 1 / THETA**2),
        Mutant("data labels for model labels", zero, one_label_only),
        Mutant("data labels for model labels", cov, at_label(1)),
        Mutant("hard labels for model labels", cov, at_label("hard_label")),
        Mutant("Hessian without minus", hessian, lambda *a: -observed(*a)),
        Mutant("another label", hessian, changed(observed, 2, next_label)),
        Mutant("doubled", families, doubled(output_fisher)),
        Mutant("by the natural parameters", families, natural_fisher),
    )


POSITIVE = Sym("X", "D", "D", "pd")


def mean_row(function, rng):
    """Largest entry of sum_c p_c H'_c, from the rows of roots at each label."""
    model, inputs = tanh_network(rng)
    p = torch.stack([by_autodiff(model, x)[0] for x in inputs])
    total = 0.0
    for c in range(CLASSES):
        labels = torch.full((len(inputs),), c)
        roots = function(model, inputs, estimator="empirical", labels=labels)
        total = total + p[:, c, None] * roots.dense()[:, 0]
    return float(total.abs().max())


def covariances(model, inputs):
    """sum_c p_c (H'_c - mean)^T (H'_c - mean) of each input, by autodiff."""
    found = []
    for x in inputs:
        p, rows, _ = by_autodiff(model, x)
        centred = rows - p @ rows
        found.append(centred.T @ (p[:, None] * centred))
    return torch.stack(found)


def covariance_gap(function, rng):
    model, inputs = tanh_network(rng)
    return gap(dense(function(model, inputs)), covariances(model, inputs))


def mean_hessian(function, rng):
    """The gap to the covariance, and how far below 0 an eigenvalue lies."""
    model, inputs = tanh_network(rng)
    p = torch.stack([by_autodiff(model, x)[0] for x in inputs])
    each = each_label(model, inputs, function)
    if float(torch.linalg.eigvalsh(each).min()) > -0.1:
        raise ArithmeticError("no label has an indefinite Hessian here")
    mean = torch.einsum("mc,mcde->mde", p, each)
    below = -float(torch.linalg.eigvalsh(mean).min())
    return max(below, gap(mean, covariances(model, inputs)))


def output_fisher(family, outputs, labels, weights):
    """U U^T, and the weighted mean of `output_hessian` over labels, (2, C, C)."""
    root = family.output_root(outputs)[0]
    hessians = family.output_hessian(outputs.expand(len(labels), -1), labels)
    return torch.stack([root @ root.mT, torch.einsum("y,yab->ab", weights, hessians)])


def natural_fisher(family, outputs, labels, weights):
    found = output_fisher(family, outputs, labels, weights)
    found[0] = family.fisher(family.natural(outputs))[0]
    return found


@worst
def families_gap(function, rng):
    """Against sum_y p_y (grad log p)' (grad log p), log p written out and autodiff."""
    count, nodes = torch.arange(90.0).double(), np.polynomial.hermite_e.hermegauss(12)
    u, weights = (torch.tensor(x) for x in nodes)
    weights = weights / weights.sum()
    for family, outputs, labels, log_p in (
        (Bernoulli(), 1, torch.tensor([0.0, 1.0]).double(), log_bernoulli),
        (Categorical(), 3, torch.arange(3), lambda f, y: torch.log_softmax(f, 0)),
        (Poisson(), 1, count, log_poisson),
        (GaussianMeanLogSd(), 2, None, log_gaussian),
    ):
        f = torch.tensor(rng.uniform(-1, 1, outputs))
        y = f[0] + f[1].exp() * u if labels is None else labels
        p = weights if labels is None else log_p(f, y).exp()
        rows = torch.func.jacrev(lambda f, y=y, log_p=log_p: log_p(f, y))(f)
        truth = rows.T @ (p[:, None] * rows)
        found = function(family, f[None], y, p)
        yield from (gap(matrix, truth) for matrix in found)


def log_bernoulli(f, y):
    return y * f - torch.nn.functional.softplus(f)


def log_poisson(f, y):
    return y * f - f.exp() - torch.lgamma(y + 1)


def log_gaussian(f, y):
    return -((y - f[0]) ** 2) * torch.exp(-2 * f[1]) / 2 - f[1]


def one_label_only(model, inputs, labels, **options):
    return fisher.network_roots(model, inputs, labels=0 * labels, **options)

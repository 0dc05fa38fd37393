"""The table of families: log-partition functions and their Hessians: T17."""

import math

import numpy as np
import sympy
import torch

from companion.evidence.ch05.family_rows import MU, ROWS, S, family_step
from companion.evidence.draws import TIGHT, gap, pd_matrix, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import HESSIAN, C, same
from companion.evidence.softmax import LAMBDA, ONES, PI, PROBS, SOFTMAX
from companion.proof import HALF, Check, Const, Given, Let, Mutant, Sym, Tr, Zero
from fimlib import families, fisher
from fimlib.families import Categorical

COV = Sym("V", C, C, "pd")
Z, Y = Sym(r"\prelogits", C), Sym(r"\y", C)
PHI, WEIGHT = Sym(r"\phi", "q"), Sym("w", "q")
CLASSES = Const(sympy.Symbol(C, positive=True))


@claim("T17", CONDITIONS, "thm-family-table eq-family-log-sd")
def t17():
    r"""The curvature is $1/\sigma^2$ by a mean and $\sigma^2$ by the natural parameter;
    $(\mu,\log s)$ is not natural, and its observed information depends on the label.
    """
    natural, moments, outputs, ranks = (
        "mean and fisher of eight families: gradient and Hessian of A by autodiff",
        "mean and fisher of eight families: moments over all labels, or by quadrature",
        "output_root, output_hessian: Hessian of -log p by a mean, or by log sd",
        "last_layer_roots, softmax: ranks (C - 1) N of few points, (C - 1)(d + 1) of "
        "many",
    )
    return evidence(
        [*map(family_step, ROWS), *further_steps()],
        Check(natural, mean_and_fisher, autodiff_gap, TIGHT),
        Check(moments, mean_and_fisher, label_gap, TIGHT),
        Check(outputs, output_curvature, output_gap, TIGHT),
        Check(ranks, fisher.last_layer_roots, rank_misses, 0),
        Mutant("as in natural parameters", 11, fisher_of_log_sd()),
        Mutant("root for its square", natural, fisher_root_alone),
        Mutant("1/s2 for s2, s2 for 1/s2", natural, inverted),
        Mutant("mean for variance", moments, mean_for_variance),
        Mutant("1/s2 for s2, s2 for 1/s2", moments, inverted),
        Mutant("s2 for 1/s2", outputs, natural_curvature),
        Mutant("log sd taken as natural", outputs, fisher_for_hessian),
        Mutant("diag(p) without pp'", ranks, full_rank_roots),
        Mutant("labels of the data", ranks, one_row_each),
    )


def further_steps():
    """Several dimensions, other coordinates, and the softmax."""
    error = Y - COV * Z
    square = HALF * error.T * COV.I * error
    partition = HALF * Z.T * COV * Z
    base = HALF * Y.T * COV.I * Y
    by_log_sd, observed = log_sd_hessian()
    direction = Let(r"(\mathbf 1w^\top\phi)", ONES * (WEIGHT.T * PHI))
    return [
        same(
            Z.T * Y - partition - base,
            -square,
            r"several outputs, known covariance $V$: $\prelogits=V^{-1}\mu$ and "
            r"$A=\tfrac12\prelogits^\top V\prelogits$, so $\nabla^2\!A=V$",
        ),
        same(
            COV.I.T * COV * COV.I,
            COV.I,
            r"by the mean, $\nabla_\mu\prelogits=V^{-1}$: $F=J^\top V^{-1}J$, and with "
            r"one variance $J^\top J/\sigma^2$",
        ),
        same(
            by_log_sd,
            observed,
            r"by $(\mu,r)$, $r=\log s$, $e=(\y-\mu)/s$, which are not natural: the "
            "label does not go away",
            tex=(HESSIAN, r"\begin{pmatrix}1/s^2&2e/s\\2e/s&2e^2\end{pmatrix}"),
        ),
        same(
            LAMBDA * ONES,
            Zero(C, 1),
            r"softmax, any $\numclasses$, "
            r"$\Lambda=\operatorname{diag}(p)-pp^\top$: a constant added to all "
            "logits changes nothing",
            *SOFTMAX[:2],
        ),
        same(
            LAMBDA * PI.I * LAMBDA,
            LAMBDA,
            r"$\Pi=\operatorname{diag}(p)$: so $\Lambda\Pi^{-1}$ is a projection",
            *SOFTMAX[:2],
        ),
        same(
            Tr(LAMBDA * PI.I),
            CLASSES - 1,
            r"whose rank, its trace, is that of $\Lambda$; $\Pi^{-1}p=\mathbf1$",
            *SOFTMAX[:2],
            Given(PI.I * PROBS, ONES),
        ),
        same(
            direction.T * LAMBDA * direction,
            Const(sympy.Integer(0)),
            r"last layer, $\phi$ with $q=d+1$ entries: no input sees a change "
            r"$\mathbf1w^\top$ of the weights, and $w$ has $q$ dimensions",
            *SOFTMAX[:2],
        ),
    ]


def log_sd_hessian():
    """Hessian of -log N(y; mu, e^{2r}) by (mu, r), and its closed form."""
    y, r = sympy.symbols("y r", real=True)
    loss = (y - MU) ** 2 * sympy.exp(-2 * r) / 2 + r
    e = (y - MU) / S
    found = sympy.hessian(loss, [MU, r]).subs(r, sympy.log(S))
    return found, sympy.Matrix([[S**-2, 2 * e / S], [2 * e / S, 2 * e**2]])


def fisher_of_log_sd():
    return sympy.diag(S**-2, 2)


def samples(rng):
    """(family, natural parameters (1, C), A written out, its usual labels' nodes)."""
    z = torch.tensor(rng.uniform(-1.5, 1.5, (1, 3)))
    cov = torch.tensor(pd_matrix(rng, 3, spread=1.0))
    s2 = float(np.exp(rng.uniform(-1, 1)))
    mixed = torch.tensor([[rng.uniform(-1, 1), -rng.uniform(0.3, 2)]]).double()
    f = families
    return (
        (f.Bernoulli(), z[:, :1], lambda z: torch.log1p(z.exp()).sum(), counted(1)),
        (f.Categorical(), z, lambda z: z.exp().sum().log(), classes),
        (f.Binomial(5), z[:, :1], lambda z: 5 * torch.log1p(z.exp()).sum(), counted(5)),
        (f.Poisson(), z[:, :1], lambda z: z.exp().sum(), poisson_counts),
        (f.Exponential(), -z[:, :1].exp(), lambda z: -(-z).log().sum(), waiting_times),
        (f.Gaussian(s2), z[:, :1], lambda z: s2 * z @ z / 2,
         lambda z: gauss_nodes(s2 * z, s2)),
        (f.MultivariateGaussian(cov), z, lambda z: z @ cov @ z / 2,
         lambda z: cloud(cov @ z, cov)),
        (f.GaussianMeanVariance(), mixed,
         lambda z: -(z[0] ** 2) / (4 * z[1]) - torch.log(-2 * z[1]) / 2, squares),
    )  # fmt: skip


def mean_and_fisher(family, z):
    """E T(Y) (C,) and Lambda (C, C), as one array (C, C + 1)."""
    return torch.cat([family.mean(z)[0][:, None], family.fisher(z)[0]], 1)


@worst
def autodiff_gap(function, rng):
    for family, z, partition, _ in samples(rng):
        slope = torch.func.grad(partition)(z[0])
        bend = torch.func.hessian(partition)(z[0])
        truth = torch.cat([slope[:, None], bend], 1)
        root = family.fisher_root(z)[0]
        yield gap(function(family, z), truth)
        yield gap(root @ root.mT, bend)


@worst
def label_gap(function, rng):
    for family, z, _, nodes in samples(rng):
        statistics, p = nodes(z[0])
        mean = p @ statistics
        centred = statistics - mean
        cov = centred.T @ (p[:, None] * centred)
        truth = torch.cat([mean[:, None], cov], 1)
        yield gap(function(family, z), truth)


def counted(trials):
    """T (labels, 1) and probabilities of a count of successes."""

    def nodes(z):
        y = torch.arange(trials + 1.0).double()
        ways = torch.tensor([math.comb(trials, k) for k in range(trials + 1)])
        weight = ways * torch.exp(z * y)
        return y[:, None], weight / weight.sum()

    return nodes


def classes(z):
    return torch.eye(3).double(), z.exp() / z.exp().sum()


def poisson_counts(z):
    y = torch.arange(80.0).double()
    return y[:, None], torch.exp(z * y - z.exp() - torch.lgamma(y + 1))


def waiting_times(z):
    y, weights = (torch.tensor(a) for a in np.polynomial.laguerre.laggauss(10))
    return y[:, None] / -z, weights


def hermite(count=8):
    u, weights = (torch.tensor(a) for a in np.polynomial.hermite_e.hermegauss(count))
    return u, weights / weights.sum()


def gauss_nodes(mean, variance):
    u, weights = hermite()
    return (mean + variance**0.5 * u)[:, None], weights


def cloud(mean, cov):
    u, weights = hermite(4)
    points = torch.cartesian_prod(u, u, u) @ torch.linalg.cholesky(cov).T
    return mean + points, torch.cartesian_prod(*[weights] * 3).prod(1)


def squares(z):
    variance = -1 / (2 * z[1])
    y, weights = gauss_nodes(z[0] * variance, variance)
    return torch.cat([y, y**2], 1), weights


def output_curvature(family, outputs, labels):
    """U U^T, then the Hessian at each label, by the network's outputs."""
    root = family.output_root(outputs)[0]
    hessians = family.output_hessian(outputs.expand(len(labels), -1), labels)
    return torch.cat([(root @ root.mT)[None], hessians])


@worst
def output_gap(function, rng):
    """Hessians of -log p written out; their mean over labels for U U^T."""
    s2, cov = float(np.exp(rng.uniform(-1, 1))), torch.tensor(pd_matrix(rng, 2, 1.0))
    precision = torch.linalg.inv(cov)
    mu = torch.tensor(rng.standard_normal((1, 2)))
    u, weights = hermite(3)
    labels = torch.tensor(rng.standard_normal((3, 2)))
    for family, y, loss, weight in (
        (families.Gaussian(s2), labels,
         lambda f, y: (y - f) @ (y - f) / s2 / 2, weights),
        (families.MultivariateGaussian(cov), labels,
         lambda f, y: (y - f) @ precision @ (y - f) / 2, weights),
        (families.GaussianMeanLogSd(), mu[0, 0] + mu[0, 1].exp() * u,
         lambda f, y: (y - f[0]) ** 2 * torch.exp(-2 * f[1]) / 2 + f[1], weights),
    ):  # fmt: skip
        each = torch.stack([torch.func.hessian(loss)(mu[0], label) for label in y])
        mean = torch.einsum("y,yab->ab", weight, each)
        yield gap(function(family, mu, y), torch.cat([mean[None], each]))


def rank_misses(function, rng):
    """How many ranks of summed roots differ from min((C - 1) N, (C - 1)(d + 1))."""
    misses = 0
    for c, d, n in ((3, 4, 2), (3, 4, 17), (2, 5, 13), (5, 2, 11), (5, 2, 2)):
        features = torch.tensor(rng.standard_normal((n, d)))
        logits = torch.tensor(rng.standard_normal((n, c)))
        total = function(features, logits).fisher_sum()
        rank = int(torch.linalg.matrix_rank(total, rtol=1e-10))
        misses += rank != (c - 1) * min(n, d + 1)
    return misses


def fisher_root_alone(family, z):
    return torch.cat([family.mean(z)[0][:, None], symmetric_root(family, z)], 1)


def symmetric_root(family, z):
    values, vectors = torch.linalg.eigh(family.fisher(z)[0])
    return vectors * values.clamp(min=0).sqrt() @ vectors.mT


def inverted(family, z):
    inverse = torch.linalg.pinv(family.fisher(z)[0], hermitian=True)
    return torch.cat([family.mean(z)[0][:, None], inverse], 1)


def mean_for_variance(family, z):
    mean = family.mean(z)[0]
    return torch.cat([mean[:, None], torch.diag(mean)], 1)


def natural_curvature(family, outputs, labels):
    right = output_curvature(family, outputs, labels)
    wrong = family.fisher(family.natural(outputs))
    return torch.cat([wrong, right[1:]])


def fisher_for_hessian(family, outputs, labels):
    right = output_curvature(family, outputs, labels)
    return right[:1].expand(len(right), -1, -1)


def full_rank_roots(features, logits):
    """Roots of diag(p) (x) phi phi'."""
    p = Categorical().mean(logits)
    ones = torch.ones_like(features[:, :1])
    phi = torch.cat([features, ones], 1)
    rows = torch.diag_embed(p.sqrt())[..., None] * phi[:, None, None, :]
    return fisher.FisherRoots.from_dense(rows.flatten(2))


def one_row_each(features, logits):
    labels = logits.argmax(1)
    return fisher.last_layer_roots(
        features, logits, estimator="empirical", labels=labels
    )

"""Generalised linear models: one curvature for all labels: T18.

f = W x is linear in the parameters W (C, d), and the outputs are natural parameters.
"""

import math

import mpmath
import numpy as np
import sympy
import torch
from torch import nn

from companion.evidence.ch05.exponential_families import LINE, along, bend
from companion.evidence.chain_rule import as_symbols, smooth
from companion.evidence.draws import TIGHT, after, dense, gap, pd_matrix, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import HESSIAN, LAMBDA, C, same
from companion.proof import Check, Mutant, Positive, Sym
from fimlib import families, fisher
from fimlib.families import Bernoulli

U, X = Sym("U", C, "d"), Sym(r"\x", "d")
MOVE = U * X
ALONG = MOVE.T * LAMBDA * MOVE
Z, Y = sympy.symbols("z y", real=True)


@claim("T18", CONDITIONS, "thm-family-glm eq-family-glm eq-family-link")
def t18():
    r"""The canonical link is a condition, not part of the name: in probit regression
    the curvature depends on the label; and with several outputs $f=\mathbf W\x$ in the
    place of $\w^\top\x$.
    """
    soft, closed = softmax_hessian()
    linked, formula = link_lines()
    probit, parts = probit_lines()
    noise, cauchy = cauchy_line()
    pi = 1 / (1 + sympy.exp(-sum(map(sympy.Mul, WEIGHTS, INPUT))))
    column = sympy.Matrix(INPUT)
    steps = [
        same(
            bend(along(LINE * MOVE)),
            ALONG,
            r"along $\mathbf W+tU$, any $\numclasses$ and $d$: the outputs move on a "
            r"line, $q=0$ in {prf:ref}`thm-family-fim`, and $T(\y)$ is gone",
            tex=(rf"v^\top{HESSIAN}v", r"(U\x)^\top\nabla^2\!A\,(U\x)"),
        ),
        same(
            hessian_of(lambda z: sympy.log(1 + sympy.exp(z)) - Y * z),
            pi * (1 - pi) * column * column.T,
            r"logistic regression, $D=2$: no $\y$",
            tex=(HESSIAN, r"\pi(1-\pi)\,\x\x^\top"),
        ),
        same(
            hessian_of(lambda z: sympy.exp(z) - Y * z),
            sympy.exp(sum(map(sympy.Mul, WEIGHTS, INPUT))) * column * column.T,
            r"Poisson regression: no $\y$",
            tex=(HESSIAN, r"e^{\w^\top\x}\,\x\x^\top"),
        ),
        same(
            soft,
            closed,
            r"softmax, three classes, $d=2$, $\mathbf W$ row by row: no $\y$",
            tex=(HESSIAN, r"(\operatorname{diag}(p)-pp^\top)\otimes\x\x^\top"),
        ),
        same(
            linked,
            formula,
            r"another link is a bent natural parameter, $z=g(\eta)$ with "
            r"$\eta=\w^\top\x$, for generic $A$ and $g$: $\y$ goes only if $g''=0$",
            tex=(r"\tfrac{d^2}{d\eta^2}\big[A(g)-T\,g\big]", r"A''g'^2-(T-A')\,g''"),
        ),
        same(
            probit,
            parts,
            r"probit, $\pof{1}=\Phi(\eta)$, with $h_1=\varphi/\Phi$ and "
            r"$h_0=\varphi/(1-\Phi)$: $\y=1$, $\y=0$, and their mean",
            Positive(1 - sympy.Symbol("Phi", positive=True)),
            tex=(
                r"\big(\HofHessian{1},\,\HofHessian{0},\,F\big)",
                r"\big(h_1(h_1+\eta),\,h_0(h_0-\eta),\,h_0h_1\big)",
            ),
        ),
        same(
            noise,
            cauchy,
            r"linear, but no exponential family: Cauchy noise, $e=\y-\w^\top\x$; "
            r"negative for $e^2>1$",
            tex=(HESSIAN, r"\tfrac{2(1-e^2)}{(1+e^2)^2}\,\x\x^\top"),
        ),
    ]
    linear, exact, probit_name = (
        "observed_information of linear models, five families, several labels each",
        "network_roots and last_layer_roots of the same: one matrix for all labels",
        "probit as a network to logits, at θ = x = 1: .37031, .80090, F = .43863",
    )
    return evidence(
        steps,
        Check(linear, fisher.observed_information, labels_gap, TIGHT),
        Check(exact, roots_both_ways, roots_gap, TIGHT),
        Check(probit_name, probit_information, probit_gap, 1e-10),
        Mutant("as with Gaussian noise", 7, 2 * sympy.Matrix([[1]])),
        Mutant("label's square for curvature", linear, outer_products),
        Mutant("curvature of another family", linear, as_bernoulli),
        Mutant("input and class exchanged", exact, exchanged),
        Mutant("canonical link for probit", probit_name, logistic_information),
        Mutant(
            "labels exchanged",
            probit_name,
            after(probit_information, lambda v: v[[1, 0, 2]]),
        ),
    )


WEIGHTS = sympy.symbols("theta_1 theta_2", real=True)
INPUT = sympy.symbols("x_1 x_2", real=True)


def hessian_of(loss):
    return sympy.hessian(loss(sum(map(sympy.Mul, WEIGHTS, INPUT))), WEIGHTS)


def softmax_hessian():
    """Hessian by W (3, 2), row by row, with a one-hot label, and the Kronecker form."""
    w = sympy.Matrix(3, 2, sympy.symbols("w_1:7", real=True))
    x, label = sympy.Matrix(INPUT), sympy.Matrix(sympy.symbols("y_1:4", real=True))
    z = w * x
    total = sum(map(sympy.exp, z))
    p = sympy.Matrix([sympy.exp(c) / total for c in z])
    loss = sympy.log(total) - label.dot(z)
    kron = sympy.kronecker_product(sympy.diag(*p) - p * p.T, x * x.T)
    return sympy.hessian(loss, list(w)), kron


def link_lines():
    """d^2/deta^2 of A(g(eta)) - T g(eta), and the formula."""
    g, stat = sympy.Function("g")(Z), sympy.Symbol("T", real=True)
    loss = smooth(0)(g) - stat * g
    right = smooth(2)(g) * g.diff(Z) ** 2 - (stat - smooth(1)(g)) * g.diff(Z, 2)
    return as_symbols(loss.diff(Z, 2)), as_symbols(right)


def probit_lines():
    """Curvatures of -log Phi and -log (1 - Phi), and their mean; the closed forms.

    As an identity of derivatives of a generic Phi whose second one is -eta times the
    first, as it is for a Gaussian.
    """
    cdf = sympy.Function("Phi")(Z)
    share, height = sympy.symbols("Phi phi", positive=True)
    values = {cdf.diff(Z, 2): -Z * height, cdf.diff(Z): height, cdf: share}

    def bend_of(p):
        e = -sympy.log(p).diff(Z, 2)
        for old, new in values.items():
            e = e.subs(old, new)
        return e

    one, zero = bend_of(cdf), bend_of(1 - cdf)
    found = sympy.Matrix([one, zero, share * one + (1 - share) * zero])
    h_1, h_0 = height / share, height / (1 - share)
    return found, sympy.Matrix([h_1 * (h_1 + Z), h_0 * (h_0 - Z), h_0 * h_1])


def cauchy_line():
    """Curvature of log(1 + (y - z)^2) by z, a column, and its closed form."""
    e = Y - Z
    loss = sympy.log(1 + e**2)
    return (
        sympy.Matrix([[loss.diff(Z, 2)]]),
        sympy.Matrix([[2 * (1 - e**2) / (1 + e**2) ** 2]]),
    )


def linear_models(rng):
    """(model, inputs (3, d), labels to try, family, Lambda (3, C, C) by hand)."""
    x = torch.tensor(rng.standard_normal((3, 4)))
    cov = torch.tensor(pd_matrix(rng, 2, spread=1.0))

    def model(outputs):
        layer = nn.Linear(4, outputs, bias=False).double()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(rng.standard_normal((outputs, 4)) / 2))
        return layer, layer(x).detach()

    def scalar(family, labels, curvature):
        layer, z = model(1)
        return layer, x, labels, family, curvature(z)[..., None]

    soft, z = model(3)
    p = torch.exp(z) / torch.exp(z).sum(1, keepdim=True)
    spread = torch.stack([torch.diag(q) - torch.outer(q, q) for q in p])
    both, _ = model(2)
    column = torch.ones(3, 1).double()
    return (
        scalar(Bernoulli(), (0 * column, column),
               lambda z: torch.exp(z) / (1 + torch.exp(z)) ** 2),
        scalar(families.Binomial(5), (0 * column, 2 * column, 5 * column),
               lambda z: 5 * torch.exp(z) / (1 + torch.exp(z)) ** 2),
        scalar(families.Poisson(), (0 * column, 3 * column, 40 * column), torch.exp),
        (soft, x, [torch.full((3,), c) for c in range(3)], families.Categorical(),
         spread),
        (both, x, (torch.zeros(3, 2), 100 * torch.ones(3, 2)),
         families.MultivariateGaussian(cov),
         torch.linalg.inv(cov).expand(3, 2, 2)),
    )  # fmt: skip


def kronecker(curvature, x):
    """Lambda (x) x x' of each input, (M, C d, C d)."""
    return torch.stack(
        [
            torch.kron(lam.contiguous(), torch.outer(row, row))
            for lam, row in zip(curvature, x, strict=True)
        ]
    )


@worst
def labels_gap(function, rng):
    for model, x, tries, family, curvature in linear_models(rng):
        truth = kronecker(curvature, x)
        for labels in tries:
            yield gap(function(model, x, labels, family), truth)


def roots_both_ways(model, x, family):
    """Fisher information as a whole network and as a last layer, (2, M, D, D)."""
    whole = fisher.network_roots(model, x, family)
    last = fisher.last_layer_roots(x, model(x).detach(), family, bias=False)
    return np.stack([dense(whole), dense(last)])


@worst
def roots_gap(function, rng):
    for model, x, _, family, curvature in linear_models(rng):
        truth = kronecker(curvature, x)
        yield gap(function(model, x, family), torch.stack([truth] * 2))


class Probit(nn.Module):
    """logit Phi(theta x): probit regression as a network to natural parameters."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([theta], dtype=torch.float64))

    def forward(self, x):
        z = self.theta * x / math.sqrt(2)
        return torch.log(torch.erfc(-z) / torch.erfc(z))


def information_of(model):
    """Observed information of the labels 1 and 0 at x = 1, and F, (3,)."""
    x = torch.ones(2, 1, dtype=torch.float64)
    labels = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    observed = fisher.observed_information(model, x, labels, Bernoulli())
    exact = dense(fisher.network_roots(model, x[:1], Bernoulli()))
    return np.append(observed.flatten().numpy(), exact)


def probit_information(theta):
    return information_of(Probit(theta))


def logistic_information(theta):
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(layer.weight, theta)
    return information_of(layer)


@worst
def probit_gap(function, rng):
    """Against mpmath's derivatives, the printed digits at theta = 1 among them."""
    for theta in (1.0, -0.7, 2.2):
        with mpmath.workdps(40):
            p = mpmath.ncdf(theta)
            one = -mpmath.diff(lambda t: mpmath.log(mpmath.ncdf(t)), theta, 2)
            zero = -mpmath.diff(lambda t: mpmath.log(mpmath.ncdf(-t)), theta, 2)
            truth = [float(v) for v in (one, zero, p * one + (1 - p) * zero)]
        yield gap(function(theta), truth)
    printed = gap(function(1.0).round(5), [0.37031, 0.80090, 0.43863])
    yield printed


def outer_products(model, x, labels, family):
    options = {"estimator": "empirical", "labels": labels}
    return dense(fisher.network_roots(model, x, family, **options))


def as_bernoulli(model, x, labels, family):
    z = model(x).detach()
    return kronecker(torch.diag_embed(torch.sigmoid(z) * torch.sigmoid(-z)), x)


def exchanged(model, x, family):
    """Weights numbered input by input where they are class by class."""
    found = roots_both_ways(model, x, family)
    classes, d = model.weight.shape
    order = np.arange(classes * d).reshape(classes, d).T.ravel()
    return found[..., order, :][..., order]

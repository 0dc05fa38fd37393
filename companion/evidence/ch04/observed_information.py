"""Observed information, the curvature of -log p at one label: T13.

H' is the gradient of -log p(y|x, theta), a row; H'' its Hessian.
"""

import numpy as np
import sympy
import torch
from torch import nn

from companion.evidence.ch04.label_network import *
from companion.evidence.chain_rule import as_symbols
from companion.evidence.draws import TIGHT, after, changed, dense, gap, worst
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.evidence.notation import HESSIAN, OUTER, ROW, same
from companion.proof import Check, Mutant, Sym, Tr
from fimlib import fisher
from fimlib.families import Bernoulli
from fimlib.fisher import FisherRoots


@claim("T13", HOLDS, "thm-fisher-observed eq-fisher-observed")
def t13():
    row = Sym(ROW, 1, "D")
    left, right = quotient_rule()
    along, on_line = on_a_line()
    det, closed = product_network_determinant()
    steps = [
        same(
            left,
            right,
            r"the quotient rule for $\nabla(\nabla p/p)$, entry by entry for $D=3$ and "
            "any $p$",
            tex=(HESSIAN, rf"{OUTER}-\tfrac1p\nabla^2p"),
        ),
        same(
            along,
            on_line,
            r"and for any $D$: along every line $\w+tv$. A symmetric matrix is known "
            r"from all $v^\top\HofHessian{\y}v$",
            tex=(rf"v^\top{HESSIAN}v", rf"({ROW}v)^2-\tfrac1p\tfrac{{d^2p}}{{dt^2}}"),
        ),
        same(
            Tr(row.T * row),
            row * row.T,
            rf"${OUTER}$ is $D\times D$, ${ROW}{ROW}^\top$ a number: the squared "
            "length of the gradient",
        ),
        same(
            det,
            closed,
            r"two weights in a row, logit $w_1w_2$, $\pi=\pof{1}$, $r=\pi-\y$: "
            r"negative for *both* labels where $w_1w_2=0$",
            tex=(rf"\det{HESSIAN}", r"-r^2-2\pi(1-\pi)\,r\,w_1w_2"),
        ),
    ]
    network, rows, product = (
        "observed_information of a tanh network, D = 21: autodiff, each label",
        "network_roots at a given label: the row is that of autodiff",
        "two weights in a row: closed form, indefinite for both labels at 0",
    )
    observed = fisher.observed_information
    return evidence(
        steps,
        Check(network, observed, hessian_gap, TIGHT),
        Check(rows, fisher.network_roots, row_gap, TIGHT),
        Check(product, observed, product_network_gap, TIGHT),
        Mutant("Hessian without minus", network, after(observed, torch.neg)),
        Mutant("outer product for Hessian", network, outer_product),
        Mutant("positive semi-definite part alone", network, positive_part),
        Mutant("another label", network, changed(observed, 2, next_label)),
        Mutant("gradient of log p", rows, flipped_rows),
        Mutant("transposed weight matrix", rows, transposed_rows),
        Mutant("outer product for Hessian", product, outer_product),
        Mutant("positive semi-definite part alone", product, positive_part),
    )


Y, R = sympy.symbols("y r", real=True)


def quotient_rule():
    """-Hess log p and h'h - Hess p / p, for a generic p of three arguments."""
    theta = sympy.symbols("theta_1:4", real=True)
    p = sympy.Function("p", positive=True)(*theta)
    row = -sympy.Matrix([[sympy.diff(sympy.log(p), t) for t in theta]])
    left = -sympy.hessian(sympy.log(p), theta)
    right = row.T * row - sympy.hessian(p, theta) / p
    return as_symbols(left), as_symbols(right)


def on_a_line():
    """The same for q(t) = p(theta + t v), which knows nothing of a dimension."""
    t = sympy.Symbol("t", real=True)
    q = sympy.Function("q", positive=True)(t)
    slope = sympy.diff(sympy.log(q), t)
    right = slope**2 - sympy.diff(q, t, 2) / q
    return as_symbols(-sympy.diff(slope, t)), as_symbols(right)


def product_network_determinant():
    """det H'' for p(1) = sigmoid(w1 w2), and -r^2 - 2 pi (1 - pi) r w1 w2."""
    a, b = sympy.symbols("w_1 w_2", real=True)
    odds = sympy.Symbol("u", positive=True)  # exp(w1 w2)
    loss = sympy.log(1 + sympy.exp(a * b)) - Y * a * b
    pi = odds / (1 + odds)
    hessian = sympy.hessian(loss, (a, b)).subs(sympy.exp(a * b), odds)
    det = sympy.cancel(hessian.det().subs(Y, pi - R))
    return det, -(R**2) - 2 * pi * (1 - pi) * R * a * b


@worst
def hessian_gap(function, rng):
    model, inputs = tanh_network(rng)
    truth = [by_autodiff(model, x)[2] for x in inputs]
    for label in range(CLASSES):
        found = function(model, inputs, torch.full((len(inputs),), label))
        yield gap(found, torch.stack([t[label] for t in truth]))


@worst
def row_gap(function, rng):
    model, inputs = tanh_network(rng)
    rows = torch.stack([by_autodiff(model, x)[1] for x in inputs])
    for label in range(CLASSES):
        labels = torch.full((len(inputs),), label)
        found = function(model, inputs, estimator="empirical", labels=labels)
        yield gap(found.dense()[:, 0], rows[:, label])


def product_network(first, second):
    """The network x -> second first x."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        for layer, weight in zip(model, (first, second), strict=True):
            layer.weight.fill_(weight)
    return model.double()


@worst
def product_network_gap(function, rng):
    one = torch.ones(1, 1, dtype=torch.float64)
    for a, b in ((0, 0), (0, 1), *rng.standard_normal((5, 2))):
        a, b = (float(torch.tensor(w).float()) for w in (a, b))  # as the layer holds it
        pi = 1 / (1 + np.exp(-a * b))
        for label in (0, 1):
            w, r = pi * (1 - pi), pi - label
            truth = [[w * b * b, w * a * b + r], [w * a * b + r, w * a * a]]
            found = function(product_network(a, b), one, label * one, Bernoulli())[0]
            yield gap(found, truth)
            if a * b == 0:
                yield float(torch.linalg.det(found) > -0.2)


def outer_product(model, inputs, labels, family=None):
    options = {"family": family, "estimator": "empirical", "labels": labels}
    return torch.tensor(dense(fisher.network_roots(model, inputs, **options)))


def positive_part(model, inputs, labels, family=None):
    return torch.tensor(dense(fisher.network_roots(model, inputs, family=family)))


def flipped_rows(*args, **options):
    roots = fisher.network_roots(*args, **options)
    return FisherRoots.from_dense(-roots.dense())


def transposed_rows(*args, **options):
    rows = fisher.network_roots(*args, **options).dense().clone()
    square = rows[..., 9:18].unflatten(-1, (3, 3))
    rows[..., 9:18] = square.mT.flatten(-2)
    return FisherRoots.from_dense(rows)

"""Hessians of labels that are independent given theta add, at one theta: T12."""

import sympy
import torch
from scipy.special import expit

from companion.evidence.ch03.bayes_rule import precision, surprise
from companion.evidence.ch03.logistic import *
from companion.evidence.draws import TIGHT, changed, gap, with_weights, worst
from companion.evidence.generic import (
    INDEX,
    TERMS,
    EachEntry,
    S,
    T,
    density,
    entry,
    slope,
)
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import same
from companion.proof import Check, Invertible, Mutant
from fimlib import fisher


@claim("T12", CONDITIONS, "thm-hessian-additive eq-laplace-additive")
def t12():
    """Independent given the parameters, not independent; fails for batch-norm in train
    mode and for noise that labels share.
    """
    one = density("p", INDEX, S, T)
    terms = sympy.Sum(-entry(sympy.log(one)), TERMS)
    slopes = sympy.Sum(-slope(sympy.log(one)), TERMS)
    product = sympy.Product(one, TERMS)
    steps = [
        EachEntry(
            -entry(sympy.log(product)),
            "=",
            terms,
            r"$\pof{\D\given\w}=\prod_i\pof{\y_i\given\x_i,\w}$ for generic "
            r"probabilities and any number of labels; again entry by entry",
            tex=(
                r"\HofHessian{\D\given\w}",
                r"\textstyle\sum_{i=1}^{\trainsize}\HofHessian{\y_i\given\x_i,\w}",
            ),
        ),
        EachEntry(
            -slope(sympy.log(product)),
            "=",
            slopes,
            "the same for gradients",
            tex=(
                r"\HofJacobian{\D\given\w}",
                r"\textstyle\sum_{i=1}^{\trainsize}\HofJacobian{\y_i\given\x_i,\w}",
            ),
        ),
        *refit(),
    ]
    steps.append(shared_noise())
    network, update, alone, batch = (
        "tanh network: observed_information sums to the Hessian of the joint",
        "logistic regression: update adds what from_roots of all labels has",
        "observed_information and network_roots refuse batch-norm in train mode",
        "batch-norm in eval mode: observed_information sums to the joint's Hessian",
    )
    return evidence(
        steps,
        Check(network, fisher.observed_information, whole_hessian, TIGHT),
        Check(update, updated, all_at_once, TIGHT),
        Check(alone, refusals, in_train_mode, 0),
        Check(batch, one_by_one, all_in_one_mode, TIGHT),
        Mutant("terms of the old point", 5, steps[3].rhs),
        Mutant("noise taken as independent", 6, sympy.Integer(2)),
        Mutant(
            "mean for sum",
            network,
            lambda *a: fisher.observed_information(*a) / len(a[1]),
        ),
        Mutant(
            "another point for every term",
            network,
            changed(fisher.observed_information, 0, shifted),
        ),
        Mutant("only the new labels", update, only_new),
        Mutant("refitted before the update", update, refitted),
        Mutant("a quiet change to eval mode", alone, quietly_eval),
        Mutant("batch-norm in train mode", batch, two_halves),
    )


def shared_noise():
    """Two measurements y of one number w, their noise correlated."""
    w, y, z = sympy.symbols("w y_1 y_2", real=True)
    rho = sympy.Symbol("rho", positive=True)
    error = sympy.Matrix([y - w, z - w])
    energy = (error.T * sympy.Matrix([[1, rho], [rho, 1]]).inv() * error)[0] / 2
    return same(
        energy.diff(w, 2),
        2 / (1 + rho),
        r"two measurements of one number with noise of variance 1 and correlation "
        r"$\rho$: not the sum $1+1$, unless $\rho=0$",
        Invertible(rho - 1),
        tex=(r"\HofHessian{\D\given\w}", r"\tfrac2{1+\rho}"),
    )


def refit():
    """One weight, x = 1: labels 1, 0, then 1, 1, 1, prior precision 1 / (4 log 3).

    The mode moves from 0 to log 3, where each label has curvature 3/16 for 1/4.
    """
    w, ridge = sympy.Symbol("w", real=True), 1 / (4 * sympy.log(3))
    before = surprise(w, 1) + surprise(w, 0) + ridge * w**2 / 2
    after = before + 3 * surprise(w, 1)
    old, new = sympy.Integer(0), sympy.log(3)
    slopes = sympy.Matrix([before.diff(w).subs(w, old), after.diff(w).subs(w, new)])
    curvature = after.diff(w, 2)
    return [
        same(
            slopes,
            sympy.zeros(2, 1),
            r"logistic regression, $\x=1$, prior precision $\lambda=\tfrac1{4\log3}$: "
            r"the mode after the labels $1,0$ is 0, after $1,1,1$ more it is $\log3$",
            tex=(r"\HofJacobian{0\given\D_2}=\HofJacobian{\log3\given\D_5}", "0"),
        ),
        same(
            sympy.simplify(curvature.subs(w, old)),
            ridge + sympy.Rational(5, 4),
            "all five terms at the old mode",
            tex=(r"\HofHessian{0\given\D_5}", r"\lambda+5\cdot\tfrac14"),
        ),
        same(
            sympy.simplify(curvature.subs(w, new)),
            ridge + sympy.Rational(15, 16),
            "and at the new mode, where every term has changed",
            tex=(r"\HofHessian{\log3\given\D_5}", r"\lambda+5\cdot\tfrac3{16}"),
        ),
    ]


def whole_hessian(function, rng):
    """Sum over labels against autograd of the log of the whole likelihood."""
    net, x, y = tanh_network(rng)
    truth = hessian_of_all(net, x, y)
    return gap(function(net, x, y).sum(0), truth)


def shifted(net):
    """The same network at other parameters."""
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1
    return net


def updated(x, y, prior, theta):
    """Precision, half of the labels after the other half, at one theta."""
    half = len(x) // 2
    post = posterior_at(x[:half], y[:half], prior, theta)
    (rest,) = posterior_at(x[half:], y[half:], prior, theta).train_roots
    return post.update(rest).precision.numpy()


def only_new(x, y, prior, theta):
    half = len(x) // 2
    return precision(x[half:], y[half:], prior, theta)


def refitted(x, y, prior, theta):
    half = len(x) // 2
    post = posterior_at(x[:half], y[:half], prior, mode_of(x[:half], y[:half], prior))
    (rest,) = posterior_at(x[half:], y[half:], prior, theta).train_roots
    return post.update(rest).precision.numpy()


@worst
def all_at_once(function, rng):
    for size in (1, 2, 3, 5):
        x, y, prior, theta = logistic(rng, size, 11)
        p = expit(x @ theta)
        truth = prior + (x.T * (p * (1 - p))) @ x
        yield gap(function(x, y, prior, theta), truth)


def batch_norm_network(rng):
    """Inputs through batch-norm and a linear layer, eight examples; D = 13."""
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 3))
    net, x = with_weights(net, rng), torch.as_tensor(rng.standard_normal((8, 2)))
    net(x)  # running statistics
    return net, x, torch.as_tensor(rng.integers(0, 3, 8))


def hessian_of_all(net, x, y):
    """Hessian of -log p(y_1..y_N|x_1..x_N, theta), in the mode the network is in."""
    outputs, theta = outputs_of(net, x)

    def loss(w):
        return torch.nn.functional.cross_entropy(outputs(w), y, reduction="sum")

    return torch.autograd.functional.hessian(loss, theta)


def one_by_one(net, x, y):
    """The labels' Hessians, added."""
    return fisher.observed_information(net, x, y).sum(0)


def two_halves(net, x, y):
    """The Hessians of the two halves of a batch, added, in train mode."""
    net.train()
    return hessian_of_all(net, x[:4], y[:4]) + hessian_of_all(net, x[4:], y[4:])


def all_in_one_mode(function, rng):
    net, x, y = batch_norm_network(rng)
    found = function(net.eval(), x, y)
    return gap(found, hessian_of_all(net, x, y))


def refusals(net, x, y):
    """The error messages of fimlib for a network."""
    found = []
    for call in (
        fisher.observed_information,
        lambda net, x, y: fisher.network_roots(net, x),
    ):
        try:
            call(net, x, y)
        except ValueError as error:
            found.append(str(error))
    return found


def quietly_eval(net, x, y):
    return refusals(net.eval(), x, y)


def in_train_mode(function, rng):
    """How many of the two functions fail to refuse, naming the reason."""
    messages = function(*batch_norm_network(rng))
    return 2 - sum("normalises by the batch" in text for text in messages)

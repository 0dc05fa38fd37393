"""Known labels: IG, PIG and JPIG: T42.

P is the posterior precision, P_y the precision after the label y, and H_y = P_y - P its
observed information.
"""

import numpy as np
import sympy
import torch

from companion.evidence.draws import *
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, P, same
from companion.proof import HALF, Check, Let, Multiplicative, Mutant, Sym, logdet
from fimlib import information
from fimlib.fisher import FisherRoots, last_layer_roots, observed_information
from fimlib.posterior import GaussianPosterior


@claim("T42", CONDITIONS, "thm-lens-known eq-lens-known")
def t42():
    """For networks the log-determinant of observed information may be negative or
    undefined; use GGN, or the outer product of the true label's gradient.
    """
    p_y = Sym(r"P_{\y}", "D", "D", "pd")
    h_y = Let(r"H_{\y}", p_y - P)
    f_e = Sym("F_E", "D", "D", "psd")
    ig = HALF * logdet(I_D + h_y * P.I)
    steps = [
        same(
            HALF * logdet(p_y) - HALF * logdet(P),
            ig,
            r"IG: the drop of Gaussian entropy, with $H_{\y}=P_{\y}-P$",
            Multiplicative(p_y, P.I),
        ),
        same(
            HALF * logdet(I_D + f_e * P.I) - HALF * logdet(I_D + f_e * p_y.I),
            ig - HALF * logdet(I_D + h_y * (P + f_e).I),
            r"JPIG: IG under $P$ minus IG under $P+F_E$",
            Multiplicative(P + f_e, P.I),
            Multiplicative(p_y + f_e, p_y.I),
            Multiplicative(p_y, P.I),
            Multiplicative(p_y + f_e, (P + f_e).I),
        ),
        softmax_step(),
        square_step(),
    ]
    glm, network, undefined = (
        "softmax layer: ig, pig and jpig are eig, epig and jepig for every label",
        "tanh network: ig, pig and jpig equal the D × D log-determinants",
        "a Hessian that leaves no Gaussian is refused, with a reason",
    )
    return evidence(
        steps,
        Check(glm, known_scores, glm_scores, 1e-8),
        Check(network, known_scores, network_scores, 1e-8),
        Check(undefined, information.ig, refused, 0),
        Mutant("the Fisher information, whatever the label", 4, fisher_of_square()),
        Mutant("dropped ½", glm, doubled(known_scores)),
        Mutant("mean for joint", glm, reordered(known_scores, 0, 1, 1)),
        Mutant(
            "negative curvature cut off", network, changed(known_scores, 0, clipped)
        ),
        Mutant(
            "negative curvature cut off", undefined, changed(information.ig, 0, clipped)
        ),
    )


def softmax_step():
    """Softmax with logits (theta' x, 0): the Hessian is F for both labels."""
    x, theta = (sympy.Matrix(sympy.symbols(f"{n}1:3", real=True)) for n in ("x", "t"))
    y = sympy.Symbol("y", real=True)
    z = (theta.T * x)[0]
    p = sympy.exp(z) / (1 + sympy.exp(z))
    loss = sympy.log(1 + sympy.exp(z)) - y * z
    return same(
        sympy.hessian(loss, list(theta)),
        p * (1 - p) * x * x.T,
        "a GLM, the logit $\\w^\\top\\x$: no $\\y$ in the Hessian",
        tex=(r"H_{\y}", r"\pi(1-\pi)\,\x\x^\top=F_{\x}"),
    )


def square_step():
    """A logit that bends, f = theta^2: the Hessian depends on the label."""
    t, y = sympy.symbols("t y", real=True)
    loss = sympy.log(1 + sympy.exp(t**2)) - y * t**2
    p = sympy.exp(t**2) / (1 + sympy.exp(t**2))
    return same(
        sympy.diff(loss, t, 2),
        fisher_of_square() - 2 * (y - p),
        r"no GLM, the logit $\w^2$: for $\y=1$ and small $\w$ it is negative",
        tex=(r"H_{\y}", r"4\w^2\pi(1-\pi)-2(\y-\pi)"),
    )


def fisher_of_square():
    t = sympy.Symbol("t", real=True)
    p = sympy.exp(t**2) / (1 + sympy.exp(t**2))
    return 4 * t**2 * p * (1 - p)


def known_scores(observed, eval_roots, post):
    """IG, PIG, JPIG of known labels."""
    return [
        information.ig(observed, post),
        information.pig(observed, eval_roots, post),
        information.jpig(observed, eval_roots, post),
    ]


@worst
def glm_scores(function, rng):
    """Hessians by autodiff, every label in turn, against the expected versions."""
    model = with_weights(torch.nn.Linear(4, 3, bias=False), rng)
    x, x_eval, x_train = (torch.tensor(rng.standard_normal((n, 4))) for n in (5, 7, 11))
    roots, evals, train = (
        last_layer_roots(a, model(a).detach(), bias=False) for a in (x, x_eval, x_train)
    )
    post = GaussianPosterior.from_roots(train, 0.7)
    truth = [
        information.eig(roots, post),
        information.epig(roots, evals, post),
        information.jepig(roots, evals, post),
    ]
    for label in range(3):
        observed = observed_information(model, x, torch.full((5,), label))
        found = function(observed, evals, post)
        yield from (gap(f, t) for f, t in zip(found, truth, strict=True))


def tanh_problem(rng):
    """Hessians (3 labels) of a tanh network, evaluation roots, a posterior."""
    model = network(rng, 2, 3, 3)
    x = torch.tensor(rng.standard_normal((1, 2))).expand(3, 2)
    observed = observed_information(model, x, torch.arange(3))
    size = observed.shape[-1]
    evals = FisherRoots.from_dense(rng.standard_normal((5, 2, size)))
    return observed, evals, GaussianPosterior.isotropic(size, 5.0)


def network_scores(function, rng):
    observed, evals, post = tanh_problem(rng)
    if torch.linalg.eigvalsh(observed).min() > -1e-3:
        raise ArithmeticError("no label has an indefinite Hessian here")
    p = post.precision.numpy()
    rows = evals.dense().numpy()
    f_e = np.einsum("erd,erk->edk", rows, rows)
    truth = [[], [], []]
    for h in observed.numpy():
        truth[0].append((log_det(p + h) - log_det(p)) / 2)
        gains = [dense_conditional(f, 0, p) - dense_conditional(f, h, p) for f in f_e]
        truth[1].append(np.mean(gains))
        total = f_e.sum(0)
        truth[2].append(dense_conditional(total, 0, p) - dense_conditional(total, h, p))
    found = function(observed, evals, post)
    return max(gap(f, t) for f, t in zip(found, truth, strict=True))


def refused(function, rng):
    """0 if P + H that is not positive definite gets a ValueError."""
    observed, _, _ = tanh_problem(rng)
    lowest = float(torch.linalg.eigvalsh(observed).min())
    post = GaussianPosterior.isotropic(observed.shape[-1], -lowest / 2)
    try:
        function(observed, post)
    except ValueError as error:
        return float("positive definite" not in str(error))
    return 1.0


def clipped(observed):
    """The positive part of each Hessian."""
    values, vectors = torch.linalg.eigh(observed)
    return vectors * values.clamp(min=0)[:, None, :] @ vectors.mT

"""Lengths of gradients: EGL, GraNd, EL2N: T43.

g_y is the gradient of -log p(y|x, theta), p the softmax probabilities, e_y the label as
a unit vector, phi the features under the last layer.
"""

import numpy as np
import sympy
import torch

from companion.evidence.draws import TIGHT, classifier, doubled, gap, network, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, same
from companion.proof import *
from fimlib import information
from fimlib.fisher import last_layer_roots, network_roots
from fimlib.posterior import GaussianPosterior


@claim("T43", CONDITIONS, "thm-lens-lengths eq-lens-lengths")
def t43():
    """The published scores average the length itself, not its square: EGL over labels,
    GraNd and EL2N over initialisations; such averages order examples differently.
    """
    g, lam = Sym("g", "D"), scalar(r"\lambda")
    fim = Sym(r"F_{\x}", "D", "D", "psd")
    outer = Sym(r"g_{\y}g_{\y}^\top", "D", "D", "psd", mean=fim)
    error, phi = Sym(r"(p-e_{\y})", r"\numclasses"), Sym(r"\phi", "d")
    length = Let(r"\lvert g\rvert^2", g.T * g)
    outer_g = Let("A", g * g.T / lam)
    steps = [
        same(
            Mean(Tr(outer), r"\simpleE{\y}"),
            Tr(fim),
            r"EGL$^2$ in the mean of squares: $F_{\x}=\simpleE{\y}g_{\y}g_{\y}^\top$, "
            "the trace is linear",
        ),
        gini_step(),
        same(
            Tr(error * phi.T * (error * phi.T).T),
            (error.T * error) * (phi.T * phi),
            r"the softmax layer's gradient is the matrix $(p-e_{\y})\phi^\top$: "
            r"GraNd$^2$ = EL2N$^2\,\lvert \phi\rvert^2$",
        ),
        *chain(
            HALF * logdet(I_D + outer_g),
            le(HALF * Tr(outer_g), "{prf:ref}`thm-trace-bound`", Spectral(outer_g)),
            eq(
                HALF * length / lam,
                r"one label, no posterior: $\tfrac12\tr(gg^\top)/\lambda$",
            ),
        ),
        two_classes_step(),
    ]
    expected, known, whole, blind = (
        "eig (trace) with P = λI is |φ|²(1 - |p|²)/(2λ)",
        "eig (trace) of the true label's root is |g|²/(2λ), by autodiff",
        "E over labels of |g|² by autodiff, whole network, is 2λ eig (trace)",
        "a point keeps its length after its label was learned; its EIG falls",
    )
    return evidence(
        steps,
        Check(expected, trace_eig, gini_scores, TIGHT),
        Check(known, label_trace, autodiff_lengths, TIGHT),
        Check(whole, trace_eig, network_lengths, 1e-8),
        Check(blind, length_score, ignores_posterior, TIGHT),
        Mutant("half the trace bounds it", 4, HALF * HALF * Tr(outer_g)),
        Mutant("dropped ½", expected, doubled(trace_eig)),
        Mutant("log det for trace", expected, information.eig),
        Mutant(
            "hard labels",
            known,
            lambda f, z, y, lam: label_trace(f, z, z.argmax(1), lam),
        ),
        Mutant("dropped ½", known, doubled(label_trace)),
        Mutant("log det for trace", whole, information.eig),
        Mutant("keeps the posterior", blind, trace_eig),
    )


def gini_step(classes=4):
    p = sympy.symbols(f"p1:{classes}", positive=True)
    p = (*p, 1 - sum(p))
    error = sum(
        p[y] * sum((p[c] - int(c == y)) ** 2 for c in range(classes))
        for y in range(classes)
    )
    return same(
        sympy.expand(error),
        1 - sum(q**2 for q in p),
        r"mean squared length in the logits: the Gini impurity ($\numclasses=4$)",
        tex=(r"\sum_{\y}p_{\y}\,\lvert p-e_{\y}\rvert^2", r"1-\lvert p\rvert^2"),
    )


def two_classes_step():
    """Squared EGL of a two-class softmax in the logits, |g_y| = sqrt(2) (1 - p_y)."""
    p = sympy.Symbol("p", positive=True)
    mean_length = sympy.sqrt(2) * (p * (1 - p) + (1 - p) * p)
    return same(
        mean_length**2,
        2 * p * (1 - p) * 4 * p * (1 - p),
        r"two classes: the square of EGL is $4p(1-p)\le1$ times $\tr F$, so EGL as "
        r"published ranks saturated points lower",
        tex=(
            r"\big(\sum_{\y}p_{\y}\lvert g_{\y}\rvert\big)^2",
            r"4p(1-p)\,\sum_{\y}p_{\y}\lvert g_{\y}\rvert^2",
        ),
    )


def trace_eig(roots, post):
    return information.eig(roots, post, form="trace")


def label_trace(features, logits, labels, prior_precision):
    """The trace form of IG from the true label's gradient, P = lambda I."""
    roots = last_layer_roots(
        features, logits, bias=False, estimator="empirical", labels=labels
    )
    return trace_eig(
        roots, GaussianPosterior.isotropic(roots.num_parameters, prior_precision)
    )


@worst
def gini_scores(function, rng):
    for classes, width, lam in ((2, 3, 0.5), (5, 2, 1.7), (3, 7, 0.01)):
        features = torch.tensor(rng.standard_normal((5, width)))
        logits = torch.tensor(2 * rng.standard_normal((5, classes)))
        roots = last_layer_roots(features, logits, bias=False)
        p = np.exp(logits.numpy())
        p /= p.sum(1, keepdims=True)
        truth = (features.numpy() ** 2).sum(1) * (1 - (p**2).sum(1)) / (2 * lam)
        post = GaussianPosterior.isotropic(classes * width, lam)
        yield gap(function(roots, post), truth)


def squared_length(loss, parameters):
    grads = torch.autograd.grad(loss, parameters)
    return float(sum((g**2).sum() for g in grads))


def autodiff_lengths(function, rng):
    """|g|^2 of the true label by autodiff, over 2 lambda."""
    features = torch.tensor(rng.standard_normal((5, 4)))
    weight = torch.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    labels = torch.tensor([0, 2, 1, 1, 0])
    truth = []
    for phi, label in zip(features, labels, strict=True):
        loss = torch.nn.functional.cross_entropy(weight @ phi, label)
        truth.append(squared_length(loss, [weight]) / (2 * 0.3))
    logits = features @ weight.detach().T
    return gap(function(features, logits, labels, 0.3), truth)


def network_lengths(function, rng):
    """Mean of |g_y|^2 over the model's labels, all layers, by autodiff."""
    model = network(rng, 2, 3, 3)
    x, lam, truth = torch.tensor(rng.standard_normal((5, 2))), 0.7, []
    for row in x:
        mean = 0.0
        for label in range(3):
            log_p = torch.log_softmax(model(row), -1)[label]
            length = squared_length(-log_p, list(model.parameters()))
            mean += float(log_p.detach().exp()) * length
        truth.append(mean / (2 * lam))
    roots = network_roots(model, x)
    post = GaussianPosterior.isotropic(roots.num_parameters, lam)
    return gap(function(roots, post), truth)


def length_score(roots, post):
    """Half the mean squared length of the gradient: what is known plays no part."""
    return trace_eig(roots, GaussianPosterior.isotropic(post.num_parameters, 1.0))


def ignores_posterior(function, rng):
    """Change of the score when the points' own labels were learned three times."""
    roots, _, post = classifier(rng)
    after = post.update(roots).update(roots).update(roots)
    if not (trace_eig(roots, after) < trace_eig(roots, post)).all():
        raise ArithmeticError("learning a point should lower its information")
    return gap(function(roots, after), function(roots, post))

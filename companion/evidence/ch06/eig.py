"""Approximating the EIG by log det and by trace: T21, T22.

P is the posterior precision at theta*, F the Fisher information of one label, R a root
of it (F = R'R, r x D), G = R P^-1 R' its Gram block.
"""

import functools

import numpy as np
import torch

from companion.evidence.draws import *
from companion.evidence.ledger import CORRECTED, HOLDS, claim, evidence
from companion.evidence.notation import EIG, FIM, I_D, I_R, TWO_PI_E, C, K, P, R, same
from companion.proof import *
from fimlib import information
from fimlib.blr import BayesianLinearRegression
from fimlib.families import Categorical, Gaussian
from fimlib.fisher import FisherRoots, last_layer_roots
from fimlib.posterior import GaussianPosterior

# --- T21 -------------------------------------------------------------------------


@claim(
    "T21",
    CORRECTED,
    "thm-eig-log-det eq-eig-log-det eq-errata-jensen eq-errata-talk-mean",
)
def t21():
    """With a capital Y the display is already the Fisher information and its
    expectation does nothing; the expectation over observed information is smaller
    (Jensen); four assumptions are silent.
    """
    p_y = Sym(r"P_{\y}", "D", "D", "pd", mean=P + FIM)
    h_y = Let(r"\HofHessian{\y}", p_y - P)
    z = Let("Z", (P + FIM).I * p_y)

    def mean(e):
        return Mean(e, r"\simpleE{\y}")

    fim_form = HALF * logdet(I_D + FIM * P.I)
    before = HALF * logdet(P + FIM) - HALF * logdet(P)
    label_form = mean(HALF * logdet(I_D + h_y * P.I))
    entropies = mean(HALF * logdet(TWO_PI_E * P.I) - HALF * logdet(TWO_PI_E * p_y.I))
    jac, lam = Sym("J", C, "D"), Sym(r"\Lambda", C, C, "psd")
    steps = [
        *chain(
            Let(EIG, entropies),
            eq(
                entropies,
                r"Gaussian entropies, {prf:ref}`thm-blr-entropy`, in the place of the "
                "true ones: the approximation",
            ),
            eq(
                label_form,
                r"$\det$ is multiplicative; $P_{\y}=P+\HofHessian{\y}$",
                Multiplicative(p_y, P.I),
                Scaled(TWO_PI_E, P.I),
                Scaled(TWO_PI_E, p_y.I),
            ),
            eq(
                before + mean(HALF * logdet(z)),
                r"$P_{\y}=(P+F_{\x})\,Z$ with $Z=(P+F_{\x})^{-1}P_{\y}$",
                Multiplicative(p_y, P.I),
                Multiplicative(P + FIM, z),
            ),
            le(
                before + mean(HALF * (Tr(z) - scalar("D"))),
                r"$\log\ell\le\ell-1$ for every eigenvalue $\ell>0$ of $Z$",
                Spectral(z, positive=True),
            ),
            eq(before, r"$\simpleE{\y}P_{\y}=P+F_{\x}$, so $\simpleE{\y}\tr Z=D$"),
            eq(fim_form, r"$\det$ is multiplicative", Multiplicative(P + FIM, P.I)),
        ),
        same(
            HALF * logdet(I_D + R.T * R * P.I),
            HALF * logdet(I_R + R * P.I * R.T),
            r"{prf:ref}`thm-sylvester` with $F_{\x}=R^\top R$: $r\times r$",
            Sylvester(R.T, R * P.I),
        ),
        same(
            HALF * logdet(I_D + jac.T * lam * jac * P.I),
            HALF * logdet(Eye(C) + lam * jac * P.I * jac.T),
            r"the same for $F_{\x}=J^\top\Lambda J$, "
            r"$\numclasses\times\numclasses$",
            Sylvester(jac.T, lam * jac * P.I),
        ),
    ]
    form, glm, jensen = (
        "information.eig equals the D × D log-determinants",
        "softmax layer: ig of the observed information is eig for every label",
        "two-layer tanh network: mean ig over the labels is at most eig",
    )
    return evidence(
        steps,
        Check(form, information.eig, dense_log_det, TIGHT),
        Check(glm, information.eig, glm_labels, TIGHT),
        Check(jensen, information.eig, network_labels, 0),
        Mutant("trace on the small side", 7, HALF * Tr(R * P.I * R.T)),
        Mutant("dropped ½", form, doubled(information.eig)),
        Mutant("posterior after for before", form, eig_after_update),
        Mutant("prior for posterior", form, eig_of_prior),
        Mutant("dropped ½", glm, doubled(information.eig)),
        Mutant("half the value", jensen, halved(information.eig)),
    )


@worst
def dense_log_det(function, rng):
    for roots, post, fishers, p in classifiers(rng):
        truth = [dense_conditional(f, 0, p) for f in fishers]
        yield gap(function(roots, post), truth)


def glm_labels(function, rng):
    """A softmax last layer is a GLM: its Hessian by autodiff has no label in it."""
    roots, logits, post = classifier(rng)
    phi = roots.features
    observed = []
    for label in range(logits.shape[1]):

        def loss(w, label=label):
            z = (w.view(logits.shape[1], -1) @ phi.T).T
            return torch.nn.functional.cross_entropy(
                z, torch.full((len(z),), label), reduction="none"
            )

        theta = torch.linalg.lstsq(phi, logits).solution.T.flatten()
        fitted = (theta.view(logits.shape[1], -1) @ phi.T).T
        hessians = torch.autograd.functional.jacobian(
            lambda w: torch.autograd.functional.jacobian(loss, w, create_graph=True),
            theta,
        )
        observed.append(information.ig(hessians, post))
    expected = function(last_layer_roots(phi, fitted, bias=False), post)
    return max(gap(gains, expected) for gains in observed)


def network_labels(function, rng):
    """Excess of E_y ig over eig for a network whose Hessians depend on the label."""
    x, model = torch.tensor(rng.standard_normal(2)), network(rng, 2, 3, 3)
    theta, logits = flat(model), functools.partial(outputs, model, x=x)
    post = GaussianPosterior.isotropic(len(theta), 5.0)
    log_p = torch.log_softmax(logits(theta), 0)
    hessians = torch.func.hessian(lambda w: -torch.log_softmax(logits(w), 0))(theta)
    mean_ig = float((log_p.exp() * information.ig(hessians, post)).sum())
    jac = torch.func.jacrev(logits)(theta)
    root = Categorical().fisher_root(logits(theta)[None])[0].T @ jac
    if not torch.linalg.eigvalsh(hessians).min() < -1e-3:
        raise ArithmeticError("no label has an indefinite Hessian here")
    eig = float(function(FisherRoots.from_dense(root[None]), post)[0])
    return max(0.0, mean_ig - eig)


def eig_after_update(roots, post):
    return torch.cat(
        [information.eig(roots[i : i + 1], post.update(roots[i : i + 1]))
         for i in range(len(roots))]
    )  # fmt: skip


def eig_of_prior(roots, post):
    prior = GaussianPosterior.isotropic(post.num_parameters, post.prior_precision)
    return information.eig(roots, prior)


# --- T22 -------------------------------------------------------------------------


@claim("T22", HOLDS, "thm-exact-blr eq-eig-exact")
def t22():
    x, s2 = Sym(r"\x", "D"), scalar(r"\sigma^2")
    sigma = Let(r"\Sigma", P.I)
    batch = Sym("X", K, "D")
    steps = [
        same(
            HALF * logdet(I_D + x * x.T / s2 * sigma),
            HALF * logdet(1 + x.T * sigma * x / s2),
            r"{prf:ref}`thm-sylvester`; this is {prf:ref}`thm-blr-eig`",
            Sylvester(x, x.T * sigma / s2),
        ),
        same(
            HALF * logdet(I_D + batch.T * batch / s2 * sigma),
            HALF * logdet(Eye(K) + batch * sigma * batch.T / s2),
            "the batch, likewise",
            Sylvester(batch.T, batch * sigma / s2),
        ),
    ]

    @worst
    def exact(function, rng):
        for size, count in ((1, 2), (3, 5), (11, 7)):
            cov, s2 = pd_matrix(rng, size), float(np.exp(rng.uniform(-2, 2)))
            x = rng.standard_normal((count, size))
            blr = BayesianLinearRegression(np.zeros(size), cov, s2)
            single, joint = function(x, cov, s2)
            yield gap(single, blr.eig(x))
            yield gap(joint, blr.batch_eig(x))

    name = "information.eig and batch_eig equal those of BayesianLinearRegression"
    return evidence(
        steps,
        Check(name, linear_model, exact, TIGHT),
        Mutant(
            r"$\sigma$ for $\sigma^2$ in the root",
            name,
            changed(linear_model, 2, np.sqrt),
        ),
        Mutant(
            "precision for covariance", name, changed(linear_model, 1, np.linalg.inv)
        ),
    )


def linear_model(x, covariance, noise_variance):
    """Weight-space (eig, batch_eig) of a linear-Gaussian model."""
    mean = torch.zeros(len(x), 1)
    roots = last_layer_roots(x, mean, Gaussian(noise_variance), bias=False)
    post = GaussianPosterior.from_roots(roots[:0], np.linalg.inv(covariance))
    return information.eig(roots, post), information.batch_eig(roots, post)

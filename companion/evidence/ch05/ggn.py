"""The generalised Gauss-Newton matrix: the Hessian without its residual: T20."""

import sympy
import torch

from companion.evidence.ch04.label_network import *
from companion.evidence.ch05.exponential_families import (
    BEND,
    GGN_ALONG,
    GGN_TEX,
    SLOPE,
    T_Y,
    Q,
    rooted,
    wrong_curvature,
)
from companion.evidence.ch05.family_rows import MU, S
from companion.evidence.ch05.family_table import fisher_of_log_sd, log_sd_hessian
from companion.evidence.draws import *
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import HESSIAN, JAC, LAMBDA, C, P, at_least, same
from companion.proof import *
from fimlib import fisher
from fimlib.families import GaussianMeanLogSd

RESIDUAL = r"\textstyle\sum_k(T_k-\partial_kA)\,v^\top\nabla^2f_k\,v"
OUT = Sym(r"J_o", "m", "D")
LINK = Sym("B", C, "m")
GGN = Let(r"\mathrm{GGN}", JAC.T * LAMBDA * JAC)


@claim("T20", CONDITIONS, "thm-family-ggn eq-family-ggn eq-family-other")
def t20():
    """GGN and Fisher information are one matrix where the outputs are natural
    parameters, or affine in them; more stable because it cannot fail to be a precision.
    """
    fim, link_form = log_sd_link()
    ridge = scalar(r"\lambda")
    steps = [
        same(
            BEND - GGN_ALONG,
            -((T_Y - SLOPE).T * Q),
            r"{prf:ref}`thm-family-fim` along $v$: this is what Gauss-Newton drops",
            tex=(rf"v^\top({HESSIAN}-{GGN_TEX})\,v", rf"-{RESIDUAL}"),
        ),
        same(
            Mean((T_Y - SLOPE).T * Q, r"\simpleE{\y}"),
            Const(sympy.Integer(0)),
            r"$\simpleE{\y}T=\nabla A$: the mean over the model's labels",
            tex=(rf"\simpleE{{\y}}\big[{RESIDUAL}\big]", "0"),
        ),
        at_least(
            JAC.T * LAMBDA * JAC,
            Zero("D", "D"),
            r"$\Lambda=\nabla^2\!A$ is a covariance",
            Congruences(((JAC, LAMBDA),)),
        ),
        at_least(
            P + GGN,
            P,
            r"so no update makes a precision smaller; and $\lambda I+\sum_i"
            r"\mathrm{GGN}_i\succeq\lambda I$",
            Congruences(((JAC, LAMBDA),)),
        ),
        same(
            (LINK * OUT).T * LAMBDA * (LINK * OUT),
            OUT.T * (LINK.T * LAMBDA * LINK) * OUT,
            r"other outputs $o$, $\prelogits=\zeta(o)$, $B=\nabla\zeta$, $J=BJ_o$: the "
            r"mean over labels still drops $\nabla^2\zeta$ and $\nabla^2o$",
        ),
        same(
            fim,
            link_form,
            r"for $o=(\mu,\log s)$, $\prelogits=(\tfrac\mu{s^2},-\tfrac1{2s^2})$",
            tex=(r"B^\top\nabla^2\!A\,B", r"\operatorname{diag}(s^{-2},\,2)"),
        ),
        same(
            log_sd_hessian()[0].det(),
            -2 * (LABEL - MU) ** 2 / S**4,
            r"but the Hessian of one label by these outputs is indefinite, "
            r"$e=(\y-\mu)/s$: $J_o$ around it makes no Fisher information",
            tex=(r"\det\nabla_o^2(-\log p)", r"-2e^2/s^2"),
        ),
    ]
    mean, signs, other, precision = (
        "tanh network: the mean of observed_information over labels is J' Λ J",
        "the same: negative eigenvalues for every label, none in network_roots",
        "network to (μ, log s): network_roots has B' ∇²A B by autodiff",
        "GaussianPosterior of network_roots: λI plus J' Λ J, with no eigenvalue < λ",
    )
    return evidence(
        steps,
        Check(mean, mean_hessian, ggn_gap, TIGHT),
        Check(signs, eigenvalues, wrong_signs, 0),
        Check(other, fisher.network_roots, other_outputs, TIGHT),
        Check(precision, network_precision, precision_gap, TIGHT),
        Mutant("bounded away from zero", 3, Sym("X", "D", "D", "pd")),
        Mutant("two updates for one", 4, P + GGN + GGN + ridge * Eye("D")),
        Mutant("as if they were natural", 6, natural_curvature()),
        Mutant("labels equally weighted", mean, equal_weights),
        Mutant("one label", mean, one_label),
        Mutant("diag(p) without pp'", mean, without_outer),
        Mutant("Gauss-Newton for the Hessian", signs, ggn_alone),
        Mutant("Hessian for Gauss-Newton", signs, hessians_alone),
        Mutant("as if they were natural", other, natural_roots),
        Mutant("s2 for 1/s2", other, inverse_variance),
        Mutant(
            "prior forgotten", precision, changed(network_precision, 3, lambda p: 1e-9)
        ),
        Mutant("Hessian for Gauss-Newton", precision, observed_precision),
    )


LABEL = sympy.Symbol("y", real=True)


def log_sd_link():
    """B' Lambda B for (mu, log s), B differentiated; and diag(1/s^2, 2)."""
    r = sympy.Symbol("r", real=True)
    natural = sympy.Matrix([MU * sympy.exp(-2 * r), -sympy.exp(-2 * r) / 2])
    link = natural.jacobian([MU, r]).subs(r, sympy.log(S))
    return link.T * natural_curvature() * link, fisher_of_log_sd()


def natural_curvature():
    s2 = S**2
    return sympy.Matrix([[s2, 2 * MU * s2], [2 * MU * s2, 2 * s2**2 + 4 * MU**2 * s2]])


def mean_hessian(model, inputs):
    """sum_y p_y of the observed information of the label y, (M, D, D)."""
    p = torch.softmax(model(inputs), 1).detach()
    return torch.einsum("mc,mcde->mde", p, each_label(model, inputs))


def by_jacobian(model, inputs):
    return wrong_curvature(model, inputs, lambda p: torch.diag(p) - torch.outer(p, p))


def ggn_gap(function, rng):
    model, inputs = tanh_network(rng)
    truth = by_jacobian(model, inputs)
    return max(
        gap(function(model, inputs), truth),
        gap(dense(fisher.network_roots(model, inputs)), truth),
    )


def eigenvalues(model, inputs):
    """Smallest eigenvalue at each label (M, C), and of the Fisher information (M,)."""
    lowest = torch.linalg.eigvalsh(each_label(model, inputs))[..., 0]
    exact = torch.tensor(dense(fisher.network_roots(model, inputs)))
    return lowest, torch.linalg.eigvalsh(exact)[:, 0]


def wrong_signs(function, rng):
    """How many labels have no negative eigenvalue, and matrices that have one."""
    model, inputs = tanh_network(rng)
    truth = torch.stack([by_autodiff(model, x)[2] for x in inputs])
    known = torch.linalg.eigvalsh(truth)[..., 0]
    labels, exact = function(model, inputs)
    misses = (labels > -1e-3).sum() + ((labels - known).abs() > 1e-8).sum()
    return int(misses + (exact < -1e-10).sum())


def spread_network(rng):
    """A network from two inputs to (mu, log s), D = 17, and three inputs."""
    model = network(rng, 2, 3, 2, scale=0.7)
    return model, torch.tensor(rng.standard_normal((3, 2)))


def natural_jacobian(model, x):
    """Natural parameters z = (mu / s^2, -1 / (2 s^2)) and their Jacobian, autodiff."""

    def natural(t):
        mu, r = outputs(model, t, x)
        return torch.stack([mu * torch.exp(-2 * r), -torch.exp(-2 * r) / 2])

    theta = flat(model)
    return natural(theta), torch.func.jacrev(natural)(theta)


def partition(z):
    return -(z[0] ** 2) / (4 * z[1]) - torch.log(-2 * z[1]) / 2


def other_outputs(function, rng):
    model, inputs = spread_network(rng)
    truth = []
    for x in inputs:
        z, jac = natural_jacobian(model, x)
        truth.append(jac.T @ torch.func.hessian(partition)(z) @ jac)
    found = dense(function(model, inputs, GaussianMeanLogSd()))
    return gap(found, torch.stack(truth))


@worst
def precision_gap(function, rng):
    for prior in (1e-3, 0.1, 10.0):
        model, inputs = tanh_network(rng)
        truth = by_jacobian(model, inputs).sum(0)
        truth = truth + prior * torch.eye(len(truth)).double()
        found = function(model, inputs, torch.arange(len(inputs)) % CLASSES, prior)
        low = prior - float(torch.linalg.eigvalsh(found)[0])
        yield gap(found, truth)
        yield low


def equal_weights(model, inputs):
    return each_label(model, inputs).mean(1)


def one_label(model, inputs):
    return each_label(model, inputs)[:, 0]


def without_outer(model, inputs):
    return wrong_curvature(model, inputs, torch.diag)


def ggn_alone(model, inputs):
    _, exact = eigenvalues(model, inputs)
    return exact[:, None].expand(-1, CLASSES), exact


def hessians_alone(model, inputs):
    labels, _ = eigenvalues(model, inputs)
    return labels, labels[:, 0]


def natural_roots(model, inputs, family):
    """J_o' Lambda J_o, the factor B forgotten."""
    return with_curvature(model, inputs, family, family.fisher)


def inverse_variance(model, inputs, family):
    """diag(s^2, 2) for diag(1 / s^2, 2)."""

    def curvature(z):
        s2 = -1 / (2 * z[:, 1])
        return torch.diag_embed(torch.stack([s2, torch.full_like(s2, 2)], 1))

    return with_curvature(model, inputs, family, curvature)


def with_curvature(model, inputs, family, curvature):
    """J_o' X J_o with X (M, 2, 2) a function of the natural parameters."""
    outputs = model(inputs).detach()
    right = fisher.network_roots(model, inputs, family).dense()
    # Rows of a root are U' J_o with an invertible U.
    back = torch.linalg.inv(family.output_root(outputs)).mT
    jac = back @ right
    return rooted(jac.mT @ curvature(family.natural(outputs)) @ jac)

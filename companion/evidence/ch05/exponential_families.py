"""Fisher information of an exponential family in its natural parameters: T16.

log p(y|z) = z' T(y) - A(z) + log h(y) with z = f(x; theta). J is the Jacobian of the C
outputs, Lambda the Hessian of A, q_k = v' grad^2 f_k v the bend of output k along v.
"""

import functools

import sympy
import torch

from companion.evidence.ch04.label_network import CLASSES, flat, tanh_network
from companion.evidence.chain_rule import chain_rule
from companion.evidence.draws import TIGHT, dense, gap, network, outputs, worst
from companion.evidence.generic import EachEntry, entry
from companion.evidence.generic import S as Z_I
from companion.evidence.generic import T as Z_J
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.evidence.notation import HESSIAN, JAC, LAMBDA, ONE, C, same
from companion.proof import *
from companion.proof.calculus import at_zero_of
from fimlib import fisher
from fimlib.families import Poisson
from fimlib.fisher import FisherRoots

GGN_TEX = r"J^\top\nabla^2\!A\,J"
RESIDUAL_TEX = r"\textstyle\sum_k(T_k-\partial_kA)"

LINE = scalar("t", positive=None, real=True)
V, Q = Sym("v", "D"), Sym("q", C)
SLOPE = Sym(r"\nabla A", C)
T_Y = Sym("T", C, mean=SLOPE)
GGN_ALONG = V.T * JAC.T * LAMBDA * JAC * V


def bend(loss):
    """Second derivative at t = 0 of a formula in t."""
    return at_zero_of(derivative(derivative(loss, LINE), LINE), LINE)


def along(move):
    """-log p up to a constant, to second order, where the outputs move from z."""
    return SLOPE.T * move + HALF * move.T * LAMBDA * move - T_Y.T * move


# A family with n labels: their probabilities, and T(y) stacked.
ONES = ones(r"\mathbf 1", "n")
PROBS = probabilities("p", ONES)
PI = diagonal(r"\Pi", PROBS)
SUFFICIENT = Sym("T", "n", C)
# The probabilities sum to one, differentiated once and twice.
ROW_A = solution(
    r"\nabla A",
    lambda row: ONES.T * PI * (SUFFICIENT - ONES * row),
    PROBS.T * SUFFICIENT,
)
CENTRED = SUFFICIENT - ONES * ROW_A
CURVATURE = solution(
    r"\nabla^2\!A",
    lambda bend: CENTRED.T * PI * CENTRED - ONES.T * PI * ONES * bend,
    CENTRED.T * PI * CENTRED,
)
SIMPLEX = (Given(PI * ONES, PROBS), Given(ONES.T * PROBS, ONE))
ONCE = Given(ONES.T * PI * CENTRED, Zero(1, C))
TWICE = Given(CENTRED.T * PI * CENTRED - ONES.T * PI * ONES * CURVATURE, Zero(C, C))


BEND = bend(along(LINE * JAC * V + HALF * LINE * LINE * Q))


@claim("T16", HOLDS, "thm-family-fim eq-family-fim")
def t16():
    left, right = chain_rule()
    curved, factored = natural_density()
    steps = [
        same(
            left,
            right,
            r"chain rule for a generic $A$ of three outputs, entry $(i,j)$, so for "
            r"any $D$; $T^\top f$ gives $T_k$, and $\log h(\y)$ nothing",
            tex=(rf"{HESSIAN}", rf"{GGN_TEX}-{RESIDUAL_TEX}\nabla^2f_k"),
        ),
        same(
            BEND,
            GGN_ALONG - (T_Y - SLOPE).T * Q,
            r"and any $\numclasses$: along $\w+tv$, to second order, $f=\prelogits+tJv"
            r"+\tfrac12t^2q$ with $q_k=v^\top\nabla^2f_k\,v$, and $A$ likewise",
            tex=(rf"v^\top{HESSIAN}v", rf"v^\top {GGN_TEX}\,v-(T-\nabla A)^\top q"),
        ),
        same(
            PROBS.T * SUFFICIENT,
            ROW_A,
            r"$\nabla p_{\y}=p_{\y}\,(T(\y)-\nabla A)$, and $\sum_{\y}p_{\y}=1$ "
            "differentiated once; an integral of a regular family likewise",
            *SIMPLEX,
            ONCE,
            tex=(r"\simpleE{\y}T(\y)", r"\nabla A"),
        ),
        EachEntry(
            curved,
            "=",
            factored,
            r"entry $(i,j)$ of $\nabla^2_{\prelogits}\,p_{\y}$, for a generic $A$",
            tex=(
                r"\partial_i\partial_j\,p_{\y}",
                r"p_{\y}\big[(T_i-\partial_iA)(T_j-\partial_jA)-\partial_i\partial_jA"
                r"\big]",
            ),
        ),
        same(
            SUFFICIENT.T * PI * SUFFICIENT - (PROBS.T * SUFFICIENT).T * ROW_A,
            CURVATURE,
            r"line 4 and $\sum_{\y}p_{\y}=1$ differentiated twice: $A$ bends by the "
            r"covariance of $T$",
            *SIMPLEX,
            ONCE,
            TWICE,
            tex=(r"\implicitCov{T(\Y)}", r"\nabla^2\!A"),
        ),
        same(
            Mean(BEND, r"\simpleE{\y}"),
            GGN_ALONG,
            "lines 2 and 3: the mean of the residual is 0, and no expectation is left",
            tex=(
                rf"v^\top F_{{\x}}v=\simpleE{{\y}}[v^\top{HESSIAN}v]",
                rf"v^\top {GGN_TEX}\,v",
            ),
        ),
    ]
    observed, exact, counts = (
        "observed_information, tanh network, D = 21: line 1 from autodiff's pieces",
        "network_roots: J' Λ J from autodiff's Jacobian",
        "two Poisson counts: network_roots is the mean Hessian over 900 labels",
    )
    h, roots = fisher.observed_information, fisher.network_roots
    return evidence(
        steps,
        Check(observed, h, pieces_gap, TIGHT),
        Check(exact, roots, jacobian_gap, TIGHT),
        Check(counts, roots, counts_gap, TIGHT),
        Mutant("mean square for covariance", 5, CURVATURE + ROW_A.T * ROW_A),
        Mutant("sign of the residual", observed, flipped_residual),
        Mutant("residual forgotten", observed, ggn_of),
        Mutant("diag(p) without pp'", observed, without_outer),
        Mutant("diag(p) without pp'", exact, without_outer_roots),
        Mutant("Jacobian of the last layer transposed", exact, transposed_last),
        Mutant("curvature left out", exact, jacobian_alone),
        Mutant("a rate for its logarithm", counts, curvature_of_rates),
        Mutant("one output of two", counts, first_output),
    )


def natural_density():
    """Entry (i, j) of the Hessian of h exp(z'T - A), and p times its factor."""
    h = sympy.Symbol("h", positive=True)
    first, second = sympy.symbols("T_i T_j", real=True)
    A = sympy.Function("A", real=True)(Z_I, Z_J)
    p = h * sympy.exp(Z_I * first + Z_J * second - A)
    slopes = (first - A.diff(Z_I)) * (second - A.diff(Z_J))
    return entry(p), p * (slopes - A.diff(Z_I, Z_J))


def pieces(model, x):
    """J (C, D), Lambda (C, C), p (C,) and grad^2 f_k (C, D, D), all by autodiff."""
    theta, of_model = flat(model), functools.partial(outputs, model, x=x)
    jac = torch.func.jacrev(of_model)(theta)
    bends = torch.func.hessian(of_model)(theta)
    z = of_model(theta)
    lam = torch.func.hessian(lambda z: z.logsumexp(0))(z)
    return jac, lam, torch.softmax(z, 0), bends


@worst
def pieces_gap(function, rng):
    model, inputs = tanh_network(rng)
    for label in range(CLASSES):
        truth = []
        for x in inputs:
            jac, lam, p, bends = pieces(model, x)
            residual = torch.eye(CLASSES).double()[label] - p
            truth.append(jac.T @ lam @ jac - torch.einsum("k,kde->de", residual, bends))
        found = function(model, inputs, torch.full((len(inputs),), label))
        yield gap(found, torch.stack(truth))


def jacobian_gap(function, rng):
    model, inputs = tanh_network(rng)
    all_pieces = [pieces(model, x)[:2] for x in inputs]
    truth = torch.stack([jac.T @ lam @ jac for jac, lam in all_pieces])
    return gap(dense(function(model, inputs)), truth)


def count_network(rng):
    """Inputs through a tanh layer to two log rates, D = 13, and one input (1, 2)."""
    model = network(rng, 2, 2, 2, scale=0.5)
    return model, torch.tensor(rng.standard_normal((1, 2)))


def counts_gap(function, rng):
    """Against sum_y p_y Hess(-log p_y) over 30 x 30 counts."""
    model, x = count_network(rng)
    counts = torch.cartesian_prod(*[torch.arange(30.0).double()] * 2)

    def loss(t):
        rates = outputs(model, t, x[0])
        each = counts * rates - rates.exp() - torch.lgamma(counts + 1)
        return -each.sum(1)

    theta = flat(model)
    p = torch.exp(-loss(theta))
    if abs(float(p.sum()) - 1) > 1e-12:
        raise ArithmeticError("the counts do not hold all of the probability")
    truth = torch.func.hessian(lambda t: p @ loss(t))(theta)
    return gap(dense(function(model, x, Poisson()))[0], truth)


def ggn_of(model, inputs, labels):
    return torch.tensor(dense(fisher.network_roots(model, inputs)))


def flipped_residual(model, inputs, labels):
    right = fisher.observed_information(model, inputs, labels)
    return 2 * ggn_of(model, inputs, labels) - right


def wrong_curvature(model, inputs, curvature):
    """J' X J for X = curvature(p)."""
    found = [pieces(model, x) for x in inputs]
    return torch.stack([jac.T @ curvature(p) @ jac for jac, _, p, _ in found])


def without_outer(model, inputs, labels):
    extra = wrong_curvature(model, inputs, lambda p: torch.outer(p, p))
    return fisher.observed_information(model, inputs, labels) + extra


def rooted(matrices):
    """Roots of psd matrices (M, D, D)."""
    values, vectors = torch.linalg.eigh(matrices)
    return FisherRoots.from_dense(
        (vectors * values.clamp(min=0).sqrt()[:, None, :]).mT.contiguous()
    )


def without_outer_roots(model, inputs):
    return rooted(wrong_curvature(model, inputs, torch.diag))


def jacobian_alone(model, inputs):
    return rooted(wrong_curvature(model, inputs, lambda p: torch.eye(len(p)).double()))


def transposed_last(model, inputs):
    rows = fisher.network_roots(model, inputs).dense().clone()
    rows[..., 9:18] = rows[..., 9:18].unflatten(-1, (3, 3)).mT.flatten(-2)
    return FisherRoots.from_dense(rows)


def curvature_of_rates(model, inputs, family):
    """As if the outputs were rates: 1 / rate for the curvature, not the rate."""
    rows = fisher.network_roots(model, inputs, family).dense()
    rates = model(inputs).detach().exp()
    return FisherRoots.from_dense(rows / rates[:, :, None])


def first_output(model, inputs, family):
    rows = fisher.network_roots(model, inputs, family).dense()
    return FisherRoots.from_dense(rows[:, :1])

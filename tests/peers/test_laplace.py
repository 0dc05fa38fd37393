"""laplace-torch: the Laplace approximation of a last layer, and of a whole network.

Its curvature is a sum over the examples, as fimlib's; the prior precision stands apart
from it. Parameters are in torch's order. Scores are made from its matrices the way of
the paper that proposed them: one D x D determinant an example.
"""

import copy
import math

import pytest
import torch
from conversions import C, D, E, N, agree, in_torch_order, peer, torch_order

from fimlib.families import Categorical, Gaussian
from fimlib.information import eig, epig_proxy, jepig_proxy
from fimlib.posterior import GaussianPosterior, marglik_precision

laplace = peer("laplace-torch", "laplace")
asdl = peer("asdfghjkl", "laplace.curvature.asdl")
backpack = peer("backpack-for-pytorch", "laplace.curvature.backpack")
curvlinops = peer("curvlinops-for-pytorch", "laplace.curvature.curvlinops")

PRIOR_PRECISION = 0.7

# Both sides compute in float64, on matrices of a condition below 100.
TOLERANCE = 1e-13
# laplace-torch accumulates in the model's type: in float32 each of the N C terms of an
# entry is rounded at 6e-8. fimlib accumulates the same float32 features in float64.
SINGLE = 2e-6

BACKENDS = [asdl.AsdlGGN, backpack.BackPackGGN, curvlinops.CurvlinopsGGN]
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def fitted(problem, backend=curvlinops.CurvlinopsGGN, subset="last_layer"):
    # Some backends leave hooks on the model they are given: this is a copy.
    theirs = laplace.Laplace(
        copy.deepcopy(problem.model),
        "classification",
        subset_of_weights=subset,
        hessian_structure="full",
        prior_precision=PRIOR_PRECISION,
        backend=backend,
    )
    theirs.fit(problem.loader())
    return theirs


def ggn(theirs, inputs):
    """The curvature of these inputs alone: the GGN does not depend on the labels."""
    labels = torch.zeros(len(inputs), dtype=torch.long)
    return theirs.backend.full(inputs, labels)[1].double()


def log_det(matrix):
    return torch.linalg.slogdet(matrix).logabsdet


def posterior(problem):
    return GaussianPosterior.from_roots(problem.roots(problem.train), PRIOR_PRECISION)


@every_backend
def test_the_curvature_of_the_last_layer(problem, backend):
    theirs, ours = fitted(problem, backend), problem.roots(problem.train).fisher_sum()
    agree(in_torch_order(ours), theirs.H, TOLERANCE)


def test_the_order_of_parameters_matters():
    order = torch_order()
    assert sorted(order.tolist()) == list(range(D))
    layer = torch.nn.Linear(6, C)
    with_bias = torch.cat([layer.weight, layer.bias[:, None]], dim=1).flatten()
    torch_flat = torch.nn.utils.parameters_to_vector(layer.parameters())
    assert torch.equal(with_bias[order], torch_flat)
    assert not torch.equal(with_bias, torch_flat)


def test_the_posterior(problem):
    theirs, post = fitted(problem), posterior(problem)
    agree(in_torch_order(post.precision), theirs.posterior_precision, TOLERANCE)
    agree(in_torch_order(post.covariance), theirs.posterior_covariance, TOLERANCE)
    agree(post.log_det_precision, theirs.log_det_posterior_precision, TOLERANCE)


@every_backend
def test_the_expected_information_gains(problem, backend):
    theirs, post = fitted(problem, backend), posterior(problem)
    ratios = [
        torch.linalg.solve(theirs.posterior_precision, ggn(theirs, x[None]))
        for x in problem.pool
    ]
    by_log_det = torch.stack([log_det(torch.eye(D) + a) / 2 for a in ratios])
    by_trace = torch.stack([a.trace() / 2 for a in ratios])
    roots = problem.roots(problem.pool)
    agree(eig(roots, post), by_log_det, TOLERANCE)
    agree(eig(roots, post, form="trace"), by_trace, TOLERANCE)


def test_the_predictive_proxies(problem):
    # The paper's scores leave out the 1/2, which fimlib keeps; EPIG divides the
    # evaluation information by E, JEPIG does not.
    theirs, post = fitted(problem), posterior(problem)
    information = ggn(theirs, problem.evals)
    ratios = [
        torch.linalg.solve(
            theirs.posterior_precision + ggn(theirs, x[None]), information
        )
        for x in problem.pool
    ]
    scores = {
        (name, form): torch.stack([score(a / count) for a in ratios])
        for name, count in (("jepig", 1), ("epig", E))
        for form, score in (
            ("log_det", lambda a: log_det(torch.eye(D) + a)),
            ("trace", torch.trace),
        )
    }
    roots, evals = problem.roots(problem.pool), problem.roots(problem.evals)
    for form in ("log_det", "trace"):
        for name, proxy in (("jepig", jepig_proxy), ("epig", epig_proxy)):
            ours = proxy(roots, evals, post, form=form)
            agree(2 * ours, scores[name, form], TOLERANCE)


def test_the_marginal_likelihood(problem):
    theirs, post = fitted(problem), posterior(problem)
    log_prob = Categorical().log_prob(problem.model(problem.train), problem.labels)
    prior = D * math.log(PRIOR_PRECISION) - PRIOR_PRECISION * theirs.mean @ theirs.mean
    ours = log_prob.sum() - (post.log_det_precision - prior) / 2
    agree(ours, theirs.log_marginal_likelihood(), TOLERANCE)


def test_the_prior_precision_is_where_the_marginal_likelihood_is_stationary(problem):
    theirs = fitted(problem)
    theta = torch.empty(D).index_copy_(0, torch_order(), theirs.mean)
    best = marglik_precision(problem.roots(problem.train), theta)
    log_precision = torch.tensor([math.log(best)], requires_grad=True)
    value = theirs.log_marginal_likelihood(log_precision.exp())
    (slope,) = torch.autograd.grad(value, log_precision)
    # The slope is the difference of two numbers of size best |theta|^2 / 2.
    assert abs(float(slope)) <= TOLERANCE * best * float(theta.square().sum())
    for other in (best / 1.1, best * 1.1):
        assert theirs.log_marginal_likelihood(torch.tensor([other])) < value


def test_the_prior_precision_it_finds_by_descent(problem):
    theirs = fitted(problem)
    theta = torch.empty(D).index_copy_(0, torch_order(), theirs.mean)
    best = marglik_precision(problem.roots(problem.train), theta)
    theirs.optimize_prior_precision(pred_type="glm", method="marglik", n_steps=300)
    # 300 steps of Adam at a constant rate settle to about 1e-7.
    agree(torch.tensor([best]), theirs.prior_precision, 1e-5)


def test_regression_divides_by_the_noise_variance(problem):
    # sigma_noise is a standard deviation.
    sigma = 1.3
    targets = torch.linspace(-1.0, 1.0, N * C).view(N, C)
    theirs = laplace.Laplace(
        copy.deepcopy(problem.model),
        "regression",
        subset_of_weights="last_layer",
        hessian_structure="full",
        prior_precision=PRIOR_PRECISION,
        sigma_noise=sigma,
        backend=curvlinops.CurvlinopsGGN,
    )
    theirs.fit(problem.loader(targets))
    train = problem.roots(problem.train, family=Gaussian(sigma**2))
    post = GaussianPosterior.from_roots(train, PRIOR_PRECISION)
    agree(in_torch_order(post.precision), theirs.posterior_precision, TOLERANCE)
    agree(post.log_det_precision, theirs.log_det_posterior_precision, TOLERANCE)


@pytest.mark.parametrize("backend", [asdl.AsdlGGN, curvlinops.CurvlinopsGGN])
def test_the_curvature_of_a_network(problem, backend):
    train = problem.network_roots(problem.train)
    post = GaussianPosterior.from_roots(train, PRIOR_PRECISION)
    theirs = fitted(problem, backend, subset="all")
    agree(train.fisher_sum(), theirs.H, TOLERANCE)
    agree(post.log_det_precision, theirs.log_det_posterior_precision, TOLERANCE)


@every_backend
def test_a_float32_model_agrees_to_float32(single_problem, backend):
    problem = single_problem
    theirs, post = fitted(problem, backend), posterior(problem)
    assert theirs.H.dtype == torch.float32
    ours = problem.roots(problem.train).fisher_sum()
    assert ours.dtype == torch.float64
    agree(in_torch_order(ours), theirs.H, SINGLE)
    agree(post.log_det_precision, theirs.log_det_posterior_precision, SINGLE)

"""Observed information of networks against autodiff of the likelihood."""

import copy
import math

import pytest
import torch
from cases import fishers, normal
from networks import CLASSES, COUNT, WIDTH, jacobians, mlp, models, seeded
from torch import nn

from fimlib.families import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    Gaussian,
    GaussianMeanLogSd,
    GaussianMeanVariance,
    MultivariateGaussian,
    Poisson,
)
from fimlib.fisher import network_roots, observed_information

FAMILIES = {
    "categorical": (Categorical(), 4, torch.tensor([0, 1, 2, 3, 3, 0, 1])),
    "bernoulli": (Bernoulli(), 1, torch.tensor([0, 1, 1, 0, 1, 0, 0])),
    "binomial": (Binomial(5), 2, torch.arange(14).view(7, 2) % 6),
    "poisson": (Poisson(), 2, torch.arange(14).view(7, 2)),
    "gaussian": (Gaussian(0.3), 2, normal(7, 2, seed=5)),
    "multivariate": (
        MultivariateGaussian([[1.3, 0.4], [0.4, 0.9]]),
        2,
        normal(7, 2, seed=5),
    ),
    "mean and variance": (GaussianMeanVariance(), 2, normal(7, seed=5)),
    "mean and log sd": (GaussianMeanLogSd(), 2, normal(7, seed=5)),
    "exponential": (Exponential(), 1, normal(7, seed=5).abs()),
}


class Negative(nn.Module):
    """Makes the last output negative, as some natural parameters are."""

    def forward(self, x):
        return torch.cat([x[:, :-1], -nn.functional.softplus(x[:, -1:])], -1)


def family_case(name):
    family, outputs, labels = FAMILIES[name]
    model = mlp(outputs)
    if name in ("mean and variance", "exponential"):
        model = nn.Sequential(*model, Negative())
    return family, model, normal(COUNT, WIDTH), labels


def negative_log_prob(name, out, label):
    """-log p of one example up to a constant, written here for autodiff."""
    if name == "categorical":
        return out.logsumexp(0) - out[label]
    if name == "bernoulli":
        return nn.functional.softplus(out[0]) - label * out[0]
    if name == "binomial":
        return (5 * nn.functional.softplus(out) - label * out).sum()
    if name == "poisson":
        return (out.exp() - label * out).sum()
    if name == "exponential":
        return -(-out[0]).log() - out[0] * label
    if name == "gaussian":
        return (out - label).square().sum() / 0.6
    if name == "multivariate":
        covariance = torch.tensor([[1.3, 0.4], [0.4, 0.9]], dtype=torch.float64)
        return (out - label) @ torch.linalg.solve(covariance, out - label) / 2
    if name == "mean and variance":
        partition = -(out[0] ** 2) / (4 * out[1]) - (-2 * out[1]).log() / 2
        return partition - out[0] * label - out[1] * label**2
    return (label - out[0]) ** 2 * (-2 * out[1]).exp() / 2 + out[1]


def flat_function(model):
    """theta (D,) and x to outputs (C,), for autodiff."""
    shapes = {name: p.shape for name, p in model.named_parameters()}

    def function(theta, x):
        parts = theta.split([math.prod(shape) for shape in shapes.values()])
        named = {
            name: part.view(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        return torch.func.functional_call(model, named, (x[None],))[0]

    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    return function, theta


@pytest.mark.parametrize("name", FAMILIES)
def test_observed_information_is_the_autodiff_hessian(name):
    family, model, inputs, labels = family_case(name)
    function, theta = flat_function(model)
    found = observed_information(model, inputs, labels, family)
    for x, label, hessian in zip(inputs, labels, found, strict=True):
        expected = torch.func.hessian(
            lambda t, x=x, label=label: negative_log_prob(name, function(t, x), label)
        )(theta)
        torch.testing.assert_close(hessian, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in FAMILIES if "log sd" not in name])
def test_observed_information_is_jacobian_curvature_minus_residual(name):
    """claims T16: H'' = J^T Lambda J - sum_k (T_k - d_k A) grad^2 f_k."""
    family, model, inputs, labels = family_case(name)
    function, theta = flat_function(model)
    jacobian = jacobians(model, inputs)
    with torch.no_grad():
        outputs = model(inputs)
    root = family.output_root(outputs)
    found = observed_information(model, inputs, labels, family)
    score = family.output_gradient(outputs, labels)
    for i, x in enumerate(inputs):
        curvatures = torch.func.jacfwd(torch.func.jacrev(function))(theta, x)
        residual = -torch.einsum("k,kde->de", score[i], curvatures)
        half = jacobian[i].mT @ root[i]
        torch.testing.assert_close(
            found[i], half @ half.mT - residual, rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize(
    "name", ["recurrent", "attention", "convolution", "embedding", "tied"]
)
def test_observed_information_of_other_modules(name):
    model, inputs = models()[name]
    inputs, labels = inputs[:3], torch.tensor([0, 2, 1])
    found = observed_information(model, inputs, labels)
    model = copy.deepcopy(model).eval()
    parameters = dict(model.named_parameters())
    order = [p.numel() for p in parameters.values()]
    for i, x in enumerate(inputs):

        def loss(*leaves, x=x, label=labels[i]):
            named = dict(zip(parameters, leaves, strict=True))
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                out = torch.func.functional_call(model, named, (x[None],))
            return nn.functional.cross_entropy(out, label[None])

        leaves = tuple(p.detach() for p in parameters.values())
        blocks = torch.autograd.functional.hessian(loss, leaves)
        rows = [
            torch.cat([b.reshape(a, c) for b, c in zip(row, order, strict=True)], 1)
            for row, a in zip(blocks, order, strict=True)
        ]
        torch.testing.assert_close(found[i], torch.cat(rows), rtol=1e-9, atol=1e-11)


def test_mean_of_the_observed_information_is_the_fisher_information():
    """claims T14: weighted by the model's own probabilities, whatever the network."""
    model, inputs = mlp(), normal(COUNT, WIDTH)
    with torch.no_grad():
        p = model(inputs).softmax(-1)
    each = [
        observed_information(model, inputs, torch.full((COUNT,), y))
        for y in range(CLASSES)
    ]
    mean = torch.einsum("my,ymij->mij", p, torch.stack(each))
    expected = fishers(network_roots(model, inputs))
    torch.testing.assert_close(mean, expected, rtol=1e-11, atol=1e-12)
    # claims T20: a network's observed information may be indefinite, its FIM is not.
    assert torch.linalg.eigvalsh(torch.stack(each)).min() < -1e-2
    assert torch.linalg.eigvalsh(expected).min() > -1e-12


@pytest.mark.parametrize(
    "name", ["categorical", "bernoulli", "binomial", "poisson", "gaussian"]
)
def test_generalised_linear_models_have_one_observed_information(name):
    """claims T18: linear natural parameters make it the FIM for every label."""
    family, outputs, labels = FAMILIES[name]
    model, inputs = seeded(nn.Linear(WIDTH, outputs)), normal(COUNT, WIDTH)
    expected = fishers(network_roots(model, inputs, family))
    for y in (labels, labels.flip(0)):
        torch.testing.assert_close(
            observed_information(model, inputs, y, family),
            expected,
            rtol=1e-11,
            atol=1e-12,
        )


def test_mean_and_log_sd_depend_on_the_label_even_in_a_linear_model():
    """claims T17: parameters that are not natural break T18."""
    model, inputs = seeded(nn.Linear(WIDTH, 2)), normal(COUNT, WIDTH)
    family, labels = GaussianMeanLogSd(), normal(COUNT, seed=5)
    fisher = fishers(network_roots(model, inputs, family))
    observed = observed_information(model, inputs, labels, family)
    assert (observed - fisher).abs().amax((1, 2)).min() > 1e-2

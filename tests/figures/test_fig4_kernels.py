"""The features of Figure 4: gradients, sketches, transforms and ensembles."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch

from fimlib.figures.fig4.kernels import (
    acs_features,
    ensemble_features,
    given_train,
    gradient_factors,
    scaled_to_train,
    sketched_gradients,
)
from fimlib.figures.fig4.mlp import Stack

INPUTS, HIDDEN, COUNT = 3, (7, 5), 11
POOL, TRAIN, WIDTH = 13, 17, 5


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=source(seed), dtype=torch.float64)


def network(dtype=torch.float64, count=1):
    """Networks with biases that are not 0."""
    sizes = [INPUTS, *HIDDEN, 1]
    pairs = list(pairwise(sizes))
    weights = [4 * normal(count, *pair, seed=i) for i, pair in enumerate(pairs)]
    biases = [normal(count, 1, out, seed=50 + out) for _, out in pairs]
    return Stack([w.to(dtype) for w in weights], [b.to(dtype) for b in biases])


def by_autograd(stack, x):
    """Gradients with respect to all parameters, a matrix (in + 1, out) a layer."""
    found = []
    for row in x:
        for tensor in stack.parameters():
            tensor.requires_grad_()
        output = stack.outputs(row[None, None])[0, 0]
        parts = torch.autograd.grad(output, stack.parameters())
        layers = len(stack.weights)
        found.append(
            [torch.cat([parts[i][0], parts[layers + i][0]]) for i in range(layers)]
        )
    return found


def kernel_of_gradients(x):
    flat = [
        torch.cat([part.flatten() for part in g]) for g in by_autograd(network(), x)
    ]
    return torch.stack(flat) @ torch.stack(flat).mT


def test_the_factors_make_up_the_gradients_of_autograd():
    x = normal(COUNT, INPUTS, seed=9)
    factors = gradient_factors(network(), x)
    assert [tuple(a.shape) for a, _ in factors] == [(11, 4), (11, 8), (11, 6)]
    every = by_autograd(network(), x)
    assert sum(all(part.abs().max() > 1e-3 for part in one) for one in every) > 5
    for i, wanted in enumerate(every):
        for (left, right), part in zip(factors, wanted, strict=True):
            torch.testing.assert_close(
                torch.outer(left[i], right[i]), part, rtol=1e-10, atol=1e-12
            )


def test_factors_have_the_type_of_the_network_and_no_graph():
    stack = network(torch.float32)
    for tensor in stack.parameters():
        tensor.requires_grad_()
    factors = gradient_factors(stack, normal(COUNT, INPUTS))
    for found in (part for pair in factors for part in pair):
        assert found.dtype == torch.float32
        assert not found.requires_grad


def z_scores(columns, other, wanted):
    """How many standard errors the mean product of iid columns is from `wanted`."""
    products = columns * other
    error = products.std(1) / products.shape[1] ** 0.5
    return (products.mean(1) - wanted) / error, error


def assert_unbiased(found, wanted, precision):
    """Inner products of features whose columns are iid have this mean."""
    columns = found * found.shape[1] ** 0.5
    i, j = torch.tril_indices(len(found), len(found))
    scores, errors = z_scores(columns[i], columns[j], wanted[i, j])
    assert scores.abs().max() < 4.5
    # It would see a constant that is wrong by a twentieth.
    assert errors[i == j].max() < precision * wanted.diagonal().max()


def test_sketches_are_unbiased_for_the_kernel_of_full_gradients():
    x = normal(3, INPUTS, seed=9)
    found = sketched_gradients(network(), x, 300_000, source())
    assert_unbiased(found, kernel_of_gradients(x), 0.02)


def test_a_sketch_is_the_same_for_every_row_and_type():
    x = normal(4099, INPUTS, seed=9)  # more than a chunk
    found = sketched_gradients(network(), x, 23, source())
    assert found.shape == (4099, 23)
    few = sketched_gradients(network(), x[4090:], 23, source())
    torch.testing.assert_close(found[4090:], few, rtol=1e-12, atol=1e-12)
    single = sketched_gradients(network(torch.float32), x, 23, source())
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, found, rtol=1e-4, atol=1e-4)


def test_the_scale_is_the_mean_squared_length_of_the_training_rows():
    pool, train = normal(POOL, WIDTH), 3 * normal(TRAIN, WIDTH, seed=1)
    scaled = scaled_to_train(pool, train)
    assert float((scaled[1] @ scaled[1].mT).trace()) == pytest.approx(TRAIN, rel=1e-12)
    ratio = scaled[0] / pool
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio))
    torch.testing.assert_close(scaled[1] / train, ratio[:1, :1].expand_as(train))


def posterior_kernel(rows, train, noise):
    """The closed form, in 40 digits: nothing is lost where the noise is small."""
    with mpmath.workdps(40):
        rows, train = (mpmath.matrix(part.tolist()) for part in (rows, train))
        cross = rows * train.T
        noisy = train * train.T + noise**2 * mpmath.eye(train.rows)
        found = rows * rows.T - cross * mpmath.inverse(noisy) * cross.T
        return torch.tensor(np.array(found.tolist(), dtype=float))


@pytest.mark.parametrize("noise", [1e-3, 0.3])
@pytest.mark.parametrize("count", [1, 3, TRAIN])
def test_the_posterior_kernel_given_the_training_rows(count, noise):
    pool, train = normal(POOL, WIDTH), normal(count, WIDTH, seed=1)
    found = torch.cat(given_train(pool, train, noise))
    wanted = posterior_kernel(torch.cat([pool, train]), train, noise)
    torch.testing.assert_close(found @ found.mT, wanted, rtol=1e-9, atol=1e-12)


def acs_kernel(pool, train, noise):
    """E[g g^T] of the expected log-likelihoods g in closed form, for f ~ N(0, C)."""
    cov = posterior_kernel(pool, train, noise)
    ratio = cov.diagonal() / noise**2
    mean = ratio.log1p() / 2 - ratio
    return torch.outer(mean, mean) + cov.square() / (2 * noise**4)


@pytest.mark.parametrize("noise", [0.7, 1.9])
def test_acs_features_have_the_acs_kernel(noise):
    pool, train = normal(3, WIDTH), normal(TRAIN, WIDTH, seed=1)
    found = acs_features(pool, train, 400_000, source(), noise)
    assert_unbiased(found, acs_kernel(pool, train, noise), 0.02)


def test_the_benchmark_leaves_out_a_factor_of_the_covariance():
    pool, train = normal(3, WIDTH), normal(TRAIN, WIDTH, seed=1)
    found = acs_features(pool, train, 400_000, source(), 0.7, "benchmark")
    cov = posterior_kernel(pool, train, 0.7) / 0.7**2
    ratio = cov.diagonal() / 0.7**2
    mean = ratio.log1p() / 2 - ratio
    wanted = torch.outer(mean, mean) + cov.square() / (2 * 0.7**4)
    assert_unbiased(found, wanted, 0.02)


@pytest.mark.parametrize("count", [2, TRAIN])
def test_the_form_with_an_unknown_noise(count):
    pool, train = normal(3, WIDTH), normal(count, WIDTH, seed=1)
    targets = normal(count, seed=2) + 1
    found = acs_features(pool, train, 400_000, source(), form="hyper", targets=targets)
    cov = posterior_kernel(pool, train, 1.0)
    # Of a Student t: a~ = 1 + N / 2, b~ = 1 + y^T (I + X X^T)^{-1} y / 2.
    inverse = torch.linalg.inv(torch.eye(count, dtype=torch.float64) + train @ train.mT)
    ratio = (1 + targets @ inverse @ targets / 2) / (1 + count / 2)
    variance = cov.diagonal()
    mean = -(math.log(2 * math.pi) + variance + ratio * (1 + variance)) / 2
    assert_unbiased(found, torch.outer(mean, mean) + cov.square() / 2, 0.02)


def test_ensemble_features_have_the_empirical_covariance():
    predictions = normal(5, COUNT) + 7
    found = ensemble_features(predictions)
    assert found.shape == (COUNT, 5)
    wanted = torch.tensor(np.cov(predictions.T.numpy(), bias=True))
    torch.testing.assert_close(found @ found.mT, wanted, rtol=1e-12, atol=1e-13)
    assert torch.linalg.matrix_rank(found) == 4


def test_an_ensemble_of_float32_is_centred_in_float64():
    predictions = (normal(5, COUNT) * 1e-3 + 7).float()
    found = ensemble_features(predictions)
    torch.testing.assert_close(found, ensemble_features(predictions.double()))
    assert found.dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradient_factors(network(count=2), normal(3, 3)), "stack must hold"),
        (
            lambda: gradient_factors(network(), normal(3, 2)),
            r"x must have shape \(n, 3",
        ),
        (lambda: sketched_gradients(network(), normal(3, 3), 0), "width must be"),
        (lambda: scaled_to_train(normal(3, 2), torch.zeros(3, 2)), "train must have a"),
        (lambda: scaled_to_train(normal(3, 2), normal(3, 5)), "train must have shape"),
        (lambda: given_train(normal(3, 2), normal(0, 2)), "train must hold"),
        (
            lambda: given_train(normal(3, 2), normal(3, 2), 0.0),
            "noise must be positive",
        ),
        (lambda: given_train(normal(3), normal(3, 2)), "pool must have shape"),
        (
            lambda: acs_features(normal(3, 2), normal(3, 2), 5, form="other"),
            "form must be one of",
        ),
        (
            lambda: acs_features(normal(3, 2), normal(3, 2), 5, form="hyper"),
            "targets must be given",
        ),
        (
            lambda: acs_features(
                normal(3, 2), normal(3, 2), 5, form="hyper", targets=normal(5)
            ),
            r"targets must have shape \(3,\)",
        ),
        (lambda: ensemble_features(normal(3)), "predictions must have shape"),
        (lambda: ensemble_features(normal(0, 3)), "predictions must hold"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Log-partitions of all families, and their derivatives and moments."""

import math

import numpy as np
import pytest
import scipy.integrate
import torch
from cases import normal
from family_cases import COVARIANCE, log_partitions

from fimlib.families import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    ExponentialFamily,
    Gaussian,
    GaussianMeanLogSd,
    GaussianMeanVariance,
    MultivariateGaussian,
    Poisson,
)

# Every family below is compared with formulas written here again, from the densities.


@pytest.mark.parametrize("name", log_partitions())
def test_mean_and_fisher_are_autodiff_derivatives_of_the_log_partition(name):
    family, partition, z = log_partitions()[name]
    assert isinstance(family, ExponentialFamily)

    def same(found, expected):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)

    same(family.log_partition(z), torch.stack([partition(row) for row in z]))
    same(family.mean(z), torch.stack([torch.func.grad(partition)(row) for row in z]))
    hessian = torch.stack([torch.func.hessian(partition)(row) for row in z])
    same(family.fisher(z), hessian)
    root = family.fisher_root(z)
    same(root @ root.mT, hessian)


@pytest.mark.parametrize("z", [-3.0, 0.0, 0.4, 2.5])
def test_discrete_log_partitions_are_sums_over_the_labels(z):
    """A(z) = log sum_y h(y) e^{zy}, with h from the definition of the family."""
    for family, weights in (
        (Bernoulli(), [1, 1]),
        (Binomial(5), [math.comb(5, k) for k in range(6)]),
        (Poisson(), [1 / math.factorial(k) for k in range(120)]),
    ):
        total = math.fsum(w * math.exp(z * k) for k, w in enumerate(weights))
        found = family.log_partition([[z]]).item()
        assert found == pytest.approx(math.log(total), rel=1e-13, abs=0)
        labels = torch.arange(len(weights))
        rows = torch.full((len(weights), 1), z, dtype=torch.float64)
        log_p = family.log_prob(rows, labels)
        expected = [math.log(w) + z * k - found for k, w in enumerate(weights)]
        torch.testing.assert_close(
            log_p, torch.tensor(expected, dtype=log_p.dtype), rtol=1e-12, atol=1e-12
        )


def test_continuous_log_partitions_are_integrals():
    """A(z) = log int h(y) e^{z T(y)} dy by quadrature, constants of h included."""
    for family, z, integrand, ends in (
        (Exponential(), (-1.7,), lambda y, z: np.exp(z[0] * y), (0, np.inf)),
        (
            GaussianMeanVariance(),
            (0.8, -0.6),
            lambda y, z: np.exp(z[0] * y + z[1] * y * y) / math.sqrt(2 * math.pi),
            (-np.inf, np.inf),
        ),
    ):
        value, _ = scipy.integrate.quad(integrand, *ends, args=(z,), epsrel=1e-12)
        found = family.log_partition([z]).item()
        assert found == pytest.approx(math.log(value), rel=1e-10, abs=0)


def moments(family, outputs, nodes, weights):
    """E[score], E[score score^T] and E[observed Hessian] over labels at these nodes."""
    count = len(nodes)
    rows = torch.tensor(outputs).double().expand(count, -1)
    p = weights * family.log_prob(family.natural(rows), nodes).exp()
    assert p.sum().item() == pytest.approx(1.0, rel=1e-11)
    score = family.output_gradient(rows, nodes)
    outer = torch.einsum("n,ni,nj->ij", p, score, score)
    hessian = torch.einsum("n,nij->ij", p, family.output_hessian(rows, nodes))
    root = family.output_root(rows[:1])[0]
    return p @ score, outer, hessian, root @ root.mT


def legendre(low, high, count=400):
    nodes, weights = np.polynomial.legendre.leggauss(count)
    half = (high - low) / 2
    return torch.tensor(low + half * (nodes + 1)), torch.tensor(half * weights)


@pytest.mark.parametrize(
    ("family", "outputs", "low", "high"),
    [
        (Bernoulli(), [0.7], 0, 1),
        (Binomial(7), [-0.4], 0, 7),
        (Poisson(), [1.3], 0, 60),
        (Categorical(), [0.3, -0.2, 1.1], 0, 2),
        (Exponential(), [-1.3], 0.0, 40.0),
        (GaussianMeanVariance(), [0.8, -0.6], -11.0, 13.0),
        (GaussianMeanLogSd(), [0.8, -0.3], -9.0, 10.0),
        (Gaussian(0.3), [0.8], -6.0, 7.0),
        (MultivariateGaussian([[0.3]]), [0.8], -6.0, 7.0),
    ],
    ids=lambda v: repr(v) if isinstance(v, ExponentialFamily) else "",
)
def test_scores_have_mean_zero_and_the_fisher_is_their_covariance(
    family, outputs, low, high
):
    """claims T15: E s = 0, E s s^T = E H = F, by sums and quadrature over labels."""
    if isinstance(low, int):
        nodes, weights = torch.arange(low, high + 1), torch.ones(high + 1).double()
    else:
        nodes, weights = legendre(low, high)
    mean, outer, hessian, fisher = moments(family, outputs, nodes, weights)
    assert mean.abs().max() < 1e-10
    torch.testing.assert_close(outer, fisher, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(hessian, fisher, rtol=1e-9, atol=1e-11)


def test_gradients_of_correlated_targets_are_autodiff_gradients():
    family = MultivariateGaussian(COVARIANCE)
    mu, y = normal(5, 3).requires_grad_(), normal(5, 3, seed=4)
    density = torch.distributions.MultivariateNormal(mu, COVARIANCE)
    (expected,) = torch.autograd.grad(-density.log_prob(y).sum(), mu)
    torch.testing.assert_close(family.output_gradient(mu, y), expected)
    z = family.natural(mu)
    torch.testing.assert_close(family.mean(z), mu.detach())
    torch.testing.assert_close(family.mode(z), mu.detach())
    torch.testing.assert_close(family.log_prob(z, y), density.log_prob(y).detach())
    torch.testing.assert_close(family.entropy(z), density.entropy().detach())
    inverse = torch.linalg.inv(COVARIANCE).expand(5, -1, -1)
    root = family.output_root(mu)
    torch.testing.assert_close(root @ root.mT, inverse)
    torch.testing.assert_close(family.output_hessian(mu, y), inverse)
    diagonal = MultivariateGaussian(0.3 * torch.eye(3))
    torch.testing.assert_close(
        diagonal.log_prob(diagonal.natural(mu), y),
        Gaussian(0.3).log_prob(Gaussian(0.3).natural(mu), y),
    )


def test_natural_families_have_an_observed_hessian_without_the_label():
    for name, (family, _, z) in log_partitions().items():
        outputs = z if name not in ("gaussian", "multivariate") else family.mean(z)
        labels = torch.zeros(7, 3) if outputs.shape[1] == 3 else torch.zeros(7)
        if name == "categorical":
            labels = torch.zeros(7).long()
        root = family.output_root(outputs)
        torch.testing.assert_close(
            family.output_hessian(outputs, labels),
            root @ root.mT,
            rtol=1e-12,
            atol=1e-14,
        )

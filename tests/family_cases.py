"""Log-partitions of all families, written again from the densities."""

import torch
from cases import normal

from fimlib.families import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    Gaussian,
    GaussianMeanVariance,
    MultivariateGaussian,
    Poisson,
)

COVARIANCE = torch.tensor(
    [[1.3, 0.4, -0.2], [0.4, 0.9, 0.1], [-0.2, 0.1, 0.7]]
).double()


def log_partitions():
    """Name -> (family, A as a torch function of z (C,), parameters (M, C))."""
    z = normal(7, 3)
    return {
        "bernoulli": (
            Bernoulli(),
            lambda z: torch.logaddexp(z, torch.zeros_like(z)).sum(),
            z,
        ),
        "binomial": (
            Binomial(5),
            lambda z: 5 * torch.logaddexp(z, torch.zeros_like(z)).sum(),
            z,
        ),
        "poisson": (Poisson(), lambda z: z.exp().sum(), z),
        "exponential": (Exponential(), lambda z: -(-z).log().sum(), -z.exp()),
        "mean and variance": (
            GaussianMeanVariance(),
            lambda z: -(z[0] ** 2) / (4 * z[1]) - (-2 * z[1]).log() / 2,
            torch.stack([z[:, 0], -z[:, 1].exp()], -1),
        ),
        "multivariate": (
            MultivariateGaussian(COVARIANCE),
            lambda z: z @ COVARIANCE @ z / 2,
            z,
        ),
        "categorical": (Categorical(), lambda z: z.logsumexp(0), z),
        "gaussian": (Gaussian(0.3), lambda z: 0.3 * z @ z / 2, z),
    }

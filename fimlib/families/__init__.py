"""Exponential families log p(y|z) = z^T T(y) - A(z) + log h(y) in natural parameters.

Every method takes z of shape (M, C), one row an example. A network's outputs are the
natural parameters themselves for most families (logits, log rates); for `Gaussian` and
`MultivariateGaussian` they are the mean, and for `GaussianMeanLogSd` and
`GaussianMeanLogVariance` the mean and the log of what the name says. `Bernoulli` with
C columns is a multi-label network's family: C independent labels. The methods called
`output_*` and `natural` say so: they take outputs, and differentiate by outputs. For a
network with Jacobian J the Fisher information is J^T Lambda J with Lambda = U U^T and
U = output_root(outputs), so that a Gaussian network has F = J^T J / s2 (T16, T17).

Labels out of the family's support, and parameters out of its domain (z < 0 for
`Exponential`), raise a ValueError.
"""

from fimlib.families._base import ExponentialFamily
from fimlib.families.categorical import Categorical
from fimlib.families.gaussian import (
    GaussianMeanLogSd,
    GaussianMeanVariance,
    MultivariateGaussian,
)
from fimlib.families.heteroscedastic import GaussianMeanLogVariance
from fimlib.families.scalar import Bernoulli, Binomial, Exponential, Gaussian, Poisson

__all__ = [
    "Bernoulli", "Binomial", "Categorical", "Exponential", "ExponentialFamily",
    "Gaussian", "GaussianMeanLogSd", "GaussianMeanLogVariance", "GaussianMeanVariance",
    "MultivariateGaussian", "Poisson",
]  # fmt: skip

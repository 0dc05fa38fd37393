"""Logistic regression, and small networks, as the Hessians' checks use them.

-log p(theta|D) of labels 0 or 1 with logits x'theta and prior N(0, prior^-1): expanded
at any theta by fimlib, and integrated exactly for a single weight.
"""

import functools

import mpmath
import numpy as np
import torch

from companion.evidence.draws import flat, network, outputs, pd_matrix
from fimlib.families import Bernoulli
from fimlib.fisher import last_layer_roots
from fimlib.posterior import GaussianPosterior

__all__ = [
    "approximation", "gradient_at", "logistic", "logistic_entropy", "mode_of",
    "outputs_of", "posterior_at", "quadrature", "tanh_network",
]  # fmt: skip


def logistic(rng, size, count):
    """Inputs (N, d), labels (N,), prior precision (d, d) and a point (d,)."""
    x = rng.standard_normal((count, size))
    y = rng.integers(0, 2, count).astype(float)
    return x, y, pd_matrix(rng, size), rng.standard_normal(size)


def posterior_at(x, y, prior, theta, family=None):
    """`GaussianPosterior` of a linear model with one output, expanded at theta."""
    family = Bernoulli() if family is None else family
    outputs = torch.as_tensor(x @ theta)[:, None]
    roots = last_layer_roots(x, outputs, family, bias=False)
    return GaussianPosterior.from_roots(roots, torch.as_tensor(prior))


def gradient_at(x, y, prior, theta, family=None):
    """Gradient of -log p(theta|D), prior N(0, prior^-1), (d,)."""
    family = Bernoulli() if family is None else family
    outputs = torch.as_tensor(x @ theta)[:, None]
    residual = family.output_gradient(outputs, torch.as_tensor(y))[:, 0].numpy()
    return residual @ x + prior @ theta


def approximation(x, y, prior, theta, family=None):
    """Mean and covariance of the Gaussian approximation at theta."""
    covariance = posterior_at(x, y, prior, theta, family).covariance.numpy()
    return theta - covariance @ gradient_at(x, y, prior, theta, family), covariance


def mode_of(x, y, prior, steps=12):
    """Where Newton's method ends, started at zero, (d,)."""
    theta = np.zeros(x.shape[1])
    for _ in range(steps):
        theta, _ = approximation(x, y, prior, theta)
    return theta


def logistic_entropy(x, y, prior, theta):
    return float(posterior_at(x, y, prior, theta).entropy())


def quadrature(x, y, prior, mode):
    """Entropy of the posterior of one weight, in nats, by quadrature."""
    kinds, numbers = np.unique(
        np.column_stack([x[:, 0], y]), axis=0, return_counts=True
    )
    width = float((prior[0, 0] + len(x) / 8) ** -0.5)

    def energy(w):
        value = prior[0, 0] * w**2 / 2
        for (a, label), n in zip(kinds, numbers, strict=True):
            value += int(n) * mpmath.log1p(mpmath.exp((1 - 2 * label) * a * w))
        return value

    with mpmath.workdps(20):
        lowest = energy(float(mode[0]))
        points = [float(mode[0]) + width * k for k in range(-16, 17, 4)]

        def mean(f):
            def integrand(w):
                e = energy(w) - lowest
                return f(e) * mpmath.exp(-e)

            return mpmath.quad(integrand, points)

        total = mean(lambda e: 1)
        return float(mpmath.log(total) + mean(lambda e: e) / total)


def tanh_network(rng):
    """A small network, inputs and labels; D = 18."""
    net = network(rng, 2, 3, 3, bias=False)
    x, y = torch.as_tensor(rng.standard_normal((5, 2))), rng.integers(0, 3, 5)
    return net, x, torch.as_tensor(y)


def outputs_of(net, x):
    """The network's outputs as a function of its flattened parameters, and these."""
    return functools.partial(outputs, net, x=x), flat(net)

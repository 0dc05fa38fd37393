"""A network small enough for autodiff to go through all labels, for T13 to T15.

H' is the gradient of -log p(y|x, theta), a row; H'' its Hessian.
"""

import torch

from companion.evidence.draws import flat, network
from fimlib import fisher

__all__ = [
    "CLASSES",
    "at_label",
    "by_autodiff",
    "each_label",
    "flat",
    "log_probs",
    "next_label",
    "tanh_network",
]  # fmt: skip

CLASSES = 3


def tanh_network(rng, count=3):
    """A 2-3-3 network with tanh and softmax, D = 21, and inputs (count, 2)."""
    model = network(rng, 2, 3, CLASSES)
    return model, torch.tensor(rng.standard_normal((count, 2)))


def log_probs(theta, x):
    """log p(.|x, theta) (C,) of `tanh_network`, written out for autodiff."""
    hidden = torch.tanh(theta[:6].view(3, 2) @ x + theta[6:9])
    z = theta[9:18].view(3, 3) @ hidden + theta[18:]
    return z - z.logsumexp(0)


def each_label(model, inputs, function=None):
    """Observed information at each label, (M, C, D, D)."""
    function = function or fisher.observed_information
    labels = (torch.full((len(inputs),), c) for c in range(CLASSES))
    return torch.stack([function(model, inputs, y) for y in labels], 1)


def next_label(labels):
    return (labels + 1) % CLASSES


def by_autodiff(model, x):
    """p (C,), rows H' (C, D) and Hessians H'' (C, D, D), one for each label."""
    theta = flat(model)

    def loss(t):
        return -log_probs(t, x)

    rows, hessians = torch.func.jacrev(loss)(theta), torch.func.hessian(loss)(theta)
    return torch.exp(-loss(theta)), rows, hessians


def at_label(estimator_or_labels):
    """`network_roots` with this estimator, or the empirical one with these labels."""

    def roots(model, inputs, **options):
        if isinstance(estimator_or_labels, str):
            options = {"estimator": estimator_or_labels}
        else:
            labels = torch.full((len(inputs),), estimator_or_labels)
            options = {"estimator": "empirical", "labels": labels}
        return fisher.network_roots(model, inputs, **options)

    return roots

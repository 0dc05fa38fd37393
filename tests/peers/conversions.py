"""One small problem, and what turns a peer's numbers into fimlib's.

All sizes are distinct primes (with the bias, a last layer has 7 inputs), so that a
forgotten 1/N, 1/E, 1/C or 1/2 shows.
"""

import importlib
import math
from importlib.metadata import PackageNotFoundError, distribution
from typing import NamedTuple

import pytest
import torch

from fimlib.fisher import FisherRoots, last_layer_roots, network_roots

N, M, E, INPUTS, WIDTH, C = 11, 13, 17, 3, 6, 5
D = C * (WIDTH + 1)


def peer(package, module):
    """The module of an installed package; skips the caller's file where it is not.

    Only a missing package is a reason to skip: one that is there has to import.
    """
    try:
        distribution(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed", allow_module_level=True)
    return importlib.import_module(module)


class Problem(NamedTuple):
    """A classifier and data: N examples for training, a pool of M, E for evaluation.

    `fault` multiplies fimlib's Fisher information: the right one is 1.
    """

    model: torch.nn.Sequential
    train: torch.Tensor
    labels: torch.Tensor
    pool: torch.Tensor
    evals: torch.Tensor
    fault: float

    @property
    def last_layer(self):
        return self.model[-1]

    def features(self, inputs):
        """The inputs of the last layer, (M, d)."""
        return self.model[:-1](inputs).detach()

    def roots(self, inputs, **options):
        """fimlib's roots of the last layer."""
        features, logits = self.features(inputs), self.model(inputs).detach()
        return self.planted(last_layer_roots(features, logits, **options))

    def network_roots(self, inputs, **options):
        """fimlib's roots of all parameters, in the order of `model.parameters()`."""
        return self.planted(network_roots(self.model, inputs, **options))

    def planted(self, roots):
        """The roots, made wrong by the fault if there is one."""
        if self.fault == 1.0:
            return roots
        return FisherRoots.from_dense(roots.dense() * math.sqrt(self.fault))

    def loader(self, targets=None):
        """(inputs, labels) in batches that do not divide N: 4, 4 and 3 examples."""
        targets = self.labels if targets is None else targets
        data = torch.utils.data.TensorDataset(self.train, targets)
        return torch.utils.data.DataLoader(data, batch_size=4)


def make_problem(dtype, fault):
    """Weights of size 1, so that the probabilities of the classes differ much."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    model = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, C)
    ).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(normal(*parameter.shape))
    train, pool, evals = (normal(size, INPUTS).to(dtype) for size in (N, M, E))
    labels = torch.randint(C, (N,), generator=generator)
    return Problem(model, train, labels, pool, evals, fault)


def torch_order(outputs=C, width=WIDTH):
    """Where torch's numbers of a last layer stand in fimlib's order, (D,).

    fimlib is class-major: the d weights of class 0, its bias, those of class 1, ...
    torch flattens the (C, d) weight row by row, and puts the C biases behind. So
    theta_torch = theta[order] and F_torch = F[order][:, order].
    """
    numbers = torch.arange(outputs * (width + 1)).view(outputs, width + 1)
    return torch.cat([numbers[:, :-1].flatten(), numbers[:, -1]])


def in_torch_order(array):
    """A last layer's array with all axes of length D put in torch's order."""
    order = torch_order()
    for axis, size in enumerate(array.shape):
        if size == D:
            array = array.index_select(axis, order)
    return array


def flat(tensors):
    """Tensors, one a parameter with the examples first, as one (M, D)."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def agree(found, wanted, tolerance):
    """Assert that every entry agrees, to this share of the largest one."""
    found, wanted = torch.as_tensor(found), torch.as_tensor(wanted)
    assert found.shape == wanted.shape
    found, wanted = found.detach().double(), wanted.detach().double()
    size = wanted.abs().max()
    assert size > 0, "a comparison with zero would show nothing"
    error = float((found - wanted).abs().max() / size)
    assert error <= tolerance, f"relative error {error:.3g}, allowed {tolerance:.3g}"

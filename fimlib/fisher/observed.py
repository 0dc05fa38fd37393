"""Observed information of a whole network: indefinite, and without a root (T13)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import hessian, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from fimlib._checks import is_finite, to_tensor
from fimlib.fisher.batch import Batch
from fimlib.fisher.last_layer import checked_family
from fimlib.fisher.model import (
    Forward,
    Output,
    Parameters,
    agree,
    check_differentiable,
)
from fimlib.fisher.model import (
    forward as run,
)
from fimlib.fisher.network import Network
from fimlib.fisher.roots import chunk_step

# Most parameters, and most numbers of the result (2 GiB).
MAX_OBSERVED = 4_096
_MAX_OBSERVED_NUMBERS = 2**28


def observed_information(
    model: nn.Module,
    inputs: Any,
    labels: Any,
    family: Any = None,
    dtype: torch.dtype = torch.float64,
    *,
    parameters: Parameters = None,
    output: Output = None,
    forward: Forward = None,
) -> Tensor:
    """Return -grad^2 log p(y_i|x_i, theta), (M, D, D) (T13, T16, T20).

    J^T H J + sum_k g_k grad^2 f_k, with g and H the gradient and Hessian of -log p by
    the outputs f: symmetric, and indefinite in general, so that it has no root. All
    arguments are as in `network_roots`: `model`, `inputs`, `family`, `dtype`,
    `parameters`, `output`, `forward` and labels (M,), or what the family needs.

    Raises:
        ValueError: what `network_roots` refuses, above 4,096 parameters, and for a
            result above 2 GiB.

    >>> from fimlib.families import Gaussian
    >>> model = nn.Linear(2, 1, bias=False)
    >>> observed_information(model, [[3.0, 4.0]], [5.0], Gaussian(1.0)).tolist()
    [[[9.0, 12.0], [12.0, 16.0]]]
    """
    family = checked_family(family)
    network = Network(model, dtype, parameters, output, forward)
    batch = Batch(to_tensor(inputs, "inputs") if type(inputs) is list else inputs)
    batch, size = network.prepared(batch), network.num_parameters
    numbers = len(batch) * size**2
    if size > MAX_OBSERVED or numbers > _MAX_OBSERVED_NUMBERS:
        raise ValueError(
            f"model must have at most {MAX_OBSERVED} parameters and the result at most "
            f"2.1 GB, got {size} parameters and {8e-9 * numbers:.1f} GB"
        )
    outputs = network.outputs(batch)
    gradient = family.output_gradient(outputs, labels).to(network.dtype)
    curvature = family.output_hessian(outputs, labels).to(network.dtype)
    found, step = [], chunk_step(size**2)
    for start in range(0, len(batch), step):
        part = slice(start, start + step)
        x, g = batch[part], gradient[part]
        eye = torch.eye(g.shape[1]).to(g).expand(len(g), -1, -1)
        examples = torch.arange(start, start + len(g))
        jacobian = network.rows(x, eye, examples)
        found.append(
            jacobian.mT @ curvature[part] @ jacobian + _residual(network, x, g)
        )
        if not is_finite(found[-1]):
            network.refuse(found[-1], examples)
    result = torch.cat(found)
    return (result + result.mT) / 2


def _residual(network: Network, batch: Batch, gradient: Tensor) -> Tensor:
    """sum_k g_k grad^2 f_k (m, D, D) of a batch, from g (m, C)."""
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        found = _mapped_residual(network, batch, gradient)
        if found is None:
            pairs = zip(batch.split(1), gradient, strict=True)
            found = torch.stack([_residual_of_one(network, x, g) for x, g in pairs])
    return found


def _mapped_residual(network: Network, batch: Batch, gradient: Tensor) -> Tensor | None:
    """By vmap, or None where a module has no second derivative, or a wrong one."""

    def value(theta: Tensor, g: Tensor, *row: Tensor) -> Tensor:
        one = batch.with_rows([x[None] for x in row])
        return (network.function(theta, one)[0] * g).sum()

    try:
        mapped = vmap(lambda *row: hessian(value)(network.theta, *row))
        found = mapped(gradient, *batch.rows).detach()
    except Exception:
        return None  # whatever it is that vmap cannot do here
    # Layer-norm has a wrong one in torch 2.13: one example is computed both ways.
    first = _residual_of_one(network, batch[:1], gradient[0])
    return found if agree(found[0], first) else None


def _residual_of_one(network: Network, one: Batch, g: Tensor) -> Tensor:
    """The same of one example, (D, D), by plain autograd twice."""
    out = run(network.called, one)
    check_differentiable(out)
    first = network.gradient(out, g[None], again=True)
    if not first.requires_grad:
        return first.new_zeros(len(first), len(first))
    eye = torch.eye(len(first)).to(first)
    return torch.stack([network.gradient(first, e) for e in eye]).detach()

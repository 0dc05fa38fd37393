"""Roots of a network of linear layers, a Kronecker factor pair for each layer (T30)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fimlib.fisher.roots import FisherRoots

# Numbers in the temporaries of inner products, few enough to stay in the cache.
_IN_CACHE = 2**18


class LayeredRoots(FisherRoots):
    """Roots whose rows are, layer by layer, outer products of gradient and input.

    layers: for each linear layer, in the order of its parameters, the gradients of the
    rows by the layer's outputs (M, r, o), its inputs (M, q), and whether it has a bias.
    The M r D numbers are never held: inner products are those of the factors, and D
    does not enter their cost or memory.
    """

    factored = True

    def __init__(self, layers: list[tuple[Tensor, Tensor, bool]]) -> None:
        self.layers = layers
        size = sum(d.shape[2] * (a.shape[1] + b) for d, a, b in layers)
        self._shape, self._like = (*layers[0][0].shape[:2], size), layers[0][0]

    @property
    def numbers_each(self) -> int:
        """Numbers that an example takes when it is held."""
        return sum(d.shape[1] * d.shape[2] + a.shape[1] for d, a, _ in self.layers)

    def dense(self) -> Tensor:
        """All roots as one tensor (M, r, D): asks for that much memory."""
        parts = []
        for gradients, inputs, bias in self.layers:
            parts.append((gradients[..., None] * inputs[:, None, None, :]).flatten(2))
            if bias:
                parts.append(gradients)
        return torch.cat(parts, dim=2)

    def own_rows(self) -> Tensor:
        """Rows (M, r, sum of o) with the same inner products within each example."""
        rows = [
            gradients * (inputs.square().sum(-1) + bias).sqrt()[:, None, None]
            for gradients, inputs, bias in self.layers
        ]
        return torch.cat(rows, dim=2)

    def _cross(self, other: Any) -> Tensor:
        if not isinstance(other, LayeredRoots):
            return self.by_chunks(lambda part: FisherRoots(part.dense()).cross(other))
        shape = (len(self), self.rank, len(other), other.rank)
        found = torch.empty(shape, dtype=self.dtype, device=self.device)
        step = max(32, _IN_CACHE // max(1, len(other) * self.rank * other.rank))
        for start in range(0, len(self), step):
            few = slice(start, start + step)
            few_roots: Any = self[few]
            if other is not self:
                found[few] = few_roots._products(other)
                continue
            rest = slice(start, None)
            block = few_roots._products(self[rest])
            found[few, :, rest] = block
            found[rest, :, few] = block.permute(2, 3, 0, 1)
        return found

    def _products(self, other: Any) -> Tensor:
        total: Any = 0.0
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            inner = mine[1] @ theirs[1].mT
            if mine[2]:
                inner += 1.0
            outer = mine[0].flatten(0, 1) @ theirs[0].flatten(0, 1).mT
            outer = outer.unflatten(1, (len(other), other.rank))
            outer = outer.unflatten(0, (len(self), self.rank))
            total = total + outer.mul_(inner[:, None, :, None])
        return total

    def scaled(self, weights: Tensor) -> FisherRoots:
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return LayeredRoots([(weights.to(d) @ d, a, b) for d, a, b in self.layers])

    def diagonal(self) -> Tensor:
        """The diagonals of all F_i, (M, D)."""
        parts = []
        for gradients, inputs, bias in self.layers:
            curvature = gradients.square().sum(1)
            squares = inputs.square()[:, None, :]
            parts.append((curvature[:, :, None] * squares).flatten(1))
            if bias:
                parts.append(curvature)
        return torch.cat(parts, dim=1)

    def fisher_trace(self) -> Tensor:
        """Trace of the sum over the examples of F_i, (), in float64."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for gradients, inputs, bias in self.layers:
            norms = _squared_norm(inputs) + bias
            total += norms @ _squared_norm(gradients.flatten(1))
        return total

    def fisher_product(self, vector: Tensor) -> Tensor:
        """(sum of F_i) v (D,), in float64, from the factors of each layer."""
        sizes = [d.shape[2] * (a.shape[1] + b) for d, a, b in self.layers]
        products: Any = 0.0
        for (gradients, inputs, bias), v in zip(
            self.layers, vector.split(sizes), strict=True
        ):
            outputs, width = gradients.shape[2], inputs.shape[1]
            change = inputs @ v[: outputs * width].view(outputs, width).mT
            if bias:
                change = change + v[outputs * width :]
            products = products + (gradients @ change[:, :, None])[:, :, 0]
        pieces = []
        for gradients, inputs, bias in self.layers:
            back = (gradients.mT @ products[:, :, None])[:, :, 0]
            pieces.append((back.mT @ inputs).flatten())
            if bias:
                pieces.append(back.sum(0))
        return torch.cat(pieces).double()

    def _mapped(self, function: Callable[..., Tensor], *others: Any) -> FisherRoots:
        layers = []
        for (d, a, bias), *same in zip(
            self.layers, *(one.layers for one in others), strict=True
        ):
            d, a = (function(x, *(y[k] for y in same)) for k, x in enumerate((d, a)))
            layers.append((d, a, bias))
        return LayeredRoots(layers)


def _squared_norm(rows: Tensor) -> Tensor:
    """Of each row, in its own dtype; their sums are taken in float64."""
    return torch.linalg.vecdot(rows, rows).double()


def linear_layers(model: torch.nn.Module, inputs: Tensor) -> list | None:
    """Return the linear layers, if they hold all parameters and are called once.

    None otherwise. The roots of such a model are a `LayeredRoots`, unless it uses its
    weights in other ways too.
    """
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    held = [id(p) for layer in layers for p in layer.parameters()]
    if sorted(held) != sorted(id(p) for p in model.parameters()):
        return None
    calls, _ = _called(model, layers, inputs)
    if len(calls) != len(layers) or any(a.ndim != 2 for a, _ in calls.values()):
        return None
    return layers


def layered_pass(
    run: Callable, layers: list, inputs: Tensor
) -> tuple[Tensor, Callable[[Tensor], LayeredRoots]]:
    """Return outputs (m, C) of inputs (m, ...), and a function for their roots.

    From U (m, C, r) it makes the LayeredRoots U_i^T J_i, by r backward passes.
    """
    with torch.enable_grad():
        calls, outputs = _called(run, layers, inputs)
    check_differentiable(outputs)
    shifts = [calls[layer][1] for layer in layers]

    def rows(factor: Tensor) -> LayeredRoots:
        columns = [
            torch.autograd.grad(
                outputs, shifts, u, retain_graph=True, materialize_grads=True
            )
            for u in factor.unbind(2)
        ]
        gradients = (torch.stack(same, dim=1) for same in zip(*columns, strict=True))
        found = []
        for layer, gradient in zip(layers, gradients, strict=True):
            values = calls[layer][0].detach()
            found.append((gradient, values, layer.bias is not None))
        return LayeredRoots(found)

    return outputs.detach(), rows


def check_differentiable(outputs: Tensor) -> None:
    """Raise unless autograd knows how the outputs were made."""
    if not outputs.requires_grad:
        raise ValueError(
            "model must return outputs that depend on its parameters by autograd, got "
            "some without a gradient (detached, or made under torch.no_grad)"
        )


def _called(run: Callable, layers: list, inputs: Tensor) -> tuple[dict, Tensor]:
    """Return {layer: (its inputs, a zero that was added to its outputs)}, and outputs.

    A layer called again counts as none.
    """
    calls = {}

    def catch(layer: Any, args: tuple, result: Tensor) -> Tensor:
        shift = torch.zeros_like(result, requires_grad=True)
        calls[layer] = (args[0], shift) if layer not in calls else None
        return result + shift

    hooks = [layer.register_forward_hook(catch) for layer in layers]
    try:
        outputs = run(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: call for layer, call in calls.items() if call}, outputs

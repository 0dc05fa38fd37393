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
            total += norms @ _squared_norm(gradients).sum(1)
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
    return torch.linalg.vector_norm(rows, dim=-1).double().square()

"""Roots of a network of linear layers, a Kronecker factor pair for each layer (T30)."""

import torch

from fimlib._checks import as_tensor
from fimlib.fisher.roots import FisherRoots, check_same_parameters, selection

# Numbers in the temporaries of inner products, few enough to stay in the cache.
_IN_CACHE = 2**18


class LayeredRoots(FisherRoots):
    """Roots whose rows are, layer by layer, outer products of gradient and input.

    layers: for each linear layer, in the order of its parameters, the gradients of the
    rows by the layer's outputs (M, r, o), its inputs (M, q), and whether it has a bias.
    The M r D numbers are never held: inner products are those of the factors, and D
    does not enter their cost or memory.
    """

    def __init__(self, layers):
        self.layers = layers

    def __len__(self):
        return len(self.layers[0][1])

    def __getitem__(self, indices):
        indices = selection(indices, len(self))
        return LayeredRoots([(d[indices], a[indices], b) for d, a, b in self.layers])

    @property
    def rank(self):
        """r, the number of rows of each root."""
        return self.layers[0][0].shape[1]

    @property
    def num_parameters(self):
        """The number D of parameters."""
        return sum(d.shape[2] * (a.shape[1] + b) for d, a, b in self.layers)

    @property
    def dtype(self):
        """The floating type the roots are held in."""
        return self.layers[0][0].dtype

    @property
    def device(self):
        """The device the roots are held on."""
        return self.layers[0][0].device

    def dense(self):
        """All roots as one tensor (M, r, D): asks for that much memory."""
        parts = []
        for gradients, inputs, bias in self.layers:
            parts.append((gradients[..., None] * inputs[:, None, None, :]).flatten(2))
            if bias:
                parts.append(gradients)
        return torch.cat(parts, dim=2)

    def gram_of_symmetric(self, matrix):
        """`gram` of a tensor that is known to be symmetric and of the right size."""
        return self._by_chunks(lambda held: held.gram_of_symmetric(matrix))

    def self_gram(self):
        """R_i R_i^T (M, r, r): the Gram blocks against the identity."""
        return sum(
            (inputs.square().sum(-1) + bias)[:, None, None] * (gradients @ gradients.mT)
            for gradients, inputs, bias in self.layers
        )

    def project(self, matrix):
        """Products R_i X (M, r, n) with X (D, n)."""
        matrix = as_tensor(matrix, "matrix", (self.num_parameters, "n"), self.dtype)
        return self._by_chunks(lambda held: held.project(matrix))

    def cross(self, other):
        """Inner products of all pairs, R_i R'_j^T as (M, r, M', r')."""
        check_same_parameters(self, other)
        if other.streamed:
            return other.cross(self).permute(2, 3, 0, 1)
        if not isinstance(other, LayeredRoots):
            return self._by_chunks(lambda held: held.cross(other))
        shape = (len(self), self.rank, len(other), other.rank)
        found = torch.empty(shape, dtype=self.dtype, device=self.device)
        step = max(32, _IN_CACHE // max(1, len(other) * self.rank * other.rank))
        for start in range(0, len(self), step):
            few = slice(start, start + step)
            if other is not self:
                found[few] = self[few]._products(other)
                continue
            rest = slice(start, None)
            block = self[few]._products(self[rest])
            found[few, :, rest] = block
            found[rest, :, few] = block.permute(2, 3, 0, 1)
        return found

    def _products(self, other):
        total = 0.0
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            inner = mine[1] @ theirs[1].mT
            if mine[2]:
                inner += 1.0
            outer = mine[0].flatten(0, 1) @ theirs[0].flatten(0, 1).mT
            outer = outer.unflatten(1, (len(other), other.rank))
            outer = outer.unflatten(0, (len(self), self.rank))
            total = total + outer.mul_(inner[:, None, :, None])
        return total

    def scaled(self, weights):
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return LayeredRoots([(weights.to(d) @ d, a, b) for d, a, b in self.layers])

    def diagonal(self):
        """The diagonals of all F_i, (M, D)."""
        parts = []
        for gradients, inputs, bias in self.layers:
            curvature = gradients.square().sum(1)
            squares = inputs.square()[:, None, :]
            parts.append((curvature[:, :, None] * squares).flatten(1))
            if bias:
                parts.append(curvature)
        return torch.cat(parts, dim=1)

    def diagonal_sum(self):
        """Sum over the examples of the diagonals of F_i, (D,), in float64."""
        parts = []
        for gradients, inputs, bias in self.layers:
            curvature = gradients.double().square().sum(1)
            parts.append((curvature.mT @ inputs.double().square()).flatten())
            if bias:
                parts.append(curvature.sum(0))
        return torch.cat(parts)

    @classmethod
    def joined(cls, parts):
        """The examples of several roots of one network, one after the other."""
        layers = []
        for same in zip(*(part.layers for part in parts), strict=True):
            gradients, inputs = (torch.cat([x[k] for x in same]) for k in (0, 1))
            layers.append((gradients, inputs, same[0][2]))
        return cls(layers)

    def _by_chunks(self, function):
        parts = [function(FisherRoots(part.dense())) for part in self.chunks()]
        return torch.cat(parts) if parts else function(FisherRoots(self.dense()))

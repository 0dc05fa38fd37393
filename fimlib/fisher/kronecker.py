"""Roots of a linear layer in Kronecker form, of which nothing of size D is held."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_shape
from fimlib.fisher.roots import FisherRoots, chunk_step, concatenated

# Products of features and blocks of outputs are made in tiles: for so many columns, of
# at least so many features for each pair of outputs, and for so many examples that the
# result stays in the cache (2 MiB in float64).
_COLUMNS, _SPAN = 768, 16
_IN_CACHE = 2**18


class KroneckerRoots(FisherRoots):
    """Roots of a last layer: R_i = U_i^T (x) phi_i^T, never formed.

    `factor` U (M, C, r), `features` phi (M, q), D = C q. Parameters are class-major:
    number c q + j is the weight from feature j to output c. `basis`, if given, is an
    orthonormal (C, k) matrix whose span holds every U_i: the other directions of the
    parameters carry no information, and `reduced()` leaves them out (D = k q).

    >>> factor = torch.tensor([[[1.0], [-1.0]]])
    >>> roots = KroneckerRoots(factor, torch.tensor([[2.0, 3.0]]))
    >>> roots.dense().tolist()
    [[[2.0, 3.0, -2.0, -3.0]]]
    """

    kronecker = True

    def __init__(
        self, factor: Tensor, features: Tensor, basis: Tensor | None = None
    ) -> None:
        self.factor = factor
        self.features = features
        self.basis = basis
        count, outputs, rank = factor.shape
        self._shape = (count, rank, outputs * features.shape[1])
        self._like = features

    @property
    def num_outputs(self) -> int:
        """The number C of outputs."""
        return self.factor.shape[1]

    @property
    def numbers_each(self) -> int:
        """Numbers that an example takes when it is held."""
        return self.num_outputs * self.rank + self.features.shape[1]

    def dense(self) -> Tensor:
        """All roots as one tensor (M, r, C q): asks for that much memory."""
        rows = torch.einsum("mcr,mq->mrcq", self.factor, self.features)
        return rows.flatten(2)

    def own_rows(self) -> Tensor:
        """Rows (M, r, C) with the same inner products within each example."""
        return self.factor.mT * self.features.norm(dim=-1)[:, None, None]

    @cached_property
    def _reduced(self) -> KroneckerRoots:
        assert self.basis is not None
        basis = self.basis.to(self.factor)
        return KroneckerRoots(basis.mT @ self.factor, self.features)

    def reduced(self) -> FisherRoots:
        """The same roots in the coordinates of their basis (themselves without one)."""
        return self if self.basis is None else self._reduced

    def gram_of_symmetric(self, matrix: Tensor) -> Tensor:
        """U^T [phi^T A_ab phi]_ab U, from the pairs of outputs a <= b only."""
        matrix = matrix.to(self.device, self.dtype)
        outputs, width = self.num_outputs, self.features.shape[1]
        a, b = torch.triu_indices(outputs, outputs, device=self.device)
        blocks = matrix.view(outputs, width, outputs, width)
        tiles, step, space = self._tiles(self.dtype)
        folded = [_folded(blocks, a, b, tile) for tile in tiles]
        grams = []
        for start in range(0, len(self), step):
            part: Any = self[start : start + step]
            forms = part.features.new_zeros(len(part), len(a), 1)
            for (pairs, lo, hi), block in zip(tiles, folded, strict=True):
                left = space[: len(part) * block.shape[1]].view(len(part), -1)
                torch.mm(part.features[:, lo:], block, out=left)
                right = part.features[:, lo:hi, None]
                forms[:, pairs].baddbmm_(left.unflatten(1, (-1, hi - lo)), right)
            inner = forms.new_empty(len(part), outputs, outputs)
            inner[:, a, b] = forms[:, :, 0]
            inner[:, b, a] = forms[:, :, 0]
            grams.append(part.factor.mT @ inner @ part.factor)
        return torch.cat(grams) if grams else self.self_gram()

    def times(self, matrix: Tensor) -> Tensor:
        """Products R_i X (M, r, n) of a tensor X (D, n): phi^T goes first."""
        if len(self) == 1:
            blocks = matrix.view(self.num_outputs, -1, matrix.shape[1])
            factor, features = (x[0].to(matrix) for x in (self.factor, self.features))
            return (factor.mT @ (features @ blocks))[None]
        product = self.multiplier(matrix)
        step = chunk_step(self.num_outputs * matrix.shape[1])
        starts = range(0, max(1, len(self)), step)
        return concatenated([product(slice(start, start + step)) for start in starts])

    def multiplier(self, matrix: Tensor) -> Callable[[slice], Tensor]:
        """A function of a slice of examples: `times` a matrix (D, n) that is kept."""
        outputs, n = self.num_outputs, matrix.shape[1]
        # (q, C n), so that one product with phi^T is enough.
        folded = matrix.view(outputs, -1, n).transpose(0, 1).flatten(1)

        def product(some: slice) -> Tensor:
            inner = self.features[some].to(matrix) @ folded
            factor = self.factor[some].to(matrix)
            return factor.mT @ inner.view(len(inner), outputs, n)

        return product

    def _cross(self, other: Any) -> Tensor:
        outputs, width = self.num_outputs, self.features.shape[1]
        if isinstance(other, KroneckerRoots) and other.features.shape[1] == width:
            inner = self.features @ other.features.mT
            outer = torch.einsum("mcr,ncs->mrns", self.factor, other.factor)
            return outer * inner[:, None, :, None]
        right = other.dense().reshape(-1, width)
        inner = (self.features @ right.mT).view(len(self), -1, outputs) @ self.factor
        return inner.mT.unflatten(2, (len(other), other.rank))

    def scaled(self, weights: Tensor) -> FisherRoots:
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return KroneckerRoots(self.factor @ weights.mT, self.features, self.basis)

    def fisher_sum(self) -> Tensor:
        """Sum over the examples of F_i, (D, D), by weighted feature products."""
        if self.basis is not None:
            return embed(self.reduced().fisher_sum(), self.basis.to(self.device))
        outputs, width = self.num_outputs, self.features.shape[1]
        a, b = torch.triu_indices(outputs, outputs, device=self.device)
        tiles, step, space = self._tiles(torch.float64)
        # Of each tile, columns lo to hi of the symmetric sums of w_ab phi phi^T.
        sums = [
            space.new_zeros(width - lo, len(a[pairs]) * (hi - lo))
            for pairs, lo, hi in tiles
        ]
        for start in range(0, len(self), step):
            part: Any = self[start : start + step]
            factor, features = part.factor.double(), part.features.double()
            weights = (factor @ factor.mT)[:, a, b, None]
            for (pairs, lo, hi), total in zip(tiles, sums, strict=True):
                weighted = space[: len(part) * total.shape[1]].view(len(part), -1)
                shape = weighted.unflatten(1, (-1, hi - lo))
                torch.mul(weights[:, pairs], features[:, None, lo:hi], out=shape)
                total.addmm_(features[:, lo:].mT, weighted)
        full = space.new_empty(outputs, width, outputs, width)
        for (pairs, lo, hi), total in zip(tiles, sums, strict=True):
            lower = total.unflatten(1, (-1, hi - lo)).transpose(0, 1)
            for c, d in ((a[pairs], b[pairs]), (b[pairs], a[pairs])):
                full[c, lo:, d, lo:hi] = lower
                full[c, lo:hi, d, lo:] = lower.mT
        return full.view(outputs * width, outputs * width)

    def _tiles(self, dtype: torch.dtype) -> tuple[list, int, Tensor]:
        """Return how products go: the tiles, examples at once, and room for a product.

        A tile is (pairs of outputs, from feature, to feature). Memory that is used
        again stays in the cache, and new memory costs more than the product.
        """
        outputs, width = self.num_outputs, self.features.shape[1]
        count = outputs * (outputs + 1) // 2
        pairs = min(count, _COLUMNS // _SPAN)
        span = min(width, max(_SPAN, _COLUMNS // count))
        tiles = [
            (slice(first, first + pairs), lo, min(lo + span, width))
            for lo in range(0, width, span)
            for first in range(0, count, pairs)
        ]
        step = min(_IN_CACHE // (pairs * span), chunk_step(outputs**2), len(self))
        space = torch.empty(step * pairs * span, dtype=dtype, device=self.device)
        return tiles, max(1, step), space

    def diagonal(self) -> Tensor:
        """The diagonals of all F_i, (M, C q)."""
        curvature = self.factor.square().sum(-1)
        return (curvature[:, :, None] * self.features.square()[:, None, :]).flatten(1)

    def outer_factors(self) -> tuple[Tensor, Tensor | None]:
        """phi (M, q) and u (M, C) of the roots u_i (x) phi_i of rank 1."""
        return self.features, self.factor[:, :, 0]

    def kronecker_sums(self) -> tuple[Tensor, Tensor]:
        """sum U_i U_i^T (C, C) and sum phi_i phi_i^T (q, q), in float64."""
        factor = self.factor.double().transpose(0, 1).flatten(1)
        features = self.features.double()
        return factor @ factor.mT, features.mT @ features

    def _mapped(self, function: Callable[..., Tensor], *others: Any) -> FisherRoots:
        factor = function(self.factor, *(one.factor for one in others))
        features = function(self.features, *(one.features for one in others))
        return KroneckerRoots(factor, features, self.basis)


def embed(matrix: Tensor, basis: Tensor) -> Tensor:
    """(Q (x) I) A (Q (x) I)^T: a matrix in reduced coordinates, back in all D."""
    basis = as_tensor(basis, "basis", ("C", "k"))
    width = len(as_tensor(matrix, "matrix", ("D", "D"))) // max(1, basis.shape[1])
    check_shape(matrix, "matrix", (basis.shape[1] * width,) * 2)
    blocks = matrix.view(basis.shape[1], width, basis.shape[1], width)
    full = torch.einsum("ak,kiLj,bL->aibj", basis, blocks, basis)
    return full.reshape(len(basis) * width, len(basis) * width)


def _folded(blocks: Tensor, a: Tensor, b: Tensor, tile: tuple) -> Tensor:
    """Return columns lo to hi of the forms by A_ab, (q - lo, pairs (hi - lo)).

    A form sees the symmetric part of A_ab only, so that entries above the tile's
    diagonal are added to those below: A_ab^T = A_ba.
    """
    pairs, lo, hi = tile
    a, b = a[pairs], b[pairs]
    folded = blocks[a, lo:, b, lo:hi]
    folded[:, hi - lo :] += blocks[b, hi:, a, lo:hi]
    return folded.transpose(0, 1).flatten(1)

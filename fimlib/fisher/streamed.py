"""Roots that are computed as they are needed, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fimlib.fisher.roots import FisherRoots, join

# Numbers (256 MiB in float64) that a product of all pairs holds at once; roots of a
# network below this size are held from the start.
HELD_NUMBERS = 2**25


class StreamedRoots(FisherRoots):
    """Base of roots that hold no rows: a subclass gives `parts()`, held roots.

    Each method is one pass over the parts, and its memory, beyond its result and one
    part, does not depend on the number of examples (`cross`: one pass for each
    256 MiB of its own rows).
    """

    streamed = True

    def parts(self) -> Iterator[FisherRoots]:
        """Consecutive held roots."""
        raise NotImplementedError

    def held(self) -> FisherRoots:
        """The same roots, computed once and held."""
        parts = list(self.parts())
        return join(parts) if parts else self._none()

    def held_if_small(self) -> FisherRoots:
        """The same roots, held where that is no more than 256 MiB or factors only."""
        small = self.kronecker or len(self) * self.numbers_each <= HELD_NUMBERS
        return self.held() if small else self

    def double(self) -> FisherRoots:
        """The same roots: they are computed in their own floating type."""
        return self

    def dense(self) -> Tensor:
        """All roots as one tensor (M, r, D): asks for that much memory."""
        return self.by_parts(lambda part: part.dense())

    def own_rows(self) -> Tensor:
        """Rows (M, r, s) with the same inner products within each example."""
        return self.by_parts(lambda part: part.own_rows())

    def gram_of_symmetric(self, matrix: Tensor) -> Tensor:
        """`gram` (M, r, r) of a (D, D) tensor that is known to be symmetric."""
        return self.by_parts(lambda part: part.gram_of_symmetric(matrix))

    def self_gram(self) -> Tensor:
        """R_i R_i^T (M, r, r): the Gram blocks against the identity."""
        return self.by_parts(lambda part: part.self_gram())

    def times(self, matrix: Tensor) -> Tensor:
        """Products R_i X (M, r, n) of a tensor X (D, n), in its floating type."""
        return self.by_parts(lambda part: part.times(matrix))

    def diagonal(self) -> Tensor:
        """The diagonals of all F_i, (M, D)."""
        return self.by_parts(lambda part: part.diagonal())

    def _cross(self, other: FisherRoots) -> Tensor:
        rows = [_against(block, other) for block in self._blocks()]
        return torch.cat(rows) if rows else self._none().cross(other)

    def scaled(self, weights: Tensor) -> FisherRoots:
        """Roots W_i R_i from weights (M, r', r): another root, of rank r', held."""
        return self.held().scaled(weights)

    @classmethod
    def joined(cls, parts: list) -> FisherRoots:
        """The examples of several roots, one after the other, held."""
        return join([part.held() for part in parts])

    def chunks(self, numbers_each: int | None = None) -> Iterator[FisherRoots]:
        """Consecutive held roots whose temporaries stay within a few tens of MB."""
        for part in self.parts():
            yield from part.chunks(numbers_each)

    def fisher_sum(self) -> Tensor:
        """Sum over the examples of F_i, (D, D), accumulated in float64."""
        total = self._none().fisher_sum()
        for part in self.parts():
            total += part.fisher_sum()
        return total

    def kronecker_sums(self) -> tuple[Tensor, Tensor]:
        """sum U_i U_i^T (C, C) and sum phi_i phi_i^T (q, q), of last-layer roots."""
        pairs = [part.kronecker_sums() for part in self.parts()]
        left, right = zip(*pairs or [self._none().kronecker_sums()], strict=True)
        return sum(left), sum(right)

    def by_parts(self, function: Callable[[FisherRoots], Tensor]) -> Tensor:
        """What a function makes of consecutive parts, joined, (M, ...)."""
        parts = [function(part) for part in self.parts()]
        return torch.cat(parts) if parts else function(self._none())

    def _none(self) -> FisherRoots:
        empty = torch.zeros(0, self.rank, self.num_parameters)
        return FisherRoots(empty.to(self.device, self.dtype))

    def _blocks(self) -> Iterator[FisherRoots]:
        """Held roots of consecutive examples, as large as the budget allows."""
        each = self.numbers_each
        held: list[FisherRoots] = []
        count = 0
        for part in self.parts():
            held.append(part)
            count += len(part)
            if count * each >= HELD_NUMBERS:
                yield join(held)
                held, count = [], 0
        if held:
            yield join(held)


def _against(block: FisherRoots, other: Any) -> Tensor:
    if not other.streamed:
        return block.cross(other)
    parts = [block.cross(part) for part in other.parts()]
    return torch.cat(parts, dim=2) if parts else block.cross(other._none())

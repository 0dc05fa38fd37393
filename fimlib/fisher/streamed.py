"""Roots that are computed as they are needed, a chunk at a time."""

import torch

from fimlib._checks import as_tensor
from fimlib.fisher.roots import FisherRoots, check_same_parameters, join

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

    @property
    def numbers_each(self):
        """Numbers that an example takes when it is held."""
        return self.rank * self.num_parameters

    def dense(self):
        """All roots as one tensor (M, r, D): asks for that much memory."""
        return self._collect(lambda part: part.dense())

    def gram_of_symmetric(self, matrix):
        """`gram` of a tensor that is known to be symmetric and of the right size."""
        return self._collect(lambda part: part.gram_of_symmetric(matrix))

    def self_gram(self):
        """R_i R_i^T (M, r, r): the Gram blocks against the identity."""
        return self._collect(lambda part: part.self_gram())

    def project(self, matrix):
        """Products R_i X (M, r, n) with X (D, n)."""
        matrix = as_tensor(matrix, "matrix", (self.num_parameters, "n"), self.dtype)
        return self._collect(lambda part: part.project(matrix))

    def diagonal(self):
        """The diagonals of all F_i, (M, D)."""
        return self._collect(lambda part: part.diagonal())

    def cross(self, other):
        """Inner products of all pairs, R_i R'_j^T as (M, r, M', r')."""
        check_same_parameters(self, other)
        rows = [_against(block, other) for block in self._blocks()]
        if rows:
            return torch.cat(rows)
        return self.dense().new_zeros(0, self.rank, len(other), other.rank)

    def chunks(self, numbers_each=None):
        """Consecutive held roots whose temporaries stay within a few tens of MB."""
        for part in self.parts():
            yield from part.chunks(numbers_each)

    def fisher_sum(self):
        """Sum over the examples of F_i, (D, D), accumulated in float64."""
        size = self.num_parameters
        total = torch.zeros(size, size, dtype=torch.float64, device=self.device)
        for part in self.parts():
            total += part.fisher_sum()
        return total

    def diagonal_sum(self):
        """Sum over the examples of the diagonals of F_i, (D,), in float64."""
        size = self.num_parameters
        total = torch.zeros(size, dtype=torch.float64, device=self.device)
        for part in self.parts():
            total += part.diagonal_sum()
        return total

    def _collect(self, function):
        parts = [function(part) for part in self.parts()]
        return torch.cat(parts) if parts else function(self._none())

    def _none(self):
        empty = torch.zeros(0, self.rank, self.num_parameters)
        return FisherRoots(empty.to(self.device, self.dtype))

    def _blocks(self):
        """Held roots of consecutive examples, as large as the budget allows."""
        each = self.numbers_each
        held, count = [], 0
        for part in self.parts():
            held.append(part)
            count += len(part)
            if count * each >= HELD_NUMBERS:
                yield join(held)
                held, count = [], 0
        if held:
            yield join(held)


def _against(block, other):
    if not other.streamed:
        return block.cross(other)
    parts = [block.cross(part) for part in other.parts()]
    return torch.cat(parts, dim=2) if parts else block.cross(other._none())

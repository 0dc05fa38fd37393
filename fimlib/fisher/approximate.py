"""Named approximations of roots: diagonals, and random projections of parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_choice, positive_int
from fimlib.fisher.roots import FisherRoots, check_parameters

# Numbers that a Gaussian projection may take (1 GiB in float64).
_MAX_GAUSSIAN = 2**27


class DiagonalRoots(FisherRoots):
    """The approximation diag(F_i) of each F_i, with R_i = diag(sqrt F_i) of rank D.

    diagonals: (M, D), not negative. Every score takes them; a Gram block has D x D
    numbers, so D is at most some hundreds. Determinants overestimate: log det(I + F)
    is at most that of its diagonal (Hadamard), for a diagonal posterior precision.
    Raises ValueError for a negative entry.

    >>> DiagonalRoots([[4.0, 9.0]]).dense().tolist()
    [[[2.0, 0.0], [0.0, 3.0]]]
    """

    def __init__(self, diagonals: Any, dtype: torch.dtype = torch.float64) -> None:
        diagonals = as_tensor(diagonals, "diagonals", ("M", "D"), dtype)
        if (diagonals < 0).any():
            raise ValueError(
                f"diagonals must not be negative, got {float(diagonals.min()):.6g}"
            )
        self._root = diagonals.sqrt()
        self._shape = (len(diagonals), *diagonals.shape[1:] * 2)
        self._like = diagonals

    @classmethod
    def from_roots(cls, roots: FisherRoots) -> DiagonalRoots:
        """The diagonal approximation of any roots, streamed ones too: M D numbers."""
        return cls(roots.diagonal(), roots.dtype)

    def dense(self) -> Tensor:
        """All roots as one tensor (M, D, D): asks for that much memory."""
        return torch.diag_embed(self._root)

    def gram_of_symmetric(self, matrix: Tensor) -> Tensor:
        """`gram` (M, D, D) of a (D, D) tensor that is known to be symmetric."""
        matrix = matrix.to(self.device, self.dtype)
        return self._root[:, :, None] * matrix * self._root[:, None, :]

    def self_gram(self) -> Tensor:
        """R_i R_i^T = diag(F_i), (M, D, D)."""
        return torch.diag_embed(self._root.square())

    def times(self, matrix: Tensor) -> Tensor:
        """Products R_i X (M, D, n) of a tensor X (D, n), in its floating type."""
        return self._root.to(matrix)[:, :, None] * matrix

    def _cross(self, other: FisherRoots) -> Tensor:
        return self._root[:, :, None, None] * other.dense().permute(2, 0, 1)

    def scaled(self, weights: Tensor) -> FisherRoots:
        """Roots W_i R_i from weights (M, r', D): dense ones, of rank r'."""
        return FisherRoots(weights.to(self._root) * self._root[:, None, :])

    def diagonal(self) -> Tensor:
        """The diagonals of all F_i, (M, D)."""
        return self._root.square()

    def fisher_sum(self) -> Tensor:
        """Sum over the examples of diag(F_i), (D, D), in float64."""
        return torch.diag(self.diagonal_sum())

    def _mapped(self, function: Callable[..., Tensor], *others: Any) -> FisherRoots:
        new = DiagonalRoots.__new__(DiagonalRoots)
        new._root = new._like = function(self._root, *(one._root for one in others))
        new._shape = (len(new._root), *self._shape[1:])
        return new


class Sketch:
    """A random projection S (D, size) of the parameters with E[S S^T] = I.

    `sketch(roots)` are the roots R_i S (M, r, size), whose inner products are unbiased
    estimates of those of the R_i. For rows a and b the variance of (a S)(b S)^T is
    (a a^T b b^T + (a b^T)^2) / size for kind "gaussian", and less by
    2 sum_d (a_d b_d)^2 / size for "count_sketch", which takes D numbers and O(D) time.
    Pool, training and evaluation roots need the same sketch, and the prior precision
    a number: the identity is what a sketch keeps on average.

    Raises ValueError for sizes that are not positive integers, an unknown kind, and a
    Gaussian S above 1 GiB.

    >>> roots = FisherRoots.from_dense([[1.0, 2.0, 3.0]])
    >>> Sketch(3, 2, generator=torch.Generator().manual_seed(0))(roots)
    FisherRoots(1 examples, rank 1, 2 parameters)
    """

    def __init__(
        self,
        num_parameters: int,
        size: int = 1024,
        kind: str = "count_sketch",
        generator: torch.Generator | None = None,
    ) -> None:
        self.num_parameters = positive_int(num_parameters, "num_parameters")
        self.size = positive_int(size, "size")
        check_choice(kind, "kind", ("gaussian", "count_sketch"))
        self.kind = kind
        options: dict = {"generator": generator}
        if generator is not None:
            options["device"] = generator.device
        shape = (self.num_parameters, self.size)
        if kind == "gaussian":
            if shape[0] * shape[1] > _MAX_GAUSSIAN:
                raise ValueError(
                    f"num_parameters x size must be at most {_MAX_GAUSSIAN} for kind "
                    f'"gaussian", got {shape[0] * shape[1]}: use "count_sketch"'
                )
            noise = torch.randn(shape, dtype=torch.float64, **options)
            self._matrix = noise / self.size**0.5
        else:
            self._bucket = torch.randint(self.size, shape[:1], **options)
            self._sign = 2.0 * torch.randint(2, shape[:1], **options) - 1

    def __repr__(self) -> str:
        return f"Sketch({self.num_parameters} parameters to {self.size}, {self.kind})"

    def __call__(self, roots: FisherRoots) -> FisherRoots:
        """The sketched roots (M, r, size), computed chunk by chunk and held."""
        check_parameters(roots, "roots", self.num_parameters, "the sketch")
        return FisherRoots(roots.by_chunks(self._of_chunk))

    def _of_chunk(self, chunk: FisherRoots) -> Tensor:
        if self.kind == "gaussian":
            return chunk.project(self._matrix)
        rows = chunk.dense()
        signed = rows * self._sign.to(rows)
        sums = rows.new_zeros(*rows.shape[:2], self.size)
        return sums.index_add_(2, self._bucket.to(rows.device), signed)

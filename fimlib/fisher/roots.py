"""Roots held densely, and the contract that every kind of roots keeps.

A kind gives its rows in some form, and the few products that its form makes cheap:
`dense`, `gram_of_symmetric`, `self_gram`, `times`, `_cross`, `scaled`, `_mapped`. All
that anyone asks of roots follows from these, and is checked here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_count, positive_int, symmetric, to_tensor

# Numbers held at once by the temporaries of a chunked pass (32 MiB in float64).
_CHUNK_NUMBERS = 2**22
# Examples scored at once.
BATCH = 16_384


class FisherRoots:
    """Roots R_i (r, D) of M examples, held densely; see `last_layer_roots` for more.

    `len(roots)` is M, `roots[indices]` selects examples (slice, mask or index tensor).

    >>> roots = FisherRoots.from_dense([[3.0, 4.0], [0.0, 1.0]])
    >>> roots.gram([[2.0, 0.0], [0.0, 1.0]])[:, 0, 0].tolist()
    [34.0, 1.0]
    >>> roots.fisher_sum().tolist()
    [[9.0, 12.0], [12.0, 17.0]]
    """

    # An orthonormal (C, k) matrix outside of whose span no root has any part, or None.
    basis: Tensor | None = None
    # What the dispatcher (`fimlib.posterior.frame`) asks of a kind: whether examples
    # are computed as they are needed, rather than held; whether Gram blocks against a
    # D x D matrix cost far less than rows of D numbers; and whether inner products do.
    streamed: bool = False
    kronecker: bool = False

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows
        self._shape, self._like = tuple(rows.shape), rows

    @classmethod
    def from_dense(cls, array: Any, dtype: torch.dtype = torch.float64) -> FisherRoots:
        """Return roots from a copy of an array (M, r, D), or (M, D): a gradient each.

        With noise variance s2, `from_dense(x / s2**0.5)` is Bayesian linear regression.

        Raises:
            ValueError: other shapes and entries that are not finite.
        """
        rows = as_tensor(array, "array", dtype=dtype, copy=True)
        if rows.ndim == 2:
            rows = rows[:, None, :]
        if rows.ndim != 3 or 0 in rows.shape[1:]:
            raise ValueError(
                f"array must have shape (M, r, D) or (M, D), got {tuple(rows.shape)}"
            )
        return cls(rows)

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, indices: Any) -> FisherRoots:
        indices = selection(indices, len(self))
        return self._mapped(lambda held: held[indices])

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} examples, rank {self.rank}, "
            f"{self.num_parameters} parameters)"
        )

    @property
    def rank(self) -> int:
        """r, the number of rows of each root."""
        return self._shape[1]

    @property
    def num_parameters(self) -> int:
        """The number D of parameters."""
        return self._shape[2]

    @property
    def num_rows(self) -> int:
        """M r, the rows of all examples."""
        return len(self) * self.rank

    @property
    def num_outputs(self) -> int:
        """Numbers a root's row is combined from when it meets a vector: 1, or C."""
        return 1

    @property
    def numbers_each(self) -> int:
        """Numbers that an example takes when it is held."""
        return self.rank * self.num_parameters

    @property
    def dtype(self) -> torch.dtype:
        """The floating type the roots are held in."""
        return self._like.dtype

    @property
    def device(self) -> torch.device:
        """The device the roots are held on."""
        return self._like.device

    @property
    def factored(self) -> bool:
        """Whether inner products of roots cost far less than rows of D numbers."""
        return self.kronecker

    def dense(self) -> Tensor:
        """All roots as one tensor (M, r, D)."""
        return self._rows

    def rows(self) -> Tensor:
        """All rows (M r, D) of the roots in float64."""
        return self.dense().double().flatten(0, 1)

    def own_rows(self) -> Tensor:
        """Rows (M, r, s) with the same inner products within each example."""
        return self.dense()

    def reduced(self) -> FisherRoots:
        """The same roots in the coordinates of their basis (themselves without one)."""
        return self

    def held(self) -> FisherRoots:
        """The same roots in memory."""
        return self

    def held_if_small(self) -> FisherRoots:
        """The same roots, in memory if that takes little."""
        return self

    def double(self) -> FisherRoots:
        """The same roots held in float64."""
        same = self.dtype == torch.float64
        return self if same else self._mapped(torch.Tensor.double)

    def gram(self, target: Any) -> Tensor:
        """Return blocks R_i A R_i^T (M, r, r) of a symmetric A (D, D) or a posterior.

        Given a posterior, A is its covariance: the r x r blocks of F_i P^{-1}. Raises
        ValueError for an A that is not symmetric, or of another size.
        """
        if hasattr(target, "log_det_precision"):
            return target.gram(self)
        matrix = symmetric(target, "matrix", self.num_parameters)
        return self.gram_of_symmetric(matrix)

    def gram_of_symmetric(self, matrix: Tensor) -> Tensor:
        """`gram` (M, r, r) of a (D, D) tensor that is known to be symmetric."""
        matrix = matrix.to(self.device, self.dtype)
        return self.by_chunks(lambda part: (x := part.dense()) @ matrix @ x.mT)

    def self_gram(self) -> Tensor:
        """R_i R_i^T (M, r, r): the Gram blocks against the identity."""
        return outer(self.own_rows())

    def project(self, matrix: Any) -> Tensor:
        """Products R_i X (M, r, n) with X (D, n), in the roots' floating type."""
        shape = (self.num_parameters, "n")
        matrix = as_tensor(matrix, "matrix", shape, self.dtype)
        return self.times(matrix.to(self.device))

    def times(self, matrix: Tensor) -> Tensor:
        """`project` (M, r, n) of a tensor X (D, n) as it is, in its floating type."""
        if not self.factored and self.dtype == matrix.dtype:
            return self.dense() @ matrix
        return self.by_chunks(lambda part: part.dense().to(matrix.dtype) @ matrix)

    def multiplier(self, matrix: Tensor) -> Callable[[slice], Tensor]:
        """A function of a slice of examples: `times` a matrix (D, n) that is kept."""
        return lambda some: self[some].times(matrix)

    def cross(self, other: FisherRoots) -> Tensor:
        """Return inner products of all pairs, R_i R'_j^T as (M, r, M', r').

        Raises ValueError for other numbers of parameters.
        """
        check_parameters(other, "other", self.num_parameters, "these roots")
        if other.streamed and not self.streamed:
            return other.cross(self).permute(2, 3, 0, 1)
        return self._cross(other)

    def _cross(self, other: FisherRoots) -> Tensor:
        return torch.einsum("ird,jsd->irjs", self.dense(), other.dense())

    def scaled(self, weights: Tensor) -> FisherRoots:
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return FisherRoots(weights @ self._rows)

    def reweighted(self, weight: float) -> FisherRoots:
        """Roots of w F_i."""
        eye = torch.eye(self.rank, dtype=self.dtype, device=self.device)
        return self.scaled((eye * weight**0.5).expand(len(self), -1, -1))

    def fisher_sum(self) -> Tensor:
        """Sum over the examples of F_i, (D, D), accumulated in float64."""
        size = self.num_parameters
        total = torch.zeros(size, size, dtype=torch.float64, device=self.device)
        for chunk in self.chunks():
            rows = chunk.rows()
            total.addmm_(rows.mT, rows)
        return total

    def fisher_mean(self) -> Tensor:
        """Mean over the examples of F_i, (D, D)."""
        check_count(len(self), "roots")
        return self.fisher_sum() / len(self)

    def fisher_trace(self) -> Tensor:
        """Trace of the sum over the examples of F_i, (), in float64."""
        grams = self.self_gram().double()
        return grams.diagonal(dim1=1, dim2=2).sum()

    def fisher_product(self, vector: Tensor) -> Tensor:
        """(sum of F_i) v (D,), in float64, with a vector v (D,)."""
        total = torch.zeros_like(vector, dtype=torch.float64)
        for part in self.chunks():
            rows = part.dense().flatten(0, 1)
            total += (rows.mT @ (rows @ vector)).double()
        return total

    def diagonal(self) -> Tensor:
        """The diagonals of all F_i, (M, D)."""
        return self._rows.square().sum(1)

    def diagonal_sum(self) -> Tensor:
        """Sum over the examples of the diagonals of F_i, (D,), in float64."""
        total = torch.zeros(self.num_parameters).double().to(self.device)
        for part in self.chunks():
            total += part.double().diagonal().sum(0)
        return total

    def outer_factors(self) -> tuple[Tensor, Tensor | None]:
        """phi (M, q) and u (M, C) of roots u_i (x) phi_i of rank 1, or no u."""
        return self.dense()[:, 0], None

    def kronecker_sums(self) -> tuple[Tensor, Tensor]:
        """sum U_i U_i^T (C, C) and sum phi_i phi_i^T (q, q), of last-layer roots."""
        raise ValueError(
            "train_roots must be last-layer roots for the kronecker approximation, got "
            f"{type(self).__name__}"
        )

    def batches(self, size: int) -> Iterator[FisherRoots]:
        """Consecutive roots of at most `size` examples each, for one pass over all."""
        size = positive_int(size, "size")
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def chunks(self, numbers_each: int | None = None) -> Iterator[FisherRoots]:
        """Consecutive parts whose temporaries stay within a few tens of MB."""
        if numbers_each is None:
            numbers_each = self.rank * self.num_parameters
        step = chunk_step(numbers_each)
        for start in range(0, len(self), step):
            yield self[start : start + step]

    def by_chunks(
        self,
        function: Callable[[FisherRoots], Tensor],
        numbers_each: int | None = None,
    ) -> Tensor:
        """What a function makes of consecutive chunks, joined, (M, ...)."""
        parts = [function(part) for part in self.chunks(numbers_each)]
        return concatenated(parts) if parts else function(self)

    @classmethod
    def joined(cls, parts: list) -> FisherRoots:
        """The examples of several roots of this class, one after the other."""
        return parts[0]._mapped(lambda *same: torch.cat(same), *parts[1:])

    def _mapped(self, function: Callable[..., Tensor], *others: Any) -> FisherRoots:
        """Roots whose tensors are the function's of these roots' (and the others')."""
        return FisherRoots(function(self._rows, *(one._rows for one in others)))


def as_roots(value: Any, name: str) -> FisherRoots:
    """Roots as they are, or gradients (M, D) as roots of rank 1; at least one."""
    if not hasattr(value, "num_parameters"):
        value = FisherRoots.from_dense(as_tensor(value, name, ("M", "D")))
    check_count(len(value), name)
    return value


def outer(rows: Tensor) -> Tensor:
    """Y Y^T (m, r, r) of rows Y (m, r, n)."""
    if rows.shape[1] == 1:
        return torch.linalg.vector_norm(rows, dim=2, keepdim=True).square()
    return rows @ rows.mT


def concatenated(tensors: list[Tensor]) -> Tensor:
    """Tensors (m, ...) one after the other, without a copy of a single one."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def in_memory(roots: FisherRoots) -> FisherRoots:
    """Roots that many steps go over: held if small, and factors in float64."""
    roots = roots.held_if_small()
    return roots.double() if roots.factored else roots


def join(parts: list) -> FisherRoots:
    """One or more roots as one, without a copy of a single one."""
    if len({type(part) for part in parts}) > 1:
        parts = [FisherRoots(part.dense()) for part in parts]
    return parts[0] if len(parts) == 1 else parts[0].joined(parts)


def chunk_step(numbers_each: int) -> int:
    """Examples a chunk may hold, of which each takes `numbers_each` numbers."""
    return max(1, _CHUNK_NUMBERS // max(1, numbers_each))


def selection(indices: Any, count: int) -> Any:
    """Turn an index, slice, mask or sequence into one that keeps the example axis."""
    if isinstance(indices, slice):
        return indices
    indices = to_tensor(indices, "indices")
    if indices.dtype == torch.bool:
        if tuple(indices.shape) != (count,):
            raise ValueError(
                f"a mask must have shape ({count},), got {tuple(indices.shape)}"
            )
        return indices
    if indices.numel() == 0:
        return indices.long().reshape(0)
    real = indices.is_floating_point() or indices.is_complex()
    places = indices.long()
    if real or places.min() < -count or places.max() >= count:
        raise IndexError(f"indices must be integers below {count}, got {indices}")
    return places.reshape(-1)


def check_parameters(value: Any, name: str, size: int, owner: str) -> None:
    """Raise unless roots (or a posterior) have as many parameters as their owner."""
    if value.num_parameters != size:
        verb = "have" if owner.endswith("s") else "has"
        raise ValueError(
            f"{name} must have {size} parameters, as {owner} {verb}, got "
            f"{value.num_parameters}"
        )

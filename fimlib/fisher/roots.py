"""Roots held densely, and what every kind of roots has in common."""

import torch

from fimlib._checks import as_tensor, check_count, positive_int, symmetric, to_tensor

# Numbers held at once by the temporaries of a chunked pass (32 MiB in float64).
_CHUNK_NUMBERS = 2**22


class FisherRoots:
    """Roots R_i (r, D) of M examples, held densely; see `last_layer_roots` for more.

    `len(roots)` is M, `roots[indices]` selects examples (slice, mask or index tensor).
    """

    basis = None
    # Whether examples are computed as they are needed, rather than held.
    streamed = False
    # Whether Gram blocks against a D x D matrix cost far less than products by rows.
    kronecker = False

    def __init__(self, rows):
        self._rows = rows

    @classmethod
    def from_dense(cls, array, dtype=torch.float64):
        """Roots from a copy of an array (M, r, D), or (M, D): one gradient each.

        With noise variance s2, `from_dense(x / s2**0.5)` is Bayesian linear regression.
        """
        rows = as_tensor(array, "array", dtype=dtype, copy=True)
        if rows.ndim == 2:
            rows = rows[:, None, :]
        if rows.ndim != 3 or 0 in rows.shape[1:]:
            raise ValueError(
                f"array must have shape (M, r, D) or (M, D), got {tuple(rows.shape)}"
            )
        return cls(rows)

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, indices):
        return FisherRoots(self._rows[selection(indices, len(self))])

    def __repr__(self):
        return (
            f"{type(self).__name__}({len(self)} examples, rank {self.rank}, "
            f"{self.num_parameters} parameters)"
        )

    @property
    def rank(self):
        """r, the number of rows of each root."""
        return self._rows.shape[1]

    @property
    def num_parameters(self):
        """The number D of parameters."""
        return self._rows.shape[2]

    @property
    def num_outputs(self):
        """Numbers a root's row is combined from when it meets a vector: 1, or C."""
        return 1

    @property
    def dtype(self):
        """The floating type the roots are held in."""
        return self._rows.dtype

    @property
    def device(self):
        """The device the roots are held on."""
        return self._rows.device

    def dense(self):
        """All roots as one tensor (M, r, D)."""
        return self._rows

    def reduced(self):
        """The same roots in the coordinates of their basis (themselves without one)."""
        return self

    def gram(self, target):
        """Gram blocks R_i A R_i^T (M, r, r) of a symmetric A (D, D) or a posterior.

        Given a posterior, A is its covariance: the r x r blocks of F_i P^{-1}.
        """
        if hasattr(target, "log_det_precision"):
            return target.gram(self)
        matrix = symmetric(target, "matrix", self.num_parameters)
        return self.gram_of_symmetric(matrix)

    def gram_of_symmetric(self, matrix):
        """`gram` of a tensor that is known to be symmetric and of the right size."""
        matrix = matrix.to(self.device, self.dtype)
        return self._rows @ matrix @ self._rows.mT

    def self_gram(self):
        """R_i R_i^T (M, r, r): the Gram blocks against the identity."""
        return self._rows @ self._rows.mT

    def project(self, matrix):
        """Products R_i X (M, r, n) with X (D, n)."""
        return self._rows @ as_tensor(
            matrix, "matrix", (self.num_parameters, "n"), self.dtype
        ).to(self.device)

    def cross(self, other):
        """Inner products of all pairs, R_i R'_j^T as (M, r, M', r')."""
        check_same_parameters(self, other)
        if other.streamed:
            return other.cross(self).permute(2, 3, 0, 1)
        return torch.einsum("ird,jsd->irjs", self.dense(), other.dense())

    def scaled(self, weights):
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return FisherRoots(weights @ self._rows)

    def fisher_sum(self):
        """Sum over the examples of F_i, (D, D), accumulated in float64."""
        size = self.num_parameters
        total = torch.zeros(size, size, dtype=torch.float64, device=self.device)
        for chunk in self.chunks():
            rows = chunk.dense().double().flatten(0, 1)
            total.addmm_(rows.mT, rows)
        return total

    def fisher_mean(self):
        """Mean over the examples of F_i, (D, D)."""
        check_count(len(self), "roots")
        return self.fisher_sum() / len(self)

    def diagonal(self):
        """The diagonals of all F_i, (M, D)."""
        return self._rows.square().sum(1)

    def diagonal_sum(self):
        """Sum over the examples of the diagonals of F_i, (D,), in float64."""
        total = torch.zeros(
            self.num_parameters, dtype=torch.float64, device=self.device
        )
        for chunk in self.chunks():
            total += chunk.dense().double().square().sum((0, 1))
        return total

    def batches(self, size):
        """Consecutive roots of at most `size` examples each, for one pass over all."""
        size = positive_int(size, "size")
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def chunks(self, numbers_each=None):
        """Consecutive parts whose temporaries stay within a few tens of MB."""
        if numbers_each is None:
            numbers_each = self.rank * self.num_parameters
        step = chunk_step(numbers_each)
        for start in range(0, len(self), step):
            yield self[start : start + step]

    @classmethod
    def joined(cls, parts):
        """The examples of several roots of this class, one after the other."""
        return cls(torch.cat([part._rows for part in parts]))


def join(parts):
    """One or more roots as one, without a copy of a single one."""
    if len({type(part) for part in parts}) > 1:
        parts = [FisherRoots(part.dense()) for part in parts]
    return parts[0] if len(parts) == 1 else parts[0].joined(parts)


def chunk_step(numbers_each):
    """Examples a chunk may hold, of which each takes `numbers_each` numbers."""
    return max(1, _CHUNK_NUMBERS // max(1, numbers_each))


def selection(indices, count):
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
    places = indices.long()
    real = indices.is_floating_point() or indices.is_complex()
    if real or places.min() < -count or places.max() >= count:
        raise IndexError(f"indices must be integers below {count}, got {indices}")
    return places.reshape(-1)


def check_same_parameters(roots, other):
    """Raise unless both kinds of roots have the same number of parameters."""
    if roots.num_parameters != other.num_parameters:
        raise ValueError(
            f"other must have {roots.num_parameters} parameters, as these roots do, "
            f"got {other.num_parameters}"
        )

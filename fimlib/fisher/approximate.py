"""Named approximations of roots: diagonals, and random projections of parameters."""

import torch

from fimlib._checks import as_tensor, check_choice, positive_int
from fimlib.fisher.roots import FisherRoots, check_same_parameters, selection

# Numbers that a Gaussian projection may take (1 GiB in float64).
_MAX_GAUSSIAN = 2**27


class DiagonalRoots(FisherRoots):
    """The approximation diag(F_i) of each F_i, with R_i = diag(sqrt F_i) of rank D.

    diagonals: (M, D), not negative. Every score takes them; a Gram block has D x D
    numbers, so D is at most some hundreds. Determinants overestimate: log det(I + F)
    is at most that of its diagonal (Hadamard), for a diagonal posterior precision.
    """

    def __init__(self, diagonals, dtype=torch.float64):
        diagonals = as_tensor(diagonals, "diagonals", ("M", "D"), dtype)
        if (diagonals < 0).any():
            raise ValueError(
                f"diagonals must not be negative, got {float(diagonals.min()):.6g}"
            )
        self._root = diagonals.sqrt()

    @classmethod
    def from_roots(cls, roots):
        """The diagonal approximation of any roots, streamed ones too: M D numbers."""
        return cls(roots.diagonal(), roots.dtype)

    def __len__(self):
        return len(self._root)

    def __getitem__(self, indices):
        return self._of_root(self._root[selection(indices, len(self))])

    @property
    def rank(self):
        """r = D, the number of rows of each root."""
        return self._root.shape[1]

    @property
    def num_parameters(self):
        """The number D of parameters."""
        return self._root.shape[1]

    @property
    def dtype(self):
        """The floating type the roots are held in."""
        return self._root.dtype

    @property
    def device(self):
        """The device the roots are held on."""
        return self._root.device

    def dense(self):
        """All roots as one tensor (M, D, D): asks for that much memory."""
        return torch.diag_embed(self._root)

    def gram_of_symmetric(self, matrix):
        """`gram` of a tensor that is known to be symmetric and of the right size."""
        matrix = matrix.to(self.device, self.dtype)
        return self._root[:, :, None] * matrix * self._root[:, None, :]

    def self_gram(self):
        """R_i R_i^T = diag(F_i), (M, D, D)."""
        return torch.diag_embed(self._root.square())

    def project(self, matrix):
        """Products R_i X (M, D, n) with X (D, n)."""
        matrix = as_tensor(matrix, "matrix", (self.num_parameters, "n"), self.dtype)
        return self._root[:, :, None] * matrix.to(self.device)

    def cross(self, other):
        """Inner products of all pairs, R_i R'_j^T as (M, D, M', r')."""
        check_same_parameters(self, other)
        columns = other.dense().permute(2, 0, 1)
        return self._root[:, :, None, None] * columns

    def scaled(self, weights):
        """Roots W_i R_i from weights (M, r', D): dense ones, of rank r'."""
        return FisherRoots(weights.to(self._root) * self._root[:, None, :])

    def diagonal(self):
        """The diagonals of all F_i, (M, D)."""
        return self._root.square()

    def diagonal_sum(self):
        """Sum over the examples of the diagonals of F_i, (D,), in float64."""
        return self._root.double().square().sum(0)

    def fisher_sum(self):
        """Sum over the examples of diag(F_i), (D, D), in float64."""
        return torch.diag(self.diagonal_sum())

    @classmethod
    def joined(cls, parts):
        """The examples of several roots of this class, one after the other."""
        return cls._of_root(torch.cat([part._root for part in parts]))

    @classmethod
    def _of_root(cls, root):
        new = cls.__new__(cls)
        new._root = root
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
    """

    def __init__(self, num_parameters, size, kind="gaussian", generator=None):
        self.num_parameters = positive_int(num_parameters, "num_parameters")
        self.size = positive_int(size, "size")
        check_choice(kind, "kind", ("gaussian", "count_sketch"))
        self.kind = kind
        options = {"generator": generator}
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

    def __repr__(self):
        return f"Sketch({self.num_parameters} parameters to {self.size}, {self.kind})"

    def __call__(self, roots):
        """The sketched roots (M, r, size), computed chunk by chunk and held."""
        if roots.num_parameters != self.num_parameters:
            raise ValueError(
                f"roots must have {self.num_parameters} parameters, as the sketch has, "
                f"got {roots.num_parameters}"
            )
        empty = torch.zeros(0, roots.rank, self.size)
        parts = [empty.to(roots.device, roots.dtype)]
        parts += [self._of_chunk(chunk) for chunk in roots.chunks()]
        return FisherRoots(torch.cat(parts))

    def _of_chunk(self, chunk):
        if self.kind == "gaussian":
            return chunk.project(self._matrix)
        rows = chunk.dense()
        signed = rows * self._sign.to(rows)
        sums = rows.new_zeros(*rows.shape[:2], self.size)
        return sums.index_add_(2, self._bucket.to(rows.device), signed)

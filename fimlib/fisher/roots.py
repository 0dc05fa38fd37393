"""Per-example Fisher information as roots R_i (r, D) with F_i = R_i^T R_i (T13-T16).

Nothing here forms a D x D matrix per example: what the scores need is the Gram block
R_i A R_i^T (r, r) of a root against one matrix, and the sum of all F_i.
"""

from functools import cached_property

import torch

from fimlib._checks import (
    as_tensor,
    check_choice,
    check_count,
    positive_int,
    symmetric,
)
from fimlib.families import Categorical

# Numbers held at once by the temporaries of a chunked pass (32 MiB in float64).
_CHUNK_NUMBERS = 2**22


class FisherRoots:
    """Roots R_i (r, D) of M examples, held densely; see `last_layer_roots` for more.

    `len(roots)` is M, `roots[indices]` selects examples (slice, mask or index tensor).
    """

    basis = None

    def __init__(self, rows):
        self._rows = rows

    @classmethod
    def from_dense(cls, array, dtype=torch.float64):
        """Roots from an array (M, r, D), or (M, D): one gradient or feature each.

        With noise variance s2, `from_dense(x / s2**0.5)` is Bayesian linear regression.
        """
        rows = as_tensor(array, "array", dtype=dtype)
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
        return FisherRoots(self._rows[_selection(indices, len(self))])

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
        """D."""
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
        _check_same_parameters(self, other)
        return torch.einsum("ird,jsd->irjs", self.dense(), other.dense())

    def scaled(self, weights):
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return FisherRoots(weights @ self._rows)

    def fisher_sum(self):
        """Sum over the examples of F_i, (D, D), accumulated in float64."""
        total = torch.zeros(
            self.num_parameters,
            self.num_parameters,
            dtype=torch.float64,
            device=self.device,
        )
        for chunk in self.chunks():
            rows = chunk.dense().double().flatten(0, 1)
            total.addmm_(rows.mT, rows)
        return total

    def fisher_mean(self):
        """Mean over the examples of F_i, (D, D)."""
        check_count(len(self), "roots")
        return self.fisher_sum() / len(self)

    def chunks(self, numbers_each=None):
        """Consecutive parts whose temporaries stay within a few tens of MB."""
        if numbers_each is None:
            numbers_each = self.rank * self.num_parameters
        step = _step(numbers_each)
        for start in range(0, len(self), step):
            yield self[start : start + step]


class KroneckerRoots(FisherRoots):
    """Roots of a last layer: R_i = U_i^T (x) phi_i^T, never formed.

    `factor` U (M, C, r), `features` phi (M, q), D = C q. Parameters are class-major:
    number c q + j is the weight from feature j to output c. `basis`, if given, is an
    orthonormal (C, k) matrix whose span holds every U_i: the other directions of the
    parameters carry no information, and `reduced()` leaves them out (D = k q).
    """

    def __init__(self, factor, features, basis=None):
        self.factor = factor
        self.features = features
        self.basis = basis

    def __len__(self):
        return len(self.features)

    def __getitem__(self, indices):
        indices = _selection(indices, len(self))
        return KroneckerRoots(self.factor[indices], self.features[indices], self.basis)

    @property
    def rank(self):
        """r, the number of rows of each root."""
        return self.factor.shape[2]

    @property
    def num_parameters(self):
        """D = C q."""
        return self.factor.shape[1] * self.features.shape[1]

    @property
    def num_outputs(self):
        """C."""
        return self.factor.shape[1]

    @property
    def dtype(self):
        """The floating type the roots are held in."""
        return self.features.dtype

    @property
    def device(self):
        """The device the roots are held on."""
        return self.features.device

    def dense(self):
        """All roots as one tensor (M, r, C q): asks for that much memory."""
        rows = torch.einsum("mcr,mq->mrcq", self.factor, self.features)
        return rows.flatten(2)

    @cached_property
    def _reduced(self):
        basis = self.basis.to(self.factor)
        return KroneckerRoots(basis.mT @ self.factor, self.features)

    def reduced(self):
        """The same roots in the coordinates of their basis (themselves without one)."""
        return self if self.basis is None else self._reduced

    def gram_of_symmetric(self, matrix):
        """U^T [phi^T A_ab phi]_ab U, from the pairs of outputs a <= b only."""
        matrix = matrix.to(self.device, self.dtype)
        outputs, width = self.factor.shape[1], self.features.shape[1]
        a, b = torch.triu_indices(outputs, outputs, device=self.device)
        blocks = matrix.view(outputs, width, outputs, width)[a, :, b, :]
        blocks = blocks.permute(1, 0, 2).reshape(width, len(a) * width)
        grams = []
        for part in self.chunks(len(a) * width):
            left = (part.features @ blocks).view(len(part), len(a), width)
            forms = (left @ part.features[:, :, None])[:, :, 0]
            inner = forms.new_empty(len(part), outputs, outputs)
            inner[:, a, b] = forms
            inner[:, b, a] = forms
            grams.append(part.factor.mT @ inner @ part.factor)
        return torch.cat(grams) if grams else self.self_gram()

    def self_gram(self):
        """R_i R_i^T (M, r, r): the Gram blocks against the identity."""
        norms = self.features.square().sum(-1)[:, None, None]
        return norms * (self.factor.mT @ self.factor)

    def project(self, matrix):
        """Products R_i X (M, r, n) with X (D, n)."""
        matrix = as_tensor(matrix, "matrix", (self.num_parameters, "n"), self.dtype)
        matrix = matrix.to(self.device)
        parts = [part.dense() @ matrix for part in self.chunks()]
        return torch.cat(parts) if parts else self.dense() @ matrix

    def cross(self, other):
        """Inner products of all pairs, R_i R'_j^T as (M, r, M', r')."""
        _check_same_parameters(self, other)
        outputs, width = self.factor.shape[1], self.features.shape[1]
        if isinstance(other, KroneckerRoots) and other.features.shape[1] == width:
            inner = self.features @ other.features.mT
            outer = torch.einsum("mcr,ncs->mrns", self.factor, other.factor)
            return outer * inner[:, None, :, None]
        right = other.dense().reshape(-1, width)
        inner = (self.features @ right.mT).view(len(self), -1, outputs) @ self.factor
        return inner.mT.unflatten(2, (len(other), other.rank))

    def scaled(self, weights):
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return KroneckerRoots(self.factor @ weights.mT, self.features, self.basis)

    def fisher_sum(self):
        """Sum over the examples of F_i, (D, D), by weighted feature products."""
        if self.basis is not None:
            return embed(self.reduced().fisher_sum(), self.basis.to(self.device))
        outputs, width = self.factor.shape[1], self.features.shape[1]
        a, b = torch.triu_indices(outputs, outputs, device=self.device)
        like = {"dtype": torch.float64, "device": self.device}
        total = torch.zeros(width, len(a) * width, **like)
        # One buffer for all chunks: fresh memory costs more than the product.
        step = min(len(self), _step(len(a) * width))
        space = torch.empty(step, len(a), width, **like)
        for part in self.chunks(len(a) * width):
            factor, features = part.factor.double(), part.features.double()
            weights = (factor @ factor.mT)[:, a, b]
            weighted = space[: len(part)]
            torch.mul(weights[:, :, None], features[:, None, :], out=weighted)
            total.addmm_(features.mT, weighted.flatten(1))
        blocks = total.view(width, len(a), width).permute(1, 0, 2)
        full = total.new_empty(outputs, width, outputs, width)
        full[a, :, b, :] = blocks
        full[b, :, a, :] = blocks
        return full.reshape(outputs * width, outputs * width)


def _step(numbers_each):
    return max(1, _CHUNK_NUMBERS // max(1, numbers_each))


def embed(matrix, basis):
    """(Q (x) I) A (Q (x) I)^T: a matrix in reduced coordinates, back in all D."""
    width = len(matrix) // basis.shape[1]
    blocks = matrix.view(basis.shape[1], width, basis.shape[1], width)
    full = torch.einsum("ak,kiLj,bL->aibj", basis, blocks, basis)
    return full.reshape(len(basis) * width, len(basis) * width)


def last_layer_roots(
    features,
    logits,
    family=None,
    bias=True,
    estimator="exact",
    labels=None,
    num_samples=1,
    generator=None,
    dtype=torch.float64,
):
    """Fisher roots of the last layer f = W phi (+ b) of a network (T16, T31).

    features: (M, d), the layer's inputs; with `bias` a 1 is appended, q = d + 1.
    logits: (M, C), the network's outputs: logits for `Categorical()` (the default
    family), the mean for `Gaussian(variance)`, where F = J^T J / s2.
    estimator: "exact" (the Fisher information), "monte_carlo" (`num_samples` labels
    drawn from the model: unbiased), "hard_label" (the most probable label: biased),
    "empirical" (the given `labels`: not a Fisher information, T13).
    Parameters are class-major (weight c, j is number c q + j, the bias j = q - 1).

    Raises ValueError for wrong shapes, non-finite values, labels outside 0..C-1, and
    labels given to an estimator that has no use for them.
    """
    family = Categorical() if family is None else family
    check_choice(
        estimator,
        "estimator",
        ("exact", "monte_carlo", "hard_label", "empirical"),
    )
    if (labels is None) == (estimator == "empirical"):
        needs = "needs" if labels is None else "has no use for"
        raise ValueError(f'estimator "{estimator}" {needs} labels')
    features = as_tensor(features, "features", ("M", "d"), dtype)
    logits = as_tensor(logits, "logits", (len(features), "C"))
    factor = _output_factor(family, logits, estimator, labels, num_samples, generator)
    if not bias and features.shape[1] == 0:
        raise ValueError("features must have at least one column without bias, got 0")
    if bias:
        features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    basis = family.output_basis(logits.shape[1], logits.device)
    return KroneckerRoots(factor.to(features), features, basis)


def _output_factor(family, outputs, estimator, labels, num_samples, generator):
    """U (M, C, r) with U U^T the Fisher information of the outputs, or its estimate."""
    if estimator == "exact":
        return family.output_root(outputs)
    if estimator == "empirical":
        return family.output_gradient(outputs, labels)[:, :, None]
    z = family.natural(outputs)
    if estimator == "hard_label":
        return family.output_gradient(outputs, family.mode(z))[:, :, None]
    num_samples = positive_int(num_samples, "num_samples")
    draws = family.sample(z, num_samples, generator)
    gradients = [family.output_gradient(outputs, y) for y in draws]
    return torch.stack(gradients, dim=-1) / num_samples**0.5


def _selection(indices, count):
    """Turn an index, slice, mask or sequence into one that keeps the example axis."""
    if isinstance(indices, slice):
        return indices
    indices = torch.as_tensor(indices)
    if indices.dtype == torch.bool:
        if tuple(indices.shape) != (count,):
            raise ValueError(
                f"a mask must have shape ({count},), got {tuple(indices.shape)}"
            )
        return indices
    if indices.numel() == 0:
        return indices.long().reshape(0)
    if indices.is_floating_point() or indices.min() < -count or indices.max() >= count:
        raise IndexError(f"indices must be integers below {count}, got {indices}")
    return indices.reshape(-1)


def _check_same_parameters(roots, other):
    if roots.num_parameters != other.num_parameters:
        raise ValueError(
            f"other must have {roots.num_parameters} parameters, as these roots do, "
            f"got {other.num_parameters}"
        )

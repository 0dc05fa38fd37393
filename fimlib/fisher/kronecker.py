"""Roots of a linear layer in Kronecker form, of which nothing of size D is held."""

from functools import cached_property

import torch

from fimlib._checks import as_tensor
from fimlib.fisher.roots import (
    FisherRoots,
    check_same_parameters,
    chunk_step,
    selection,
)


class KroneckerRoots(FisherRoots):
    """Roots of a last layer: R_i = U_i^T (x) phi_i^T, never formed.

    `factor` U (M, C, r), `features` phi (M, q), D = C q. Parameters are class-major:
    number c q + j is the weight from feature j to output c. `basis`, if given, is an
    orthonormal (C, k) matrix whose span holds every U_i: the other directions of the
    parameters carry no information, and `reduced()` leaves them out (D = k q).
    """

    kronecker = True

    def __init__(self, factor, features, basis=None):
        self.factor = factor
        self.features = features
        self.basis = basis

    def __len__(self):
        return len(self.features)

    def __getitem__(self, indices):
        indices = selection(indices, len(self))
        return KroneckerRoots(self.factor[indices], self.features[indices], self.basis)

    @property
    def rank(self):
        """r, the number of rows of each root."""
        return self.factor.shape[2]

    @property
    def num_parameters(self):
        """The number D = C q of parameters."""
        return self.factor.shape[1] * self.features.shape[1]

    @property
    def num_outputs(self):
        """The number C of outputs."""
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
        check_same_parameters(self, other)
        if other.streamed:
            return other.cross(self).permute(2, 3, 0, 1)
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
        step = min(len(self), chunk_step(len(a) * width))
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

    def diagonal(self):
        """The diagonals of all F_i, (M, C q)."""
        curvature = self.factor.square().sum(-1)
        return (curvature[:, :, None] * self.features.square()[:, None, :]).flatten(1)

    def diagonal_sum(self):
        """Sum over the examples of the diagonals of F_i, (C q,), in float64."""
        curvature = self.factor.double().square().sum(-1)
        return (curvature.mT @ self.features.double().square()).flatten()

    @classmethod
    def joined(cls, parts):
        """The examples of several roots of this class, one after the other."""
        factor = torch.cat([part.factor for part in parts])
        features = torch.cat([part.features for part in parts])
        return cls(factor, features, parts[0].basis)


def embed(matrix, basis):
    """(Q (x) I) A (Q (x) I)^T: a matrix in reduced coordinates, back in all D."""
    width = len(matrix) // basis.shape[1]
    blocks = matrix.view(basis.shape[1], width, basis.shape[1], width)
    full = torch.einsum("ak,kiLj,bL->aibj", basis, blocks, basis)
    return full.reshape(len(basis) * width, len(basis) * width)

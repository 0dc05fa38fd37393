"""The categorical family: C classes with C logits."""

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import class_labels
from fimlib.families._base import ExponentialFamily, parameters


class Categorical(ExponentialFamily):
    """C classes with C logits, over-parametrised: adding a constant changes nothing.

    Labels y are (M,), integers in 0..C-1, and A(z) = log sum_c exp z_c (T17).

    >>> Categorical().fisher([[0.0, 0.0]])  # diag(p) - p p^T
    tensor([[[ 0.2500, -0.2500],
             [-0.2500,  0.2500]]], dtype=torch.float64)
    """

    def output_basis(
        self, num_outputs: int, device: torch.device | None = None
    ) -> Tensor:
        """Basis (C, C-1) of the complement of 1: every gradient's entries sum to 0."""
        ones = torch.ones(num_outputs, 1, dtype=torch.float64, device=device)
        return torch.linalg.qr(ones, mode="complete")[0][:, 1:]

    def _log_partition(self, z: Tensor) -> Tensor:
        return z.amax(-1) + torch.log1p(_tail(z))

    def _mean(self, z: Tensor) -> Tensor:
        return _log_probs(z).exp()

    def _fisher(self, z: Tensor) -> Tensor:
        p = self._mean(z)
        off = -p[:, :, None] * p[:, None, :]
        off.diagonal(dim1=1, dim2=2).zero_()
        # Each row sums to zero; 1 - p_c itself would lose a saturated class.
        return off - torch.diag_embed(off.sum(-1))

    def _root(self, z: Tensor) -> Tensor:
        # U (M, C, C-1), relatively accurate for saturated p. Its columns are diag(sqrt
        # p) times the Householder basis of the complement of sqrt p, pivoted at the
        # largest class: no entry is computed by cancellation.
        log_p = _log_probs(z)
        num_classes = log_p.shape[1]
        top = log_p.argmax(-1, keepdim=True)
        root_p = (log_p / 2).exp()
        # Indices (M, C-1) of the classes other than the largest, ascending.
        others = torch.arange(num_classes - 1, device=z.device).expand(len(z), -1)
        others = others + (others >= top)
        columns = root_p.gather(1, others)
        share = columns / (1.0 + root_p.gather(1, top))
        u = -log_p.exp()[:, :, None] * share[:, None, :]
        rows = torch.zeros_like(u).scatter_(1, others[:, None, :], columns[:, None, :])
        at_top = -(root_p.gather(1, top) * columns)[:, None, :]
        index = top[:, :, None].expand(-1, 1, num_classes - 1)
        return (u + rows).scatter(1, index, at_top)

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        return _log_probs(z).gather(1, y[:, None])[:, 0]

    def _sample(self, z: Tensor, rng: Generator | None) -> Tensor:
        p = self._mean(z[0])
        return torch.multinomial(p, len(z), replacement=True, generator=rng).T

    def _mode(self, z: Tensor) -> Tensor:
        return z.argmax(-1)

    def _entropy(self, z: Tensor) -> Tensor:
        log_p = _log_probs(z)
        return -(log_p.exp() * log_p).sum(-1)

    def _gradient(self, z: Tensor, y: Tensor) -> Tensor:
        # The label's own entry, p_y - 1, is minus the sum of the others.
        others = self._mean(z).scatter(1, y[:, None], 0.0)
        return others.scatter(1, y[:, None], -others.sum(-1, keepdim=True))

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        return class_labels(y, name, *z.shape).to(z.device)

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        z = parameters(z, name)
        if z.shape[1] < 2:
            raise ValueError(
                f"{name} must have at least 2 columns, got {tuple(z.shape)}: one logit "
                "is that of family Bernoulli()"
            )
        return z


def _tail(z: Tensor) -> Tensor:
    """sum over all classes but the largest of exp(z_c - z_max), (M,)."""
    top = z.argmax(-1, keepdim=True)
    return (z - z.gather(1, top)).exp().scatter(1, top, 0.0).sum(-1)


def _log_probs(z: Tensor) -> Tensor:
    """log p (M, C): log1p keeps that of a saturated class, which log_softmax rounds."""
    return (z - z.amax(-1, keepdim=True)) - torch.log1p(_tail(z))[:, None]

"""The categorical family: C classes with C logits."""

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import class_labels, positive_int
from fimlib.families._base import ExponentialFamily, parameters


class Categorical(ExponentialFamily):
    """C classes with C logits, over-parametrised: adding a constant changes nothing.

    Example:
        >>> Categorical().fisher([[0.0, 0.0]])  # diag(p) - p p^T
        tensor([[[ 0.2500, -0.2500],
                 [-0.2500,  0.2500]]], dtype=torch.float64)
    """

    def log_partition(self, z: ArrayLike) -> Tensor:
        """A(z) = log sum_c exp z_c, (M,)."""
        z = self._parameters(z, "z")
        return z.amax(-1) + torch.log1p(_tail(z))

    def mean(self, z: ArrayLike) -> Tensor:
        """E[T(Y)] = class probabilities (M, C)."""
        return self._log_probs(z).exp()

    def fisher(self, z: ArrayLike) -> Tensor:
        """Lambda = diag(p) - p p^T (M, C, C), the Hessian of A (T17)."""
        p = self.mean(z)
        off = -p[:, :, None] * p[:, None, :]
        off.diagonal(dim1=1, dim2=2).zero_()
        # Each row sums to zero; 1 - p_c itself would lose a saturated class.
        return off - torch.diag_embed(off.sum(-1))

    def fisher_root(self, z: ArrayLike) -> Tensor:
        """U (M, C, C-1) with U U^T = Lambda, relatively accurate for saturated p."""
        # The columns are diag(sqrt p) times the Householder basis of the complement of
        # sqrt p, pivoted at the largest class: no entry is computed by cancellation.
        log_p = self._log_probs(z)
        num_classes = log_p.shape[1]
        top = log_p.argmax(-1, keepdim=True)
        root_p = (log_p / 2).exp()
        others = _all_but(top, num_classes)
        columns = root_p.gather(1, others)
        share = columns / (1.0 + root_p.gather(1, top))
        u = -log_p.exp()[:, :, None] * share[:, None, :]
        rows = torch.zeros_like(u).scatter_(1, others[:, None, :], columns[:, None, :])
        at_top = -(root_p.gather(1, top) * columns)[:, None, :]
        index = top[:, :, None].expand(-1, 1, num_classes - 1)
        return (u + rows).scatter(1, index, at_top)

    def log_prob(self, z: ArrayLike, y: ArrayLike) -> Tensor:
        """log p(y|z) in nats (M,), for labels y (M,) in 0..C-1."""
        log_p = self._log_probs(z)
        y = class_labels(y, "y", *log_p.shape).to(log_p.device)
        return log_p.gather(1, y[:, None])[:, 0]

    def sample(
        self, z: ArrayLike, num_samples: int = 1, generator: Generator | None = None
    ) -> Tensor:
        """Labels (num_samples, M) drawn from p(y|z)."""
        num_samples = positive_int(num_samples, "num_samples")
        p = self.mean(z)
        draws = torch.multinomial(p, num_samples, replacement=True, generator=generator)
        return draws.T

    def mode(self, z: ArrayLike) -> Tensor:
        """The most probable label (M,)."""
        return self._parameters(z, "z").argmax(-1)

    def entropy(self, z: ArrayLike) -> Tensor:
        """H[Y|z] in nats (M,)."""
        log_p = self._log_probs(z)
        return -(log_p.exp() * log_p).sum(-1)

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient p - e_y (M, C) of -log p(y|z) by the logits, y (M,)."""
        p = self.mean(outputs)
        y = class_labels(y, "labels", *p.shape).to(p.device)[:, None]
        # The label's own entry, p_y - 1, is minus the sum of the others.
        others = p.scatter(1, y, 0.0)
        return others.scatter(1, y, -others.sum(-1, keepdim=True))

    def output_basis(
        self, num_outputs: int, device: torch.device | None = None
    ) -> Tensor:
        """Basis (C, C-1) of the complement of 1: every gradient's entries sum to 0."""
        ones = torch.ones(num_outputs, 1, dtype=torch.float64, device=device)
        return torch.linalg.qr(ones, mode="complete")[0][:, 1:]

    def _log_probs(self, z: ArrayLike) -> Tensor:
        z = self._parameters(z, "z")
        top = z.amax(-1, keepdim=True)
        # log1p keeps log p of a saturated class, which log_softmax rounds to zero.
        return (z - top) - torch.log1p(_tail(z))[:, None]

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


def _all_but(top: Tensor, num_classes: int) -> Tensor:
    """Indices (M, C-1) of the classes other than `top` (M, 1), ascending."""
    index = torch.arange(num_classes - 1, device=top.device).expand(len(top), -1)
    return index + (index >= top)

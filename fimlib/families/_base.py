"""What all families share: outputs are natural parameters unless a family says else."""

from abc import ABC, abstractmethod

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import as_tensor, check_shape, positive_int


class ExponentialFamily(ABC):
    """Base of the families: p(y|z) = exp(z^T T(y) - A(z) + log h(y)).

    z (M, C) are natural parameters, `outputs` (M, C) what a network gives, y (M, C)
    labels, or (M,) for classes and for one target. Methods raise ValueError for other
    shapes, entries that are not finite, and what is out of the family's range. A
    `generator` is seeded; None is torch's own.

    >>> from fimlib.families import Poisson
    >>> family, z = Poisson(), torch.zeros(1, 1)
    >>> family.log_prob(z, [0.0]), family.mean(z)
    (tensor([-1.], dtype=torch.float64), tensor([[1.]], dtype=torch.float64))
    >>> family.sample(z, 5, torch.Generator().manual_seed(0)).shape
    torch.Size([5, 1, 1])
    """

    _constants = ""  # of the family, as they are shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._constants})"

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Return natural parameters z (M, C) of `outputs` (M, C): the same numbers."""
        return self._parameters(outputs, "outputs")

    def log_partition(self, z: ArrayLike) -> Tensor:
        """Return A(z) (M,), log of the integral of h(y) exp(z^T T(y)), of z (M, C)."""
        return self._log_partition(self._parameters(z, "z"))

    def mean(self, z: ArrayLike) -> Tensor:
        """Return E[T(Y)] (M, C) for z (M, C): the gradient of A (T16)."""
        return self._mean(self._parameters(z, "z"))

    def fisher(self, z: ArrayLike) -> Tensor:
        """Return Lambda = Cov[T(Y)] (M, C, C) for z (M, C): the Hessian of A (T16)."""
        return self._fisher(self._parameters(z, "z"))

    def fisher_root(self, z: ArrayLike) -> Tensor:
        """Return U (M, C, r), U U^T = Lambda, for z (M, C), without cancellation."""
        return self._root(self._parameters(z, "z"))

    def log_prob(self, z: ArrayLike, y: ArrayLike) -> Tensor:
        """Return log p(y|z) (M,) in nats, for z (M, C) and y: maybe a log-density."""
        z = self._parameters(z, "z")
        return self._log_prob(z, self._labels(y, "y", z))

    def sample(
        self, z: ArrayLike, num_samples: int = 1, generator: Generator | None = None
    ) -> Tensor:
        """Return L = `num_samples` labels y (L, M, C) or (L, M) for each z (M, C)."""
        num_samples = positive_int(num_samples, "num_samples")
        z = self._parameters(z, "z").expand(num_samples, -1, -1)
        return self._sample(z, generator)

    def mode(self, z: ArrayLike) -> Tensor:
        """Return the most probable label y, (M, C) or (M,), for z (M, C)."""
        return self._mode(self._parameters(z, "z"))

    def entropy(self, z: ArrayLike) -> Tensor:
        """Return H[Y|z] (M,) in nats for z (M, C), differential if Y is continuous."""
        return self._entropy(self._parameters(z, "z"))

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """Return U (M, C, r), U U^T the Fisher information of `outputs` (M, C), T16."""
        return self.fisher_root(self.natural(outputs))

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Return the gradient (M, C) of -log p(y) by `outputs` (M, C): E[T] - T(y)."""
        z = self.natural(outputs)
        return self._gradient(z, self._labels(y, "labels", z))

    def output_hessian(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Return the Hessian (M, C, C) of -log p(y) by `outputs`; by z, Lambda: T18."""
        return self.fisher(self.natural(outputs))

    def output_basis(
        self, num_outputs: int, device: torch.device | None = None
    ) -> Tensor | None:
        """Return orthonormal columns (C, r) that carry all information; None: any."""
        return None

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        return parameters(z, name)

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        return targets(y, name, z)

    # What a family gives, of checked z and y; its `_sample` has z repeated, (L, M, C).
    @abstractmethod
    def _log_partition(self, z: Tensor) -> Tensor: ...
    @abstractmethod
    def _mean(self, z: Tensor) -> Tensor: ...
    @abstractmethod
    def _root(self, z: Tensor) -> Tensor: ...
    @abstractmethod
    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor: ...
    @abstractmethod
    def _sample(self, z: Tensor, rng: Generator | None) -> Tensor: ...
    @abstractmethod
    def _entropy(self, z: Tensor) -> Tensor: ...

    def _fisher(self, z: Tensor) -> Tensor:
        root = self._root(z)
        return root @ root.mT

    def _mode(self, z: Tensor) -> Tensor:
        return self._mean(z)

    def _gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return self._mean(z) - y


def parameters(z: ArrayLike, name: str, columns: int | str = "C") -> Tensor:
    """Return z as a finite float64 tensor (M, C) with at least one column."""
    z = as_tensor(z, name, ("M", columns))
    if z.shape[1] == 0:
        raise ValueError(f"{name} must have at least 1 columns, got {tuple(z.shape)}")
    return z


def targets(y: ArrayLike, name: str, like: Tensor) -> Tensor:
    """Return labels (M, C) of the shape of `like`; a single column may be (M,)."""
    y = as_tensor(y, name)
    if like.shape[1] == 1 and y.ndim == 1:
        y = y[:, None]
    check_shape(y, name, tuple(like.shape))
    return y.to(like.device)


def refuse(bad: Tensor, values: Tensor, name: str, wanted: str) -> Tensor:
    """Return `values`; raise "name must `wanted`" with the range of the `bad` ones."""
    if bad.any():
        out = values[bad]
        raise ValueError(
            f"{name} must {wanted}, got {int(bad.sum())} others, from "
            f"{float(out.min()):.6g} to {float(out.max()):.6g}"
        )
    return values

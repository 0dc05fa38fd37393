"""What all families share: outputs are natural parameters unless a family says else."""

from abc import ABC, abstractmethod

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import as_tensor, check_shape


class ExponentialFamily(ABC):
    """Base of the families: p(y|z) = exp(z^T T(y) - A(z) + log h(y)).

    Methods take one row an example, and raise ValueError for other shapes, for entries
    that are not finite and for parameters or labels out of the family's range.

    Example:
        >>> from fimlib.families import Poisson
        >>> family, z = Poisson(), torch.zeros(1, 1)
        >>> family.log_prob(z, [0.0]), family.mean(z)
        (tensor([-1.], dtype=torch.float64), tensor([[1.]], dtype=torch.float64))
        >>> family.sample(z, 5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 1, 1])
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Natural parameters of network outputs: the same numbers.

        Args:
            outputs: (M, C), as the network gives them.
        Returns:
            z, (M, C).
        """
        return self._parameters(outputs, "outputs")

    @abstractmethod
    def log_partition(self, z: ArrayLike) -> Tensor:
        """A(z) = log of the integral of h(y) exp(z^T T(y)).

        Args:
            z: (M, C), natural parameters.
        Returns:
            (M,).
        """

    @abstractmethod
    def mean(self, z: ArrayLike) -> Tensor:
        """E[T(Y)], the gradient of A (T16).

        Args:
            z: (M, C), natural parameters.
        Returns:
            (M, C).
        """

    def fisher(self, z: ArrayLike) -> Tensor:
        """Lambda = Cov[T(Y)] = U U^T, the Hessian of A (T16).

        Args:
            z: (M, C), natural parameters.
        Returns:
            (M, C, C).
        """
        root = self.fisher_root(z)
        return root @ root.mT

    @abstractmethod
    def fisher_root(self, z: ArrayLike) -> Tensor:
        """U with U U^T = Lambda, without cancellation.

        Args:
            z: (M, C), natural parameters.
        Returns:
            (M, C, r).
        """

    @abstractmethod
    def log_prob(self, z: ArrayLike, y: ArrayLike) -> Tensor:
        """log p(y|z), a log-density of a continuous label.

        Args:
            z: (M, C), natural parameters.
            y: (M, C), labels, or (M,) for classes and for one output.
        Returns:
            (M,), in nats.
        """

    @abstractmethod
    def sample(
        self, z: ArrayLike, num_samples: int = 1, generator: Generator | None = None
    ) -> Tensor:
        """Labels drawn from p(y|z).

        Args:
            z: (M, C), natural parameters.
            num_samples: L, draws of each example.
            generator: seeded; None is torch's own.
        Returns:
            (L, M, C), or (L, M) for classes and for one target.
        """

    @abstractmethod
    def mode(self, z: ArrayLike) -> Tensor:
        """The most probable label.

        Args:
            z: (M, C), natural parameters.
        Returns:
            (M, C), or (M,) for classes and for one target.
        """

    @abstractmethod
    def entropy(self, z: ArrayLike) -> Tensor:
        """H[Y|z], differential where labels are continuous.

        Args:
            z: (M, C), natural parameters.
        Returns:
            (M,), in nats.
        """

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """U with U U^T the Fisher information of the outputs (T16).

        Args:
            outputs: (M, C), as the network gives them.
        Returns:
            (M, C, r).
        """
        return self.fisher_root(self.natural(outputs))

    @abstractmethod
    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient of -log p(y) by the outputs.

        Args:
            outputs: (M, C), as the network gives them.
            y: (M, C), labels, or (M,) for classes and for one output.
        Returns:
            (M, C).
        """

    def output_hessian(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Hessian of -log p(y) by the outputs: the observed information.

        In natural parameters it is the Hessian of A, whatever the label (T18).

        Args:
            outputs: (M, C), as the network gives them.
            y: (M, C), labels, or (M,) for classes and for one output.
        Returns:
            (M, C, C).
        """
        return self.fisher(self.natural(outputs))

    def output_basis(
        self, num_outputs: int, device: torch.device | None = None
    ) -> Tensor | None:
        """Directions of the outputs that carry information; None: all of them.

        Args:
            num_outputs: C.
            device: where the basis is wanted.
        Returns:
            (C, r), orthonormal columns, or None.
        """
        return None

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        return parameters(z, name)


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


def refuse(bad: Tensor, values: Tensor, name: str, wanted: str) -> None:
    """Raise ValueError with the range of the `bad` values: "name must `wanted`"."""
    if bad.any():
        out = values[bad]
        raise ValueError(
            f"{name} must {wanted}, got {int(bad.sum())} others, from "
            f"{float(out.min()):.6g} to {float(out.max()):.6g}"
        )


def identity(z: Tensor, scale: float) -> Tensor:
    """scale I as (M, C, C)."""
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return (scale * eye).expand(len(z), -1, -1)

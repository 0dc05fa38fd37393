"""The Gaussian of a network that returns a mean and a log variance."""

from numpy.typing import ArrayLike
from torch import Tensor

from fimlib._checks import as_tensor
from fimlib.families.gaussian import GaussianMeanLogSd


class GaussianMeanLogVariance(GaussianMeanLogSd):
    """A Gaussian by mean and l = log s2, the outputs (mu, l), (M, 2), of most networks.

    Half of l is the log s of `GaussianMeanLogSd`: derivatives by l are half of those by
    log s, and the Fisher information of the outputs is diag(1/s2, 1/2) (T17).

    Example:
        >>> root = GaussianMeanLogVariance().output_root([[0.0, 0.0]])
        >>> root @ root.mT
        tensor([[[1.0000, 0.0000],
                 [0.0000, 0.5000]]], dtype=torch.float64)
    """

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Natural parameters z = (mu/s2, -1/(2 s2)) of outputs (mu, log s2), (M, 2)."""
        return super().natural(_by_log_sd(outputs))

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """U = diag(1/s, 1/sqrt 2) (M, 2, 2)."""
        root = super().output_root(_by_log_sd(outputs))
        return _half(root)[:, None] * root

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient (-e/s, (1 - e^2)/2) (M, 2) of -log p(y), with e = (y - mu)/s."""
        gradient = super().output_gradient(_by_log_sd(outputs), y)
        return _half(gradient) * gradient

    def output_hessian(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Hessian [[1/s2, e/s], [e/s, e^2/2]] (M, 2, 2): indefinite if e != 0."""
        hessian = super().output_hessian(_by_log_sd(outputs), y)
        return _half(hessian)[:, None] * hessian * _half(hessian)


def _by_log_sd(outputs: ArrayLike) -> Tensor:
    outputs = as_tensor(outputs, "outputs", ("M", 2))
    return _half(outputs) * outputs


def _half(like: Tensor) -> Tensor:
    """d(mu, log s) / d(mu, log s2), (2,)."""
    return like.new_tensor([1.0, 0.5])

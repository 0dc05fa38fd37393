"""Gaussian families: known covariance, unknown mean and variance."""

import math

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib import linalg
from fimlib._checks import positive_int
from fimlib.families._base import (
    ExponentialFamily,
    parameters,
    refuse,
    targets,
)


class MultivariateGaussian(ExponentialFamily):
    """C correlated outputs of known covariance V: z = V^{-1} mu and T(y) = y (T17).

    Args:
        covariance: V (C, C), positive definite; a ValueError otherwise.
    Example:
        >>> MultivariateGaussian([[4.0, 0.0], [0.0, 1.0]]).mean([[1.0, 1.0]])
        tensor([[4., 1.]], dtype=torch.float64)
    """

    def __init__(self, covariance: ArrayLike) -> None:
        self._factor = linalg.cholesky(covariance, "covariance")
        self.covariance = self._factor @ self._factor.mT
        self.log_det = 2 * float(self._factor.diagonal().log().sum())

    def __repr__(self) -> str:
        return f"MultivariateGaussian(covariance={tuple(self.covariance.shape)})"

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Natural parameters z = V^{-1} mu of network outputs mu (M, C)."""
        return self._solve(self._parameters(outputs, "outputs"))

    def log_partition(self, z: ArrayLike) -> Tensor:
        """A(z) = 1/2 z^T V z, (M,)."""
        z = self._parameters(z, "z")
        return (z @ self._factor.to(z.device)).square().sum(-1) / 2

    def mean(self, z: ArrayLike) -> Tensor:
        """E[Y] = V z (M, C)."""
        z = self._parameters(z, "z")
        return z @ self.covariance.to(z.device)

    def fisher(self, z: ArrayLike) -> Tensor:
        """Lambda = V (M, C, C), the Hessian of A in z (by the mean it is V^{-1})."""
        return self._repeated(self.covariance, self._parameters(z, "z"))

    def fisher_root(self, z: ArrayLike) -> Tensor:
        """U (M, C, C), the Cholesky factor of V: U U^T = Lambda."""
        return self._repeated(self._factor, self._parameters(z, "z"))

    def log_prob(self, z: ArrayLike, y: ArrayLike) -> Tensor:
        """log N(y; V z, V) in nats (M,), for y (M, C)."""
        mu = self.mean(z)
        error = self._whiten(targets(y, "y", mu) - mu)
        constant = mu.shape[1] * math.log(2 * math.pi) + self.log_det
        return -(error.square().sum(-1) + constant) / 2

    def sample(
        self, z: ArrayLike, num_samples: int = 1, generator: Generator | None = None
    ) -> Tensor:
        """Targets (num_samples, M, C) drawn from N(V z, V)."""
        mu = self.mean(z)
        noise = _noise(mu, num_samples, generator)
        return mu + noise @ self._factor.mT.to(mu.device)

    def mode(self, z: ArrayLike) -> Tensor:
        """The most probable target, the mean (M, C)."""
        return self.mean(z)

    def entropy(self, z: ArrayLike) -> Tensor:
        """H[Y|z] = 1/2 log det(2 pi e V) in nats (M,): it does not depend on z."""
        z = self._parameters(z, "z")
        constant = z.shape[1] * math.log(2 * math.pi * math.e)
        return z.new_full((len(z),), (constant + self.log_det) / 2)

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """U (M, C, C) with U U^T = V^{-1}, by the mean: F = J^T V^{-1} J."""
        eye = torch.eye(len(self._factor)).to(self._factor)
        inverse = torch.linalg.solve_triangular(self._factor, eye, upper=False)
        return self._repeated(inverse.mT, self._parameters(outputs, "outputs"))

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient V^{-1} (mu - y) (M, C) of -log p(y|mu) by the mean, y (M, C)."""
        mu = self._parameters(outputs, "outputs")
        return self._solve(mu - targets(y, "labels", mu))

    def output_hessian(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Hessian V^{-1} (M, C, C) of -log p(y|mu) by the mean, for every label y."""
        root = self.output_root(outputs)
        return root @ root.mT

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        return parameters(z, name, len(self._factor))

    def _repeated(self, matrix: Tensor, z: Tensor) -> Tensor:
        return matrix.to(z.device).expand(len(z), -1, -1)

    def _whiten(self, rows: Tensor) -> Tensor:
        """Rows (M, C) times L^{-T}, with V = L L^T."""
        factor = self._factor.to(rows.device)
        return torch.linalg.solve_triangular(factor, rows.mT, upper=False).mT

    def _solve(self, rows: Tensor) -> Tensor:
        return torch.cholesky_solve(rows.mT, self._factor.to(rows.device)).mT


class GaussianMeanVariance(ExponentialFamily):
    """One target of unknown mean and variance: z = (mu/s2, -1/(2 s2)), T = (y, y^2).

    z: (M, 2), the second column negative; a ValueError otherwise. Targets are (M,) or
    (M, 1). Lambda is [[s2, 2 mu s2], [2 mu s2, 2 s2^2 + 4 mu^2 s2]] (T17).

    Example:
        >>> GaussianMeanVariance().mean([[3.0, -0.5]])  # mu, mu^2 + s2
        tensor([[ 3., 10.]], dtype=torch.float64)
    """

    def log_partition(self, z: ArrayLike) -> Tensor:
        """A(z) = -z1^2 / (4 z2) - 1/2 log(-2 z2), (M,)."""
        mu, s2 = self._moments(z)
        return mu.square() / (2 * s2) + s2.log() / 2

    def mean(self, z: ArrayLike) -> Tensor:
        """E[T(Y)] = (mu, mu^2 + s2), (M, 2)."""
        mu, s2 = self._moments(z)
        return torch.stack([mu, mu.square() + s2], dim=-1)

    def fisher_root(self, z: ArrayLike) -> Tensor:
        """U = [[s, 0], [2 mu s, sqrt(2) s2]] (M, 2, 2), with U U^T = Lambda."""
        mu, s2 = self._moments(z)
        s = s2.sqrt()
        rows = [s, torch.zeros_like(s), 2 * mu * s, math.sqrt(2) * s2]
        return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))

    def log_prob(self, z: ArrayLike, y: ArrayLike) -> Tensor:
        """log N(y; mu, s2) in nats (M,), for y (M,) or (M, 1)."""
        mu, s2 = self._moments(z)
        error = targets(y, "y", mu[:, None])[:, 0] - mu
        return -(error.square() / s2 + (2 * math.pi * s2).log()) / 2

    def sample(
        self, z: ArrayLike, num_samples: int = 1, generator: Generator | None = None
    ) -> Tensor:
        """Targets (num_samples, M) drawn from N(mu, s2)."""
        mu, s2 = self._moments(z)
        return mu + s2.sqrt() * _noise(mu, num_samples, generator)

    def mode(self, z: ArrayLike) -> Tensor:
        """The most probable target, mu (M,)."""
        return self._moments(z)[0]

    def entropy(self, z: ArrayLike) -> Tensor:
        """H[Y|z] = 1/2 log(2 pi e s2) in nats (M,)."""
        return (2 * math.pi * math.e * self._moments(z)[1]).log() / 2

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient E[T] - T(y) (M, 2) of -log p(y|z), for y (M,) or (M, 1)."""
        mu, s2 = self._moments(self.natural(outputs))
        y = targets(y, "labels", mu[:, None])[:, 0]
        return torch.stack([mu - y, s2 + (mu - y) * (mu + y)], dim=-1)

    def _moments(self, z: ArrayLike) -> tuple[Tensor, Tensor]:
        """mu and s2, (M,) each."""
        z = self._parameters(z, "z")
        s2 = -1 / (2 * z[:, 1])
        return z[:, 0] * s2, s2

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        z = parameters(z, name, 2)
        wanted = "have a negative second column, -1/(2 s2)"
        refuse(z[:, 1] >= 0, z[:, 1], name, wanted)
        return z


class GaussianMeanLogSd(GaussianMeanVariance):
    """The same Gaussian by mean and r = log s, which are not natural parameters.

    The counterexample to T16 and T18: the Fisher information of the outputs is
    diag(1/s^2, 2), but the observed Hessian depends on the label. Network outputs are
    (mu, r), (M, 2), any real numbers; z stays the natural parameter (T17).

    Example:
        >>> GaussianMeanLogSd().output_hessian([[0.0, 0.0]], [2.0])
        tensor([[[1., 4.],
                 [4., 8.]]], dtype=torch.float64)
    """

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Natural parameters z = (mu/s2, -1/(2 s2)) of outputs (mu, log s), (M, 2)."""
        mu, r = self._outputs(outputs)
        precision = (-2 * r).exp()
        return torch.stack([mu * precision, -precision / 2], dim=-1)

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """U = diag(1/s, sqrt 2) (M, 2, 2)."""
        r = self._outputs(outputs)[1]
        root = torch.stack([(-r).exp(), torch.full_like(r, math.sqrt(2))], dim=-1)
        return torch.diag_embed(root)

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient (-e/s, 1 - e^2) (M, 2) of -log p(y), with e = (y - mu)/s."""
        r, e = self._errors(outputs, y)
        return torch.stack([-e * (-r).exp(), (1 - e) * (1 + e)], dim=-1)

    def output_hessian(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Hessian [[1/s2, 2 e/s], [2 e/s, 2 e^2]] (M, 2, 2): indefinite if e != 0."""
        r, e = self._errors(outputs, y)
        off = 2 * e * (-r).exp()
        rows = [(-2 * r).exp(), off, off, 2 * e.square()]
        return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))

    def _outputs(self, outputs: ArrayLike) -> tuple[Tensor, Tensor]:
        mu, r = parameters(outputs, "outputs", 2).unbind(-1)
        return mu, r

    def _errors(self, outputs: ArrayLike, y: ArrayLike) -> tuple[Tensor, Tensor]:
        """r = log s and e = (y - mu)/s, (M,) each."""
        mu, r = self._outputs(outputs)
        y = targets(y, "labels", mu[:, None])[:, 0]
        return r, (y - mu) * (-r).exp()


def _noise(like: Tensor, num_samples: int, generator: Generator | None) -> Tensor:
    """Standard normal numbers (num_samples, *like.shape)."""
    shape = (positive_int(num_samples, "num_samples"), *like.shape)
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

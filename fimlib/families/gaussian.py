"""Gaussian families: known covariance, unknown mean and variance."""

import math

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib import linalg
from fimlib.families._base import ExponentialFamily, parameters, refuse, targets


class MultivariateGaussian(ExponentialFamily):
    """C correlated outputs of known covariance V: z = V^{-1} mu and T(y) = y (T17).

    `covariance` is V (C, C), positive definite; a ValueError otherwise. Outputs are the
    mean mu, A(z) = 1/2 z^T V z, and Lambda = V (by the mean it is V^{-1}).

    >>> MultivariateGaussian([[4.0, 0.0], [0.0, 1.0]]).mean([[1.0, 1.0]])
    tensor([[4., 1.]], dtype=torch.float64)
    """

    def __init__(self, covariance: ArrayLike) -> None:
        self._factor = linalg.cholesky(covariance, "covariance")
        self.covariance = self._factor @ self._factor.mT
        self.log_det = 2 * float(self._factor.diagonal().log().sum())
        self._constants = f"covariance={tuple(self.covariance.shape)}"

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Natural parameters z = V^{-1} mu of network outputs mu (M, C)."""
        return self._solve(super().natural(outputs))

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """U (M, C, C) with U U^T = V^{-1}, by the mean: F = J^T V^{-1} J."""
        eye = torch.eye(len(self._factor)).to(self._factor)
        inverse = torch.linalg.solve_triangular(self._factor, eye, upper=False)
        mu = super().natural(outputs)
        return inverse.mT.to(mu.device).expand(len(mu), -1, -1)

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient V^{-1} (mu - y) (M, C) of -log p(y|mu) by the mean, y (M, C)."""
        mu = super().natural(outputs)
        return self._solve(mu - targets(y, "labels", mu))

    def output_hessian(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Hessian V^{-1} (M, C, C) of -log p(y|mu) by the mean, for every label y."""
        root = self.output_root(outputs)
        return root @ root.mT

    def _log_partition(self, z: Tensor) -> Tensor:
        return (z @ self._factor.to(z.device)).square().sum(-1) / 2

    def _mean(self, z: Tensor) -> Tensor:
        return z @ self.covariance.to(z.device)

    def _fisher(self, z: Tensor) -> Tensor:
        return self.covariance.to(z.device).expand(len(z), -1, -1)

    def _root(self, z: Tensor) -> Tensor:
        return self._factor.to(z.device).expand(len(z), -1, -1)

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        error = (y - self._mean(z)).mT
        factor = self._factor.to(z.device)
        white = torch.linalg.solve_triangular(factor, error, upper=False)
        constant = z.shape[1] * math.log(2 * math.pi) + self.log_det
        return -(white.square().sum(0) + constant) / 2

    def _sample(self, z: Tensor, rng: Generator | None) -> Tensor:
        noise = torch.empty_like(z).normal_(generator=rng)
        return self._mean(z[0]) + noise @ self._factor.mT.to(z.device)

    def _entropy(self, z: Tensor) -> Tensor:
        constant = z.shape[1] * math.log(2 * math.pi * math.e)
        return z.new_full((len(z),), (constant + self.log_det) / 2)

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        return parameters(z, name, len(self._factor))

    def _solve(self, rows: Tensor) -> Tensor:
        return torch.cholesky_solve(rows.mT, self._factor.to(rows.device)).mT


class GaussianMeanVariance(ExponentialFamily):
    """One target of unknown mean and variance: z = (mu/s2, -1/(2 s2)), T = (y, y^2).

    z: (M, 2), the second column negative; a ValueError otherwise. Targets are (M,) or
    (M, 1). A(z) = -z1^2 / (4 z2) - 1/2 log(-2 z2), and Lambda is
    [[s2, 2 mu s2], [2 mu s2, 2 s2^2 + 4 mu^2 s2]] (T17).

    >>> GaussianMeanVariance().mean([[3.0, -0.5]])  # mu, mu^2 + s2
    tensor([[ 3., 10.]], dtype=torch.float64)
    """

    def _log_partition(self, z: Tensor) -> Tensor:
        mu, s2 = _moments(z)
        return mu.square() / (2 * s2) + s2.log() / 2

    def _mean(self, z: Tensor) -> Tensor:
        mu, s2 = _moments(z)
        return torch.stack([mu, mu.square() + s2], dim=-1)

    def _root(self, z: Tensor) -> Tensor:
        mu, s2 = _moments(z)
        s = s2.sqrt()
        rows = [s, torch.zeros_like(s), 2 * mu * s, math.sqrt(2) * s2]
        return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        mu, s2 = _moments(z)
        return -((y - mu).square() / s2 + (2 * math.pi * s2).log()) / 2

    def _sample(self, z: Tensor, rng: Generator | None) -> Tensor:
        mu, s2 = _moments(z[0])
        return mu + s2.sqrt() * torch.empty_like(z[..., 0]).normal_(generator=rng)

    def _mode(self, z: Tensor) -> Tensor:
        return _moments(z)[0]

    def _entropy(self, z: Tensor) -> Tensor:
        return (2 * math.pi * math.e * _moments(z)[1]).log() / 2

    def _gradient(self, z: Tensor, y: Tensor) -> Tensor:
        mu, s2 = _moments(z)
        return torch.stack([mu - y, s2 + (mu - y) * (mu + y)], dim=-1)

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        return targets(y, name, z[:, :1])[:, 0]

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        z = parameters(z, name, 2)
        refuse(z[:, 1] >= 0, z[:, 1], name, "have a negative second column, -1/(2 s2)")
        return z


class GaussianMeanLogSd(GaussianMeanVariance):
    """The same Gaussian by mean and r = log s, which are not natural parameters.

    The counterexample to T16 and T18: the Fisher information of the outputs is
    diag(1/s^2, 2), but the observed Hessian depends on the label. Network outputs are
    (mu, r), (M, 2), any real numbers; z stays the natural parameter (T17).

    >>> GaussianMeanLogSd().output_hessian([[0.0, 0.0]], [2.0])
    tensor([[[1., 4.],
             [4., 8.]]], dtype=torch.float64)
    """

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Natural parameters z = (mu/s2, -1/(2 s2)) of outputs (mu, log s), (M, 2)."""
        mu, r = parameters(outputs, "outputs", 2).unbind(-1)
        precision = (-2 * r).exp()
        return torch.stack([mu * precision, -precision / 2], dim=-1)

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """U = diag(1/s, sqrt 2) (M, 2, 2)."""
        r = parameters(outputs, "outputs", 2)[:, 1]
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

    def _errors(self, outputs: ArrayLike, y: ArrayLike) -> tuple[Tensor, Tensor]:
        """r = log s and e = (y - mu)/s, (M,) each."""
        z = parameters(outputs, "outputs", 2)
        return z[:, 1], (self._labels(y, "labels", z) - z[:, 0]) * (-z[:, 1]).exp()


def _moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """mu and s2, (M,) each."""
    s2 = -1 / (2 * z[:, 1])
    return z[:, 0] * s2, s2

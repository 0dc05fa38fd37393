"""Families of scalar labels: C independent outputs, a natural parameter each."""

import math

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import positive_float, positive_int
from fimlib.families._base import ExponentialFamily, parameters, refuse, targets

_SUM_NUMBERS = 2**22  # held at once by a sum over the support
_LARGE_RATE = 1000.0  # above it the Poisson entropy is a series, good to 1e-13
_LARGEST_LOG_RATE = 709.0  # exp overflows above


class _Scalar(ExponentialFamily):
    """C independent scalars: what a family gives is elementwise here, of any shape."""

    def log_partition(self, z: ArrayLike) -> Tensor:
        """A(z) (M,), the outputs' sum."""
        return super().log_partition(z).sum(-1)

    def fisher(self, z: ArrayLike) -> Tensor:
        """Lambda = diag A''(z) (M, C, C)."""
        return torch.diag_embed(super().fisher_root(z).square())

    def fisher_root(self, z: ArrayLike) -> Tensor:
        """U = diag sqrt A''(z) (M, C, C)."""
        return torch.diag_embed(super().fisher_root(z))

    def log_prob(self, z: ArrayLike, y: ArrayLike) -> Tensor:
        """log p(y|z) in nats (M,), the outputs' sum, for y (M, C), or (M,) if C = 1."""
        return super().log_prob(z, y).sum(-1)

    def entropy(self, z: ArrayLike) -> Tensor:
        """H[Y|z] in nats (M,), the outputs' sum."""
        return super().entropy(z).sum(-1)

    def _entropy_over(self, support: Tensor, z: Tensor) -> Tensor:
        """-sum_k p_k log p_k over labels (S,), of the shape of z; no term is < 0."""
        sums = [torch.zeros_like(z[:0]).flatten()]
        for part in z.reshape(-1, 1).split(max(1, _SUM_NUMBERS // len(support))):
            log_p = self._log_prob(part, support.expand(len(part), -1))
            sums.append(-(log_p.exp() * log_p).sum(-1))
        return torch.cat(sums).view(z.shape)


class Gaussian(_Scalar):
    """Targets of known variance s2: z = mu / s2, A(z) = s2 z^2 / 2 (T17).

    `variance` is s2 > 0; a ValueError otherwise. Outputs are the mean mu.

    >>> Gaussian(0.5).output_root([[3.0]])  # by the mean: F = J^T J / s2
    tensor([[[1.4142]]], dtype=torch.float64)
    """

    def __init__(self, variance: float) -> None:
        self.variance = positive_float(variance, "variance")
        self._constants = f"variance={self.variance}"
        self._log_scale = math.log(2 * math.pi * self.variance) / 2

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Natural parameters z = mu / s2 of network outputs mu (M, C)."""
        return super().natural(outputs) / self.variance

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """U = I / sqrt(s2) (M, C, C) by the mean: F = J^T J / s2."""
        return _identity(super().natural(outputs), self.variance**-0.5)

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient (mu - y) / s2 (M, C) of -log p(y|mu) by the mean, y (M, C)."""
        mu = super().natural(outputs)
        return (mu - self._labels(y, "labels", mu)) / self.variance

    def output_hessian(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Hessian I / s2 (M, C, C) of -log p(y|mu) by the mean, for every label y."""
        return _identity(super().natural(outputs), 1 / self.variance)

    def _log_partition(self, z: Tensor) -> Tensor:
        return self.variance * z.square() / 2

    def _mean(self, z: Tensor) -> Tensor:
        return self.variance * z

    def _root(self, z: Tensor) -> Tensor:
        return torch.full_like(z, math.sqrt(self.variance))

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        return -(y - self._mean(z)).square() / (2 * self.variance) - self._log_scale

    def _entropy(self, z: Tensor) -> Tensor:
        return torch.full_like(z, 0.5 + self._log_scale)

    def _sample(self, z: Tensor, rng: Generator | None) -> Tensor:
        noise = torch.empty_like(z).normal_(generator=rng)
        return self._mean(z) + math.sqrt(self.variance) * noise


class Binomial(_Scalar):
    """Successes among n trials, with logit z: A(z) = n log(1 + e^z) (T17).

    `num_trials` is n > 0; labels are whole numbers 0..n.

    >>> Binomial(4).mean([[0.0]])
    tensor([[2.]], dtype=torch.float64)
    """

    def __init__(self, num_trials: int) -> None:
        self.num_trials = positive_int(num_trials, "num_trials")
        self._constants = f"num_trials={self.num_trials}"

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        y, n = targets(y, name, z), self.num_trials
        bad = (y < 0) | (y > n) | (y != y.floor())
        return refuse(bad, y, name, f"hold integers in 0..{n}")

    def _log_partition(self, z: Tensor) -> Tensor:
        return self.num_trials * _softplus(z)

    def _mean(self, z: Tensor) -> Tensor:
        return self.num_trials * torch.sigmoid(z)

    def _root(self, z: Tensor) -> Tensor:
        # sqrt(n p (1 - p)) from e^{-|z|/2}, which underflows last.
        small = (-z.abs() / 2).exp()
        return math.sqrt(self.num_trials) * small / (1 + small.square())

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        n = torch.full_like(y, self.num_trials)
        log_choose = torch.lgamma(n + 1) - torch.lgamma(y + 1) - torch.lgamma(n - y + 1)
        return log_choose - ((n - y) * _softplus(z) + y * _softplus(-z))

    def _entropy(self, z: Tensor) -> Tensor:
        return self._entropy_over(torch.arange(self.num_trials + 1).to(z), z)

    def _sample(self, z: Tensor, rng: Generator | None) -> Tensor:
        n = torch.full_like(z, self.num_trials)
        return torch.binomial(n, torch.sigmoid(z), generator=rng)

    def _mode(self, z: Tensor) -> Tensor:
        mode = ((self.num_trials + 1) * torch.sigmoid(z)).floor()
        return mode.clamp(max=self.num_trials)

    def _gradient(self, z: Tensor, y: Tensor) -> Tensor:
        # (n - y) p - y (1 - p): no 1 - p is lost where p saturates.
        return (self.num_trials - y) * torch.sigmoid(z) - y * torch.sigmoid(-z)


class Bernoulli(Binomial):
    """Labels 0 or 1 with logit z: A(z) = log(1 + e^z) (T17).

    >>> Bernoulli().fisher([[0.0]])  # p (1 - p)
    tensor([[[0.2500]]], dtype=torch.float64)
    """

    def __init__(self) -> None:
        super().__init__(1)
        self._constants = ""


class Poisson(_Scalar):
    """Counts 0, 1, ... with log rate z: A(z) = e^z (T17); a ValueError for z > 709.

    >>> Poisson().mode([[1.0]])
    tensor([[2.]], dtype=torch.float64)
    """

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        z, most = parameters(z, name), _LARGEST_LOG_RATE
        return refuse(z > most, z, name, f"be log rates of at most {most:.0f}")

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        y = targets(y, name, z)
        bad = (y < 0) | (y != y.floor())
        return refuse(bad, y, name, "hold integers of at least 0")

    def _log_partition(self, z: Tensor) -> Tensor:
        return z.exp()

    _mean = _log_partition

    def _root(self, z: Tensor) -> Tensor:
        return (z / 2).exp()

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        return y * z - z.exp() - torch.lgamma(y + 1)

    def _entropy(self, z: Tensor) -> Tensor:
        rate = z.exp()
        large = rate > _LARGE_RATE
        entropy = torch.zeros_like(z)
        r = rate[large]
        series = (1 / 12 + (1 / 24 + 19 / (360 * r)) / r) / r
        entropy[large] = (math.log(2 * math.pi * math.e) + z[large]) / 2 - series
        if not large.all():
            # What lies beyond has a probability below e^{-60}.
            top = float(rate[~large].max())
            support = torch.arange(math.ceil(top + 12 * top**0.5 + 60)).to(z)
            entropy[~large] = self._entropy_over(support, z[~large])
        return entropy

    def _sample(self, z: Tensor, rng: Generator | None) -> Tensor:
        return torch.poisson(z.exp(), generator=rng)

    def _mode(self, z: Tensor) -> Tensor:
        return z.exp().floor()


class Exponential(_Scalar):
    """Waiting times y >= 0 with z = -rate < 0: A(z) = -log(-z) (T17).

    A ValueError for z >= 0; a network may end in -softplus.

    >>> Exponential().mean([[-2.0]])
    tensor([[0.5000]], dtype=torch.float64)
    """

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        z = parameters(z, name)
        return refuse(z >= 0, z, name, "be negative (minus the rate)")

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        y = targets(y, name, z)
        return refuse(y < 0, y, name, "be at least 0")

    def _log_partition(self, z: Tensor) -> Tensor:
        return -(-z).log()

    def _mean(self, z: Tensor) -> Tensor:
        return -1 / z

    _root = _mean

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        return z * y + (-z).log()

    def _entropy(self, z: Tensor) -> Tensor:
        return 1 - (-z).log()

    def _sample(self, z: Tensor, rng: Generator | None) -> Tensor:
        return torch.empty_like(z).exponential_(generator=rng) / -z

    def _mode(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z)


def _softplus(z: Tensor) -> Tensor:
    """log(1 + e^z) to full relative accuracy, which torch's own loses above 20."""
    return z.clamp(min=0) + torch.log1p((-z.abs()).exp())


def _identity(z: Tensor, scale: float) -> Tensor:
    """scale I as (M, C, C)."""
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return (scale * eye).expand(len(z), -1, -1)

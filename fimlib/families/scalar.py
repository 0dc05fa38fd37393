"""Families of scalar labels: C independent outputs, a natural parameter each."""

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import positive_float, positive_int
from fimlib.families._base import (
    ExponentialFamily,
    identity,
    parameters,
    refuse,
    targets,
)

# Numbers held at once by a sum over the support.
_SUM_NUMBERS = 2**22
# Above this rate the Poisson entropy is its expansion in 1/rate, good to 1e-13.
_LARGE_RATE = 1000.0
# exp overflows above.
_LARGEST_LOG_RATE = 709.0


class _Scalar(ExponentialFamily):
    """C independent scalars: everything is elementwise, and Lambda is diagonal."""

    def log_partition(self, z: ArrayLike) -> Tensor:
        """A(z), summed over the outputs, (M,)."""
        return self._log_partition(self._parameters(z, "z")).sum(-1)

    def mean(self, z: ArrayLike) -> Tensor:
        """E[T(Y)] = A'(z), (M, C)."""
        return self._mean(self._parameters(z, "z"))

    def fisher(self, z: ArrayLike) -> Tensor:
        """Lambda = diag A''(z), (M, C, C)."""
        root = self._curvature_root(self._parameters(z, "z"))
        return torch.diag_embed(root.square())

    def fisher_root(self, z: ArrayLike) -> Tensor:
        """U = diag sqrt A''(z), (M, C, C), with U U^T = Lambda."""
        return torch.diag_embed(self._curvature_root(self._parameters(z, "z")))

    def log_prob(self, z: ArrayLike, y: ArrayLike) -> Tensor:
        """log p(y|z) in nats (M,), for labels y (M, C), or (M,) where C = 1."""
        z = self._parameters(z, "z")
        return self._log_prob(z, self._labels(y, "y", z)).sum(-1)

    def entropy(self, z: ArrayLike) -> Tensor:
        """H[Y|z] in nats (M,), the outputs' sum."""
        return self._entropy(self._parameters(z, "z")).sum(-1)

    def sample(
        self, z: ArrayLike, num_samples: int = 1, generator: Generator | None = None
    ) -> Tensor:
        """Labels (num_samples, M, C) drawn from p(y|z)."""
        z = self._parameters(z, "z")
        shape = (positive_int(num_samples, "num_samples"), *z.shape)
        return self._sample(z.expand(shape), generator)

    def mode(self, z: ArrayLike) -> Tensor:
        """The most probable label (M, C)."""
        return self._mode(self._parameters(z, "z"))

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient A'(z) - y (M, C) of -log p(y|z), for labels y (M, C)."""
        z = self.natural(outputs)
        return self._gradient(z, self._labels(y, "labels", z))

    def _gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return self._mean(z) - y

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        return targets(y, name, z)

    # What a family gives, all of it elementwise; _curvature_root is sqrt A''.
    @abstractmethod
    def _log_partition(self, z: Tensor) -> Tensor: ...
    @abstractmethod
    def _mean(self, z: Tensor) -> Tensor: ...
    @abstractmethod
    def _curvature_root(self, z: Tensor) -> Tensor: ...
    @abstractmethod
    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor: ...
    @abstractmethod
    def _entropy(self, z: Tensor) -> Tensor: ...
    @abstractmethod
    def _sample(self, z: Tensor, generator: Generator | None) -> Tensor: ...
    @abstractmethod
    def _mode(self, z: Tensor) -> Tensor: ...


class Gaussian(_Scalar):
    """Targets of known variance s2: z = mu / s2, A(z) = s2 z^2 / 2 (T17).

    Args:
        variance: s2 > 0; a ValueError otherwise.
    Example:
        >>> Gaussian(0.5).output_root([[3.0]])  # by the mean: F = J^T J / s2
        tensor([[[1.4142]]], dtype=torch.float64)
    """

    def __init__(self, variance: float) -> None:
        self.variance = positive_float(variance, "variance")

    def __repr__(self) -> str:
        return f"Gaussian(variance={self.variance})"

    def natural(self, outputs: ArrayLike) -> Tensor:
        """Natural parameters z = mu / s2 of network outputs mu (M, C)."""
        return self._parameters(outputs, "outputs") / self.variance

    def output_root(self, outputs: ArrayLike) -> Tensor:
        """U = I / sqrt(s2) (M, C, C) by the mean: F = J^T J / s2."""
        return identity(self._parameters(outputs, "outputs"), self.variance**-0.5)

    def output_gradient(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Gradient (mu - y) / s2 (M, C) of -log p(y|mu) by the mean, y (M, C)."""
        mu = self._parameters(outputs, "outputs")
        return (mu - self._labels(y, "labels", mu)) / self.variance

    def output_hessian(self, outputs: ArrayLike, y: ArrayLike) -> Tensor:
        """Hessian I / s2 (M, C, C) of -log p(y|mu) by the mean, for every label y."""
        return identity(self._parameters(outputs, "outputs"), 1 / self.variance)

    def _log_partition(self, z: Tensor) -> Tensor:
        return self.variance * z.square() / 2

    def _mean(self, z: Tensor) -> Tensor:
        return self.variance * z

    _mode = _mean

    def _curvature_root(self, z: Tensor) -> Tensor:
        return torch.full_like(z, math.sqrt(self.variance))

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        error = y - self._mean(z)
        return -error.square() / (2 * self.variance) - self._log_scale()

    def _entropy(self, z: Tensor) -> Tensor:
        return torch.full_like(z, 0.5 + self._log_scale())

    def _log_scale(self) -> float:
        return math.log(2 * math.pi * self.variance) / 2

    def _sample(self, z: Tensor, generator: Generator | None) -> Tensor:
        noise = torch.empty_like(z).normal_(generator=generator)
        return self._mean(z) + math.sqrt(self.variance) * noise


class Binomial(_Scalar):
    """Successes among n trials, with logit z: A(z) = n log(1 + e^z) (T17).

    Args:
        num_trials: n > 0; labels are whole numbers 0..n.
    Example:
        >>> Binomial(4).mean([[0.0]])
        tensor([[2.]], dtype=torch.float64)
    """

    def __init__(self, num_trials: int) -> None:
        self.num_trials = positive_int(num_trials, "num_trials")

    def __repr__(self) -> str:
        return f"Binomial(num_trials={self.num_trials})"

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        y = targets(y, name, z)
        n = self.num_trials
        refuse(
            (y < 0) | (y > n) | (y != y.floor()), y, name, f"hold integers in 0..{n}"
        )
        return y

    def _log_partition(self, z: Tensor) -> Tensor:
        return self.num_trials * _softplus(z)

    def _mean(self, z: Tensor) -> Tensor:
        return self.num_trials * torch.sigmoid(z)

    def _curvature_root(self, z: Tensor) -> Tensor:
        # sqrt(n p (1 - p)) from e^{-|z|/2}, which underflows last.
        small = (-z.abs() / 2).exp()
        return math.sqrt(self.num_trials) * small / (1 + small.square())

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        failures = self.num_trials - y
        each = failures * _softplus(z) + y * _softplus(-z)
        return self._log_choose(y) - each

    def _log_choose(self, y: Tensor) -> Tensor:
        n = torch.full_like(y, self.num_trials)
        return torch.lgamma(n + 1) - torch.lgamma(y + 1) - torch.lgamma(n - y + 1)

    def _entropy(self, z: Tensor) -> Tensor:
        support = torch.arange(self.num_trials + 1).to(z)
        return _entropy_over(support, z, self._log_prob)

    def _sample(self, z: Tensor, generator: Generator | None) -> Tensor:
        trials = torch.full_like(z, self.num_trials)
        return torch.binomial(trials, torch.sigmoid(z), generator=generator)

    def _mode(self, z: Tensor) -> Tensor:
        mode = ((self.num_trials + 1) * torch.sigmoid(z)).floor()
        return mode.clamp(max=self.num_trials)

    def _gradient(self, z: Tensor, y: Tensor) -> Tensor:
        # (n - y) p - y (1 - p): no 1 - p is lost where p saturates.
        return (self.num_trials - y) * torch.sigmoid(z) - y * torch.sigmoid(-z)


class Bernoulli(Binomial):
    """Labels 0 or 1 with logit z: A(z) = log(1 + e^z) (T17).

    Example:
        >>> Bernoulli().fisher([[0.0]])  # p (1 - p)
        tensor([[[0.2500]]], dtype=torch.float64)
    """

    def __init__(self) -> None:
        super().__init__(1)

    def __repr__(self) -> str:
        return "Bernoulli()"


class Poisson(_Scalar):
    """Counts 0, 1, ... with log rate z: A(z) = e^z (T17).

    Log rates above 709, whose rate overflows, raise a ValueError.

    Example:
        >>> Poisson().mode([[1.0]])
        tensor([[2.]], dtype=torch.float64)
    """

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        z = parameters(z, name)
        limit = _LARGEST_LOG_RATE
        refuse(z > limit, z, name, f"be log rates of at most {limit:.0f}")
        return z

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        y = targets(y, name, z)
        refuse((y < 0) | (y != y.floor()), y, name, "hold integers of at least 0")
        return y

    def _log_partition(self, z: Tensor) -> Tensor:
        return z.exp()

    def _mean(self, z: Tensor) -> Tensor:
        return z.exp()

    def _curvature_root(self, z: Tensor) -> Tensor:
        return (z / 2).exp()

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        return y * z - z.exp() - torch.lgamma(y + 1)

    def _entropy(self, z: Tensor) -> Tensor:
        rate = z.exp()
        large = rate > _LARGE_RATE
        entropy = torch.zeros_like(z)
        r = rate[large]
        entropy[large] = (math.log(2 * math.pi * math.e) + z[large]) / 2 - (
            1 / 12 + (1 / 24 + 19 / (360 * r)) / r
        ) / r
        if not large.all():
            # What lies beyond has a probability below e^{-60}.
            top = float(rate[~large].max())
            support = torch.arange(math.ceil(top + 12 * top**0.5 + 60)).to(z)
            entropy[~large] = _entropy_over(support, z[~large], self._log_prob)
        return entropy

    def _sample(self, z: Tensor, generator: Generator | None) -> Tensor:
        return torch.poisson(z.exp(), generator=generator)

    def _mode(self, z: Tensor) -> Tensor:
        return z.exp().floor()


class Exponential(_Scalar):
    """Waiting times y >= 0 with z = -rate < 0: A(z) = -log(-z) (T17).

    A ValueError for z >= 0; a network may end in -softplus.

    Example:
        >>> Exponential().mean([[-2.0]])
        tensor([[0.5000]], dtype=torch.float64)
    """

    def _parameters(self, z: ArrayLike, name: str) -> Tensor:
        z = parameters(z, name)
        refuse(z >= 0, z, name, "be negative (minus the rate)")
        return z

    def _labels(self, y: ArrayLike, name: str, z: Tensor) -> Tensor:
        y = targets(y, name, z)
        refuse(y < 0, y, name, "be at least 0")
        return y

    def _log_partition(self, z: Tensor) -> Tensor:
        return -(-z).log()

    def _mean(self, z: Tensor) -> Tensor:
        return -1 / z

    def _curvature_root(self, z: Tensor) -> Tensor:
        return -1 / z

    def _log_prob(self, z: Tensor, y: Tensor) -> Tensor:
        return z * y + (-z).log()

    def _entropy(self, z: Tensor) -> Tensor:
        return 1 - (-z).log()

    def _sample(self, z: Tensor, generator: Generator | None) -> Tensor:
        return torch.empty_like(z).exponential_(generator=generator) / -z

    def _mode(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z)


def _softplus(z: Tensor) -> Tensor:
    """log(1 + e^z) to full relative accuracy, which torch's own loses above 20."""
    return z.clamp(min=0) + torch.log1p((-z.abs()).exp())


def _entropy_over(
    support: Tensor, z: Tensor, log_prob: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """-sum_k p_k log p_k over a support (S,), of the shape of z; no term is < 0."""
    flat = z.reshape(-1, 1)
    step = max(1, _SUM_NUMBERS // len(support))
    sums = []
    for part in flat.split(step):
        log_p = log_prob(part, support.expand(len(part), -1))
        sums.append(-(log_p.exp() * log_p).sum(-1))
    return torch.cat(sums).view(z.shape) if sums else torch.zeros_like(z)

"""Families of scalar labels: C independent outputs, a natural parameter each."""

import math

import torch

from fimlib._checks import positive_int
from fimlib.families._base import ExponentialFamily, parameters, refuse, targets

# Numbers held at once by a sum over the support.
_SUM_NUMBERS = 2**22
# Above this rate the Poisson entropy is its expansion in 1/rate, good to 1e-13.
_LARGE_RATE = 1000.0
# exp overflows above.
_LARGEST_LOG_RATE = 709.0


class _Scalar(ExponentialFamily):
    """C independent scalars: everything is elementwise, and Lambda is diagonal."""

    def log_partition(self, z):
        """A(z), summed over the outputs, (M,)."""
        return self._log_partition(self._parameters(z, "z")).sum(-1)

    def mean(self, z):
        """E[T(Y)] = A'(z), (M, C)."""
        return self._mean(self._parameters(z, "z"))

    def fisher(self, z):
        """Lambda = diag A''(z), (M, C, C)."""
        root = self._curvature_root(self._parameters(z, "z"))
        return torch.diag_embed(root.square())

    def fisher_root(self, z):
        """U = diag sqrt A''(z), (M, C, C), with U U^T = Lambda."""
        return torch.diag_embed(self._curvature_root(self._parameters(z, "z")))

    def log_prob(self, z, y):
        """log p(y|z) in nats (M,), for labels y (M, C), or (M,) where C = 1."""
        z = self._parameters(z, "z")
        return self._log_prob(z, self._labels(y, "y", z)).sum(-1)

    def entropy(self, z):
        """H[Y|z] in nats (M,), the outputs' sum."""
        return self._entropy(self._parameters(z, "z")).sum(-1)

    def sample(self, z, num_samples=1, generator=None):
        """Labels (num_samples, M, C) drawn from p(y|z)."""
        z = self._parameters(z, "z")
        shape = (positive_int(num_samples, "num_samples"), *z.shape)
        return self._sample(z.expand(shape), generator)

    def mode(self, z):
        """The most probable label (M, C)."""
        return self._mode(self._parameters(z, "z"))

    def output_gradient(self, outputs, y):
        """Gradient A'(z) - y (M, C) of -log p(y|z), for labels y (M, C)."""
        z = self.natural(outputs)
        return self._gradient(z, self._labels(y, "labels", z))

    def _gradient(self, z, y):
        return self._mean(z) - y


class Binomial(_Scalar):
    """Successes among `num_trials`, with logit z: A(z) = n log(1 + e^z) (T17).

    Labels are whole numbers 0..n.
    """

    def __init__(self, num_trials):
        self.num_trials = positive_int(num_trials, "num_trials")

    def __repr__(self):
        return f"Binomial(num_trials={self.num_trials})"

    def _labels(self, y, name, z):
        y = targets(y, name, z)
        n = self.num_trials
        refuse(
            (y < 0) | (y > n) | (y != y.floor()), y, name, f"hold integers in 0..{n}"
        )
        return y

    def _log_partition(self, z):
        return self.num_trials * _softplus(z)

    def _mean(self, z):
        return self.num_trials * torch.sigmoid(z)

    def _curvature_root(self, z):
        # sqrt(n p (1 - p)) from e^{-|z|/2}, which underflows last.
        small = (-z.abs() / 2).exp()
        return math.sqrt(self.num_trials) * small / (1 + small.square())

    def _log_prob(self, z, y):
        failures = self.num_trials - y
        each = failures * _softplus(z) + y * _softplus(-z)
        return self._log_choose(y) - each

    def _log_choose(self, y):
        n = torch.full_like(y, self.num_trials)
        return torch.lgamma(n + 1) - torch.lgamma(y + 1) - torch.lgamma(n - y + 1)

    def _entropy(self, z):
        support = torch.arange(self.num_trials + 1).to(z)
        return _entropy_over(support, z, self._log_prob)

    def _sample(self, z, generator):
        trials = torch.full_like(z, self.num_trials)
        return torch.binomial(trials, torch.sigmoid(z), generator=generator)

    def _mode(self, z):
        mode = ((self.num_trials + 1) * torch.sigmoid(z)).floor()
        return mode.clamp(max=self.num_trials)

    def _gradient(self, z, y):
        # (n - y) p - y (1 - p): no 1 - p is lost where p saturates.
        return (self.num_trials - y) * torch.sigmoid(z) - y * torch.sigmoid(-z)


class Bernoulli(Binomial):
    """Labels 0 or 1 with logit z: A(z) = log(1 + e^z) (T17)."""

    def __init__(self):
        super().__init__(1)

    def __repr__(self):
        return "Bernoulli()"


class Poisson(_Scalar):
    """Counts 0, 1, ... with log rate z: A(z) = e^z (T17).

    Log rates above 709, whose rate overflows, raise a ValueError.
    """

    def _parameters(self, z, name):
        z = parameters(z, name)
        limit = _LARGEST_LOG_RATE
        refuse(z > limit, z, name, f"be log rates of at most {limit:.0f}")
        return z

    def _labels(self, y, name, z):
        y = targets(y, name, z)
        refuse((y < 0) | (y != y.floor()), y, name, "hold integers of at least 0")
        return y

    def _log_partition(self, z):
        return z.exp()

    def _mean(self, z):
        return z.exp()

    def _curvature_root(self, z):
        return (z / 2).exp()

    def _log_prob(self, z, y):
        return y * z - z.exp() - torch.lgamma(y + 1)

    def _entropy(self, z):
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

    def _sample(self, z, generator):
        return torch.poisson(z.exp(), generator=generator)

    def _mode(self, z):
        return z.exp().floor()


class Exponential(_Scalar):
    """Waiting times y >= 0 with z = -rate < 0: A(z) = -log(-z) (T17).

    Raises ValueError for z >= 0; a network may end in -softplus.
    """

    def _parameters(self, z, name):
        z = parameters(z, name)
        refuse(z >= 0, z, name, "be negative (minus the rate)")
        return z

    def _labels(self, y, name, z):
        y = targets(y, name, z)
        refuse(y < 0, y, name, "be at least 0")
        return y

    def _log_partition(self, z):
        return -(-z).log()

    def _mean(self, z):
        return -1 / z

    def _curvature_root(self, z):
        return -1 / z

    def _log_prob(self, z, y):
        return z * y + (-z).log()

    def _entropy(self, z):
        return 1 - (-z).log()

    def _sample(self, z, generator):
        return torch.empty_like(z).exponential_(generator=generator) / -z

    def _mode(self, z):
        return torch.zeros_like(z)


def _softplus(z):
    """log(1 + e^z) to full relative accuracy, which torch's own loses above 20."""
    return z.clamp(min=0) + torch.log1p((-z.abs()).exp())


def _entropy_over(support, z, log_prob):
    """-sum_k p_k log p_k over a support (S,), of the shape of z; no term is < 0."""
    flat = z.reshape(-1, 1)
    step = max(1, _SUM_NUMBERS // len(support))
    sums = []
    for part in flat.split(step):
        log_p = log_prob(part, support.expand(len(part), -1))
        sums.append(-(log_p.exp() * log_p).sum(-1))
    return torch.cat(sums).view(z.shape) if sums else torch.zeros_like(z)

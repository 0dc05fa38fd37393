"""Exponential families log p(y|z) = z^T T(y) - A(z) + log h(y) in natural parameters.

Every method takes z of shape (M, C), one row an example. A network's outputs are the
natural parameters themselves for the categorical family (logits); the Gaussian family's
network outputs the mean mu = s2 z, and the methods called `output_*` and `natural` say
so: they take outputs, and differentiate by outputs. For a network with Jacobian J the
Fisher information is J^T Lambda J with Lambda = U U^T and U = output_root(outputs), so
that a Gaussian network has F = J^T J / s2 (T16, T17).
"""

import math

import torch

from fimlib._checks import (
    as_tensor,
    class_labels,
    positive_float,
    positive_int,
)


class Categorical:
    """C classes with C logits, over-parametrised: adding a constant changes nothing."""

    def __repr__(self):
        return "Categorical()"

    def natural(self, outputs):
        """Natural parameters z (M, C) of network outputs (M, C): the logits."""
        return _parameters(outputs, "outputs", 2)

    def log_partition(self, z):
        """A(z) = log sum_c exp z_c, (M,)."""
        z = _parameters(z, "z", 2)
        return z.amax(-1) + torch.log1p(_tail(z))

    def mean(self, z):
        """E[T(Y)] = class probabilities (M, C)."""
        return self._log_probs(z).exp()

    def fisher(self, z):
        """Lambda = diag(p) - p p^T (M, C, C), the Hessian of A (T17)."""
        p = self.mean(z)
        off = -p[:, :, None] * p[:, None, :]
        off.diagonal(dim1=1, dim2=2).zero_()
        # Each row sums to zero; 1 - p_c itself would lose a saturated class.
        return off - torch.diag_embed(off.sum(-1))

    def fisher_root(self, z):
        """U (M, C, C-1) with U U^T = Lambda, relatively accurate for saturated p.

        The columns are diag(sqrt p) times the Householder basis of the complement of
        sqrt p, pivoted at the largest class: no entry is computed by cancellation.
        """
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

    def log_prob(self, z, y):
        """log p(y|z) in nats (M,), for labels y (M,) in 0..C-1."""
        log_p = self._log_probs(z)
        y = class_labels(y, "y", *log_p.shape).to(log_p.device)
        return log_p.gather(1, y[:, None])[:, 0]

    def sample(self, z, num_samples=1, generator=None):
        """Labels (num_samples, M) drawn from p(y|z)."""
        num_samples = positive_int(num_samples, "num_samples")
        p = self.mean(z)
        draws = torch.multinomial(p, num_samples, replacement=True, generator=generator)
        return draws.T

    def mode(self, z):
        """The most probable label (M,)."""
        return _parameters(z, "z", 2).argmax(-1)

    def entropy(self, z):
        """H[Y|z] in nats (M,)."""
        log_p = self._log_probs(z)
        return -(log_p.exp() * log_p).sum(-1)

    def output_root(self, outputs):
        """fisher_root: the outputs are natural parameters."""
        return self.fisher_root(outputs)

    def output_gradient(self, outputs, y):
        """Gradient p - e_y (M, C) of -log p(y|z) by the logits, y (M,)."""
        p = self.mean(outputs)
        y = class_labels(y, "labels", *p.shape).to(p.device)[:, None]
        # The label's own entry, p_y - 1, is minus the sum of the others.
        others = p.scatter(1, y, 0.0)
        return others.scatter(1, y, -others.sum(-1, keepdim=True))

    def output_basis(self, num_outputs, device=None):
        """Orthonormal (C, C-1) basis of the outputs that matter: the complement of 1.

        Every gradient by the logits sums to zero, so this direction of the parameters
        is left to the prior.
        """
        ones = torch.ones(num_outputs, 1, dtype=torch.float64, device=device)
        return torch.linalg.qr(ones, mode="complete")[0][:, 1:]

    def _log_probs(self, z):
        z = _parameters(z, "z", 2)
        top = z.amax(-1, keepdim=True)
        # log1p keeps log p of a saturated class, which log_softmax rounds to zero.
        return (z - top) - torch.log1p(_tail(z))[:, None]


class Gaussian:
    """C independent outputs with known variance s2: z = mu / s2 and T(y) = y."""

    def __init__(self, variance):
        self.variance = positive_float(variance, "variance")

    def __repr__(self):
        return f"Gaussian(variance={self.variance})"

    def natural(self, outputs):
        """Natural parameters z = mu / s2 of network outputs mu (M, C)."""
        return _parameters(outputs, "outputs") / self.variance

    def log_partition(self, z):
        """A(z) = s2 sum_c z_c^2 / 2, (M,)."""
        return self.variance * _parameters(z, "z").square().sum(-1) / 2

    def mean(self, z):
        """E[Y] = s2 z (M, C)."""
        return self.variance * _parameters(z, "z")

    def fisher(self, z):
        """Lambda = s2 I (M, C, C), the Hessian of A in z (by the mean it is I / s2)."""
        return _identity(_parameters(z, "z"), self.variance)

    def fisher_root(self, z):
        """U = sqrt(s2) I (M, C, C) with U U^T = Lambda."""
        return _identity(_parameters(z, "z"), math.sqrt(self.variance))

    def log_prob(self, z, y):
        """log N(y; s2 z, s2 I) in nats (M,), for y (M, C)."""
        mu = self.mean(z)
        y = self._targets(y, "y", mu)
        constant = mu.shape[1] * math.log(2 * math.pi * self.variance)
        return -((y - mu).square().sum(-1) / self.variance + constant) / 2

    def sample(self, z, num_samples=1, generator=None):
        """Targets (num_samples, M, C) drawn from N(s2 z, s2 I)."""
        mu = self.mean(z)
        shape = (positive_int(num_samples, "num_samples"), *mu.shape)
        noise = torch.randn(
            shape, generator=generator, dtype=mu.dtype, device=mu.device
        )
        return mu + math.sqrt(self.variance) * noise

    def mode(self, z):
        """The most probable target, the mean (M, C)."""
        return self.mean(z)

    def entropy(self, z):
        """H[Y|z] = C/2 log(2 pi e s2) in nats (M,): it does not depend on z."""
        z = _parameters(z, "z")
        value = z.shape[1] * math.log(2 * math.pi * math.e * self.variance) / 2
        return z.new_full((len(z),), value)

    def output_root(self, outputs):
        """U = I / sqrt(s2) (M, C, C) by the mean: F = J^T J / s2."""
        return _identity(_parameters(outputs, "outputs"), self.variance**-0.5)

    def output_gradient(self, outputs, y):
        """Gradient (mu - y) / s2 (M, C) of -log p(y|mu) by the mean, y (M, C)."""
        mu = _parameters(outputs, "outputs")
        return (mu - self._targets(y, "labels", mu)) / self.variance

    def output_basis(self, num_outputs, device=None):
        """None: every output direction carries information."""
        return None

    def _targets(self, y, name, mu):
        y = as_tensor(y, name)
        if mu.shape[1] == 1 and y.ndim == 1:
            y = y[:, None]
        return as_tensor(y, name, tuple(mu.shape))


def _parameters(z, name, min_classes=1):
    z = as_tensor(z, name, ("M", "C"))
    if z.shape[1] < min_classes:
        raise ValueError(
            f"{name} must have at least {min_classes} columns, got {tuple(z.shape)}"
        )
    return z


def _tail(z):
    """sum over all classes but the largest of exp(z_c - z_max), (M,)."""
    top = z.argmax(-1, keepdim=True)
    return (z - z.gather(1, top)).exp().scatter(1, top, 0.0).sum(-1)


def _all_but(top, num_classes):
    """Indices (M, C-1) of the classes other than `top` (M, 1), ascending."""
    index = torch.arange(num_classes - 1, device=top.device).expand(len(top), -1)
    return index + (index >= top)


def _identity(z, scale):
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return (scale * eye).expand(len(z), -1, -1)

"""Fisher roots of a last layer from its features and the network's outputs."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_choice, positive_int
from fimlib.families import Categorical, ExponentialFamily
from fimlib.fisher.kronecker import KroneckerRoots


def last_layer_roots(
    features: Any,
    logits: Any,
    family: Any = None,
    bias: bool = True,
    estimator: str = "exact",
    labels: Any = None,
    num_samples: int = 1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> KroneckerRoots:
    """Return Fisher roots of the last layer f = W phi (+ b) of a network (T16, T31).

    features: (M, d), the layer's inputs; with `bias` a 1 is appended, q = d + 1.
    logits: (M, C), the network's outputs: logits for `Categorical()` (the default
    family), the mean for `Gaussian(variance)`, where F = J^T J / s2.
    estimator: "exact" (the Fisher information), "monte_carlo" (`num_samples` labels
    drawn from the model: unbiased), "hard_label" (the most probable label: biased),
    "empirical" (the given `labels`: not a Fisher information, T14).
    Parameters are class-major (weight c, j is number c q + j, the bias j = q - 1).

    Raises:
        ValueError: wrong shapes, non-finite values, labels outside 0..C-1, and labels
            given to an estimator that has no use for them.

    >>> roots = last_layer_roots([[1.0, 2.0]], [[0.0, 0.0, 0.0]])
    >>> roots.rank, roots.num_parameters
    (2, 9)
    """
    family = checked_family(family)
    check_estimator(estimator, labels)
    features = as_tensor(features, "features", ("M", "d"), dtype, copy=not bias)
    logits = as_tensor(logits, "logits", (len(features), "C"))
    factor = output_factor(family, logits, estimator, labels, num_samples, generator)
    if not bias and features.shape[1] == 0:
        raise ValueError("features must have at least one column without bias, got 0")
    if bias:
        features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    basis = family.output_basis(logits.shape[1], logits.device)
    return KroneckerRoots(factor.to(features), features, basis)


def checked_family(family: Any) -> ExponentialFamily:
    """The family, `Categorical()` for None, or a ValueError."""
    if family is not None and not isinstance(family, ExponentialFamily):
        raise ValueError(
            "family must be an instance of fimlib.families, such as Bernoulli(), got "
            f"{family!r}"
        )
    return Categorical() if family is None else family


def warn_of_probabilities(logits: Tensor) -> None:
    """Warn where logits (M, C) are all in [0, 1] and each row sums to 1."""
    near = (logits.sum(1) - 1).abs() < 1e-5
    if logits.shape[1] > 1 and bool(near.all()) and not (logits < 0).any():
        warnings.warn(
            "logits look like probabilities: their rows sum to 1; pass what comes "
            "before the softmax, or probabilities.log()",
            stacklevel=3,
        )


def check_estimator(estimator: str, labels: Any) -> None:
    """Raise unless the estimator exists, and labels come if it needs them."""
    choices = ("exact", "monte_carlo", "hard_label", "empirical")
    check_choice(estimator, "estimator", choices)
    if (labels is None) == (estimator == "empirical"):
        needs = "needs" if labels is None else "has no use for"
        raise ValueError(f'estimator "{estimator}" {needs} labels')


def output_factor(
    family: Any,
    outputs: Tensor,
    estimator: str,
    labels: Any,
    num_samples: int,
    generator: torch.Generator | None,
) -> Tensor:
    """U (M, C, r) with U U^T the Fisher information of the outputs, or its estimate."""
    if isinstance(family, Categorical):
        warn_of_probabilities(outputs)
    if estimator == "exact":
        return family.output_root(outputs)
    if estimator == "empirical":
        return family.output_gradient(outputs, labels)[:, :, None]
    z = family.natural(outputs)
    if estimator == "hard_label":
        return family.output_gradient(outputs, family.mode(z))[:, :, None]
    num_samples = positive_int(num_samples, "num_samples")
    draws = family.sample(z, num_samples, generator)
    gradients = [family.output_gradient(outputs, y) for y in draws]
    return torch.stack(gradients, dim=-1) / num_samples**0.5

"""BADGE: k-means++ on the gradients of the last layer at hard labels (T31, T33)."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib._checks import as_tensor
from fimlib.families import Categorical
from fimlib.selection.distances import Points, checked, d2_sampling
from fimlib.selection.result import Selection, checked_batch_size


def badge(
    features: ArrayLike, logits: ArrayLike, batch_size: int,
    generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64,
) -> Selection:  # fmt: skip
    """Return `batch_size` examples by BADGE (arXiv:1906.03671, algorithm 1).

    Of a last layer with inputs phi, the features (M, d), and logits (M, C): an example
    is embedded as the gradient (p - e_y) (x) phi of its loss by the weights, without
    bias, at the most probable label y. The longest embedding is first (the lowest index
    of several), the others follow by D^2 sampling. No embedding is formed: their inner
    products are those of p - e_y times those of phi. `generator`, `dtype`, gains, ties
    and `notes` as in `k_means_pp`. ValueErrors: wrong shapes, values that are not
    finite, less than two classes, a batch_size outside 1..M.

    >>> badge([[1.0], [1.0], [3.0]], [[9.0, 0.0], [0.0, 0.0], [0.0, 0.0]], 1).gains
    tensor([4.5000], dtype=torch.float64)
    """
    phi: Tensor = as_tensor(features, "features", ("M", "d"), dtype)
    checked_batch_size(batch_size, len(phi), "features")
    outputs: Tensor = as_tensor(logits, "logits", (len(phi), "C"))
    family = Categorical()
    residuals = family.output_gradient(outputs, family.mode(outputs)).to(phi)
    points = checked(Points(phi, residuals), "features")
    return d2_sampling(points, batch_size, generator=generator)

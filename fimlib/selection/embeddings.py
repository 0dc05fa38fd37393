"""BADGE: k-means++ on the gradients of the last layer at hard labels (T31, T33)."""

from __future__ import annotations

from typing import Any

import torch

from fimlib._checks import as_tensor
from fimlib.families import Categorical
from fimlib.fisher.last_layer import warn_of_probabilities
from fimlib.selection.distances import Points, checked, d2_sampling
from fimlib.selection.result import Selection, checked_batch_size


def badge(
    features: Any,
    logits: Any,
    batch_size: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Selection:
    """A batch by BADGE (Ash et al. 2020, arXiv:1906.03671, algorithm 1).

    features: (M, d), the last layer's inputs; logits: (M, C). The embedding of an
    example is the gradient (p - e_y) (x) phi of its loss by the last layer's weights,
    without bias, at the most probable label y. The first choice is the longest
    embedding (the lowest index of several), the others follow by D^2 sampling. The
    embeddings are never formed: their inner products are those of p - e_y times those
    of phi. gains, rules for ties and duplicates, `notes`: as in `k_means_pp`.

    Raises ValueError for wrong shapes, non-finite values, less than two classes and a
    batch_size outside 1..M.

    >>> logits = [[9.0, 0.0], [0.0, 0.0]]
    >>> badge([[1.0, 0.0], [0.0, 1.0]], logits, 1).indices.tolist()
    [1]
    """
    features = as_tensor(features, "features", ("M", "d"), dtype)
    checked_batch_size(batch_size, len(features), "features")
    logits = as_tensor(logits, "logits", (len(features), "C"))
    warn_of_probabilities(logits)
    family = Categorical()
    residuals = family.output_gradient(logits, family.mode(logits)).to(features)
    points = checked(Points(features, residuals), "features")
    return d2_sampling(points, batch_size, generator=generator)

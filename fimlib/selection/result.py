"""What every method of selection returns, and the checks that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fimlib._checks import check_count, positive_int
from fimlib.fisher.roots import check_parameters


@dataclass(frozen=True, eq=False)
class Selection:
    """A batch in order of choice: `indices` (K,) int64 and `gains` (K,) float64.

    `notes` says in words what a reader should know of how it came about.

    >>> len(Selection(torch.tensor([3, 1]), torch.zeros(2)))
    2
    """

    indices: torch.Tensor
    gains: torch.Tensor
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)


def checked_batch_size(batch_size: Any, pool_size: int, name: str = "the pool") -> int:
    """Return `batch_size` as an int in 1..pool_size, or raise a ValueError."""
    check_count(pool_size, name)
    batch_size = positive_int(batch_size, "batch_size")
    if batch_size > pool_size:
        raise ValueError(
            f"batch_size must be at most the pool's {pool_size}, got {batch_size}"
        )
    return batch_size


def check_roots(roots: Any, name: str, post: Any) -> None:
    """Raise unless `roots` are Fisher roots of some examples, as the posterior's."""
    if not hasattr(roots, "num_parameters") or not hasattr(roots, "rank"):
        raise ValueError(
            f"{name} must be Fisher roots, got {type(roots).__name__}: wrap features "
            "(M, d) as fimlib.fisher.FisherRoots.from_dense(features)"
        )
    check_count(len(roots), name)
    if not hasattr(post, "prior_precision"):
        raise ValueError(f"post must be a GaussianPosterior, got {type(post).__name__}")
    check_parameters(roots, name, post.num_parameters, "the posterior")

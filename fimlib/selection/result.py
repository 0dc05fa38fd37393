"""What every method of selection returns, and the checks that they share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fimlib._checks import check_count, positive_int
from fimlib.fisher.roots import check_parameters

#: Why a batch was filled up: its format takes how many were chosen, and how many not.
FEW = "only {{}} examples {}: the other {{}} are the lowest indices left"


@dataclass(frozen=True, eq=False)
class Selection:
    """A batch of K examples in order of choice."""

    indices: Tensor  #: (K,) int64
    gains: Tensor  #: (K,) float64
    notes: tuple[str, ...] = ()  #: what a reader should know of how it came about

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


def checked_pool(roots: Any, post: Any, batch_size: Any, **others: Any) -> int:
    """Return the batch_size, if all are Fisher roots of the posterior's parameters."""
    for name, one in {"roots": roots, **others}.items():
        if not hasattr(one, "num_parameters") or not hasattr(one, "rank"):
            raise ValueError(
                f"{name} must be Fisher roots, got {type(one).__name__}: wrap features "
                "(M, d) as fimlib.fisher.FisherRoots.from_dense(features)"
            )
        check_count(len(one), name)
        if not hasattr(post, "prior_precision"):
            got = type(post).__name__
            raise ValueError(f"post must be a GaussianPosterior, got {got}")
        check_parameters(one, name, post.num_parameters, "the posterior")
    return checked_batch_size(batch_size, len(roots))


def completed(
    chosen: Iterable[int], gains: list[float], batch_size: int, like: Tensor, note: str
) -> Selection:
    """The Selection, with the lowest indices left and a note where it is short."""
    chosen, short = list(chosen), batch_size - len(gains)
    note = note.format(len(chosen), short)
    chosen += sorted(set(range(batch_size)) - set(chosen))[:short]
    indices = torch.tensor(chosen, device=like.device)
    found = torch.tensor([*gains, *[0.0] * short], dtype=torch.float64)
    return Selection(indices, found.to(like.device), (note,) if short else ())

"""k-DPP sampling: batches with p(B) proportional to det S_B (T33).

A k-DPP samples where greedy log det maximises; k-means++ sampling only resembles it.
"""

from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import as_tensor, check_choice, rounding, symmetric
from fimlib.fisher.roots import FisherRoots
from fimlib.linalg import EPS
from fimlib.posterior.frame import kernel_of
from fimlib.selection.result import Selection, checked_batch_size

# Squared lengths, of 1 at most, that are rounding: of rows that others span.
_NOISE = 1e-28


def k_dpp(
    items: ArrayLike | FisherRoots, batch_size: int, generator: Generator | None = None,
    is_kernel: bool | None = None,
) -> Selection:  # fmt: skip
    """Return `batch_size` items drawn with p(B) proportional to det S_B, exactly.

    items: gradients or features (M, D) or Fisher roots of rank 1, for which S is their
    similarity matrix R R^T; or S itself (M, M), with `is_kernel=True`. Works in the
    smaller of M and D; no index comes twice. `gains` are the increments of log det S_B
    in the order drawn, in nats: they sum to log det S_B, without a 1/2. Source: Kulesza
    & Taskar 2012, arXiv:1207.6083, section 5.2 (k-DPPs: 2011).

    Raises:
        ValueError: a batch above the numerical rank (past which every det S_B is zero),
            roots of a higher rank, an S that is not positive semi-definite, a square
            symmetric array without `is_kernel`, which may be meant either way.

    >>> k_dpp([[2.0, 0.0], [0.0, 0.0], [0.0, 2.0]], 2).gains
    tensor([1.3863, 1.3863], dtype=torch.float64)
    """
    check_choice(is_kernel, "is_kernel", (None, True, False))
    kernel = _checked(items, is_kernel)
    batch_size = checked_batch_size(batch_size, len(kernel), "items")
    eps = rounding(items, "items") if is_kernel else EPS
    vectors, singular = _decomposition(kernel, eps)
    if batch_size > len(singular):
        raise ValueError(
            f"batch_size must be at most the numerical rank {len(singular)} of the "
            f"similarity matrix, got {batch_size}: every larger batch has determinant 0"
        )
    chosen = _choose_eigenvectors(2.0 * singular.log(), batch_size, generator)
    indices = _sample_projection(vectors[:, chosen], generator)
    # S_B = L L^T from the QR decomposition of the rows of B.
    rows = vectors[indices] * singular
    lower = torch.linalg.qr(rows.mT, mode="r")[1].mT
    gains = 2.0 * lower.diagonal().abs().log()
    return Selection(indices, gains, ("drawn with p(B) proportional to det S_B",))


def _checked(items: Any, is_kernel: bool | None) -> Any:
    """A kernel as a symmetric tensor, or roots of rank 1."""
    if is_kernel:
        return symmetric(items, "items", "M")
    if not hasattr(items, "num_parameters"):
        items = as_tensor(items, "items", ("M", "D"))
        square = is_kernel is None and len(items) == items.shape[1]
        if square and torch.allclose(items, items.mT, rtol=1e-8):
            raise ValueError(
                f"items of shape {tuple(items.shape)} are symmetric: pass "
                "is_kernel=True for a similarity matrix, or is_kernel=False for "
                "features"
            )
        items = FisherRoots.from_dense(items)
    if items.rank != 1:
        raise ValueError(
            "items must have rank 1, one gradient each, for a k-DPP, got roots of "
            f"rank {items.rank}"
        )
    return items


def _decomposition(items: Any, eps: float) -> tuple[Tensor, Tensor]:
    """Orthonormal U (M, r) and s (r,) with S = U diag(s^2) U^T, of numerical rank r."""
    kernel = items if isinstance(items, Tensor) else kernel_of(items)
    if kernel is None:
        left, singular, _ = torch.linalg.svd(items.rows(), full_matrices=False)
        kept = singular > max(len(items), items.num_parameters) * EPS * singular[0]
        return left[:, kept], singular[kept]
    values, vectors = torch.linalg.eigh(kernel)
    floor = len(kernel) * eps * values[-1].abs()
    if values[0] < -100 * floor:
        raise ValueError(
            "items must be positive semi-definite as a similarity matrix, got a "
            f"smallest eigenvalue of {float(values[0]):.6g}"
        )
    kept = values > floor
    return vectors[:, kept], values[kept].sqrt()


def _choose_eigenvectors(
    log_values: Tensor, count: int, generator: Generator | None
) -> list[int]:
    """`count` eigenvectors, with p proportional to the product of their eigenvalues."""
    log_values = log_values.cpu()
    size = len(log_values)
    # Row j holds the logs of the elementary symmetric polynomials e_0 .. e_count of the
    # first j eigenvalues: no spectrum overflows, and all their terms are positive.
    table = torch.full((size + 1, count + 1), -torch.inf, dtype=torch.float64)
    table[:, 0] = 0.0
    for j in range(size):
        table[j + 1, 1:] = torch.logaddexp(table[j, 1:], log_values[j] + table[j, :-1])
    draws = _uniform(size, generator)
    chosen: list[int] = []
    for j in reversed(range(size)):
        left = count - len(chosen)
        if not left:
            break
        # An eigenvalue that is needed to reach `count` has probability 1 here.
        log_share = log_values[j] + table[j, left - 1] - table[j + 1, left]
        if draws[j] < log_share.exp():
            chosen.append(j)
    return chosen


def _sample_projection(vectors: Tensor, generator: Generator | None) -> Tensor:
    """A draw of k items from the DPP of the projection V V^T, V (M, k) orthonormal."""
    # What is left of all rows beyond the span of the items before, by whose squared
    # length each is drawn.
    rest = vectors
    indices: list[int] = []
    for _ in range(vectors.shape[1]):
        squares = rest.square().sum(1)
        squares[indices] = 0.0
        squares[squares < _NOISE] = 0.0
        # By the distribution function, which has no limit on the number of items; its
        # rounding must not lead past the last item that is left.
        levels = squares.cumsum(0)
        level = levels[-1] * _uniform(1, generator).to(levels)[0]
        found = torch.searchsorted(levels, level, right=True)
        index = int(torch.minimum(found, squares.nonzero()[-1, 0]))
        indices.append(index)
        direction = rest[index] / rest[index].norm()
        rest = rest - (rest @ direction)[:, None] * direction
    return torch.tensor(indices, device=vectors.device)


def _uniform(count: int, generator: Generator | None) -> Tensor:
    device = "cpu" if generator is None else generator.device
    draws = torch.rand(count, generator=generator, dtype=torch.float64, device=device)
    return draws.cpu()

"""Tables of probabilities p(y|x_i, theta_l), and divergences between predictions."""

from collections.abc import Iterator

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib._checks import check_shape, to_tensor

# Numbers in the temporaries of a pass over a table (32 MiB in float64).
NUMBERS = 2**22
# Numbers in a block that is worked on in place, and that should stay in cache.
BLOCK = 2**18
# Sums of float32 probabilities are off by about C eps.
SUM_TOLERANCE = 1e-4
# Joint labels of one example that has several.
_MAX_JOINT = 4_096


def checked(log_probs: ArrayLike, name: str) -> Tensor:
    """Return `log_probs` as a tensor (M, L, C), refused unless its rows sum to 1."""
    table = as_table(log_probs, name)
    for part in chunks(table, BLOCK):
        _check_sums(part.double().exp().sum(-1), part, name)
    return table


def checked_pair(log_probs: ArrayLike, evals: ArrayLike) -> tuple[Tensor, Tensor]:
    """Both `checked`, and of the same samples."""
    pair = checked(log_probs, "log_probs"), checked(evals, "log_probs_eval")
    check_samples(*pair, "log_probs_eval")
    return pair


def as_table(log_probs: ArrayLike, name: str) -> Tensor:
    """Return `log_probs` as a floating tensor (M, L, C): no copy of a large one."""
    table = to_tensor(log_probs, name)
    if table.is_complex():
        raise ValueError(f"{name} must be real, got dtype {table.dtype}")
    if table.device.type == "mps":
        raise ValueError(
            f"{name} is on {table.device}, which has no float64: pass CPU tensors"
        )
    table = table if table.is_floating_point() else table.double()
    if table.ndim == 4 and 0 not in table.shape:
        table = _jointly(table, name)
    check_shape(table, name, ("M", "L", "C"))
    if 0 in table.shape:
        raise ValueError(
            f"{name} must have shape (M, L, C) without a zero, got {tuple(table.shape)}"
        )
    return table


def _jointly(table: Tensor, name: str) -> Tensor:
    """(M, L, C^K) of all labels of an example from K independent ones, (M, L, K, C)."""
    count, classes = table.shape[2:]
    if classes**count > _MAX_JOINT:
        raise ValueError(
            f"{name} must have at most {_MAX_JOINT} joint labels of an example, got "
            f"{classes}^{count}: leave labels out, or score them one at a time"
        )
    _check_sums(table.double().exp().sum(-1), table, name)
    joint = table[:, :, 0].double()
    for labels in table[:, :, 1:].double().unbind(2):
        joint = (joint[..., None] + labels[:, :, None, :]).flatten(2)
    return joint


def _check_sums(sums: Tensor, part: Tensor, name: str) -> None:
    """Refuse log-probabilities whose `sums` of probabilities are not 1."""
    tolerance = max(SUM_TOLERANCE, 4 * torch.finfo(part.dtype).eps)
    if ((sums - 1).abs() <= tolerance).all():
        return
    bad = int((part.isnan() | part.isposinf()).sum())
    if bad:
        raise ValueError(
            f"{name} must be finite, or -inf for a probability of zero, got {bad} NaN "
            "or +inf entries"
        )
    raise ValueError(
        f"{name} must hold log-probabilities that sum to 1 over the last axis, got "
        f"sums from {float(sums.min()):.6g} to {float(sums.max()):.6g}; K independent "
        "labels are (M, L, K, C), such as log p of 0 and of 1"
    )


def check_samples(log_probs: Tensor, other: Tensor, name: str) -> None:
    """Raise unless `other` has as many samples of theta as `log_probs`."""
    if other.shape[1] != log_probs.shape[1]:
        raise ValueError(
            f"{name} must have the {log_probs.shape[1]} samples of log_probs on axis "
            f"1, got shape {tuple(other.shape)}"
        )
    if other.device != log_probs.device:
        raise ValueError(
            f"{name} must be on the device of log_probs, {log_probs.device}, got "
            f"{other.device}"
        )


def chunks(table: Tensor, numbers: int | None = None) -> tuple[Tensor, ...]:
    """Parts of a table along its first axis, each of at most about `numbers`."""
    return table.split(max(1, (numbers or NUMBERS) // table.shape[1:].numel()))


def normalised(log_probs: Tensor) -> Tensor:
    """Log-probabilities (m, L, C) in float64 whose rows sum to 1 to the last digit."""
    log_probs = log_probs.double()
    return log_probs - log_probs.exp().sum(-1, keepdim=True).log_()


def ratios(log_probs: Tensor, name: str = "log_probs") -> tuple[Tensor, Tensor]:
    """Marginals p(y) (m, C), and p(y|theta_l) / p(y) - 1 (m, L, C); sums checked."""
    probs = log_probs.double().exp()
    sums = probs.sum(-1, keepdim=True)
    _check_sums(sums, log_probs, name)
    probs /= sums
    marginal = probs.mean(1)
    # A class without probability has a ratio without a meaning, and weight zero.
    tiny = torch.finfo(torch.float64).tiny
    return marginal, probs.div_(marginal.clamp(min=tiny)[:, None]).sub_(1)


def excess_(change: Tensor) -> Tensor:
    """(1 + d) log(1 + d) - d of each number d >= -1, which is overwritten."""
    # Summed with weights p(y) over y, for d = q(y)/p(y) - 1, it is KL(q || p). No two
    # entropies are subtracted: each term is at least zero, and small where d is.
    # A matrix product may miss -1, a probability of zero, by a rounding.
    change.clamp_(min=-1)
    # The finite stand-in for log 0 makes 0 log 0 zero.
    logs = change.log1p().clamp_(min=-1e4)
    return logs.addcmul_(logs, change).sub_(change)


def blocks(
    marginal: Tensor, ratio: Tensor, shift: Tensor, group: int = 1
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Blocks of KL(p(Y_i|o) || p(Y_i)), from `marginal` and `ratio` of `ratios`.

    A `shift` (O, L) has the posterior weights p(theta_l|o) less the prior's 1/L, and
    p(y|o) / p(y) - 1 is its product with the ratio.

    Yields:
        Slices of examples and of outcomes, the latter whole groups of `group`, and
        their divergences (rows, columns).
    """
    count, samples, classes = ratio.shape
    ratio = ratio.mT.reshape(count * classes, samples)
    # As wide as a matrix product likes; a chunk may have no outcome that can be.
    width = max(1, min(len(shift), group * max(1, 512 // group)))
    height = max(1, BLOCK // (width * classes))
    for top in range(0, count, height):
        rows = slice(top, min(top + height, count))
        left = ratio[rows.start * classes : rows.stop * classes]
        weights = marginal[rows, None]
        for start in range(0, len(shift), width):
            columns = slice(start, start + width)
            terms = excess_(left @ shift[columns].mT)
            terms = terms.view(len(weights), classes, -1)
            yield rows, columns, torch.bmm(weights, terms)[:, 0]

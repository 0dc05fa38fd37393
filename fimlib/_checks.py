"""Argument checks shared by the numerical modules: every refusal names its argument."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(
    value: Any,
    name: str,
    shape: tuple | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Return `value` as a finite floating tensor, checked against `shape`.

    `shape` is a tuple of sizes and size names: an int must match, a string stands for
    any size. A tensor keeps its device.

    Raises:
        ValueError: another shape, entries that are no finite numbers.
    """
    try:
        # Python numbers are float64: left alone, torch would round them to float32.
        plain = isinstance(value, list | tuple | float)
        tensor = torch.as_tensor(value, dtype=torch.float64 if plain else None)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be a numeric array or tensor, got {type(value).__name__}"
        ) from error
    if tensor.is_complex():
        raise ValueError(f"{name} must be real, got dtype {tensor.dtype}")
    if tensor.device.type == "mps" and dtype == torch.float64:
        raise ValueError(
            f"{name} is on {tensor.device}, which has no float64: pass CPU tensors"
        )
    tensor = tensor.detach().to(dtype)
    if shape is not None:
        check_shape(tensor, name, shape)
    if not _is_finite(tensor):
        bad = int((~torch.isfinite(tensor)).sum())
        raise ValueError(
            f"{name} must be finite, got {bad} NaN or infinite entries in shape "
            f"{tuple(tensor.shape)}"
        )
    return tensor


def _is_finite(tensor: Tensor) -> bool:
    """Whether all entries are finite: one pass, and no temporary of their size."""
    if not tensor.numel():
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def check_shape(tensor: Tensor, name: str, shape: tuple) -> None:
    """Raise unless `tensor` has `shape` (ints match, strings are any size)."""
    actual = tuple(tensor.shape)
    fits = len(actual) == len(shape) and all(
        isinstance(want, str) or want == have
        for want, have in zip(shape, actual, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(size) for size in shape)
        comma = "," if len(shape) == 1 else ""
        raise ValueError(f"{name} must have shape ({wanted}{comma}), got {actual}")


def check_count(count: int, name: str) -> None:
    """Raise unless `count`, the number of examples in `name`, is positive."""
    if count < 1:
        raise ValueError(f"{name} must hold at least one example, got {count}")


def check_choice(value: Any, name: str, choices: Collection) -> None:
    """Raise unless `value` is one of `choices`."""
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {wanted}, got {value!r}")


def positive_float(value: Any, name: str) -> float:
    """Return `value` as a positive finite float."""
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be a positive number, got {type(value).__name__}"
        ) from error
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be positive and finite, got {number}")
    return number


def positive_int(value: Any, name: str) -> int:
    """Return `value` as a positive int."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def class_labels(labels: Any, name: str, count: int, num_classes: int) -> Tensor:
    """Return `labels` as int64 of shape (count,), each in 0..num_classes-1."""
    tensor = torch.as_tensor(labels)
    check_shape(tensor, name, (count,))
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{name} must hold integers, got dtype {tensor.dtype}")
    tensor = tensor.long()
    if count and (tensor.min() < 0 or tensor.max() >= num_classes):
        raise ValueError(
            f"{name} must lie in 0..{num_classes - 1}, got values from "
            f"{int(tensor.min())} to {int(tensor.max())}"
        )
    return tensor


def symmetric(matrix: Any, name: str, size: int | str = "D") -> Tensor:
    """Return `matrix` as a float64 (size, size) tensor that is exactly symmetric."""
    matrix = as_tensor(matrix, name, (size, size))
    check_shape(matrix, name, (len(matrix), len(matrix)))
    gap = (matrix - matrix.mT).abs().max() if len(matrix) else 0.0
    scale = matrix.abs().max() if len(matrix) else 1.0
    if gap > 1e-8 * scale:
        raise ValueError(
            f"{name} must be symmetric, got a largest asymmetry of {float(gap):.3g} "
            f"in entries up to {float(scale):.3g}"
        )
    return (matrix + matrix.mT) / 2

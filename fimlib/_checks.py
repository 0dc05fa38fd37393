"""Argument checks shared by the numerical modules: every refusal names its argument."""

import functools
import inspect
import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

_WIDE_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def as_tensor(
    value: Any,
    name: str,
    shape: tuple[int | str, ...] | None = None,
    dtype: torch.dtype = torch.float64,
    copy: bool = False,
) -> Tensor:
    """Return `value` as a finite floating tensor, checked against `shape`."""
    # In `shape` an int must match, a string stands for any size.
    check_dtype(dtype)
    tensor = to_tensor(value, name)
    if tensor.is_complex():
        raise ValueError(f"{name} must be real, got dtype {tensor.dtype}")
    if tensor.device.type == "mps" and dtype == torch.float64:
        raise ValueError(
            f"{name} is on {tensor.device}, which has no float64: pass CPU tensors"
        )
    tensor = tensor.to(dtype, copy=copy)
    if shape is not None:
        check_shape(tensor, name, shape)
    if not is_finite(tensor):
        bad = int((~torch.isfinite(tensor)).sum())
        raise ValueError(
            f"{name} must be finite, got {bad} NaN or infinite entries in shape "
            f"{tuple(tensor.shape)}"
        )
    return tensor


def to_tensor(value: Any, name: str) -> Tensor:
    """Return an array of any kind as a dense tensor of its own dtype: the one door."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise ValueError(
                f"{name} must be a dense tensor (try .to_dense()), got "
                f"{value.layout} of {value.dtype} on {value.device}"
            )
        tensor = value.detach()
        return tensor.long() if tensor.dtype in _WIDE_UNSIGNED else tensor
    try:
        if isinstance(value, list | tuple) and any(
            isinstance(part, Tensor) for part in value
        ):
            return torch.stack([to_tensor(part, name) for part in value])
        return _from_array(_own_array(value, name))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(
            f"{name} must be a numeric array or tensor, got {type(value).__name__}: "
            f"{error}"
        ) from error


def _own_array(value: Any, name: str) -> np.ndarray:
    """A NumPy array of what holds one: rows of a frame are numbered, not looked up."""
    array = value.to_numpy() if hasattr(value, "to_numpy") else value
    if np.ma.isMaskedArray(array):
        masked = int(np.ma.getmaskarray(array).sum())
        if masked:
            raise ValueError(
                f"{name} must have no masked entries, got {masked}: fill them, or "
                "leave their examples out"
            )
        array = array.data
    array = np.asarray(array)
    if array.dtype.kind not in "biufc":
        raise ValueError(
            f"{name} must be a numeric array or tensor, got {type(value).__name__} of "
            f"dtype {array.dtype}"
        )
    return array


def _from_array(array: np.ndarray) -> Tensor:
    kind, size = array.dtype.kind, array.dtype.itemsize
    wanted = array.dtype.newbyteorder("=")
    if kind == "f" and size > 8:
        wanted = np.dtype(np.float64)
    if kind == "u" and size > 1:
        if size == 8 and array.size and array.max() > np.iinfo(np.int64).max:
            raise OverflowError("integers above 2^63")
        wanted = np.dtype(np.int64)
    array = array.astype(wanted, copy=False)
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        # Memory that may not be written is only read here.
        warnings.filterwarnings("ignore", "The given NumPy array is not writ")
        return torch.as_tensor(array)


def guard(package: dict[str, Any]) -> None:
    """Make a package's public functions refuse arguments of another kind by name."""
    for name in package["__all__"]:
        function = package[name]
        if inspect.isfunction(function):
            package[name] = guarded(function)
            setattr(sys.modules[function.__module__], name, package[name])


def guarded(function: Callable) -> Callable:
    """The function, with arguments of certain names checked before all else."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            wanted, fits, hint = _KINDS.get(name, ("", callable, ""))
            default = value is signature.parameters[name].default
            if wanted and not default and not fits(value):
                kind = type(value).__name__
                raise ValueError(f"{name} must be {wanted}, got {kind}{hint}")
        return function(*args, **kwargs)

    return checked


def _are_roots(value: Any) -> bool:
    return hasattr(value, "num_parameters") and hasattr(value, "self_gram")


def _is_posterior(value: Any) -> bool:
    return hasattr(value, "num_parameters") and hasattr(value, "prior_precision")


# What arguments of these names are in every public function.
_KINDS: dict[str, tuple[str, Callable[[Any], bool], str]] = {
    **dict.fromkeys(("post", "posterior"), ("a GaussianPosterior", _is_posterior, "")),
    **dict.fromkeys(
        ("roots", "eval_roots", "train_roots"),
        (
            "Fisher roots",
            _are_roots,
            ": wrap features (M, d) as fimlib.fisher.FisherRoots.from_dense(features)",
        ),
    ),
    **dict.fromkeys(
        ("jackknife", "return_error", "pairwise", "progress", "bias"),
        ("True or False", lambda value: isinstance(value, bool | np.bool_), ""),
    ),
    "score": ("a function", callable, ""),
    "generator": (
        "a torch.Generator",
        lambda value: isinstance(value, torch.Generator),
        ": pass torch.Generator().manual_seed(0)",
    ),
}


def rounding(value: Any, name: str) -> float:
    """The eps to which the entries of `value` are rounded: that of its own dtype."""
    dtype = to_tensor(value, name).dtype
    return torch.finfo(dtype if dtype.is_floating_point else torch.float64).eps


def check_dtype(dtype: Any) -> None:
    """Raise unless `dtype` is a floating torch.dtype."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating torch.dtype, got {dtype!r}")


def is_finite(tensor: Tensor) -> bool:
    """Whether all entries are finite: one pass, and no temporary of their size."""
    # A finite sum has finite terms only; it may also overflow.
    if not tensor.numel() or math.isfinite(tensor.sum()):
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def check_shape(tensor: Tensor, name: str, shape: tuple[int | str, ...]) -> None:
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


def check_choice(value: Any, name: str, choices: tuple) -> None:
    """Raise unless `value` is one of `choices`."""
    if not any(isinstance(value, type(one)) and value == one for one in choices):
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {wanted}, got {value!r}")


def positive_float(value: Any, name: str) -> float:
    """Return `value` as a positive finite float."""
    try:
        number = float(value + 0)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
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
    tensor = to_tensor(labels, name)
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
    tolerance = max(1e-8, 8 * rounding(matrix, name))
    matrix = as_tensor(matrix, name, (size, size))
    check_shape(matrix, name, (len(matrix), len(matrix)))
    gap = (matrix - matrix.mT).abs().max() if len(matrix) else 0.0
    scale = matrix.abs().max() if len(matrix) else 1.0
    if gap > tolerance * scale:
        raise ValueError(
            f"{name} must be symmetric, got a largest asymmetry of {float(gap):.3g} "
            f"in entries up to {float(scale):.3g}"
        )
    return (matrix + matrix.mT) / 2

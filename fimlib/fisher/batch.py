"""Batches of examples in the structure in which a model takes them."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_flatten, tree_unflatten

from fimlib._checks import as_tensor, check_count, to_tensor


class Batch:
    """Inputs of some examples: an array, or dicts and tuples of arrays, a row for each.

    Numbers, strings and None among them go with every example, and lists of what is no
    number have an entry for each.
    """

    def __init__(self, tree: Any, name: str = "inputs") -> None:
        tree = dict(tree) if isinstance(tree, Mapping) else tree
        leaves, self.spec = tree_flatten(tree, is_leaf=_is_leaf)
        self.leaves = [_leaf(leaf, name) for leaf in leaves]
        counts = {len(leaf) for leaf in self.leaves if _has_rows(leaf)}
        if len(counts) != 1:
            found = f"{sorted(counts)} rows" if counts else "()"
            raise ValueError(f"{name} must have shape (M, ...), got {found}")
        self.count = counts.pop()
        check_count(self.count, name)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, indices: Any) -> "Batch":
        def part(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return leaf[indices]
            return [leaf[i] for i in torch.arange(len(leaf))[indices].tolist()]

        return self.with_rows([part(leaf) for leaf in self.rows])

    @property
    def rows(self) -> list:
        """The leaves that have an entry for each example."""
        return [leaf for leaf in self.leaves if _has_rows(leaf)]

    @property
    def tree(self) -> Any:
        """What the model takes."""
        return tree_unflatten(self.leaves, self.spec)

    def with_rows(self, rows: list) -> "Batch":
        """The same structure around other rows."""
        new, found = Batch.__new__(Batch), iter(rows)
        new.spec, new.count = self.spec, len(rows[0])
        new.leaves = [next(found) if _has_rows(x) else x for x in self.leaves]
        return new

    def split(self, size: int) -> Iterator["Batch"]:
        """Consecutive batches of at most `size` examples."""
        if len(self) <= size:
            yield self
            return
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def to(self, device: torch.device, dtype: torch.dtype, copy: bool) -> "Batch":
        """On a device, floating tensors finite and in a dtype, copies if asked."""

        def moved(leaf: Any) -> Any:
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                leaf = as_tensor(leaf, "inputs", dtype=dtype, copy=copy)
            elif isinstance(leaf, Tensor) and copy:
                leaf = leaf.clone()
            return leaf.to(device) if isinstance(leaf, Tensor) else leaf

        return self.with_rows([moved(leaf) for leaf in self.rows])

    @staticmethod
    def joined(parts: list["Batch"]) -> "Batch":
        """The examples of several batches of one structure."""
        rows = zip(*(part.rows for part in parts), strict=True)
        return parts[0].with_rows(
            [torch.cat(x) if isinstance(x[0], Tensor) else [*chain(*x)] for x in rows]
        )

    def __repr__(self) -> str:
        tensors = [leaf for leaf in self.rows if isinstance(leaf, Tensor)]
        return ", ".join(f"{x.dtype} of shape {tuple(x.shape)}" for x in tensors)


def _is_leaf(tree: Any) -> bool:
    """A list is one, unless it is of arrays, such as a loader makes of tuples."""
    if isinstance(tree, PackedSequence):
        raise ValueError(
            "inputs must have a row for each example, got a PackedSequence: pass "
            "padded sequences and lengths, and pack them in the model"
        )
    return isinstance(tree, list) and not all(hasattr(part, "ndim") for part in tree)


def _leaf(leaf: Any, name: str) -> Any:
    if leaf is None or isinstance(leaf, str | bytes | bool | int | float):
        return leaf
    try:
        return to_tensor(leaf, name)
    except ValueError:
        if isinstance(leaf, list):
            return leaf
        raise


def _has_rows(leaf: Any) -> bool:
    return isinstance(leaf, list) or (isinstance(leaf, Tensor) and leaf.ndim > 0)

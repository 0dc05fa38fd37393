"""Batches of examples in the structure in which a model takes them."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_flatten, tree_unflatten

from fimlib._checks import as_tensor, check_count, to_tensor


class Batch:
    """Inputs of some examples: an array, or dicts and tuples of arrays, a row for each.

    Numbers, strings and None among them go with every example.
    """

    def __init__(self, tree: Any, name: str = "inputs") -> None:
        tree = dict(tree) if isinstance(tree, Mapping) else tree
        leaves, self.spec = tree_flatten(tree, is_leaf=_is_leaf)
        self.leaves = [_leaf(leaf, name) for leaf in leaves]
        counts = {len(leaf) for leaf in self.rows}
        if len(counts) != 1:
            found = f"{sorted(counts)} rows" if counts else "()"
            raise ValueError(f"{name} must have shape (M, ...), got {found}")
        check_count(len(self), name)

    def __len__(self) -> int:
        return len(self.rows[0])

    def __getitem__(self, indices: Any) -> "Batch":
        return self.with_rows([leaf[indices] for leaf in self.rows])

    def __repr__(self) -> str:
        return ", ".join(f"{x.dtype} of shape {tuple(x.shape)}" for x in self.rows)

    @property
    def rows(self) -> list[Tensor]:
        """The tensors that have a row for each example."""
        return [leaf for leaf in self.leaves if _has_rows(leaf)]

    @property
    def tree(self) -> Any:
        """What the model takes."""
        return tree_unflatten(self.leaves, self.spec)

    def with_rows(self, rows: list[Tensor]) -> "Batch":
        """The same structure around other rows."""
        new, found = Batch.__new__(Batch), iter(rows)
        new.spec = self.spec
        new.leaves = [next(found) if _has_rows(x) else x for x in self.leaves]
        return new

    def split(self, size: int) -> Iterator["Batch"]:
        """Consecutive batches of at most `size` examples."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def to(self, device: torch.device, dtype: torch.dtype, copy: bool) -> "Batch":
        """On a device, floating tensors finite and in a dtype, copies if asked."""
        rows = [
            as_tensor(leaf, "inputs", dtype=dtype, copy=copy).to(device)
            if leaf.is_floating_point()
            else leaf.to(device, copy=copy)
            for leaf in self.rows
        ]
        return self.with_rows(rows)

    @staticmethod
    def joined(parts: list["Batch"]) -> "Batch":
        """The examples of several batches of one structure."""
        rows = zip(*(part.rows for part in parts), strict=True)
        return parts[0].with_rows([torch.cat(same) for same in rows])


def _is_leaf(tree: Any) -> bool:
    """A list is one, unless it is of arrays, such as a loader makes of tuples."""
    if isinstance(tree, PackedSequence):
        raise ValueError(
            "inputs must have a row for each example, got a PackedSequence: pass "
            "padded sequences and lengths, and pack them in the model"
        )
    return isinstance(tree, list) and not all(hasattr(part, "ndim") for part in tree)


def _leaf(leaf: Any, name: str) -> Any:
    plain = leaf is None or isinstance(leaf, str | bool | int | float)
    return leaf if plain else to_tensor(leaf, name)


def _has_rows(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0

"""Units of work: computed once, kept in one file each, found again after a kill."""

import contextlib
import functools
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator
from tqdm import tqdm

from fimlib.figures import records
from fimlib.figures.records import Arrays

Bars = Callable[[str, int, int], tqdm]


def stream(seed: int, purpose: str, index: int = 0) -> Generator:
    """A generator of its own for one purpose: no draw depends on what ran before it."""
    key = [seed, zlib.crc32(purpose.encode()), index]
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


@contextlib.contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """A fixed number of threads: sums are split, and so rounded, the same way."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def progress_bars(shown: bool) -> Bars:
    """bar(description, total, initial), which shows itself if that is wanted."""
    return functools.partial(tqdm, disable=not shown, leave=False)


class Work:
    """A folder of finished units, one NPZ each, written whole or not at all."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def unit(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of unit ``name``: read when it is finished, else computed."""
        if self.path(name).exists():
            return self.read(name)
        start = time.perf_counter()
        arrays = compute()
        arrays.setdefault("seconds", np.float64(time.perf_counter() - start))
        self.save(name, **arrays)
        return arrays

    def load(self, name: str) -> Arrays | None:
        """The arrays last saved under ``name``, or None."""
        return self.read(name) if self.path(name).exists() else None

    def path(self, name: str) -> Path:
        """Where a unit is kept."""
        return self.folder / f"{name}.npz"

    def save(self, name: str, **arrays: Any) -> None:
        """Keep a unit, or the state of one that is not finished."""
        records.write_npz(self.path(name), **arrays)

    def read(self, name: str) -> Arrays:
        """The arrays of a unit that is kept."""
        try:
            return records.read_npz(self.path(name))
        except records.RecordError as error:
            raise records.RecordError(
                f"{error}; delete it and run again: only this unit is redone"
            ) from None

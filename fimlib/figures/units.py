"""Units of work: computed once, kept in one file each, found again after a kill."""

import contextlib
import functools
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from fimlib.figures import records


def stream(seed, purpose, index=0):
    """A generator of its own for one purpose: no draw depends on what ran before it."""
    key = [seed, zlib.crc32(purpose.encode()), index]
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


@contextlib.contextmanager
def fixed_threads(count):
    """A fixed number of threads: sums are split, and so rounded, the same way."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def progress_bars(shown):
    """bar(description, total, initial), which shows itself if that is wanted."""
    return functools.partial(tqdm, disable=not shown, leave=False)


class Work:
    """A folder of finished units, one NPZ each, written whole or not at all."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def unit(self, name, compute):
        """The arrays of unit ``name``: read when it is finished, else computed."""
        path = self.folder / f"{name}.npz"
        if path.exists():
            return self._read(path)
        start = time.perf_counter()
        arrays = compute()
        arrays.setdefault("seconds", np.float64(time.perf_counter() - start))
        records.write_npz(path, **arrays)
        return arrays

    def load(self, name):
        """The arrays last saved under ``name``, or None."""
        path = self.folder / f"{name}.npz"
        return self._read(path) if path.exists() else None

    def save(self, name, **arrays):
        """Keep the state of a unit that is not finished."""
        records.write_npz(self.folder / f"{name}.npz", **arrays)

    def _read(self, path):
        try:
            return records.read_npz(path)
        except records.RecordError as error:
            raise records.RecordError(
                f"{error}; delete it and run again: only this unit is redone"
            ) from None

"""The regression sets of Figure 4: loading, splits and scaling.

The fifteen sets and their preparation are those of Holzmueller, Zaverkin, Kaestner and
Steinwart, "A Framework and Benchmark for Deep Batch Active Learning for Regression"
(arXiv:2203.09410). ``fried`` and ``poker`` are generated and need no file. Any other
is looked for as regression/NAME.npz (arrays X and y) in the folder that FIMLIB_DATA
names, then in the cache, else fetched from its publisher.
"""

from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import numpy as np
from numpy.typing import ArrayLike

from fimlib.figures import records
from fimlib.figures.data import (
    DataError,
    Status,
    cache_folder,
    local_folder,
    reason,
    refused,
)  # fmt: skip
from fimlib.figures.fig4 import generated, sources

_PUBLISHED = {  # rows of the benchmark's sets once prepared, columns where known
    "sgemm": (241_600, 14),
    "wecs": (72_000, 48),
    "ct": (53_500, None),
    "kegg_undir": (64_608, 27),
    "online_video": (68_784, None),
    "query_agg_count": (200_000, 4),
    "poker": (500_000, 95),
    "road_network": (434_874, 2),
    "mlr_knn_rng": (111_753, None),
    "fried": (40_768, 10),
    "diamonds": (53_940, 29),
    "methane": (500_000, None),
    "stock": (59_049, 9),
    "protein": (45_730, 9),
    "sarcos": (44_484, 21),
}
NAMES = tuple(_PUBLISHED)
_ALIASES = {  # other names in use, for arguments and for files
    "wec_sydney": "wecs",
    "ct_slices": "ct",
    "kegg_undir_uci": "kegg_undir",
    "query": "query_agg_count",
    "road": "road_network",
    "stock_base": "stock",
}
_NOTES = {
    "stock_base": "the base set, not the rows sampled from a network fitted to it"
}


@dataclass(frozen=True)
class RegressionSet:
    """Inputs (n,d) float32 and targets (n,) float64 of mean 0 and variance 1.

    ``digest`` is the sha256 of the raw arrays, ``note`` how they differ from the
    benchmark's ("" where they do not).
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    source: str
    digest: str
    note: str


@dataclass(frozen=True)
class Split:
    """Disjoint int64 row numbers of one split."""

    train: np.ndarray
    validation: np.ndarray
    pool: np.ndarray
    test: np.ndarray


def canonical(name: str) -> str:
    """The name in NAMES that ``name`` stands for (ValueError: there is none)."""
    found = _ALIASES.get(name, name)
    if found not in NAMES:
        raise ValueError(f"no data set {name!r}; there are {', '.join(NAMES)}")
    return found


def load(name: str) -> RegressionSet:
    """The data set ``name`` (ValueError: unknown; DataError: missing or damaged)."""
    name = canonical(name)
    if name in _GENERATORS:
        generate, note = _GENERATORS[name]
        return _finished(name, *generate(), "generated", note)
    path = _local_file(name)
    if path is not None:
        inputs, targets = _read(path, "replace the file")
        note = _NOTES.get(path.stem, "")
        return _finished(name, inputs, targets, "FIMLIB_DATA", note)
    return _finished(name, *_cached(name), str(sources.SOURCES[name]), "")


def split(
    n: int, seed: int, train_size: int = 256, validation_size: int = 1024,
    pool_size: int | None = None, test_size: int | None = None,
) -> Split:  # fmt: skip
    """Split n rows at random: the seed decides, and pool_size changes the pool only.

    None is the benchmark's rule: ``published_test_size``, and a pool of what remains.
    ValueError: sizes that do not fit.
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be an integer >= 0, got {seed!r}")
    test_size = published_test_size(n) if test_size is None else test_size
    sizes = {"train_size": train_size, "validation_size": validation_size}
    sizes["test_size"] = test_size
    left = n - sum(sizes.values())
    sizes["pool_size"] = left if pool_size is None else pool_size
    whole = all(isinstance(size, int | np.integer) for size in sizes.values())
    if not whole or min(sizes.values()) < 1 or sizes["pool_size"] > left:
        listed = ", ".join(f"{key} = {size}" for key, size in sizes.items())
        raise ValueError(
            f"sizes must be integers >= 1 with sum <= n = {n}, got {listed}"
        )
    order = np.random.default_rng(seed).permutation(n).astype(np.int64)
    ends = np.cumsum(list(sizes.values()))
    train, validation, test, pool, _ = np.split(order, ends)
    return Split(train, validation, pool, test)


def published_test_size(n: int) -> int:
    """The benchmark's number of test rows among n."""
    return min(max(n // 5, n - sources.MAX_TRAINABLE), sources.MAX_TEST)


def scaled(inputs: ArrayLike, split: Split) -> np.ndarray:
    """The inputs (n,d) float32, standardised on train and pool, then 5 tanh(x / 5).

    A column without variation on these rows becomes zero. ValueError: shape of inputs.
    """
    inputs = np.asarray(inputs)
    if inputs.ndim != 2:
        raise ValueError(f"inputs must have shape (n, d), got {inputs.shape}")
    rows = np.concatenate([split.train, split.pool])
    result = np.zeros(inputs.shape, dtype=np.float32)
    for j in range(inputs.shape[1]):  # by column: float64 without a copy of them all
        column = inputs[:, j].astype(np.float64)
        known = column[rows]
        if known.min() < known.max():
            z = (column - known.mean()) / known.std()
            result[:, j] = 5 * np.tanh(z / 5)
    return result


def _finished(
    name: str, inputs: np.ndarray, targets: np.ndarray, source: str, note: str
) -> RegressionSet:
    """The set with at most 500,000 rows, standardised targets and its full note."""
    kept = sources.kept_rows(len(inputs))
    inputs, targets = inputs[kept], targets[kept]
    digest = records.sha256([inputs, targets])
    rows, columns = _PUBLISHED[name]
    notes = [note] if note else []
    if len(inputs) != rows:
        notes.append(f"{len(inputs):,} rows where the benchmark has {rows:,}")
    if columns not in (None, inputs.shape[1]):
        notes.append(f"{inputs.shape[1]} inputs where the benchmark has {columns}")
    targets = targets.astype(np.float64)
    if targets.min() == targets.max():
        raise DataError(f"{name} from {source} has a constant target")
    targets = (targets - targets.mean()) / targets.std()
    return RegressionSet(name, inputs, targets, source, digest, "; ".join(notes))


def _local_file(name: str) -> Path | None:
    """The file of the set in the folder that FIMLIB_DATA names, or None."""
    folder = local_folder("regression")
    if folder is None:
        return None
    stems = [name, *(alias for alias, of in _ALIASES.items() if of == name)]
    paths = [folder / f"{stem}.npz" for stem in stems]
    return next((path for path in paths if path.exists()), None)


def _read(path: Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    """X (n,d) and y (n,) of a file, finite and of the digest that is known for it."""
    try:
        stored = records.read_npz(path)
        inputs, targets = stored["X"], stored["y"]
        if inputs.ndim != 2 or targets.shape != (len(inputs),) or not len(inputs):
            raise ValueError(f"X has shape {inputs.shape}, y {targets.shape}")
        inputs = inputs.astype(np.float32, copy=False)
        if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
            raise ValueError("X or y holds NaN or infinite values")
        expected, found = _listed_digest(path), records.sha256(path)
        if "digest" in stored:  # written by us at the first download
            expected = str(stored["digest"])
            found = records.sha256([inputs, targets])
        if expected not in (None, found):
            raise ValueError(f"expected sha256 {expected}, found {found}")
    except (ValueError, TypeError, KeyError) as error:
        what = f"no array {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{path} is damaged ({what}); {remedy}") from None
    return inputs, targets


def _listed_digest(path: Path) -> str | None:
    """The sha256 that a SHA256SUMS file beside or above ``path`` lists, or None."""
    for folder in (path.parent, path.parent.parent):
        sums = folder / "SHA256SUMS"
        for line in sums.read_text().splitlines() if sums.exists() else ():
            digest, _, listed = line.partition(" ")
            if folder / listed.strip(" *") == path:
                return digest
    return None


def _cache_file(name: str) -> Path:
    return cache_folder() / "regression" / f"{name}.npz"


def _cached(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets from the cache, fetched into it on first use."""
    path = _cache_file(name)
    if path.exists():
        return _read(path, f"delete {path} and try again")
    source = sources.SOURCES[name]
    try:
        inputs, targets = sources.prepared(*source.fetch())
    except Exception as error:
        found = shorten(f"{type(error).__name__}: {reason(error)}", 100)
        raise DataError(
            f"{name} cannot be had from {source} ({getattr(source, 'why', found)}); "
            f"put it at regression/{name}.npz (arrays X and y) in the folder that "
            "FIMLIB_DATA names; fried and poker need no network"
        ) from None
    digest = np.array(records.sha256([inputs, targets]))
    records.write_npz(path, X=inputs, y=targets, digest=digest)
    return inputs, targets


def status() -> list[Status]:
    """A ``Status`` per set: what a run would find here; fetches nothing."""
    return [_status(name) for name in NAMES]


def _status(name: str) -> Status:
    if name in _GENERATORS:
        return Status(name, "generated", "ok", "needs no file")
    try:
        if _local_file(name) is None and not _cache_file(name).exists():
            source = sources.SOURCES[name]
            return Status(name, str(source), "missing", source.on_first_use)
        found = load(name)
    except DataError as error:
        return refused(name, "local file", error)
    n, d = found.inputs.shape
    detail = found.note or f"{n:,} rows, {d} inputs"
    return Status(name, found.source, "ok", detail)


_GENERATORS = {  # what makes the rows, and how they differ from the benchmark's
    "fried": (generated.fried, "by the published formula, not the published rows"),
    "poker": (generated.poker, "dealt uniformly, not the published rows"),
}

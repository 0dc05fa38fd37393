"""Recorded results: deterministic CSV, JSON and NPZ, written whole or not at all.

A record is ``NAME.csv`` (the numbers, the same bytes whenever the same run is repeated)
beside ``NAME.run.json`` (what made them: data digest, seeds, versions, date, command).
"""

import csv
import datetime
import hashlib
import io
import json
import os
import platform
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "mlxtend")


Arrays = dict[str, Any]  # name to array
Run = dict[str, Any]  # what a record's .run.json says
Table = dict[Any, list[Any]]  # columns of a printed table


class RecordError(ValueError):
    """A record is missing, damaged, or not what its reader needs."""


@dataclass(frozen=True)
class Record:
    """The columns (name to array of one length) and the run that made them."""

    name: str
    columns: Arrays
    run: Run

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self.columns:
            raise RecordError(
                f"record {self.name!r} has no column {column!r}; "
                f"it has {', '.join(self.columns)}"
            )
        return self.columns[column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, column: str, value: Any) -> "Record":
        """The record restricted to the rows in which ``column`` equals ``value``."""
        keep = self[column] == value
        rows = {name: array[keep] for name, array in self.columns.items()}
        return Record(self.name, rows, self.run)


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Put ``content`` at ``path``: a reader sees the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same folder, since os.replace is atomic only within one file system.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _read_bytes(path: str | Path) -> bytes:
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"{path} does not exist") from None
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}") from None


def sha256(content: bytes | Path | Iterable[ArrayLike]) -> str:
    """The sha256 hex digest of bytes, of a file (a Path) or of a list of arrays."""
    if isinstance(content, Path):
        content = _read_bytes(content)
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    for array in content:
        array = np.ascontiguousarray(array)
        # Byte order and shape belong to the content, memory layout does not.
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _cell(value: Any, column: str) -> str:
    if isinstance(value, (bool, np.bool_)):
        raise RecordError(f"column {column!r} holds booleans; store 0 and 1")
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            raise RecordError(f"column {column!r} holds {value}; records are finite")
        return repr(float(value))  # the shortest text that reads back to these bits
    return str(value)


def columns_of(rows: Sequence[Mapping[str, Any]], **same: Any) -> Arrays:
    """Rows (dicts with the same keys) as columns, what they share in front."""
    found = {key: np.full(len(rows), value) for key, value in same.items()}
    return found | {key: np.array([row[key] for row in rows]) for key in rows[0]}


def joined(units: Sequence[Arrays]) -> Arrays:
    """Columns of several units, end to end; their seconds are left out."""
    names = [name for name in units[0] if name != "seconds"]
    return {name: np.concatenate([unit[name] for unit in units]) for name in names}


def csv_bytes(columns: Mapping[str, Any]) -> bytes:
    """The CSV text of ``columns``: name to sequence, all of one length, in order."""
    lengths = {name: len(values) for name, values in columns.items()}
    if not lengths or len(set(lengths.values())) != 1:
        raise RecordError(f"columns need one common length, got {lengths}")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    cells = [[_cell(v, name) for v in values] for name, values in columns.items()]
    writer.writerows(zip(*cells, strict=True))
    return stream.getvalue().encode()


def _typed(cells: Sequence[str]) -> np.ndarray:
    for kind in (np.int64, np.float64):
        try:
            return np.array([kind(cell) for cell in cells], dtype=kind)
        except (ValueError, OverflowError):
            continue
    return np.array(cells)


def read_csv(path: str | Path) -> Arrays:
    """The columns of a CSV file: int64 where every cell is one, else float64 or str."""
    return _parse_csv(path, _read_bytes(path))


def _parse_csv(path: str | Path, content: bytes) -> Arrays:
    try:
        rows = list(csv.reader(io.StringIO(content.decode()), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path} is not CSV text: {error}") from None
    if len(rows) < 2:
        raise RecordError(f"{path} has no rows")
    header = rows[0]
    if len(set(header)) != len(header):
        raise RecordError(f"{path} names a column twice: {', '.join(header)}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise RecordError(
                f"{path}, line {number}: {len(row)} cells where the header has "
                f"{len(header)}; the file is cut off or edited"
            )
    cells = zip(*rows[1:], strict=True)
    return {name: _typed(column) for name, column in zip(header, cells, strict=True)}


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` as indented JSON with sorted keys; NaN and inf are refused."""
    text = json.dumps(
        value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False
    )
    return write_bytes(path, (text + "\n").encode())


def read_json(path: str | Path) -> Any:
    """The value in a JSON file."""
    try:
        return json.loads(_read_bytes(path))
    except ValueError as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path} is not JSON: {error}") from None


def write_npz(path: str | Path, **arrays: Any) -> Path:
    """Write numeric arrays as NPZ: the same bytes for the same arrays."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:  # NumPy would pickle it
            raise RecordError(f"array {name!r} holds Python objects")
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return write_bytes(path, stream.getvalue())


def read_npz(path: str | Path) -> Arrays:
    """The arrays of an NPZ file as a dict; pickled objects are refused."""
    try:
        with np.load(io.BytesIO(_read_bytes(path)), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path} is not a readable NPZ file: {error}") from None


def _processor() -> str:
    """The processor's model name where the system tells it, else its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def environment(threads: int) -> Run:
    """What a run depends on besides its inputs: versions, system, device, date."""
    versions = {"python": platform.python_version()}
    for package in ("fimlib", *_PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{_processor()}, {threads} thread{'s' * (threads > 1)}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def run_path(path: str | Path) -> Path:
    """Where the description of the run behind ``NAME.csv`` lies: ``NAME.run.json``."""
    return Path(path).with_suffix(".run.json")


def write_record(path: str | Path, columns: Mapping[str, Any], run: Run) -> Path:
    """Write ``NAME.csv`` and, with its digest added, ``NAME.run.json`` beside it."""
    content = csv_bytes(columns)
    write_bytes(path, content)
    write_json(run_path(path), {**run, "csv_sha256": sha256(content)})
    return Path(path)


def check_replaceable(
    path: str | Path, holds: Mapping[str, Sequence[Any]], **same: Run
) -> None:
    """Refuse to replace a record of another protocol, or one that holds more.

    holds: name to what the new record will have. same: parts of ``Run`` that must
    agree.
    """
    path = Path(path)
    if not path.exists() or not run_path(path).exists():
        return
    old = read_json(run_path(path))
    for part, numbers in same.items():
        what = f"{path} is of another {part}"
        refuse_difference(old.get(part, {}), numbers, what, "folder (out)")
    for name, values in holds.items():
        lost = [str(v) for v in old.get(name, ()) if v not in values]
        if lost:
            raise ValueError(
                f"{path} also holds {name} {', '.join(lost)}, which this run leaves "
                "out: name another folder (out)"
            )


def refuse_difference(theirs: Run, ours: Run, what: str, remedy: str) -> None:
    """Raise ValueError, in one line, for the first number that is not the same."""
    for name, value in json.loads(json.dumps(ours)).items():
        if theirs.get(name) != value:
            raise ValueError(
                f"{what}: {name} is {theirs.get(name)!r} there and {value!r} here; "
                f"name another {remedy}"
            )


def read_record(path: str | Path) -> Record:
    """The record at ``NAME.csv``; refused when its digest is not the recorded one."""
    path = Path(path)
    content = _read_bytes(path)
    run = read_json(run_path(path))
    if not isinstance(run, dict) or "csv_sha256" not in run:
        raise RecordError(f"{run_path(path)} holds no csv_sha256")
    found = sha256(content)
    if found != run["csv_sha256"]:
        raise RecordError(
            f"{path} is not the file its run wrote: expected sha256 "
            f"{run['csv_sha256']}, found {found}; make it again with "
            f"`{run.get('command', 'fimlib run')}`"
        )
    return Record(path.stem, _parse_csv(path, content), run)

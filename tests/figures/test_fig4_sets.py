import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest
import scipy.io
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.figures import records
from fimlib.figures.data import DataError
from fimlib.figures.fig4 import sets, sources


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch, tmp_path):
    """No local copies, an empty cache, and no network."""
    monkeypatch.delenv("FIMLIB_DATA", raising=False)
    monkeypatch.setattr(sets, "cache_folder", lambda: tmp_path / "cache")

    def unreachable(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", unreachable)
    monkeypatch.setattr(pooch, "retrieve", unreachable)


@pytest.fixture
def local(monkeypatch, tmp_path):
    """Writes a set into the folder that FIMLIB_DATA names."""
    folder = tmp_path / "copies" / "regression"
    folder.mkdir(parents=True)
    monkeypatch.setenv("FIMLIB_DATA", str(folder.parent))

    def write(name, rows=40, columns=9, **arrays):
        rng = np.random.default_rng(0)
        found = {"X": rng.random((rows, columns), np.float32), "y": rng.random(rows)}
        return records.write_npz(folder / f"{name}.npz", **{**found, **arrays})

    return write


# Files, cache and download.


def test_names_and_aliases():
    assert len(sets.NAMES) == 15
    assert set(sources.SOURCES) == set(sets.NAMES) - {"fried", "poker"}
    assert sets.canonical("kegg_undir_uci") == "kegg_undir"
    assert sets.canonical("road") == "road_network"
    with pytest.raises(ValueError, match="no data set 'sgem'; there are sgemm, wecs,"):
        sets.load("sgem")


def test_a_local_file_is_used_as_it_is(local):
    stored = records.read_npz(local("sgemm", rows=53, columns=14))
    found = sets.load("sgemm")
    assert np.array_equal(found.inputs, stored["X"])
    raw = stored["y"]  # no second logarithm: the stored target is one already
    assert found.targets == pytest.approx((raw - raw.mean()) / raw.std(), abs=1e-12)
    assert found.digest == records.sha256([stored["X"], raw])
    assert found.source == "FIMLIB_DATA"
    assert found.note == "53 rows where the benchmark has 241,600"


def test_half_a_million_rows_are_kept_by_the_published_seed(local):
    n = 500_003
    count = np.arange(n)
    local("road", X=np.column_stack([count % 1000, count // 1000]), y=count / n)
    found = sets.load("road_network")
    kept = np.random.default_rng(12345).permutation(n)[:500_000]
    assert np.array_equal(found.inputs @ [1, 1000], kept)
    order = found.targets.argsort()
    assert np.array_equal(order, kept.argsort())
    assert found.note == "500,000 rows where the benchmark has 434,874"


def test_notes_name_what_differs(local):
    local("kegg_undir_uci", rows=64_608, columns=26)
    assert sets.load("kegg_undir").note == "26 inputs where the benchmark has 27"
    local("protein", rows=45_730, columns=9)
    assert sets.load("protein").note == ""
    local("stock_base", rows=950)
    note = sets.load("stock").note
    assert "not the rows sampled" in note
    assert "950 rows where the benchmark has 59,049" in note
    local("stock", rows=59_049)
    assert sets.load("stock_base").note == ""  # the benchmark's own file comes first


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(7)}, r"y \(7,\)"),
        ({"X": np.zeros((40, 9, 1))}, r"shape \(40, 9, 1\)"),
        ({"y": np.full(40, np.nan)}, "NaN"),
        ({"X": np.full((40, 9), np.inf)}, "infinite"),
        ({"X": np.full((40, 9), "a")}, "could not convert"),
        ({"y": np.ones(40)}, "constant target"),
    ],
)
def test_damaged_files_are_refused_in_one_line(local, arrays, message):
    local("protein", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        sets.load("protein")
    assert "\n" not in str(caught.value)


def test_files_without_arrays_or_of_another_digest_are_refused(local):
    path = local("protein")
    sums = path.parent.parent / "SHA256SUMS"
    sums.write_text(f"{records.sha256(path)}  regression/protein.npz\n")
    assert sets.load("protein").note
    sums.write_text(f"{'0' * 64}  regression/protein.npz\n")
    with pytest.raises(DataError, match=r"expected sha256 000.*replace the file"):
        sets.load("protein")
    sums.unlink()
    records.write_npz(path, X=np.zeros((3, 2)))
    with pytest.raises(DataError, match="no array 'y'"):
        sets.load("protein")
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match="not a readable NPZ"):
        sets.load("protein")


@pytest.mark.parametrize("name", ["stock", "sgemm", "methane"])
def test_without_network_one_line_says_which_file_to_put_where(name):
    with pytest.raises(DataError, match=f"regression/{name}.npz") as caught:
        sets.load(name)
    assert "\n" not in str(caught.value)
    assert "FIMLIB_DATA" in str(caught.value)


def serve(monkeypatch, tmp_path, member, content):
    """Let pooch find an archive with one file."""
    calls = []

    def retrieve(url, known_hash, fname, path):
        calls.append(url)
        target = Path(path) / fname
        if target.suffix == ".zip":
            with zipfile.ZipFile(target, "w") as archive:
                archive.writestr(f"__MACOSX/._{member}", "junk")
                archive.writestr(f"folder/{member}", content)
        else:
            target.write_bytes(content)
        return str(target)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return calls


def test_a_fetched_table_is_prepared_cached_and_checked(monkeypatch, tmp_path):
    rng = np.random.default_rng(1)
    table = rng.integers(1, 99, (31, 18)).astype(float)
    table[:, 3] = 7  # a constant column
    text = pd.DataFrame(table).to_csv(index=False)
    lines = text.splitlines()
    lines[5] = "?," + lines[5].split(",", 1)[1]  # a missing value
    content = "\n".join(lines)
    calls = serve(monkeypatch, tmp_path, "sgemm_product.csv", content)
    found = sets.load("sgemm")
    kept = np.delete(table, 4, axis=0)
    assert np.array_equal(found.inputs, np.delete(kept[:, :14], 3, axis=1))
    raw = np.log(np.median(kept[:, 14:], axis=1))
    assert found.targets == pytest.approx((raw - raw.mean()) / raw.std(), abs=1e-6)
    assert found.source == sources.SOURCES["sgemm"].url
    again = sets.load("sgemm")
    assert len(calls) == 1
    assert again.digest == found.digest
    path = tmp_path / "cache" / "regression" / "sgemm.npz"
    stored = records.read_npz(path)
    stored["X"][0, 0] += 1
    records.write_npz(path, **stored)
    with pytest.raises(DataError, match=r"expected sha256.*delete"):
        sets.load("sgemm")


def test_text_tables_and_matrices(monkeypatch, tmp_path):
    content = b"9,1,2,5\n9,3,4,6\n9,8,7,1\n"
    serve(monkeypatch, tmp_path, "", content)
    found = sets.load("road_network")
    assert found.inputs.tolist() == [[1, 2], [3, 4], [8, 7]]
    assert found.targets == pytest.approx(np.array([1, 2, -3]) / (14 / 3) ** 0.5)
    matrix = np.random.default_rng(2).random((5, 28))
    scipy.io.savemat(tmp_path / "m.mat", {"sarcos_inv": matrix})
    serve(monkeypatch, tmp_path, "", (tmp_path / "m.mat").read_bytes())
    found = sets.load("sarcos")
    assert np.array_equal(found.inputs, matrix[:, :21].astype(np.float32))
    assert np.corrcoef(found.targets, matrix[:, 21])[0, 1] == pytest.approx(1)
    serve(monkeypatch, tmp_path, "other.csv", b"1,2")
    with pytest.raises(DataError, match=r"holds no Sydney_Data\.csv"):
        sets.load("wecs")


def test_openml_categories_are_one_hot_the_smallest_first(monkeypatch):
    frame = pd.DataFrame({
        "cut": pd.Categorical(["b", "a", "c", "a"], categories=list("abcd")),
        "carat": [0.1, 0.2, 0.3, 0.5],
        "same": ["x"] * 4,
        "two": ["p", "q", "p", "p"],
        "price": [1, 2, 3, 6],
    })  # fmt: skip

    def fetch(data_id, **_):
        assert data_id == 42225
        return sklearn.utils.Bunch(frame=frame)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    found = sets.load("diamonds")
    expected = [  # carat; is "q", missing; "a", "b", "c", missing
        [0.1, 0, 0, 0, 1, 0, 0], [0.2, 1, 0, 1, 0, 0, 0],
        [0.3, 0, 0, 0, 0, 1, 0], [0.5, 0, 0, 1, 0, 0, 0],
    ]  # fmt: skip
    assert found.inputs == pytest.approx(np.array(expected), abs=1e-7)
    assert found.targets == pytest.approx(np.array([-2, -1, 0, 3]) / 3.5**0.5)


def test_categories_beyond_three_hundred_levels_are_left_out():
    n = 350
    ids = [f"id{i}" for i in range(n)]
    table = pd.DataFrame({"id": ids, "m": [f"m{i % 7}" for i in range(n)]})
    inputs, _ = sources.prepared(table, np.arange(n, dtype=np.float32))
    assert inputs.shape == (n, 8)
    table["m"] = [f"m{i % 300}" for i in range(n)]
    assert sources.prepared(table, np.arange(n, dtype=np.float32))[0].shape[1] == 301
    with pytest.raises(ValueError, match="infinite"):
        sources.prepared(table, np.full(n, np.inf, dtype=np.float32))


def test_status_fetches_nothing(local, monkeypatch):
    local("protein", rows=45_730)
    local("stock_base")
    (local("road").parent / "ct.npz").write_bytes(b"PK")
    lines = {line.name: line for line in sets.status()}
    assert tuple(lines) == sets.NAMES
    assert lines["protein"].state == "ok"
    assert lines["protein"].detail == "45,730 rows, 9 inputs"
    assert "where the benchmark" in lines["stock"].detail
    assert lines["ct"].state == "damaged"
    assert lines["sgemm"].state == "missing"
    assert "not fetched" in lines["methane"].detail
    assert lines["fried"].state == lines["poker"].state == "ok"
    monkeypatch.setenv("FIMLIB_DATA", "/nowhere")
    assert {line.state for line in sets.status()} == {"ok", "missing"}


# Splits and scaling.


def test_published_sizes():
    published = {  # rows: pool and test
        241_600: (192_000, 48_320), 72_000: (56_320, 14_400), 53_500: (41_520, 10_700),
        64_608: (50_407, 12_921), 200_000: (158_720, 40_000), 40_768: (31_335, 8153),
        500_000: (198_720, 300_000), 434_874: (198_720, 234_874),
        53_940: (41_872, 10_788), 59_049: (45_960, 11_809), 45_730: (35_304, 9146),
        44_484: (34_308, 8896), 68_784: (53_748, 13_756), 111_753: (88_123, 22_350),
    }  # fmt: skip
    for n, (pool, test) in published.items():
        found = sets.split(n, 0)
        assert (len(found.train), len(found.validation)) == (256, 1024)
        assert (len(found.pool), len(found.test)) == (pool, test)
    rows = [n for n, _ in sets._PUBLISHED.values()]
    assert set(published) == set(rows)


@given(
    n=st.integers(40, 400),
    seed=st.integers(0, 2**32),
    sizes=st.tuples(*[st.integers(1, 10)] * 3),
    test=st.none() | st.integers(1, 9),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_splits_are_disjoint_and_the_pool_size_changes_the_pool_only(
    n, seed, sizes, test
):
    test = test if n < 50 else None
    train, validation, pool = sizes
    whole = sets.split(n, seed, train, validation, None, test)
    some = sets.split(n, seed, train, validation, pool, test)
    parts = (whole.train, whole.validation, whole.pool, whole.test)
    assert all(part.dtype == np.int64 for part in parts)
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert len(whole.train) == train
    assert len(whole.validation) == validation
    assert len(whole.test) == (n // 5 if test is None else test)
    for name in ("train", "validation", "test"):
        assert np.array_equal(getattr(whole, name), getattr(some, name))
    assert np.array_equal(some.pool, whole.pool[:pool])


def test_a_split_is_decided_by_its_seed():
    first, second = sets.split(97, 0, 5, 7, 11), sets.split(97, 1, 5, 7, 11)
    assert first.train.tolist() == [96, 36, 20, 5, 23]
    assert first.train.tolist() != second.train.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((950, 0), "test_size = 190, pool_size = -520"),
        ((100, 0, 10, 10, 61), "n = 100"),
        ((100, 0, 0, 10), "train_size = 0"),
        ((100, 0, 10, 10, 10.0), "integers"),
        ((100, 0, 10, 10, 10, 0), "test_size = 0"),
        ((100, -1), "seed must be"),
        ((100, None), "seed must be"),
    ],
)
def test_split_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        sets.split(*arguments)


def test_scaling_uses_train_and_pool_only():
    rng = np.random.default_rng(5)
    inputs = (
        rng.standard_normal((101, 4)) * [1, 1e-3, 50, 0] + [0, 9, -7, 0.1]
    ).astype(np.float32)
    split = sets.split(101, 2, 13, 17, 19, 23)
    known = np.concatenate([split.train, split.pool])
    outside = np.setdiff1d(np.arange(101), known)
    inputs[split.test[0], 3] = 5  # varies, but not where the statistics are from
    found = sets.scaled(inputs, split)
    assert found.dtype == np.float32
    assert found.shape == inputs.shape
    assert not found[:, 3].any()
    z = 5 * np.arctanh(found[:, :3].astype(float) / 5)
    assert z[known].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-5)
    assert (z[known] ** 2).mean(axis=0) == pytest.approx(np.ones(3), rel=1e-5)
    changed = inputs.copy()
    changed[outside] += 3
    again = sets.scaled(changed, split)
    assert np.array_equal(again[known], found[known])
    assert (again[outside, 0] > found[outside, 0]).all()
    assert abs(again).max() <= 5
    with pytest.raises(ValueError, match=r"\(n, d\), got \(4,\)"):
        sets.scaled(np.zeros(4), split)

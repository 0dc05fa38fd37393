import csv
import json
import math
import os

import numpy as np
import pytest

from fimlib.figures import records
from fimlib.figures.records import RecordError

COLUMNS = {
    "index": np.arange(5),
    "score": np.array([0.1, 1e-300, -1.7976931348623157e308, 1 / 3, 5e-324]),
    "single": np.array([0.1, 2.0, -0.0, 1e-38, 3.5], dtype=np.float32),
    "name": ["a", "b,c", 'd"e', "f\ng", "1 2"],
}


def test_csv_reads_back_to_the_same_bits(tmp_path):
    path = records.write_bytes(tmp_path / "x.csv", records.csv_bytes(COLUMNS))
    back = records.read_csv(path)
    assert list(back) == list(COLUMNS)
    for name in ("index", "score"):
        assert back[name].tobytes() == np.asarray(COLUMNS[name]).tobytes()
    assert back["single"].astype(np.float32).tobytes() == COLUMNS["single"].tobytes()
    assert back["name"].tolist() == COLUMNS["name"]
    assert b"\r" not in path.read_bytes()


def test_csv_is_plain_csv_for_other_readers(tmp_path):
    path = records.write_bytes(tmp_path / "x.csv", records.csv_bytes(COLUMNS))
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["score"]) for row in rows] == COLUMNS["score"].tolist()


def test_same_columns_give_same_bytes():
    assert records.csv_bytes(COLUMNS) == records.csv_bytes(dict(COLUMNS))
    assert records.csv_bytes({"a": [1, 2.5]}) == b"a\n1\n2.5\n"


@pytest.mark.parametrize(
    "columns", [{"a": [1.0, math.nan]}, {"a": [np.inf]}, {"a": [1], "b": []}, {}]
)
def test_what_cannot_be_recorded_is_refused(columns):
    with pytest.raises(RecordError):
        records.csv_bytes(columns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells where the header has 2"),
        ("a,a\n1,2\n", "names a column twice"),
        ('a,b\n"1,2\n', "not CSV text"),
    ],
)
def test_damaged_csv_says_where(tmp_path, text, message):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=message) as caught:
        records.read_csv(path)
    assert "x.csv" in str(caught.value)


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(RecordError, match=r"none\.csv does not exist"):
        records.read_csv(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="not CSV text"):
        records.read_csv(tmp_path / "x.csv")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RecordError, match="not JSON"):
        records.read_json(tmp_path / "x.json")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(RecordError, match="not a readable NPZ"):
        records.read_npz(tmp_path / "x.npz")


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = records.write_bytes(tmp_path / "x", b"old")

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        records.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_round_trip_and_refusal(tmp_path):
    value = {"b": [1, 0.1], "a": "½"}
    path = records.write_json(tmp_path / "x.json", value)
    assert records.read_json(path) == value
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    with pytest.raises(ValueError, match="JSON"):
        records.write_json(path, math.nan)


def test_npz_round_trip_same_bytes_and_no_pickle(tmp_path):
    arrays = {"a": np.arange(3.0), "b/c": np.eye(2, dtype=np.float32)}
    first = records.write_npz(tmp_path / "x.npz", **arrays).read_bytes()
    assert records.write_npz(tmp_path / "y.npz", **arrays).read_bytes() == first
    back = records.read_npz(tmp_path / "x.npz")
    assert back["b/c"].dtype == np.float32
    assert back["a"].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(RecordError, match="Python objects"):
        records.write_npz(tmp_path / "z.npz", a=np.array([{}]))


def test_a_pickle_inside_an_npz_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([{"x": 1}]))
    with pytest.raises(RecordError, match="not a readable NPZ"):
        records.read_npz(path)


def test_digests_see_content_shape_and_type():
    eye = np.eye(3)
    assert records.sha256([eye]) == records.sha256([np.asfortranarray(eye)])
    assert records.sha256([eye]) == records.sha256([eye.astype(">f8")])
    others = [eye.astype(np.float32), eye.reshape(1, 9), eye + 1e-16, -0.0 * eye]
    assert records.sha256([eye]) not in {records.sha256([other]) for other in others}
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert records.sha256(b"") == empty  # FIPS 180-4


def test_record_round_trip(tmp_path):
    run = {"command": "fimlib run x", **records.environment(2)}
    path = records.write_record(tmp_path / "x.csv", {"seed": [0, 0, 1]}, run)
    record = records.read_record(path)
    assert len(record) == 3
    assert len(record.where("seed", 0)) == 2
    assert record.run["csv_sha256"] == records.sha256(path)
    assert {"versions", "device", "date", "system"} <= set(record.run)
    with pytest.raises(RecordError, match="no column 'bald'; it has seed"):
        record["bald"]


def test_an_edited_record_is_refused(tmp_path):
    run = {"command": "fimlib run x"}
    path = records.write_record(tmp_path / "x.csv", {"a": [1.5]}, run)
    path.write_text("a\n1.6\n")
    with pytest.raises(RecordError, match=r"expected sha256 .*found .*fimlib run x"):
        records.read_record(path)
    records.run_path(path).write_text(json.dumps({}))
    with pytest.raises(RecordError, match="no csv_sha256"):
        records.read_record(path)
    records.run_path(path).unlink()
    with pytest.raises(RecordError, match=r"x\.run\.json does not exist"):
        records.read_record(path)


def test_the_environment_names_no_folder_and_no_host():
    text = json.dumps(records.environment(1))
    assert os.uname().nodename not in text
    assert str(os.path.expanduser("~")) not in text  # noqa: PTH111
    assert str(os.getcwd()) not in text  # noqa: PTH109

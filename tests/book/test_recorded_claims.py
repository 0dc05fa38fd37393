"""Claims that rest on records say so where the records are missing."""

import pytest

from companion import claims, proof
from companion.evidence import recorded
from companion.proof import RECORDED, Check, Derivation, Mutant, NotRecorded

IDS = ("T37", "T38", "T39", "T40")


@pytest.fixture
def no_records(monkeypatch, tmp_path):
    monkeypatch.setattr(recorded, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("id", IDS)
def test_without_records_nothing_is_decided_and_nothing_fails(no_records, id):
    entry = claims.verify([id])["claims"][0]
    assert entry["status"] == "no records"
    undecided = [c for c in entry["checks"] if c.get("absent")]
    assert undecided
    assert all(c["kind"] == RECORDED and not c["ok"] for c in undecided)
    assert all("records not found: figures/data/fig" in c["detail"] for c in undecided)
    assert all(
        c["ok"] for c in [*entry["steps"], *entry["checks"]] if c not in undecided
    )
    assert all(m["rejected"] or m.get("absent") for m in entry["mutants"])


def test_the_page_says_that_nothing_was_decided(no_records):
    text = claims.show("T38")
    assert "– recorded data: trace ≥ log det" in text
    assert "records not found, so not decided" in text
    assert "✗" not in text
    assert "wrong functions" not in text
    assert "not decided (records not found)" in claims.ledger(["T38"])


def test_the_command_line_says_so_too(no_records, capsys):
    from companion import cli

    cli.verify(["T38"], None)  # exits with 1 only where something failed
    shown = capsys.readouterr().out
    assert "no records" in shown
    assert "0 of 1 claims pass" in shown


def test_a_failure_beside_an_absence_is_a_failure():
    def absent(_, __):
        raise NotRecorded("x.csv")

    checks = [
        Check("missing", abs, absent, 0.0, RECORDED),
        Check("wrong", abs, lambda *_: 1.0, 0.5),
    ]
    mutants = [Mutant("any", "missing", max)]
    report = proof.run(Derivation([], checks[:1], mutants), "t")
    assert report.ok
    assert report.absent
    report = proof.run(Derivation([], checks, mutants), "t")
    assert not report.ok


def test_a_damaged_record_is_a_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(recorded, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "figures" / "data"
    folder.mkdir(parents=True)
    (folder / "fig23-mnist.csv").write_text("seed,bald\n0,1.0\n")
    (folder / "fig23-mnist.run.json").write_text('{"csv_sha256": "0"}')
    entry = claims.verify(["T38"])["claims"][0]
    assert entry["status"] == "fail"
    assert any("is not the file its run wrote" in c["detail"] for c in entry["checks"])

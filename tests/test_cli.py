"""The command line: verdicts, exit codes, one-line errors, nothing heavy to start."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fimlib.figures import cli

DATA = Path(__file__).parents[1] / "figures/data"
# What a user's shell asks of colours does not change what is compared here.
PLAIN = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}


def python(code, *args, **kwargs):
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, env=PLAIN, **kwargs)


def fimlib(*args, **kwargs):
    return python("from fimlib.cli import main; main()", *args, **kwargs)


def test_verify_prints_a_table_and_writes_json(tmp_path):
    target = tmp_path / "deep" / "ledger.json"
    result = fimlib("verify", "T9", "t5", "--json", str(target))
    assert result.returncode == 0, result.stderr
    assert "2 of 2 claims pass" in result.stdout
    record = json.loads(target.read_text())
    assert [c["id"] for c in record["claims"]] == ["T9", "T5"]
    assert {"date", "python", "platform", "versions", "seconds"} <= set(record)
    assert all(c["status"] == "pass" for c in record["claims"])


def test_verify_exits_1_and_says_what_failed(tmp_path):
    broken = (
        "from fimlib.blr import BayesianLinearRegression as B\n"
        "eig = B.eig\n"
        "B.eig = lambda self, x: 2 * eig(self, x)\n"
        "from fimlib.cli import main; main()\n"
    )
    result = python(broken, "verify", "T9")
    assert result.returncode == 1
    assert "0 of 1 claims pass" in result.stdout
    assert "T9 check" in result.stdout


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (("verify", "T99"), "T5"),
        (("figure", "7"), "2"),
        (("run", "fig99"), "fig23"),
        (("run", "fig23", "--data", "imagenet"), "embedded"),
        (("run", "fig23", "--seeds", "x"), "0..4"),
    ],
)
def test_unknown_names_get_one_line_that_lists_the_valid_ones(args, names, tmp_path):
    result = fimlib(*args, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("fimlib: ")
    assert result.stderr.count("\n") == 1
    assert names in result.stderr
    assert not any(tmp_path.iterdir())


def test_methods_prints_a_plain_table_and_json_without_torch(tmp_path):
    result = fimlib("methods")
    assert result.returncode == 0, result.stderr
    heading, *rows = result.stdout.splitlines()
    assert heading.startswith("method ")
    assert any(row.startswith("BAIT ") and "selection.bait" in row for row in rows)
    record = json.loads(fimlib("methods", "--json").stdout)
    assert [r["name"] for r in record] == [row.split("  ")[0] for row in rows]
    code = (
        "import sys; from typer.testing import CliRunner; from fimlib.cli import app;"
        "CliRunner().invoke(app, ['methods']); print('torch' in sys.modules)"
    )
    run = python(code)
    assert run.stdout.strip() == "False", run.stderr
    paths = fimlib("figure", "map", "--out", str(tmp_path)).stdout.split()
    assert [p.rpartition(".")[2] for p in paths] == ["svg", "png"]


def test_run_replaces_no_record_of_another_protocol(tmp_path):
    for path in DATA.glob("fig23-embedded.*"):
        shutil.copy(path, tmp_path)
    result = fimlib("run", "fig23", "--eval-size", "7", "--out", ".", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == (
        "fimlib: fig23-embedded.csv is of another protocol: eval_size is 2000 there "
        "and 7 here; name another folder (out)\n"
    )


def test_data_lists_the_sets():
    result = fimlib("data")
    assert result.returncode == 0, result.stderr
    assert "embedded" in result.stdout
    assert "mnist" in result.stdout


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (3,)), ("0,2", (0, 2)), ("0..4", (0, 1, 2, 3, 4)), ("7..7", (7,))],
)
def test_parse_seeds(text, seeds):
    assert cli.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "4..0", "-1", "1.5", "a..b"])
def test_parse_seeds_refuses(text):
    with pytest.raises(ValueError, match=r"0\.\.4"):
        cli.parse_seeds(text)


def test_import_and_help_load_nothing_heavy():
    heavy = "{'torch', 'sympy', 'scipy', 'matplotlib', 'numpy'}"
    code = f"import sys, fimlib, fimlib.cli; print(sorted({heavy} & set(sys.modules)))"
    assert python(code).stdout.strip() == "[]"


def test_submodules_are_lazy_attributes():
    code = "import fimlib; print(fimlib.blr.BayesianLinearRegression.__name__)"
    assert python(code).stdout.strip() == "BayesianLinearRegression"
    missing = python("import fimlib; fimlib.nothing")
    assert "no attribute 'nothing'" in missing.stderr

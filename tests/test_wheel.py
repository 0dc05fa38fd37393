"""fimlib's wheel: what is in it, and its shell outside the repository."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A run of seconds; everything else is what `fimlib run fig23` does.
SMALL = """
from fimlib.figures import protocol
protocol._SIZES["embedded"] = {
    "train_size": 20, "validation_size": 20, "pool_size": 50, "eval_size": 40,
    "draws_per_epoch": 64, "max_epochs": 1, "mc_samples": 4, "test_samples": 1,
}
from fimlib.cli import main
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the sources as they are, without leaving anything among them."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in ROOT.iterdir():
        if path.name not in ("build", "dist") and path.suffix != ".egg-info":
            (folder / path.name).symlink_to(path)
    code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, stdout=-3)
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def shell(wheel, tmp_path_factory):
    """The shell where the wheel is installed with what it needs, without the book."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", site, wheel], check=True)
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        ours = path.name.startswith(("fimlib", "__editable__")) or path.suffix == ".pth"
        if not ours and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
    folder = tmp_path_factory.mktemp("elsewhere")
    env = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}
    env |= {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def run(*args, code="from fimlib.cli import main; main()"):
        command = [sys.executable, "-S", "-c", code, *args]
        return subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True
        )

    return run


def test_the_wheel_holds_fimlib_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "fimlib").rglob("*")
        if path.suffix in (".py", ".typed", ".toml")
    }
    assert {n for n in names if ".dist-info/" not in n} == sources
    assert "fimlib/py.typed" in names


def test_the_shell_works_outside_the_repository(shell):
    where = shell(code="import fimlib; print(fimlib.__file__)").stdout
    assert str(ROOT) not in where
    assert "BAIT" in {m["name"] for m in json.loads(shell("methods", "--json").stdout)}
    assert "embedded" in shell("data").stdout
    run = shell("run", "fig23", code=SMALL)
    assert run.stdout.strip() == "figures/data/fig23-embedded.csv", run.stderr
    assert "fig2-embedded.svg" in shell("figure", "2").stdout


def test_verify_outside_the_repository_says_where_the_book_is(shell):
    result = shell("verify", "T9")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("fimlib: ")
    assert result.stderr.count("\n") == 1
    assert "repository" in result.stderr

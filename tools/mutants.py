"""Break fimlib on purpose, one edit at a time, and see whether the checks notice.

python tools/mutants.py [--only WORD] [--jobs 2]. The edits stand in
tests/mutants.toml: a file, what is written there, what is written instead. Each is
applied alone to a copy of the project. First the checks that the list maps to that
file run (up to 60 s, to the first failure); an edit that survives them faces all tests
and the whole ledger. Prints every survivor; the exit code is 1 when fewer than 95 %
of the edits are noticed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "mutants.toml"
LEFT_OUT = (".git", ".venv*", "runs", "_build", "__pycache__", ".*_cache")
QUICK_SECONDS, FULL_SECONDS = 60, 900
ASKED = 0.95  # the share that must be noticed


@dataclass(frozen=True)
class Mutant:
    """One edit: `before` becomes `after` in `file`; `equivalent` says why it may."""

    file: str
    name: str
    before: str
    after: str
    equivalent: str = ""

    def mutated(self, root=ROOT):
        """The text of the file with the edit; `before` must stand there just once."""
        text = (root / self.file).read_text()
        if text.count(self.before) != 1:
            raise ValueError(
                f"{self.file}: {self.before!r} must stand there once, "
                f"found {text.count(self.before)} times ({self.name})"
            )
        return text.replace(self.before, self.after)


def load(path=LIST):
    """The edits, and for each file prefix the checks that are quick to run."""
    found = tomllib.loads(path.read_text())
    return [Mutant(**entry) for entry in found["mutant"]], found["checks"]


def quick_checks(mutant, checks):
    """Tests and claims mapped to the longest prefix of the mutant's file."""
    fitting = [prefix for prefix in checks if mutant.file.startswith(prefix)]
    return checks[max(fitting, key=len)]


def commands(tests, claims):
    """The command lines that run these tests and check these claims."""
    python = sys.executable
    lines = []
    if claims:
        names = [] if claims == ["all"] else claims
        lines.append([python, "-m", "fimlib", "verify", *names])
    if tests:
        quiet = ["-x", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
        lines.append([python, "-m", "pytest", *quiet, *tests])
    return lines


def noticed(folder, lines, seconds):
    """The first command that fails (or hangs) in the folder, or None."""
    deadline = time.monotonic() + seconds
    for line in lines:
        left = max(1.0, deadline - time.monotonic())
        try:
            done = subprocess.run(
                line,
                cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)},
                capture_output=True,
                timeout=left,
                check=False,
            )
        except subprocess.TimeoutExpired:
            if seconds == FULL_SECONDS:
                return "does not end"
            continue  # slow, not wrong: the whole set decides
        if done.returncode:
            return " ".join(line[2:4]) if "verify" in line else "pytest"
    return None


def try_one(mutant, checks, folder):
    """Apply one edit in the folder and say who noticed, or None; then take it back."""
    target = folder / mutant.file
    original = target.read_text()
    target.write_text(mutant.mutated(folder))
    try:
        quick = quick_checks(mutant, checks)
        lines = commands(quick["tests"], quick.get("claims", []))
        found = noticed(folder, lines, QUICK_SECONDS)
        if found is None:
            everything = commands(["tests", "--ignore=tests/peers"], ["all"])
            found = noticed(folder, everything, FULL_SECONDS)
        return found
    finally:
        target.write_text(original)


def sound(mutants, checks, folder):
    """Raise unless the quick checks pass on the unbroken project."""
    needed = {}
    for mutant in mutants:
        quick = quick_checks(mutant, checks)
        needed |= {str(quick): commands(quick["tests"], quick.get("claims", []))}
    for lines in tqdm(needed.values(), desc="unbroken"):
        if noticed(folder, lines, FULL_SECONDS):
            raise SystemExit(f"fails on the unbroken project: {lines}")


def run(mutants, checks, jobs):
    """Who noticed each edit (None: nobody), in order."""
    with tempfile.TemporaryDirectory() as top, tqdm(total=len(mutants)) as bar:
        folders = Queue()
        for number in range(jobs):
            folder = Path(top) / str(number)
            shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
            folders.put(folder)
        sound(mutants, checks, folder)

        def one(mutant):
            folder = folders.get()
            try:
                return try_one(mutant, checks, folder)
            finally:
                folders.put(folder)
                bar.update()

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, mutants))


def main():
    """Run the edits and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a word in an edit's file or name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    mutants, checks = load()
    chosen = [m for m in mutants if options.only in f"{m.file} {m.name}"]
    start = time.monotonic()
    found = run(chosen, checks, options.jobs)
    counted = [(m, by) for m, by in zip(chosen, found, strict=True) if not m.equivalent]
    for mutant, by in zip(chosen, found, strict=True):
        if by is None:
            why = f" (equivalent: {mutant.equivalent})" if mutant.equivalent else ""
            print(f"survived: {mutant.file}: {mutant.name}{why}")
    caught = sum(by is not None for _, by in counted)
    minutes = (time.monotonic() - start) / 60
    print(f"{caught} of {len(counted)} edits noticed, {minutes:.1f} minutes")
    raise SystemExit(caught < ASKED * len(counted))


if __name__ == "__main__":
    main()

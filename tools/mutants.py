"""Break fimlib by machine, one edit at a time, and see whether the checks notice.

python tools/mutants.py [--only WORD] [--sample 200] [--jobs 2]. The edits are those of
tools/edits.py in the formulas of the library's core; a sample of them, the same in
every run, is applied alone to a copy of the project. Each faces the core's tests, those
of its module first, to the first failure, and then the ledger. Prints every survivor;
the exit code is 1 when fewer than 95 % of the edits are noticed. tests/mutants.toml
lists edits that change no result, with the reason.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from edits import edits_of
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
SAME = ROOT / "tests" / "mutants.toml"
COPIED = ("fimlib", "companion", "chapters", "tests", "tools", "_ext", "figures")
SECONDS = 900  # an edit that takes longer does not end
ASKED = 0.95  # the share that must be noticed
NOTICED = {0: None, 1: "tests", 2: "ledger", 3: "does not end"}


def core(root=ROOT):
    """The modules that are broken: the library without its figures."""
    found = sorted((root / "fimlib").rglob("*.py"))
    return [p for p in found if "figures" not in p.relative_to(root).parts]


def all_edits(root=ROOT):
    """Every edit, each once, in an order that only its own text decides."""
    found = {}
    for path in core(root):
        for edit in edits_of(path.relative_to(root).as_posix(), path.read_text()):
            found.setdefault(edit.name, edit)
    return sorted(found.values(), key=lambda e: e.rank)


def without_effect(path=SAME):
    """[(beginning of an edit's name, why it changes no result)]."""
    found = tomllib.loads(path.read_text()).get("same", [])
    return [(entry["edit"], entry["why"]) for entry in found]


def test_files(file, root=ROOT):
    """The core's tests: those that name the module first, the narrowest before."""
    module = file.removesuffix(".py").split("/")[1]
    word = re.compile(rf"\b{re.escape(module)}\b")
    tests = sorted((root / "tests").rglob("test_*.py"))
    others = ("figures", "book", "peers")  # they test the rest of the project
    texts = {p: p.read_text() for p in tests if p.parent.name not in others}

    def far(path):
        named = module in path.stem or module == path.parent.name
        share = len(word.findall(texts[path])) / len(texts[path])
        return (not named, -share)

    return [p.relative_to(root).as_posix() for p in sorted(texts, key=far)]


# --- in a worker -------------------------------------------------------------------


def prepare(top):
    """A copy of the project for this process, and what every edit's run imports.

    Each edit then runs in a fork, which has to load nothing but the project.
    """
    folder = Path(tempfile.mkdtemp(dir=top))
    skip = shutil.ignore_patterns("__pycache__", "peers")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, folder)
    os.chdir(folder)
    sys.dont_write_bytecode = True
    sys.path[:] = [str(folder), *(p for p in sys.path if p != str(ROOT))]
    import pytest  # noqa: F401
    import sympy  # noqa: F401
    import torch

    torch.set_num_threads(1)


def try_one(edit):
    """Apply an edit (None: none) to this worker's copy; who noticed, or None."""
    if edit is None:
        return NOTICED[forked(test_files("fimlib/linalg.py", Path.cwd()))]
    path = Path(edit.file)
    source = path.read_text()
    path.write_text(edit.applied(source))
    try:
        return NOTICED[forked(test_files(edit.file, Path.cwd()))]
    finally:
        path.write_text(source)


def forked(tests):
    """The exit code of tests and ledger in a fork of this process."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            code = checks(tests)
        except BaseException:  # the project does not even load
            code = 1
        os._exit(code)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return 3


def checks(tests):
    """0, or 1 where a test fails, or 2 where a claim does."""
    import pytest

    quiet = ["-x", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    if pytest.main([*quiet, *tests]):
        return 1
    from companion import claims

    good = (claims.check(c).ok for c in claims.all_claims().values())
    return 0 if all(good) else 2


# --- all of them -------------------------------------------------------------------


def run(edits, jobs):
    """Who noticed each edit (None: nobody), in order."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as top:
        pool = ProcessPoolExecutor(jobs, context, prepare, (top,))
        with pool, tqdm(total=len(edits) + 1) as bar:
            waiting = [pool.submit(try_one, edit) for edit in (None, *edits)]
            for future in waiting:
                future.add_done_callback(lambda _: bar.update())
            unbroken = waiting[0].result()
            if unbroken:
                pool.shutdown(cancel_futures=True)
                raise SystemExit(f"fails on the unbroken project: {unbroken}")
            return [future.result() for future in waiting[1:]]


def main():
    """Run the edits and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a word in an edit's name")
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    same = without_effect()
    chosen = [e for e in all_edits() if options.only in e.name]
    chosen = [e for e in chosen if not any(e.name.startswith(x) for x, _ in same)]
    chosen = chosen[: options.sample]
    start = time.monotonic()
    found = run(chosen, options.jobs)
    for edit, by in zip(chosen, found, strict=True):
        if by is None:
            print(f"survived: {edit.name}")
    caught = sum(by is not None for by in found)
    minutes = (time.monotonic() - start) / 60
    print(f"{caught} of {len(chosen)} edits noticed, {minutes:.1f} minutes")
    raise SystemExit(caught < ASKED * len(chosen))


if __name__ == "__main__":
    main()

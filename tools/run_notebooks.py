"""Run chapters and store their outputs: run_notebooks.py [02 errata ...], or all.

The text twin chapters/src/X.md is the source: chapters/X.ipynb gets its cells, is run
from top to bottom and written only when all went well. The same code gives the same
bytes: no times, no random ids, no version of Python, one thread (`make test` then runs
it with the machine's own number, so a thread-dependent output is found).
"""

import hashlib
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from sync_displays import sync
from sync_macros import ROOT, macro_source, replace_text, sync_twin

FIXED = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def cells(path):
    """What a notebook and its text twin must agree on."""
    return [
        (c.cell_type, c.source.strip(), dict(c.metadata))
        for c in jupytext.read(path).cells
    ]


def choose(names, folder):
    """Text twins named by chapter number, stem or path; all of them for no name."""
    twins = {p.stem: p for p in sorted((folder / "src").glob("*.md"))}
    chosen = []
    for name in names:
        stem = Path(name).stem
        hits = [s for s in twins if s == stem or s.startswith(f"{stem}-")]
        if not hits:
            sys.exit(f"no chapter {name!r}; there are: {', '.join(twins) or 'none'}")
        chosen += hits
    return [twins[s] for s in chosen or twins]


def refuse_to_lose(notebook, twin):
    """Stop where a notebook was edited after its twin: a run would undo the edit."""
    if not notebook.exists() or cells(notebook) == cells(twin):
        return
    if notebook.stat().st_mtime > twin.stat().st_mtime:
        sys.exit(
            f"{notebook} was changed after {twin}: run `jupytext --sync {notebook}` "
            f"to keep that change, or `touch {twin}` to drop it"
        )


def from_twin(twin, notebook):
    """The notebook with the twin's cells, and the old outputs of unchanged ones."""
    nb = jupytext.read(twin)
    if notebook.exists():
        old = nbformat.read(notebook, as_version=4)
        nb = combine_inputs_with_outputs(nb, old, fmt="md:myst")
    nb.metadata = nbformat.from_dict(METADATA)
    name_cells(nb)
    return nb


def name_cells(nb):
    """Ids from the cells' content: the same in every run."""
    seen = {}
    for cell in nb.cells:
        text = f"{cell.cell_type}\n{cell.source}"
        stem = hashlib.sha1(text.encode()).hexdigest()[:8]
        seen[stem] = seen.get(stem, 0) + 1
        cell.id = stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"


def execute(nb, folder):
    client = NotebookClient(
        nb,
        timeout=600,
        record_timing=False,
        coalesce_streams=True,  # slow cells print in bursts
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # no word on its sockets
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env={**os.environ, **FIXED})
    except CellExecutionError as error:
        sys.exit(f"failed\n{error}")
    nb.metadata = nbformat.from_dict(METADATA)  # the kernel adds its exact version


def run(twin):
    notebook = twin.parents[1] / f"{twin.stem}.ipynb"
    refuse_to_lose(notebook, twin)
    sync_twin(twin, macro_source())
    if left := sync(twin):
        sys.exit("\n".join(left))
    print(f"{notebook.name} ...", end=" ", flush=True)
    start = time.perf_counter()
    nb = from_twin(twin, notebook)
    execute(nb, notebook.parent)
    replace_text(notebook, nbformat.writes(nb) + "\n")
    print(f"{time.perf_counter() - start:.0f} s", flush=True)


def main(names, folder=ROOT / "chapters"):
    for twin in choose(names, folder):
        run(twin)


if __name__ == "__main__":
    main(sys.argv[1:])

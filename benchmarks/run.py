"""Time fimlib beside its peers: python benchmarks/run.py [--only WORD].

An area is a module beside this file with a list PAIRS and, for rows without a peer, a
list ALONE of names of functions that return such rows. Every side runs in a process of
its own with MKL_DYNAMIC=FALSE and one thread (threads that wait for each other on a
shared machine burn CPU-seconds). Outputs are compared before times are; a side that
does a few samples of the work is scaled up and marked "extrapolated". A peer that is
not installed is skipped with the reason. Prints a Markdown table and writes
results.json beside this file: all rows, or with --only those whose area and job have
the word, in the place of what they were.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from pairs import peak_mb, timed

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
AREAS = ("weight_space", "prediction", "selection_embeddings", "selection_greedy")


def run_side(name, folder):
    """In the child: time one side, and leave its result and figures in the folder.

    name: "area.function". A function of the area's ALONE returns its rows itself.
    """
    area, function = name.split(".")
    area = importlib.import_module(area)
    try:
        made = getattr(area, function)()
    except ImportError as error:
        report = {"skipped": f"{type(error).__name__}: {error}"}
    else:
        if function in getattr(area, "ALONE", ()):
            report = {"rows": made}
        else:
            cpu, wall, result = timed(made)
            report = {"cpu_s": cpu, "wall_s": wall, "peak_mb": peak_mb()}
            np.save(folder / f"{name}.npy", torch.as_tensor(result).detach().cpu())
    (folder / f"{name}.json").write_text(json.dumps(report))


def side(name, folder, python, threads="1"):
    """Run one side in a process of its own, once; its report."""
    path = folder / f"{name}.json"
    if not path.exists():
        command = [python, str(HERE / "run.py"), "--side", name, str(folder)]
        done = subprocess.run(
            command,
            env=os.environ | {"MKL_DYNAMIC": "FALSE", "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            path.write_text(json.dumps({"skipped": last[0]}))
    return json.loads(path.read_text())


def difference(pair, ours, peer):
    """How far the outputs are apart, by what the pair asks for."""
    if pair.of > 1:
        ours = ours[..., : pair.samples]
    if ours.shape != peer.shape:
        raise ValueError(f"{pair.job}: outputs {ours.shape} and {peer.shape}")
    if pair.compare == "identical":
        return float((ours != peer).mean())
    return float(np.abs(ours - peer).max() / np.abs(ours).max())


def compare(area, pair, folder, peers):
    """One row of the table."""
    names = [f"{area}.{pair.ours}", f"{area}.{pair.peer}"]
    ours = side(names[0], folder, sys.executable)
    peer = side(names[1], folder, peers if pair.python == "peers" else sys.executable)
    row = {"area": area, "job": pair.job, "sizes": pair.sizes}
    reason = ours.get("skipped") or peer.get("skipped")
    if reason:
        return row | {"skipped": reason}
    outputs = [np.load(folder / f"{name}.npy") for name in names]
    row["difference"] = difference(pair, *outputs)
    scale = pair.of / pair.samples
    for key in ("cpu_s", "wall_s"):
        row |= {f"ours_{key}": ours[key], f"peer_{key}": peer[key] * scale}
    row["ratio"] = row["peer_cpu_s"] / row["ours_cpu_s"]
    row |= {"ours_peak_mb": ours["peak_mb"], "peer_peak_mb": peer["peak_mb"]}
    row["note"] = f"peer extrapolated from {pair.samples}" if scale > 1 else ""
    return row | {"pair": asdict(pair)}


def area_rows(area, only, folder, peers):
    """The rows of an area that have the word `only` in its name or in theirs."""
    module, rows = importlib.import_module(area), []
    for pair in module.PAIRS:
        if only in f"{area} {pair.job}":
            rows.append(compare(area, pair, folder, peers))
    for name in getattr(module, "ALONE", ()):
        if only in f"{area} {name}":
            found = side(f"{area}.{name}", folder, sys.executable)
            found = found.get("rows", [{"job": name, "sizes": "", **found}])
            rows += [{"area": area, **row} for row in found]
    return rows


def table(rows):
    """The rows as a Markdown table."""
    head = ["job", "sizes", "ours CPU-s", "peer CPU-s", "ours wall", "peer wall"]
    head += ["ratio", "ours MB", "peer MB", "difference", "note"]
    keys = ["job", "sizes", "ours_cpu_s", "peer_cpu_s", "ours_wall_s", "peer_wall_s"]
    keys += ["ratio", "ours_peak_mb", "peer_peak_mb", "difference", "note"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        row = row | {"job": row["job"].replace(" | ", " / ")}
        if "skipped" in row:
            row["note"] = f"skipped: {row['skipped']}"
        if "exponent" in row:
            row["note"] = f"exponent {row['exponent']:.3f}"
        cells = [row.get(key, "") for key in keys]
        cells = [f"{x:.3g}" if isinstance(x, float) else str(x) for x in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def merged(old, new):
    """The old rows with the new ones in their places, and further new ones after."""

    def key(row):
        return row.get("area"), row["job"], row["sizes"]

    found = {key(row): row for row in old} | {key(row): row for row in new}
    return list(found.values())


def main():
    """Run all rows, or those whose area or job has a word in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    near = HERE.parent / ".venv-peers" / "bin" / "python"
    parser.add_argument("--only", default="", help="a word that area or job contains")
    parser.add_argument("--peers", default=str(near) if near.exists() else None)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return run_side(options.side[0], Path(options.side[1]))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder, peers = Path(folder), options.peers or sys.executable
        for area in AREAS:
            if (HERE / f"{area}.py").exists():
                rows += area_rows(area, options.only, folder, peers)
    print(table(rows))
    if options.only and RESULTS.exists():
        rows = merged(json.loads(RESULTS.read_text()), rows)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

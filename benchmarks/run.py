"""Time fimlib beside its peers: python benchmarks/run.py [--only WORD].

Every side runs in a process of its own with MKL_DYNAMIC=FALSE and one thread (threads
that wait for each other on a shared machine burn CPU-seconds). Outputs are compared
before times are; a side that does a few samples of the work is scaled up and marked
"extrapolated". A peer that is not installed is skipped with the reason. Prints a
Markdown table and writes results.json beside this file.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jobs
import numpy as np
import torch

HERE = Path(__file__).parent
LAST_LAYER = "d=128, C=10, M=1000, N=1000"
NETWORK = "784-64-64-10, N=1000, float32"
# GFLOP of the EIG by blocks of outputs, and the share of the GEMM rate asked for.
GFLOP = {1_000: 6.1, 60_000: 114.0}
SHARE = 0.6


@dataclass
class Pair:
    """A job and its two sides; the peer does `samples` of `of` parts of the work."""

    job: str
    sizes: str
    ours: str
    peer: str
    samples: int = 1
    of: int = 1
    options: dict = field(default_factory=dict)


PAIRS = [
    Pair("EIG | D x D determinants", LAST_LAYER, "eig_ours", "dense_eig", 2, 1000),
    Pair("EIG | laplace-torch", LAST_LAYER, "eig_ours", "laplace_eig", 2, 1000),
    Pair(
        "EIG, JEPIG | D x D determinants",
        LAST_LAYER + ", E=20,000",
        "scores_ours",
        "dense",
        2,
        1000,
    ),
    Pair("exact trace of F | backpack", NETWORK, "trace_ours", "trace_backpack"),
    Pair("Gram of gradients | nngeometry", NETWORK, "gram_ours", "gram_nngeometry"),
    Pair("Gram of gradients | torch.func", NETWORK, "gram_ours", "gram_rows"),
    Pair("log det(I + F) | torch.func", NETWORK, "log_det_ours", "log_det_rows"),
]


def usage():
    """CPU-seconds, user and system, of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(function, budget=4.0, most=9):
    """Median CPU-seconds and wall seconds of calls after a first, and its result."""
    start = time.perf_counter()
    result = function()
    times = []
    while not times or (len(times) < most and time.perf_counter() - start < budget):
        cpu, wall = usage(), time.perf_counter()
        function()
        times.append((usage() - cpu, time.perf_counter() - wall))
    cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
    return cpu, wall, result


def run_side(name, folder):
    """In the child: time one side, and leave its result and figures in the folder."""
    try:
        function = getattr(jobs, name)()
    except ImportError as error:
        report = {"skipped": f"{type(error).__name__}: {error}"}
    else:
        cpu, wall, result = timed(function)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report = {"cpu_s": cpu, "wall_s": wall, "peak_mb": peak}
        np.save(folder / f"{name}.npy", result.detach().numpy())
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
            timeout=300,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            path.write_text(json.dumps({"skipped": last[0]}))
    return json.loads(path.read_text())


def difference(pair, folder):
    """Largest difference of the outputs, relative to the largest of ours."""
    ours, peer = (np.load(folder / f"{name}.npy") for name in (pair.ours, pair.peer))
    if pair.of > 1:
        ours = ours[..., : pair.samples]
    return float(np.abs(ours - peer).max() / np.abs(ours).max())


def compare(pair, folder, peers):
    """One row of the table."""
    ours = side(pair.ours, folder, sys.executable)
    peer = side(pair.peer, folder, peers)
    row = {"job": pair.job, "sizes": pair.sizes}
    reason = ours.get("skipped") or peer.get("skipped")
    if reason:
        return row | {"skipped": reason}
    row["difference"] = difference(pair, folder)
    scale = pair.of / pair.samples
    for key in ("cpu_s", "wall_s"):
        row |= {f"ours_{key}": ours[key], f"peer_{key}": peer[key] * scale}
    row["ratio"] = row["peer_cpu_s"] / row["ours_cpu_s"]
    row |= {"ours_peak_mb": ours["peak_mb"], "peer_peak_mb": peer["peak_mb"]}
    row["note"] = f"peer extrapolated from {pair.samples}" if scale > 1 else ""
    return row | {"pair": asdict(pair)}


def gemm_rate(size=1500):
    """GFLOP per CPU-second of a float64 matrix product, best of a few."""
    a = torch.randn(size, size, dtype=torch.float64)
    best = math.inf
    for _ in range(3):
        cpu = usage()
        a @ a
        best = min(best, usage() - cpu)
    return 2e-9 * size**3 / best


def rates(counts=(1_000, 60_000)):
    """The EIG against the rate of matrix products, measured in turn in one process."""
    rows = []
    for count in counts:
        score, found = jobs.eig_ours(count), []
        for _ in range(5 if count < 10_000 else 1):
            rate, cpu, wall = gemm_rate(), usage(), time.perf_counter()
            score()
            cpu, wall = usage() - cpu, time.perf_counter() - wall
            limit = GFLOP[count] / max(rate, gemm_rate()) / SHARE
            found.append((cpu / limit, cpu, wall, limit))
        ratio, cpu, wall, limit = sorted(found)[len(found) // 2]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append(
            {
                "job": f"EIG of {count:,} against {GFLOP[count]} GFLOP at 60 % of GEMM",
                "sizes": LAST_LAYER.replace("1000", str(count), 1),
                "ours_cpu_s": cpu,
                "ours_wall_s": wall,
                "peer_cpu_s": limit,
                "ratio": 1 / ratio,
                "ours_peak_mb": peak,
            }
        )
    return rows


def exponent(counts=(1_000, 3_000, 10_000, 30_000, 100_000)):
    """Fitted exponent of the EIG's CPU-seconds in the size of the pool.

    The posterior is made before: its cost does not depend on the pool.
    """
    from fimlib.information import eig
    from fimlib.posterior import GaussianPosterior

    post = GaussianPosterior.from_roots(jobs.roots(1000, 2), jobs.PRIOR)
    eig(jobs.roots(2000, 1), post)
    times = []
    for count in counts:
        pool, best = jobs.roots(count, 1), math.inf
        for _ in range(3 if count < 20_000 else 1):
            cpu = usage()
            eig(pool, post)
            best = min(best, usage() - cpu)
        times.append(best)
    slope = np.polyfit(np.log(counts), np.log(times), 1)[0]
    return {
        "job": "EIG: exponent in the size of the pool",
        "sizes": f"M={counts[0]:,} to {counts[-1]:,}",
        "exponent": float(slope),
        "ours_cpu_s": times[-1],
    }


def run_alone(name, folder):
    """In the child: rows that have no peer."""
    rows = rates() if name == "rates" else [exponent()]
    (folder / f"{name}.json").write_text(json.dumps({"rows": rows}))


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


def main():
    """Run all rows, or those whose job has a word in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    near = HERE.parent / ".venv-peers" / "bin" / "python"
    parser.add_argument("--only", default="", help="a word that the job contains")
    parser.add_argument("--peers", default=str(near) if near.exists() else None)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        name, folder = options.side[0], Path(options.side[1])
        run = run_alone if name in ("rates", "exponent") else run_side
        return run(name, folder)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder, peers = Path(folder), options.peers or sys.executable
        for pair in PAIRS:
            if options.only in pair.job:
                rows.append(compare(pair, folder, peers))
        for name in ("rates", "exponent"):
            if options.only in name or not options.only:
                found = side(name, folder, sys.executable)
                rows += found.get("rows", [{"job": name, "sizes": "", **found}])
    print(table(rows))
    (HERE / "results.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

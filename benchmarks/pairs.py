"""What the areas of the benchmark share: a job with its two sides, and clocks."""

import math
import resource
import statistics
import time
from dataclasses import dataclass

import torch


@dataclass
class Pair:
    """A job and its two sides, functions of the area that make what is timed.

    samples, of: the peer does `samples` of `of` parts of the work, and its times are
    scaled up; its output is compared with as many entries, along the last dimension,
    of ours. compare: "relative" (largest difference over the largest entry of ours) or
    "identical" (the share of entries that differ, for indices). python: the peer's
    interpreter, "peers" (that of --peers) or "own".
    """

    job: str
    sizes: str
    ours: str
    peer: str
    samples: int = 1
    of: int = 1
    compare: str = "relative"
    python: str = "peers"


def usage():
    """CPU-seconds, user and system, of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb():
    """Largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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


def gemm_rate(size=1500):
    """GFLOP per CPU-second of a float64 matrix product, best of a few."""
    a = torch.randn(size, size, dtype=torch.float64)
    best = math.inf
    for _ in range(3):
        cpu = usage()
        a @ a
        best = min(best, usage() - cpu)
    return 2e-9 * size**3 / best

"""Greedy batches by log-determinants: the two sides of each job."""

import numpy as np
import torch
from pairs import Pair, peak_mb, timed
from selection_embeddings import bmdal

LOG_DET = "n=20,000, d=512, K=100"
MUTUAL = "n=5000, 200 queries, d=512, K=50"

PAIRS = [
    Pair("greedy log det | bmdal-reg", LOG_DET, "log_det_ours", "log_det_peer"),
    Pair("LogDetMI | submodlib", MUTUAL, "mutual_ours", "mutual_peer"),
    Pair("LogDetMI's value | submodlib", MUTUAL, "value_ours", "value_peer"),
]
for pair in PAIRS[:2]:
    pair.compare = "identical"
ALONE = ["million"]


def features(count, size, seed):
    """Random features (count, size) of squared length about 1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, size, generator=generator, dtype=torch.float64)
    return x / size**0.5


def greedy(x, batch_size):
    """fimlib's greedy selection of features under the prior precision 1."""
    from fimlib.fisher import FisherRoots
    from fimlib.posterior import GaussianPosterior
    from fimlib.selection import greedy_log_det

    roots = FisherRoots.from_dense(x, dtype=x.dtype)
    post = GaussianPosterior.isotropic(x.shape[1], 1.0)
    return lambda: greedy_log_det(roots, post, batch_size)


def log_det_ours():
    """The indices, in order of choice."""
    choose = greedy(features(20_000, 512, 0), 100)
    return lambda: choose().indices


def log_det_peer():
    """bmdal-reg's maxdet with noise 1."""
    return bmdal("MaxDet", features(20_000, 512, 0), noise_sigma=1.0)


def _mutual_ours():
    from fimlib.fisher import FisherRoots
    from fimlib.posterior import GaussianPosterior
    from fimlib.selection import log_det_mi

    pool = FisherRoots.from_dense(features(5000, 512, 1))
    queries = FisherRoots.from_dense(features(200, 512, 2))
    return lambda: log_det_mi(pool, queries, GaussianPosterior.isotropic(512, 1.0), 50)


def mutual_ours():
    """The indices, in order of choice."""
    choose = _mutual_ours()
    return lambda: choose().indices


def value_ours():
    """The gains, doubled: log-determinants carry no 1/2."""
    choose = _mutual_ours()
    return lambda: 2 * choose().gains.sum()[None]


def _mutual_peer():
    from submodlib import LogDeterminantMutualInformationFunction

    pool, queries = features(5000, 512, 1), features(200, 512, 2)
    kernels = {
        "data_sijs": (pool @ pool.mT).numpy(),
        "query_sijs": (pool @ queries.mT).numpy(),
        "query_query_sijs": (queries @ queries.mT).numpy(),
    }

    def choose():
        function = LogDeterminantMutualInformationFunction(
            n=5000, num_queries=200, lambdaVal=1.0, **kernels
        )
        return function.maximize(
            budget=50,
            optimizer="NaiveGreedy",
            stopIfZeroGain=False,
            stopIfNegativeGain=False,
            show_progress=False,
        )

    return choose


def mutual_peer():
    """submodlib: plain greedy on kernels that are formed beforehand."""
    choose = _mutual_peer()
    return lambda: torch.tensor([index for index, _ in choose()])


def value_peer():
    """The sum of its gains."""
    choose = _mutual_peer()
    return lambda: torch.tensor([sum(gain for _, gain in choose())])


def million():
    """The largest pool, of single-precision features, and the memory beside it."""
    x = torch.empty(1_000_000, 512)
    generator = torch.Generator().manual_seed(0)
    for part in x.split(50_000):
        part.normal_(generator=generator).mul_(512**-0.5)
    before = peak_mb()
    choose = greedy(x, 100)
    cpu, wall, found = timed(choose, most=1)
    assert len(np.unique(found.indices)) == 100
    return [
        {
            "job": "greedy log det, MB beyond the input in the note",
            "sizes": "n=1,000,000, d=512, K=100, float32",
            "ours_cpu_s": cpu,
            "ours_wall_s": wall,
            "ours_peak_mb": peak_mb(),
            "note": f"{peak_mb() - before:.0f} MB beyond the input",
        }
    ]

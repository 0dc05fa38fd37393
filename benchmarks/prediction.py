"""Prediction-space quantities: the two sides of each job, from Monte-Carlo tables.

A side is made once, then called; what it returns is compared with the other side's.
Peers are imported inside of their side, so that this file needs none.
"""

import time

import torch
from pairs import Pair, peak_mb, usage

POOL, EVALS, SAMPLES, CLASSES, BATCH = 2000, 500, 100, 10, 5
TABLE = f"M={POOL}, L={SAMPLES}, C={CLASSES}"
# How far the samples of theta disagree, beside a spread of 2 of the mean logits, or of
# 0. With much the labels of the batch tell nearly everything (4.49 of log L = 4.61
# nats), and no bound of an earlier step says which example comes next.
SOME, MUCH = (1.0, 2.0), (3.0, 0.0)

PAIRS = [
    Pair("BALD | baal", TABLE, "bald_ours", "bald_baal"),
    Pair("BALD | batchbald_redux", TABLE, "bald_ours", "bald_redux"),
    Pair(
        "BatchBALD, indices | batchbald_redux",
        f"{TABLE}, K={BATCH}",
        "batch_ours",
        "batch_redux",
        compare="identical",
    ),
    Pair(
        "BatchBALD, joint information | batchbald_redux in float32",
        f"{TABLE}, K={BATCH}, samples that disagree",
        "joint_ours",
        "joint_redux",
    ),
    Pair(
        "EPIG, both in float32 | baal", f"{TABLE}, E={EVALS}", "epig_ours", "epig_baal"
    ),
    Pair("EPIG in float64 | baal", f"{TABLE}, E={EVALS}", "epig_double", "epig_baal"),
]
ALONE = ["wide"]


def table(count, seed, disagreement=SOME):
    """Log-probabilities (count, 100, 10) of `disagreement` (noise, spread)."""
    noise, spread = disagreement
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    mean = torch.randn(count, 1, CLASSES, **options)
    each = torch.randn(count, SAMPLES, CLASSES, **options)
    return (spread * mean + noise * each).log_softmax(-1)


def bald_ours():
    """BALD of the pool."""
    from fimlib.predictive import bald

    pool = table(POOL, 0)
    return lambda: bald(pool)


def _batch(disagreement):
    from fimlib.selection import batch_bald

    pool = table(POOL, 0, disagreement)
    return lambda: batch_bald(pool, BATCH)


def batch_ours():
    """Indices of a batch."""
    choose = _batch(SOME)
    return lambda: choose().indices


def joint_ours():
    """Joint information of the first example, of the first two, ..."""
    choose = _batch(MUCH)
    return lambda: choose().gains.cumsum(0)


def _epig(dtype):
    from fimlib.predictive import epig

    pool, evals = table(POOL, 0), table(EVALS, 1)
    return lambda: epig(pool, evals, dtype=dtype)


def epig_ours():
    """EPIG in float32."""
    return _epig(torch.float32)


def epig_double():
    """EPIG in float64."""
    return _epig(torch.float64)


def _probabilities(log_probs):
    """As baal takes them: (M, C, L) in numpy; it computes EPIG in float32."""
    return log_probs.exp().mT.contiguous().numpy()


def bald_baal():
    """baal's BALD."""
    from baal.active.heuristics import BALD

    pool, heuristic = _probabilities(table(POOL, 0)), BALD()
    return lambda: torch.as_tensor(heuristic.compute_score(pool))


def epig_baal():
    """baal's EPIG."""
    from baal.active.heuristics import EPIG

    pool, evals = (_probabilities(table(*of).float()) for of in ((POOL, 0), (EVALS, 1)))
    heuristic = EPIG()
    return lambda: torch.as_tensor(heuristic.compute_score(pool, evals))


def bald_redux():
    """batchbald_redux: entropy less conditional entropy."""
    from batchbald_redux.batchbald import compute_conditional_entropy, compute_entropy

    pool = table(POOL, 0)
    return lambda: compute_entropy(pool) - compute_conditional_entropy(pool)


def _redux(disagreement, dtype):
    from batchbald_redux.batchbald import get_batchbald_batch

    pool = table(POOL, 0, disagreement).to(dtype)
    options = {"num_samples": 10_000, "dtype": dtype, "device": "cpu"}
    return lambda: get_batchbald_batch(pool, BATCH, **options)


def batch_redux():
    """Indices of a batch of batchbald_redux, in float64."""
    choose = _redux(SOME, torch.float64)
    return lambda: torch.tensor(choose().indices)


def joint_redux():
    """Its joint informations, in float32."""
    choose = _redux(MUCH, torch.float32)
    return lambda: torch.tensor(choose().scores, dtype=torch.float64)


def wide():
    """EPIG against 20,000 evaluation examples, from a tenth of them."""
    from fimlib.predictive import epig

    pool, evals = table(1000, 0), table(2000, 1)
    epig(pool[:10], evals)
    cpu, wall = usage(), time.perf_counter()
    epig(pool, evals)
    cpu, wall = usage() - cpu, time.perf_counter() - wall
    return [
        {
            "job": "EPIG in float64, many evaluation examples",
            "sizes": f"M=1000, L={SAMPLES}, C={CLASSES}, E=20,000",
            "ours_cpu_s": 10 * cpu,
            "ours_wall_s": 10 * wall,
            "ours_peak_mb": peak_mb(),
            "note": "extrapolated from 2,000 of 20,000",
        }
    ]

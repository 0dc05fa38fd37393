"""Columns of the records of Figures 2 and 3 as scores, seed by seed."""

from typing import Any

import numpy as np
from scipy.stats import rankdata

from fimlib.figures.records import Record, RecordError

# Figure 2 averages the ranks of its three lines, Figure 3 those of its four.
PROXIES = tuple(
    f"{x}_proxy_{y}" for x in ("jepig", "epig") for y in ("log_det", "trace")
)


def oriented(record: Record, column: str) -> np.ndarray:
    """The column (M,) of one seed, higher more informative: proxies change sign.

    RecordError for several seeds in one column: a rank among them says nothing.
    """
    found = np.unique(record.columns.get("seed", 0))
    if len(found) > 1:
        raise RecordError(
            f"{record.name!r} holds seeds {', '.join(map(str, found))}: scores are "
            "ranked one seed at a time, see by_seed"
        )
    if column == "uniform":  # a score that knows nothing
        return np.random.default_rng(found[0]).random(len(record))
    return higher_is_better(column, np.asarray(record[column]))


def higher_is_better(column: str, values: np.ndarray) -> np.ndarray:
    """The values of a column, negated if it is a proxy."""
    return -values if column in PROXIES else values


def by_seed(record: Record) -> list[Record]:
    """The record as one record a seed, in the order of the file."""
    seeds = dict.fromkeys(record["seed"].tolist())
    return [record.where("seed", seed) for seed in seeds]


def same_run(*found: Record) -> tuple[Record, ...]:
    """Refuse records that differ in data or protocol; the difference is named.

    Raises RecordError. Seeds may differ: they are draws of one experiment.
    """
    first, *others = found
    for other in others:
        ours, theirs = _identity(first), _identity(other)
        for key in sorted({*ours, *theirs}):
            pair = ours.get(key, "nothing"), theirs.get(key, "nothing")
            if pair[0] != pair[1]:
                raise RecordError(
                    f"records {first.name!r} and {other.name!r} are not of one run: "
                    f"{key} is {pair[0]} in the first and {pair[1]} in the second"
                )
    return found


def _identity(record: Record) -> dict[str, Any]:
    """What has to agree: the data's digest and every number of the protocol."""
    run = record.run
    found = {f"protocol {k}": v for k, v in run.get("protocol", {}).items()}
    return found | {"data sha256": run.get("data", {}).get("sha256", "unknown")}


def merged(*found: Record) -> Record:
    """One record of the same run's seeds that several records hold.

    Raises RecordError as ``same_run``, and for a seed that comes twice.
    """
    first, *others = same_run(*found)
    if not others:
        return first
    seeds = [seed for record in found for seed in np.unique(record["seed"]).tolist()]
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise RecordError(f"seed {twice[0]} is in two of the records")
    columns = {
        name: np.concatenate([record[name] for record in found])
        for name in first.columns
    }
    return Record(first.name, columns, first.run)


def average_ig_rank(record: Record) -> np.ndarray:
    """The order of Figure 2 (M,): rank of BALD plus the mean of the two EIG ranks."""
    log_det, trace = (rankdata(record[f"eig_{form}"]) for form in ("log_det", "trace"))
    return rankdata(record["bald"]) + (log_det + trace) / 2


def average_pig_rank(record: Record) -> np.ndarray:
    """The order of Figure 3 (M,): rank of EPIG plus the mean of three proxy ranks.

    As published, the trace counts once, being one order for EPIG and JEPIG.
    """
    proxies = ("epig_proxy_log_det", "epig_proxy_trace", "jepig_proxy_log_det")
    ranks = [rankdata(oriented(record, name)) for name in proxies]
    return rankdata(record["epig"]) + np.mean(ranks, axis=0)


NAMES = {
    "bald": "BALD",
    "epig": "EPIG",
    "eig_log_det": "EIG log det",
    "eig_trace": "EIG trace",
    "epig_proxy_log_det": "EPIG log det",
    "jepig_proxy_log_det": "JEPIG log det",
    "epig_proxy_trace": "(J)EPIG trace",
    "predictive_entropy": "predictive entropy",
    "softmax_entropy": "softmax entropy, one pass",
    "trace_fisher": "tr F, no posterior",
    "badge_norm": "BADGE norm",
    "uniform": "uniform",
}
BASELINES = (
    "predictive_entropy", "softmax_entropy", "trace_fisher", "badge_norm", "uniform",
)  # fmt: skip

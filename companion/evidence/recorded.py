"""Reading the recorded runs of Figures 2 and 3, for the claims that rest on them."""

import functools
from pathlib import Path

import numpy as np

from companion.proof import NotRecorded
from fimlib.figures import agreement
from fimlib.figures.records import read_record

__all__ = [
    "EPIG_PAIRS", "LOG_DET", "PAIRS", "TRACE", "WEIGHT_SPACE", "furthest", "lowest",
    "mean", "pearson", "published", "published_correlations", "recorded", "seeds",
]  # fmt: skip

LOG_DET, TRACE = ("bald", "eig_log_det"), ("bald", "eig_trace")
BALD_EPIG = ("bald", "epig")
EPIG_PAIRS = (
    ("epig", "epig_proxy_log_det"),
    ("epig", "jepig_proxy_log_det"),
    ("epig", "epig_proxy_trace"),
)
WEIGHT_SPACE = (LOG_DET, TRACE, *EPIG_PAIRS)
PAIRS = (LOG_DET, TRACE, BALD_EPIG, *EPIG_PAIRS)


def recorded(name):
    """The record ``NAME.csv`` of the repository's figures; NotRecorded without it."""
    folders = (Path(__file__).parents[2] / "figures" / "data", Path("figures/data"))
    for folder in folders:
        path = folder / f"{name}.csv"
        if path.exists():
            return _read(path, path.stat().st_mtime_ns)
    raise NotRecorded(f"figures/data/{name}.csv; run in a copy of the repository")


@functools.lru_cache
def _read(path, _changed):
    return read_record(path)


def seeds():
    """The five seeds of the main record, one record each."""
    record = recorded("fig23-mnist")
    return [record.where("seed", seed) for seed in record.run["seeds"]]


def score(one, name):
    """A column, higher more informative: proxies are minimised."""
    return -one[name] if "proxy" in name else one[name]


def mean(statistic, pair, *arguments):
    """Mean over seeds of a statistic of two scores."""
    return np.mean([
        statistic(score(one, pair[0]), score(one, pair[1]), *arguments)
        for one in seeds()
    ])  # fmt: skip


def published(name, value):
    """The published table ``name``: pair of scores to ``value``."""
    rows = recorded("fig23-published").run[name]
    return {(row["score"], row["other"]): row[value] for row in rows}


def published_correlations():
    record = recorded("fig23-published")
    keys = zip(record["score"].tolist(), record["other"].tolist(), strict=True)
    return dict(zip(keys, record["published"].tolist(), strict=True))


def furthest(found, expected):
    return max(abs(found[pair] - expected[pair]) for pair in found)


def pearson(a, b, *_):
    """The correlation of the values in nats."""
    return np.corrcoef(a, b)[0, 1]


def lowest(a, b, count):
    """Ranks that ascend where they should descend."""
    return agreement.spearman_within_top(-a, -b, count)

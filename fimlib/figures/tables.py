"""The tables of Figures 2 and 3: means over seeds, with bootstrap errors."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from fimlib.figures import agreement
from fimlib.figures.agreement import Statistic
from fimlib.figures.ranking import BASELINES, NAMES, by_seed, oriented
from fimlib.figures.records import Arrays, Record, Table

APPROXIMATIONS = {  # what each prediction-space score is compared with
    "bald": ("eig_log_det", "eig_trace", "epig", *BASELINES),
    "epig": (
        "epig_proxy_log_det", "jepig_proxy_log_det", "epig_proxy_trace", "bald",
        *BASELINES,
    ),
}  # fmt: skip
_RESAMPLES = 200
BINS = (0.0, 0.01, 0.1, 1.0, np.log(10), np.inf)  # nats of EIG log det


def over_seeds(
    record: Record, score: str, other: str, statistic: Statistic, *arguments: Any
) -> np.ndarray:
    """The statistic of two scores in each seed: (S,)."""
    return np.array([
        statistic(oriented(one, score), oriented(one, other), *arguments)
        for one in by_seed(record)
    ])  # fmt: skip


def standard_errors(
    record: Record, score: str, others: Sequence[str], count: int
) -> np.ndarray:
    """Bootstrap error of each other's mean Spearman within the top ``count`` of score.

    Digits are drawn again within a seed, and seeds among themselves.
    """
    draw = np.random.default_rng(0)
    found = []  # (S, others, resamples)
    for one in by_seed(record):
        picked = draw.integers(len(one), size=(_RESAMPLES, len(one)))
        reference = oriented(one, score)[picked]
        best = np.argsort(-reference, axis=1, kind="stable")[:, :count]
        kept = np.take_along_axis(picked, best, axis=1)
        ranks = _standard_ranks(oriented(one, score)[kept])
        rows = [_standard_ranks(oriented(one, name)[kept]) for name in others]
        found.append([(ranks * row).mean(1) for row in rows])
    resampled = np.array(found)
    seeds = draw.integers(len(resampled), size=(len(resampled), _RESAMPLES))
    again = draw.integers(_RESAMPLES, size=seeds.shape)
    return resampled[seeds, :, again].mean(0).std(0)


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along rows, shifted and scaled to mean 0 and variance 1."""
    ranks = rankdata(values, axis=1)
    return (ranks - ranks.mean(1, keepdims=True)) / ranks.std(1, keepdims=True)


def with_error(mean: float, error: float, digits: int = 2) -> str:
    """As "0.57 ± 0.04"; the error is two bootstrap standard errors."""
    return f"{mean + 0.0:.{digits}f} ± {2 * error:.{digits}f}"


def compare(published: Arrays, runs: dict[str, Record]) -> Table:
    """The published correlations beside each run's: mean over seeds, two errors.

    published: columns score, other, published, checkpoint; runs: name to record.
    """
    pairs = list(zip(published["score"], published["other"], strict=True))
    found = {
        "score": [NAMES[score] for score, _ in pairs],
        "against": [NAMES[other] for _, other in pairs],
        "published": published["published"].tolist(),
        "re-scored": published["checkpoint"].tolist(),
    }
    for name, record in runs.items():
        errors: dict[tuple[str, str], float] = {}
        for score in dict.fromkeys(score for score, _ in pairs):
            others = [other for first, other in pairs if first == score]
            se = standard_errors(record, score, others, len(record))
            errors |= {(score, o): float(e) for o, e in zip(others, se, strict=True)}
        means = {p: over_seeds(record, *p, agreement.spearman).mean() for p in pairs}
        found[name] = [with_error(means[pair], errors[pair], 3) for pair in pairs]
    return found


def top_table(
    record: Record, score: str = "bald", counts: Sequence[int] = (500, 100, 50)
) -> Table:
    """How each other score ranks the top of ``score``: mean over seeds, two errors."""
    others = APPROXIMATIONS[score]
    size = len(by_seed(record)[0])
    found = {"against": [NAMES[name] for name in others]}
    for count in (size, *counts):
        label = "whole pool" if count == size else f"its top {count}"
        errors = standard_errors(record, score, others, count)
        within = agreement.spearman_within_top
        means = [over_seeds(record, score, o, within, count).mean() for o in others]
        found[label] = [*map(with_error, means, errors)]
    return found


def reference_table(record: Record, score: str = "bald", count: int = 100) -> Table:
    """Agreement at the top beside what a whole-pool correlation would leave there."""
    others, size = APPROXIMATIONS[score], len(by_seed(record)[0])
    share = count / size
    rows = []
    for name in others:
        pool = over_seeds(record, score, name, agreement.spearman).mean()
        row: dict[str, Any] = {"against": NAMES[name]}
        for label, statistic in (
            ("within its top", agreement.spearman_within_top),
            ("in the union", agreement.spearman_in_union),
        ):
            row[label] = over_seeds(record, score, name, statistic, count).mean()
            gaussian = agreement.gaussian_reference(pool, share, statistic)
            row[f"{label}, Gaussian"] = gaussian
        shared = over_seeds(record, score, name, agreement.overlap, count).mean()
        rows.append(row | {"shared": shared})
    return {key: [row[key] for row in rows] for key in rows[0]}


def half_table(published: Iterable[dict[str, Any]], record: Record) -> Table:
    """The published "top 50 %": as coded (the bottom half), and as intended."""
    found: Table = {"score": [], "against": []}
    columns = ("coded, published", "coded", "intended, published", "intended")
    found |= {column: [] for column in columns}
    for row in published:
        pair, half = (row["score"], row["other"]), len(by_seed(record)[0]) // 2
        found["score"].append(NAMES[pair[0]])
        found["against"].append(NAMES[pair[1]])
        for label, statistic in (
            ("coded", agreement.published_top_half),
            ("intended", agreement.spearman_in_union),
        ):
            found[f"{label}, published"].append(row[label])
            found[label].append(over_seeds(record, *pair, statistic, half).mean())
    return found


def trace_errors(record: Record) -> Table:
    """By the size of EIG log det: share of the pool, and trace over log det there."""
    rows = []
    for low, high in itertools.pairwise(BINS):
        inside = (record["eig_log_det"] >= low) & (record["eig_log_det"] < high)
        ratio = (record["eig_trace"] / record["eig_log_det"])[inside]
        middle, most = np.quantile(ratio, (0.5, 0.9)) if len(ratio) else (1.0, 1.0)
        rows.append({
            "EIG log det": f"{low:.3g} to {high:.3g}",
            "share of the pool": inside.mean(),
            "trace / log det, median": middle,
            "nine in ten below": most,
        })  # fmt: skip
    return {key: [row[key] for row in rows] for key in rows[0]}


def quartiles(record: Record, column: str = "eig_log_det") -> dict[str, np.ndarray]:
    """Quartiles of a column in each seed: name to (S,)."""
    values = [np.quantile(one[column], (0.25, 0.5, 0.75)) for one in by_seed(record)]
    return dict(zip(("q25", "median", "q75"), np.transpose(values), strict=True))


def mean_by(record: Record, group: str, column: str, **equal: Any) -> dict[Any, float]:
    """Mean of a column by the values of another, over rows where ``equal`` holds."""
    for name, value in equal.items():
        record = record.where(name, value)
    keys = np.unique(record[group])
    return {key: record.where(group, key)[column].mean() for key in keys.tolist()}


def bias_fit(
    record: Record, score: str, least: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """``a`` and ``b`` (S,) of mean score = a + b/L in each seed, from L >= least."""
    found = []
    for one in by_seed(record):
        means = mean_by(one, "samples", "mean", score=score)
        levels = [level for level in means if level >= least]
        found.append(agreement.inverse_fit(levels, [means[k] for k in levels]))
    return tuple(np.transpose(found))


def bias_table(
    record: Record, samples: int = 100, leasts: Sequence[int] = (20, 50, 100, 250)
) -> Table:
    """By the fewest samples in the fit: its slope, and the excess at ``samples``.

    Were the bias b/L, all rows would be the same.
    """
    found = {"fit from L": list(leasts)}
    for score in ("bald", "epig"):
        fits = [bias_fit(record, score, least) for least in leasts]
        found[f"{NAMES[score]}: b"] = [b.mean() for _, b in fits]
        found[f"{NAMES[score]}: excess"] = [np.mean(b / samples / a) for a, b in fits]
    return found


def noise_table(record: Record, samples: int = 100, count: int = 100) -> Table:
    """What the noise of ``samples`` dropout samples leaves: predicted and measured.

    Predicted by Spearman-Brown from two estimates of half as many samples; the measured
    ceiling is the agreement with many other samples.
    """
    rows = []
    for score in ("bald", "epig"):
        for suffix in ("spearman", f"top_{count}"):
            half, whole = (
                mean_by(record, "samples", f"next_{suffix}", score=score)[level]
                for level in (samples // 2, samples)
            )
            reliability = 2 * half / (1 + half)
            ceiling = mean_by(record, "samples", f"half_{suffix}", score=score)
            rows.append({
                "score": NAMES[score],
                "over": "whole pool" if suffix == "spearman" else f"top {count}",
                "split half": half,
                "another, predicted": reliability,
                "another, measured": whole,
                "noise-free, predicted": reliability**0.5,
                "noise-free, measured": ceiling[samples],
            })  # fmt: skip
    return {key: [row[key] for row in rows] for key in rows[0]}

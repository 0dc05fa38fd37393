"""How far two scores agree about a pool: over all of it, and at its top."""

import numpy as np
from scipy.stats import rankdata

# Figure 2 averages the ranks of its three lines, Figure 3 those of its four.
PROXIES = (
    "jepig_proxy_log_det",
    "jepig_proxy_trace",
    "epig_proxy_log_det",
    "epig_proxy_trace",
)


def oriented(record, column):
    """The column (M,) so that higher is more informative: proxies change their sign."""
    values = np.asarray(record[column])
    return -values if column in PROXIES else values


def spearman(a, b):
    """Spearman's rank correlation of two scores (M,)."""
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def top(scores, count):
    """Indices of the ``count`` highest scores."""
    return np.argsort(-np.asarray(scores), kind="stable")[:count]


def spearman_within_top(score, other, count):
    """Spearman's correlation over the ``count`` points that ``score`` puts first.

    Conditioned on one score: over the union of both tops even independent scores
    correlate at about -0.67, since a point is there because one of them is high.
    """
    chosen = top(score, count)
    return spearman(np.asarray(score)[chosen], np.asarray(other)[chosen])


def overlap(score, other, count):
    """How many of the ``count`` highest points two scores share."""
    return len(np.intersect1d(top(score, count), top(other, count)))


def average_ig_rank(record):
    """The order of Figure 2 (M,): rank of BALD plus the mean of the two EIG ranks."""
    log_det, trace = (rankdata(record[f"eig_{form}"]) for form in ("log_det", "trace"))
    return rankdata(record["bald"]) + (log_det + trace) / 2


def average_pig_rank(record):
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
}
BASELINES = ("predictive_entropy", "softmax_entropy", "trace_fisher")
APPROXIMATIONS = tuple(name for name in NAMES if name not in ("bald", "epig"))


def compare(published, runs):
    """The published table of correlations with a column per run, rounded to 3 digits.

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
        found[name] = [
            round(spearman(*(oriented(record, column) for column in pair)), 3)
            for pair in pairs
        ]
    return found


def top_table(record, score="bald", counts=(500, 100, 50)):
    """How each other score ranks the top of ``score``: correlations and one overlap."""
    reference = oriented(record, score)
    others = [name for name in APPROXIMATIONS if name != score]
    found = {"against": [NAMES[name] for name in others]}
    values = [oriented(record, name) for name in others]
    found["whole pool"] = [round(spearman(reference, v), 3) for v in values]
    for count in counts:
        found[f"its top {count}"] = [  # + 0.0: no minus zero
            round(spearman_within_top(reference, v, count), 2) + 0.0 for v in values
        ]
    found["shared of top 100"] = [overlap(reference, v, 100) for v in values]
    return found

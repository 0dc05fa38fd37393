"""How far two scores rank a pool alike: all of it, its top, and what chance would do.

Every function takes scores (M,) of which higher is more informative.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

Statistic = Callable[..., float]
_DRAWS = 200_000  # points of the Gaussian reference: its own error is below 0.01


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation of two scores (M,)."""
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def top(scores: ArrayLike, count: int) -> np.ndarray:
    """Indices of the ``count`` highest scores, the first of equal ones."""
    return np.argsort(-np.asarray(scores), kind="stable")[:count]


def overlap(score: ArrayLike, other: ArrayLike, count: int) -> int:
    """How many of the ``count`` highest points two scores share."""
    return len(np.intersect1d(top(score, count), top(other, count)))


def spearman_within_top(score: ArrayLike, other: ArrayLike, count: int) -> float:
    """Spearman's correlation over the ``count`` points that ``score`` puts first (T37).

    A narrower range alone lowers a correlation: compare with ``gaussian_reference``.
    """
    chosen = top(score, count)
    return spearman(np.asarray(score)[chosen], np.asarray(other)[chosen])


def spearman_in_union(score: ArrayLike, other: ArrayLike, count: int) -> float:
    """Spearman's correlation over the points in the top ``count`` of either score.

    The statistic of github.com/BlackHC/2208.00549. It is not zero for independent
    scores, see ``union_null``: a point is there because one of the two is high.
    """
    union = np.union1d(top(score, count), top(other, count))
    return spearman(np.asarray(score)[union], np.asarray(other)[union])


def published_top_half(score: ArrayLike, other: ArrayLike, count: int = 500) -> float:
    """The published "top 50 %" as coded: the union of the *lowest* ``count`` of both.

    The code keeps ranks up to ``count``, and its ranks ascend (T37).
    """
    return spearman_in_union(-np.asarray(score), -np.asarray(other), count)


def union_null(share: float) -> float:
    """What ``spearman_in_union`` expects of two independent scores: T37.

    share: the top's share of the pool, in (0, 1]; the result rises with it from -3/4 to
    0.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    return -3 * ((1 - share) / (2 - share)) ** 2


def gaussian_reference(
    correlation: float, share: float, statistic: Statistic = spearman_within_top
) -> float:
    """The statistic for two Gaussian scores of this Spearman correlation: T37.

    What range restriction alone makes of it within the top ``share`` of the pool.
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"correlation must lie in [-1, 1], got {correlation}")
    pearson = 2 * np.sin(np.pi * correlation / 6)  # of the Gaussian with this Spearman
    first, second = np.random.default_rng(0).normal(size=(2, _DRAWS))
    second = pearson * first + np.sqrt(1 - pearson**2) * second
    return statistic(first, second, round(share * _DRAWS))


def inverse_fit(samples: ArrayLike, means: ArrayLike) -> tuple[float, float]:
    """``a``, free of a bias that falls as 1/L, and ``b`` of the line a + b/samples."""
    inverse = 1 / np.asarray(samples, dtype=float)
    slope, intercept = np.polyfit(inverse, np.asarray(means, dtype=float), 1)
    return float(intercept), float(slope)

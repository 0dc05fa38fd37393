"""Batches that are spread out: k-means++, BADGE, farthest first, largest clusters.

All of them look at the squared distance of each example to the nearest centre, which
is a chosen example or one of the training examples. Such a distance is to a point; the
gain of log det is that to the span of the chosen ones (T33).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib._checks import as_tensor, check_choice
from fimlib.families import Categorical
from fimlib.fisher.last_layer import warn_of_probabilities
from fimlib.fisher.roots import FisherRoots, chunk_step
from fimlib.selection.result import FEW, Selection, checked_batch_size, completed

Features = ArrayLike | FisherRoots
# Values this close, relatively, count as tied: the lowest index is taken.
_TIE = 1e-12
_APART = FEW.format("lie apart from the centres")


class Points:
    """Vectors g_i = r_i (x) phi_i of M examples, held by their factors.

    features: phi (M, d); outer: r (M, C), or None for g_i = phi_i. The M C d numbers
    are never formed: an inner product is that of the factors. `norms` are squared.
    """

    def __init__(
        self, features: Tensor, outer: Tensor | None = None, norms: Tensor | None = None
    ) -> None:
        self.features, self.outer = features, outer
        self.widths = [one.shape[1] for one in (outer, features) if one is not None]
        if norms is None:
            norms = torch.linalg.vector_norm(features, dim=1).square()
            if outer is not None:
                norms *= outer.square().sum(1)
        self.norms = norms

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, indices: Any) -> Points:
        outer = None if self.outer is None else self.outer[indices]
        return Points(self.features[indices], outer, self.norms[indices])

    def rows(self) -> Tensor:
        """The vectors themselves, (M, C d)."""
        if self.outer is None:
            return self.features
        return (self.outer[:, :, None] * self.features[:, None, :]).flatten(1)

    def products(self, vector: Tensor) -> Tensor:
        """Inner products (M,) with one vector (C d,)."""
        if self.outer is None:
            return self.features @ vector
        return ((self.features @ vector.view(self.widths).mT) * self.outer).sum(1)

    def total(self) -> Tensor:
        """Sum of the vectors, (C d,)."""
        if self.outer is None:
            return self.features.sum(0)
        return (self.outer.mT @ self.features).flatten()

    def distances(self, centres: Points, bound: Tensor) -> Tensor:
        """Return squared distances (M, k) to centres; rough where `bound` (M,) is 0.

        |a|^2 + |b|^2 - 2ab loses its digits where a and b are close: below sqrt(eps)
        of its terms the factors' differences are taken, which duplicates have none of.
        """
        inner = self.features @ centres.features.mT
        if self.outer is not None and centres.outer is not None:
            inner *= self.outer @ centres.outer.mT
        scale = self.norms[:, None] + centres.norms
        found = torch.sub(scale, inner, alpha=2)
        close = found <= torch.finfo(found.dtype).eps ** 0.5 * scale
        i, j = (close & (bound > 0)[:, None]).nonzero(as_tuple=True)
        step = chunk_step(self.features.shape[1])
        for start in range(0, len(i), step):
            few = i[start : start + step], j[start : start + step]
            found[few] = _apart(self[few[0]], centres[few[1]])
        return found.clamp_(min=0)


def _apart(a: Any, b: Any) -> Tensor:
    """Squared distances (n,) of pairs, exactly, by differences of their factors."""
    # With means n of r, m of phi: g_a - g_b = (r - s) (x) m + n (x) (phi - psi).
    change = a.features - b.features
    if a.outer is None:
        return change.square().sum(1)
    turn = a.outer - b.outer
    middle, centre = (a.features + b.features) / 2, (a.outer + b.outer) / 2
    first = turn.square().sum(1) * middle.square().sum(1)
    second = centre.square().sum(1) * change.square().sum(1)
    both = 2 * (turn * centre).sum(1) * (change * middle).sum(1)
    # One vector by two pairs of factors (2r, phi / 2): the terms cancel to rounding.
    rounding = sum(a.widths) * torch.finfo(first.dtype).eps * (first + second)
    found = first + second + both
    return torch.where(found <= rounding, 0, found)


def points_of(value: Any, name: str, dtype: torch.dtype) -> Points:
    """Return `checked` points from features (M, d) or from Fisher roots of rank 1.

    Raises:
        ValueError: roots of a higher rank.
    """
    if not hasattr(value, "num_parameters"):
        return checked(Points(as_tensor(value, name, ("M", "d"), dtype)), name)
    if value.rank != 1:
        raise ValueError(
            f"{name} must be features (M, d) or roots of rank 1, got rank {value.rank}"
        )
    features, outer = value.held().outer_factors()
    outer = None if outer is None else outer.to(dtype)
    return checked(Points(features.to(dtype), outer), name)


def checked(points: Points, name: str) -> Points:
    """The points, or a ValueError if they have no column or norms that overflow."""
    if points.features.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column, got 0")
    if not torch.isfinite(points.norms).all():
        raise ValueError(
            f"{name} must have squared norms in the range of {points.norms.dtype}, got "
            f"entries up to {float(points.features.abs().max()):.3g}"
        )
    return points


class Nearest:
    """Squared distances of points to the nearest centre, brought up to date late.

    Centres are `train`, and the examples that are taken. `bound` (M,), in float64, is
    never below the distance: a new centre can only be closer. It is exact after
    `refresh`, and then `cluster` (M,) is the nearest centre's number.
    """

    def __init__(self, points: Points, train: Points | None) -> None:
        self.points = points
        self.chosen: list[int] = []
        self.gains: list[float] = []
        self.bound = torch.full_like(points.norms, torch.inf, dtype=torch.float64)
        self.cluster = torch.zeros_like(points.norms, dtype=torch.long)
        # Centres, and examples among them, up to which all is up to date.
        self.count = self.seen = 0
        self._include(points[:0] if train is None else train)

    def _include(self, centres: Points) -> None:
        step = chunk_step(len(self.points))
        for start in range(0, len(centres), step):
            few = centres[start : start + step]
            found, which = self.points.distances(few, self.bound).double().min(1)
            closer = found < self.bound
            self.bound = torch.where(closer, found, self.bound)
            self.cluster = torch.where(closer, which + self.count, self.cluster)
            self.count += len(few)

    def take(self, index: int, gain: float) -> None:
        """Choose an example, which makes it a centre."""
        self.chosen.append(index)
        self.gains.append(gain)
        self.bound[index] = 0.0

    def refresh(self) -> None:
        """Bring all distances up to date."""
        self._include(self.points[self.chosen[self.seen :]])
        self.seen = len(self.chosen)

    def at(self, index: int) -> float:
        """The distance of one example, up to date, as a float."""
        bound, late = self.bound[[index]], self.chosen[self.seen :]
        if late:
            found = self.points[[index]].distances(self.points[late], bound)
            bound = torch.minimum(bound, found.double().amin(1))
        return float(bound)


def k_means_pp(
    features: Features, batch_size: int, first: str = "norm",
    train_features: Features | None = None, generator: Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Selection:  # fmt: skip
    """Return `batch_size` examples by D^2 sampling (Arthur & Vassilvitskii 2007).

    Of features (M, d), or Fisher roots of rank 1, one is drawn with probability
    proportional to its squared distance, which is its gain, to the nearest centre:
    those chosen and, if given, train_features (N, d). Without these the first is the
    one of largest norm, or any for `first="uniform"`, and its gain the squared norm.
    Once all are at distance 0, the lowest indices follow, and `notes` says so.
    ValueErrors: wrong shapes, values not finite, norms that overflow `dtype`, roots of
    a higher rank, a batch_size outside 1..M.

    >>> k_means_pp([[0.0, 1.0], [0.0, 3.0], [0.0, 3.0]], 2).gains.tolist()
    [9.0, 4.0]
    """
    check_choice(first, "first", ("norm", "uniform"))
    points, train = _both(features, train_features, dtype)
    return d2_sampling(points, batch_size, first, train, generator)


def max_dist(
    features: Features, batch_size: int, train_features: Features | None = None,
    dtype: torch.dtype = torch.float64,
) -> Selection:  # fmt: skip
    """Return `batch_size` examples by farthest first, Core-Set (Sener & Savarese 2018).

    Greedy k-centre by features (M, d) and centres train_features (N, d); ties go to the
    lowest index, and arguments, gains and errors are those of `k_means_pp`.

    >>> max_dist([[0.0], [1.0], [3.0]], 3).indices.tolist()
    [2, 0, 1]
    """
    return _farthest(features, batch_size, train_features, dtype, lambda one: one.bound)


def lcmd(
    features: Features, batch_size: int, train_features: Features | None = None,
    dtype: torch.dtype = torch.float64,
) -> Selection:  # fmt: skip
    """Return `batch_size` examples by largest cluster maximum distance.

    Of features (M, d), each belongs to its nearest centre, as in `max_dist`. Of the
    cluster with the largest sum of squared distances, the farthest is chosen, and is a
    centre then (arXiv:2203.09410, section 4).

    >>> lcmd([[9.0], [9.5], [9.5], [0.0], [5.0]], 2, [[9.2], [1.0]]).indices.tolist()
    [4, 3]
    """
    return _farthest(features, batch_size, train_features, dtype, _in_largest_cluster)


def badge(
    features: ArrayLike, logits: ArrayLike, batch_size: int,
    generator: Generator | None = None, dtype: torch.dtype = torch.float64,
) -> Selection:  # fmt: skip
    """Return `batch_size` examples by BADGE (arXiv:1906.03671, algorithm 1).

    An example of features phi (M, d), a last layer's inputs, and logits (M, C) is
    embedded as its loss's gradient (p - e_y) (x) phi by the weights, without bias, at
    the most probable label y. The longest is first, the others follow by D^2 sampling
    from inner products of the factors alone. Gains, ties, `notes` and errors as in
    `k_means_pp`, and a ValueError for less than two classes.

    >>> badge([[1.0], [1.0], [3.0]], [[9.0, 0.0], [0.0, 0.0], [0.0, 0.0]], 1).gains
    tensor([4.5000], dtype=torch.float64)
    """
    phi: Tensor = as_tensor(features, "features", ("M", "d"), dtype)
    checked_batch_size(batch_size, len(phi), "features")
    outputs: Tensor = as_tensor(logits, "logits", (len(phi), "C"))
    warn_of_probabilities(outputs)
    family = Categorical()
    residuals = family.output_gradient(outputs, family.mode(outputs)).to(phi)
    points = checked(Points(phi, residuals), "features")
    return d2_sampling(points, batch_size, generator=generator)


def _in_largest_cluster(nearest: Nearest) -> Tensor:
    nearest.refresh()
    sizes = torch.bincount(nearest.cluster, weights=nearest.bound)
    large = sizes >= (1 - _TIE) * sizes.max()
    return torch.where(large[nearest.cluster], nearest.bound, 0.0)


def _both(
    features: Any, train_features: Any, dtype: torch.dtype
) -> tuple[Points, Points | None]:
    points, train = points_of(features, "features", dtype), None
    if train_features is not None:
        train = points_of(train_features, "train_features", dtype)
        if train.widths != points.widths:
            raise ValueError(
                f"train_features must have as many columns as features, "
                f"{tuple(points.widths)}, got {tuple(train.widths)}"
            )
    # An empty training set has no centres, and is none.
    return points, train if train is not None and len(train) else None


def d2_sampling(
    points: Points, batch_size: int, first: str = "norm", train: Points | None = None,
    generator: Generator | None = None,
) -> Selection:  # fmt: skip
    """Return `k_means_pp` of points.

    Drawn by a bound u of the squared distance s, an example is accepted with
    probability s / u. The first that is refused brings all bounds up to date, so that
    the next draw is by s itself: the mixture is exactly proportional to s.
    """
    batch_size = checked_batch_size(batch_size, len(points), "features")
    like: dict = {"device": points.features.device, "generator": generator}
    start = None
    if train is None and first == "uniform":
        start = int(torch.randint(len(points), (), **like))

    def draw(nearest: Nearest) -> tuple[int, Tensor] | None:
        sums = nearest.bound.cumsum(0)
        if not sums[-1] > 0:
            return None
        target, accept = torch.rand(2, dtype=torch.float64, **like)
        # Below the last sum also where the product is rounded up to it.
        target = torch.minimum(target * sums[-1], sums[-1].nextafter(sums[0] * 0))
        index = int(torch.searchsorted(sums, target, right=True))
        return index, accept * nearest.bound[index]

    return _spread(points, batch_size, train, draw, start)


def _farthest(
    features: Any, batch_size: int, train_features: Any, dtype: torch.dtype,
    values: Callable[[Nearest], Tensor],
) -> Selection:  # fmt: skip
    # The largest bound that is up to date is the largest: others can only fall.
    points, train = _both(features, train_features, dtype)
    batch_size = checked_batch_size(batch_size, len(points), "features")

    def largest(nearest: Nearest) -> tuple[int, Tensor] | None:
        found = values(nearest)
        index = lowest_best(found)
        return (index, found[index]) if found[index] > 0 else None

    return _spread(points, batch_size, train, largest)


def _spread(
    points: Points, batch_size: int, train: Points | None,
    pick: Callable[[Nearest], tuple[int, Tensor] | None], start: int | None = None,
) -> Selection:  # fmt: skip
    """The examples that are picked, each with the distance that it must have."""
    nearest = Nearest(points, train)
    if train is None:
        start = lowest_best(points.norms) if start is None else start
        nearest.take(start, float(points.norms[start]))
        # The first bound is infinite.
        nearest.refresh()
    while len(nearest.chosen) < batch_size and (found := pick(nearest)):
        index, least = found
        apart = nearest.at(index)
        if apart > 0 and apart >= least:
            nearest.take(index, apart)
        else:
            nearest.refresh()
    return completed(nearest.chosen, nearest.gains, batch_size, nearest.bound, _APART)


def lowest_best(values: Tensor, tie: float = _TIE) -> int:
    """Lowest index of a value that is the largest one, up to rounding."""
    top = values.max()
    return int((values >= top - tie * top.abs()).byte().argmax())

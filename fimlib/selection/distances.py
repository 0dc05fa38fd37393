"""Batches that are spread out: k-means++, farthest first, largest clusters.

All of them look at the squared distance of each example to the nearest centre, which
is a chosen example or one of the training examples. Such a distance is to a point; the
gain of log det is that to the span of the chosen ones (T33).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_choice
from fimlib.fisher.roots import FisherRoots, chunk_step
from fimlib.selection.result import Selection, checked_batch_size

# Values this close, relatively, count as tied: the lowest index is taken.
_TIE = 1e-12


class Points:
    """Vectors g_i = r_i (x) phi_i of M examples, held by their factors.

    features: phi (M, d); outer: r (M, C), or None for g_i = phi_i. The M C d numbers
    are never formed: an inner product is that of the factors. `norms` are squared.
    """

    def __init__(
        self, features: Tensor, outer: Tensor | None = None, norms: Tensor | None = None
    ) -> None:
        self.features = features
        self.outer = outer
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
        matrix = vector.view(self.outer.shape[1], self.features.shape[1])
        return ((self.features @ matrix.mT) * self.outer).sum(1)

    def total(self) -> Tensor:
        """Sum of the vectors, (C d,)."""
        if self.outer is None:
            return self.features.sum(0)
        return (self.outer.mT @ self.features).flatten()

    def distances(self, centres: Points, bound: Tensor) -> Tensor:
        """Squared distances (M, k) to the centres; rough where `bound` (M,) is 0.

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
    """Squared distances (n,) of pairs by differences: |r - s|^2 |m|^2 + ... exactly.

    With means n of the r, m of the phi: g_a - g_b = (r - s) (x) m + n (x) (phi - psi).
    """
    change = a.features - b.features
    if a.outer is None:
        return change.square().sum(1)
    turn = a.outer - b.outer
    middle, centre = (a.features + b.features) / 2, (a.outer + b.outer) / 2
    first = turn.square().sum(1) * middle.square().sum(1)
    second = centre.square().sum(1) * change.square().sum(1)
    both = 2 * (turn * centre).sum(1) * (change * middle).sum(1)
    # One vector by two pairs of factors (2r, phi / 2): the terms cancel to rounding.
    width = a.features.shape[1] + a.outer.shape[1]
    rounding = width * torch.finfo(first.dtype).eps * (first + second)
    found = first + second + both
    return torch.where(found <= rounding, 0, found)


def points_of(value: Any, name: str, dtype: torch.dtype) -> Points:
    """Points from features (M, d) or from Fisher roots of rank 1.

    Raises ValueError for roots of a higher rank and norms that overflow.
    """
    if hasattr(value, "num_parameters"):
        points = _points_of_roots(value, name, dtype)
    else:
        points = Points(as_tensor(value, name, ("M", "d"), dtype))
    return checked(points, name)


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


def _points_of_roots(roots: FisherRoots, name: str, dtype: torch.dtype) -> Points:
    if roots.rank != 1:
        raise ValueError(
            f"{name} must be features (M, d) or roots of rank 1, got rank {roots.rank}"
        )
    features, outer = roots.held().outer_factors()
    return Points(features.to(dtype), None if outer is None else outer.to(dtype))


class Nearest:
    """Squared distance of each example to the nearest centre, brought up to date late.

    `bound` (M,), in float64, is never below it: a new centre can only be closer. It is
    exact after `refresh`, and then `cluster` (M,) is the nearest centre's number.
    """

    def __init__(self, points: Points, train: Points | None = None) -> None:
        self.points = points
        like: dict = {"device": points.features.device}
        self.bound = torch.full((len(points),), torch.inf, **like).double()
        self.cluster = torch.zeros(len(points), dtype=torch.long, **like)
        self.count = 0
        self.pending: list[int] = []
        train = points[:0] if train is None else train
        for start in range(0, len(train), self._step):
            self._include(train[start : start + self._step])

    @property
    def _step(self) -> int:
        return chunk_step(len(self.points))

    def _include(self, centres: Points) -> None:
        found, which = self.points.distances(centres, self.bound).double().min(1)
        closer = found < self.bound
        self.bound = torch.where(closer, found, self.bound)
        self.cluster = torch.where(closer, which + self.count, self.cluster)
        self.count += len(centres)

    def add(self, index: int) -> None:
        """Make an example a centre."""
        self.pending.append(index)
        self.bound[index] = 0.0

    def refresh(self) -> None:
        """Bring all distances up to date."""
        for start in range(0, len(self.pending), self._step):
            self._include(self.points[self.pending[start : start + self._step]])
        self.pending = []

    def at(self, index: int) -> float:
        """The distance of one example, up to date, as a float."""
        bound = self.bound[[index]]
        if self.pending:
            centres = self.points[self.pending]
            found = self.points[[index]].distances(centres, bound)
            bound = torch.minimum(bound, found.double().amin(1))
        return float(bound)


def k_means_pp(
    features: Any,
    batch_size: int,
    first: str = "norm",
    train_features: Any = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Selection:
    """A batch by D^2 sampling, the seeding of k-means++ (Arthur & Vassilvitskii 2007).

    features: (M, d), or Fisher roots of rank 1. An example is drawn with probability
    proportional to its squared distance to the nearest centre: those chosen and, if
    given, train_features. Without these the first is the one of largest norm, or for
    `first="uniform"` any. gains: the squared distance when chosen (of the first: its
    squared norm). No index comes twice; once all are at distance 0, the lowest
    indices follow, and `notes` says so. Raises ValueError for wrong shapes, non-finite
    values, roots of a higher rank and a batch_size outside 1..M.

    >>> draw = torch.Generator().manual_seed(0)
    >>> k_means_pp([[2.0], [2.0], [0.0]], 2, generator=draw).indices.tolist()
    [0, 2]
    """
    check_choice(first, "first", ("norm", "uniform"))
    points, train = _both(features, train_features, dtype)
    return d2_sampling(points, batch_size, first, train, generator)


def max_dist(
    features: Any,
    batch_size: int,
    train_features: Any = None,
    dtype: torch.dtype = torch.float64,
) -> Selection:
    """A batch by farthest first: greedy k-centre, Core-Set (Sener & Savarese 2018).

    Each choice is the example farthest from all centres: those chosen and, if given,
    train_features, without which the first is the one of largest norm. Ties go to the
    lowest index. features: (M, d), or Fisher roots of rank 1; gains: squared distances
    when chosen. Raises ValueError for wrong shapes, non-finite values, roots of a
    higher rank and a batch_size outside 1..M.

    >>> max_dist([[2.0], [3.0], [0.0]], 2).indices.tolist()
    [1, 2]
    """
    points, train = _both(features, train_features, dtype)
    return _farthest(points, batch_size, train, lambda nearest: nearest.bound)


def lcmd(
    features: Any,
    batch_size: int,
    train_features: Any = None,
    dtype: torch.dtype = torch.float64,
) -> Selection:
    """A batch by largest cluster maximum distance (Holzmueller et al. 2023).

    Each example belongs to its nearest centre. Of the cluster whose squared distances
    have the largest sum, the farthest example is chosen, and is a centre then
    (arXiv:2203.09410, section 4). features: (M, d), or Fisher roots of rank 1; gains:
    squared distances when chosen. Raises ValueError for wrong shapes, non-finite
    values, roots of a higher rank and a batch_size outside 1..M.

    >>> lcmd([[2.0], [3.0], [0.0]], 2).indices.tolist()
    [1, 2]
    """
    points, train = _both(features, train_features, dtype)
    return _farthest(points, batch_size, train, _in_largest_cluster)


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
        if _widths(train) != _widths(points):
            raise ValueError(
                f"train_features must have as many columns as features, "
                f"{_widths(points)}, got {_widths(train)}"
            )
    # An empty training set has no centres, and is none.
    return points, train if train is not None and len(train) else None


def _widths(points: Points) -> tuple[int, ...]:
    outer = () if points.outer is None else (points.outer.shape[1],)
    return (*outer, points.features.shape[1])


def d2_sampling(
    points: Points,
    batch_size: int,
    first: str = "norm",
    train: Points | None = None,
    generator: torch.Generator | None = None,
) -> Selection:
    """`k_means_pp` of points.

    Examples are drawn by a bound u of their squared distance s, and one is accepted
    with probability s / u. The first that is refused brings all bounds up to date, so
    that the next draw is by s itself: the mixture is exactly proportional to s.
    """
    batch_size = checked_batch_size(batch_size, len(points), "features")
    nearest, chosen, gains = Nearest(points, train), [], []
    like: dict = {"device": points.features.device, "generator": generator}
    if train is None:
        start = lowest_best(points.norms)
        if first == "uniform":
            start = int(torch.randint(len(points), (), **like))
        chosen, gains = [start], [float(points.norms[start])]
        nearest.add(start)
        # The first bound is infinite.
        nearest.refresh()
    while len(chosen) < batch_size:
        sums = nearest.bound.cumsum(0)
        if not sums[-1] > 0:
            break
        target, accept = torch.rand(2, dtype=torch.float64, **like)
        # Below the last sum also where the product is rounded up to it.
        target = torch.minimum(target * sums[-1], sums[-1].nextafter(sums[0] * 0))
        index = int(torch.searchsorted(sums, target, right=True))
        apart = nearest.at(index)
        if accept * nearest.bound[index] >= apart:
            nearest.refresh()
            continue
        chosen.append(index)
        gains.append(apart)
        nearest.add(index)
    return completed(chosen, gains, batch_size, nearest.bound)


def _farthest(
    points: Points,
    batch_size: int,
    train: Points | None,
    values: Callable[[Nearest], Tensor],
) -> Selection:
    """Greedy choice of the largest of `values(nearest)`, which may be bounds.

    The largest bound that is up to date is the largest distance: the others can only
    fall. Where it is not, all are brought up to date.
    """
    batch_size = checked_batch_size(batch_size, len(points), "features")
    nearest, chosen, gains = Nearest(points, train), [], []
    if train is None:
        chosen.append(lowest_best(points.norms))
        gains.append(float(points.norms[chosen[0]]))
        nearest.add(chosen[0])
        # The first bound is infinite.
        nearest.refresh()
    while len(chosen) < batch_size:
        found = values(nearest)
        index = lowest_best(found)
        gain = float(found[index])
        if not gain > 0:
            break
        if nearest.at(index) < gain:
            nearest.refresh()
            continue
        chosen.append(index)
        gains.append(gain)
        nearest.add(index)
    return completed(chosen, gains, batch_size, nearest.bound)


def completed(
    chosen: list[int],
    gains: list[float],
    batch_size: int,
    like: Tensor,
    why: str = "lie apart from the centres",
) -> Selection:
    """The Selection, filled with the lowest indices not chosen where it is short."""
    notes: tuple[str, ...] = ()
    short = batch_size - len(chosen)
    if short:
        notes = (
            f"only {len(chosen)} examples {why}: the other {short} are the lowest "
            "indices left",
        )
        left = torch.ones(len(like), dtype=torch.bool)
        left[chosen] = False
        chosen = [*chosen, *left.nonzero()[:short, 0].tolist()]
        gains = [*gains, *[0.0] * short]
    return Selection(
        torch.tensor(chosen, dtype=torch.long, device=like.device),
        torch.tensor(gains, dtype=torch.float64, device=like.device),
        notes,
    )


def lowest_best(values: Tensor, tie: float = _TIE) -> int:
    """Lowest index of a value that is the largest one, up to rounding."""
    top = values.max()
    return int((values >= top - tie * top.abs()).byte().argmax())

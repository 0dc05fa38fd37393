"""Posteriors of another, named precision for sizes that P itself does not allow.

Each is exact about a P of its own: it brings every root to coordinates in which that P
is the identity (or lambda I plus the training roots), and all scores follow from there
without another approximation.
"""

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from fimlib.fisher.approximate import Sketch
from fimlib.fisher.roots import FisherRoots, check_parameters
from fimlib.fisher.streamed import StreamedRoots
from fimlib.posterior.gaussian import GaussianPosterior

Change = Callable[[FisherRoots], Tensor]


class Seen(StreamedRoots):
    """Roots through a change of coordinates, made chunk by chunk: (r, D) to (r, k)."""

    def __init__(self, roots: FisherRoots, change: Change, width: int) -> None:
        self._roots, self._change = roots, change
        self._shape = (len(roots), roots.rank, width)
        self._like = torch.zeros(0, dtype=torch.float64, device=roots.device)

    def __getitem__(self, indices: Any) -> FisherRoots:
        return Seen(self._roots[indices], self._change, self.num_parameters)

    def batches(self, size: int) -> Iterator[FisherRoots]:
        """Consecutive changed roots, of at most `size` examples each, in one pass."""
        for batch in self._roots.batches(size):
            yield Seen(batch, self._change, self.num_parameters)

    def parts(self) -> Iterator[FisherRoots]:
        """Consecutive changed roots, a chunk at a time."""
        for part in self._roots.chunks():
            yield FisherRoots(self._change(part))


class _Approximation(GaussianPosterior):
    """What the approximations share: a change of coordinates and a log det P."""

    # R (M, r, D) in the coordinates in which P is simple, (M, r, k).
    change: Change

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments)
        # What the approximation is made with, again at each update.
        self._options = options
        # The number k of coordinates in which P is simple.
        self.width = self.num_parameters

    def update(self, roots: FisherRoots) -> GaussianPosterior:
        """The posterior after these examples too: the approximation made anew."""
        check_parameters(roots, "roots", self.num_parameters, "the posterior")
        arguments = self.num_parameters, self.prior_precision
        return type(self)(*arguments, (*self.train_roots, roots), **self._options)

    @property
    def basis(self) -> None:
        """None: an approximation is made in all the parameters."""
        return None

    @property
    def precision(self) -> NoReturn:
        """Refused: the approximation stands for a P that is not held."""
        raise ValueError(
            f"precision must be asked of an exact posterior, got the "
            f"{self.approximation} approximation"
        )

    covariance = precision
    root_inverse = precision

    def shared(self, *roots: FisherRoots) -> tuple:
        """The exact posterior in the changed coordinates, and the roots in them."""
        return self.inner, *(Seen(one, self.change, self.width) for one in roots)

    @cached_property
    def inner(self) -> GaussianPosterior:
        """The exact posterior in the changed coordinates."""
        return GaussianPosterior.isotropic(self.width, 1.0)


class DiagonalPosterior(_Approximation, approximation="diagonal"):
    """P = lambda I + the diagonal of sum F_i: parameters taken as independent.

    >>> train = FisherRoots.from_dense([[3.0, 4.0]])
    >>> GaussianPosterior.from_roots(train, 1.0, "diagonal").diagonal.tolist()
    [10.0, 17.0]
    """

    @cached_property
    def diagonal(self) -> Tensor:
        """The diagonal of P, (D,)."""
        none = torch.zeros(self.num_parameters).double().to(self.device)
        sums = [roots.diagonal_sum() for roots in self.train_roots]
        return sum(sums, none + self.prior_precision)

    def change(self, part: FisherRoots) -> Tensor:
        """R P^{-1/2}, (M, r, D)."""
        return part.dense().double() * self.diagonal.rsqrt().to(part.device)

    @property
    def log_det_precision(self) -> Tensor:
        """log det of the diagonal P, ()."""
        return self.diagonal.log().sum()


class KroneckerPosterior(_Approximation, approximation="kronecker"):
    """P = lambda I + A (x) B / N for last-layer roots U_i^T (x) phi_i^T.

    A = sum U_i U_i^T (C, C) and B = sum phi_i phi_i^T (q, q): the outputs' information
    and the features are taken as independent, and lambda is added exactly. Raises
    ValueError for other roots.
    """

    @cached_property
    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvectors of A and B, and the eigenvalues of P as (C, q)."""
        count = sum(len(roots) for roots in self.train_roots)
        if not count:
            raise ValueError(
                "train_roots must hold at least one example for the kronecker "
                "approximation, got 0"
            )
        sums = [roots.kronecker_sums() for roots in self.train_roots if len(roots)]
        a, b = (sum(same) for same in zip(*sums, strict=True))
        (p, vectors_a), (q, vectors_b) = torch.linalg.eigh(a), torch.linalg.eigh(b)
        values = p.clamp(min=0.0)[:, None] * q.clamp(min=0.0) / count
        return vectors_a, vectors_b, values + self.prior_precision

    def change(self, part: FisherRoots) -> Tensor:
        """R P^{-1/2} in the eigenvectors' coordinates, (M, r, D)."""
        left, right, values = (one.to(part.device) for one in self.factors)
        rows = part.dense().double().unflatten(2, values.shape)
        rows = left.mT @ (rows @ right)
        return (rows * values.rsqrt()).flatten(2)

    @property
    def log_det_precision(self) -> Tensor:
        """log det of the Kronecker-factored P, ()."""
        return self.factors[2].log().sum()


class SketchPosterior(_Approximation, approximation="sketch"):
    """P = lambda I + sum F_i in `size` random combinations of the parameters.

    options: those of `fimlib.fisher.Sketch`, and the `seed` of its generator. A sketch
    keeps the expectation of inner products of roots, with a standard deviation of about
    their norms' product / sqrt(size); every score is exact in the sketched parameters.
    """

    def __init__(self, *arguments: Any, seed: int = 0, **options: Any) -> None:
        super().__init__(*arguments, seed=seed, **options)
        generator = torch.Generator().manual_seed(seed)
        self.sketch = Sketch(self.num_parameters, generator=generator, **options)
        self.width = self.sketch.size

    def change(self, part: FisherRoots) -> Tensor:
        """The sketched roots (M, r, size)."""
        return self.sketch(part).dense().double()

    @cached_property
    def inner(self) -> GaussianPosterior:
        """The exact posterior in the sketched parameters."""
        roots = [Seen(one, self.change, self.width).held() for one in self.train_roots]
        return GaussianPosterior(self.width, self.prior_precision, roots)

    @property
    def log_det_precision(self) -> Tensor:
        """log det P with the sketched information, the other directions' lambda, ()."""
        left_out = self.num_parameters - self.width
        return self.inner.log_det_precision + left_out * math.log(self.prior_precision)

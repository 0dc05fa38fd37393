"""Gaussian (Laplace) posteriors by their precision P = prior + sum of F_i (T10-T12)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib import linalg
from fimlib._checks import as_tensor, check_choice, positive_float, positive_int
from fimlib.fisher.kronecker import embed
from fimlib.fisher.roots import BATCH, FisherRoots, check_parameters
from fimlib.posterior import frame
from fimlib.posterior.dense import DensePrecision


class GaussianPosterior:
    """The posterior N(theta*, P^{-1}) of D parameters, held in float64.

    P is the prior precision (a number lambda, for lambda I, or a (D, D) matrix) plus
    the Fisher information of the training roots. Make one with `from_roots` or
    `isotropic`.

    >>> train = FisherRoots.from_dense([[3.0, 0.0]])
    >>> post = GaussianPosterior.from_roots(train, prior_precision=1.0)
    >>> post.precision.tolist()
    [[10.0, 0.0], [0.0, 1.0]]
    >>> round(post.update(train).log_det_precision.exp().item(), 9)
    19.0
    """

    approximation: str | None = None
    _approximations: ClassVar[dict] = {}

    def __init_subclass__(cls, approximation: str | None = None) -> None:
        super().__init_subclass__()
        if approximation is not None:
            cls.approximation = approximation
            GaussianPosterior._approximations[approximation] = cls

    def __init__(
        self, num_parameters: int, prior_precision: Any, train_roots: Sequence = ()
    ) -> None:
        self.num_parameters = num_parameters
        self.prior_precision = prior_precision
        self.train_roots: tuple[FisherRoots, ...] = tuple(train_roots)
        self._start: tuple | None = None
        # `frame.base_of` by the way, where nothing is evaluated.
        self.bases: dict[str, tuple] = {}

    @classmethod
    def from_roots(
        cls,
        train_roots: FisherRoots,
        prior_precision: ArrayLike = 1.0,
        approximation: str | None = None,
        **options: Any,
    ) -> GaussianPosterior:
        """Return the posterior after train_roots (M, r, D) (may be none, M = 0).

        prior_precision: lambda > 0, or a symmetric positive definite (D, D) matrix.
        approximation: None, or "kronecker", "diagonal" or "sketch" (options: `size`,
        `kind` and `seed`): another, named P, for sizes that P does not allow.

        Raises:
            ValueError: for another prior, or a matrix with an approximation.

        >>> train = FisherRoots.from_dense([[3.0, 4.0]])
        >>> post = GaussianPosterior.from_roots(train, 2.0, "diagonal")
        >>> round(post.log_det_precision.exp().item(), 9)
        198.0
        """
        size = train_roots.num_parameters
        prior: Any = prior_precision
        if getattr(prior, "ndim", 0) == 0:
            prior = positive_float(prior, "prior_precision")
        else:
            prior = as_tensor(prior, "prior_precision", (size, size), copy=True)
            linalg.cholesky(prior, "prior_precision")
        if approximation is not None:
            check_choice(approximation, "approximation", tuple(cls._approximations))
            if not isinstance(prior, float):
                raise ValueError(
                    "prior_precision must be a number for an approximation, got a "
                    f"matrix of shape {tuple(prior.shape)}"
                )
            cls = cls._approximations[approximation]
        return cls(size, prior, (train_roots,), **options)

    @classmethod
    def isotropic(cls, num_parameters: int, prior_precision: float) -> Self:
        """Return P = lambda I, "uninformative", of any num_parameters D (T32).

        Raises ValueError for a prior_precision lambda <= 0.

        >>> GaussianPosterior.isotropic(2, 3.0).precision.tolist()
        [[3.0, 0.0], [0.0, 3.0]]
        """
        size = positive_int(num_parameters, "num_parameters")
        return cls(size, positive_float(prior_precision, "prior_precision"))

    def __repr__(self) -> str:
        count = sum(len(roots) for roots in self.train_roots)
        prior = self.prior_precision
        prior = f"{prior:.6g}" if isinstance(prior, float) else "a matrix"
        kind = "" if self.approximation is None else f", {self.approximation} P"
        return (
            f"GaussianPosterior({self.num_parameters} parameters, prior precision "
            f"{prior}, {count} training examples{kind})"
        )

    def update(self, roots: FisherRoots) -> GaussianPosterior:
        """Return the posterior after roots (M, r, D) too, at one theta* (T11, T12).

        What is known of a large P is carried over: its inverse changes by the rows of
        the roots alone, so that a greedy step costs r products with a D x D matrix.

        >>> one = FisherRoots.from_dense([[1.0]])
        >>> GaussianPosterior.isotropic(1, 1.0).update(one).precision.item()
        2.0
        """
        check_parameters(roots, "roots", self.num_parameters, "the posterior")
        roots_now = (*self.train_roots, roots)
        new = GaussianPosterior(self.num_parameters, self.prior_precision, roots_now)
        known = self.__dict__
        if "precision" in known:
            added = roots.fisher_sum().to(self.precision.device)
            new.__dict__["precision"] = self.precision + added
        if "_dense" in known:
            new._start = (self._dense, (roots,))
        elif self._start is not None:
            new._start = (self._start[0], (*self._start[1], roots))
        if "_reduced" in known and new.basis is not None:
            new.__dict__["_reduced"] = self._reduced.update(roots.reduced())
        return new

    @cached_property
    def precision(self) -> Tensor:
        """P (D, D). Raises ValueError above 20,000 parameters."""
        self._check_dense("precision")
        if isinstance(self.prior_precision, float):
            size = self.num_parameters
            total = torch.zeros(size, size, dtype=torch.float64, device=self.device)
            total.diagonal().fill_(self.prior_precision)
        else:
            total = self.prior_precision.to(self.device, copy=True)
        for roots in self.train_roots:
            total += roots.fisher_sum()
        return total

    @cached_property
    def covariance(self) -> Tensor:
        """Sigma = P^{-1} (D, D). Raises ValueError above 20,000 parameters."""
        self._check_dense("covariance")
        if self.basis is None:
            return self._dense.covariance
        basis = self.basis.to(self.device)
        inner = embed(self.reduced().covariance, basis)
        rest = torch.eye(len(basis)).to(basis) - basis @ basis.mT
        eye = torch.eye(self.num_parameters // len(basis)).to(basis)
        return inner + torch.kron(rest / self.prior_precision, eye)

    @cached_property
    def log_det_precision(self) -> Tensor:
        """log det P, (), in the smaller of the two dimensions."""
        prior = self.prior_precision
        if self.is_isotropic:
            value = self.num_parameters * math.log(prior)
            return torch.tensor(value, dtype=torch.float64)
        if self.basis is not None:
            inner = self.reduced()
            left_out = self.num_parameters - inner.num_parameters
            return inner.log_det_precision + left_out * math.log(prior)
        way = frame.way_of(self, None, ())
        if way == "parameters":
            return self._dense.log_det
        return frame.base_of(self, way, ())[2] + self.num_parameters * math.log(prior)

    def entropy(self) -> Tensor:
        """Return H[Theta] = D/2 log(2 pi e) - 1/2 log det P in nats, () (T5, T10).

        >>> GaussianPosterior.isotropic(1, 2 * math.pi * math.e).entropy().item()
        0.0
        """
        constant = self.num_parameters * math.log(2 * math.pi * math.e)
        return (constant - self.log_det_precision) / 2

    def gram(self, roots: FisherRoots) -> Tensor:
        """Return Gram blocks R_i P^{-1} R_i^T (M, r, r) of roots (M, r, D) (T21).

        >>> post = GaussianPosterior.isotropic(1, 2.0)
        >>> post.gram(FisherRoots.from_dense([[3.0]])).item()
        4.5
        """
        check_parameters(roots, "roots", self.num_parameters, "the posterior")
        post, roots = self.shared(roots)
        found = frame.frame_of(post, roots)
        grams = [torch.zeros(0, roots.rank, roots.rank).double().to(roots.device)]
        for part in roots.batches(BATCH):
            grams += [few for (few,) in found.grams(part, frame.POSTERIOR)]
        return torch.cat(grams)

    @property
    def is_isotropic(self) -> bool:
        """Whether P = lambda I."""
        return isinstance(self.prior_precision, float) and not self.train_roots

    @property
    def device(self) -> torch.device:
        """The device of the training roots (or of the prior's matrix)."""
        if self.train_roots:
            return self.train_roots[0].device
        return getattr(self.prior_precision, "device", torch.device("cpu"))

    @property
    def basis(self) -> Tensor | None:
        """The basis all training roots share, outside of which P is the prior's."""
        return _common_basis(self.prior_precision, self.train_roots)

    def reduced(self) -> GaussianPosterior:
        """This posterior in the coordinates of its basis (itself without one)."""
        return self if self.basis is None else self._reduced

    @cached_property
    def _reduced(self) -> GaussianPosterior:
        roots = [part.reduced() for part in self.train_roots]
        size = roots[0].num_parameters
        return GaussianPosterior(size, self.prior_precision, roots)

    @cached_property
    def _dense(self) -> DensePrecision:
        self._check_dense("root_inverse")
        if self._start is None or frame.rows_are_cheap(self):
            return frame.precision_of(self)
        state, added = self._start
        for roots in added:
            state = state.updated(roots.rows())
        return state

    @property
    def root_inverse(self) -> Tensor:
        """X (D, D) with X X^T = P^{-1}. Raises ValueError above 20,000 parameters."""
        return self._dense.inverse_root

    def train_rows(self) -> Tensor:
        """All rows (N r, D) of the training roots, in float64."""
        none = torch.zeros(0, self.num_parameters, dtype=torch.float64)
        rows = [one.rows().to(self.device) for one in self.train_roots]
        return torch.cat([none.to(self.device), *rows])

    def shared(self, *roots: FisherRoots) -> tuple:
        """The posterior and roots in the smallest coordinates that hold them all."""
        # Where all lie in one basis, a determinant over all D parameters is the one
        # over the basis: the directions left out know the prior only.
        if _common_basis(self.prior_precision, (*self.train_roots, *roots)) is None:
            return self, *roots
        roots = tuple(part.reduced() for part in roots)
        if self.train_roots:
            return self.reduced(), *roots
        size = roots[0].num_parameters
        return GaussianPosterior.isotropic(size, self.prior_precision), *roots

    def _check_dense(self, what: str) -> None:
        size = self.num_parameters
        if size > frame.MAX_DENSE:
            raise ValueError(
                f"{what} is dense and must have at most {frame.MAX_DENSE} parameters, "
                f"got {size}: it would take {8e-9 * size**2:.1f} GB"
            )


def _common_basis(prior: Any, roots: Sequence[FisherRoots]) -> Tensor | None:
    """The basis that all these roots have, under lambda I, if they have one."""
    bases = [one.basis for one in roots]
    if not isinstance(prior, float) or not bases or any(one is None for one in bases):
        return None
    first, *others = [one.cpu() for one in bases if one is not None]
    return bases[0] if all(torch.equal(first, one) for one in others) else None

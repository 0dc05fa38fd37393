"""Gaussian (Laplace) posteriors by their precision P = prior + sum of F_i (T10-T12)."""

import math
from functools import cached_property
from typing import ClassVar

import torch

from fimlib import linalg
from fimlib._checks import as_tensor, check_choice, positive_float, positive_int
from fimlib.fisher import embed
from fimlib.posterior import dense, frame
from fimlib.posterior.span import BATCH, stacked


class GaussianPosterior:
    """The posterior N(theta*, P^{-1}) of D parameters, held in float64.

    P is the prior precision (a number lambda, for lambda I, or a (D, D) matrix) plus
    the Fisher information of the training roots. Make one with `from_roots` or
    `isotropic`.
    """

    approximation = None
    _approximations: ClassVar[dict] = {}

    def __init_subclass__(cls, approximation=None):
        super().__init_subclass__()
        if approximation is not None:
            cls.approximation = approximation
            GaussianPosterior._approximations[approximation] = cls

    def __init__(self, num_parameters, prior_precision, train_roots=()):
        self.num_parameters = num_parameters
        self.prior_precision = prior_precision
        self.train_roots = tuple(train_roots)
        self._start = None
        self._spans = {}

    @classmethod
    def from_roots(
        cls, train_roots, prior_precision=1.0, approximation=None, **options
    ):
        """Posterior after the training examples with these roots (may be none, M = 0).

        prior_precision: lambda > 0, or a symmetric positive definite (D, D) matrix.
        approximation: None for P itself, or "kronecker", "diagonal" or "sketch" (with
        `size` and `seed`): another, named P, for sizes that P itself does not allow.
        Raises ValueError for lambda <= 0 and, with the smallest eigenvalue, for a
        matrix that is not positive definite.
        """
        num_parameters = train_roots.num_parameters
        prior = _checked_prior(prior_precision, num_parameters)
        if approximation is not None:
            check_choice(approximation, "approximation", tuple(cls._approximations))
            if not isinstance(prior, float):
                raise ValueError(
                    "prior_precision must be a number for an approximation, got a "
                    f"matrix of shape {tuple(prior.shape)}"
                )
            cls = cls._approximations[approximation]
        return cls(num_parameters, prior, (train_roots,), **options)

    @classmethod
    def isotropic(cls, num_parameters, prior_precision):
        """The "uninformative" posterior P = lambda I, of any size (T32)."""
        num_parameters = positive_int(num_parameters, "num_parameters")
        return cls(num_parameters, positive_float(prior_precision, "prior_precision"))

    def __repr__(self):
        count = sum(len(roots) for roots in self.train_roots)
        prior = self.prior_precision
        prior = f"{prior:.6g}" if isinstance(prior, float) else "a matrix"
        kind = "" if self.approximation is None else f", {self.approximation} P"
        return (
            f"GaussianPosterior({self.num_parameters} parameters, prior precision "
            f"{prior}, {count} training examples{kind})"
        )

    def update(self, roots):
        """The posterior after these examples too, at the same theta* (T11, T12).

        What is known of a large P is carried over: its inverse changes by the rows of
        the roots alone, so that a greedy step costs r products with a D x D matrix.
        """
        self._check_roots(roots)
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
    def precision(self):
        """P (D, D). Raises ValueError above 20,000 parameters."""
        self._check_dense("precision")
        if isinstance(self.prior_precision, float):
            total = torch.zeros(
                self.num_parameters,
                self.num_parameters,
                dtype=torch.float64,
                device=self.device,
            )
            total.diagonal().fill_(self.prior_precision)
        else:
            total = self.prior_precision.to(self.device, copy=True)
        for roots in self.train_roots:
            total += roots.fisher_sum()
        return total

    @cached_property
    def covariance(self):
        """Sigma = P^{-1} (D, D). Raises ValueError above 20,000 parameters."""
        self._check_dense("covariance")
        if self.basis is None:
            return self._dense.covariance
        basis = self.basis.to(self.device)
        inner = embed(self.reduced().covariance, basis)
        rest = torch.eye(len(basis), dtype=basis.dtype, device=basis.device)
        rest = (rest - basis @ basis.mT) / self.prior_precision
        width = self.num_parameters // len(basis)
        return inner + torch.kron(
            rest, torch.eye(width, dtype=rest.dtype, device=rest.device)
        )

    @cached_property
    def log_det_precision(self):
        """log det P, (), in the smaller of the two dimensions."""
        prior = self.prior_precision
        if self.is_isotropic:
            value = self.num_parameters * math.log(prior)
            return torch.tensor(value, dtype=torch.float64)
        if self.basis is not None:
            inner = self.reduced()
            left_out = self.num_parameters - inner.num_parameters
            return inner.log_det_precision + left_out * math.log(prior)
        kind = frame.kind_of(self, None, ())
        if kind == "dense":
            return self._dense.log_det
        return self.span_base(kind)[2] + self.num_parameters * math.log(prior)

    def entropy(self):
        """H[Theta] = D/2 log(2 pi e) - 1/2 log det P in nats, () (T5, T10)."""
        constant = self.num_parameters * math.log(2 * math.pi * math.e)
        return (constant - self.log_det_precision) / 2

    def gram(self, roots):
        """Gram blocks R_i P^{-1} R_i^T (M, r, r): all that the EIG needs (T21)."""
        self._check_roots(roots)
        post, roots = shared_coordinates(self, roots)
        found = frame.frame_of(post, roots)
        grams = [torch.zeros(0, roots.rank, roots.rank).double().to(roots.device)]
        for part in roots.batches(BATCH):
            grams.extend(found.grams(part))
        return torch.cat(grams)

    @property
    def is_isotropic(self):
        """Whether P = lambda I."""
        return isinstance(self.prior_precision, float) and not self.train_roots

    @property
    def device(self):
        """The device of the training roots (or of the prior's matrix)."""
        if self.train_roots:
            return self.train_roots[0].device
        return getattr(self.prior_precision, "device", torch.device("cpu"))

    @property
    def basis(self):
        """The basis all training roots share, outside of which P is the prior's."""
        if not isinstance(self.prior_precision, float) or not self.train_roots:
            return None
        first = self.train_roots[0]
        same = all(_same_basis(first, roots) for roots in self.train_roots)
        return first.basis if same else None

    def reduced(self):
        """This posterior in the coordinates of its basis (itself without one)."""
        return self if self.basis is None else self._reduced

    @cached_property
    def _reduced(self):
        roots = [part.reduced() for part in self.train_roots]
        size = roots[0].num_parameters
        return GaussianPosterior(size, self.prior_precision, roots)

    @cached_property
    def _dense(self):
        self._check_dense("root_inverse")
        if self._start is None or dense.rows_are_cheap(self):
            return dense.dense_precision(self)
        state, added = self._start
        for roots in added:
            state = state.updated(stacked(roots))
        return state

    @property
    def root_inverse(self):
        """X (D, D) with X X^T = P^{-1}. Raises ValueError above 20,000 parameters."""
        return self._dense.inverse_root

    def span_base(self, kind, evals=()):
        """`frame.span_base` of this posterior, kept where nothing is evaluated."""
        if evals:
            return frame.span_base(self, kind, evals)
        if kind not in self._spans:
            self._spans[kind] = frame.span_base(self, kind, ())
        return self._spans[kind]

    def _check_roots(self, roots):
        if roots.num_parameters != self.num_parameters:
            raise ValueError(
                f"roots must have {self.num_parameters} parameters, as the posterior "
                f"has, got {roots.num_parameters}"
            )

    def _check_dense(self, what):
        size = self.num_parameters
        if size > frame.MAX_DENSE:
            raise ValueError(
                f"{what} is dense and must have at most {frame.MAX_DENSE} parameters, "
                f"got {size}: it would take {8e-9 * size**2:.1f} GB"
            )


def shared_coordinates(post, *roots):
    """The posterior and roots in the smallest coordinates that hold them all.

    Where all lie in the same basis, a determinant over all D parameters is the one
    over the basis: the directions left out know the prior only.
    """
    if post.approximation is not None:
        return post.seen(*roots)
    bases = [*post.train_roots, *roots]
    if not isinstance(post.prior_precision, float) or bases[0].basis is None:
        return post, *roots
    if not all(_same_basis(bases[0], other) for other in bases):
        return post, *roots
    inner = post.reduced()
    if not post.train_roots:
        inner = GaussianPosterior.isotropic(
            roots[0].reduced().num_parameters, post.prior_precision
        )
    return inner, *(part.reduced() for part in roots)


def _checked_prior(prior_precision, num_parameters):
    if getattr(prior_precision, "ndim", 0) == 0:
        return positive_float(prior_precision, "prior_precision")
    shape = (num_parameters,) * 2
    prior = as_tensor(prior_precision, "prior_precision", shape, copy=True)
    linalg.cholesky(prior, "prior_precision")
    return prior


def _same_basis(first, other):
    if first.basis is None or other.basis is None:
        return first.basis is other.basis
    return first.basis.shape == other.basis.shape and torch.equal(
        first.basis.cpu(), other.basis.cpu()
    )

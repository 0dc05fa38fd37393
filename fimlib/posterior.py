"""Gaussian (Laplace) posteriors by their precision P = prior + sum of F_i (T10-T12)."""

import math
from functools import cached_property

import torch
from scipy.optimize import brentq

from fimlib import linalg
from fimlib._checks import as_tensor, check_count, positive_float, positive_int
from fimlib.fisher import KroneckerRoots, embed

# Past this many parameters the dense matrices are refused.
MAX_DENSE = 20_000
# Work (rows x D x D) up to which a factor comes from the roots themselves, by QR: it
# keeps twice the digits of the sum of F_i, and costs more.
EXACT_WORK = 10**9


class GaussianPosterior:
    """The posterior N(theta*, P^{-1}) of D parameters, held in float64.

    P is the prior precision (a number lambda, for lambda I, or a (D, D) matrix) plus
    the Fisher information of the training roots. Make one with `from_roots` or
    `isotropic`.
    """

    def __init__(self, num_parameters, prior_precision, train_roots=()):
        self.num_parameters = num_parameters
        self.prior_precision = prior_precision
        self.train_roots = tuple(train_roots)

    @classmethod
    def from_roots(cls, train_roots, prior_precision=1.0):
        """Posterior after the training examples with these roots (may be none, M = 0).

        prior_precision: lambda > 0, or a symmetric positive definite (D, D) matrix.
        Raises ValueError for lambda <= 0 and, with the smallest eigenvalue, for a
        matrix that is not positive definite.
        """
        num_parameters = train_roots.num_parameters
        prior = _checked_prior(prior_precision, num_parameters)
        return cls(num_parameters, prior, (train_roots,))

    @classmethod
    def isotropic(cls, num_parameters, prior_precision):
        """The "uninformative" posterior P = lambda I, of any size (T32)."""
        num_parameters = positive_int(num_parameters, "num_parameters")
        return cls(num_parameters, positive_float(prior_precision, "prior_precision"))

    def __repr__(self):
        count = sum(len(roots) for roots in self.train_roots)
        prior = self.prior_precision
        prior = f"{prior:.6g}" if isinstance(prior, float) else "a matrix"
        return (
            f"GaussianPosterior({self.num_parameters} parameters, prior precision "
            f"{prior}, {count} training examples)"
        )

    def update(self, roots):
        """The posterior after these examples too, at the same theta* (T11, T12)."""
        self._check_roots(roots)
        roots_now = (*self.train_roots, roots)
        new = GaussianPosterior(self.num_parameters, self.prior_precision, roots_now)
        if "precision" in self.__dict__:
            added = roots.fisher_sum().to(self.precision.device)
            new.__dict__["precision"] = self.precision + added
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
            return torch.cholesky_inverse(self.root, upper=True)
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
        """log det P, ()."""
        if self.is_isotropic:
            value = self.num_parameters * math.log(self.prior_precision)
            return torch.tensor(value, dtype=torch.float64)
        if self.basis is None:
            return 2.0 * self.root.diagonal().abs().log().sum()
        inner = self.reduced()
        left_out = self.num_parameters - inner.num_parameters
        return inner.log_det_precision + left_out * math.log(self.prior_precision)

    def entropy(self):
        """H[Theta] = D/2 log(2 pi e) - 1/2 log det P in nats, () (T5, T10)."""
        constant = self.num_parameters * math.log(2 * math.pi * math.e)
        return (constant - self.log_det_precision) / 2

    def gram(self, roots):
        """Gram blocks R_i P^{-1} R_i^T (M, r, r): all that the EIG needs (T21)."""
        self._check_roots(roots)
        if self.is_isotropic:
            return roots.self_gram().double() / self.prior_precision
        post, roots = shared_coordinates(self, roots)
        if not by_rows(roots):
            return roots.gram_of_symmetric(post.covariance).double()
        grams = [roots.self_gram()[:0].double()]
        for part in roots.chunks():
            rows = part.project(post.root_inverse).double()
            grams.append(rows @ rows.mT)
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
    def root(self):
        """Upper triangular C (D, D) with C^T C = P."""
        self._check_dense("root")
        rows = sum(len(part) * part.rank for part in self.train_roots)
        work = (rows + self.num_parameters) * self.num_parameters**2
        if work > EXACT_WORK:
            return linalg.cholesky_of_symmetric(self.precision, "precision").mT
        stack = [part.dense().double().flatten(0, 1) for part in self.train_roots]
        return torch.linalg.qr(torch.cat([self._prior_root(), *stack]), mode="r")[1]

    @cached_property
    def root_inverse(self):
        """Upper triangular C^{-1} (D, D): its product with its transpose is P^{-1}."""
        return torch.linalg.solve_triangular(
            self.root, torch.eye(len(self.root)).to(self.root), upper=True
        )

    def _prior_root(self):
        if isinstance(self.prior_precision, float):
            eye = torch.eye(self.num_parameters, dtype=torch.float64)
            return math.sqrt(self.prior_precision) * eye.to(self.device)
        return linalg.cholesky(self.prior_precision, "prior_precision").mT

    def _check_roots(self, roots):
        if roots.num_parameters != self.num_parameters:
            raise ValueError(
                f"roots must have {self.num_parameters} parameters, as the posterior "
                f"has, got {roots.num_parameters}"
            )

    def _check_dense(self, what):
        size = self.num_parameters
        if size > MAX_DENSE:
            raise ValueError(
                f"{what} is dense and must have at most {MAX_DENSE} parameters, got "
                f"{size}: it would take {8e-9 * size**2:.1f} GB"
            )


def shared_coordinates(post, *roots):
    """The posterior and roots in the smallest coordinates that hold them all.

    Where all lie in the same basis, a determinant over all D parameters is the one
    over the basis: the directions left out know the prior only.
    """
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


def by_rows(roots):
    """Whether products R_i X are affordable one by one.

    They keep twice the digits of Gram blocks against a D x D matrix, which cost
    Kronecker roots far less.
    """
    work = len(roots) * roots.rank * roots.num_parameters**2
    return work <= EXACT_WORK or not isinstance(roots, KroneckerRoots)


def marglik_precision(train_roots, theta_star):
    """Scalar prior precision that maximises the Laplace marginal likelihood, a float.

    theta_star (D,) are the fitted parameters, in the roots' order. The maximum is the
    only root of delta (theta*)^T theta* = sum_i l_i / (l_i + delta) over the
    eigenvalues l_i of the training Fisher information. Raises ValueError when there is none: theta* = 0
    (delta would be infinite) or no information at all (delta would be 0).
    """
    theta_star = as_tensor(theta_star, "theta_star", (train_roots.num_parameters,))
    check_count(len(train_roots), "train_roots")
    squared_norm = float(theta_star.square().sum())
    if squared_norm == 0.0:
        raise ValueError(
            "theta_star must not be zero: the marginal likelihood then grows with the "
            "prior precision without end"
        )
    eigenvalues = _fisher_eigenvalues(train_roots)
    if len(eigenvalues) == 0:
        raise ValueError(
            "train_roots must carry information, got a zero Fisher information: the "
            "marginal likelihood then has its maximum at prior precision 0"
        )

    def excess(log_delta):
        delta = math.exp(log_delta)
        shares = eigenvalues / (eigenvalues + delta)
        return delta * squared_norm - float(shares.sum())

    # One eigenvalue alone gives a lower end in closed form; the rank an upper end.
    largest = float(eigenvalues.max())
    low = (2 / squared_norm) / (1 + math.sqrt(1 + 4 / (largest * squared_norm)))
    high = len(eigenvalues) / squared_norm
    return math.exp(brentq(excess, math.log(low) - 1, math.log(high) + 1, xtol=1e-14))


def _fisher_eigenvalues(roots):
    """Positive eigenvalues of the sum of F_i, without those that are rounding."""
    roots = roots.reduced()
    count = len(roots) * roots.rank
    if count < roots.num_parameters:
        matrix = roots.cross(roots).double().reshape(count, count)
    else:
        matrix = roots.fisher_sum()
    values = torch.linalg.eigvalsh(matrix)
    floor = len(values) * torch.finfo(torch.float64).eps * values.max()
    return values[values > floor.clamp(min=0.0)]


def _checked_prior(prior_precision, num_parameters):
    if getattr(prior_precision, "ndim", 0) == 0:
        return positive_float(prior_precision, "prior_precision")
    prior = as_tensor(prior_precision, "prior_precision", (num_parameters,) * 2)
    linalg.cholesky(prior, "prior_precision")
    return prior


def _same_basis(first, other):
    if first.basis is None or other.basis is None:
        return first.basis is other.basis
    return first.basis.shape == other.basis.shape and torch.equal(
        first.basis.cpu(), other.basis.cpu()
    )

"""The posterior precision as a D x D matrix: its inverse, its root, its updates."""

import math
from functools import cached_property

import torch

from fimlib import linalg
from fimlib.posterior.span import (
    EPS,
    num_rows,
    squared_singular,
    stacked,
    warn_if_inaccurate,
)

# Work (multiplications) up to which everything is done on the rows themselves: it
# keeps twice the digits of sums and Gram matrices of them, and costs more.
EXACT_WORK = 10**9
# How much more is spent on rows when a sum would lose half its digits.
_RESCUE = 30


class DensePrecision:
    """P (D, D) by its Cholesky factor or by X with X X^T = P^{-1}; log det P, ()."""

    def __init__(self, log_det, factor=None, inverse_root=None):
        self.log_det = log_det
        if factor is not None:
            self.factor = factor
        else:
            self.inverse_root = inverse_root

    @cached_property
    def inverse_root(self):
        """X (D, D) with X X^T = P^{-1}."""
        eye = torch.eye(len(self.factor)).to(self.factor)
        return torch.linalg.solve_triangular(self.factor, eye, upper=False).mT

    @cached_property
    def covariance(self):
        """P^{-1} (D, D)."""
        if "factor" in self.__dict__:
            return torch.cholesky_inverse(self.factor)
        return self.inverse_root @ self.inverse_root.mT

    def updated(self, rows):
        """The same after P gains R^T R, R (k, D), by thin products with X.

        X' = X (I + Z^T Z)^{-1/2} with Z = R X: a contraction, so errors do not grow.
        """
        x = self.inverse_root
        _, singular, vectors = torch.linalg.svd(rows.to(x) @ x, full_matrices=False)
        squares = singular.square()
        grown = 1.0 + squares
        directions = x @ vectors.mT
        # 1 - 1/sqrt(1 + s^2) without cancellation.
        shrink = squares / (grown.sqrt() * (1.0 + grown.sqrt()))
        new = DensePrecision(
            self.log_det + torch.log1p(squares).sum(),
            inverse_root=x - directions * shrink @ vectors,
        )
        if "covariance" in self.__dict__:
            lost = directions * (squares / grown).sqrt()
            new.covariance = self.covariance - lost @ lost.mT
        return new


def rows_are_cheap(post):
    """Whether P may be factored from the rows of its training roots."""
    return _work(post) <= EXACT_WORK


def _work(post):
    rows = num_rows(*post.train_roots) + post.num_parameters
    return rows * post.num_parameters**2


def dense_precision(post):
    """P's factors: by rows where that is affordable, or needed for the digits."""
    if rows_are_cheap(post):
        return _by_rows(post)
    precision = post.precision
    factor, info = torch.linalg.cholesky_ex(precision)
    rescue = _work(post) <= _RESCUE * EXACT_WORK
    if info == 0:
        error = 100 * EPS * _condition(post, factor)
        if error <= 1e-6 or not rescue:
            warn_if_inaccurate(error)
            return DensePrecision(2.0 * factor.diagonal().log().sum(), factor)
    if not rescue:
        linalg.cholesky_of_symmetric(precision, "precision")
    return _by_rows(post)


def _condition(post, factor):
    """A bound of cond(P) where that is small enough, else an estimate."""
    if isinstance(post.prior_precision, float):
        bound = float(post.precision.trace()) / post.prior_precision
        if 100 * EPS * bound <= 1e-6:
            return bound
    return linalg.condition_number(factor)


def _by_rows(post):
    """From singular values of the stacked roots, which keep what their sum loses."""
    prior, whitener = post.prior_precision, None
    none = torch.zeros(0, post.num_parameters, dtype=torch.float64, device=post.device)
    rows = torch.cat([none, *(stacked(one).to(none) for one in post.train_roots)])
    if not isinstance(prior, float):
        factor = linalg.cholesky(prior.to(post.device), "prior_precision")
        eye = torch.eye(len(factor)).to(factor)
        whitener = torch.linalg.solve_triangular(factor, eye, upper=False).mT
        rows, prior = rows @ whitener, 1.0
    values, vectors = squared_singular(rows)
    precision = values + prior
    warn_if_inaccurate(100 * EPS * math.sqrt(precision.max() / precision.min()))
    inverse, log_det = vectors / precision.sqrt(), precision.log().sum()
    if whitener is not None:
        inverse = whitener @ inverse
        log_det = log_det + 2.0 * factor.diagonal().log().sum()
    return DensePrecision(log_det, inverse_root=inverse)


def symmetric_ratio(inverse_root, roots):
    """X^T F X with X X^T = P^{-1}: the symmetric form of F P^{-1}, (D, D)."""
    ratio = inverse_root.mT @ roots.fisher_sum().to(inverse_root) @ inverse_root
    return (ratio + ratio.mT) / 2

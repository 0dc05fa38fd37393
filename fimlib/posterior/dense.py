"""The posterior precision as a D x D matrix: its inverse, its root, its updates."""

import math
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from fimlib import linalg
from fimlib.linalg import EPS, squared_singular, warn_if_inaccurate


class DensePrecision:
    """P (D, D) by its Cholesky factor or by X with X X^T = P^{-1}; log det P, ()."""

    factor: Tensor

    def __init__(self, log_det: Tensor, **known: Tensor) -> None:
        self.log_det = log_det
        # Its `factor` or its `inverse_root`.
        self.__dict__.update(known)

    @cached_property
    def inverse_root(self) -> Tensor:
        """X (D, D) with X X^T = P^{-1}."""
        eye = torch.eye(len(self.factor)).to(self.factor)
        return torch.linalg.solve_triangular(self.factor, eye, upper=False).mT

    @cached_property
    def covariance(self) -> Tensor:
        """P^{-1} (D, D)."""
        if "factor" in self.__dict__:
            return torch.cholesky_inverse(self.factor)
        return self.inverse_root @ self.inverse_root.mT

    def updated(self, rows: Tensor) -> Self:
        """The same after P gains R^T R, R (k, D), by thin products with X."""
        # X' = X (I + Z^T Z)^{-1/2} with Z = R X: a contraction, so errors do not grow.
        x = self.inverse_root
        _, singular, vectors = torch.linalg.svd(rows.to(x) @ x, full_matrices=False)
        squares = singular.square()
        grown = 1.0 + squares
        directions = x @ vectors.mT
        # 1 - 1/sqrt(1 + s^2) without cancellation.
        shrink = squares / (grown.sqrt() * (1.0 + grown.sqrt()))
        log_det = self.log_det + torch.log1p(squares).sum()
        new = type(self)(log_det, inverse_root=x - directions * shrink @ vectors)
        if "covariance" in self.__dict__:
            lost = directions * (squares / grown).sqrt()
            new.covariance = self.covariance - lost @ lost.mT
        return new


def by_factor(post: Any) -> tuple[DensePrecision | None, float]:
    """P's Cholesky factor, if it has one, and the expected relative error of scores."""
    factor, info = torch.linalg.cholesky_ex(post.precision)
    if info != 0:
        return None, math.inf
    known = DensePrecision(2.0 * factor.diagonal().log().sum(), factor=factor)
    # From a bound of cond(P) where that is small enough, else from an estimate.
    if isinstance(post.prior_precision, float):
        bound = 100 * EPS * float(post.precision.trace()) / post.prior_precision
        if bound <= 1e-6:
            return known, bound
    return known, 100 * EPS * linalg.condition_number(factor)


def by_rows(post: Any) -> DensePrecision:
    """From singular values of the stacked roots, which keep what their sum loses."""
    prior, whitener, rows = post.prior_precision, None, post.train_rows()
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

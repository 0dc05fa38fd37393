"""Bayesian linear regression y = x^T theta + noise, exactly solvable (T5-T9)."""

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib import linalg
from fimlib._checks import as_tensor, check_count, positive_float


class BayesianLinearRegression:
    """theta ~ N(mean, covariance), y = x^T theta + N(0, noise_variance) (T5).

    Results are exact and float64. Every method raises ValueError for arguments of other
    shapes, and for NaN or infinite entries.

    `mean` (D,) and `covariance` (D, D), positive definite, are those of the weights,
    `noise_variance` s2 > 0 that of the targets: a ValueError otherwise.

    >>> BayesianLinearRegression([0.0, 0.0], torch.eye(2), noise_variance=0.5)
    BayesianLinearRegression(2 parameters, noise variance 0.5)
    """

    def __init__(
        self, mean: ArrayLike, covariance: ArrayLike, noise_variance: float
    ) -> None:
        self.mean = as_tensor(mean, "mean", ("D",))
        matrix = as_tensor(covariance, "covariance", 2 * self.mean.shape)
        self._factor = linalg.cholesky(matrix, "covariance")
        self.covariance = (matrix + matrix.mT) / 2
        self.noise_variance = positive_float(noise_variance, "noise_variance")

    def __repr__(self) -> str:
        what = f"{len(self.mean)} parameters, noise variance {self.noise_variance:.6g}"
        return f"BayesianLinearRegression({what})"

    def condition(self, x: ArrayLike, y: ArrayLike) -> "BayesianLinearRegression":
        """Return the model given inputs x (N, D) and targets y (N,), a new one (T6).

        >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).condition([[1.0]], [3.0])
        BayesianLinearRegression(1 parameters, noise variance 0.5)
        """
        rows, x = self._rows(x, "x"), as_tensor(x, "x")
        y = as_tensor(y, "y", (len(rows),))
        # Sigma - Sigma x^T (s2 I + x Sigma x^T)^{-1} x Sigma, kept positive definite by
        # working on the factor: L (I + V V^T / s2)^{-1} L^T with V = L^T x^T.
        eye = torch.eye(len(self.mean)).to(rows)
        inner = linalg.cholesky(eye + rows.mT @ rows, "precision")
        half = torch.linalg.solve_triangular(inner, self._factor.mT, upper=False)
        covariance = half.mT @ half
        gain = covariance @ x.mT / self.noise_variance
        mean = self.mean + gain @ (y - x @ self.mean)
        return BayesianLinearRegression(mean, covariance, self.noise_variance)

    def entropy(self) -> Tensor:
        """Return H[Theta] = 1/2 log det(2 pi e Sigma) () in nats, of the weights (T5).

        >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).entropy()
        tensor(1.4189, dtype=torch.float64)
        """
        constant = len(self.mean) * math.log(2 * math.pi * math.e)
        return constant / 2 + self._factor.diagonal().log().sum()

    def eig(self, x: ArrayLike) -> Tensor:
        """Return the EIG (M,) in nats of each x (M, D), log(1 + x^T Sigma x/s2)/2 (T9).

        >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).eig([[1.0], [2.0]])
        tensor([0.5493, 1.0986], dtype=torch.float64)
        """
        return torch.log1p(self._rows(x, "x").square().sum(-1)) / 2

    def batch_eig(self, x: ArrayLike) -> Tensor:
        """Return the EIG () in nats of x (K, D) together, 1/2 log det(I + R R^T) (T9).

        >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).batch_eig([[1.0], [2.0]])
        tensor(1.1989, dtype=torch.float64)
        """
        rows = self._rows(x, "x")
        small = rows @ rows.mT if len(rows) <= rows.shape[1] else rows.mT @ rows
        return linalg.log_det_identity_plus(small) / 2

    def information_gain(self, x: ArrayLike, y: ArrayLike) -> Tensor:
        """Return H[Theta] - H[Theta|y, x] (M,) in nats for x (M, D), any y (M,) (T6).

        >>> prior = BayesianLinearRegression([0.0], [[1.0]], 0.5)
        >>> prior.information_gain([[2.0]], [3.0])
        tensor([1.0986], dtype=torch.float64)
        """
        gain = self.eig(x)
        as_tensor(y, "y", (len(gain),))
        return gain

    def epig(self, x: ArrayLike, x_eval: ArrayLike) -> Tensor:
        """Return mean_e I[Y_e; Y] (M,) in nats of x (M, D) about x_eval (E, D) (T3).

        >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).epig([[1.0]], [[2.0]])
        tensor([0.4490], dtype=torch.float64)
        """
        rows, rows_eval = self._rows(x, "x"), self._rows(x_eval, "x_eval")
        cross = rows @ rows_eval.mT
        share = cross / (1 + rows.square().sum(-1, keepdim=True))
        share_eval = cross / (1 + rows_eval.square().sum(-1))
        return -torch.log1p(-share * share_eval).mean(-1) / 2

    def jepig(self, x: ArrayLike, x_eval: ArrayLike) -> Tensor:
        """Return I[Y_1..Y_E; Y] (M,) in nats of x (M, D) about x_eval (E, D) (T27).

        >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).jepig([[1.0]], [[2.0]])
        tensor([0.4490], dtype=torch.float64)
        """
        rows, rows_eval = self._rows(x, "x"), self._rows(x_eval, "x_eval")
        _, s, vectors = torch.linalg.svd(rows_eval, full_matrices=True)
        m = torch.nn.functional.pad(s.square(), (0, len(vectors) - len(s)))
        # The signal's part that the evaluation labels know, against the rest of it.
        parts = (rows @ vectors.mT).square()
        known, rest = (parts * m / (1 + m)).sum(-1), (parts / (1 + m)).sum(-1)
        return torch.log1p(known / (1 + rest)) / 2

    def _rows(self, x: ArrayLike, name: str) -> Tensor:
        """R = x L / s (M, D) of inputs (M, D), with Sigma = L L^T; checked."""
        inputs = as_tensor(x, name, ("M", len(self.mean)))
        check_count(len(inputs), name)
        return inputs @ self._factor / math.sqrt(self.noise_variance)

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

    Args:
        mean: (D,), of the weights.
        covariance: (D, D), of the weights, symmetric positive definite.
        noise_variance: s2 > 0, of the targets.
    Raises:
        ValueError: other shapes, s2 <= 0, a covariance that is not positive definite.
    Example:
        >>> BayesianLinearRegression([0.0, 0.0], torch.eye(2), noise_variance=0.5)
        BayesianLinearRegression(2 parameters, noise variance 0.5)
    """

    def __init__(
        self, mean: ArrayLike, covariance: ArrayLike, noise_variance: float
    ) -> None:
        self.mean = as_tensor(mean, "mean", ("D",))
        size = len(self.mean)
        matrix = as_tensor(covariance, "covariance", (size, size))
        self._factor = linalg.cholesky(matrix, "covariance")
        self.covariance = (matrix + matrix.mT) / 2
        self.noise_variance = positive_float(noise_variance, "noise_variance")

    def __repr__(self) -> str:
        return (
            f"BayesianLinearRegression({len(self.mean)} parameters, noise variance "
            f"{self.noise_variance:.6g})"
        )

    def condition(self, x: ArrayLike, y: ArrayLike) -> "BayesianLinearRegression":
        """The model given labelled data, by Bayes' rule (T6).

        Args:
            x: (N, D), inputs.
            y: (N,), their targets, on which the new covariance does not depend.
        Returns:
            A new model; this one stays.
        Example:
            >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).condition([[1.0]], [3.0])
            BayesianLinearRegression(1 parameters, noise variance 0.5)
        """
        x = self._inputs(x, "x")
        y = as_tensor(y, "y", (len(x),))
        # Sigma - Sigma x^T (s2 I + x Sigma x^T)^{-1} x Sigma, kept positive definite by
        # working on the factor: L (I + V V^T / s2)^{-1} L^T with V = L^T x^T.
        whitened = x @ self._factor / math.sqrt(self.noise_variance)
        eye = torch.eye(len(self.mean)).to(whitened)
        inner = linalg.cholesky(eye + whitened.mT @ whitened, "precision")
        half = torch.linalg.solve_triangular(inner, self._factor.mT, upper=False)
        covariance = half.mT @ half
        gain = covariance @ x.mT / self.noise_variance
        mean = self.mean + gain @ (y - x @ self.mean)
        return BayesianLinearRegression(mean, covariance, self.noise_variance)

    def entropy(self) -> Tensor:
        """Entropy of the weights, H[Theta] = 1/2 log det(2 pi e Sigma) (T5).

        Returns:
            (), in nats.
        Example:
            >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).entropy()
            tensor(1.4189, dtype=torch.float64)
        """
        constant = len(self.mean) * math.log(2 * math.pi * math.e)
        return constant / 2 + self._factor.diagonal().log().sum()

    def eig(self, x: ArrayLike) -> Tensor:
        """Expected information gain of each label, 1/2 log(1 + x^T Sigma x / s2).

        Args:
            x: (M, D), an input a row.
        Returns:
            (M,), in nats (T9).
        Raises:
            ValueError: x of another shape or without rows, NaN or infinite entries.
        Example:
            >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).eig([[1.0], [2.0]])
            tensor([0.5493, 1.0986], dtype=torch.float64)
        """
        return torch.log1p(self._signal(self._inputs(x, "x"))) / 2

    def batch_eig(self, x: ArrayLike) -> Tensor:
        """Expected information gain of labels together (T9).

        Args:
            x: X (K, D), the inputs of the batch.
        Returns:
            1/2 log det(I + X Sigma X^T / s2), (), in nats.
        Example:
            >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).batch_eig([[1.0], [2.0]])
            tensor(1.1989, dtype=torch.float64)
        """
        rows = self._inputs(x, "x") @ self._factor / math.sqrt(self.noise_variance)
        small = rows @ rows.mT if len(rows) <= rows.shape[1] else rows.mT @ rows
        return linalg.log_det_identity_plus(small) / 2

    def information_gain(self, x: ArrayLike, y: ArrayLike) -> Tensor:
        """Entropy drop H[Theta] - H[Theta|y, x] of each known label: its EIG (T2, T6).

        Args:
            x: (M, D), an input a row.
            y: (M,), their targets, on which the gain does not depend.
        Returns:
            (M,), in nats.
        Example:
            >>> prior = BayesianLinearRegression([0.0], [[1.0]], 0.5)
            >>> prior.information_gain([[2.0]], [3.0])
            tensor([1.0986], dtype=torch.float64)
        """
        x = self._inputs(x, "x")
        as_tensor(y, "y", (len(x),))
        return self.eig(x)

    def epig(self, x: ArrayLike, x_eval: ArrayLike) -> Tensor:
        """Mean over e of the information about one label, I[Y_e; Y | x_e, x] (T3).

        Args:
            x: (M, D), an input a row.
            x_eval: (E, D), the evaluation inputs.
        Returns:
            (M,), in nats.
        Example:
            >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).epig([[1.0]], [[2.0]])
            tensor([0.4490], dtype=torch.float64)
        """
        x, x_eval = self._inputs(x, "x"), self._inputs(x_eval, "x_eval")
        rows, rows_eval = x @ self._factor, x_eval @ self._factor
        noise = self.noise_variance
        scale = noise + rows.square().sum(-1)
        scale_eval = noise + rows_eval.square().sum(-1)
        squared = (rows @ rows_eval.mT).square()
        return -torch.log1p(-squared / scale[:, None] / scale_eval).mean(-1) / 2

    def jepig(self, x: ArrayLike, x_eval: ArrayLike) -> Tensor:
        """Information about all evaluation labels, I[Y_1..Y_E; Y | x_eval, x] (T27).

        Args:
            x: (M, D), an input a row.
            x_eval: (E, D), the evaluation inputs.
        Returns:
            (M,), in nats.
        Example:
            >>> BayesianLinearRegression([0.0], [[1.0]], 0.5).jepig([[1.0]], [[2.0]])
            tensor([0.4490], dtype=torch.float64)
        """
        x, x_eval = self._inputs(x, "x"), self._inputs(x_eval, "x_eval")
        rows = x @ self._factor / math.sqrt(self.noise_variance)
        rows_eval = x_eval @ self._factor / math.sqrt(self.noise_variance)
        _, singular, vectors = torch.linalg.svd(rows_eval, full_matrices=True)
        m = rows.new_zeros(rows.shape[1])
        m[: len(singular)] = singular.square()
        # The signal's part that the evaluation labels know, against the rest of it.
        parts = (rows @ vectors.mT).square()
        known, rest = (parts * m / (1 + m)).sum(-1), (parts / (1 + m)).sum(-1)
        return torch.log1p(known / (1 + rest)) / 2

    def _signal(self, x: Tensor) -> Tensor:
        """x^T Sigma x / s2, (M,)."""
        return (x @ self._factor).square().sum(-1) / self.noise_variance

    def _inputs(self, x: ArrayLike, name: str) -> Tensor:
        """Inputs (M, D), checked."""
        rows = as_tensor(x, name, ("M", len(self.mean)))
        check_count(len(rows), name)
        return rows

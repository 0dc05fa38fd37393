"""Bayesian linear regression y = x^T theta + noise, exactly solvable (T5-T9)."""

import math

import torch

from fimlib import linalg
from fimlib._checks import as_tensor, check_count, positive_float


class BayesianLinearRegression:
    """theta ~ N(mean, covariance), y = x^T theta + N(0, noise_variance) (T5).

    mean (D,), covariance (D, D) symmetric positive definite, noise_variance > 0. Every
    result is exact, in float64 and in nats. Raises ValueError for wrong shapes and,
    with the smallest eigenvalue, for a covariance that is not positive definite.
    """

    def __init__(self, mean, covariance, noise_variance):
        self.mean = as_tensor(mean, "mean", ("D",))
        size = len(self.mean)
        covariance = as_tensor(covariance, "covariance", (size, size))
        self._factor = linalg.cholesky(covariance, "covariance")
        self.covariance = (covariance + covariance.mT) / 2
        self.noise_variance = positive_float(noise_variance, "noise_variance")

    def __repr__(self):
        return (
            f"BayesianLinearRegression({len(self.mean)} parameters, noise variance "
            f"{self.noise_variance:.6g})"
        )

    def condition(self, x, y):
        """The model after observing targets y (N,) at inputs x (N, D): a new one (T6).

        The new covariance does not depend on y.
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

    def entropy(self):
        """H[Theta] = 1/2 log det(2 pi e Sigma), () (T5)."""
        constant = len(self.mean) * math.log(2 * math.pi * math.e)
        return constant / 2 + self._factor.diagonal().log().sum()

    def eig(self, x):
        """EIG 1/2 log(1 + x^T Sigma x / s2) (M,) at x (M, D) (T9)."""
        return torch.log1p(self._signal(self._inputs(x, "x"))) / 2

    def batch_eig(self, x):
        """Joint EIG 1/2 log det(I + X Sigma X^T / s2), () of all of x (K, D) (T9)."""
        rows = self._inputs(x, "x") @ self._factor / math.sqrt(self.noise_variance)
        small = rows @ rows.mT if len(rows) <= rows.shape[1] else rows.mT @ rows
        return linalg.log_det_identity_plus(small) / 2

    def information_gain(self, x, y):
        """Entropy drop H[Theta] - H[Theta|y, x] (M,) for each known y (M,) (T2, T6).

        It does not depend on y: the gain equals the expected gain.
        """
        x = self._inputs(x, "x")
        as_tensor(y, "y", (len(x),))
        return self.eig(x)

    def epig(self, x, x_eval):
        """Mean over e of I[Y_e; Y | x_e, x] (M,), x (M, D), x_eval (E, D) (T3)."""
        x, x_eval = self._inputs(x, "x"), self._inputs(x_eval, "x_eval")
        rows, rows_eval = x @ self._factor, x_eval @ self._factor
        noise = self.noise_variance
        scale = noise + rows.square().sum(-1)
        scale_eval = noise + rows_eval.square().sum(-1)
        squared = (rows @ rows_eval.mT).square()
        return -torch.log1p(-squared / scale[:, None] / scale_eval).mean(-1) / 2

    def jepig(self, x, x_eval):
        """I[Y_1..Y_E; Y | x_eval, x] (M,), x (M, D), x_eval (E, D) (T3, T27)."""
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

    def _signal(self, x):
        """x^T Sigma x / s2, (M,)."""
        return (x @ self._factor).square().sum(-1) / self.noise_variance

    def _inputs(self, x, name):
        x = as_tensor(x, name, ("M", len(self.mean)))
        check_count(len(x), name)
        return x

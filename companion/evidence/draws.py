"""Random problems for the numeric checks, and the residuals they are judged by."""

from __future__ import annotations

import numpy as np


def pd_matrix(rng, size, spread=2.0):
    """A (size, size) covariance, eigenvalues from exp(-spread) to exp(spread)."""
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    root = q * np.exp(rng.uniform(-spread, spread, size) / 2)
    return root @ root.T


def log_det(matrix):
    """numpy's log|det|: independent of `fimlib.linalg`."""
    return np.linalg.slogdet(matrix)[1]


def gap(value, truth):
    """Worst difference, relative to the size of the truth where that exceeds one."""
    value, truth = (np.asarray(v, dtype=float) for v in (value, truth))
    if value.shape != truth.shape:
        raise ValueError(f"shape {value.shape}, needed {truth.shape}")
    if value.size == 0 or not np.all(np.isfinite(value)):
        return np.inf
    return float((np.abs(value - truth) / np.maximum(1, np.abs(truth))).max())


def z_score(samples, truth):
    """Distance of a Monte-Carlo mean from the truth, in standard errors."""
    samples = np.asarray(samples, dtype=float)
    error = samples.std(ddof=1) / np.sqrt(samples.size)
    return float(abs(samples.mean() - truth) / error)

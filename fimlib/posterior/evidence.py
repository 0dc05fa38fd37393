"""The prior precision that the training data prefer (Laplace marginal likelihood)."""

import math

import torch
from scipy.optimize import brentq

from fimlib._checks import as_tensor, check_count
from fimlib.posterior import dense, frame
from fimlib.posterior.span import EPS, GramSpan, num_rows, stacked


def marglik_precision(train_roots, theta_star):
    """Scalar prior precision that maximises the Laplace marginal likelihood, a float.

    theta_star (D,) are the fitted parameters, in the roots' order. The maximum is the
    only root of delta (theta*)^T theta* = sum_i l_i / (l_i + delta) over the
    eigenvalues l_i of the training Fisher information, which come from the smaller of
    D x D and (M r) x (M r). Raises ValueError when there is none: theta* = 0 (delta
    would be infinite) or no information at all (delta would be 0), and when both sizes
    exceed 20,000.
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
    count, size = num_rows(roots), roots.num_parameters
    if count * size * min(count, size) <= dense.EXACT_WORK:
        values = torch.linalg.svdvals(stacked(roots)).square()
        floor = (max(count, size) * EPS) ** 2
        return values[values > floor * values.max()]
    if min(count, size) > frame.MAX_DENSE:
        raise ValueError(
            f"train_roots must have at most {frame.MAX_DENSE} rows or parameters, got "
            f"{count} rows and {size} parameters: their eigenvalues would take a "
            f"matrix of {8e-9 * min(count, size) ** 2:.1f} GB; use fewer examples"
        )
    if count < size:
        return GramSpan((roots,), ()).train_anchors.square().sum(0)
    values = torch.linalg.eigvalsh(roots.fisher_sum())
    return values[values > (size * EPS * values.max()).clamp(min=0.0)]

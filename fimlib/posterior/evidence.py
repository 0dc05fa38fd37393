"""The prior precision that the training data prefer (Laplace marginal likelihood)."""

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib._checks import as_tensor, check_count
from fimlib.fisher.roots import FisherRoots
from fimlib.linalg import EPS
from fimlib.posterior.frame import side_of, smaller_gram


def marglik_precision(train_roots: FisherRoots, theta_star: ArrayLike) -> float:
    """Return the prior precision that maximises the Laplace evidence, a float.

    The only root of delta |theta*|^2 = sum_i l_i / (l_i + delta) over the eigenvalues
    l_i of the information of train_roots (M, r, D), from the smaller of D x D and
    (M r) x (M r) (MacKay 1992). theta_star: (D,), the fitted parameters, in any order.

    Raises:
        ValueError: for theta* = 0 (delta would be infinite), no examples, no
            information (delta would be 0), and when both sizes exceed 20,000.

    >>> train = FisherRoots.from_dense([[1.0, 0.0]])
    >>> delta = marglik_precision(train, [2.0, 0.0])
    >>> abs(delta * 4 - 1 / (1 + delta)) < 1e-15
    True
    """
    theta = as_tensor(theta_star, "theta_star", (train_roots.num_parameters,))
    check_count(len(train_roots), "train_roots")
    squared_norm = float(theta.square().sum())
    if squared_norm == 0.0:
        raise ValueError(
            "theta_star must not be zero: the marginal likelihood then grows with the "
            "prior precision without end"
        )
    roots = train_roots.reduced()
    count, size = roots.num_rows, roots.num_parameters
    if side_of(roots, "train_roots") == "rows":
        values = torch.linalg.svdvals(roots.rows()).square()
        floor = (max(count, size) * EPS) ** 2
    else:
        values = torch.linalg.eigvalsh(smaller_gram(roots))
        floor = min(count, size) * EPS
    # What is not zero, nor rounding.
    eigenvalues = values[values > (floor * values.max()).clamp(min=0.0)]
    if len(eigenvalues) == 0:
        raise ValueError(
            "train_roots must carry information, got a zero Fisher information: the "
            "marginal likelihood then has its maximum at prior precision 0"
        )
    return _root(eigenvalues, squared_norm)


def _root(eigenvalues: Tensor, squared_norm: float) -> float:
    """The root of delta t - sum_i l_i / (l_i + delta), by Newton in log delta."""
    # In log delta both terms grow, the first convexly and the second like a sum of
    # sigmoids: a step that leaves the bracket of the root is replaced by its middle.
    # One eigenvalue alone gives a lower end in closed form; the rank an upper end.
    largest = float(eigenvalues.max())
    low = (2 / squared_norm) / (1 + math.sqrt(1 + 4 / (largest * squared_norm)))
    low, high = math.log(low) - 1, math.log(len(eigenvalues) / squared_norm) + 1
    x = (low + high) / 2
    for _ in range(200):
        delta = math.exp(x)
        shares = eigenvalues / (eigenvalues + delta)
        value = delta * squared_norm - float(shares.sum())
        low, high = (x, high) if value < 0 else (low, x)
        slope = delta * squared_norm + float((shares * (1 - shares)).sum())
        new = x - value / slope
        if not low < new < high:
            new = (low + high) / 2
        if abs(new - x) <= 1e-15 * (1 + abs(x)):
            break
        x = new
    return math.exp(new)

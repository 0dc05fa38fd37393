"""Linear algebra on numpy arrays of floats, or of mpmath's numbers with many digits."""

from __future__ import annotations

import mpmath
import numpy as np

DIGITS = 150  # of an exact world: more than decades of scale can cancel
TINY = mpmath.mpf(10) ** -90  # what rounding leaves of a zero pivot, relatively


def exact(array):
    """The array (of any shape) in mpmath's numbers."""
    return np.frompyfunc(mpmath.mpf, 1, 1)(np.asarray(array, dtype=object))


def is_exact(a):
    return np.asarray(a).dtype == object


def inverse(a):
    """The inverse (n, n); ZeroDivisionError if a is singular."""
    if not is_exact(a):
        return np.linalg.inv(a)
    size = len(a)
    rows, sign = np.hstack([a, exact(np.eye(size))]), 1
    sign, _ = _eliminate(rows, size)
    if not sign:
        raise ZeroDivisionError("inverse of a singular matrix")
    return rows[:, size:]


def det(a):
    if not is_exact(a):
        return np.linalg.det(a)
    sign, pivots = _eliminate(a.copy(), len(a))
    return sign * np.prod(pivots) if sign else mpmath.mpf(0)


def log_det(a):
    """log det a; nan if that is not positive."""
    if not is_exact(a):
        sign, size = np.linalg.slogdet(a)
        return size if sign > 0 else np.nan
    return log(det(a))


def log(x):
    """Natural logarithm of a number; nan if that is not positive."""
    if not x > 0:
        return np.nan
    return mpmath.log(x) if isinstance(x, mpmath.mpf) else np.log(x)


def _eliminate(rows, size):
    """Gauss-Jordan in place on the first `size` columns: sign of the order, pivots."""
    sign, pivots = 1, []
    for k in range(size):
        column = np.abs(rows[k:, k])
        best = k + int(column.argmax())
        if column[best - k] <= TINY * _largest(rows[:, :size]):
            return 0, pivots
        if best != k:
            rows[[k, best]], sign = rows[[best, k]], -sign
        pivots.append(rows[k, k])
        rows[k] = rows[k] / rows[k, k]
        for i in range(size):
            if i != k:
                rows[i] = rows[i] - rows[k] * rows[i, k]
    return sign, pivots


def _largest(a):
    return np.abs(a).max() if a.size else 0


def root(c):
    """G (n, n) with G G' = c for psd c, and the most negative pivot that was met."""
    rest = np.array(c)
    out = 0 * rest
    least = rest.flat[0] * 0
    floor = (TINY if is_exact(c) else 1e-13) * _largest(rest)
    for k in range(len(rest)):
        diagonal = np.diagonal(rest)
        i = int(diagonal.argmax())
        if diagonal[i] <= floor:
            least = min(least, diagonal.min(), -_largest(rest - np.diag(diagonal)))
            break
        out[:, k] = rest[:, i] / diagonal[i] ** 0.5
        rest = rest - np.outer(out[:, k], out[:, k])
    return out, least


def is_psd(a, slack):
    """Is the symmetric part of a psd, up to `slack`?"""
    middle = (a + a.T) / 2
    if not is_exact(a):
        return np.linalg.eigvalsh(middle)[0] >= -slack
    return root(middle)[1] >= -slack

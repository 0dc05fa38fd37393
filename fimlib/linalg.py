"""Log-determinants and the determinant identities everything else rests on (T8)."""

import torch

from fimlib._checks import as_tensor, check_shape, symmetric

# Below this size the elimination runs column by column; above it splits in halves,
# so that the work is done by matrix products.
_LEAF = 16


def cholesky(matrix, name="matrix"):
    """Lower Cholesky factor of a symmetric positive definite (D, D) matrix.

    Raises ValueError with the smallest eigenvalue when the matrix is not positive
    definite, and when it is not symmetric or not finite.
    """
    return cholesky_of_symmetric(symmetric(matrix, name), name)


def cholesky_of_symmetric(matrix, name="matrix"):
    """`cholesky` of a float64 matrix that is known to be symmetric: one pass less."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    if info != 0:
        smallest = float(torch.linalg.eigvalsh(matrix)[0])
        raise ValueError(
            f"{name} must be positive definite, got a smallest eigenvalue of "
            f"{smallest:.6g} (shape {tuple(matrix.shape)})"
        )
    return factor


def log_det(matrix, name="matrix"):
    """Log-determinant of a symmetric positive definite (D, D) matrix, by Cholesky.

    Raises ValueError with the smallest eigenvalue when it is not positive definite.
    """
    return 2.0 * cholesky(matrix, name).diagonal().log().sum()


def log_det_identity_plus(matrix, check=True):
    """log det(I + A) of positive semi-definite A (..., n, n): (...), in nats.

    Accurate relative to the result from 1e-300 to 1e+300: each pivot of I + A is kept
    as its excess over one, so that nothing is rounded against the identity. Raises
    ValueError when A is not symmetric, not finite or has a clearly negative pivot;
    without `check` only for the last, and the lower triangle alone is read.
    """
    matrix = _checked_square(matrix) if check else matrix
    scale = _diagonal_scale(matrix)
    pivots = _excess_pivots(matrix, sign=1.0)
    # A negative pivot of A is rounding only as far as A's own entries are rounded.
    if not (pivots >= -1e-8 * scale).all():
        raise ValueError(
            "A must be positive semi-definite, got a smallest eigenvalue of "
            f"{_eigenvalues(matrix).min():.6g}"
        )
    return torch.log1p(pivots.clamp(min=0.0)).sum(-1)


def log_det_identity_minus(matrix, check=True):
    """log det(I - A) of positive semi-definite A < I (..., n, n): (...), in nats.

    Accurate relative to the result for tiny A. Raises ValueError when I - A is not
    positive definite, and unless `check` is off when A is not symmetric or not finite.
    """
    matrix = _checked_square(matrix) if check else matrix
    pivots = _excess_pivots(matrix, sign=-1.0)
    if not (pivots < 1.0).all():
        raise ValueError(
            "I - A must be positive definite, got a largest eigenvalue of A of "
            f"{_eigenvalues(matrix).max():.6g}"
        )
    return torch.log1p(-pivots).sum(-1)


def _checked_square(matrix):
    matrix = as_tensor(matrix, "A")
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or not matrix.shape[-1]:
        raise ValueError(
            f"A must have shape (..., n, n) with n > 0, got {tuple(matrix.shape)}"
        )
    gap = (matrix - matrix.mT).abs()
    if (gap > 1e-8 * _diagonal_scale(matrix)[..., None]).any():
        raise ValueError(
            f"A must be symmetric, got a largest asymmetry of {float(gap.max()):.3g}"
        )
    return matrix


def _eigenvalues(matrix):
    """Eigenvalues for an error message: NaN where entries are not finite."""
    if not torch.isfinite(matrix).all():
        return matrix.new_tensor([torch.nan])
    return torch.linalg.eigvalsh(matrix)


def _diagonal_scale(matrix):
    """Largest entry of each diagonal, (..., 1): that of a whole PSD matrix."""
    return matrix.diagonal(dim1=-2, dim2=-1).abs().amax(-1, keepdim=True)


def _excess_pivots(matrix, sign):
    """Numbers d_k (..., n) such that 1 + sign d_k are the pivots of I + sign A."""
    n = matrix.shape[-1]
    if n <= _LEAF:
        return _excess_pivots_leaf(matrix, sign)
    half = n // 2
    head, off, tail = (
        matrix[..., :half, :half],
        matrix[..., half:, :half].mT,
        matrix[..., half:, half:],
    )
    first = _excess_pivots(head, sign)
    eye = torch.eye(half, dtype=matrix.dtype, device=matrix.device)
    factor, info = torch.linalg.cholesky_ex(eye + sign * head)
    if (info != 0).any():
        # The caller reports this by its own names: such pivots fail its check.
        bad = torch.full_like(matrix.diagonal(dim1=-2, dim2=-1), -sign * torch.inf)
        return bad
    solved = torch.linalg.solve_triangular(factor, off, upper=False)
    rest = _excess_pivots(tail - sign * solved.mT @ solved, sign)
    return torch.cat([first, rest], dim=-1)


def _excess_pivots_leaf(matrix, sign):
    pivots = []
    for _ in range(matrix.shape[-1]):
        pivot = matrix[..., 0, 0]
        pivots.append(pivot)
        column = matrix[..., 1:, 0]
        # Dividing first keeps the product below sqrt(a_ii a_jj): no overflow.
        scaled = column / (1.0 + sign * pivot)[..., None]
        matrix = (
            matrix[..., 1:, 1:] - sign * scaled[..., :, None] * column[..., None, :]
        )
    return torch.stack(pivots, dim=-1)


def sylvester(a, b):
    """Both sides of det(I_m + A B) = det(I_n + B A), A (m, n), B (n, m): T8."""
    a = as_tensor(a, "a", ("m", "n"))
    b = as_tensor(b, "b", (a.shape[1], a.shape[0]))
    return torch.linalg.det(_eye(a @ b) + a @ b), torch.linalg.det(_eye(b @ a) + b @ a)


def matrix_determinant_lemma(log_det_p, solved, v):
    """log det(P + U V^T) from log det P and P^{-1} U (D, k), with V (D, k): T8.

    Raises ValueError when det(P + U V^T) and det P have opposite signs.
    """
    log_det_p = as_tensor(log_det_p, "log_det_p", ())
    solved = as_tensor(solved, "solved", ("D", "k"))
    v = as_tensor(v, "v", tuple(solved.shape))
    sign, value = torch.linalg.slogdet(_eye(v.mT @ solved) + v.mT @ solved)
    if sign <= 0:
        raise ValueError(
            "I + V^T P^{-1} U must have a positive determinant, got sign "
            f"{float(sign):.0f}"
        )
    return log_det_p + value


def woodbury(inverse, u, v):
    """(P + U V^T)^{-1} from P^{-1} (D, D), U (D, k) and V (D, k).

    Raises ValueError when the update makes the matrix singular.
    """
    inverse = as_tensor(inverse, "inverse", ("D", "D"))
    check_shape(inverse, "inverse", (len(inverse), len(inverse)))
    u = as_tensor(u, "u", (len(inverse), "k"))
    v = as_tensor(v, "v", tuple(u.shape))
    left = inverse @ u
    core = _eye(v.mT @ left) + v.mT @ left
    return inverse - left @ _solve(core, v.mT @ inverse, "I + V^T P^{-1} U")


def schur_complement(matrix, split):
    """Schur complement D - C A^{-1} B of the leading (split, split) block A.

    `matrix` (n, n) = [[A, B], [C, D]]; the result is (n - split, n - split). Raises
    ValueError when A is singular or `split` is not in 1..n-1.
    """
    matrix = as_tensor(matrix, "matrix", ("n", "n"))
    n = len(matrix)
    check_shape(matrix, "matrix", (n, n))
    if not 1 <= split < n:
        raise ValueError(f"split must lie in 1..{n - 1}, got {split}")
    lead = matrix[:split, :split]
    solved = _solve(lead, matrix[:split, split:], "the leading block")
    return matrix[split:, split:] - matrix[split:, :split] @ solved


def _solve(matrix, right, name):
    solution, info = torch.linalg.solve_ex(matrix, right)
    if info != 0 or not torch.isfinite(solution).all():
        raise ValueError(f"{name} must be invertible, got shape {tuple(matrix.shape)}")
    return solution


def _eye(like):
    return torch.eye(len(like), dtype=like.dtype, device=like.device)

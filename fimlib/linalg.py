"""Log-determinants and the determinant identities everything else rests on (T8)."""

import warnings
from typing import Any

import torch
from torch import Tensor

from fimlib._checks import as_tensor, check_shape, symmetric

EPS = torch.finfo(torch.float64).eps
# Below this size the elimination runs column by column; above it splits in halves,
# so that the work is done by matrix products.
_LEAF = 16


class AccuracyWarning(UserWarning):
    """The precision is so ill-conditioned that scores may lose half their digits."""


def warn_if_inaccurate(error: float) -> None:
    """Emit an `AccuracyWarning` when the expected relative error exceeds 1e-6."""
    if error > 1e-6:
        warnings.warn(
            f"scores may be wrong by a relative error of {min(error, 1.0):.1g}, "
            "because the posterior precision is ill-conditioned: raise the prior "
            "precision, or score fewer examples at once (small problems are solved on "
            "the roots themselves, which keeps twice the digits)",
            AccuracyWarning,
            stacklevel=2,
        )


def cholesky(matrix: Any, name: str = "matrix") -> Tensor:
    """Return the lower Cholesky factor (D, D) of a positive definite (D, D) matrix.

    Raises ValueError with the smallest eigenvalue when the matrix is not positive
    definite, and when it is not symmetric or not finite.

    >>> cholesky([[4.0, 2.0], [2.0, 2.0]]).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    return cholesky_of_symmetric(symmetric(matrix, name), name)


def cholesky_of_symmetric(matrix: Tensor, name: str = "matrix") -> Tensor:
    """`cholesky` of a float64 matrix that is known to be symmetric: one pass less."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    if info != 0:
        smallest = float(torch.linalg.eigvalsh(matrix)[0])
        raise ValueError(
            f"{name} must be positive definite, got a smallest eigenvalue of "
            f"{smallest:.6g} (shape {tuple(matrix.shape)})"
        )
    return factor


def log_det(matrix: Any, name: str = "matrix") -> Tensor:
    """Return the log-determinant () of a positive definite (D, D) matrix.

    Raises ValueError with the smallest eigenvalue when it is not positive definite.

    >>> log_det([[4.0, 2.0], [2.0, 2.0]]).exp().item()
    4.0
    """
    return 2.0 * cholesky(matrix, name).diagonal().log().sum()


def log_det_identity_plus(
    matrix: Any, check: bool = True, signed: bool = False
) -> Tensor:
    """Return log det(I + A) of positive semi-definite A (..., n, n): (...), in nats.

    Accurate relative to the result from 1e-300 to 1e+300: each pivot of I + A is kept
    as its excess over one, so that nothing is rounded against the identity. Without
    `check` the lower triangle alone is read. `signed` is for differences of Gram
    matrices, unchecked: their negative pivots count, and the result is NaN where I + A
    is not positive definite.

    Raises:
        ValueError: A is not symmetric, not finite or has a clearly negative pivot;
            without `check` only for the last.

    >>> log_det_identity_plus([[1e-200]]).item()
    1e-200
    """
    matrix = _checked_square(matrix) if check and not signed else matrix
    pivots = _excess_pivots(matrix, sign=1.0)
    if signed:
        return torch.log1p(pivots).sum(-1)
    # A negative pivot of A is rounding only as far as A's own entries are rounded.
    if not (pivots >= -1e-8 * _diagonal_scale(matrix)).all():
        raise ValueError(
            "A must be positive semi-definite, got a smallest eigenvalue of "
            f"{_eigenvalues(matrix).min():.6g}"
        )
    return torch.log1p(pivots.clamp(min=0.0)).sum(-1)


def log_det_identity_plus_rest(matrix: Tensor) -> Tensor:
    """Return log det(I + A) (...) of what subtractions have left of A (..., n, n).

    A negative pivot is their rounding, and counts as 0; where rounding exceeds I,
    nothing is known, and the result is 0.
    """
    pivots = _excess_pivots(matrix, sign=1.0).clamp(min=0.0)
    return torch.log1p(pivots).sum(-1).nan_to_num(0.0, 0.0, 0.0)


def relative(gram: Tensor, base: Tensor) -> Tensor:
    """Return N^{-1} G N^{-T} (M, r, r), N N^T = I + base: G against I + base.

    det(I + it) = det(I + base + G) / det(I + base). NaN where I + base is not positive
    definite.
    """
    if gram.shape[-1] == 1:
        return torch.where(base > -1.0, gram / (1.0 + base), torch.nan)
    factor, info = identity_plus_cholesky(base)
    left = torch.linalg.solve_triangular(factor, gram, upper=False)
    both = torch.linalg.solve_triangular(factor, left.mT, upper=False)
    return torch.where((info == 0)[..., None, None], both, torch.nan)


def identity_plus_cholesky(gram: Tensor) -> tuple[Tensor, Tensor]:
    """The lower Cholesky factor of I + G (..., r, r); (...) 0 where there is one."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky_ex(eye + gram)


def log_det_identity_minus(matrix: Any, check: bool = True) -> Tensor:
    """Return log det(I - A) of positive semi-definite A < I (..., n, n), (...).

    Accurate relative to the result for tiny A.

    Raises:
        ValueError: I - A is not positive definite, and unless `check` is off when
            A is not symmetric or not finite.

    >>> log_det_identity_minus([[1e-200]]).item()
    -1e-200
    """
    matrix = _checked_square(matrix) if check else matrix
    pivots = _excess_pivots(matrix, sign=-1.0)
    if not (pivots < 1.0).all():
        raise ValueError(
            "I - A must be positive definite, got a largest eigenvalue of A of "
            f"{_eigenvalues(matrix).max():.6g}"
        )
    return torch.log1p(-pivots).sum(-1)


def identity_plus_factor(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return L (..., r, r), L L^T = I + Y Y^T, and excess pivots (..., r), by rows.

    rows: Y (..., r, n). Gram-Schmidt on [Y, I] never forms Y Y^T, so that it keeps
    twice the digits, and a pivot L_kk^2 = 1 + d_k has a d_k that is a sum of squares:
    relatively accurate from 1e-300 up.
    """
    r, n = rows.shape[-2:]
    eye = torch.eye(r, dtype=rows.dtype, device=rows.device)
    rest = torch.cat([rows, eye.expand(*rows.shape[:-1], r)], dim=-1)
    factor, excess = torch.zeros_like(rest[..., n:]), []
    for k in range(r):
        # Entry k of this row's part of I is still exactly 1, those past it are 0.
        head = rest[..., 0, :]
        d = head[..., : n + k].square().sum(-1)
        excess.append(d)
        factor[..., k, k] = (1.0 + d).sqrt()
        weights = (rest[..., 1:, :] @ head[..., None])[..., 0] / (1.0 + d)[..., None]
        factor[..., k + 1 :, k] = weights * factor[..., k, k, None]
        rest = rest[..., 1:, :] - weights[..., None] * head[..., None, :]
    return factor, torch.stack(excess, dim=-1)


def log_det_identity_plus_rows(rows: Tensor) -> Tensor:
    """Return log det(I + Y Y^T) (...) from rows Y (..., r, n), either side (T8).

    For rows without structure it is as accurate as Y itself, where the Gram matrix
    Y Y^T would lose twice as many digits to a large one beside a small one.
    """
    if rows.shape[-2] > rows.shape[-1]:
        rows = rows.mT
    return torch.log1p(identity_plus_factor(rows)[1]).sum(-1)


def residual(c: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return C - A B (m, D) in doubled precision, from C (m, D), A (m, n) and B (n, D).

    A and B are cut into slices of so few bits that the products of slices are exact in
    float64, and these are subtracted with what rounding takes kept aside: the error is
    about eps relative to the result, plus eps^2 relative to C.
    """
    bits = (53 - max(1, len(b)).bit_length()) // 2
    right = _slices(b, bits, dim=0)
    total, lost = c, torch.zeros_like(c)
    for head in _slices(a, bits, dim=1):
        for tail in right:
            term = head @ tail
            new = total - term
            back = new - total
            lost += (total - (new - back)) - (term + back)
            total = new
    return total + lost


def _slices(x: Tensor, bits: int, dim: int) -> list[Tensor]:
    """Matrices that sum to x, of `bits` bits each below the largest entry along dim."""
    slices = []
    for _ in range(-(-53 // bits) + 1):
        top = torch.frexp(x.abs().amax(dim, keepdim=True))[1]
        # Added and taken away again, it rounds x to its own last bit.
        grid = 0.75 * torch.ldexp(torch.ones_like(top, dtype=x.dtype), top + 54 - bits)
        slices.append((x + grid) - grid)
        x = x - slices[-1]
    return slices


def squared_singular(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return all n squared singular values of rows (a, n), and vectors (n, n).

    Large columns come first, so that small ones beside them keep their own digits.
    """
    size = rows.shape[1]
    order = rows.norm(dim=0).argsort(descending=True)
    rows = torch.linalg.qr(rows[:, order], mode="r")[1]
    _, singular, vectors = torch.linalg.svd(rows, full_matrices=True)
    values = rows.new_zeros(size)
    values[: len(singular)] = singular.square()
    return values, vectors.mT[order.argsort()]


def condition_number(factor: Tensor, steps: int = 12) -> float:
    """Return about cond(L L^T), within a factor 2, from L (D, D) lower triangular.

    By power iteration, which costs a few D^2: an estimate for warnings.
    """
    vector = torch.arange(1, len(factor) + 1).to(factor).cos()[:, None]
    largest, inverse = vector, vector
    for _ in range(steps):
        largest = factor @ (factor.mT @ (largest / largest.norm()))
        inverse = torch.cholesky_solve(inverse / inverse.norm(), factor)
    return float(largest.norm() * inverse.norm())


def _checked_square(matrix: Any) -> Tensor:
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


def _eigenvalues(matrix: Tensor) -> Tensor:
    """Eigenvalues for an error message: NaN where entries are not finite."""
    if not torch.isfinite(matrix).all():
        return matrix.new_tensor([torch.nan])
    return torch.linalg.eigvalsh(matrix)


def _diagonal_scale(matrix: Tensor) -> Tensor:
    """Largest entry of each diagonal, (..., 1): that of a whole PSD matrix."""
    return matrix.diagonal(dim1=-2, dim2=-1).abs().amax(-1, keepdim=True)


def _excess_pivots(matrix: Tensor, sign: float) -> Tensor:
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
    factor, info = identity_plus_cholesky(sign * head)
    solved = torch.linalg.solve_triangular(factor, off, upper=False)
    rest = _excess_pivots(tail - sign * solved.mT @ solved, sign)
    pivots = torch.cat([first, rest], dim=-1)
    # The caller reports this by its own names: such pivots fail its check.
    return pivots.masked_fill((info != 0)[..., None], -sign * torch.inf)


def _excess_pivots_leaf(matrix: Tensor, sign: float) -> Tensor:
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


def sylvester(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Return both sides () of det(I_m + A B) = det(I_n + B A), A (m, n), B (n, m): T8.

    >>> [x.item() for x in sylvester([[1.0, 2.0]], [[0.0], [4.0]])]
    [9.0, 9.0]
    """
    a = as_tensor(a, "a", ("m", "n"))
    b = as_tensor(b, "b", (a.shape[1], a.shape[0]))
    return torch.linalg.det(_eye(a @ b) + a @ b), torch.linalg.det(_eye(b @ a) + b @ a)


def matrix_determinant_lemma(log_det_p: Any, solved: Any, v: Any) -> Tensor:
    """Return log det(P + U V^T) () from log det P () and P^{-1} U, V (D, k) (T8).

    Raises:
        ValueError: det(P + U V^T) and det P have opposite signs.

    >>> matrix_determinant_lemma(0.0, [[1.0]], [[-0.5]]).exp().item()
    0.5
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


def woodbury(inverse: Any, u: Any, v: Any) -> Tensor:
    """Return (P + U V^T)^{-1} (D, D) from P^{-1} (D, D), U (D, k) and V (D, k).

    Raises ValueError when the update makes the matrix singular.

    >>> woodbury([[1.0]], [[1.0]], [[3.0]]).item()
    0.25
    """
    inverse = as_tensor(inverse, "inverse", ("D", "D"))
    check_shape(inverse, "inverse", (len(inverse), len(inverse)))
    u = as_tensor(u, "u", (len(inverse), "k"))
    v = as_tensor(v, "v", tuple(u.shape))
    left = inverse @ u
    core = _eye(v.mT @ left) + v.mT @ left
    return inverse - left @ _solve(core, v.mT @ inverse, "I + V^T P^{-1} U")


def schur_complement(matrix: Any, split: int) -> Tensor:
    """Return the Schur complement D - C A^{-1} B of the leading (split, split) block A.

    `matrix` (n, n) = [[A, B], [C, D]]; the result is (n - split, n - split).

    Raises:
        ValueError: A is singular or `split` is not in 1..n-1.

    >>> schur_complement([[2.0, 4.0], [1.0, 5.0]], 1).item()
    3.0
    """
    matrix = as_tensor(matrix, "matrix", ("n", "n"))
    n = len(matrix)
    check_shape(matrix, "matrix", (n, n))
    if not 1 <= split < n:
        raise ValueError(f"split must lie in 1..{n - 1}, got {split}")
    lead = matrix[:split, :split]
    solved = _solve(lead, matrix[:split, split:], "the leading block")
    return matrix[split:, split:] - matrix[split:, :split] @ solved


def _solve(matrix: Tensor, right: Tensor, name: str) -> Tensor:
    solution, info = torch.linalg.solve_ex(matrix, right)
    if info != 0 or not torch.isfinite(solution).all():
        raise ValueError(f"{name} must be invertible, got shape {tuple(matrix.shape)}")
    return solution


def _eye(like: Tensor) -> Tensor:
    return torch.eye(len(like), dtype=like.dtype, device=like.device)

"""log det, LogDetMI, LogDetCG and LogDetCMI of similarity matrices (T32, T34, T35)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fimlib import linalg
from fimlib._checks import as_tensor, check_count, rounding, symmetric
from fimlib.similarity import psd


def log_det(S: Any, jitter: float = 0.0) -> Tensor:
    """Return log det(S + jitter I), (), of a similarity matrix S (n, n) in nats (T32).

    For S = R R^T and jitter lambda it is 2 EIG + n log lambda under the precision
    lambda I (no 1/2 here). A singular S without jitter has -inf; the rank is decided
    after scaling to a unit diagonal, so that the lengths of single rows do not enter,
    and with jitter the directions beyond the rank count log(jitter) each, exactly.
    Raises ValueError for a negative jitter and, with the smallest eigenvalue, where
    S + jitter I has one below zero.

    >>> log_det([[1.0, 1.0], [1.0, 1.0]]).item()
    -inf
    """
    eps = rounding(S, "S")
    S = _square(S, "S")
    jitter = _not_negative(jitter, "jitter")

    def by_factor(lower: Tensor) -> Tensor:
        return 2.0 * lower.diagonal().log().sum()

    whole = torch.arange(len(S), device=S.device)
    return _evaluate(S, jitter, by_factor, [(1, whole)], "S", "", eps)


def log_det_cg(
    S_A: Any, S_AT: Any, S_T: Any, jitter: float = 0.0, nu: float = 1.0
) -> Tensor:
    """Return LogDetCG, log det(S_A + jI - nu^2 S_AT (S_T + jI)^{-1} S_TA) (T35).

    j = jitter. S_A (K, K), S_AT (K, T), S_T (T, T). For nu = 1 and j = lambda it is
    2 EIG(A|T) + K log lambda, the EIG under the precision lambda I + F_T; f(A, T) -
    f(T) in the notation of this package. -inf where A has a direction that T spans, or
    repeats one, without jitter. Raises ValueError for wrong shapes, a negative jitter
    or nu, and blocks that belong to no similarity matrix, as nu > 1 may make them.

    >>> log_det_cg([[4.0]], [[2.0]], [[2.0]]).exp()
    tensor(2.0000, dtype=torch.float64)
    """
    eps = _rounding(S_A=S_A, S_AT=S_AT, S_T=S_T)
    S_A, S_T = _square(S_A, "S_A"), _square(S_T, "S_T", empty=True)
    S_AT = as_tensor(S_AT, "S_AT", (len(S_A), len(S_T)))
    jitter, nu = _not_negative(jitter, "jitter"), _not_negative(nu, "nu")
    count = len(S_T)
    cross = nu * S_AT
    joint = torch.cat([torch.cat([S_T, cross.mT], 1), torch.cat([cross, S_A], 1)])

    def by_factor(lower: Tensor) -> Tensor:
        return 2.0 * lower.diagonal()[count:].log().sum()

    whole = torch.arange(len(joint), device=joint.device)
    terms = [(1, whole), (-1, whole[:count])]
    what = f"[[S_A, nu S_AT], [nu S_TA, S_T]] with nu = {nu:g}"
    return _evaluate(joint, jitter, by_factor, terms, what, ", or lower nu", eps)


def log_det_mi(
    S_A: Any, S_AE: Any, S_E: Any, jitter: float = 0.0, eta: float = 1.0
) -> Tensor:
    """Return log det(S_A + jI) - log det(S_A + jI - eta^2 S_AE (S_E + jI)^-1 S_EA).

    j = jitter; S_A (K, K), S_AE (K, E), S_E (E, E); the result () is in nats. For
    eta = 1 and j = lambda it is 2 JEPIG under the precision lambda I (T34; the talk has
    no 1/2). Without jitter it is the limit lambda -> 0, which depends on angles alone
    (see `log_det_mi_limit`). Small values keep their relative accuracy, and next to a
    singular S some n eps of absolute accuracy.

    Raises ValueError for wrong shapes, a negative jitter or eta, an eta > 1 that makes
    the joint matrix indefinite, and, without jitter, where E spans a direction of A,
    which makes the value infinite.

    >>> log_det_mi([[4.0]], [[2.0]], [[2.0]]).exp()
    tensor(2.0000, dtype=torch.float64)
    """
    eps = _rounding(S_A=S_A, S_AE=S_AE, S_E=S_E)
    S_A, S_E = _square(S_A, "S_A"), _square(S_E, "S_E")
    none = S_A.new_zeros(len(S_A), 0), S_E.new_zeros(len(S_E), 0), S_A.new_zeros(0, 0)
    return _mutual(S_A, S_AE, S_E, *none, jitter, eta, 1.0, eps)


def log_det_cmi(
    S_A: Any,
    S_AE: Any,
    S_E: Any,
    S_AT: Any,
    S_ET: Any,
    S_T: Any,
    jitter: float = 0.0,
    eta: float = 1.0,
    nu: float = 1.0,
) -> Tensor:
    """Return LogDetCMI, f(A, T) + f(E, T) - f(A, E, T) - f(T), () in nats (T35).

    f(X) = log det(S_X + jitter I). S_A (K, K), S_AE (K, E), S_E (E, E), S_AT (K, T),
    S_ET (E, T), S_T (T, T). eta multiplies S_AE and nu S_AT, but nothing S_ET, as in
    submodlib. For eta = nu = 1 and jitter lambda it is 2 JEPIG(A; E) under the
    precision lambda I + F_T. Raises ValueError for wrong shapes, a negative jitter, eta
    or nu, a joint matrix that they make indefinite, as eta != nu may even below 1, and,
    without jitter, where E spans a direction of A given T.

    >>> none = [[0.0]]
    >>> log_det_cmi([[4.0]], [[2.0]], [[2.0]], none, none, [[1.0]]).exp()
    tensor(2.0000, dtype=torch.float64)
    """
    eps = _rounding(S_A=S_A, S_AE=S_AE, S_E=S_E, S_AT=S_AT, S_ET=S_ET, S_T=S_T)
    S_A, S_E = _square(S_A, "S_A"), _square(S_E, "S_E")
    S_T = _square(S_T, "S_T", empty=True)
    S_AT = as_tensor(S_AT, "S_AT", (len(S_A), len(S_T)))
    S_ET = as_tensor(S_ET, "S_ET", (len(S_E), len(S_T)))
    return _mutual(S_A, S_AE, S_E, S_AT, S_ET, S_T, jitter, eta, nu, eps)


def _mutual(
    S_A: Any,
    S_AE: Any,
    S_E: Any,
    S_AT: Any,
    S_ET: Any,
    S_T: Any,
    jitter: float,
    eta: float,
    nu: float,
    eps: float,
) -> Tensor:
    jitter, eta = _not_negative(jitter, "jitter"), _not_negative(eta, "eta")
    nu = _not_negative(nu, "nu")
    S_AE = as_tensor(S_AE, "S_AE", (len(S_A), len(S_E)))
    t, e = len(S_T), len(S_E)
    cross = torch.cat([nu * S_AT, eta * S_AE], 1)
    # A gradient of zero shares nothing, and all its terms cancel.
    some = S_A.any(1) | cross.any(1)
    S_A, cross = S_A[some][:, some], cross[some]
    known = torch.cat([torch.cat([S_T, S_ET.mT], 1), torch.cat([S_ET, S_E], 1)])
    joint = torch.cat([torch.cat([known, cross.mT], 1), torch.cat([cross, S_A], 1)])

    def by_factor(lower: Tensor) -> Tensor:
        # Past T, L L^T is the kernel given T; A given E and T is the last block alone.
        rest, shared = lower[t + e :, t + e :], lower[t + e :, t : t + e]
        solved = torch.linalg.solve_triangular(rest, shared, upper=False)
        if not len(solved):
            return solved.sum()
        return linalg.log_det_identity_plus_rows(solved)

    whole = torch.arange(len(joint), device=joint.device)
    past = torch.cat([whole[:t], whole[t + e :]])
    terms = [(1, past), (1, whole[: t + e]), (-1, whole), (-1, whole[:t])]
    if t:
        what = f"the joint matrix of A, E and T with eta = {eta:g} and nu = {nu:g}"
        advice = ", or lower eta and nu to the same number, at most 1"
    else:
        what = f"[[S_A, eta S_AE], [eta S_EA, S_E]] with eta = {eta:g}"
        advice = ", or lower eta"
    value = _evaluate(joint, jitter, by_factor, terms, what, advice, eps)
    if torch.isinf(value):
        raise ValueError(
            "jitter must be positive here, got 0: the rows of E span a direction of A"
            f"{', given T' if t else ''}, so that rank A + rank E exceeds the rank of "
            "both together and the mutual information is infinite; pass a jitter, "
            "which is the precision of a prior"
        )
    return value.clamp(min=0.0)


def _evaluate(
    kernel: Tensor,
    jitter: float,
    by_factor: Callable[[Tensor], Tensor],
    terms: list,
    what: str,
    advice: str,
    eps: float,
) -> Tensor:
    """Return a sum of signed log-determinants of blocks of S + jitter I.

    From the Cholesky factor of the whole where it is well-conditioned, or where only
    the jitter makes S positive; else from eigenvalues, with the rank decided.

    Raises:
        ValueError: S + jitter I has an eigenvalue below zero.
    """
    lower, trusted = psd.factor(kernel, jitter)
    if trusted and lower is not None:
        return by_factor(lower)
    try:
        return _by_spectra(kernel, jitter, terms, psd.rank_floor(kernel, eps))
    except psd.IndefiniteError:
        if lower is not None:
            return by_factor(lower)
    smallest = psd.smallest_eigenvalue(kernel)
    raise ValueError(
        f"{what} must be positive semi-definite, got a smallest eigenvalue of "
        f"{smallest:.6g} (shape {tuple(kernel.shape)}) with jitter {jitter:g}: raise "
        f"jitter above {-smallest:.6g}{advice}"
    )


def _by_spectra(kernel: Tensor, jitter: float, terms: list, floor: Tensor) -> Tensor:
    total, missing = kernel.new_zeros(()), 0
    for sign, block in terms:
        values = psd.spectrum(kernel[block][:, block], floor)
        total = total + sign * (values + jitter).log().sum()
        missing += sign * (len(block) - len(values))
    if missing:
        total = total + missing * (math.log(jitter) if jitter else -math.inf)
    return total


def _rounding(**blocks: Any) -> float:
    return max(rounding(block, name) for name, block in blocks.items())


def _square(matrix: Any, name: str, empty: bool = False) -> Tensor:
    matrix = symmetric(matrix, name, "n")
    if not empty:
        check_count(len(matrix), name)
    return matrix


def _not_negative(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be a number, got {type(value).__name__}"
        ) from error
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {number}")
    return number

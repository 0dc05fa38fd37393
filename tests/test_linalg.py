import math

import mpmath
import pytest
import torch
from cases import mp_log_det, mp_matrix, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib import linalg


def test_sylvester_both_sides_agree_for_rectangular_matrices():
    a, b = normal(3, 5), normal(5, 3, seed=1)
    left, right = linalg.sylvester(a, b)
    assert abs(left - right) < 1e-10 * abs(left)
    # Neither side is a mirror of the other: a 1 x 1 case by hand.
    left, right = linalg.sylvester([[1.0, 2.0]], [[3.0], [4.0]])
    assert left.item() == pytest.approx(12.0) and right.item() == pytest.approx(12.0)


def test_sylvester_needs_matching_shapes():
    with pytest.raises(ValueError, match=r"b must have shape \(3, 2\), got \(2, 3\)"):
        linalg.sylvester(normal(2, 3), normal(2, 3))


def test_log_det_matches_mpmath():
    half = normal(5, 5)
    matrix = half @ half.mT
    with mpmath.workdps(50):
        assert linalg.log_det(matrix).item() == pytest.approx(
            float(mp_log_det(mp_matrix(matrix))), rel=1e-12, abs=0
        )


def test_an_indefinite_matrix_is_refused_with_its_smallest_eigenvalue():
    with pytest.raises(ValueError, match=r"prior.*smallest eigenvalue of -3"):
        linalg.log_det(torch.diag(torch.tensor([2.0, -3.0])), "prior")
    with pytest.raises(ValueError, match="symmetric"):
        linalg.log_det([[1.0, 0.5], [0.0, 1.0]])
    with pytest.raises(ValueError, match="finite"):
        linalg.log_det([[math.nan]])


@pytest.mark.parametrize("exponent", [-300, -150, -20, -8, 0, 8, 150, 299])
@pytest.mark.parametrize("n", [1, 2, 7, 37])
def test_log_det_identity_plus_is_relatively_accurate_at_every_scale(exponent, n):
    half = normal(n, n + 2, seed=n)
    gram = half @ half.mT
    matrix = gram * 10.0**exponent
    with mpmath.workdps(700):
        exact = mp_log_det(mpmath.eye(n) + mp_matrix(matrix))
    assert linalg.log_det_identity_plus(matrix).item() == pytest.approx(
        float(exact), rel=1e-12, abs=0
    )


def test_log_det_identity_plus_of_graded_and_batched_matrices():
    scales = torch.tensor([1e-150, 1e-3, 1.0, 1e150], dtype=torch.float64)
    base = torch.eye(4, dtype=torch.float64) + 0.1
    matrices = torch.stack([scales[:, None] * base * scales, base])
    with mpmath.workdps(700):
        exact = [
            float(mp_log_det(mpmath.eye(4) + mp_matrix(matrix))) for matrix in matrices
        ]
    torch.testing.assert_close(
        linalg.log_det_identity_plus(matrices),
        torch.tensor(exact, dtype=torch.float64),
        rtol=1e-13,
        atol=0.0,
    )


@pytest.mark.parametrize("n", [2, 3, 23])
@pytest.mark.parametrize("scale", [1e-300, 1e-9, 0.9])
def test_log_det_identity_minus_matches_mpmath(n, scale):
    half = normal(n, n, seed=n)
    gram = half @ half.mT
    matrix = scale * gram / torch.linalg.matrix_norm(gram, 2)
    with mpmath.workdps(700):
        exact = float(mp_log_det(mpmath.eye(n) - mp_matrix(matrix)))
    assert linalg.log_det_identity_minus(matrix).item() == pytest.approx(
        exact, rel=1e-12, abs=0
    )


def test_identity_plus_and_minus_refuse_what_has_no_logarithm():
    with pytest.raises(ValueError, match=r"smallest eigenvalue of -2"):
        linalg.log_det_identity_plus(torch.diag(torch.tensor([1.0, -2.0])))
    with pytest.raises(ValueError, match="smallest eigenvalue"):
        linalg.log_det_identity_plus(-2.0 * torch.eye(40))
    with pytest.raises(ValueError, match=r"largest eigenvalue of A of 1"):
        linalg.log_det_identity_minus(torch.eye(2))
    with pytest.raises(ValueError, match=r"\(..., n, n\) with n > 0, got \(2, 3\)"):
        linalg.log_det_identity_plus(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="symmetric"):
        linalg.log_det_identity_plus([[1.0, 0.5], [0.0, 1.0]])


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_rank_deficient_matrices_match_the_other_side(n, rank, seed):
    half = normal(n, rank, seed=seed)
    other = linalg.log_det_identity_plus(half.mT @ half)
    torch.testing.assert_close(
        linalg.log_det_identity_plus(half @ half.mT), other, rtol=1e-12, atol=1e-13
    )


def test_determinant_lemma_and_woodbury_against_dense_algebra():
    half = normal(7, 7)
    p = half @ half.mT + torch.eye(7)
    u, v = normal(7, 3, seed=2), normal(7, 3, seed=3)
    v = v * torch.sign(torch.linalg.det(torch.eye(3) + v.mT @ torch.linalg.solve(p, u)))
    updated = p + u @ v.mT
    value = linalg.matrix_determinant_lemma(
        linalg.log_det(p), torch.linalg.solve(p, u), v
    )
    sign, expected = torch.linalg.slogdet(updated)
    assert sign > 0
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        linalg.woodbury(torch.linalg.inv(p), u, v),
        torch.linalg.inv(updated),
        rtol=1e-9,
        atol=1e-9,
    )


def test_updates_that_leave_no_determinant_are_refused():
    eye = torch.eye(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="positive determinant"):
        linalg.matrix_determinant_lemma(0.0, eye[:, :1], -2 * eye[:, :1])
    with pytest.raises(ValueError, match="invertible"):
        linalg.woodbury(eye, eye[:, :1], -eye[:, :1])
    with pytest.raises(ValueError, match=r"v must have shape \(2, 1\), got \(2, 2\)"):
        linalg.woodbury(eye, eye[:, :1], eye)


def test_schur_complement_factors_the_determinant():
    matrix = normal(5, 5)
    rest = linalg.schur_complement(matrix, 2)
    assert rest.shape == (3, 3)
    product = torch.linalg.det(matrix[:2, :2]) * torch.linalg.det(rest)
    torch.testing.assert_close(product, torch.linalg.det(matrix), rtol=1e-10, atol=0)
    with pytest.raises(ValueError, match=r"split must lie in 1..4, got 5"):
        linalg.schur_complement(matrix, 5)
    with pytest.raises(ValueError, match="leading block must be invertible"):
        linalg.schur_complement(torch.zeros(2, 2), 1)


def test_a_residual_is_known_to_its_own_last_digits():
    """Of C - A B with C = A B up to rounding all but nothing is left."""
    for scale in (1.0, 1e-12, 1e9):
        a, b = normal(3, 7), normal(7, 5, seed=1)
        b[2] *= scale
        for c in (a @ b, a @ b + 1e-20 * normal(3, 5, seed=2), normal(3, 5, seed=2)):
            with mpmath.workdps(60):
                exact = mp_matrix(c) - mp_matrix(a) * mp_matrix(b)
                exact = torch.tensor(exact.tolist(), dtype=torch.float64)
            floor = 1e-30 * float((a.abs() @ b.abs()).max())
            torch.testing.assert_close(
                linalg.residual(c, a, b), exact, rtol=1e-14, atol=floor
            )


@pytest.mark.parametrize("shape", [(1, 5), (3, 2), (7, 11)])
@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e8])
def test_rows_factor_what_their_gram_matrix_would(shape, scale):
    rows = scale * normal(*shape)
    with mpmath.workdps(700):
        half = mp_matrix(rows)
        exact = mp_log_det(mpmath.eye(shape[0]) + half * half.T)
    found = linalg.log_det_identity_plus_rows(rows).item()
    assert found == pytest.approx(float(exact), rel=1e-13, abs=0)
    factor, excess = linalg.identity_plus_factor(rows)
    gram = torch.eye(shape[0], dtype=torch.float64) + rows @ rows.mT
    torch.testing.assert_close(factor @ factor.mT, gram, rtol=1e-12, atol=1e-12)
    assert (factor.triu(1) == 0).all() and (excess > 0).all()


def test_rows_keep_a_small_direction_beside_a_large_one():
    """Two rows whose sum is known to 1 and whose difference to 1e10."""
    big = 1e10 * torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    rows = big + torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    with mpmath.workdps(60):
        half = mp_matrix(rows)
        exact = float(mp_log_det(mpmath.eye(2) + half * half.T))
    found = linalg.log_det_identity_plus_rows(rows).item()
    assert found == pytest.approx(exact, rel=1e-14, abs=0)


@pytest.mark.parametrize("exponent", [0, 4, 10])
def test_a_condition_number_is_known_within_a_factor_of_two(exponent):
    basis = torch.linalg.qr(normal(37, 37))[0]
    values = torch.logspace(0, exponent, 37, dtype=torch.float64)
    matrix = basis * values @ basis.mT
    found = linalg.condition_number(torch.linalg.cholesky((matrix + matrix.mT) / 2))
    assert 10**exponent / 2 <= found <= 2 * 10**exponent

"""What is left as the prior precision goes to zero (claims T32, T34)."""

import math

import mpmath
import pytest
import scipy.linalg
import torch
from cases import dense_roots, mp_fisher, mp_log_det, normal, softmax_roots
from hypothesis import given, settings
from hypothesis import strategies as st
from test_similarity_log_dets import inner, weight_space, weight_space_mi

from fimlib.similarity import (
    eig_small_prior,
    jepig_small_prior,
    jepig_small_prior_slope,
    log_det,
    log_det_mi,
    log_det_mi_limit,
    principal_angles,
)

D = 11


def gram(rows):
    return rows @ rows.mT


def overlapping(shared=2, seed=0):
    """A (3, D) and E (5, D) whose row spaces share `shared` directions."""
    a, e = normal(3, D, seed=seed), normal(5, D, seed=seed + 1)
    e[:shared] = normal(shared, shared, seed=seed + 2) @ a[:shared]
    return a, normal(5, 5, seed=seed + 3) @ e


# --- angles ------------------------------------------------------------------------


def test_angles_of_planes_that_are_known():
    turn = torch.tensor([1e-12, 1e-5, 0.7, math.pi / 2 - 1e-6], dtype=torch.float64)
    axes = torch.eye(D, dtype=torch.float64)
    a = axes[:4]
    b = turn.cos()[:, None] * axes[:4] + turn.sin()[:, None] * axes[4:8]
    mixed = normal(4, 4, seed=1) @ a, normal(4, 4, seed=2) @ b
    found = principal_angles(*mixed)
    torch.testing.assert_close(found, turn, rtol=1e-12, atol=1e-15)
    # Rows that repeat or are zero, and their lengths, change no angle.
    more = torch.cat([1e9 * a, 1e-200 * a[:2], a[:1] + a[1:2], 0.0 * a[:1]])
    torch.testing.assert_close(principal_angles(more, b), turn, rtol=1e-12, atol=1e-15)
    assert principal_angles(a, axes[8:]).tolist() == [math.pi / 2] * 3


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_angles_agree_with_scipy_and_do_not_depend_on_the_order(p, q, seed):
    a, b = normal(p, 7, seed=seed), normal(q, 7, seed=seed + 100)
    expected = scipy.linalg.subspace_angles(a.mT.numpy(), b.mT.numpy())[::-1]
    found = principal_angles(a, b)
    # scipy takes some small angles from their cosines, to sqrt(eps).
    torch.testing.assert_close(
        found, torch.tensor(expected.copy()), rtol=1e-7, atol=1e-7
    )
    torch.testing.assert_close(principal_angles(b, a), found, rtol=1e-10, atol=1e-12)


def test_roots_of_any_kind_have_angles():
    a, e = softmax_roots(2, width=7, seed=1), softmax_roots(3, width=7, seed=5)
    rows = a.dense().flatten(0, 1), e.dense().flatten(0, 1)
    torch.testing.assert_close(principal_angles(a, e), principal_angles(*rows))
    assert len(principal_angles(a, e)) == 6
    assert len(principal_angles(torch.zeros(2, D), rows[0][:, :D])) == 0
    with pytest.raises(ValueError, match=r"b must have 11 parameters.*got 7"):
        principal_angles(normal(3, D), normal(3, 7))
    with pytest.raises(ValueError, match="e must hold at least one"):
        log_det_mi_limit(dense_roots(3), normal(0, D))


# --- LogDetMI ----------------------------------------------------------------------


def test_the_limit_keeps_angles_alone():
    """claim T34: independent of all gradient norms, also for dependent rows."""
    a, e = normal(3, D), normal(5, D, seed=1)
    limit = log_det_mi_limit(a, e)
    assert (limit.rank_a, limit.rank_e, limit.rank_union, limit.slope) == (3, 5, 8, 0)
    exact = weight_space_mi("1e-40", a, e)
    assert limit.value == pytest.approx(exact, rel=1e-12)
    lengths = torch.tensor([[1e-6], [1.0], [1e6]], dtype=torch.float64)
    assert log_det_mi_limit(lengths * a, 3.0 * e).value == pytest.approx(limit.value)
    dependent = torch.cat([a, a[:1] + 2.0 * a[1:2]])
    assert log_det_mi_limit(dependent, e).value == pytest.approx(limit.value)
    for rows in (a, lengths * a, dependent):
        found = log_det_mi(*inner(rows, e))
        assert float(found) == pytest.approx(limit.value, rel=1e-9)
    # It is the determinants' ratio, 1/2 of which the talk forgets.
    s_a, s_ae, s_e = inner(a, e)
    rest = s_a - s_ae @ torch.linalg.inv(s_e) @ s_ae.mT
    ratio = torch.linalg.slogdet(s_a)[1] - torch.linalg.slogdet(rest)[1]
    assert limit.value == pytest.approx(float(ratio), rel=1e-12)


def test_small_angles_and_right_angles_keep_their_digits():
    axes = torch.eye(D, dtype=torch.float64)
    for angle in (1e-7, 1e-3, 1.0):
        turned = math.cos(angle) * axes[:1] + math.sin(angle) * axes[1:2]
        limit = log_det_mi_limit(axes[:1], turned)
        assert limit.value == pytest.approx(-2 * math.log(math.sin(angle)), rel=1e-14)
    tilted = axes[2:3] + 1e-6 * axes[:1]
    assert log_det_mi_limit(axes[:1], tilted).value == pytest.approx(1e-12, rel=1e-9)
    assert log_det_mi_limit(axes[:1], axes[2:3]).value == 0.0


@pytest.mark.parametrize("shared", [1, 2])
def test_shared_directions_make_it_grow_by_one_log_each(shared):
    """claim T34: the slope of JEPIG is half of rank A + rank E - rank of both."""
    a, e = overlapping(shared)
    limit = log_det_mi_limit(a, e)
    assert limit.slope == shared and limit.value == math.inf
    assert limit.rank_union == 8 - shared
    slope = jepig_small_prior_slope(*inner(a, e))
    assert slope == shared / 2
    ends = [float(log_det_mi(*inner(a, e), jitter=lam)) / 2 for lam in (1e-6, 1e-10)]
    observed = (ends[1] - ends[0]) / math.log(1e4)
    assert observed == pytest.approx(slope, rel=1e-3)


def test_many_evaluation_points_cover_every_candidate():
    """claim T34: E >= (C - 1)(d + 1) in general position, for a softmax last layer."""
    pool, evals = softmax_roots(1, width=2, seed=1), softmax_roots(3, width=2, seed=7)
    rows = [one.dense().flatten(0, 1) for one in (pool, evals)]
    limit = log_det_mi_limit(pool, evals)
    assert limit.rank_e == 9 == (4 - 1) * (2 + 1) and limit.slope == limit.rank_a == 3
    with pytest.raises(ValueError, match="infinite"):
        log_det_mi(*inner(*rows))


# --- expansions --------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, 13])
def test_the_expansion_of_the_eig(count):
    """claim T32: -(r/2) log lambda + 1/2 sum log s + (lambda/2) sum 1/s - ..."""
    g = normal(count, D, seed=5)
    values = torch.linalg.eigvalsh(g.mT @ g)[-min(count, D) :]
    rank = len(values)
    lam = 1e-4
    by_hand = -rank / 2 * math.log(lam) + float(values.log().sum()) / 2
    assert float(eig_small_prior(gram(g), lam, order=0)) == pytest.approx(by_hand)
    by_hand += lam / 2 * float((1 / values).sum())
    assert float(eig_small_prior(gram(g), lam)) == pytest.approx(by_hand, rel=1e-12)
    # Each order gains a factor lambda / s: errors against 60 digits.
    smallest = float(values.min())
    with mpmath.workdps(60):
        for order in (0, 1, 2):
            for lam in (1e-2 * smallest, 1e-4 * smallest):
                exact = weight_space(lam, g) / 2
                found = eig_small_prior(gram(g), lam, order)
                error = abs(float(exact - float(found)))
                next_term = float((lam / values).pow(order + 1).sum()) / (order + 1) / 2
                assert error < 1.1 * next_term + 1e-13
                assert error > 0.9 * next_term or next_term < 1e-11
    if count == 4:
        # The determinant of S itself is what remains, once the divergence is gone.
        tiny = float(eig_small_prior(gram(g), 1e-30, 0)) + 4 / 2 * math.log(1e-30)
        assert tiny == pytest.approx(float(log_det(gram(g))) / 2, rel=1e-12)


@pytest.mark.parametrize("shared", [0, 1])
def test_the_expansion_of_the_jepig(shared):
    a, e = (
        overlapping(shared, seed=11) if shared else (normal(3, D), normal(5, D, seed=1))
    )
    blocks = inner(a, e)
    for order, power in ((0, 1), (1, 2), (2, 3)):
        errors = [
            abs(
                float(jepig_small_prior(*blocks, lam, order))
                - weight_space_mi(lam, a, e) / 2
            )
            for lam in (1e-2, 1e-3)
        ]
        rate = math.log10(errors[0] / errors[1])
        assert rate == pytest.approx(power, abs=0.15)


def test_batches_are_first_ranked_by_rank():
    """claim T32: only differences between batches of equal rank converge."""
    g = normal(3, D)
    larger = torch.cat([1e4 * g[:2], 1e4 * (g[:1] + g[1:2])])
    assert log_det(gram(larger), 1.0) > log_det(gram(g), 1.0)
    assert log_det(gram(larger)) == -math.inf
    assert eig_small_prior(gram(larger), 1e-30) < eig_small_prior(gram(g), 1e-30)
    with mpmath.workdps(70):
        ridge = mpmath.mpf("1e-30") * mpmath.eye(D)
        shift = D * mpmath.log(mpmath.mpf("1e-30"))
        for rows in (larger, g):
            exact = (mp_log_det(ridge + mp_fisher(rows)) - shift) / 2
            # `larger` is of rank 2 but for the rounding of its third row.
            found = float(eig_small_prior(gram(rows), 1e-30))
            assert found == pytest.approx(
                float(exact), rel=0.3 if rows is larger else 1e-9
            )


def test_bad_input_is_refused():
    s = gram(normal(3, D))
    with pytest.raises(ValueError, match="prior_precision must be positive"):
        eig_small_prior(s, 0.0)
    with pytest.raises(ValueError, match="order must be an integer from 0 up, got -1"):
        eig_small_prior(s, 1e-3, order=-1)
    with pytest.raises(ValueError, match=r"S must be positive.*eigenvalue of -2"):
        eig_small_prior([[1.0, 3.0], [3.0, 1.0]], 1e-3)
    with pytest.raises(ValueError, match=r"\[\[S_A, S_AE\], .*eigenvalue of -1"):
        jepig_small_prior_slope([[1.0]], [[2.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"S_AE must have shape \(3, 1\)"):
        jepig_small_prior(s, s, [[1.0]], 1e-3)

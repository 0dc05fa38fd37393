"""log det, LogDetMI, LogDetCG and LogDetCMI against weight space and 50 digits."""

import math

import mpmath
import pytest
import torch
from cases import mp_fisher, mp_log_det, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.blr import BayesianLinearRegression
from fimlib.fisher import FisherRoots
from fimlib.information import batch_eig
from fimlib.posterior import GaussianPosterior
from fimlib.similarity import (
    log_det,
    log_det_cg,
    log_det_cmi,
    log_det_mi,
    similarity_matrix,
)

K, E, T, D = 3, 5, 2, 11
A_ROWS, E_ROWS, T_ROWS = normal(K, D), normal(E, D, seed=1), normal(T, D, seed=2)


def inner(*rows):
    """The blocks S_A, S_AE, S_E (, S_AT, S_ET, S_T) of two or three sets of rows."""
    a, e, *t = rows
    blocks = [a @ a.mT, a @ e.mT, e @ e.mT]
    return blocks + [
        block for one in t for block in (a @ one.mT, e @ one.mT, one @ one.mT)
    ]


def weight_space(lam, *rows):
    """log det(I + F / lambda) of all these rows, by D x D determinants in 60 digits."""
    rows = torch.cat(rows)
    if not len(rows):
        return mpmath.mpf(0)
    lam = mpmath.mpf(lam)
    size = rows.shape[1]
    return mp_log_det(mpmath.eye(size) + mp_fisher(rows) / lam)


def weight_space_mi(lam, a, e, t=A_ROWS[:0]):
    """2 JEPIG(A; E) under P = lambda I + F_T, as a difference of EIGs, in 60 digits."""
    with mpmath.workdps(60):
        joint = weight_space(lam, a, t) + weight_space(lam, e, t)
        return float(joint - weight_space(lam, a, e, t) - weight_space(lam, t))


def near(found, expected, rel=1e-10):
    assert float(found) == pytest.approx(float(expected), rel=rel, abs=0)


# --- log det -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 13])
@pytest.mark.parametrize("jitter", [0.0, 1e-30, 1e-6, 0.7, 1e9])
def test_log_det_in_fifty_digits(count, jitter):
    """claim T32: also for more rows than parameters, as long as there is a jitter."""
    g = normal(count, D, seed=3)
    found = log_det(g @ g.mT, jitter)
    if count > D and not jitter:
        assert found == -math.inf
        return
    # The parameters' side, n log(lambda) + log det(I_D + F/lambda), loses a digit for
    # each of 1/lambda.
    with mpmath.workdps(120):
        shift = count * mpmath.log(jitter or "1e-50")
        expected = shift + weight_space(jitter or "1e-50", g)
    near(found, expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e-3, 1e150])
def test_single_short_rows_do_not_count_as_dependent(scale):
    g = normal(4, D, seed=3)
    scales = torch.tensor([1.0, scale, 1.0, scale**0.5], dtype=torch.float64)
    scaled = scales[:, None] * g
    expected = float(log_det(g @ g.mT)) + 2 * float(scales.log().sum())
    near(log_det(scaled @ scaled.mT), expected, rel=1e-12)
    again = torch.cat([scaled, scaled[1:2]])
    assert log_det(again @ again.mT) == -math.inf


def test_duplicates_cost_the_jitter_each_and_no_more():
    """A duplicate doubles one gradient's information: the closed form of two rows."""
    g = normal(1, D)
    twice = torch.cat([g, g])
    square = float(g.square().sum())
    for jitter in (0.5, 1e-9, 1e-40):
        near(
            log_det(twice @ twice.mT, jitter),
            math.log(jitter) + math.log(2 * square + jitter),
            rel=1e-13,
        )
    assert log_det(twice @ twice.mT) == -math.inf


@pytest.mark.parametrize("count", [997, 1009])
def test_large_matrices_take_the_same_values(count):
    g = normal(count, 31)
    shift = count * math.log(1e-4)
    expected = torch.linalg.slogdet(torch.eye(31).double() + g.mT @ g / 1e-4)[1] + shift
    near(log_det(g @ g.mT, 1e-4), expected, rel=1e-9)


def test_an_indefinite_matrix_is_refused_with_its_smallest_eigenvalue():
    wrong = torch.tensor([[1.0, 3.0], [3.0, 1.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"S must be positive.*-2 .*jitter 1.*above 2"):
        log_det(wrong, 1.0)
    # With enough jitter it is a number like any other, as a sum of kernels may be.
    near(log_det(wrong, 2.5), math.log(3.5**2 - 9.0))
    with pytest.raises(ValueError, match="jitter must be finite and not negative"):
        log_det(torch.eye(2).double(), -1e-9)
    with pytest.raises(ValueError, match="jitter must be a number"):
        log_det(torch.eye(2).double(), "small")
    with pytest.raises(ValueError, match="S must be symmetric"):
        log_det([[1.0, 0.5], [0.0, 1.0]])
    with pytest.raises(ValueError, match="S must hold at least one example"):
        log_det(torch.zeros(0, 0))
    with pytest.raises(ValueError, match="S must be positive semi-definite"):
        log_det([[0.0, 1.0], [1.0, 5.0]])


# --- LogDetMI ----------------------------------------------------------------------


@pytest.mark.parametrize("jitter", [1e3, 1.0, 1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("counts", [(3, 5), (3, 13), (13, 2), (1, 1), (13, 17)])
def test_log_det_mi_is_twice_the_jepig(counts, jitter):
    """claim T34, at any prior precision, with fewer and with more rows than D."""
    a, e = normal(counts[0], D, seed=3), normal(counts[1], D, seed=4)
    expected = weight_space_mi(jitter, a, e)
    near(log_det_mi(*inner(a, e), jitter=jitter), expected, rel=1e-9)
    # Symmetric in A and E.
    near(log_det_mi(*inner(e, a), jitter=jitter), expected, rel=1e-9)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_log_det_mi_is_the_talks_expression_with_its_jitter(count, evals, seed):
    a, e = normal(count, D, seed=seed), normal(evals, D, seed=seed + 100)
    s_a, s_ae, s_e = inner(a, e)
    j_a, j_e = (0.3 * torch.eye(n, dtype=torch.float64) for n in (count, evals))
    rest = s_a + j_a - s_ae @ torch.linalg.inv(s_e + j_e) @ s_ae.mT
    expected = torch.linalg.slogdet(s_a + j_a)[1] - torch.linalg.slogdet(rest)[1]
    near(log_det_mi(s_a, s_ae, s_e, 0.3), expected, rel=1e-9)


def test_small_informations_keep_their_digits():
    """Two rows with a correlation of 1e-12 share -log(1 - 1e-24), not 0 or rounding."""
    for rho in (1e-3, 1e-12, 1e-100):
        found = log_det_mi([[2.0]], [[2.0 * rho * 3.0]], [[18.0]])
        near(found, -math.log1p(-(rho**2)) or rho**2, rel=1e-13)


def test_a_gradient_of_zero_shares_nothing():
    a = torch.cat([A_ROWS, torch.zeros(1, D).double()])
    for jitter in (0.0, 0.3):
        near(
            log_det_mi(*inner(a, E_ROWS), jitter=jitter),
            log_det_mi(*inner(A_ROWS, E_ROWS), jitter=jitter),
        )
    nothing = torch.zeros(2, D).double()
    for jitter in (0.0, 0.3):
        assert log_det_mi(*inner(nothing, E_ROWS), jitter=jitter) == 0.0


def test_monotone_but_not_submodular():
    """claim T49: BLR with P = I, s2 = 1, u = (2,2), a = (2,0), b = (-1,2)."""
    u, a, b = torch.tensor([[[2.0, 2.0]], [[2.0, 0.0]], [[-1.0, 2.0]]]).double()

    def value(*rows):
        return float(log_det_mi(*inner(torch.cat(rows), u), jitter=1.0)) / 2

    alone, after = value(b), value(a, b) - value(a)
    assert alone == pytest.approx(0.03848, abs=5e-6)
    assert after == pytest.approx(0.28080, abs=5e-6)


def test_noise_free_targets_are_the_limit_of_precise_evaluation():
    """claim T29: JEPIG with evaluation noise e2 -> I(f_E; y_x) as e2 -> 0."""
    x, targets = normal(1, 5, seed=7), normal(3, 5, seed=8)
    blr = BayesianLinearRegression(torch.zeros(5).double(), torch.eye(5).double(), 1.0)
    # I(f_E; y) = H[y] - H[y | f_E], from the covariance of x^T theta given f_E.
    seen = x - x @ targets.mT @ torch.linalg.inv(targets @ targets.mT) @ targets
    exact = math.log((1 + float(x @ x.mT)) / (1 + float(seen @ seen.mT))) / 2
    gaps = []
    for e2 in (1.0, 1e-2, 1e-4, 1e-8):
        found = float(log_det_mi(*inner(x, targets / e2**0.5), jitter=1.0)) / 2
        assert found < min(exact, float(blr.eig(x)))
        gaps.append(exact - found)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[2] < 1e-3 and gaps[3] < 1e-6 < gaps[2]


# --- LogDetCG and LogDetCMI --------------------------------------------------------


@pytest.mark.parametrize("jitter", [1.0, 1e-6, 1e-12])
@pytest.mark.parametrize("known", [0, 2, 13])
def test_log_det_cg_is_the_eig_of_what_training_left(known, jitter):
    """claim T35: 2 EIG(A|T) + K log lambda, with P = lambda I + F_T."""
    t = normal(known, D, seed=5)
    found = log_det_cg(A_ROWS @ A_ROWS.mT, A_ROWS @ t.mT, t @ t.mT, jitter)
    with mpmath.workdps(60):
        gain = weight_space(jitter, A_ROWS, t) - weight_space(jitter, t)
        near(found, gain + K * mpmath.log(jitter), rel=1e-8)
    if jitter == 1.0:
        post = GaussianPosterior.from_roots(FisherRoots.from_dense(t), 1.0)
        near(found, 2 * batch_eig(FisherRoots.from_dense(A_ROWS), post))


def test_log_det_cg_without_jitter_is_a_squared_volume():
    """The parallelotope that A spans beyond T; -inf once T spans a part of it."""
    q = torch.linalg.qr(T_ROWS.mT)[0]
    outside = A_ROWS - A_ROWS @ q @ q.mT
    s_a, s_at, s_t = inner(A_ROWS, T_ROWS)
    expected = torch.linalg.slogdet(outside @ outside.mT)[1]
    near(log_det_cg(s_a, s_at, s_t), expected)
    twice = torch.cat([T_ROWS, T_ROWS])
    near(log_det_cg(s_a, A_ROWS @ twice.mT, twice @ twice.mT), expected)
    covering = torch.cat([T_ROWS, A_ROWS[:1] + T_ROWS[:1]])
    found = log_det_cg(s_a, A_ROWS @ covering.mT, covering @ covering.mT)
    assert found == -math.inf


@pytest.mark.parametrize("jitter", [1.0, 1e-6, 1e-12])
@pytest.mark.parametrize("known", [0, 2, 13])
def test_log_det_cmi_is_the_jepig_of_what_training_left(known, jitter):
    """claim T35: 2 JEPIG(A; E) under P = lambda I + F_T."""
    t = normal(known, D, seed=5)
    found = log_det_cmi(*inner(A_ROWS, E_ROWS, t), jitter=jitter)
    near(found, weight_space_mi(jitter, A_ROWS, E_ROWS, t), rel=1e-8)


def test_with_training_data_the_kernels_are_those_of_its_posterior():
    """claims T30, T35: conditioning on T and weighting by P^{-1} agree."""
    post = GaussianPosterior.from_roots(FisherRoots.from_dense(T_ROWS), 0.3)
    pairs = ((A_ROWS, A_ROWS), (A_ROWS, E_ROWS), (E_ROWS, E_ROWS))
    weighted = [similarity_matrix(*pair, posterior=post) for pair in pairs]
    blocks = inner(A_ROWS, E_ROWS, T_ROWS)
    near(log_det_mi(*weighted, jitter=1.0), log_det_cmi(*blocks, jitter=0.3))
    s_a, _, _, s_at, _, s_t = blocks
    near(
        log_det(weighted[0], 1.0) + K * math.log(0.3),
        log_det_cg(s_a, s_at, s_t, 0.3),
    )


# --- eta and nu --------------------------------------------------------------------


def by_definition(jitter, eta, nu, s_a, s_ae, s_e, s_at, s_et, s_t):
    """f(A,T) + f(Q,T) - f(A,Q,T) - f(T) on one scaled matrix, block by block."""
    s_ae, s_at = eta * s_ae, nu * s_at
    rows = [
        torch.cat([s_a, s_ae, s_at], 1),
        torch.cat([s_ae.mT, s_e, s_et], 1),
        torch.cat([s_at.mT, s_et.mT, s_t], 1),
    ]
    matrix = torch.cat(rows) + jitter * torch.eye(K + E + T, dtype=torch.float64)
    sets = {"A": range(K), "Q": range(K, K + E), "T": range(K + E, K + E + T)}

    def f(names):
        index = torch.tensor([i for name in names for i in sets[name]])
        return torch.linalg.slogdet(matrix[index][:, index])[1]

    return f("AT") + f("QT") - f("AQT") - f("T"), f("AT") - f("T"), matrix


@pytest.mark.parametrize(
    ("eta", "nu"), [(1.0, 1.0), (0.5, 0.5), (0.0, 0.7), (0.9, 1.0), (1.05, 1.05)]
)
def test_eta_and_nu_scale_the_blocks_of_the_candidates(eta, nu):
    """claim T35: eta between A and Q, nu between A and T, nothing between Q and T."""
    blocks = inner(A_ROWS, E_ROWS, T_ROWS)
    s_a, s_ae, s_e, s_at, _, s_t = blocks
    cmi, cg, matrix = by_definition(2.0, eta, nu, *blocks)
    assert torch.linalg.eigvalsh(matrix)[0] > 0
    near(log_det_cmi(*blocks, 2.0, eta, nu), cmi, rel=1e-9)
    near(log_det_cg(s_a, s_at, s_t, 2.0, nu), cg, rel=1e-9)
    outer = (
        eta**2 * s_ae @ torch.linalg.inv(s_e + 2.0 * torch.eye(E).double()) @ s_ae.mT
    )
    shifted = s_a + 2.0 * torch.eye(K).double()
    mi = torch.linalg.slogdet(shifted)[1] - torch.linalg.slogdet(shifted - outer)[1]
    if eta:
        near(log_det_mi(s_a, s_ae, s_e, 2.0, eta), mi, rel=1e-9)
    else:
        assert log_det_mi(s_a, s_ae, s_e, 2.0, eta) == 0.0


def test_an_eta_that_breaks_the_kernel_is_refused_with_what_helps():
    """claim T34: eta > 1 may ask for the log of a negative number."""
    row = normal(1, D)
    blocks = inner(row, row)
    size = float(row.square().sum())
    # Eigenvalues of the joint matrix: |g|^2 (1 -+ eta).
    with pytest.raises(ValueError, match=r"eta = 2.*smallest eigenvalue.*or lower eta"):
        log_det_mi(*blocks, 0.5 * size, eta=2.0)
    near(
        log_det_mi(*blocks, 1.5 * size, eta=2.0),
        2 * math.log(2.5) - math.log(2.5**2 - 4.0),
    )
    # Between: only the jitter makes it positive, by little.
    tight = (1 + 1e-9) * size
    near(
        log_det_mi(*blocks, tight, eta=2.0),
        2 * math.log(2 * size) - math.log(4e-9) - 2 * math.log(size),
        rel=1e-6,
    )
    # nu alone may do so below one, for Q and T that overlap.
    one = torch.ones(1, 1).double()
    with pytest.raises(ValueError, match=r"eta = 1 and nu = 0 .*the same number"):
        log_det_cmi(one, one, one, one, one, one, 0.1, nu=0.0)
    with pytest.raises(ValueError, match=r"nu = 3 .*or lower nu"):
        log_det_cg(one, one, one, 0.1, nu=3.0)
    with pytest.raises(ValueError, match="eta must be finite and not negative"):
        log_det_mi(*blocks, 1.0, eta=-1.0)


def test_shapes_are_checked_by_name():
    s_a, s_ae, s_e, s_at, s_et, s_t = inner(A_ROWS, E_ROWS, T_ROWS)
    with pytest.raises(
        ValueError, match=r"S_AE must have shape \(3, 5\), got \(5, 3\)"
    ):
        log_det_mi(s_a, s_ae.mT, s_e)
    with pytest.raises(ValueError, match="S_E must be symmetric"):
        log_det_mi(s_a, s_ae, s_e + torch.triu(s_e))
    with pytest.raises(ValueError, match="S_E must hold at least one"):
        log_det_mi(s_a, s_ae[:, :0], s_e[:0, :0])
    with pytest.raises(ValueError, match=r"S_AT must have shape \(3, 2\)"):
        log_det_cg(s_a, s_at.mT, s_t)
    with pytest.raises(ValueError, match=r"S_ET must have shape \(5, 2\)"):
        log_det_cmi(s_a, s_ae, s_e, s_at, s_et.mT, s_t)


def test_an_evaluation_set_that_covers_a_candidate_needs_a_jitter():
    """claim T34: infinite, and never NaN or a number from rounding."""
    covering = torch.cat([E_ROWS, (A_ROWS[0] - 2.0 * A_ROWS[1])[None]])
    blocks = inner(A_ROWS, covering)
    with pytest.raises(ValueError, match=r"jitter must be positive.*span.*precision"):
        log_det_mi(*blocks)
    assert log_det_mi(*blocks, jitter=1e-9) > 0
    blocks = inner(A_ROWS, torch.cat([E_ROWS, A_ROWS[:1] + T_ROWS[:1]]), T_ROWS)
    with pytest.raises(ValueError, match="given T"):
        log_det_cmi(*blocks)
    # Not given T, it is finite: only with T does E span the direction.
    assert torch.isfinite(log_det_mi(*blocks[:3]))

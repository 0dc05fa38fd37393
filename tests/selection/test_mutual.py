"""Greedy JEPIG (LogDetMI), CG and CMI against the determinants they are made of."""

import mpmath
import numpy as np
import pytest
import torch
from cases import (
    D,
    dense_roots,
    fishers,
    mp_fisher,
    mp_log_det,
    normal,
    problem,
    softmax_roots,
)

from fimlib.fisher import FisherRoots, network_roots
from fimlib.information import batch_eig, jepig
from fimlib.posterior import GaussianPosterior
from fimlib.selection import (
    covariances,
    greedy_log_det,
    log_det_cg,
    log_det_cmi,
    log_det_mi,
)
from selection.brute_force import eig_value, greedy, jepig_value, kernel_value


def private(kind):
    return dense_roots(3, seed=77) if kind == "dense" else softmax_roots(3, seed=77)


def check(found, value, count, batch_size, tolerance=1e-9):
    indices, gains = greedy(value, count, batch_size)
    assert found.indices.tolist() == indices
    np.testing.assert_allclose(found.gains, gains, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["dense", "softmax"])
@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_gains_are_increments_of_jepig(kind, batch_size):
    pool, evals, post = problem(kind)
    found = log_det_mi(pool, evals, post, batch_size)
    whole = jepig_value(fishers(pool), fishers(evals).sum(0), post.precision)
    check(found, whole, 7, batch_size, tolerance=1e-11)
    single = jepig(pool, evals, post)
    assert float(found.gains[0]) == pytest.approx(float(single.max()), rel=1e-12)
    chosen = pool[found.indices]
    left = batch_eig(chosen, post) - batch_eig(chosen, post.update(evals))
    assert float(found.gains.sum()) == pytest.approx(float(left), rel=1e-11)
    assert found.notes == () and found.gains.dtype == torch.float64


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("count", [1, 5, 29])
def test_any_rank_and_prior_and_number_of_evaluation_examples(rank, count):
    rows = normal(D + 2, D, seed=5)
    prior = rows.mT @ rows / D + torch.eye(D, dtype=torch.float64)
    pool, evals = dense_roots(13, rank), dense_roots(count, 2, seed=9)
    for post in (
        GaussianPosterior.isotropic(D, 0.2),
        GaussianPosterior.from_roots(dense_roots(3, seed=11), prior),
    ):
        value = jepig_value(fishers(pool), fishers(evals).sum(0), post.precision)
        check(log_det_mi(pool, evals, post, 13), value, 13, 13)


def test_it_is_twice_the_similarity_matrices_log_det_mi():
    # T34 with lambda on both diagonals, as the published code has it.
    pool, evals, ridge = normal(11, 7), normal(5, 7, seed=1), 0.6
    found = log_det_mi(
        FisherRoots.from_dense(pool),
        FisherRoots.from_dense(evals),
        GaussianPosterior.isotropic(7, ridge),
        4,
    )
    a, e = pool[found.indices].numpy(), evals.numpy()
    s_a, s_e = a @ a.T + ridge * np.eye(4), e @ e.T + ridge * np.eye(5)
    rest = s_a - a @ e.T @ np.linalg.solve(s_e, e @ a.T)
    value = np.linalg.slogdet(s_a)[1] - np.linalg.slogdet(rest)[1]
    assert 2 * float(found.gains.sum()) == pytest.approx(value, rel=1e-11)


def test_gains_may_grow_so_that_laziness_would_miss_the_best():
    # T49: b gains .03848 alone and .28080 after a; c has .15979 alone, .16444 after.
    a, b, c, u = (2.0, 0.0), (-1.0, 2.0), (-0.25, -0.75), (2.0, 2.0)
    post = GaussianPosterior.isotropic(2, 1.0)
    evals = FisherRoots.from_dense([u])
    alone = log_det_mi(FisherRoots.from_dense([b]), evals, post, 1)
    assert float(alone.gains) == pytest.approx(0.03848, abs=1e-5)
    found = log_det_mi(FisherRoots.from_dense([c, b, a]), evals, post, 2)
    assert found.indices.tolist() == [2, 1]
    assert float(found.gains[1]) == pytest.approx(0.28080, abs=1e-5)


@pytest.mark.parametrize("kind", ["dense", "softmax"])
@pytest.mark.parametrize("eta", [0.3, 1.01])
def test_eta_multiplies_the_cross_block(kind, eta):
    pool, evals, post = problem(kind)
    rows = pool.dense(), evals.dense().flatten(0, 1), pool.dense()[:0].flatten(0, 1)
    value = kernel_value(*rows, post.covariance, eta, 1.0)
    check(log_det_mi(pool, evals, post, 7, eta=eta), value, 7, 7)


@pytest.mark.parametrize("kind", ["dense", "softmax"])
@pytest.mark.parametrize(
    ("eta", "nu"), [(1.0, 1.0), (0.4, 0.4), (1.0, 0.97), (0.9, 0.93), (1.02, 1.0)]
)
def test_conditional_mutual_information_with_eta_and_nu(kind, eta, nu):
    pool, evals, post = problem(kind)
    known = private(kind)
    rows = pool.dense(), *(one.dense().flatten(0, 1) for one in (evals, known))
    value = kernel_value(*rows, post.covariance, eta, nu)
    found = log_det_cmi(pool, evals, known, post, 7, eta=eta, nu=nu)
    check(found, value, 7, 7)
    if eta == nu == 1.0:
        precision = post.precision + fishers(known).sum(0)
        value = jepig_value(fishers(pool), fishers(evals).sum(0), precision)
        check(found, value, 7, 7)


def test_more_evaluation_rows_than_parameters_with_eta_and_nu():
    pool, evals, known = (dense_roots(n, seed=n) for n in (13, 17, 2))
    post = GaussianPosterior.isotropic(D, 0.5)
    rows = pool.dense(), *(one.dense().flatten(0, 1) for one in (evals, known))
    value = kernel_value(*rows, post.covariance, 0.8, 0.8)
    check(log_det_cmi(pool, evals, known, post, 5, eta=0.8, nu=0.8), value, 13, 5)


@pytest.mark.parametrize("kind", ["dense", "softmax"])
@pytest.mark.parametrize("nu", [1.0, 0.6, 1.05])
def test_conditional_gain(kind, nu):
    pool, _, post = problem(kind)
    known = private(kind)
    rows, others = pool.dense().numpy(), known.dense().flatten(0, 1).numpy()
    covariance = post.covariance.numpy()

    def value(chosen):
        a = rows[chosen].reshape(-1, rows.shape[2])
        e = np.eye(len(others)) + others @ covariance @ others.T
        cross = a @ covariance @ others.T
        kernel = a @ covariance @ a.T - nu**2 * cross @ np.linalg.solve(e, cross.T)
        return np.linalg.slogdet(np.eye(len(a)) + kernel)[1] / 2

    found = log_det_cg(pool, known, post, 7, nu=nu)
    check(found, value, 7, 7)
    if nu == 1.0:
        precision = post.precision + fishers(known).sum(0)
        check(found, eig_value(fishers(pool), precision), 7, 7)


def test_gains_of_cg_are_negative_where_nu_says_more_than_is_known():
    # One private example x = known, k = 1: 1/2 log(1 + k - nu^2 k^2 / (1 + k)).
    pool = FisherRoots.from_dense([[1.0], [0.5], [0.0]])
    post = GaussianPosterior.isotropic(1, 1.0)
    found = log_det_cg(pool, pool[:1], post, 3, nu=1.5)
    k = np.array([[1.0, 0.5], [0.5, 0.25]])
    kernel = k - 1.5**2 * np.outer(k[0], k[0]) / 2
    first = np.log1p(kernel[1, 1]) / 2
    whole = np.linalg.slogdet(np.eye(2) + kernel)[1] / 2
    assert found.indices.tolist() == [2, 1, 0] and found.notes == ()
    np.testing.assert_allclose(found.gains, [0.0, first, whole - first], rtol=1e-12)
    assert first < 0 and whole < first
    with pytest.raises(ValueError, match=r"got 2.5: any up to 1.41421 does"):
        log_det_cg(pool, pool[:1], post, 1, nu=2.5)


def test_eta_that_makes_the_joint_kernel_indefinite_is_refused():
    # Where others go on with 4 distinct of 10 and -inf gains.
    pool, evals, post = problem()
    with pytest.raises(ValueError, match="eta must leave the joint kernel") as caught:
        log_det_mi(pool, evals, post, 3, eta=2.0)
    safe = float(str(caught.value).split("any up to ")[1].split()[0])
    assert 1 < safe < 2
    assert log_det_mi(pool, evals, post, 7, eta=safe * 0.999999).gains.isfinite().all()
    known = private("dense")
    with pytest.raises(ValueError, match="eta and nu must leave the joint kernel"):
        log_det_cmi(pool, evals, known, post, 3, eta=0.2, nu=1.4)


@pytest.mark.parametrize("train", [0, 3])
@pytest.mark.parametrize("eta", [1.0, 0.7])
def test_networks_by_inner_products_alone(monkeypatch, train, eta):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)
    )
    pool, evals, known = (
        network_roots(model, normal(n, 5, seed=n)) for n in (13, 5, 2)
    )
    labelled = network_roots(model, normal(3, 5, seed=1))[:train]
    found = {}
    for limit in (0, 2**30):
        monkeypatch.setattr("fimlib.posterior.frame.REMADE", limit)
        post = GaussianPosterior.from_roots(labelled, 0.3)
        assert limit or isinstance(
            covariances.pool_of(pool, post, evals), covariances.ProductPool
        )
        found[limit] = (
            log_det_mi(pool, evals, post, 13, eta=eta),
            log_det_cg(pool, known, post, 13, nu=eta),
            log_det_cmi(pool, evals, known, post, 13, eta=eta, nu=eta),
        )
    for products, rows in zip(found[0], found[2**30], strict=True):
        assert torch.equal(products.indices, rows.indices)
        np.testing.assert_allclose(products.gains, rows.gains, rtol=1e-8, atol=1e-10)
    precision = GaussianPosterior.from_roots(labelled, 0.3).precision
    value = jepig_value(fishers(pool), fishers(evals).sum(0), precision)
    if eta == 1.0:
        check(found[0][0], value, 13, 13)


def test_last_layers_by_blocks(monkeypatch):
    from fimlib.posterior import frame

    pool, evals, train = (softmax_roots(n, seed=n) for n in (29, 37, 31))
    wanted = log_det_mi(pool, evals, GaussianPosterior.from_roots(train, 0.5), 11)
    monkeypatch.setattr(frame, "EXACT_WORK", 0)
    found = log_det_mi(pool, evals, GaussianPosterior.from_roots(train, 0.5), 11)
    assert torch.equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.gains, wanted.gains, rtol=1e-9)


def test_past_the_rank_of_a_large_pool_of_last_layers(monkeypatch):
    from fimlib.posterior.frame import Frame

    pool, evals, train = (softmax_roots(n, seed=n) for n in (29, 3, 2))
    prior = 1e-11 * torch.eye(pool.num_parameters, dtype=torch.float64)
    wanted = log_det_mi(pool, evals, GaussianPosterior.from_roots(train, prior), 29)
    monkeypatch.setattr(Frame, "by_blocks", lambda self, part: part.kronecker)
    found = log_det_mi(pool, evals, GaussianPosterior.from_roots(train, prior), 29)
    assert torch.equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.gains, wanted.gains, rtol=3e-7)


def test_of_equal_examples_the_lowest_index_is_taken():
    rows, evals = normal(301, 17), dense_roots(5, 1, size=17, seed=4)
    pool = FisherRoots.from_dense(torch.cat([rows, rows, rows]))
    found = log_det_mi(pool, evals, GaussianPosterior.isotropic(17, 0.01), 60)
    seen = {}
    for index in found.indices.tolist():
        assert index // 301 == seen.get(index % 301, 0)
        seen[index % 301] = seen.get(index % 301, 0) + 1


def test_examples_that_share_nothing_are_taken_in_order():
    rows = torch.eye(5, dtype=torch.float64)[[0, 1, 3, 2, 3]]
    evals = FisherRoots.from_dense(rows[2:3])
    pool = FisherRoots.from_dense(rows)
    found = log_det_mi(pool, evals, GaussianPosterior.isotropic(5, 1e-3), 5)
    assert found.indices.tolist() == [2, 4, 0, 1, 3]
    assert (found.gains[:2] > 0).all() and not found.gains[2:].any()
    assert "after 2 examples" in found.notes[0]
    zero = FisherRoots.from_dense(torch.zeros(2, 5))
    found = log_det_mi(pool, zero, GaussianPosterior.isotropic(5, 1.0), 3, eta=3.0)
    assert found.indices.tolist() == [0, 1, 2] and not found.gains.any()


def test_what_rounding_leaves_of_scaled_kernels_is_nothing():
    # No posterior has such a kernel, from which a lost gain could be computed anew.
    pool = FisherRoots.from_dense(torch.eye(3).double()[[1, 0, 1, 0]])
    others = FisherRoots.from_dense([[1.0, 1.0, 1.0]])
    post = GaussianPosterior.isotropic(3, 1e-16)
    for found in (
        log_det_cg(pool, others, post, 4, nu=0.5),
        log_det_mi(pool, others, post, 4, eta=0.5),
    ):
        assert found.indices.tolist() == [0, 1, 2, 3]
        assert (found.gains[:2] > 0).all() and not found.gains[2:].any()


@pytest.mark.parametrize("ridge", [1.0, 1e-9])
@pytest.mark.parametrize("apart", [1e-3, 1e-7])
def test_tiny_gains_keep_their_digits(ridge, apart):
    # Examples nearly orthogonal to the evaluation set, whose two EIGs would cancel.
    rows = normal(6, 1, 4, seed=2)
    rows[..., 3] *= apart
    rows[0] = 0.0
    unit = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    post = GaussianPosterior.isotropic(4, ridge)
    pool, evals = FisherRoots.from_dense(rows), FisherRoots.from_dense(unit)
    found = log_det_mi(pool, evals, post, 6)
    with mpmath.workdps(60):
        one = [mp_fisher(x) for x in rows]
        before, shown = mpmath.mpf(ridge) * mpmath.eye(4), mp_fisher(unit)

        def value(chosen):
            after = sum((one[i] for i in chosen), before)
            left = mp_log_det(after + shown) - mp_log_det(before + shown)
            return (mp_log_det(after) - mp_log_det(before) - left) / 2

        indices, gains = greedy(value, 6, 6, tie=0)
    assert found.indices.tolist() == indices
    np.testing.assert_allclose(found.gains, [float(x) for x in gains], rtol=1e-5)


def test_what_evaluation_examples_leave_keeps_its_digits():
    # One parameter: 1/2 log(1 + x^2/p) - 1/2 log(1 + x^2/(p + e^2)) with p = 1e-14.
    pool, evals = FisherRoots.from_dense([[1.0]]), FisherRoots.from_dense([[10.0]])
    found = log_det_mi(pool, evals, GaussianPosterior.isotropic(1, 1e-14), 1)
    wanted = (np.log1p(1e14) - np.log1p(0.01)) / 2
    assert float(found.gains) == pytest.approx(wanted, rel=1e-14)


def test_bad_input_is_refused():
    pool, evals, post = problem()
    other = dense_roots(3, size=7)
    for arguments, message in (
        ((pool.dense(), evals, post, 1), "roots must be Fisher roots, got Tensor"),
        ((pool, evals.dense(), post, 1), "eval_roots must be Fisher roots"),
        ((pool, other, post, 1), "eval_roots must have 11 parameters.*got 7"),
        ((pool, evals[:0], post, 1), "eval_roots must hold at least one example"),
        ((pool, evals, post, 8), "batch_size must be at most the pool's 7, got 8"),
        ((pool, evals, post, 1, 0.0), "eta must be positive and finite, got 0"),
        ((pool, evals, post, 1, float("nan")), "eta must be positive and finite"),
        ((pool, evals, None, 1), "post must be a GaussianPosterior, got NoneType"),
    ):
        with pytest.raises(ValueError, match=message):
            log_det_mi(*arguments)
    with pytest.raises(ValueError, match="private_roots must be Fisher roots"):
        log_det_cg(pool, np.ones((3, D)), post, 1)
    with pytest.raises(ValueError, match="nu must be a positive number, got str"):
        log_det_cg(pool, evals, post, 1, nu="large")
    with pytest.raises(ValueError, match="private_roots must hold at least one"):
        log_det_cmi(pool, evals, evals[:0], post, 1)
    with pytest.raises(ValueError, match="nu must be positive and finite, got -1"):
        log_det_cmi(pool, evals, evals, post, 1, nu=-1.0)


def test_cg_with_what_is_labelled_is_greedy_under_the_posterior():
    # T35: it restores the posterior that an uninformative prior forgets.
    pool, train = dense_roots(13), dense_roots(5, seed=9)
    found = log_det_cg(pool, train, GaussianPosterior.isotropic(D, 0.3), 6)
    wanted = greedy_log_det(pool, GaussianPosterior.from_roots(train, 0.3), 6)
    assert torch.equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.gains, wanted.gains, rtol=1e-12)

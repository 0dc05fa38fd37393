import math

import mpmath
import numpy as np
import pytest
import torch
from cases import (
    D,
    dense_roots,
    fishers,
    mp_log_det,
    mp_precision,
    normal,
    problem,
    softmax_roots,
)
from scipy.optimize import minimize_scalar

from fimlib.fisher import FisherRoots
from fimlib.information import eig, scores
from fimlib.posterior import GaussianPosterior, frame, marglik_precision


def brute_precision(train, prior):
    eye = torch.eye(train.num_parameters, dtype=torch.float64)
    return prior * eye + fishers(train).sum(0)


@pytest.mark.parametrize("make", [dense_roots, softmax_roots])
@pytest.mark.parametrize("exact_work", [0, 10**9])
def test_precision_covariance_and_entropy_match_brute_force(
    make, exact_work, monkeypatch
):
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", exact_work)
    train = make(3)
    post = GaussianPosterior.from_roots(train, 0.7)
    precision = brute_precision(train, 0.7)
    torch.testing.assert_close(post.precision, precision, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(
        post.covariance, torch.linalg.inv(precision), rtol=1e-11, atol=1e-11
    )
    expected = torch.linalg.slogdet(precision)[1]
    torch.testing.assert_close(post.log_det_precision, expected, rtol=1e-12, atol=0)
    density = torch.distributions.MultivariateNormal(
        torch.zeros(train.num_parameters, dtype=torch.float64),
        precision_matrix=precision,
    )
    torch.testing.assert_close(post.entropy(), density.entropy(), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        post.root_inverse @ post.root_inverse.mT,
        torch.linalg.inv(precision),
        rtol=1e-11,
        atol=1e-11,
    )
    pool = make(7, seed=5)
    grams = pool.dense() @ torch.linalg.inv(precision) @ pool.dense().mT
    torch.testing.assert_close(post.gram(pool), grams, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(pool.gram(post), grams, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("prior", [1e-12, 1e-4, 1.0, 1e12])
def test_log_det_precision_against_mpmath(prior):
    train = softmax_roots(5)
    post = GaussianPosterior.from_roots(train, prior)
    with mpmath.workdps(60):
        expected = float(mp_log_det(mp_precision(train, prior)))
    assert post.log_det_precision.item() == pytest.approx(expected, rel=1e-12, abs=0)


def test_update_adds_information_and_leaves_the_old_posterior_alone():
    train, more = softmax_roots(3), softmax_roots(5, seed=8)
    for touch in (False, True):
        post = GaussianPosterior.from_roots(train, 0.7)
        if touch:
            before = post.precision.clone()
        new = post.update(more)
        expected = brute_precision(train, 0.7) + fishers(more).sum(0)
        torch.testing.assert_close(new.precision, expected, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(
            new.log_det_precision,
            torch.linalg.slogdet(expected)[1],
            rtol=1e-12,
            atol=0,
        )
    assert torch.equal(post.precision, before)
    assert "8 training examples" in repr(new)


def test_isotropic_posteriors_of_any_size():
    huge = GaussianPosterior.isotropic(10**7, 0.1)
    assert huge.log_det_precision.item() == pytest.approx(1e7 * math.log(0.1))
    assert huge.entropy().item() == pytest.approx(
        1e7 / 2 * math.log(2 * math.pi * math.e / 0.1)
    )
    roots = softmax_roots(3)
    post = GaussianPosterior.isotropic(roots.num_parameters, 0.1)
    torch.testing.assert_close(post.gram(roots), roots.self_gram() / 0.1)
    torch.testing.assert_close(post.covariance, 10 * torch.eye(16, dtype=torch.float64))
    new = post.update(roots)
    torch.testing.assert_close(new.precision, brute_precision(roots, 0.1))
    none = GaussianPosterior.from_roots(roots[:0], 0.1)
    torch.testing.assert_close(none.gram(roots), post.gram(roots))
    torch.testing.assert_close(none.log_det_precision, post.log_det_precision)


def test_a_matrix_prior_and_roots_outside_the_basis():
    half = normal(16, 16)
    prior = half @ half.mT + torch.eye(16, dtype=torch.float64)
    train, pool = softmax_roots(3), dense_roots(7, size=16)
    precision = prior + fishers(train).sum(0)
    post = GaussianPosterior.from_roots(train, prior)
    torch.testing.assert_close(post.precision, precision, rtol=1e-12, atol=1e-12)
    grams = pool.dense() @ torch.linalg.inv(precision) @ pool.dense().mT
    torch.testing.assert_close(post.gram(pool), grams, rtol=1e-10, atol=1e-10)
    # A dense pool against a posterior that is reduced to the softmax directions.
    post = GaussianPosterior.from_roots(train, 0.7)
    inverse = torch.linalg.inv(brute_precision(train, 0.7))
    grams = pool.dense() @ inverse @ pool.dense().mT
    torch.testing.assert_close(post.gram(pool), grams, rtol=1e-11, atol=1e-11)


def test_numpy_priors_and_float32_roots_are_held_in_float64():
    train = FisherRoots.from_dense(normal(3, D).float(), dtype=torch.float32)
    post = GaussianPosterior.from_roots(train, np.float32(0.5))
    assert post.precision.dtype == post.covariance.dtype == torch.float64
    assert post.gram(train).dtype == torch.float64
    assert GaussianPosterior.from_roots(train, np.eye(D)).precision.dtype == (
        torch.float64
    )


def test_greedy_updates_change_the_inverse_by_thin_products(monkeypatch):
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", 0)
    monkeypatch.setattr("fimlib.posterior.frame.RESCUE", 0)
    train, pool = softmax_roots(5), softmax_roots(7, seed=5)
    post = GaussianPosterior.from_roots(train, 0.7)
    _ = post.gram(pool), post.covariance, post.root_inverse
    for i in range(3):
        post = post.update(pool[i])
        post = post.update(pool[i + 3])
        # Nothing is factored again.
        monkeypatch.setattr(frame, "precision_of", None)
        expected = brute_precision(train, 0.7)
        chosen = [*range(i + 1), *range(3, i + 4)]
        expected = expected + fishers(pool[chosen]).sum(0)
        inverse = torch.linalg.inv(expected)
        grams = pool.dense() @ inverse @ pool.dense().mT
        torch.testing.assert_close(post.gram(pool), grams, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(post.covariance, inverse, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(
            post.log_det_precision,
            torch.linalg.slogdet(expected)[1],
            rtol=1e-11,
            atol=0,
        )


def test_the_diagonal_approximation_is_exact_about_its_own_precision():
    train, pool, evals = softmax_roots(3), softmax_roots(7, seed=5), softmax_roots(2)
    post = GaussianPosterior.from_roots(train, 0.7, approximation="diagonal")
    diagonal = brute_precision(train, 0.7).diagonal()
    assert "diagonal P" in repr(post)
    check_approximation(post, diagonal.diag(), pool, evals)
    more = post.update(pool)
    torch.testing.assert_close(
        more.diagonal, diagonal + fishers(pool).sum(0).diagonal()
    )


def test_the_kronecker_approximation_is_exact_about_its_own_precision():
    train, pool, evals = softmax_roots(3), softmax_roots(7, seed=5), softmax_roots(2)
    post = GaussianPosterior.from_roots(train, 0.7, approximation="kronecker")
    outputs = (train.factor @ train.factor.mT).sum(0)
    features = train.features.mT @ train.features
    precision = torch.kron(outputs, features) / 3 + 0.7 * torch.eye(16).double()
    assert "kronecker P" in repr(post)
    check_approximation(post, precision, pool, evals)
    # One training example is a Kronecker product: nothing is approximated.
    one = GaussianPosterior.from_roots(train[:1], 0.7, approximation="kronecker")
    check_approximation(one, brute_precision(train[:1], 0.7), pool, evals)
    with pytest.raises(ValueError, match=r"last-layer roots.*got FisherRoots"):
        dense_post = GaussianPosterior.from_roots(
            dense_roots(3), 1.0, approximation="kronecker"
        )
        dense_post.gram(dense_roots(3))


def check_approximation(post, precision, pool, evals):
    expected = GaussianPosterior.from_roots(pool[:0], precision)
    torch.testing.assert_close(
        post.log_det_precision, torch.linalg.slogdet(precision)[1], rtol=1e-11, atol=0
    )
    torch.testing.assert_close(
        post.gram(pool), expected.gram(pool), rtol=1e-9, atol=1e-12
    )
    found = scores(pool, post, evals, pairwise=True)
    for name, values in scores(pool, expected, evals, pairwise=True).items():
        torch.testing.assert_close(found[name], values, rtol=1e-8, atol=1e-12)
    with pytest.raises(ValueError, match=r"precision must be asked of an exact"):
        _ = post.covariance


def test_a_sketch_keeps_the_scores_on_average_and_says_what_it_is():
    train, pool = dense_roots(3, size=301), dense_roots(7, size=301, seed=5)
    exact = eig(pool, GaussianPosterior.from_roots(train, 100.0))
    found = []
    for seed in range(40):
        post = GaussianPosterior.from_roots(
            train, 100.0, approximation="sketch", size=211, seed=seed
        )
        found.append(eig(pool, post))
        assert "sketch P" in repr(post)
    found = torch.stack(found)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - exact).abs() < 5 * error + 0.02 * exact).all()
    assert torch.equal(found[-1], eig(pool, post)), "the same seed, the same sketch"
    # As many sums as the post has seen, exactly, in its own coordinates.
    rows = post.sketch(train).dense().flatten(0, 1)
    eye = torch.eye(len(rows), dtype=torch.float64)
    value = torch.linalg.slogdet(eye + rows @ rows.mT / 100.0)[1]
    expected = value + 301 * math.log(100.0)
    torch.testing.assert_close(post.log_det_precision, expected, rtol=1e-12, atol=0)


def test_approximations_reach_where_the_precision_does_not(monkeypatch):
    monkeypatch.setattr(frame, "MAX_DENSE", 5)
    train, pool = softmax_roots(5), softmax_roots(3, seed=5)
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", 0)
    with pytest.raises(ValueError, match=r"at most 5 parameters.*name an approxim"):
        eig(pool, GaussianPosterior.from_roots(train, 1.0))
    for name in ("diagonal", "kronecker"):
        post = GaussianPosterior.from_roots(train, 1.0, approximation=name)
        assert (eig(pool, post) > 0).all()


def negative_log_evidence(log_delta, eigenvalues, size, squared_norm):
    """-log of the Laplace evidence as far as it depends on delta, directly."""
    delta = math.exp(log_delta)
    all_eigenvalues = np.concatenate([eigenvalues, np.zeros(size - len(eigenvalues))])
    return -(
        size / 2 * math.log(delta)
        - delta * squared_norm / 2
        - np.log(all_eigenvalues + delta).sum() / 2
    )


@pytest.mark.parametrize("count", [3, 50])
@pytest.mark.parametrize("make", [dense_roots, softmax_roots])
def test_marglik_precision_maximises_the_evidence(make, count):
    train = make(count)
    theta = normal(train.num_parameters, seed=4)
    delta = marglik_precision(train, theta)
    assert isinstance(delta, float)
    values = np.linalg.eigvalsh(fishers(train).sum(0).numpy())
    values = values[values > 1e-10]
    squared_norm = float(theta.square().sum())
    stationarity = delta * squared_norm - (values / (values + delta)).sum()
    assert abs(stationarity) < 1e-11 * len(values)
    best = minimize_scalar(
        negative_log_evidence,
        bracket=(-5.0, 0.0, 5.0),
        args=(values, train.num_parameters, squared_norm),
    )
    assert math.log(delta) == pytest.approx(best.x, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e8])
def test_marglik_precision_of_one_direction_in_closed_form(scale):
    """One eigenvalue l: delta t = l / (l + delta) is a quadratic equation."""
    train = FisherRoots.from_dense(scale**0.5 * torch.tensor([[3.0, 4.0]]).double())
    with mpmath.workdps(60):
        l = 25 * mpmath.mpf(scale)
        expected = float((-l + mpmath.sqrt(l * l + 4 * l / 5)) / 2)
    assert marglik_precision(train, [1.0, 2.0]) == pytest.approx(
        expected, rel=1e-12, abs=0
    )


def test_bad_input_is_refused_by_name():
    train = dense_roots(3)
    for prior in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="prior_precision must be positive"):
            GaussianPosterior.from_roots(train, prior)
    with pytest.raises(ValueError, match="prior_precision must be a positive number"):
        GaussianPosterior.from_roots(train, "marglik")
    indefinite = torch.eye(D)
    indefinite[2, 2] = -0.25
    with pytest.raises(
        ValueError, match=r"prior_precision.*smallest eigenvalue of -0.25"
    ):
        GaussianPosterior.from_roots(train, indefinite)
    with pytest.raises(ValueError, match=r"prior_precision must have shape \(11, 11\)"):
        GaussianPosterior.from_roots(train, torch.eye(3))
    with pytest.raises(ValueError, match="num_parameters must be a positive integer"):
        GaussianPosterior.isotropic(0, 1.0)
    with pytest.raises(ValueError, match="prior_precision must be positive"):
        GaussianPosterior.isotropic(3, 0.0)
    _, _, post = problem()
    for call in (post.gram, post.update):
        with pytest.raises(ValueError, match=r"roots must have 11 parameters.*got 5"):
            call(dense_roots(3, size=5))
    with pytest.raises(ValueError, match="approximation must be one of 'diagonal'"):
        GaussianPosterior.from_roots(train, 1.0, approximation="kfac")
    with pytest.raises(ValueError, match="prior_precision must be a number for an app"):
        GaussianPosterior.from_roots(train, torch.eye(D), approximation="diagonal")
    huge = GaussianPosterior.isotropic(20_001, 1.0)
    with pytest.raises(ValueError, match=r"at most 20000 parameters.*20001.*3\.2 GB"):
        _ = huge.covariance
    with pytest.raises(ValueError, match=r"precision is dense"):
        _ = huge.precision


def test_marglik_precision_says_why_there_is_no_maximum():
    train = dense_roots(3)
    with pytest.raises(ValueError, match="theta_star must not be zero"):
        marglik_precision(train, torch.zeros(D))
    with pytest.raises(ValueError, match="train_roots must carry information"):
        marglik_precision(FisherRoots.from_dense(torch.zeros(3, D)), torch.ones(D))
    with pytest.raises(ValueError, match=r"theta_star must have shape \(11,\)"):
        marglik_precision(train, torch.ones(3))
    with pytest.raises(ValueError, match="train_roots must hold at least one"):
        marglik_precision(train[:0], torch.ones(D))


def test_marglik_precision_works_in_the_smaller_dimension(monkeypatch):
    for train in (softmax_roots(2), softmax_roots(23)):
        theta = normal(16, seed=4)
        expected = marglik_precision(train, theta)
        with monkeypatch.context() as patch:
            patch.setattr(frame, "EXACT_WORK", 0)
            assert marglik_precision(train, theta) == pytest.approx(expected, rel=1e-9)
            patch.setattr(frame, "MAX_DENSE", 5)
            with pytest.raises(ValueError, match=r"train_roots must have at most 5"):
                marglik_precision(train, theta)

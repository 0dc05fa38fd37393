"""Greedy log det: the definition, laziness, ties, ranks, all kinds of roots."""

import itertools
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
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib import linalg
from fimlib.fisher import DiagonalRoots, FisherRoots, network_roots, roots_from_loader
from fimlib.information import batch_eig, eig
from fimlib.posterior import AccuracyWarning, GaussianPosterior
from fimlib.selection import covariances, greedy_log_det, mutual
from selection.brute_force import (
    best_value,
    eig_value,
    exact_eig_greedy,
    greedy,
)


def isotropic(size, prior_precision):
    return GaussianPosterior.isotropic(size, prior_precision)


def matrix_prior(size, seed=3):
    rows = normal(size + 2, size, seed=seed)
    return rows.mT @ rows / size + torch.eye(size, dtype=torch.float64)


def check(roots, post, batch_size, tolerance=1e-10):
    """Compare with the definition, lazily and not, and with the joint EIG."""
    value = eig_value(fishers(roots).double(), post.precision)
    indices, gains = greedy(value, len(roots), batch_size)
    for lazy in (True, False):
        found = greedy_log_det(roots, post, batch_size, lazy=lazy)
        assert found.indices.tolist() == indices
        np.testing.assert_allclose(found.gains, gains, rtol=tolerance, atol=tolerance)
        joint = batch_eig(roots[found.indices], post)
        assert float(found.gains.sum()) == pytest.approx(float(joint), rel=tolerance)
    return found


@pytest.mark.parametrize("kind", ["dense", "softmax"])
@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_the_definition_with_training_examples(kind, batch_size):
    pool, _, post = problem(kind)
    found = check(pool, post, batch_size)
    assert found.indices.dtype == torch.int64 and found.gains.dtype == torch.float64
    assert found.notes == ()


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("train", [0, 5, 29])
def test_the_definition_with_a_matrix_prior(rank, train):
    pool = dense_roots(13, rank)
    known = dense_roots(train, 2, seed=9) if train else dense_roots(1, 1)[:0]
    check(pool, GaussianPosterior.from_roots(known, matrix_prior(D)), 13)
    check(pool, GaussianPosterior.from_roots(known, 0.3), 13)


@pytest.mark.parametrize("approximation", ["diagonal", "kronecker", "sketch"])
def test_the_definition_under_an_approximate_posterior(approximation):
    options = {"size": 23} if approximation == "sketch" else {}
    pool, train = softmax_roots(13), softmax_roots(5, seed=7)
    post = GaussianPosterior.from_roots(train, 0.7, approximation, **options)
    exact, seen = post.shared(pool)
    value = eig_value(fishers(seen), exact.precision)
    found = greedy_log_det(pool, post, 7)
    indices, gains = greedy(value, 13, 7)
    assert found.indices.tolist() == indices
    np.testing.assert_allclose(found.gains, gains, rtol=1e-10)


def test_bernoulli_features_and_diagonal_roots():
    features = normal(17, 5)
    check(FisherRoots.from_dense(features), isotropic(5, 0.2), 17)
    diagonal = DiagonalRoots(normal(7, 5).square())
    check(diagonal, isotropic(5, 0.2), 7)


def test_a_large_pool_of_last_layer_roots_by_blocks(monkeypatch):
    from fimlib.posterior import frame

    pool, train = softmax_roots(29), softmax_roots(31, seed=7)
    wanted = greedy_log_det(pool, GaussianPosterior.from_roots(train, 0.5), 11)
    monkeypatch.setattr(frame, "EXACT_WORK", 0)
    post = GaussianPosterior.from_roots(train, 0.5)
    inner, reduced = post.reduced(), pool.reduced()
    assert covariances.pool_of(reduced, inner).frame.by_blocks(reduced)
    found = greedy_log_det(pool, post, 11)
    assert torch.equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.gains, wanted.gains, rtol=1e-10)


def test_past_the_rank_of_a_large_pool_of_last_layer_roots(monkeypatch):
    # Gram blocks with P^{-1} would drown what is left in its size.
    from fimlib.posterior.frame import Frame

    pool, train = softmax_roots(29), softmax_roots(2, seed=7)
    size = pool.num_parameters
    prior = 1e-9 * torch.eye(size, dtype=torch.float64)
    wanted = greedy_log_det(pool, GaussianPosterior.from_roots(train, prior), 29)
    monkeypatch.setattr(Frame, "by_blocks", lambda self, part: part.kronecker)
    found = greedy_log_det(pool, GaussianPosterior.from_roots(train, prior), 29)
    assert torch.equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.gains, wanted.gains, rtol=1e-8)
    rows = torch.cat([train.dense(), pool.dense()[found.indices]])
    with mpmath.workdps(50):
        values = [
            mp_log_det(mp_precision(FisherRoots(rows[: k + 2]), 1e-9)) / 2
            for k in range(30)
        ]
        exact = [float(b - a) for a, b in itertools.pairwise(values)]
    np.testing.assert_allclose(wanted.gains, exact, rtol=1e-8)


def network(outputs=3):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, outputs)
    )


@pytest.mark.parametrize("train", [0, 3])
@pytest.mark.parametrize("limit", [0, 2**20])
def test_networks_by_rows_and_by_inner_products_alone(monkeypatch, train, limit):
    monkeypatch.setattr("fimlib.posterior.frame.REMADE", limit)
    model = network()
    roots = network_roots(model, normal(13, 5))
    known = network_roots(model, normal(5, 5, seed=1))[:train]
    post = GaussianPosterior.from_roots(known, 0.3)
    pool = covariances.pool_of(roots, post)
    assert isinstance(pool, covariances.ProductPool) == (limit == 0)
    found = check(roots, post, 13, tolerance=1e-9)
    rows = FisherRoots(roots.dense())
    post = GaussianPosterior.from_roots(FisherRoots(known.dense()), 0.3)
    assert torch.equal(found.indices, greedy_log_det(rows, post, 13).indices)


@pytest.mark.parametrize("scope", ["last_layer", "network"])
@pytest.mark.parametrize("most", [0, 2**25])
def test_loaders_held_or_not(monkeypatch, scope, most):
    monkeypatch.setattr("fimlib.fisher.streamed.HELD_NUMBERS", most)
    monkeypatch.setattr("fimlib.posterior.frame.REMADE", most)
    inputs = normal(13, 5)
    data = torch.utils.data.TensorDataset(inputs.float())
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    roots = roots_from_loader(network(), loader, scope=scope, progress=False)
    post = isotropic(roots.num_parameters, 0.3)
    found = greedy_log_det(roots, post, 5)
    held = FisherRoots(roots.dense().double())
    value = eig_value(fishers(held), post.precision)
    indices, gains = greedy(value, 13, 5)
    assert found.indices.tolist() == indices
    np.testing.assert_allclose(found.gains, gains, rtol=1e-9)


@pytest.mark.parametrize("kind", ["dense", "softmax", "network"])
def test_float32_roots_lose_no_digits_of_what_they_hold(kind):
    if kind == "network":
        single = network_roots(network(), normal(23, 5), dtype=torch.float32)
    elif kind == "softmax":
        single = softmax_roots(23, dtype=torch.float32)
    else:
        single = FisherRoots.from_dense(normal(23, 3, D), dtype=torch.float32)
    assert single.dtype == torch.float32
    found = greedy_log_det(single, isotropic(single.num_parameters, 1e-3), 11)
    # The rows of factored roots are products: rounded, if they are made in float32.
    held = single.reduced()
    held = held if kind == "dense" else held.double()
    rows = FisherRoots(held.dense().double())
    wanted = greedy_log_det(rows, isotropic(rows.num_parameters, 1e-3), 11)
    assert torch.equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.gains, wanted.gains, rtol=1e-11)


def test_all_in_batches_of_many(monkeypatch):
    monkeypatch.setattr(covariances, "BATCH", 5)
    monkeypatch.setattr("fimlib.fisher.roots._CHUNK_NUMBERS", 7)
    for pool in (dense_roots(23, 1), softmax_roots(23)):
        check(pool, isotropic(pool.num_parameters, 0.3), 23)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.integers(1, 40),
    st.floats(1e-3, 1e3),
    st.floats(0.1, 3.0),
)
def test_laziness_changes_nothing(seed, rank, count, prior_precision, decay):
    rows = normal(count, rank, 7, seed=seed)
    # Scales of many sizes, and repeated examples.
    scales = normal(count, seed=seed + 1).mul(decay).exp()
    rows = (rows * scales[:, None, None])[torch.arange(count) * 7 // 9]
    post = isotropic(7, prior_precision)
    pool = FisherRoots.from_dense(rows)
    lazy, plain = (greedy_log_det(pool, post, count, lazy=x) for x in (True, False))
    assert torch.equal(lazy.indices, plain.indices)
    np.testing.assert_allclose(lazy.gains, plain.gains, rtol=1e-8)
    assert sorted(lazy.indices.tolist()) == list(range(count))


def test_laziness_changes_nothing_in_a_pool_of_hundreds():
    pool = FisherRoots.from_dense(normal(701, 19) * torch.arange(1, 20).double())
    post = isotropic(19, 2.0)
    lazy, plain = (greedy_log_det(pool, post, 101, lazy=x) for x in (True, False))
    assert torch.equal(lazy.indices, plain.indices)
    np.testing.assert_allclose(lazy.gains, plain.gains, rtol=1e-10)
    assert (lazy.gains[1:] <= lazy.gains[:-1] + 1e-12).all()


@pytest.mark.parametrize("seed", range(20))
def test_greedy_is_within_1_minus_1_over_e_of_the_best_batch(seed):
    pool = dense_roots(9, 1 + seed % 2, size=3, seed=seed)
    post = isotropic(3, 0.1)
    best = best_value(eig_value(fishers(pool), post.precision), 9, 4)
    found = float(greedy_log_det(pool, post, 4).gains.sum())
    assert (1 - 1 / math.e) * best <= found <= best * (1 + 1e-12)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_gains_fall_as_the_batch_grows(seed, rank):
    pool = dense_roots(7, rank, size=5, seed=seed)
    value = eig_value(fishers(pool), matrix_prior(5, seed))
    for small, large in (([], [2]), ([0], [0, 1]), ([0, 3], [0, 3, 4, 5])):
        gain = value([*small, 6]) - value(small)
        assert value([*large, 6]) - value(large) <= gain + 1e-12


def test_copies_of_one_example_share_what_they_tell():
    # T25: k copies of a rank-1 example with t = g^T P^{-1} g tell 1/2 log(1 + k t).
    row = normal(11)
    pool = FisherRoots.from_dense(row.expand(13, 11))
    found = greedy_log_det(pool, isotropic(11, 0.25), 13)
    t = float(row @ row) / 0.25
    told = [math.log1p(k * t) / 2 for k in range(14)]
    assert found.indices.tolist() == list(range(13))
    np.testing.assert_allclose(found.gains, np.diff(told), rtol=1e-12)


@pytest.mark.parametrize("lazy", [True, False])
def test_of_equal_examples_the_lowest_index_is_taken(lazy):
    rows = normal(300, 17)
    copies = FisherRoots.from_dense(torch.cat([rows, rows, rows]))
    post = isotropic(17, 0.01)
    found = greedy_log_det(copies, post, 60, lazy=lazy).indices
    rank = {}
    for index in found.tolist():
        # The first copy of an example comes first, then the second.
        assert index // 300 == rank.get(index % 300, 0)
        rank[index % 300] = rank.get(index % 300, 0) + 1


@pytest.mark.parametrize("lazy", [True, False])
def test_bounds_that_tie_with_gains_are_no_ties(lazy):
    # After the first choice, example 1 has little left, but its old gain is that of the
    # 300 after it, more than are brought up to date at once.
    along, across = torch.eye(2, dtype=torch.float64)
    pool = torch.stack([2 * along, (1 - 1e-13) * along, *[across] * 300])
    found = greedy_log_det(FisherRoots.from_dense(pool), isotropic(2, 1.0), 9, lazy)
    assert found.indices.tolist() == [0, 2, 3, 4, 5, 1, 6, 7, 8]
    post = isotropic(701, 0.5)
    basis = FisherRoots.from_dense(torch.eye(701, dtype=torch.float64))
    found = greedy_log_det(basis, post, 11, lazy)
    assert found.indices.tolist() == list(range(11))


def test_examples_without_a_gradient_gain_nothing_and_come_last():
    rows = normal(9, 2, 5)
    rows[[0, 3, 7]] = 0.0
    post = isotropic(5, 1e-6)
    found = greedy_log_det(FisherRoots.from_dense(rows), post, 9)
    assert found.indices[6:].tolist() == [0, 3, 7]
    assert found.gains[6:].tolist() == [0.0, 0.0, 0.0] and (found.gains[:6] > 0).all()
    assert "after 6 examples no other adds anything" in found.notes[0]
    nothing = FisherRoots.from_dense(torch.zeros(5, 2, 3))
    found = greedy_log_det(nothing, isotropic(3, 1.0), 4)
    assert found.indices.tolist() == [0, 1, 2, 3] and not found.gains.any()


@pytest.mark.parametrize("prior_precision", [1e-12, 1e-6, 1.0, 1e12])
def test_past_the_rank_gains_keep_their_digits(prior_precision):
    # Copies of what is known tell up to 1/2 log 2 each, however small lambda is; the
    # prior's 1/lambda, from which that is left, would drown it (defects 7 and 8 of
    # unregularised implementations: repeats, -inf, and choices made by rounding).
    rows = normal(17, 1, 5, seed=3)
    rows[0] = 0.0
    post = isotropic(5, prior_precision)
    found = greedy_log_det(FisherRoots.from_dense(rows), post, 17)
    indices, gains = exact_eig_greedy(rows, prior_precision, 17)
    assert found.indices.tolist() == indices and indices[-1] == 0
    np.testing.assert_allclose(found.gains, gains, rtol=1e-6)
    assert found.notes[0].startswith("after 16 examples")


def test_past_the_rank_beside_training_examples_that_repeat():
    train = dense_roots(3, 1, size=7, seed=4)
    pool = FisherRoots.joined([train, dense_roots(8, 1, size=7, seed=5)])
    for prior in (1e-10, 1e-10 * torch.eye(7, dtype=torch.float64)):
        post = GaussianPosterior.from_roots(train, prior)
        found = greedy_log_det(pool, post, 11)
        rows = torch.cat([train.dense(), pool.dense()])
        chosen = [0, 1, 2, *(3 + found.indices).tolist()]
        values = [
            float(batch_eig(FisherRoots(rows[chosen[:k]]), isotropic(7, 1e-10)))
            for k in range(3, 15)
        ]
        np.testing.assert_allclose(found.gains, np.diff(values), rtol=1e-5)


def test_inner_products_know_what_training_examples_leave_of_their_copies(monkeypatch):
    # Nothing outside their span: the rounding of that, over lambda, would be seen.
    known = network_roots(network(2), normal(3, 5, seed=1))
    pool = known.joined([known, network_roots(network(2), normal(4, 5)), known])
    post = GaussianPosterior.from_roots(FisherRoots(known.dense()), 1e-6)
    wanted = greedy_log_det(FisherRoots(pool.dense()), post, 10)
    monkeypatch.setattr("fimlib.posterior.frame.REMADE", 0)
    found = greedy_log_det(pool, GaussianPosterior.from_roots(known, 1e-6), 10)
    assert torch.equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.gains, wanted.gains, rtol=1e-12)


def test_rounding_within_a_block_is_warned_of():
    # Rank 2 in 5 dimensions: a third example has one new direction and one known one.
    pool = FisherRoots.from_dense(normal(13, 2, 5, seed=3))
    with pytest.warns(AccuracyWarning, match="relative error"):
        found = greedy_log_det(pool, isotropic(5, 1e-13), 3)
    assert found.gains[2] > 10 and found.notes == ()


def test_where_nothing_can_be_told_apart_the_rest_is_taken_in_order():
    rows = normal(17, 1, 3, seed=3) @ normal(3, 11, seed=4)
    pool = FisherRoots.from_dense(rows)
    prior = 1e-30 * torch.eye(11, dtype=torch.float64)
    with pytest.warns(AccuracyWarning, match="ill-conditioned"):
        found = greedy_log_det(pool, GaussianPosterior.from_roots(pool[:0], prior), 17)
    assert sorted(found.indices.tolist()) == list(range(17))
    assert torch.isfinite(found.gains).all() and (found.gains >= 0).all()
    after = int(found.notes[0].split()[1])
    assert "the rest was taken in order of index" in found.notes[0] and after >= 3
    rest = found.indices[after:].tolist()
    assert rest == sorted(rest) and not found.gains[after:].any()


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1.0, 1e8, 1e120])
def test_gains_are_relatively_accurate_at_every_scale(scale):
    rows = normal(5, 2, 11, seed=6) * scale
    post = isotropic(11, 1.0)
    found = greedy_log_det(FisherRoots.from_dense(rows), post, 5)
    indices, gains = exact_eig_greedy(rows, 1.0, 5, digits=350)
    assert found.indices.tolist() == indices
    np.testing.assert_allclose(found.gains, gains, rtol=1e-9)


def test_blocks_larger_than_a_leaf():
    rows = normal(3, 37, 41)
    grams = rows @ rows.mT
    eye = torch.eye(37, dtype=torch.float64)
    for scale in (1.0, 1e-7, 1e-200):
        wanted = torch.linalg.eigvalsh(grams).mul(scale).log1p().sum(-1) / 2
        found = linalg.log_det_identity_plus_rest(grams * scale) / 2
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    # A negative pivot is rounding, or counts: det(I - A) of A < I.
    least = float(torch.linalg.eigvalsh(grams).max())
    found = linalg.log_det_identity_plus(-grams / (2 * least), signed=True) / 2
    wanted = torch.logdet(eye - grams / (2 * least)) / 2
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert linalg.log_det_identity_plus(-2 * grams, signed=True).isnan().all()
    rest = linalg.log_det_identity_plus_rest
    assert rest(-grams * 1e-9).tolist() == [0.0, 0.0, 0.0]
    # One of a batch that is not definite spoils no other.
    mixed = torch.cat([grams[:1], -2 * grams[1:2], grams[2:]])
    found = linalg.log_det_identity_plus(mixed, signed=True)
    np.testing.assert_allclose(found[::2], rest(grams)[::2], rtol=1e-14)
    assert found[1].isnan() and rest(mixed)[1] == 0
    left, gap = grams, normal(3, 37, 5, seed=8)
    gap = gap @ gap.mT
    found = mutual._shared(left, gap)
    wanted = (torch.logdet(eye + left + gap) - torch.logdet(eye + left)) / 2
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert mutual._shared(-left, gap).isnan().all()


def test_bad_input_is_refused():
    pool, post = dense_roots(7), isotropic(D, 1.0)
    for roots, other, size, message in (
        (pool, post, 8, "batch_size must be at most the pool's 7, got 8"),
        (pool, post, 0, "batch_size must be a positive integer, got 0"),
        (pool, post, True, "batch_size must be a positive integer"),
        (pool[:0], post, 1, "roots must hold at least one example, got 0"),
        (pool.dense()[:, 0], post, 1, "roots must be Fisher roots, got Tensor"),
        (np.ones((3, D)), post, 1, r"wrap features \(M, d\) as .*from_dense"),
        (pool, isotropic(3, 1.0), 1, "roots must have 3 parameters.*got 11"),
        (pool, np.eye(D), 1, "post must be a GaussianPosterior, got ndarray"),
    ):
        with pytest.raises(ValueError, match=message):
            greedy_log_det(roots, other, size)
    with pytest.raises(ValueError, match="lazy must be one of True, False"):
        greedy_log_det(pool, post, 1, lazy="never")


def test_the_first_choice_is_the_largest_eig():
    pool, _, post = problem()
    found = greedy_log_det(pool, post, 1)
    single = eig(pool, post)
    assert int(found.indices) == int(single.argmax())
    assert float(found.gains) == pytest.approx(float(single.max()), rel=1e-13)

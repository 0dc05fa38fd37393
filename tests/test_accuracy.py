"""Every score against dense determinants in 60-digit arithmetic, scale by scale."""

import warnings

import mpmath
import pytest
import torch
from cases import C, dense_roots, mp_fisher, mp_precision, normal, softmax_roots

from fimlib.fisher import FisherRoots, last_layer_roots
from fimlib.information import batch_eig, eig, jepig, jepig_proxy, scores
from fimlib.posterior import AccuracyWarning, GaussianPosterior

# Of the prior precision, where the training rows are fewer than the parameters.
PRIORS = [1e-12, 1e-9, 1e-6, 1e-4, 1e-2, 1.0, 1e4, 1e12]


def log_det(matrix):
    return mpmath.log(mpmath.det(matrix))


def half_trace(a, b):
    """1/2 tr(A B) of symmetric matrices."""
    return mpmath.fsum(x * y for x, y in zip(a, b, strict=True)) / 2


def reference(pool, evals, train, prior):
    """Every score by D x D determinants and inverses, exactly as they are written."""
    p = mp_precision(train, prior)
    each = [mp_fisher(rows) for rows in evals.dense()]
    total = sum(each[1:], each[0])
    mean = total / len(each)
    base, inverse = log_det(p), p**-1
    starts = {"jepig": log_det(p + total) - base, "epig": log_det(p + mean) - base}
    singles = [log_det(p + one) - base for one in each]
    start_trace = half_trace(total, inverse)
    found = []
    for rows in pool.dense():
        info = mp_fisher(rows)
        after = p + info
        gained, left_inverse = log_det(after) - base, after**-1
        left = {
            "jepig": log_det(after + total) - base - gained,
            "epig": log_det(after + mean) - base - gained,
        }
        left_trace = half_trace(total, left_inverse)
        pairs = [
            single - (log_det(after + one) - base - gained)
            for one, single in zip(each, singles, strict=True)
        ]
        found.append(
            {
                "eig_log_det": gained / 2,
                "eig_trace": half_trace(info, inverse),
                "jepig_log_det": (starts["jepig"] - left["jepig"]) / 2,
                "jepig_trace": start_trace - left_trace,
                "epig_log_det": mpmath.fsum(pairs) / (2 * len(each)),
                "epig_trace": (start_trace - left_trace) / len(each),
                "epig_upper": (starts["epig"] - left["epig"]) / 2,
                "jepig_proxy_log_det": left["jepig"] / 2,
                "jepig_proxy_trace": left_trace,
                "epig_proxy_log_det": left["epig"] / 2,
                "epig_proxy_trace": left_trace / len(each),
            }
        )
    return found


def assert_accurate(pool, evals, train, prior, tolerance, digits=80):
    post = GaussianPosterior.from_roots(train, prior)
    found = scores(pool, post, evals, pairwise=True)
    with mpmath.workdps(digits):
        expected = reference(pool, evals, train, prior)
        assert found.keys() == expected[0].keys()
        for i, row in enumerate(expected):
            for name, value in row.items():
                error = abs(mpmath.mpf(found[name][i].item()) - value)
                assert error <= tolerance * abs(value), (name, i, float(error), value)


def few_directions():
    """A repeated training example, a repeated evaluation example, a mixture of known
    and new rows, and a pair of one example."""
    train, evals = dense_roots(2, seed=40), dense_roots(3, seed=20)
    rows = dense_roots(5, seed=1).dense().clone()
    rows[0] = train.dense()[0]
    rows[1] = evals.dense()[1]
    turn = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    rows[2] = turn @ torch.stack([train.dense()[1, 0], normal(11, seed=77)])
    rows[3] = rows[4]
    return FisherRoots.from_dense(rows), evals, train


def saturated():
    """A dead feature, p = 1 - 1e-30, and an example that the training set repeats."""
    features, logits = normal(5, 3), normal(5, C, seed=1)
    features[:, 1] = 0.0
    logits[0] = torch.tensor([69.0, 0.0, 0.0, 0.0])
    pool = last_layer_roots(features, logits)
    evals = last_layer_roots(normal(2, 3, seed=5), normal(2, C, seed=6))
    return pool[:3], evals, pool[torch.tensor([0, 2, 2])]


def dense_problem(train, evals):
    return (
        dense_roots(3, seed=1),
        dense_roots(evals, seed=20),
        dense_roots(train, seed=40),
    )


def softmax_problem(train, evals):
    return (
        softmax_roots(2, seed=1),
        softmax_roots(evals, seed=20),
        softmax_roots(train, seed=40),
    )


PROBLEMS = {
    "dense": lambda: dense_problem(2, 2),
    "dense, many evaluated": lambda: dense_problem(2, 7),
    "dense, full rank": lambda: dense_problem(7, 2),
    "softmax": lambda: softmax_problem(2, 2),
    "softmax, many evaluated": lambda: softmax_problem(2, 7),
    "repeated rows": few_directions,
    "saturated": saturated,
}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_score_keeps_its_digits(name, prior):
    pool, evals, train = PROBLEMS[name]()
    assert_accurate(pool, evals, train, prior, 1e-12 if prior >= 1e-4 else 1e-9)


@pytest.mark.parametrize("gap", [1e-3, 1e-7])
@pytest.mark.parametrize("prior", [1e-12, 1e-8, 1e-2])
def test_nearly_parallel_training_rows_cost_their_condition_number(prior, gap):
    """Their span is known to eps / gap, and so is what lies outside of it."""
    rows = dense_roots(2, seed=40).dense().clone()
    rows[1] = rows[0] + gap * rows[1]
    pool, evals = FisherRoots.from_dense(rows), dense_roots(2, seed=20)
    assert_accurate(pool, evals, pool, prior, 100 * 2.2e-16 / gap)


@pytest.mark.parametrize("prior", [1e-8, 1.0, 1e8])
def test_a_matrix_prior_keeps_its_digits(prior):
    half = normal(11, 11, seed=3)
    matrix = prior * (half @ half.mT + torch.eye(11))
    pool, evals, train = dense_problem(2, 2)
    post = GaussianPosterior.from_roots(train, matrix)
    with mpmath.workdps(60):
        p = mpmath.matrix(matrix.tolist())
        p = p + mp_fisher(train.dense().flatten(0, 1))
        total = mp_fisher(evals.dense().flatten(0, 1))
        for i, rows in enumerate(pool.dense()):
            info = mp_fisher(rows)
            gained = log_det(p + info) - log_det(p)
            shared = gained - log_det(p + info + total) + log_det(p + total)
            for call, value in (
                (eig(pool, post), gained / 2),
                (jepig(pool, evals, post), shared / 2),
            ):
                # Known to eps times the square root of the condition number.
                assert call[i].item() == pytest.approx(float(value), rel=1e-11, abs=0)


@pytest.mark.parametrize("scale", [1e-150, 1e-75, 1e-9])
def test_scores_down_to_1e_300_keep_their_digits(scale):
    pool, evals, train = dense_problem(2, 2)
    pool = FisherRoots.from_dense(scale * pool.dense())
    assert_accurate(pool, evals, train, 0.7, 1e-12, digits=700)


def test_a_proxy_far_below_its_constant_term_is_computed_apart():
    """An example that leaves next to nothing to learn about what it is asked."""
    evals, train = dense_roots(2, seed=20), dense_roots(2, seed=40)
    pool = FisherRoots.from_dense(1e7 * evals.dense().reshape(1, 4, 11))
    assert_accurate(pool, evals, train, 1e-3, 1e-9)
    post = GaussianPosterior.from_roots(train, 1e-3)
    assert jepig_proxy(pool, evals, post).item() < 1e-12


@pytest.mark.parametrize("prior", [1e-12, 1e-4, 1.0, 1e8])
def test_batches_keep_their_digits(prior):
    pool, _, train = few_directions()
    post = GaussianPosterior.from_roots(train, prior)
    with mpmath.workdps(60):
        p = mp_precision(train, prior)
        total = mp_fisher(pool.dense().flatten(0, 1))
        expected = float((log_det(p + total) - log_det(p)) / 2)
    assert batch_eig(pool, post).item() == pytest.approx(expected, rel=1e-11, abs=0)


@pytest.mark.parametrize("prior", [1e-6, 1e-2, 1.0, 1e6])
@pytest.mark.parametrize("train", [2, 11])
@pytest.mark.parametrize("form", ["log_det", "trace"])
def test_gram_blocks_lose_at_most_100_eps_times_the_condition(
    monkeypatch, prior, train, form
):
    """The way of large problems, forced on a small one: sums instead of rows."""
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", 0)
    monkeypatch.setattr("fimlib.posterior.frame.RESCUE", 0)
    pool, evals, train = softmax_problem(2, train)
    post = GaussianPosterior.from_roots(train, prior)
    values = torch.linalg.eigvalsh(GaussianPosterior.from_roots(train, 1.0).precision)
    condition = 1 + float(values[-1]) / prior
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = scores(pool, post, evals)
    assert (100 * 2.2e-16 * condition > 1e-6) <= any(
        one.category is AccuracyWarning for one in caught
    )
    with mpmath.workdps(60):
        expected = reference(pool, evals, train, prior)
    for name in (f"eig_{form}", f"jepig_{form}"):
        for i, row in enumerate(expected):
            assert found[name][i].item() == pytest.approx(
                float(row[name]), rel=100 * 2.2e-16 * condition, abs=0
            )


def test_a_precision_that_loses_half_the_digits_is_announced(monkeypatch):
    pool, _, train = softmax_problem(2, 2)
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", 0)
    for these in (train, FisherRoots(train.dense())):
        post = GaussianPosterior.from_roots(these, 1e-12)
        with pytest.warns(AccuracyWarning, match="relative error of.*raise the prior"):
            eig(pool, post)
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eig(pool, GaussianPosterior.from_roots(train, 1e-12))


def test_many_training_examples_make_up_for_a_small_prior(monkeypatch):
    """P is well-conditioned although the prior alone would not be: no warning."""
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", 0)
    monkeypatch.setattr("fimlib.posterior.frame.RESCUE", 0)
    pool, _, train = dense_problem(23, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = eig(pool, GaussianPosterior.from_roots(train, 1e-9))
    monkeypatch.undo()
    expected = eig(pool, GaussianPosterior.from_roots(train, 1e-9))
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=0)

import math

import mpmath
import pytest
import torch
from cases import (
    dense_roots,
    fishers,
    mp_log_det,
    mp_precision,
    normal,
    softmax_roots,
)

from fimlib.fisher import FisherRoots, LayeredRoots, NetworkRoots, network_roots
from fimlib.fisher import network as network_module
from fimlib.information import (
    batch_eig,
    fisher_product,
    fisher_trace,
    gram_matrix,
    log_det_fisher,
    scores,
)
from fimlib.posterior import AccuracyWarning, GaussianPosterior, frame


def perceptron():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3, bias=False)
    ).double()


def convolution():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.Tanh(), torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    ).double()  # fmt: skip


def layered():
    roots = network_roots(perceptron(), normal(11, 5))
    assert isinstance(roots, LayeredRoots)
    return roots


def streamed(monkeypatch):
    monkeypatch.setattr(network_module, "HELD_NUMBERS", 1)
    monkeypatch.setattr("fimlib.fisher.network._TOGETHER", 3)
    roots = network_roots(convolution(), normal(11, 1, 4, 4))
    assert isinstance(roots, NetworkRoots)
    return roots


@pytest.fixture(params=["dense", "kronecker", "layered", "streamed"])
def roots(request, monkeypatch):
    makers = {
        "dense": lambda: dense_roots(7),
        "kronecker": lambda: softmax_roots(7),
        "layered": layered,
        "streamed": lambda: streamed(monkeypatch),
    }
    return makers[request.param]()


def close(found, expected, rtol=1e-10):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-12)


def test_everything_agrees_with_dense_algebra(roots):
    rows = roots.dense().flatten(0, 1)
    close(gram_matrix(roots), rows @ rows.mT)
    total = fishers(roots).sum(0)
    close(fisher_trace(roots), total.diagonal().sum())
    for prior in (0.3, 7.0):
        eye = torch.eye(len(total), dtype=torch.float64)
        expected = torch.linalg.slogdet(eye + total / prior)[1]
        close(log_det_fisher(roots, prior), expected)
    vectors = normal(roots.num_parameters, 2, seed=3)
    close(fisher_product(roots, vectors), total @ vectors)
    close(fisher_product(roots, vectors[:, 1]), total @ vectors[:, 1])


@pytest.mark.parametrize("count", [3, 31])
def test_the_log_det_is_twice_the_joint_information(count):
    """claims T25, T30: in the rows where they are fewer, else in D x D."""
    roots = dense_roots(count)
    post = GaussianPosterior.isotropic(roots.num_parameters, 0.3)
    close(log_det_fisher(roots, 0.3), 2 * batch_eig(roots, post))


@pytest.mark.parametrize("scale", [1e-150, 1e-9])
def test_tiny_information_keeps_its_digits(scale):
    roots = FisherRoots.from_dense(scale * dense_roots(3).dense())
    value = log_det_fisher(roots).item()
    expected = scale**2 * fisher_trace(dense_roots(3)).item()
    assert value == pytest.approx(expected, rel=1e-12 if scale < 1e-9 else 1e-8, abs=0)


def test_the_exact_trace_is_the_mean_over_labels():
    """claims T43: tr F = E ||g_y||^2 over labels y drawn from the model."""
    model, inputs = perceptron(), normal(11, 5)
    p = model(inputs).softmax(1).detach()
    mean = sum((p[:, y] * _squares(model, inputs, y)).sum() for y in range(3))
    close(fisher_trace(network_roots(model, inputs)), mean)


def _squares(model, inputs, label):
    labels = torch.full((len(inputs),), label)
    roots = network_roots(model, inputs, estimator="empirical", labels=labels)
    return roots.self_gram()[:, 0, 0]


def test_a_network_of_a_million_parameters_needs_no_matrix(monkeypatch):
    model = torch.nn.Sequential(
        torch.nn.Linear(1000, 1000), torch.nn.Tanh(), torch.nn.Linear(1000, 3)
    )
    roots = network_roots(model, torch.randn(5, 1000), dtype=torch.float64)
    vector = torch.ones(roots.num_parameters, dtype=torch.float64)
    product = fisher_product(roots, vector)
    row = roots.project(vector[:, None])
    close(vector @ product, row.square().sum())
    assert 0 < log_det_fisher(roots) < fisher_trace(roots)


@pytest.mark.parametrize("prior", [1e-30, 1e-10, 1e-3, 1.0, 1e10])
def test_the_log_det_keeps_its_digits_where_rows_can_be_had(prior):
    roots = dense_roots(3)
    with mpmath.workdps(80):
        expected = mp_log_det(mp_precision(roots, prior)) - 11 * mpmath.log(prior)
    assert log_det_fisher(roots, prior).item() == pytest.approx(
        float(expected), rel=1e-12, abs=0
    )


def test_a_small_prior_precision_is_announced(monkeypatch):
    monkeypatch.setattr(frame, "EXACT_WORK", 0)
    for roots in (softmax_roots(3), layered()):
        with pytest.warns(AccuracyWarning, match="ill-conditioned"):
            log_det_fisher(roots, 1e-10)


def test_bad_input_is_refused_by_name():
    roots = dense_roots(3)
    for call in (gram_matrix, log_det_fisher, fisher_trace):
        with pytest.raises(ValueError, match="roots must hold at least one example"):
            call(roots[:0])
    with pytest.raises(ValueError, match="roots must hold at least one example"):
        fisher_product(roots[:0], torch.zeros(11))
    for vectors in (torch.zeros(5), torch.zeros(5, 2)):
        with pytest.raises(ValueError, match=r"vectors must have shape \(11.*got \(5"):
            fisher_product(roots, vectors)
    with pytest.raises(ValueError, match="vectors must be finite"):
        fisher_product(roots, torch.full((11,), math.nan))
    with pytest.raises(ValueError, match="prior_precision must be positive"):
        log_det_fisher(roots, 0.0)


def test_what_is_too_large_both_ways_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr("fimlib.posterior.frame.MAX_DENSE", 5)
    message = r"roots must have at most 5\^2 pairs of rows, got 6.*0\.0 GB"
    with pytest.raises(ValueError, match=message):
        gram_matrix(dense_roots(3))
    monkeypatch.setattr(frame, "EXACT_WORK", 0)
    with pytest.raises(ValueError, match=r"got 14 rows and 11 parameters"):
        log_det_fisher(dense_roots(7))


def brute_precision(train, prior):
    eye = torch.eye(train.num_parameters, dtype=torch.float64)
    return prior * eye + fishers(train).sum(0)


def force(monkeypatch, kind):
    """Make every score go one way: by rows, by their products, in D x D."""
    way_of = frame.way_of

    def forced(post, pool, evals, again=False):
        return kind if post.train_roots or evals else way_of(post, pool, evals)

    monkeypatch.setattr(frame, "way_of", forced)


@pytest.mark.parametrize("make", [dense_roots, softmax_roots])
@pytest.mark.parametrize("refine", [True, False])
@pytest.mark.parametrize("kind", ["rows", "products", "parameters"])
def test_all_ways_give_the_same_scores(monkeypatch, kind, make, refine):
    pool, evals, train = make(7, seed=1), make(2, seed=20), make(2, seed=40)
    expected = scores(pool, GaussianPosterior.from_roots(train, 0.7), evals, True)
    force(monkeypatch, kind)
    if not refine:
        monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", 0)
    post = GaussianPosterior.from_roots(train, 0.7)
    found = scores(pool, post, evals, pairwise=True)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(
        post.log_det_precision,
        torch.linalg.slogdet(brute_precision(train, 0.7))[1],
        rtol=1e-11,
        atol=0,
    )


def test_hundreds_of_thousands_of_parameters_and_few_training_roots():
    """The same numbers as in the few coordinates that hold everything."""
    size, few = 200_003, 17
    small = [normal(count, 2, few, seed=count) for count in (5, 3, 2)]
    place = torch.arange(few) * 11_003
    big = [torch.zeros(*x.shape[:2], size, dtype=torch.float64) for x in small]
    for wide, narrow in zip(big, small, strict=True):
        wide[..., place] = narrow
    pool, evals, train = (FisherRoots.from_dense(x) for x in big)
    post = GaussianPosterior.from_roots(train, 1e-3)
    found = scores(pool, post, evals, pairwise=True)
    pool, evals, train = (FisherRoots.from_dense(x) for x in small)
    inner = GaussianPosterior.from_roots(train, 1e-3)
    for name, values in scores(pool, inner, evals, pairwise=True).items():
        torch.testing.assert_close(found[name], values, rtol=1e-10, atol=0)
    rest = (size - few) * math.log(1e-3)
    assert post.log_det_precision.item() == pytest.approx(
        inner.log_det_precision.item() + rest, rel=1e-12
    )


def test_a_wide_last_layer_needs_no_matrix_of_its_parameters():
    """D = 101 x 300: products of features and of outputs, in float64."""
    make = [softmax_roots(n, classes=101, width=299, seed=n) for n in (3, 2, 5)]
    pool, evals, train = make
    post = GaussianPosterior.from_roots(train, 1.0)
    found = scores(pool, post, evals)
    rows = torch.cat([part.dense().flatten(0, 1) for part in (train, pool[:1])])
    gram = torch.eye(len(rows), dtype=torch.float64) + rows @ rows.mT
    count = len(train) * train.rank
    value = (
        torch.linalg.slogdet(gram)[1] - torch.linalg.slogdet(gram[:count, :count])[1]
    )
    torch.testing.assert_close(found["eig_log_det"][0], value / 2, rtol=1e-8, atol=0)
    assert (found["jepig_log_det"] <= found["eig_log_det"]).all()


@pytest.mark.parametrize("exact_work", [0, 10**9])
def test_networks_are_scored_through_inner_products(monkeypatch, exact_work):
    """Layers' factors give them: before any data, and after some."""
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", exact_work)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)
    )
    roots = network_roots(model, normal(7, 3))
    rows = FisherRoots(roots.dense())
    empty = GaussianPosterior.isotropic(roots.num_parameters, 0.7)
    for post in (empty, GaussianPosterior.from_roots(roots[:2], 0.7)):
        expected = torch.linalg.inv(
            brute_precision(rows[: 2 * (post is not empty)], 0.7)
        )
        grams = rows.dense() @ expected @ rows.dense().mT
        torch.testing.assert_close(post.gram(roots), grams, rtol=1e-9, atol=1e-11)

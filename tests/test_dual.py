import math

import pytest
import torch
from cases import dense_roots, fishers, normal, softmax_roots

from fimlib.dual import fisher_product, fisher_trace, gram_matrix, log_det_fisher
from fimlib.fisher import FisherRoots, LayeredRoots, NetworkRoots, network_roots
from fimlib.fisher import network as network_module
from fimlib.information import batch_eig
from fimlib.posterior import AccuracyWarning, GaussianPosterior


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
    monkeypatch.setattr("fimlib.dual._TOGETHER", 3)
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


def test_a_small_prior_precision_is_announced():
    with pytest.warns(AccuracyWarning, match="ill-conditioned"):
        log_det_fisher(dense_roots(3), 1e-10)


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
    monkeypatch.setattr("fimlib.dual.MAX_DENSE", 5)
    with pytest.raises(ValueError, match=r"at most 5 rows, got 6.*0\.0 GB"):
        gram_matrix(dense_roots(3))
    with pytest.raises(ValueError, match=r"got 14 rows and 11 parameters"):
        log_det_fisher(dense_roots(7))

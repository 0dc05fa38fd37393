import math

import numpy as np
import pytest
import torch
from cases import C, M, dense_roots, fishers, generator, normal, softmax_roots

from fimlib.families import Categorical, Gaussian
from fimlib.fisher import FisherRoots, embed, last_layer_roots


def last_layer(width, outputs, bias, seed=0):
    layer = torch.nn.Linear(width, outputs, bias=bias).double()
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed + i))
    return layer


def class_major(layer):
    """Flat parameters of a linear layer in the documented order: c q + j, bias last."""
    parts = (
        [layer.weight] if layer.bias is None else [layer.weight, layer.bias[:, None]]
    )
    return torch.cat(parts, dim=1).flatten().detach()


def loss_of_flat(features, bias, width, outputs, negative_log_prob):
    """theta (D,) -> -log p(y|x, theta) of one example, for autodiff."""

    def loss(theta):
        weights = theta.view(outputs, width + bias)
        z = weights[:, :width] @ features
        return negative_log_prob(z + weights[:, -1] if bias else z)

    return loss


@pytest.mark.parametrize("bias", [True, False])
def test_exact_softmax_fisher_is_the_expected_autodiff_hessian(bias):
    width, outputs = 3, 5
    layer = last_layer(width, outputs, bias)
    features = normal(2, width, seed=7)
    roots = last_layer_roots(features, layer(features).detach(), bias=bias)
    assert roots.num_parameters == outputs * (width + bias)
    assert roots.rank == outputs - 1
    for phi, found in zip(features, fishers(roots), strict=True):
        p = layer(phi).softmax(-1).detach()
        hessians = [
            torch.autograd.functional.hessian(
                loss_of_flat(
                    phi, bias, width, outputs, lambda z, y=y: -z.log_softmax(-1)[y]
                ),
                class_major(layer),
            )
            for y in range(outputs)
        ]
        expected = torch.einsum("y,yij->ij", p, torch.stack(hessians))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_gaussian_fisher_is_the_jacobian_product_over_the_variance():
    width, outputs, variance = 3, 2, 0.3
    layer = last_layer(width, outputs, True)
    phi = normal(1, width, seed=7)
    mu = layer(phi).detach()
    roots = last_layer_roots(phi, mu, family=Gaussian(variance))
    loss = loss_of_flat(
        phi[0], True, width, outputs, lambda z: z.square().sum() / (2 * variance)
    )
    expected = torch.autograd.functional.hessian(loss, class_major(layer))
    torch.testing.assert_close(fishers(roots)[0], expected, rtol=1e-12, atol=1e-12)


def test_empirical_and_hard_label_roots_are_autodiff_gradients():
    layer = last_layer(3, 5, True)
    features = normal(7, 3, seed=7)
    logits = layer(features)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    cases = {"empirical": labels, "hard_label": logits.argmax(-1)}
    for estimator, y in cases.items():
        given = labels if estimator == "empirical" else None
        roots = last_layer_roots(
            features, logits, estimator=estimator, labels=given
        ).dense()
        assert roots.shape == (7, 1, 20)
        for i in range(7):
            loss = torch.nn.functional.cross_entropy(layer(features[i]), y[i])
            weight, bias = torch.autograd.grad(loss, list(layer.parameters()))
            expected = torch.cat([weight, bias[:, None]], dim=1).flatten()
            torch.testing.assert_close(roots[i, 0], expected, rtol=0, atol=1e-13)


def test_monte_carlo_is_unbiased_with_the_documented_variance():
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    draws, exact = 50_000, torch.diag(p) - torch.outer(p, p)
    roots = last_layer_roots(
        torch.ones(draws, 1),
        p.log().expand(draws, 3),
        bias=False,
        estimator="monte_carlo",
        generator=generator(),
    )
    samples = fishers(roots)
    variance = (samples - exact).square().sum((1, 2))
    # claims T31: E |g g^T - F|^2 = .2376 for these probabilities.
    assert variance.mean().item() == pytest.approx(0.2376, rel=0.02, abs=0)
    assert (samples.mean(0) - exact).abs().max() < 5 * 0.5 / math.sqrt(draws)
    many = last_layer_roots(
        torch.ones(1, 1),
        p.log()[None],
        bias=False,
        estimator="monte_carlo",
        num_samples=2_000,
        generator=generator(),
    )
    assert many.rank == 2_000
    total = many.factor[0] @ many.factor[0].mT
    assert (total - exact).abs().max() < 5 * 0.5 / math.sqrt(2_000)


def test_regression_has_no_information_in_its_own_hard_label():
    features, mu = normal(3, 2), normal(3, 1)
    roots = last_layer_roots(features, mu, Gaussian(0.5), estimator="hard_label")
    assert roots.dense().abs().max() == 0.0


def test_chunked_passes_give_what_one_pass_gives(monkeypatch):
    roots, matrix = softmax_roots(M), torch.eye(C * 4, dtype=torch.float64) + 0.1
    whole = roots.gram(matrix), roots.fisher_sum(), roots.project(matrix)
    monkeypatch.setattr("fimlib.fisher.roots._CHUNK_NUMBERS", 100)
    assert len(list(roots.chunks())) > 2
    parts = roots.gram(matrix), roots.fisher_sum(), roots.project(matrix)
    for left, right in zip(whole, parts, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("columns", "span", "in_cache"), [(12, 3, 24), (7, 5, 7), (768, 16, 2**18)]
)
def test_kronecker_products_in_tiles(monkeypatch, columns, span, in_cache):
    """5 outputs make 15 pairs, 10 of them in the basis; 12 features, 7 examples."""
    monkeypatch.setattr("fimlib.fisher.kronecker._COLUMNS", columns)
    monkeypatch.setattr("fimlib.fisher.kronecker._SPAN", span)
    monkeypatch.setattr("fimlib.fisher.kronecker._IN_CACHE", in_cache)
    roots = softmax_roots(M, classes=5, width=11)
    for one in (roots, roots.reduced()):
        size, rows = one.num_parameters, one.dense()
        matrix = normal(size, size, seed=3)
        matrix = matrix + matrix.mT
        found = one.gram_of_symmetric(matrix), one.fisher_sum()
        expected = rows @ matrix @ rows.mT, fishers(one).sum(0)
        for left, right in zip(found, expected, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-13)
    assert len(roots[:0].gram_of_symmetric(torch.eye(60).double())) == 0
    assert not roots[:0].fisher_sum().any()


def test_reduced_coordinates_lose_nothing():
    roots = softmax_roots(M)
    reduced = roots.reduced()
    assert reduced.num_parameters == roots.num_parameters * (C - 1) // C
    torch.testing.assert_close(reduced.self_gram(), roots.self_gram())
    torch.testing.assert_close(
        embed(reduced.fisher_sum(), roots.basis), fishers(roots).sum(0)
    )
    dense = dense_roots(M)
    assert dense.reduced() is dense


def test_saturated_examples_keep_their_relative_digits():
    """p = 1 - 1e-30: trace F = |phi|^2 (1 - |p|^2), about 2e-30 |phi|^2."""
    logits = torch.tensor([[69.0, 0.0, -1.0]], dtype=torch.float64)
    roots = last_layer_roots(torch.ones(1, 2), logits)
    tail = math.exp(-69.0) + math.exp(-70.0)
    # 1 - |p|^2 = 2 tail to first order, three parameters a class.
    expected = 3 * 2 * tail
    trace = roots.self_gram()[0].diagonal().sum().item()
    assert trace == pytest.approx(expected, rel=1e-12, abs=0)
    torch.testing.assert_close(
        roots.fisher_sum().diagonal().sum().item(), expected, rtol=1e-12, atol=0
    )


def test_rank_of_the_softmax_last_layer():
    roots = softmax_roots(50, scale=0.5)
    rank = torch.linalg.matrix_rank(roots.fisher_sum()).item()
    assert rank == (C - 1) * 4  # (C - 1)(d + 1), claims T17


def test_selection_keeps_the_example_axis():
    for roots in (dense_roots(M), softmax_roots(M)):
        whole = roots.dense()
        mask = torch.tensor([True, False, True, False, False, False, True])
        for index, rows in (
            (slice(1, 4), whole[1:4]),
            ([0, 5], whole[[0, 5]]),
            (-1, whole[-1:]),
            (mask, whole[mask]),
            (mask.numpy(), whole[mask]),
            ([], whole[:0]),
        ):
            part = roots[index]
            assert type(part) is type(roots) and len(part) == len(rows)
            assert torch.equal(part.dense(), rows)
        with pytest.raises(IndexError, match="integers below 7"):
            roots[[7]]
        with pytest.raises(ValueError, match=r"mask must have shape \(7,\)"):
            roots[torch.tensor([True])]
        assert "7 examples" in repr(roots)


def test_one_dimensional_examples_are_rank_one_features():
    x = np.arange(6.0).reshape(3, 2)
    roots = FisherRoots.from_dense(x)
    assert (len(roots), roots.rank, roots.num_parameters) == (3, 1, 2)
    assert torch.equal(roots.fisher_sum(), torch.as_tensor(x.T @ x))


def test_float32_roots_accumulate_in_float64():
    features = normal(7, 3).float()
    logits = normal(7, 4, seed=1).float()
    double = last_layer_roots(features, logits)
    single = last_layer_roots(features, logits, dtype=torch.float32)
    assert double.dtype == torch.float64 and single.dtype == torch.float32
    assert single.fisher_sum().dtype == torch.float64
    torch.testing.assert_close(
        single.fisher_sum(), double.fisher_sum(), rtol=1e-5, atol=1e-6
    )
    gram = single.gram(torch.eye(16))
    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram.double(), double.self_gram(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"features": torch.zeros(3)},
            r"features must have shape \(M, d\), got \(3,\)",
        ),
        (
            {"logits": torch.zeros(2, 4)},
            r"logits must have shape \(3, C\), got \(2, 4\)",
        ),
        ({"logits": torch.zeros(3, 1)}, "at least 2 columns"),
        ({"features": torch.full((3, 2), math.nan)}, "features must be finite, got 6"),
        ({"logits": torch.full((3, 4), math.inf)}, "logits must be finite, got 12"),
        ({"estimator": "exakt"}, "estimator must be one of 'exact', 'monte_carlo'"),
        ({"estimator": "empirical"}, 'estimator "empirical" needs labels'),
        ({"labels": [0, 1, 2]}, 'estimator "exact" has no use for labels'),
        (
            {"estimator": "empirical", "labels": [0, 1, 4]},
            r"labels must lie in 0..3, got values from 0 to 4",
        ),
        (
            {"estimator": "empirical", "labels": [0, 1]},
            r"labels must have shape \(3,\), got \(2,\)",
        ),
        (
            {"estimator": "monte_carlo", "num_samples": 0},
            "num_samples must be a positive integer, got 0",
        ),
        ({"features": torch.zeros(3, 0), "bias": False}, "at least one column"),
    ],
)
def test_bad_last_layers_are_refused_by_name(change, message):
    arguments = {"features": torch.ones(3, 2), "logits": torch.zeros(3, 4)} | change
    with pytest.raises(ValueError, match=message):
        last_layer_roots(**arguments)


def test_bad_roots_and_matrices_are_refused_by_name():
    with pytest.raises(ValueError, match=r"array must have shape \(M, r, D\)"):
        FisherRoots.from_dense(torch.zeros(3))
    roots = dense_roots(3)
    with pytest.raises(ValueError, match=r"matrix must have shape \(11, 11\)"):
        roots.gram(torch.eye(3))
    with pytest.raises(ValueError, match="matrix must be symmetric"):
        roots.gram(torch.arange(121.0).view(11, 11))
    with pytest.raises(ValueError, match=r"other must have 11 parameters.*got 5"):
        roots.cross(dense_roots(3, size=5))
    with pytest.raises(ValueError, match="roots must hold at least one example"):
        roots[:0].fisher_mean()


def test_categorical_is_the_default_family():
    features, logits = normal(3, 2), normal(3, 4)
    assert torch.equal(
        last_layer_roots(features, logits).dense(),
        last_layer_roots(features, logits, family=Categorical()).dense(),
    )

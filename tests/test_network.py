"""Whole networks: roots by autodiff against brute force."""

import copy

import numpy as np
import pytest
import torch
from cases import fishers, generator, normal
from networks import (
    CLASSES,
    COUNT,
    HIDDEN,
    WIDTH,
    assert_same_roots,
    convolution,
    jacobians,
    mlp,
    models,
    seeded,
    softmax_curvature,
)
from torch import nn

from fimlib.fisher import (
    FisherRoots,
    LayeredRoots,
    NetworkRoots,
    last_layer_roots,
    network_roots,
    observed,
    observed_information,
)
from fimlib.fisher.batch import Batch
from fimlib.fisher.network import Network


@pytest.mark.parametrize("name", models())
def test_exact_roots_are_the_jacobian_around_the_curvature(name):
    model, inputs = models()[name]
    with torch.no_grad():
        outputs = copy.deepcopy(model).eval()(inputs)
    roots = network_roots(model, inputs)
    size = sum(p.numel() for p in model.parameters())
    assert (len(roots), roots.num_parameters) == (COUNT, size)
    assert roots.rank == outputs.shape[1] - 1
    jacobian = jacobians(model, inputs)
    expected = jacobian.mT @ softmax_curvature(outputs) @ jacobian
    torch.testing.assert_close(fishers(roots), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["convolution", "tied"])
def test_ordinary_modules_are_mapped_not_looped(name):
    model, inputs = models()[name]
    network = Network(model, torch.float64)
    batch = network.prepared(Batch(inputs))
    outputs = network.outputs(batch)
    assert network._mapped_rows(batch, outputs[:, :, None]) is not None
    assert observed._mapped_residual(network, batch, outputs) is not None


def test_the_last_layer_is_a_block_of_the_network():
    model, inputs = mlp(), normal(COUNT, WIDTH)
    roots = network_roots(model, inputs).dense()
    with torch.no_grad():
        features = model[:2](inputs)
        last = last_layer_roots(features, model[2](features)).dense()
    # The network's own order: all weights of a layer, then its biases.
    last = last.unflatten(2, (CLASSES, HIDDEN + 1))
    block = torch.cat([last[..., :-1].flatten(2), last[..., -1]], dim=2)
    torch.testing.assert_close(
        roots[:, :, -block.shape[2] :], block, rtol=1e-12, atol=1e-14
    )


def test_empirical_and_hard_label_roots_are_autodiff_gradients():
    model, inputs = mlp(), normal(COUNT, WIDTH)
    labels = torch.tensor([0, 1, 2, 3, 3, 0, 1])
    with torch.no_grad():
        best = model(inputs).argmax(-1)
    for estimator, y in (("empirical", labels), ("hard_label", best)):
        given = labels if estimator == "empirical" else None
        roots = network_roots(model, inputs, estimator=estimator, labels=given)
        assert roots.rank == 1
        for i in range(COUNT):
            loss = nn.functional.cross_entropy(model(inputs[i : i + 1]), y[i : i + 1])
            grads = torch.autograd.grad(loss, list(model.parameters()))
            expected = torch.cat([g.flatten() for g in grads])
            torch.testing.assert_close(
                roots.dense()[i, 0], expected, rtol=1e-11, atol=1e-13
            )


def test_monte_carlo_roots_follow_the_generator_and_are_unbiased():
    model, inputs = mlp(), normal(2, WIDTH)
    options = {"estimator": "monte_carlo", "num_samples": 4_001}
    roots = network_roots(model, inputs, generator=generator(3), **options)
    again = network_roots(model, inputs, generator=generator(3), **options)
    assert torch.equal(roots.dense(), again.dense())
    exact, found = fishers(network_roots(model, inputs)), fishers(roots)
    scale = torch.linalg.matrix_norm(exact)
    error = torch.linalg.matrix_norm(found - exact)
    assert (error < 0.15 * scale).all() and (error > 1e-4 * scale).all()


@pytest.mark.parametrize("numbers", [1, 300, 2**22])
@pytest.mark.parametrize("name", ["mlp", "convolution"])
def test_large_networks_are_computed_chunk_by_chunk(monkeypatch, name, numbers):
    model, inputs = models()[name]
    held = network_roots(model, inputs)
    assert type(held) is (LayeredRoots if name == "mlp" else FisherRoots)
    first, held = held, FisherRoots(held.dense())
    monkeypatch.setattr("fimlib.fisher.network.HELD_NUMBERS", 0)
    monkeypatch.setattr("fimlib.fisher.streamed.HELD_NUMBERS", numbers)
    monkeypatch.setattr("fimlib.fisher.roots._CHUNK_NUMBERS", numbers)
    lazy = network_roots(model, inputs)
    assert type(lazy) is NetworkRoots and lazy.streamed
    blocks = {1: COUNT, 300: 1 if name == "mlp" else 4, 2**22: 1}
    assert len(list(lazy._blocks())) == blocks[numbers]
    size = held.num_parameters
    matrix = fishers(held).sum(0) + torch.eye(size, dtype=torch.float64)
    other = FisherRoots.from_dense(normal(3, 2, size, seed=8))
    weights = normal(COUNT, 2, held.rank, seed=9)
    assert_same_roots(lazy, held, matrix, weights, other)
    torch.testing.assert_close(lazy.held().dense(), held.dense())
    torch.testing.assert_close(first.cross(lazy), held.cross(held))
    both = NetworkRoots.joined([lazy[:3], lazy[3:]])
    torch.testing.assert_close(both.dense(), held.dense(), rtol=1e-12, atol=1e-13)


def test_the_model_is_left_exactly_as_it_was():
    model = seeded(convolution()).train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    inputs = normal(COUNT, 1, 5, 5)
    loss = nn.functional.cross_entropy(model(inputs), torch.zeros(COUNT).long())
    loss.backward()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    flags = [module.training for module in model.modules()]
    kept = inputs.clone()
    roots = network_roots(model, inputs)
    observed_information(model, inputs[:2], [0, 1])
    assert [module.training for module in model.modules()] == flags
    assert not model[0].weight.requires_grad and model[0].bias.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        assert (grad is None) == (parameter.grad is None)
        assert grad is None or torch.equal(grad, parameter.grad)
    assert torch.equal(inputs, kept) and not any(m._forward_hooks for m in model)
    # Dropout was off, although the model trains.
    torch.testing.assert_close(
        roots.dense(), network_roots(model.eval(), inputs).dense(), rtol=0, atol=0
    )


def test_roots_do_not_follow_later_training(monkeypatch):
    monkeypatch.setattr("fimlib.fisher.network.HELD_NUMBERS", 0)
    model, inputs = mlp(), normal(COUNT, WIDTH)
    roots = network_roots(model, inputs)
    before = roots.dense()
    with torch.no_grad():
        model[0].weight.zero_()
    assert torch.equal(roots.dense(), before)


def test_float32_models_give_float64_roots():
    model, inputs = mlp().float(), normal(COUNT, WIDTH).float()
    roots = network_roots(model, inputs)
    assert roots.dtype == torch.float64
    assert next(model.parameters()).dtype == torch.float32
    exact = network_roots(model.double(), inputs.double())
    torch.testing.assert_close(roots.dense(), exact.dense(), rtol=0, atol=0)
    single = network_roots(model, inputs, dtype=torch.float32)
    assert single.dtype == torch.float32
    assert single.fisher_sum().dtype == torch.float64
    torch.testing.assert_close(
        single.fisher_sum(), exact.fisher_sum(), rtol=1e-4, atol=1e-5
    )
    from_numpy = network_roots(model, inputs.numpy().astype(np.float16))
    assert from_numpy.dtype == torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_gpu_models_give_gpu_roots():
    model, inputs = mlp(), normal(COUNT, WIDTH)
    expected = network_roots(model, inputs)
    model, labels = copy.deepcopy(model).cuda(), torch.zeros(COUNT).long()
    roots = network_roots(model, inputs.cuda())
    assert roots.device.type == "cuda"
    torch.testing.assert_close(roots.dense().cpu(), expected.dense())
    observed = observed_information(model, inputs.cuda(), labels.cuda())
    assert observed.device.type == "cuda"

"""Every architecture, in both scopes, held and streamed, by central differences."""

import pytest
import torch
from zoo_models import made, zoo
from zoo_modules import M
from zoo_truth import assert_right, found, truth

from fimlib.fisher import (
    LayeredRoots,
    NetworkRoots,
    network_roots,
    roots_from_loader,
)
from fimlib.fisher.batch import Batch

PRIOR = 0.7


def loader_of(inputs):
    """Two batches of an animal's inputs, in its own structure."""
    batch = Batch(inputs)
    return [
        part if isinstance(part, dict) else (part, None)
        for part in (batch[:4].tree, batch[4:].tree)
    ]


@pytest.mark.parametrize("name", [name for name in zoo() if made(name).smooth])
def test_whole_networks_are_right(name, monkeypatch):
    animal, right = made(name), truth(name, "network", PRIOR)
    held = network_roots(animal.model, animal.inputs, **animal.options)
    assert len(held) == M and (type(held) is LayeredRoots) == animal.fast
    assert_right(found(held, PRIOR), right)
    monkeypatch.setattr("fimlib.fisher.network.HELD_NUMBERS", 0)
    monkeypatch.setattr("fimlib.fisher.roots._CHUNK_NUMBERS", 2 * held.num_parameters)
    lazy = network_roots(animal.model, animal.inputs, **animal.options)
    assert type(lazy) is NetworkRoots
    assert_right(found(lazy, PRIOR), right)
    streamed = roots_from_loader(
        animal.model,
        loader_of(animal.inputs),
        scope="network",
        progress=False,
        **animal.options,
    )
    assert_right(found(streamed, PRIOR), right)


@pytest.mark.parametrize("name", [name for name in zoo() if made(name).head])
def test_last_layers_are_right_and_found(name):
    animal, right = made(name), truth(name, "last_layer", PRIOR)
    for layer in (None, animal.head):
        streamed = roots_from_loader(
            animal.model,
            loader_of(animal.inputs),
            layer=layer,
            progress=False,
            **animal.options,
        )
        assert len(streamed) == M
        assert_right(found(streamed, PRIOR), right)
    assert_right(found(streamed[:], PRIOR), right)


@pytest.mark.parametrize("name", [name for name in zoo() if not made(name).head])
def test_models_that_do_not_end_in_a_layer_are_refused(name):
    animal = made(name)
    with pytest.raises(ValueError, match=r"model must return what .* returns"):
        roots_from_loader(
            animal.model, loader_of(animal.inputs), progress=False, **animal.options
        )


@pytest.mark.parametrize("name", [name for name in zoo() if not made(name).smooth])
def test_models_that_autograd_cannot_differentiate_are_refused(name):
    animal = made(name)
    with pytest.raises(ValueError, match="model must have gradients by"):
        network_roots(animal.model, animal.inputs)


def test_the_gradients_of_losses_are_those_of_a_loader_too():
    """Rank 1, where the rows themselves are determined."""
    animal, labels = made("mlp"), torch.tensor([0, 1, 2, 2, 1, 0])
    options = {"estimator": "empirical"}
    rows = network_roots(animal.model, animal.inputs, labels=labels, **options).dense()
    for i in range(M):
        loss = torch.nn.functional.cross_entropy(
            animal.model(animal.inputs[i : i + 1]), labels[i : i + 1]
        )
        grads = torch.autograd.grad(loss, list(animal.model.parameters()))
        expected = torch.cat([g.flatten() for g in grads])
        torch.testing.assert_close(rows[i, 0], expected, rtol=1e-10, atol=1e-12)
    pairs = [(animal.inputs[:4], labels[:4]), (animal.inputs[4:], labels[4:])]
    streamed = roots_from_loader(
        animal.model, pairs, scope="network", progress=False, **options
    )
    torch.testing.assert_close(streamed.dense(), rows, rtol=1e-10, atol=1e-12)

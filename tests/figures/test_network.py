import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fimlib.figures import network


@pytest.fixture(scope="module")
def net():
    return network.DropoutCNN(torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def images():
    return torch.randn(7, 1, 28, 28, generator=torch.Generator().manual_seed(2))


def published(net, images, first, second, third):
    """Dropout where the published model has it: before pooling, before ReLU.

    Masks broadcast against (N,32), (N,64), (N,128); scale 1 / (1 - 0.5).
    """
    x = F.conv2d(images, net.conv1.weight, net.conv1.bias)
    x = F.relu(F.max_pool2d(x * first[:, :, None, None] / 0.5, 2))
    x = F.conv2d(x, net.conv2.weight, net.conv2.bias)
    x = F.relu(F.max_pool2d(x * second[:, :, None, None] / 0.5, 2))
    x = F.relu(F.linear(x.flatten(1), net.fc1.weight, net.fc1.bias) * third / 0.5)
    return F.linear(x, net.fc2.weight, net.fc2.bias)


def test_the_size_is_the_published_one(net):
    assert sum(p.numel() for p in net.parameters()) == 184_586


def test_construction_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    network.DropoutCNN(torch.Generator().manual_seed(4))
    assert torch.equal(torch.get_rng_state(), before)


def test_initialisation_has_pytorchs_default_scale(net):
    layers = (net.conv1, net.conv2, net.fc1, net.fc2)
    for layer, fan in zip(layers, (25, 800, 1024, 128), strict=True):
        for values in (layer.weight, layer.bias):
            assert values.abs().max() <= fan**-0.5
            assert values.abs().max() > 0.8 * fan**-0.5
        # The variance of a uniform variable within +-b is b^2 / 3.
        assert layer.weight.std().item() == pytest.approx((3 * fan) ** -0.5, rel=0.05)


def test_a_fresh_mask_per_example_is_published_dropout(net, images):
    masks = network.draw_masks(7, torch.Generator().manual_seed(5))
    expected = published(net, images, *masks)
    assert torch.allclose(net(images, masks), expected, atol=1e-5)


def test_thinned_samples_equal_masking_everything(net, images):
    masks = network.draw_masks(9, torch.Generator().manual_seed(6))
    found = network.mc_log_probs(net, images, masks, chunk=3)
    assert found.shape == (7, 9, 10)
    for sample in range(9):
        shared = (mask[sample : sample + 1] for mask in masks)  # one for all inputs
        expected = published(net, images, *shared).log_softmax(-1)
        assert torch.allclose(found[:, sample], expected, atol=2e-5)


def test_the_extreme_masks(net, images):
    everything = [torch.ones(1, width, dtype=torch.bool) for width in network.WIDTHS]
    one = [torch.arange(width)[None] == 3 for width in network.WIDTHS]
    for masks in (everything, one):
        expected = published(net, images, *masks).log_softmax(-1)
        found = network.mc_log_probs(net, images, masks)[:, 0]
        assert torch.allclose(found, expected, atol=2e-5)
    nothing = network.mc_log_probs(net, images, [*one[:2], ~everything[2]])
    constant = net.fc2.bias.log_softmax(-1).expand(7, 10)
    assert torch.allclose(nothing[:, 0], constant, atol=1e-6)


def test_a_sample_does_not_depend_on_its_company(net, images):
    masks = network.draw_masks(3, torch.Generator().manual_seed(7))
    together = network.mc_log_probs(net, images, masks)
    alone = network.mc_log_probs(net, images[2:3], masks)
    assert torch.allclose(together[2:3], alone, atol=1e-5)


def test_features_are_the_deterministic_last_layer(net, images):
    features, logits = network.features(net, images, chunk=4)
    assert features.shape == (7, 128)
    ones = [torch.full((1, width), 0.5) for width in network.WIDTHS]  # 0.5 / 0.5
    assert torch.allclose(logits, published(net, images, *ones), atol=1e-5)
    assert torch.allclose(logits, net(images), atol=1e-5)
    assert torch.allclose(features @ net.fc2.weight.T + net.fc2.bias, logits, atol=1e-5)


def test_masks_are_fair_and_reproducible():
    first = network.draw_masks(2000, torch.Generator().manual_seed(8))
    again = network.draw_masks(2000, torch.Generator().manual_seed(8))
    for mask, same, width in zip(first, again, network.WIDTHS, strict=True):
        assert mask.shape == (2000, width)
        assert torch.equal(mask, same)
        assert mask.double().mean() == pytest.approx(0.5, abs=0.01)


def test_inputs_are_scaled_as_published():
    images = np.array([[[0, 255]]], dtype=np.uint8)
    found = network.prepare(images)
    assert found.shape == (1, 1, 1, 2)
    expected = [(0 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081]
    assert found.flatten().tolist() == pytest.approx(expected)


def test_weights_survive_as_arrays(net, images):
    copy = network.from_arrays(network.to_arrays(net))
    assert torch.equal(copy(images), net(images))

"""Networks of linear layers: roots by factors of their layers."""

import pytest
import torch
from cases import fishers, normal
from networks import (
    CLASSES,
    COUNT,
    HIDDEN,
    WIDTH,
    Tied,
    assert_same_roots,
    jacobians,
    seeded,
    softmax_curvature,
)
from torch import nn

from fimlib.families import Gaussian
from fimlib.fisher import FisherRoots, LayeredRoots, network_roots
from fimlib.information import batch_eig, eig
from fimlib.posterior import GaussianPosterior


class Bilinear(nn.Module):
    """A linear layer whose weight is used outside of it, too."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.layer(x) * (1 + x @ self.layer.weight.mT)


class Sequence(nn.Module):
    """A linear layer that sees each example several times."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, CLASSES)

    def forward(self, x):
        return torch.tanh(self.layer(x[:, :, None])).sum(1)


class Repeated(Sequence):
    """A linear layer that is called twice."""

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x[:, :1])[:, :1]))


@pytest.mark.parametrize("make", [Bilinear, Sequence, Repeated, Tied])
def test_layers_used_in_other_ways_get_dense_roots(make):
    model, inputs = seeded(make()), normal(COUNT, WIDTH)
    roots = network_roots(model, inputs)
    assert type(roots) is FisherRoots
    jacobian = jacobians(model, inputs)
    expected = jacobian.mT @ softmax_curvature(model(inputs).detach()) @ jacobian
    torch.testing.assert_close(fishers(roots), expected, rtol=1e-10, atol=1e-12)


def deep():
    """Linear layers with and without bias, made in another order than they are used."""

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(2, CLASSES)
            self.first = nn.Linear(WIDTH, HIDDEN, bias=False)
            self.middle = nn.Linear(HIDDEN, 2)

        def forward(self, x):
            x = nn.functional.relu(self.first(x), inplace=True)
            return self.last(torch.tanh(self.middle(x)) + x[:, :2])

    return seeded(Deep())


def test_layered_roots_agree_with_their_dense_form():
    model, inputs = deep(), normal(COUNT, WIDTH)
    roots = network_roots(model, inputs)
    assert type(roots) is LayeredRoots
    jacobian = jacobians(model, inputs)
    expected = jacobian.mT @ softmax_curvature(model(inputs).detach()) @ jacobian
    torch.testing.assert_close(fishers(roots), expected, rtol=1e-10, atol=1e-12)
    held = FisherRoots(roots.dense())
    size = held.num_parameters
    matrix = fishers(held).sum(0) + torch.eye(size, dtype=torch.float64)
    other = FisherRoots.from_dense(normal(3, 2, size, seed=8))
    assert_same_roots(roots, held, matrix, normal(COUNT, 2, held.rank), other)
    both = LayeredRoots.joined([roots[:3], roots[3:]])
    assert torch.equal(both.dense(), roots.dense())
    assert len(roots[:0].gram(matrix)) == 0


@pytest.mark.parametrize("in_cache", [1, 2**18])
def test_inner_products_of_layers_block_by_block(monkeypatch, in_cache):
    """71 examples: three blocks of rows, of which the lower ones are mirrored."""
    monkeypatch.setattr("fimlib.fisher.layered._IN_CACHE", in_cache)
    roots = network_roots(deep(), normal(71, WIDTH))
    for left, right in ((roots, roots), (roots, roots[:5]), (roots[:5], roots)):
        expected = torch.einsum("ird,jsd->irjs", left.dense(), right.dense())
        torch.testing.assert_close(left.cross(right), expected, rtol=1e-12, atol=1e-12)
    assert roots[:0].cross(roots).shape == (0, 3, 71, 3)
    assert roots.cross(roots[:0]).shape == (71, 3, 0, 3)


def test_data_space_dual_needs_no_array_of_all_parameters():
    """claims T30: log det(I_D + G^T G) = log det(I_N + G G^T), D = 55,050."""
    sizes = (784, 64), (64, 64), (64, 10)
    layers = [nn.Linear(a, b) for a, b in sizes]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    model = seeded(model, scale=0.1)
    inputs, labels = normal(23, 784), torch.arange(23) % 10
    roots = network_roots(model, inputs, estimator="empirical", labels=labels)
    assert roots.num_parameters == 55_050
    assert sum(d.numel() + a.numel() for d, a, _ in roots.layers) < 23 * 1_100
    post = GaussianPosterior.isotropic(55_050, 0.5)
    rows = jacobians_of_loss(model, inputs, labels)
    gram = rows @ rows.mT
    torch.testing.assert_close(roots.cross(roots)[:, 0, :, 0], gram)
    expected = torch.linalg.slogdet(torch.eye(23).double() + gram / 0.5)[1] / 2
    torch.testing.assert_close(batch_eig(roots, post), expected, rtol=1e-11, atol=0)
    exact = network_roots(model, inputs)
    trace = 2 * 0.5 * eig(exact, post, "trace")
    jacobian = jacobians(model, inputs[:3])
    curvature = softmax_curvature(model(inputs[:3]).detach())
    expected = torch.einsum("mcd,mce,med->m", jacobian, curvature, jacobian)
    torch.testing.assert_close(trace[:3], expected, rtol=1e-10, atol=0)


def jacobians_of_loss(model, inputs, labels):
    """Gradients (M, D) of the cross-entropy, example by example."""
    parameters = list(model.parameters())
    rows = []
    for x, y in zip(inputs, labels, strict=True):
        loss = nn.functional.cross_entropy(model(x[None]), y[None])
        grads = torch.autograd.grad(loss, parameters)
        rows.append(torch.cat([g.flatten() for g in grads]))
    return torch.stack(rows)


def test_a_parameter_without_dimensions_counts_as_one():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
            self.layer = torch.nn.Linear(3, 2, bias=False, dtype=torch.float64)

        def forward(self, x):
            return self.scale * self.layer(x)

    model = Scaled()
    inputs = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    roots = network_roots(model, inputs, family=Gaussian(1.0))
    rows = roots.dense()
    assert rows.shape == (5, 2, 7)
    gram = rows.mT @ rows
    # df_c/dscale = W_c x: the first entry of F sums its squares.
    truth = (inputs @ model.layer.weight.detach().mT).square().sum(1)
    assert torch.allclose(gram[:, 0, 0], truth, rtol=1e-12)

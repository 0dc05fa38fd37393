"""Whole networks: roots by autodiff against brute force, and what is refused."""

import copy
import math

import numpy as np
import pytest
import torch
from cases import fishers, generator, normal
from torch import nn

from fimlib.families import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    Gaussian,
    GaussianMeanLogSd,
    GaussianMeanVariance,
    MultivariateGaussian,
    Poisson,
)
from fimlib.fisher import (
    FisherRoots,
    LayeredRoots,
    NetworkRoots,
    last_layer_roots,
    network_roots,
    observed_information,
)
from fimlib.fisher.network import Network
from fimlib.information import batch_eig, eig
from fimlib.posterior import GaussianPosterior

COUNT, WIDTH, HIDDEN, CLASSES = 7, 3, 5, 4


def seeded(model, seed=0, scale=1.0):
    """The model in float64 with parameters of our own generator."""
    model = model.double()
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(scale * normal(*parameter.shape, seed=seed + i))
    return model


def mlp(outputs=CLASSES, seed=0):
    layers = nn.Linear(WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, outputs)
    return seeded(nn.Sequential(*layers), seed)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(2, 3, batch_first=True)
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 5, batch_first=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


class Tied(nn.Module):
    """A weight that is used twice and a parameter that is never used."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.second.weight = self.first.weight
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def convolution():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(3, CLASSES),
    ).eval()


def models():
    text = nn.Sequential(
        nn.Embedding(11, 2), nn.Flatten(), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3)
    )
    tokens = torch.arange(COUNT * 3).view(COUNT, 3) % 11
    return {
        "mlp": (mlp(), normal(COUNT, WIDTH)),
        "convolution": (seeded(convolution()), normal(COUNT, 1, 5, 5)),
        "embedding": (seeded(text), tokens),
        "recurrent": (seeded(Recurrent()), normal(COUNT, 5, 2)),
        "attention": (seeded(Attention()), normal(COUNT, 3, 4)),
        "tied": (seeded(Tied()), normal(COUNT, WIDTH)),
    }


def jacobians(model, inputs):
    """d f / d theta (M, C, D), one autograd call for each output of each example."""
    model = copy.deepcopy(model).eval().requires_grad_(True)
    parameters = list(model.parameters())
    rows = []
    for x in inputs:
        outputs = model(x[None])[0]
        for value in outputs:
            grads = torch.autograd.grad(
                value, parameters, retain_graph=True, allow_unused=True
            )
            pairs = zip(grads, parameters, strict=True)
            flat = [
                (torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs
            ]
            rows.append(torch.cat(flat))
    return torch.stack(rows).view(len(inputs), -1, rows[0].numel())


def softmax_curvature(outputs):
    p = outputs.softmax(-1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


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
    outputs = network.outputs(inputs)
    network.rows(inputs, outputs[:, :, None])
    network.residual(inputs, outputs)
    assert network._by_vmap == {"rows": True, "residual": True}


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


FAMILIES = {
    "categorical": (Categorical(), 4, torch.tensor([0, 1, 2, 3, 3, 0, 1])),
    "bernoulli": (Bernoulli(), 1, torch.tensor([0, 1, 1, 0, 1, 0, 0])),
    "binomial": (Binomial(5), 2, torch.arange(14).view(7, 2) % 6),
    "poisson": (Poisson(), 2, torch.arange(14).view(7, 2)),
    "gaussian": (Gaussian(0.3), 2, normal(7, 2, seed=5)),
    "multivariate": (
        MultivariateGaussian([[1.3, 0.4], [0.4, 0.9]]),
        2,
        normal(7, 2, seed=5),
    ),
    "mean and variance": (GaussianMeanVariance(), 2, normal(7, seed=5)),
    "mean and log sd": (GaussianMeanLogSd(), 2, normal(7, seed=5)),
    "exponential": (Exponential(), 1, normal(7, seed=5).abs()),
}


class Negative(nn.Module):
    """Makes the last output negative, as some natural parameters are."""

    def forward(self, x):
        return torch.cat([x[:, :-1], -nn.functional.softplus(x[:, -1:])], -1)


def family_case(name):
    family, outputs, labels = FAMILIES[name]
    model = mlp(outputs)
    if name in ("mean and variance", "exponential"):
        model = nn.Sequential(*model, Negative())
    return family, model, normal(COUNT, WIDTH), labels


def negative_log_prob(name, out, label):
    """-log p of one example up to a constant, written here for autodiff."""
    if name == "categorical":
        return out.logsumexp(0) - out[label]
    if name == "bernoulli":
        return nn.functional.softplus(out[0]) - label * out[0]
    if name == "binomial":
        return (5 * nn.functional.softplus(out) - label * out).sum()
    if name == "poisson":
        return (out.exp() - label * out).sum()
    if name == "exponential":
        return -(-out[0]).log() - out[0] * label
    if name == "gaussian":
        return (out - label).square().sum() / 0.6
    if name == "multivariate":
        covariance = torch.tensor([[1.3, 0.4], [0.4, 0.9]], dtype=torch.float64)
        return (out - label) @ torch.linalg.solve(covariance, out - label) / 2
    if name == "mean and variance":
        partition = -(out[0] ** 2) / (4 * out[1]) - (-2 * out[1]).log() / 2
        return partition - out[0] * label - out[1] * label**2
    return (label - out[0]) ** 2 * (-2 * out[1]).exp() / 2 + out[1]


def flat_function(model):
    """theta (D,) and x to outputs (C,), for autodiff."""
    shapes = {name: p.shape for name, p in model.named_parameters()}

    def function(theta, x):
        parts = theta.split([math.prod(shape) for shape in shapes.values()])
        named = {
            name: part.view(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        return torch.func.functional_call(model, named, (x[None],))[0]

    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    return function, theta


@pytest.mark.parametrize("name", FAMILIES)
def test_observed_information_is_the_autodiff_hessian(name):
    family, model, inputs, labels = family_case(name)
    function, theta = flat_function(model)
    found = observed_information(model, inputs, labels, family)
    for x, label, hessian in zip(inputs, labels, found, strict=True):
        expected = torch.func.hessian(
            lambda t, x=x, label=label: negative_log_prob(name, function(t, x), label)
        )(theta)
        torch.testing.assert_close(hessian, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in FAMILIES if "log sd" not in name])
def test_observed_information_is_jacobian_curvature_minus_residual(name):
    """claims T16: H'' = J^T Lambda J - sum_k (T_k - d_k A) grad^2 f_k."""
    family, model, inputs, labels = family_case(name)
    function, theta = flat_function(model)
    jacobian = jacobians(model, inputs)
    with torch.no_grad():
        outputs = model(inputs)
    root = family.output_root(outputs)
    found = observed_information(model, inputs, labels, family)
    score = family.output_gradient(outputs, labels)
    for i, x in enumerate(inputs):
        curvatures = torch.func.jacfwd(torch.func.jacrev(function))(theta, x)
        residual = -torch.einsum("k,kde->de", score[i], curvatures)
        half = jacobian[i].mT @ root[i]
        torch.testing.assert_close(
            found[i], half @ half.mT - residual, rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize(
    "name", ["recurrent", "attention", "convolution", "embedding", "tied"]
)
def test_observed_information_of_other_modules(name):
    model, inputs = models()[name]
    inputs, labels = inputs[:3], torch.tensor([0, 2, 1])
    found = observed_information(model, inputs, labels)
    model = copy.deepcopy(model).eval()
    parameters = dict(model.named_parameters())
    order = [p.numel() for p in parameters.values()]
    for i, x in enumerate(inputs):

        def loss(*leaves, x=x, label=labels[i]):
            named = dict(zip(parameters, leaves, strict=True))
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                out = torch.func.functional_call(model, named, (x[None],))
            return nn.functional.cross_entropy(out, label[None])

        leaves = tuple(p.detach() for p in parameters.values())
        blocks = torch.autograd.functional.hessian(loss, leaves)
        rows = [
            torch.cat([b.reshape(a, c) for b, c in zip(row, order, strict=True)], 1)
            for row, a in zip(blocks, order, strict=True)
        ]
        torch.testing.assert_close(found[i], torch.cat(rows), rtol=1e-9, atol=1e-11)


def test_mean_of_the_observed_information_is_the_fisher_information():
    """claims T14: weighted by the model's own probabilities, whatever the network."""
    model, inputs = mlp(), normal(COUNT, WIDTH)
    with torch.no_grad():
        p = model(inputs).softmax(-1)
    each = [
        observed_information(model, inputs, torch.full((COUNT,), y))
        for y in range(CLASSES)
    ]
    mean = torch.einsum("my,ymij->mij", p, torch.stack(each))
    expected = fishers(network_roots(model, inputs))
    torch.testing.assert_close(mean, expected, rtol=1e-11, atol=1e-12)
    # claims T20: a network's observed information may be indefinite, its FIM is not.
    assert torch.linalg.eigvalsh(torch.stack(each)).min() < -1e-2
    assert torch.linalg.eigvalsh(expected).min() > -1e-12


@pytest.mark.parametrize(
    "name", ["categorical", "bernoulli", "binomial", "poisson", "gaussian"]
)
def test_generalised_linear_models_have_one_observed_information(name):
    """claims T18: linear natural parameters make it the FIM for every label."""
    family, outputs, labels = FAMILIES[name]
    model, inputs = seeded(nn.Linear(WIDTH, outputs)), normal(COUNT, WIDTH)
    expected = fishers(network_roots(model, inputs, family))
    for y in (labels, labels.flip(0)):
        torch.testing.assert_close(
            observed_information(model, inputs, y, family),
            expected,
            rtol=1e-11,
            atol=1e-12,
        )


def test_mean_and_log_sd_depend_on_the_label_even_in_a_linear_model():
    """claims T17: parameters that are not natural break T18."""
    model, inputs = seeded(nn.Linear(WIDTH, 2)), normal(COUNT, WIDTH)
    family, labels = GaussianMeanLogSd(), normal(COUNT, seed=5)
    fisher = fishers(network_roots(model, inputs, family))
    observed = observed_information(model, inputs, labels, family)
    assert (observed - fisher).abs().amax((1, 2)).min() > 1e-2


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


def assert_same_roots(lazy, held, matrix, weights, other):
    """Every method that the scores use gives the same for both."""

    def same(left, right):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)

    same(lazy.dense(), held.dense())
    same(lazy.gram(matrix), held.gram(matrix))
    same(lazy.self_gram(), held.self_gram())
    same(lazy.project(matrix[:, :2]), held.project(matrix[:, :2]))
    same(lazy.fisher_sum(), held.fisher_sum())
    same(lazy.fisher_mean(), held.fisher_mean())
    same(lazy.diagonal(), fishers(held).diagonal(dim1=1, dim2=2))
    same(lazy.diagonal_sum(), held.fisher_sum().diagonal())
    same(lazy.cross(lazy), held.cross(held))
    same(held.cross(lazy), held.cross(held))
    same(lazy.cross(other), held.cross(other))
    same(other.cross(lazy), other.cross(held))
    same(lazy.scaled(weights).dense(), weights @ held.dense())
    assert lazy.reduced().num_parameters <= held.num_parameters
    for part in (slice(1, 5), [5, 0], -1, [], torch.arange(len(held)) % 2 == 0):
        same(lazy[part].dense(), held[part].dense())
        same(lazy[part].self_gram(), held[part].self_gram())
    for size in (2, 100):
        batches = list(lazy.batches(size))
        assert all(0 < len(batch) <= size for batch in batches)
        same(torch.cat([batch.dense() for batch in batches]), held.dense())
    for numbers in (None, 1, 10**9):
        parts = list(lazy.chunks(numbers))
        same(torch.cat([part.dense() for part in parts]), held.dense())
    sizes = ("rank", "num_parameters", "dtype", "device")
    for size in sizes:
        assert getattr(lazy, size) == getattr(held, size)
    assert len(lazy) == len(held) and "7 examples" in repr(lazy)


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


class Centred(nn.Module):
    """Outputs that depend on the other examples, without any batch-norm."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.layer(x - x.mean(0))


class Cumulative(Centred):
    """Here the first example depends on itself alone, the later ones on others."""

    def forward(self, x):
        return self.layer(x.cumsum(0))


class Noisy(Centred):
    """Random numbers that eval mode does not turn off."""

    def forward(self, x):
        return nn.functional.dropout(self.layer(x), training=True)


class Wrong(Centred):
    """What a model may return but should not."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(self.layer(x))


class Uncopyable(Centred):
    def forward(self, x):
        self.last = self.layer(x)
        return self.last


def used(model):
    model(normal(2, WIDTH).float())
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(nn.Linear(WIDTH, CLASSES), nn.BatchNorm1d(CLASSES)),
            r"batch-norm '1' is in train mode .* not additive \(T12\): call model.eval",
        ),
        (
            nn.Sequential(
                nn.Linear(WIDTH, CLASSES),
                nn.BatchNorm1d(CLASSES, track_running_stats=False),
            ).eval(),
            r"batch-norm '1' is without running statistics",
        ),
        (Centred(), r"model must treat each example alone, .* not additive \(T12\)"),
        (Cumulative(), r"model must treat each example alone"),
        (Noisy(), r"model must treat each example alone.*or from call to call"),
        (nn.Flatten(), "model must have parameters, got none"),
        (lambda x: x, r"model must be a torch.nn.Module, got function"),
        (Wrong(lambda x: (x, x)), r"model must return a tensor \(M, C\), got tuple"),
        (
            Wrong(lambda x: x[:, 0]),
            r"model must return outputs \(M, C\) with M = 5, got \(5,\)",
        ),
        (Wrong(lambda x: x[:1]), r"outputs \(M, C\) with M = 5, got \(1, 4\)"),
        (Wrong(lambda x: x[:, :1]), "outputs must have at least 2 columns"),
        (
            Wrong(lambda x: x.argmax(1)[:, None]),
            "must return real numbers, got .*int64",
        ),
        (Wrong(lambda x: x / 0), "model outputs must be finite, got 28"),
        (used(Uncopyable()), "model must be copyable by copy.deepcopy"),
        (nn.Linear(WIDTH + 1, CLASSES), r"inputs must be what the model takes, got"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_bad_models_are_refused_with_the_reason(model, message):
    with pytest.raises(ValueError, match=message):
        network_roots(model, normal(COUNT, WIDTH))


def test_a_single_example_shows_batch_statistics_too():
    with pytest.raises(ValueError, match="model must treat each example alone"):
        network_roots(Centred(), normal(1, WIDTH))
    assert len(network_roots(mlp(), normal(1, WIDTH))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.zeros(0, WIDTH)}, "inputs must hold at least one example"),
        ({"inputs": torch.tensor(1.0)}, r"inputs must have shape \(M, ...\), got \(\)"),
        (
            {"inputs": torch.full((2, WIDTH), math.nan)},
            "inputs must be finite, got 6 NaN",
        ),
        ({"estimator": "exakt"}, "estimator must be one of 'exact', 'monte_carlo'"),
        ({"estimator": "empirical"}, 'estimator "empirical" needs labels'),
        ({"labels": [0] * COUNT}, 'estimator "exact" has no use for labels'),
        (
            {"estimator": "empirical", "labels": [0, 1]},
            r"labels must have shape \(7,\), got \(2,\)",
        ),
        (
            {"estimator": "empirical", "labels": [9] * COUNT},
            r"labels must lie in 0..3, got values from 9 to 9",
        ),
        (
            {"estimator": "monte_carlo", "num_samples": 0},
            "num_samples must be a positive integer, got 0",
        ),
        ({"family": Exponential()}, "outputs must be negative"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, message):
    arguments = {"model": mlp(), "inputs": normal(COUNT, WIDTH)} | change
    with pytest.raises(ValueError, match=message):
        network_roots(**arguments)


def test_observed_information_refuses_what_is_too_large():
    with pytest.raises(ValueError, match=r"at most 4096 parameters .* got 4100 param"):
        observed_information(nn.Linear(1024, 4), torch.zeros(2, 1024), [0, 1])
    many = torch.zeros(70_000, 15)
    with pytest.raises(ValueError, match=r"at most 2.1 GB, got 64 parameters and 2.3"):
        observed_information(nn.Linear(15, 4), many, torch.zeros(70_000).long())
    with pytest.raises(ValueError, match=r"labels must have shape \(7,\), got \(3,\)"):
        observed_information(mlp(), normal(COUNT, WIDTH), [0, 1, 2])


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

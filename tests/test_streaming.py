"""Roots of a data loader: the same numbers in less memory."""

import tracemalloc

import pytest
import torch
from cases import fishers, generator, normal
from networks import CLASSES, COUNT, HIDDEN, WIDTH, assert_same_roots, mlp, seeded
from torch import nn
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
)

from fimlib.families import Bernoulli, Gaussian
from fimlib.fisher import (
    FisherRoots,
    KroneckerRoots,
    LoaderRoots,
    last_layer_roots,
    network_roots,
    roots_from_loader,
)
from fimlib.information import batch_eig, eig, scores
from fimlib.posterior import GaussianPosterior, marglik_precision

LABELS = torch.tensor([0, 1, 2, 3, 3, 0, 1])


def loader_of(inputs, labels=LABELS, batch_size=3, **options):
    return DataLoader(TensorDataset(inputs, labels), batch_size, **options)


def streamed(model=None, loader=None, **options):
    model = mlp() if model is None else model
    loader = loader_of(normal(COUNT, WIDTH)) if loader is None else loader
    return roots_from_loader(model, loader, progress=False, **options)


def held_last_layer(**options):
    model = mlp()
    with torch.no_grad():
        features = model[:2](normal(COUNT, WIDTH))
        return last_layer_roots(features, model[2](features), **options)


@pytest.mark.parametrize("together", [2, 4_096])
@pytest.mark.parametrize("scope", ["last_layer", "network"])
def test_streamed_roots_are_those_of_all_inputs(monkeypatch, scope, together):
    monkeypatch.setattr("fimlib.fisher.loader._TOGETHER", together)
    monkeypatch.setattr("fimlib.fisher.streamed.HELD_NUMBERS", 500)
    if scope == "network":
        held = network_roots(mlp(), normal(COUNT, WIDTH))
    else:
        held = held_last_layer()
    roots = streamed(scope=scope)
    assert type(roots) is LoaderRoots and roots.kronecker == held.kronecker
    assert roots.num_outputs == held.num_outputs
    size = held.num_parameters
    matrix = fishers(held).sum(0) + torch.eye(size, dtype=torch.float64)
    other = FisherRoots.from_dense(normal(5, 2, size, seed=8))
    assert_same_roots(roots, held, matrix, normal(COUNT, 2, held.rank), other)
    torch.testing.assert_close(roots.reduced().dense(), held.reduced().dense())
    both = roots.reduced().scaled(normal(COUNT, 2, held.rank))
    expected = held.reduced().scaled(normal(COUNT, 2, held.rank))
    torch.testing.assert_close(both.dense(), expected.dense())
    torch.testing.assert_close(both[[6, 2]].dense(), expected[[6, 2]].dense())


def test_a_selection_is_held():
    roots = streamed()
    part = roots[[5, 1, 1]]
    assert type(part) is KroneckerRoots and part.basis is not None
    torch.testing.assert_close(part.dense(), held_last_layer()[[5, 1, 1]].dense())
    assert len(roots[:]) == COUNT and not roots[:].streamed
    with pytest.raises(IndexError, match="integers below 7"):
        roots[7]


@pytest.mark.parametrize("scope", ["last_layer", "network"])
def test_every_score_takes_streamed_roots(scope):
    roots = streamed(scope=scope)
    inputs = normal(5, WIDTH, seed=9)
    evals = streamed(loader=[inputs[:2], inputs[2:]], scope=scope)
    train = streamed(loader=[normal(3, WIDTH, seed=7)], scope=scope)
    post = GaussianPosterior.from_roots(train, 0.7)
    held = GaussianPosterior.from_roots(train[:], 0.7)
    torch.testing.assert_close(post.log_det_precision, held.log_det_precision)

    def same(left, right):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-13)

    same(post.update(roots).entropy(), held.update(roots[:]).entropy())
    for form in ("log_det", "trace"):
        same(eig(roots, post, form), eig(roots[:], held, form))
        same(batch_eig(roots, post, form), batch_eig(roots[:], held, form))
    found = scores(roots, post, evals, pairwise=True)
    for name, value in scores(roots[:], held, evals[:], pairwise=True).items():
        same(found[name], value)
    theta = normal(roots.num_parameters)
    assert marglik_precision(roots, theta) == pytest.approx(
        marglik_precision(roots[:], theta), rel=1e-9
    )


def test_any_reiterable_gives_the_same_roots():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(normal(COUNT, WIDTH))

    inputs = normal(COUNT, WIDTH)
    expected = held_last_layer().dense()
    for loader in (
        [inputs],
        [inputs[:1], inputs[1:]],
        [(inputs[:5], LABELS[:5]), (inputs[5:], LABELS[5:])],
        [inputs[:5].numpy(), inputs[5:].numpy()],
        DataLoader(Stream(), batch_size=2),
        loader_of(inputs, batch_size=5),
        DataLoader([inputs[:2], inputs[2:]], batch_size=None),
    ):
        roots = streamed(loader=loader)
        assert len(roots) == COUNT
        torch.testing.assert_close(roots.dense(), expected, rtol=1e-11, atol=1e-13)


def test_estimators_and_families():
    inputs = normal(COUNT, WIDTH)
    for options in ({"estimator": "empirical"}, {"estimator": "hard_label"}):
        given = {"labels": LABELS} if options["estimator"] == "empirical" else {}
        torch.testing.assert_close(
            streamed(**options).dense(), held_last_layer(**options, **given).dense()
        )
    for family, model in (
        (Gaussian(0.3), mlp()),
        (Bernoulli(), mlp(1)),
    ):
        expected = network_roots(model, inputs, family)
        roots = streamed(model, family=family, scope="network")
        torch.testing.assert_close(roots.dense(), expected.dense())
        last = streamed(model, family=family)
        assert last.basis is None and last.num_parameters == last.num_outputs * 6
        with torch.no_grad():
            features = model[:2](inputs)
            expected = last_layer_roots(features, model[2](features), family)
        torch.testing.assert_close(last.dense(), expected.dense())


@pytest.mark.parametrize("scope", ["last_layer", "network"])
def test_monte_carlo_draws_the_same_labels_in_every_pass(scope):
    options = {"estimator": "monte_carlo", "num_samples": 2, "scope": scope}
    roots = streamed(generator=generator(1), **options)
    first = roots.dense()
    assert torch.equal(first, roots.dense())
    assert torch.equal(first[[4, 6]], roots[[4, 6]].dense())
    assert torch.equal(first, streamed(generator=generator(1), **options).dense())
    assert not torch.equal(first, streamed(generator=generator(2), **options).dense())


class TwoHeads(nn.Module):
    """The returned layer is neither the first nor the last one that is made."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(HIDDEN, CLASSES, bias=False)
        self.body = nn.Linear(WIDTH, HIDDEN)
        self.unused = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


def test_the_final_layer_is_found_by_what_the_model_returns():
    model, inputs = seeded(TwoHeads()), normal(COUNT, WIDTH)
    with torch.no_grad():
        features = torch.relu(model.body(inputs))
        expected = last_layer_roots(features, model(inputs), bias=False).dense()
    for layer in (None, "head"):
        roots = streamed(model, layer=layer)
        assert roots.num_parameters == CLASSES * HIDDEN
        torch.testing.assert_close(roots.dense(), expected)
    assert not any(module._forward_hooks for module in model.modules())
    # Log-softmax changes logits by a constant: the categorical family cannot tell.
    with_softmax = nn.Sequential(mlp(), nn.LogSoftmax(-1))
    torch.testing.assert_close(streamed(with_softmax).dense(), streamed().dense())
    with pytest.raises(ValueError, match="model must return what its final Linear"):
        streamed(with_softmax, family=Gaussian(1.0))


def test_models_are_left_as_they_were_and_dropout_is_off():
    layers = nn.Linear(WIDTH, HIDDEN), nn.Dropout(0.5), nn.Linear(HIDDEN, CLASSES)
    model = seeded(nn.Sequential(*layers)).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    roots = streamed(model)
    before = roots.dense()
    assert model.training and model[1].training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        model[2].weight.zero_()
    assert torch.equal(roots.dense(), before)


def test_float32_and_integer_batches_are_taken_as_they_are():
    model, inputs = mlp().float(), normal(COUNT, WIDTH)
    roots = streamed(model, [inputs[:4], inputs[4:]])
    assert roots.dtype == torch.float64 and roots.fisher_sum().dtype == torch.float64
    torch.testing.assert_close(roots.dense(), streamed().dense(), rtol=1e-4, atol=1e-5)
    single = streamed(model, [inputs[:4], inputs[4:]], dtype=torch.float32)
    assert single.dtype == torch.float32 and single.fisher_sum().dtype == torch.float64
    text = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(4, CLASSES))
    tokens = torch.arange(COUNT * 2).view(COUNT, 2) % 5
    assert len(streamed(text, [tokens[:4], tokens[4:]]).dense()) == COUNT


def test_progress_is_shown_unless_turned_off(capsys):
    inputs = normal(COUNT, WIDTH)
    roots_from_loader(mlp(), [inputs]).self_gram()
    assert "Fisher roots:" in capsys.readouterr().err
    roots_from_loader(mlp(), [inputs], progress=False).self_gram()
    assert capsys.readouterr().err == ""


class Examples:
    """A loader of any number of examples, of which it holds one batch."""

    def __init__(self, count, batch=500):
        self.count, self.batch = count, batch

    def __len__(self):
        return self.count // self.batch

    def __iter__(self):
        for number in range(len(self)):
            yield normal(self.batch, WIDTH, seed=number % 7)


def test_one_pass_touches_each_batch_once():
    passed = []

    class Watched(Examples):
        def __iter__(self):
            for batch in super().__iter__():
                passed.append(len(batch))
                yield batch

    roots = streamed(loader=Watched(2_000))
    passed.clear()
    roots.fisher_sum()
    assert passed == [500] * 4
    passed.clear()
    assert [len(batch) for batch in roots.batches(700)] == [700, 700, 600]
    assert passed == [500] * 4
    passed.clear()
    assert len(roots[600:700]) == 100 and len(passed) <= 3


def test_memory_does_not_grow_with_the_number_of_examples(monkeypatch):
    """The largest part that a pass holds at a time is that of a few batches."""
    monkeypatch.setattr("fimlib.fisher.loader._TOGETHER", 1_000)
    for count in (2_000, 20_000):
        roots = streamed(loader=Examples(count))
        tracemalloc.start()
        sizes = [len(part) for part in roots.parts()]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(sizes) == count and max(sizes) == 1_000
        assert peak < 4e6
    total = streamed(loader=Examples(3_500)).fisher_sum()
    parts = [streamed(loader=[batch]).fisher_sum() for batch in Examples(3_500)]
    torch.testing.assert_close(total, torch.stack(parts).sum(0), rtol=1e-11, atol=1e-11)


class Augmented(TensorDataset):
    def __getitem__(self, index):
        return torch.randn(WIDTH), 0


class Shrinking(Examples):
    """Gives one batch less in each of its later passes."""

    def __iter__(self):
        batches = list(super().__iter__())
        self.count -= 500 if self.count > 500 else 0
        return iter(batches)


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(1, CLASSES, WIDTH)

    def forward(self, x):
        return self.layer(x[:, None])[:, :, 0]


INPUTS = normal(COUNT, WIDTH)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"loader": (batch for batch in [INPUTS])},
            "loader must be re-iterable, got a generator, which can be passed",
        ),
        ({"loader": iter([INPUTS])}, "loader must be re-iterable, got a list_iterator"),
        ({"loader": 3}, "loader must be an iterable of batches, got a int"),
        (
            {"loader": loader_of(INPUTS, shuffle=True)},
            "loader must not shuffle, got a RandomSampler: score i is that of",
        ),
        (
            {"loader": loader_of(INPUTS, sampler=SubsetRandomSampler(range(7)))},
            "loader must not shuffle, got a SubsetRandomSampler",
        ),
        (
            {"loader": DataLoader(Augmented(INPUTS), 3)},
            "loader must give the same batches in every pass, got others the second",
        ),
        ({"loader": []}, "loader must hold at least one example, got 0"),
        ({"loader": [INPUTS[:0]]}, "loader must hold at least one example, got 0"),
        (
            {"loader": [{"x": INPUTS}]},
            "inputs must be what the model takes, got torch.float64 of shape",
        ),
        (
            {"loader": [torch.tensor(1.0)]},
            r"loader must have shape \(M, ...\), got \(\)",
        ),
        (
            {"loader": [INPUTS], "estimator": "empirical"},
            r"loader must yield \(inputs, labels\) for estimator",
        ),
        (
            {"loader": [(INPUTS, LABELS + 3)], "estimator": "empirical"},
            r"labels must lie in 0..3",
        ),
        ({"estimator": "exakt"}, "estimator must be one of"),
        ({"estimator": "monte_carlo", "num_samples": 0}, "num_samples must be a pos"),
        ({"scope": "all"}, "scope must be one of 'last_layer', 'network', got 'all'"),
        ({"scope": "network", "layer": "2"}, 'layer has no use for scope "network"'),
        ({"layer": "9"}, r"layer must name a Linear module of the model \('0', '2'\)"),
        ({"layer": "0"}, "model must return what layer '0' returns"),
        ({"model": Conv()}, "model must return what its final Linear layer returns"),
        ({"model": nn.Flatten()}, "model must have parameters, got none"),
        ({"model": "mlp"}, "model must be a torch.nn.Module, got str"),
        (
            {"model": nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 2))},
            r"batch-norm '0' is in train mode .*\(T12\)",
        ),
        ({"loader": [INPUTS / 0]}, "inputs must be finite"),
        ({"loader": [INPUTS[:, :2]]}, "inputs must be what the model takes"),
    ],
)
def test_bad_loaders_are_refused_with_the_reason(arguments, message):
    with pytest.raises(ValueError, match=message):
        streamed(**arguments)


def test_a_loader_that_changes_is_noticed():
    roots = streamed(loader=Shrinking(5_000))
    with pytest.raises(ValueError, match=r"same examples in every pass, got .* and"):
        roots.fisher_sum()

"""Models of every kind: which parameters count, and what is refused by name."""

import queue
import warnings

import pytest
import torch
from cases import normal
from torch import nn
from zoo_models import made
from zoo_modules import Checkpointed, Net

from fimlib.fisher import (
    network_roots,
    observed_information,
    roots_from_loader,
)
from fimlib.posterior import GaussianPosterior


def test_parameters_are_chosen_by_name_prefix_or_tensor():
    model = made("residual mlp").model
    names = [name for name, _ in model.named_parameters()]
    rows = network_roots(model, normal(6, 3)).dense()
    sizes = [p.numel() for p in model.parameters()]
    columns = dict(zip(names, rows.split(sizes, dim=2), strict=True))
    for chosen, given in (
        (["head.weight", "head.bias"], "head"),
        (["body.bias"], "body.bias"),
        (["body.bias", "head.weight"], ["head.weight", "body.bias"]),
        (["blocks.0.weight", "blocks.0.bias"], "blocks.0"),
        (["blocks.1.weight"], model.blocks[1].weight),
        (["head.weight", "head.bias"], model.head.parameters()),
        (names, names),
    ):
        found = network_roots(model, normal(6, 3), parameters=given)
        expected = torch.cat([columns[name] for name in chosen], dim=2)
        torch.testing.assert_close(found.dense(), expected)
        post = GaussianPosterior.from_roots(found)
        assert post.num_parameters == found.num_parameters == expected.shape[2]
    for bad in ("tail", ["head", "hea"], nn.Parameter(torch.ones(2))):
        with pytest.raises(ValueError, match=r"parameters must be some .* got"):
            network_roots(model, normal(6, 3), parameters=bad)
    with pytest.raises(ValueError, match="parameters must hold at least one, got none"):
        network_roots(model.requires_grad_(False), normal(6, 3))


def blank():
    """Finite outputs, and a NaN gradient for a row of zeros."""

    class Norm(Net):
        def forward(self, x):
            h = self.body(x) - self.body.bias
            return self.head(h / (h.square().sum(1, keepdim=True).sqrt() + 1e-6))

    torch.manual_seed(0)
    inputs = normal(6, 3)
    inputs[2] = 0
    return Norm(), inputs


@pytest.mark.parametrize("held", [True, False])
def test_gradients_that_are_not_finite_are_refused_by_example(monkeypatch, held):
    model, inputs = blank()
    message = (
        "finite gradients, got NaN .* parameter 'body.(weight|bias)' for example 2"
    )
    assert model(inputs.float()).isfinite().all()
    if held:
        for options in ({}, {"estimator": "hard_label"}):
            with pytest.raises(ValueError, match=message):
                network_roots(model, inputs, **options)
        with pytest.raises(ValueError, match=message):
            observed_information(model, inputs, torch.zeros(6).long())
        loader = [inputs[:1], inputs[1:]]
        roots = roots_from_loader(model, loader, scope="network", progress=False)
        with pytest.raises(ValueError, match=message):
            GaussianPosterior.from_roots(roots).entropy()
        return
    monkeypatch.setattr("fimlib.fisher.network.HELD_NUMBERS", 0)
    roots = network_roots(model, inputs)
    for call in (roots.dense, roots.fisher_sum, lambda: roots[[4, 2]].self_gram()):
        with pytest.raises(ValueError, match=message):
            call()
    vector = torch.ones(roots.num_parameters, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        roots.fisher_product(vector)
    assert roots[[0, 1, 3, 4, 5]].dense().isfinite().all()


def with_queue():
    model = Net()
    model.queue = queue.Queue()
    return model


class Casts(Net):
    def forward(self, x):
        return super().forward(x.float())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: torch.jit.script(Net()), "'' is compiled by torch.jit"),
        (
            lambda: nn.Sequential(torch.jit.script(Net())),
            "its '0' is compiled by torch",
        ),
        (lambda: Checkpointed(True), "checkpoint with use_reentrant=False"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), "lazy module '0' has no parameters"),
        (lambda: nn.Linear(3, 2, dtype=torch.complex64), "model must be real, but ''"),
        (with_queue, "model must be copyable by copy.deepcopy, got cannot pickle"),
        (Casts, r"same dtype.*does it need dtype=torch.float32"),
        (lambda: "net", "model must be a torch.nn.Module, got str"),
    ],
)
def test_models_that_cannot_be_differentiated_are_refused_by_name(model, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model()
    with pytest.raises(ValueError, match=message):
        network_roots(model, normal(6, 3))


def test_a_model_that_fixes_its_dtype_runs_in_that():
    torch.manual_seed(0)
    model = Casts()
    plain = Net()
    plain.load_state_dict(model.state_dict())
    images = torch.randint(0, 9, (6, 3), dtype=torch.uint8)
    found = network_roots(model, images, dtype=torch.float32)
    expected = network_roots(plain, images.float())
    assert found.dtype == torch.float32 and expected.dtype == torch.float64
    torch.testing.assert_close(
        found.self_gram().double(), expected.self_gram(), rtol=1e-4, atol=1e-6
    )

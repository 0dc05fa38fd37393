"""Models and arguments that network roots refuse, and with which reason."""

import math
import queue

import pytest
import torch
from cases import normal
from networks import CLASSES, COUNT, WIDTH, mlp
from torch import nn

from fimlib.families import Exponential
from fimlib.fisher import network_roots, observed_information


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
    def __init__(self):
        super().__init__()
        self.queue = queue.Queue()


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
            r"model must return outputs \(M, C\) with M = 7, got \(7,\)",
        ),
        (Wrong(lambda x: x[:1]), r"outputs \(M, C\) with M = 7, got \(1, 4\)"),
        (Wrong(lambda x: x[:, :1]), "outputs must have at least 2 columns"),
        (
            Wrong(lambda x: x.argmax(1)[:, None]),
            "must return real numbers, got .*int64",
        ),
        (Wrong(lambda x: x / 0), "model outputs must be finite, got 28"),
        (Wrong(lambda x: x.detach()), "model must return outputs that depend on its"),
        (
            nn.Sequential(nn.LayerNorm(WIDTH), Wrong(lambda x: x.detach())),
            "got some without a gradient",
        ),
        (Uncopyable(), "model must be copyable by copy.deepcopy"),
        (nn.Linear(WIDTH + 1, CLASSES), r"inputs must be what the model takes, got"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_bad_models_are_refused_with_the_reason(model, message):
    with pytest.raises(ValueError, match=message):
        network_roots(model, normal(COUNT, WIDTH))


def test_a_single_example_is_compared_with_itself_repeated():
    """No input but the given ones is tried: one example has no other to depend on."""
    for model in (Cumulative(), Noisy()):
        with pytest.raises(ValueError, match="model must treat each example alone"):
            network_roots(model, normal(1, WIDTH))
    assert len(network_roots(mlp(), normal(1, WIDTH))) == 1
    rows = network_roots(Centred(), normal(1, WIDTH)).dense()
    assert (rows[..., :-CLASSES] == 0).all()


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

"""Batches and loaders of every kind: what the model takes, or a refusal."""

import importlib

import pytest
import torch
from cases import normal
from torch import nn
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    Sampler,
    TensorDataset,
)
from zoo_modules import IDS, MASK, Encoder, Net, SequenceClassifier

from fimlib.fisher import (
    last_layer_roots,
    roots_from_loader,
)
from fimlib.information import eig
from fimlib.posterior import GaussianPosterior


def from_loader(loader, model=None, **options):
    model = Encoder().double() if model is None else model
    return roots_from_loader(model, loader, progress=False, **options)


def test_dicts_tuples_and_functions_give_what_the_model_takes():
    torch.manual_seed(0)
    encoder, labels = Encoder().double().eval(), torch.tensor([0, 1, 2, 2, 1, 0])
    classifier = SequenceClassifier().double()
    classifier.load_state_dict(encoder.state_dict())
    text = {"input_ids": IDS, "attention_mask": MASK}
    with torch.no_grad():
        hidden = encoder.layer(encoder.embed(IDS), src_key_padding_mask=~MASK)[:, 0]
        expected = last_layer_roots(hidden, encoder.head(hidden)).dense()

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = encoder

        def forward(self, batch):
            return self.inside(**batch)

    def run(model, batch):
        return model(batch[0], batch[1])

    for model, batch, options in (
        (encoder, text, {}),
        (encoder, (text, labels), {}),
        (encoder, ((IDS, MASK), labels), {}),
        (encoder, [[IDS, MASK], labels], {}),
        (encoder, (IDS, MASK, labels), {"forward": run}),
        (Wrapper(), text, {}),
        (classifier, {**text, "labels": labels}, {"output": "logits"}),
        (classifier, text, {"output": lambda out: out.logits}),
    ):
        found = from_loader([batch], model, **options)
        torch.testing.assert_close(found.dense(), expected)
    for model, batch in (
        (encoder, (text, labels)),
        (encoder, {**text, "label": labels}),
    ):
        found = from_loader([batch], model, estimator="empirical")
        given = last_layer_roots(
            hidden, encoder.head(hidden), estimator="empirical", labels=labels
        )
        torch.testing.assert_close(found.dense(), given.dense())


NET = Net().double()
INPUTS = normal(6, 3)
PAIRS = TensorDataset(INPUTS, torch.zeros(6).long())


class Epochs(Sampler):
    """Other examples in each pass."""

    def __init__(self):
        self.start = 0

    def __iter__(self):
        self.start += 1
        return iter([(self.start + i) % 6 for i in range(6)])

    def __len__(self):
        return 6


class Stream(IterableDataset):
    def __iter__(self):
        return iter(INPUTS)


@pytest.mark.parametrize(
    ("loader", "options", "message"),
    [
        ([(IDS, MASK, IDS)], {}, r"pairs \(inputs, labels\), got 3 parts: pass"),
        (
            [(INPUTS, MASK)],
            {},
            r"second part of shape \(6, 4\) .* no labels of outputs",
        ),
        ([(INPUTS, INPUTS)], {}, r"second part of shape \(6, 3\)"),
        ([(INPUTS, INPUTS[:, 0])], {}, r"second part of shape \(6,\)"),
        ([(INPUTS, torch.arange(6))], {}, r"entries up to 5.0, no labels of outputs"),
        (TensorDataset(INPUTS), {}, "got examples in a TensorDataset: pass Data"),
        (INPUTS, {}, "loader must give batches, got examples in a Tensor"),
        ("batches", {}, "loader must be an iterable of batches, got a str"),
        (
            DataLoader(PAIRS, 3, sampler=DistributedSampler(PAIRS, 1, 0)),
            {},
            "loader must not shuffle, got a DistributedSampler",
        ),
        (
            DataLoader(
                PAIRS, 3, sampler=DistributedSampler(PAIRS, 4, 1, shuffle=False)
            ),
            {},
            "got a DistributedSampler, which pads and gives each process a part",
        ),
        (DataLoader(PAIRS, 3, sampler=Epochs()), {}, "same batches in every pass"),
        ([INPUTS], {"output": "logits"}, "output must be a key, index or attribute"),
        ([INPUTS], {"forward": lambda batch: batch}, r"function of \(model, batch\)"),
        ([INPUTS], {"parameters": "head"}, 'parameters has no use for scope "last_lay'),
        ([{"y": INPUTS}], {}, "inputs must be what the model takes"),
        ([(INPUTS, INPUTS[:2])], {}, "second part of shape"),
        ([{"x": INPUTS, "mask": MASK[:2]}], {}, r"got \[2, 6\] rows"),
    ],
)
def test_loaders_are_refused_by_what_is_wrong(loader, options, message):
    with pytest.raises(ValueError, match=message):
        from_loader(loader, NET, **options).dense()


def test_a_sampler_in_the_order_of_the_data_is_taken():
    loader = DataLoader(
        PAIRS, 4, sampler=DistributedSampler(PAIRS, 1, 0, shuffle=False)
    )
    expected = from_loader([INPUTS], NET).dense()
    torch.testing.assert_close(from_loader(loader, NET).dense(), expected)


def test_workers_of_a_stream_are_warned_of():
    loader = DataLoader(Stream(), 3, num_workers=2)
    with pytest.warns(UserWarning, match="every example comes several times"):
        assert len(from_loader(loader, NET)) == 12


def test_every_batch_is_checked():
    """What goes wrong in the second batch alone is seen there."""

    class Clamps(Net):
        def forward(self, x):
            return super().forward(x).clamp(-3, 3)

    torch.manual_seed(0)
    model = Clamps().double()
    with torch.no_grad():
        model.head.bias.fill_(2.9)
    small = torch.full((4, 3), -9.0).double()
    model.body.weight.data.fill_(1.0)
    model.head.weight.data.copy_(torch.ones(3, 4))
    roots = from_loader([small, -small], model)
    assert eig(roots[:4], GaussianPosterior.isotropic(15, 1.0)).isfinite().all()
    with pytest.raises(ValueError, match="layer 'head' returns for examples 4 to 7"):
        roots.dense()


@pytest.mark.parametrize("package", ["transformers", "timm", "lightning"])
def test_models_of_other_packages(package):
    pytest.importorskip(package, reason=f"{package} is not installed")
    torch.manual_seed(0)
    if package == "transformers":
        from transformers import BertConfig, BertForSequenceClassification

        sizes = dict.fromkeys(("hidden_size", "intermediate_size"), 8)
        heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 11}
        model = BertForSequenceClassification(BertConfig(**sizes, **heads))
        batch = {"input_ids": IDS, "attention_mask": MASK.long()}
        roots = from_loader([batch], model, output="logits")
    elif package == "timm":
        model = importlib.import_module("timm").create_model("resnet10t", num_classes=3)
        roots = from_loader([normal(2, 3, 32, 32).float()], model.eval())
    else:
        from lightning import LightningModule

        class Module(LightningModule):
            forward = Net.forward

        module = Module()
        module.body, module.head = Net().body, Net().head
        roots = from_loader([INPUTS.float()], module)
    assert roots.dense().isfinite().all()

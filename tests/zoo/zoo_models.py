"""Small models of many architectures, each with inputs, and how to run it by hand."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations
from zoo_modules import (
    CLASSES,
    HIDDEN,
    IDS,
    IMAGES,
    LENGTHS,
    MASK,
    WIDTH,
    Bag,
    Bayesian,
    Checkpointed,
    Cosine,
    Encoder,
    Exit,
    Experts,
    FeaturesReused,
    Fourier,
    InPlace,
    Keywords,
    LightningLike,
    Locked,
    LoRA,
    M,
    Nested,
    Net,
    Norms,
    Packed,
    PointNet,
    Recurrent,
    Residual,
    ResNet,
    Returns,
    SequenceClassifier,
    Siamese,
    Sorted,
    SortedBody,
    Tabular,
    Tied,
    Twice,
    TwoInputs,
    X,
    frozen,
    hooked,
    normal,
    normed,
    numbers,
    pruned,
)

from fimlib.families import (
    Bernoulli,
    Gaussian,
    GaussianMeanLogVariance,
    Poisson,
)


@dataclass
class Animal:
    """A model with its inputs.

    head: the name of its last layer, if W phi + b is what it returns. fast: whether all
    parameters are those of linear layers in which row i is example i. smooth: whether
    autograd can differentiate it.
    """

    model: nn.Module
    inputs: Any
    head: str | None = "head"
    fast: bool = False
    smooth: bool = True
    options: dict = field(default_factory=dict)
    run: Any = lambda model, inputs: model(inputs)


def zoo():
    """Name -> a function that makes the animal, the same in each call."""
    conv = nn.Sequential
    sequence = normal(M, 4, 2, seed=4)
    text = {"input_ids": IDS, "attention_mask": MASK}
    keywords = {"run": lambda model, x: model(**x).logits}
    star = {"run": lambda model, x: model(*x)}
    table = torch.cat([numbers(4, M, 1, seed=5).double(), normal(M, 2)], 1)
    table[0, 0] = 3
    parts = {"a": X, "b": {"c": normal(M, HIDDEN, seed=8), "d": "a note"}}
    return {
        "mlp": lambda: Animal(Net(), X, fast=True),
        "residual mlp": lambda: Animal(Residual(), X, fast=True),
        "convolution and batch-norm": lambda: Animal(
            conv(
                nn.Conv2d(1, 2, 3),
                nn.BatchNorm2d(2),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Dropout(),
                nn.Flatten(),
                nn.Linear(2, CLASSES),
            ),
            IMAGES,
            "6",
        ),
        "resnet": lambda: Animal(ResNet(), IMAGES, "fc"),
        "layer-norm": lambda: Animal(
            Net(body=nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, HIDDEN))), X
        ),
        "group and instance norm": lambda: Animal(Norms(), normal(M, 5, seed=6)),
        "attention, padding mask": lambda: Animal(
            Encoder(), text, run=lambda model, x: model(**x)
        ),
        "sequence classifier": lambda: Animal(
            SequenceClassifier(), text, options={"output": "logits"}, **keywords
        ),
        "tied embeddings": lambda: Animal(Tied(), IDS, None),
        "rnn": lambda: Animal(Recurrent(nn.RNN), sequence),
        "lstm": lambda: Animal(Recurrent(nn.LSTM), sequence),
        "gru, packed": lambda: Animal(Packed(nn.GRU), (sequence, LENGTHS), **star),
        "mixture of experts": lambda: Animal(Experts(), X, None),
        "siamese": lambda: Animal(Siamese(), normal(M, 2, WIDTH, seed=7)),
        "two inputs": lambda: Animal(
            TwoInputs(), (X, normal(M, HIDDEN, seed=8)), fast=True, **star
        ),
        "point net": lambda: Animal(PointNet(), normal(M, 5, WIDTH, seed=10)),
        "lora": lambda: Animal(Net(body=LoRA(WIDTH, HIDDEN)), X),
        "lora head": lambda: Animal(Net(head=LoRA(HIDDEN, CLASSES)), X, None),
        "frozen body": lambda: Animal(frozen(), X, fast=True),
        "weight norm": lambda: Animal(
            Net(body=parametrizations.weight_norm(nn.Linear(WIDTH, HIDDEN))), X
        ),
        "weight norm, old": lambda: Animal(normed(), X),
        "spectral norm": lambda: Animal(
            Net(body=parametrizations.spectral_norm(nn.Linear(WIDTH, HIDDEN))), X
        ),
        "pruned": lambda: Animal(pruned(), X),
        "in place": lambda: Animal(InPlace(), X, None, fast=True),
        "features reused": lambda: Animal(FeaturesReused(), X, smooth=False),
        "keywords": lambda: Animal(Keywords(), X, fast=True),
        "nested": lambda: Animal(Nested(), X, fast=True),
        "embedding bag": lambda: Animal(Bag(False), IDS),
        "sparse embeddings": lambda: Animal(Bag(True), IDS),
        "sorts its batch": lambda: Animal(Sorted(), X, None),
        "sorts for one layer": lambda: Animal(SortedBody(), X),
        "a layer for some": lambda: Animal(Exit(), X),
        "weights used twice": lambda: Animal(Twice(), X, None),
        "categories in floats": lambda: Animal(Tabular(), table),
        "checkpoint": lambda: Animal(Checkpointed(False), X),
        "a lock": lambda: Animal(Locked(), X, fast=True),
        "training module": lambda: Animal(LightningLike(), X, fast=True),
        "data parallel": lambda: Animal(nn.DataParallel(Net()), X, fast=True),
        "to be compiled": lambda: Animal(
            torch.compile(Net()), X, fast=True, run=lambda m, x: m._orig_mod(x)
        ),
        "fourier": lambda: Animal(Fourier(), X, fast=True),
        "parameters alone": lambda: Animal(Bayesian(), X, None),
        "a function of the batch": lambda: Animal(
            TwoInputs(),
            parts,
            fast=True,
            options={"forward": lambda model, x: model(x["a"], x["b"]["c"])},
            run=lambda model, x: model(x["a"], x["b"]["c"]),
        ),
        "a tuple": lambda: Animal(
            Returns(lambda z: (z.sum(), z)),
            X,
            fast=True,
            options={"output": 1},
            run=lambda model, x: model(x)[1],
        ),
        "a dataclass": lambda: Animal(
            Returns(lambda z: SimpleNamespace(scores=z)),
            X,
            fast=True,
            options={"output": "scores"},
            run=lambda model, x: model(x).scores,
        ),
        "a function of outputs": lambda: Animal(
            Returns(lambda z: {"all": [z, 2 * z]}),
            X,
            None,
            fast=True,
            options={"output": lambda out: out["all"][1]},
            run=lambda model, x: model(x)["all"][1],
        ),
        "log-softmax": lambda: Animal(
            Returns(lambda z: z.log_softmax(1)), X, fast=True
        ),
        "a hook on the head": lambda: Animal(hooked(), X, None),
        "cosine head": lambda: Animal(
            Net(head=Cosine(HIDDEN, CLASSES, bias=False)), X, None
        ),
        "one logit": lambda: Animal(
            Net(1), X, fast=True, options={"family": Bernoulli()}
        ),
        "multi-label": lambda: Animal(
            Net(3), X, fast=True, options={"family": Bernoulli()}
        ),
        "poisson": lambda: Animal(Net(2), X, fast=True, options={"family": Poisson()}),
        "regression": lambda: Animal(
            Net(2), X, fast=True, options={"family": Gaussian(0.3)}
        ),
        "heteroscedastic": lambda: Animal(
            Net(2), X, fast=True, options={"family": GaussianMeanLogVariance()}
        ),
    }


def made(name):
    """The animal in float64 and eval mode, with parameters of its own numbers."""
    torch.manual_seed(0)
    animal = zoo()[name]()
    animal.model.double().eval()
    with torch.no_grad():
        for i, parameter in enumerate(animal.model.parameters()):
            parameter.copy_(0.7 * normal(*parameter.shape, seed=50 + i))
        for i, (key, value) in enumerate(animal.model.named_buffers()):
            if "running" in key:
                value.copy_(normal(*value.shape, seed=90 + i).abs() + 0.5)
    return animal

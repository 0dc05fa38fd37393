"""Small models of many architectures, each with inputs, and how to run it by hand."""

import threading
import warnings
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune, rnn, weight_norm
from torch.utils.checkpoint import checkpoint

from fimlib.families import (
    Bernoulli,
    Gaussian,
    GaussianMeanLogVariance,
    Poisson,
)

M, WIDTH, HIDDEN, CLASSES = 6, 3, 4, 3


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


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def numbers(high, *shape, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


X = normal(M, WIDTH, seed=1)
IDS = numbers(7, M, 4, seed=2)
MASK = torch.arange(4) < torch.tensor([4, 3, 1, 2, 4, 2])[:, None]
LENGTHS = MASK.sum(1)
IMAGES = normal(M, 1, 5, 5, seed=3)


class Net(nn.Module):
    """A body of one layer and a head; most of the others change one thing in it."""

    def __init__(self, outputs=CLASSES, width=WIDTH, body=None, head=None):
        super().__init__()
        self.body = body or nn.Linear(width, HIDDEN)
        self.head = head or nn.Linear(HIDDEN, outputs)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


class Residual(Net):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(2))

    def forward(self, x):
        h = self.body(x)
        for block in self.blocks:
            h = h + F.gelu(block(h))
        return self.head(h)


class BasicBlock(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(b)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(a, b, 1), nn.BatchNorm2d(b))

    def forward(self, x):
        out = self.bn1(self.conv1(x))
        out += self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """Names and forward as in torchvision."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(2)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(BasicBlock(2, 3))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x):
        x = self.layer1(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Encoder(nn.Module):
    """Self-attention over tokens with a padding mask."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, HIDDEN)
        self.layer = nn.TransformerEncoderLayer(HIDDEN, 2, 5, batch_first=True)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, input_ids, attention_mask=None):
        padding = None if attention_mask is None else ~attention_mask
        h = self.layer(self.embed(input_ids), src_key_padding_mask=padding)
        return self.head(h[:, 0])


class ModelOutput(dict):
    """A dict whose values are attributes too, as transformers returns it."""

    __getattr__ = dict.__getitem__


class SequenceClassifier(Encoder):
    """The interface of a sequence classifier of transformers."""

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        logits = super().forward(input_ids, attention_mask)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ModelOutput(loss=loss, logits=logits)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, HIDDEN)
        self.head = nn.Linear(HIDDEN, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(torch.tanh(self.embed(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell(2, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Packed(Recurrent):
    def forward(self, x, lengths):
        packed = rnn.pack_padded_sequence(
            x, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.head(self.cell(packed)[1][-1])


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(WIDTH, CLASSES) for _ in range(2))
        self.gate = nn.Linear(WIDTH, 2)

    def forward(self, x):
        w = self.gate(x).softmax(-1)
        chosen = w.argmax(-1)
        out = torch.zeros(len(x), CLASSES, dtype=x.dtype)
        for i, expert in enumerate(self.experts):
            mine = chosen == i
            out[mine] = expert(x[mine]) * w[mine, i : i + 1]
        return out


class Siamese(Net):
    """Both of a pair go through the body as one batch."""

    def __init__(self):
        super().__init__(head=nn.Linear(2 * HIDDEN, CLASSES))

    def forward(self, x):
        pair = torch.tanh(self.body(torch.cat([x[:, 0], x[:, 1]]))).chunk(2)
        return self.head(torch.cat(pair, 1))


class TwoInputs(Net):
    def forward(self, x, y):
        return self.head(torch.tanh(self.body(x)) * y)


class PointNet(Net):
    def forward(self, x):
        h = torch.relu(self.body(x.flatten(0, 1)))
        return self.head(h.view(*x.shape[:2], -1).amax(1))


class LoRA(nn.Linear):
    def __init__(self, a, b):
        super().__init__(a, b)
        self.down = nn.Parameter(torch.zeros(1, a))
        self.up = nn.Parameter(torch.zeros(b, 1))
        self.weight.requires_grad_(False)
        self.bias.requires_grad_(False)

    def forward(self, x):
        return super().forward(x) + x @ self.down.mT @ self.up.mT


class InPlace(Net):
    def forward(self, x):
        h = self.body(x)
        h[:, 0] += 3
        h.mul_(0.5)
        z = self.head(torch.tanh(h))
        z[:, 1] *= 2
        return z


class FeaturesReused(Net):
    def forward(self, x):
        h = torch.tanh(self.body(x))
        z = self.head(h)
        h.mul_(0)
        return z


class Keywords(Net):
    def forward(self, x):
        return self.head(input=torch.tanh(self.body(input=x)))


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        inner = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.Tanh())
        self.parts = nn.ModuleDict({"a": inner, "b": nn.ModuleList([Net(HIDDEN)])})
        self.head = nn.Linear(2 * HIDDEN, CLASSES)

    def forward(self, x):
        return self.head(torch.cat([self.parts["a"](x), self.parts["b"][0](x)], 1))


class Bag(nn.Module):
    def __init__(self, sparse):
        super().__init__()
        self.embed = nn.EmbeddingBag(7, HIDDEN, sparse=sparse)
        self.tokens = nn.Embedding(7, HIDDEN, sparse=sparse)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        return self.head(torch.tanh(self.embed(x) + self.tokens(x)[:, 0]))


class Sorted(Net):
    def forward(self, x):
        order = x[:, 0].argsort()
        return super().forward(x[order])[order.argsort()]


class SortedBody(Net):
    def forward(self, x):
        order = x[:, 0].argsort()
        return self.head(torch.tanh(self.body(x[order]))[order.argsort()])


class Exit(Net):
    def __init__(self):
        super().__init__()
        self.more = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        far = x[:, 0] > 0
        out = h.clone()
        out[far] = torch.tanh(self.more(h[far]))
        return self.head(out)


class Twice(Net):
    """A layer that is called twice, and a weight that is used outside of its layer."""

    def __init__(self):
        super().__init__()
        self.square = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x):
        h = self.square(torch.tanh(self.square(self.body(x))))
        return self.head(h) + x @ self.head.weight[:, :WIDTH].mT


class Tabular(nn.Module):
    """Category ids in a float column, and a checked range."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 2)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x):
        assert x[:, 0].max() < 4, "no such category"
        hot = F.one_hot(x[:, 0].long(), 4).to(x)
        return self.head(torch.cat([hot @ self.embed.weight, x[:, 1:]], 1))


class Checkpointed(Net):
    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant
        self.middle = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.LayerNorm(HIDDEN))

    def forward(self, x):
        h = checkpoint(self.middle, self.body(x), use_reentrant=self.reentrant)
        return self.head(torch.tanh(h))


class Locked(Net):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        with self.lock:
            return super().forward(x)


class LightningLike(Net):
    """A training loop's module: hooks, hyper-parameters, a trainer, a loss."""

    def __init__(self):
        super().__init__()
        self.hparams = SimpleNamespace(rate=0.1)
        self.loss = nn.CrossEntropyLoss()

    @property
    def trainer(self):
        raise RuntimeError("not attached to a trainer")

    def training_step(self, batch, index):
        return self.loss(self(batch[0]), batch[1])


class Fourier(Net):
    def forward(self, x):
        return self.head(torch.fft.rfft(self.body(x), n=6).abs())


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 2)
        self.norm = nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm1d(4, affine=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x):
        h = F.silu(self.norm(self.conv(x[:, None])))
        return self.head(self.instance(h * h).amax(2))


class Bayesian(nn.Module):
    """Parameters of its own, without any layer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))
        self.weight = nn.Parameter(torch.zeros(WIDTH, CLASSES))
        self.idle = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.scale.exp() * torch.einsum("mi,ic->mc", x, self.weight)


class Returns(Net):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x))


class Cosine(nn.Linear):
    def forward(self, x):
        return 3 * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def frozen():
    model = Net()
    model.body.requires_grad_(False)
    return model


def hooked():
    model = Net()
    model.head.register_forward_hook(lambda module, args, out: 2 * out)
    return model


def normed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and in many models
        return Net(body=weight_norm(nn.Linear(WIDTH, HIDDEN)))


def pruned():
    model = Net()
    prune.l1_unstructured(model.body, "weight", amount=0.3)
    return model


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

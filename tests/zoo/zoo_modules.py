"""The modules of the zoo, and inputs for them."""

import threading
import warnings
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune, rnn, weight_norm
from torch.utils.checkpoint import checkpoint

M, WIDTH, HIDDEN, CLASSES = 6, 3, 4, 3


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

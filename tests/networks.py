"""Small networks and their Jacobians, and what equal roots have in common."""

import copy

import torch
from cases import fishers, normal
from torch import nn

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

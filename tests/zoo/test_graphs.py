"""Random small networks: the fast route, the general one and plain autograd agree."""

from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from zoo_modules import numbers

from fimlib.families import Categorical
from fimlib.fisher import LayeredRoots, network_roots
from fimlib.fisher.batch import Batch
from fimlib.fisher.network import Network

M, SIZE = 5, 4
# What is in common between rows, layers and weights; those that leave row i of each
# layer to example i, and each weight to its layer, are the first.
PLAIN = (
    "linear", "no bias", "tanh", "relu in place", "keep", "add", "multiply", "join",
    "norm", "scale in place", "keyword", "detach", "wide",
)  # fmt: skip
OTHER = (
    "again", "sorted", "some rows", "weight outside", "folded", "own parameter",
    "transposed",
)  # fmt: skip
SEEN = Counter()


class Graph(nn.Module):
    """Steps that are drawn, one after the other, between a first layer and a last."""

    def __init__(self, steps, seed):
        super().__init__()
        self.steps = steps
        self.first, self.last = nn.Linear(3, SIZE), nn.Linear(SIZE, 3)
        self.layers = nn.ModuleDict()
        sizes = {
            "linear": (SIZE, SIZE, True), "no bias": (SIZE, SIZE, False),
            "keyword": (SIZE, SIZE, True), "join": (2 * SIZE, SIZE, True),
            "wide": (SIZE, SIZE, True), "sorted": (SIZE, SIZE, True),
            "some rows": (SIZE, SIZE, True), "folded": (SIZE // 2, SIZE // 2, True),
            "transposed": (SIZE, SIZE, True),
        }  # fmt: skip
        for i, step in enumerate(steps):
            if step in sizes:
                a, b, bias = sizes[step]
                self.layers[str(i)] = nn.Linear(a, b, bias)
        if "own parameter" in steps:
            self.scale = nn.Parameter(torch.ones(SIZE))
        generator = torch.Generator().manual_seed(seed)
        self.double()
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype))

    def forward(self, x):
        order = x[:, 0].argsort()
        h = kept = torch.tanh(self.first(x))
        for i, step in enumerate(self.steps):
            layer = self.layers[str(i)] if str(i) in self.layers else None
            if step in ("linear", "no bias"):
                h = torch.tanh(layer(h))
            elif step == "keyword":
                h = h + layer(input=h)
            elif step == "tanh":
                h = torch.tanh(h)
            elif step == "relu in place":
                h = nn.functional.relu(h + 0.3, inplace=True)
            elif step == "keep":
                kept = h
            elif step == "add":
                h = h + kept
            elif step == "multiply":
                h = h * torch.sigmoid(kept)
            elif step == "join":
                h = torch.tanh(layer(torch.cat([h, kept], 1)))
            elif step == "norm":
                h = nn.functional.layer_norm(h, (SIZE,), eps=0.1)
            elif step == "scale in place":
                h = h.clone()
                h[:, 0] *= 0.5
            elif step == "detach":
                h = h + 0.5 * kept.detach()
            elif step == "wide":
                # Nothing of its bias and of two of its outputs is used.
                h = torch.cat([layer(h)[:, :2] - layer.bias.detach()[:2], h[:, 2:]], 1)
            elif step == "again":
                h = torch.tanh(self.last.weight @ h.mT).mT.repeat(1, 2)[:, :SIZE]
                h = torch.tanh(self.first(h[:, :3]))
            elif step == "sorted":
                h = torch.tanh(layer(h[order]))[order.argsort()]
            elif step == "some rows":
                far, out = x[:, 1] > 0, h.clone()
                out[far] = torch.tanh(layer(h[far]))
                h = out
            elif step == "weight outside":
                h = h + x @ self.first.weight.mT
            elif step == "folded":
                h = torch.tanh(layer(h.reshape(-1, SIZE // 2))).view(len(x), SIZE)
            elif step == "own parameter":
                h = h * self.scale
            elif step == "transposed":
                h = torch.tanh(layer(h.flip(0)).flip(0))
        return self.last(h)


def agree(found, expected):
    scale = expected.abs().max()
    assert (found - expected).abs().max() <= 1e-10 * scale


@settings(derandomize=True, deadline=None, max_examples=260)
@given(
    plain=st.lists(st.sampled_from(PLAIN), max_size=5),
    other=st.lists(st.sampled_from(OTHER), max_size=2),
    turn=st.integers(0, 5),
    seed=st.integers(0, 10_000),
)
def compare(plain, other, turn, seed):
    steps = [*plain[:turn], *other, *plain[turn:]]
    model = Graph(steps, seed)
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(M, 3, generator=generator, dtype=torch.float64)
    labels = numbers(3, M, seed=seed)
    roots = network_roots(model, inputs, estimator="empirical", labels=labels)
    if not other:
        assert isinstance(roots, LayeredRoots), steps
    SEEN[type(roots).__name__] += 1

    network = Network(model, torch.float64)
    network.layers = None
    batch = network.prepared(Batch(inputs))
    options = (Categorical(), "empirical", labels, 1, None)
    general = network.roots(batch, options)
    agree(roots.dense(), general.held().dense())
    agree(roots.self_gram(), general.held().self_gram())
    pairs = zip(batch.split(1), general.factor, strict=True)
    plainly = torch.stack([network._rows_of_one(x, u) for x, u in pairs])
    agree(roots.dense(), plainly)


def test_no_two_routes_differ_on_random_graphs():
    SEEN.clear()
    compare()
    assert SEEN.total() >= 200 and min(SEEN.values()) >= 50 and len(SEEN) == 2

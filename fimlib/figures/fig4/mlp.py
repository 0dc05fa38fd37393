"""Many small networks trained as one: stacked weights, one batched product a layer.

The network of arXiv:2203.09410: ReLU layers in NTK parametrisation, Adam, learning rate
falling linearly to 0, the weights of the best epoch kept. Slice b of every product
belongs to network b alone, so a network comes out the same whichever others are trained
beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

Pair = Sequence[Tensor]  # inputs and targets
WEIGHT_FACTOR = BIAS_FACTOR = 0.2
_POINTS = 4096  # examples in one chunk of predictions


@dataclass(frozen=True)
class Training:
    """How a stack is trained."""

    hidden: tuple[int, ...] = (512, 512)
    epochs: int = 256
    batch_size: int = 256
    learning_rate: float = 0.375


class Stack:
    """B networks: weights, L tensors (B, in, out), and biases, L tensors (B, 1, out).

    Layer l maps z to ``0.2 / sqrt(in) z W_l + 0.2 b_l``; all but the last (out = 1) are
    followed by a ReLU.
    """

    def __init__(self, weights: Iterable[Tensor], biases: Iterable[Tensor]) -> None:
        self.weights, self.biases = list(weights), list(biases)

    def __len__(self) -> int:
        return len(self.weights[0])

    def __getitem__(self, index: int | slice) -> "Stack":
        """One network, or a slice of them, as a Stack."""
        part = slice(index, index + 1) if isinstance(index, int) else index
        return Stack([w[part] for w in self.weights], [b[part] for b in self.biases])

    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [*self.weights, *self.biases]

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs (B, n) for inputs (B, n, d)."""
        z = inputs
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = _layer(z, weight, bias).relu()
        # A product with a single column is summed by hand: its rounding in a batched
        # product depends on how many others are in the batch.
        factor = WEIGHT_FACTOR / z.shape[-1] ** 0.5
        last = (z * self.weights[-1].mT).sum(-1)
        return factor * last + BIAS_FACTOR * self.biases[-1].squeeze(-1)

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Outputs (B, n) of every network for the same inputs (n, d)."""
        parts = (part.expand(len(self), *part.shape) for part in inputs.split(_POINTS))
        return torch.cat([self.outputs(part) for part in parts], 1)


def _layer(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    factor = WEIGHT_FACTOR / z.shape[-1] ** 0.5
    return torch.baddbmm(bias, z, weight, beta=BIAS_FACTOR, alpha=factor)


def drawn(width: int, hidden: Sequence[int], generators: Sequence[Generator]) -> Stack:
    """A Stack of one network a generator: normal weights, zero biases."""
    sizes = [width, *hidden, 1]
    shapes = list(pairwise(sizes))
    draws = [[torch.randn(s, generator=g) for s in shapes] for g in generators]
    weights = [torch.stack(layer) for layer in zip(*draws, strict=True)]
    return Stack(weights, [torch.zeros(len(draws), 1, out) for _, out in shapes])


def fit(
    train: Pair, validation: Pair, generators: Sequence[Generator], training: Training
) -> Stack:
    """Train a Stack of B networks, B a multiple of the S data sets.

    train, validation: pairs of inputs (S, n, d) and targets (S, n), float32; networks
    b, ..., b + B/S - 1 look at one set. Each of the B generators draws a network's
    initial weights and its batches.
    """
    inputs, targets = train
    members = len(generators) // len(inputs)
    stack = drawn(inputs.shape[2], training.hidden, generators)
    best = Stack(*([t.clone() for t in part] for part in (stack.weights, stack.biases)))
    for tensor in stack.parameters():
        tensor.requires_grad_()
    size = min(training.batch_size, inputs.shape[1])
    steps = inputs.shape[1] // size
    # The fused Adam rounds a tensor's last few numbers differently from the others.
    optimizer = torch.optim.Adam(stack.parameters(), foreach=False)
    owner = torch.arange(len(inputs)).repeat_interleave(members)[:, None]
    held = [part.repeat_interleave(members, 0) for part in validation]
    least = torch.full((len(stack),), torch.inf)
    for epoch in range(training.epochs):
        draws = [torch.randperm(inputs.shape[1], generator=g) for g in generators]
        orders = torch.stack(draws)
        for step in range(steps):
            done = (epoch * steps + step) / (training.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * (1 - done)
            rows = orders[:, step * size : (step + 1) * size]
            error = stack.outputs(inputs[owner, rows]) - targets[owner, rows]
            optimizer.zero_grad()
            error.square().mean(1).sum().backward()
            optimizer.step()
        _keep_best(stack, best, least, held)
    return best


@torch.no_grad()
def _keep_best(
    stack: Stack, best: Stack, least: Tensor, held: Sequence[Tensor]
) -> None:
    """Copy the networks whose validation error is the least so far."""
    found = (stack.outputs(held[0]) - held[1]).square().mean(1)
    better = found < least
    least[better] = found[better]
    for old, new in zip(best.parameters(), stack.parameters(), strict=True):
        old[better] = new[better]

"""Units of Figure 4: one data set, method, kernel and split."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from fimlib.figures.fig4 import choose, mlp, sets
from fimlib.figures.fig4.protocol import Protocol
from fimlib.figures.records import Arrays
from fimlib.figures.units import fixed_threads, stream
from fimlib.selection.result import Selection

Chooser = tuple[choose.Features, Generator]


class State:
    """One split of a data set: inputs, targets, and who is labelled so far."""

    def __init__(
        self, data: sets.RegressionSet, split: int, protocol: Protocol
    ) -> None:
        self.data, self.split, self.protocol = data.name, split, protocol
        parts = _parts(len(data.targets), split, protocol)
        self.inputs = torch.from_numpy(sets.scaled(data.inputs, parts))
        self.targets = torch.from_numpy(data.targets).float()
        names = ("train", "validation", "pool", "test")
        self.parts = {name: torch.from_numpy(getattr(parts, name)) for name in names}

    def pairs(self, name: str) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a part."""
        rows = self.parts[name]
        return self.inputs[rows], self.targets[rows]

    def stream(self, purpose: str, index: int) -> Generator:
        """A generator of this split, for one purpose."""
        return stream(self.split, f"fig4/{self.data}/{purpose}", index)

    def features(
        self, stack: mlp.Stack, method: str, kernel: str, step: int
    ) -> Chooser:
        """What a method chooses the next batch by, and its generator afterwards."""
        generator, own = self.stream(f"{method}/{kernel}", step), self.protocol
        inputs, targets = self.pairs("train")
        found = choose.features(
            method, kernel, stack, self.pairs("pool")[0], inputs, generator,
            own.width, own.noise, targets,
        )  # fmt: skip
        return found, generator

    def chosen(
        self, stack: mlp.Stack, method: str, kernel: str, step: int
    ) -> Selection:
        """The next batch, as places in the pool."""
        (pool, train), generator = self.features(stack, method, kernel, step)
        size, noise = self.protocol.batch, self.protocol.noise
        return choose.choose(method, pool, train, size, generator, noise)

    def label(self, indices: Tensor) -> Tensor:
        """Move examples from the pool to the training set; their place in the data."""
        pool = self.parts["pool"]
        chosen = pool[indices]
        left = torch.ones(len(pool), dtype=torch.bool)
        left[indices] = False
        self.parts["pool"] = pool[left]
        self.parts["train"] = torch.cat([self.parts["train"], chosen])
        return chosen


def _parts(rows: int, split: int, protocol: Protocol) -> sets.Split:
    """The split; sizes of pool and test are upper bounds."""
    test = sets.published_test_size(rows)
    test = min(test, protocol.test or test)
    left = rows - protocol.initial - protocol.validation - test
    pool = min(left, protocol.pool or left)
    return sets.split(rows, split, protocol.initial, protocol.validation, pool, test)


def run_units(
    name: str, digest: str, method: str, kernel: str, splits: Sequence[int],
    protocol: Protocol,
) -> dict[int, Arrays]:  # fmt: skip
    """The units of several splits in step, split to arrays; each is as if alone.

    Raises ValueError where the data found here are not those of ``digest``.
    """
    data = sets.load(name)
    if data.digest != digest:
        raise ValueError(f"{name} is another set here: digest {data.digest}")
    states = [State(data, split, protocol) for split in splits]
    members = protocol.members if kernel == "black-box" else 1
    logs = [Log(protocol) for _ in states]
    with fixed_threads(protocol.threads):
        for step in range(protocol.steps + 1):
            start = time.perf_counter()
            stack = _trained(states, members, step)
            seconds = (time.perf_counter() - start) / len(states)
            for i, (state, log) in enumerate(zip(states, logs, strict=True)):
                part = stack[i * members : (i + 1) * members]
                log.errors(step, part, state.pairs("test"), seconds)
                if step < protocol.steps:
                    start = time.perf_counter()
                    chosen = state.chosen(part, method, kernel, step)
                    spent = time.perf_counter() - start
                    log.batch(step, state.label(chosen.indices), spent, chosen)
    return {split: log.arrays for split, log in zip(splits, logs, strict=True)}


def _trained(states: Sequence[State], members: int, step: int) -> mlp.Stack:
    """A member's weights and batches depend on split and step, not on the method."""
    generators = [
        state.stream("network", 1000 * step + member)
        for state in states
        for member in range(members)
    ]
    pairs = stacked(states, "train"), stacked(states, "validation")
    return mlp.fit(*pairs, generators, states[0].protocol.training())


def stacked(states: Sequence[State], name: str) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a part, of all splits together."""
    inputs, targets = zip(*(state.pairs(name) for state in states), strict=True)
    return torch.stack(inputs), torch.stack(targets)


class Log:
    """The arrays of a unit while it grows."""

    def __init__(self, protocol: Protocol) -> None:
        steps, batch = protocol.steps, protocol.batch
        self.arrays = {
            "log_rmse": np.zeros(steps + 1),
            "log_rmse_mean": np.zeros(steps + 1),
            "indices": np.zeros((steps, batch), np.int64),
            "filled": np.zeros(steps, bool),
            "train_seconds": np.zeros(steps + 1),
            "select_seconds": np.zeros(steps),
        }

    def errors(
        self, step: int, stack: mlp.Stack, pair: mlp.Pair, seconds: float
    ) -> None:
        """Log RMSE over members and points (as published), and of the members' mean."""
        error = stack.predict(pair[0]).double() - pair[1]
        each = error.square().mean().sqrt().log()
        mean = error.mean(0).square().mean().sqrt().log()
        self.arrays["log_rmse"][step] = float(each)
        self.arrays["log_rmse_mean"][step] = float(mean)
        self.arrays["train_seconds"][step] = seconds

    def batch(
        self, step: int, places: Tensor, seconds: float, found: Selection
    ) -> None:
        """Places in the data; a batch with notes was filled up."""
        self.arrays["indices"][step] = places.numpy()
        self.arrays["filled"][step] = bool(found.notes)
        self.arrays["select_seconds"][step] = seconds

"""Units of Figure 4: one data set, method, kernel and split."""

import time

import numpy as np
import torch

from fimlib.figures.fig4 import choose, mlp, sets
from fimlib.figures.units import fixed_threads, stream


class State:
    """One split of a data set: inputs, targets, and who is labelled so far."""

    def __init__(self, data, split, protocol):
        self.data, self.split = data.name, split
        parts = _parts(len(data.targets), split, protocol)
        self.inputs = torch.from_numpy(sets.scaled(data.inputs, parts))
        self.targets = torch.from_numpy(data.targets).float()
        self.parts = {
            name: torch.from_numpy(getattr(parts, name))
            for name in ("train", "validation", "pool", "test")
        }

    def pairs(self, name):
        rows = self.parts[name]
        return self.inputs[rows], self.targets[rows]

    def stream(self, purpose, index):
        return stream(self.split, f"fig4/{self.data}/{purpose}", index)

    def features(self, stack, method, kernel, generator, protocol):
        """What a method chooses by, before the next batch."""
        inputs, targets = self.pairs("train")
        return choose.features(
            method, kernel, stack, self.pairs("pool")[0], inputs, generator,
            protocol.width, protocol.noise, targets,
        )  # fmt: skip

    def label(self, indices):
        """Move examples from the pool to the training set; their place in the data."""
        pool = self.parts["pool"]
        chosen = pool[indices]
        left = torch.ones(len(pool), dtype=torch.bool)
        left[indices] = False
        self.parts["pool"] = pool[left]
        self.parts["train"] = torch.cat([self.parts["train"], chosen])
        return chosen


def _parts(rows, split, protocol):
    """The split; sizes of pool and test are upper bounds."""
    test = sets.published_test_size(rows)
    test = min(test, protocol.test or test)
    left = rows - protocol.initial - protocol.validation - test
    pool = min(left, protocol.pool or left)
    return sets.split(rows, split, protocol.initial, protocol.validation, pool, test)


def run_units(name, digest, method, kernel, splits, protocol):
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
            stack = _trained(states, members, step, protocol)
            seconds = (time.perf_counter() - start) / len(states)
            for i, (state, log) in enumerate(zip(states, logs, strict=True)):
                part = stack[i * members : (i + 1) * members]
                log.errors(step, part, *state.pairs("test"), seconds)
                if step < protocol.steps:
                    log.batch(
                        step, *_acquired(state, part, method, kernel, step, protocol)
                    )
    return {split: log.arrays for split, log in zip(splits, logs, strict=True)}


def _trained(states, members, step, protocol):
    """A member's weights and batches depend on split and step, not on the method."""
    generators = [
        state.stream("network", 1000 * step + member)
        for state in states
        for member in range(members)
    ]
    stacked = [
        [
            torch.stack(part)
            for part in zip(*(s.pairs(name) for s in states), strict=True)
        ]
        for name in ("train", "validation")
    ]
    return mlp.fit(*stacked, generators, protocol.training())


def _acquired(state, stack, method, kernel, step, protocol):
    """Choose a batch and label it: (places in the data, seconds, was it filled up)."""
    start = time.perf_counter()
    generator = state.stream(f"{method}/{kernel}", step)
    found = state.features(stack, method, kernel, generator, protocol)
    chosen = choose.choose(
        method, found.pool, found.train, protocol.batch, generator, protocol.noise
    )
    seconds = time.perf_counter() - start
    return state.label(chosen.indices), seconds, bool(chosen.notes)


class Log:
    """The arrays of a unit while it grows."""

    def __init__(self, protocol):
        steps, batch = protocol.steps, protocol.batch
        self.arrays = {
            "log_rmse": np.zeros(steps + 1),
            "log_rmse_mean": np.zeros(steps + 1),
            "indices": np.zeros((steps, batch), np.int64),
            "filled": np.zeros(steps, bool),
            "train_seconds": np.zeros(steps + 1),
            "select_seconds": np.zeros(steps),
        }

    def errors(self, step, stack, inputs, targets, seconds):
        """Log RMSE over members and points (as published), and of the members' mean."""
        found = stack.predict(inputs).double()
        error = found - targets
        each = error.square().mean().sqrt().log()
        mean = error.mean(0).square().mean().sqrt().log()
        self.arrays["log_rmse"][step] = float(each)
        self.arrays["log_rmse_mean"][step] = float(mean)
        self.arrays["train_seconds"][step] = seconds

    def batch(self, step, places, seconds, filled):
        self.arrays["indices"][step] = places.numpy()
        self.arrays["filled"][step] = filled
        self.arrays["select_seconds"][step] = seconds

"""One seed of the run behind Figures 2 and 3, unit of work by unit of work."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fimlib.figures import network, scores, training
from fimlib.figures.data import Digits
from fimlib.figures.protocol import Protocol, split
from fimlib.figures.records import Arrays
from fimlib.figures.units import Bars, Work, stream

_EVAL_CHUNK = 2000  # evaluation points in one unit of Monte-Carlo samples


@dataclass(frozen=True)
class SeedResult:
    """Columns, weights and last layer of one seed, its model's numbers, seconds."""

    columns: Arrays
    weights: Arrays
    layer: Arrays
    model: dict[str, Any]
    seconds: dict[str, float]  # of each stage


class SeedRun:
    """One seed's units of work, each computed when it is first asked for."""

    def __init__(
        self, digits: Digits, seed: int, protocol: Protocol, work: Work, bars: Bars
    ) -> None:
        self.digits, self.seed, self.protocol = digits, seed, protocol
        self.work, self.bars = work, bars
        self.parts = split(digits, seed, protocol)

    def inputs(self, part: str) -> Tensor:
        """The part's images as the network takes them."""
        return network.prepare(self.digits.images[self.parts[part]])

    def labels(self, part: str) -> Tensor:
        """Of the part's images."""
        return torch.from_numpy(self.digits.labels[self.parts[part]])

    def trainer(self) -> training.Trainer:
        """The training run at its beginning."""
        sets = [(self.inputs(p), self.labels(p)) for p in ("train", "validation")]
        return training.Trainer(self.protocol, self.seed, *sets)

    @functools.cached_property
    def trained(self) -> Arrays:
        """The best weights, and how training went."""
        return self.work.unit("train", self._fit)

    def _fit(self) -> Arrays:
        return training.fit(self.trainer(), self.work, self.bars)

    @functools.cached_property
    def net(self) -> network.DropoutCNN:
        """The trained network."""
        return network.from_arrays(self.trained)

    @functools.cached_property
    def tested(self) -> Arrays:
        """Its accuracies."""
        return self.work.unit("test", self._test)

    def _test(self) -> Arrays:
        sampled = training.mean_accuracy(
            self.net, self.inputs("test"), self.labels("test"),
            self.protocol.test_samples, stream(self.seed, "test"),
        )  # fmt: skip
        numbers = {"test_accuracy": sampled[0], "test_cross_entropy": sampled[1]}
        for part in ("test", "train"):
            logits = network.features(self.net, self.inputs(part))[1].double()
            single = training.accuracy(logits.log_softmax(-1), self.labels(part))
            numbers[f"{part}_accuracy_single"] = single[0]
            numbers[f"{part}_cross_entropy_single"] = single[1]
        return {name: np.float64(value) for name, value in numbers.items()}

    @functools.cached_property
    def layer(self) -> Arrays:
        """What ``scores.last_layer`` gives of train, pool and evaluation."""
        parts = ("train", "pool", "evaluation")
        return self.work.unit(
            "last-layer",
            lambda: scores.last_layer(self.net, {p: self.inputs(p) for p in parts}),
        )

    @functools.cached_property
    def weight_space(self) -> Arrays:
        """The columns of ``scores.weight_space``."""
        return self.work.unit("weight-space", lambda: scores.weight_space(self.layer))

    @functools.cached_property
    def mc_pool(self) -> Arrays:
        """Log-probabilities of the pool."""
        return self._mc(self.inputs("pool"), "mc-pool")

    @functools.cached_property
    def mc_evaluation(self) -> Arrays:
        """Log-probabilities of the evaluation points, chunk by chunk."""
        blocks = self.inputs("evaluation").split(_EVAL_CHUNK)
        units = []
        with self.bars("evaluation samples", len(blocks), 0) as bar:
            for number, block in enumerate(blocks):
                units.append(self._mc(block, f"mc-evaluation-{number:03d}"))
                bar.update()
        return {
            "log_probs": np.concatenate([unit["log_probs"] for unit in units]),
            "seconds": sum(unit["seconds"] for unit in units),
        }

    def _mc(self, inputs: Tensor, name: str) -> Arrays:
        masks = draw_masks(self.protocol, self.seed)
        return self.work.unit(name, lambda: self.log_probs(inputs, masks))

    def log_probs(self, inputs: Tensor, masks: network.Masks) -> Arrays:
        """Of the network with these dropout masks, (N, L, 10)."""
        return {"log_probs": network.mc_log_probs(self.net, inputs, masks).numpy()}

    @functools.cached_property
    def prediction_space(self) -> Arrays:
        """The columns of ``scores.prediction_space``."""
        return self.work.unit("prediction-space", self._prediction_space)

    def _prediction_space(self) -> Arrays:
        tables = self.mc_pool["log_probs"], self.mc_evaluation["log_probs"]
        return scores.prediction_space(*tables)

    def result(self) -> SeedResult:
        """Everything, computed where it is not yet there."""
        stages = {
            "training": self.trained,
            "testing": self.tested,
            "last_layer": self.layer,
            "weight_space": self.weight_space,
            "pool_samples": self.mc_pool,
            "evaluation_samples": self.mc_evaluation,
            "prediction_space": self.prediction_space,
        }
        found = {**self.weight_space, **self.prediction_space}
        columns = {
            "seed": np.full(self.protocol.pool_size, self.seed),
            "pool_index": self.parts["pool"],
            "label": self.digits.labels[self.parts["pool"]],
            **{name: found[name] for name in scores.COLUMNS},
        }
        return SeedResult(
            columns,
            network.to_arrays(self.net),
            self.layer,
            _model_numbers(self.seed, self.trained, self.tested, self.weight_space),
            {stage: float(unit["seconds"]) for stage, unit in stages.items()},
        )


def draw_masks(protocol: Protocol, seed: int) -> network.Masks:
    """The dropout masks of a run: the same for pool and evaluation."""
    return network.draw_masks(protocol.mc_samples, stream(seed, "masks"))


def _model_numbers(
    seed: int, trained: Arrays, tested: Arrays, weight: Arrays
) -> dict[str, Any]:
    history = trained["history"]
    best = int(np.argmax(history[:, 0]))
    numbers = {
        "seed": seed,
        "epochs": len(history),
        "best_epoch": best,
        "validation_accuracy": history[best, 0],
        "validation_cross_entropy": history[best, 1],
    }
    numbers.update((k, v) for k, v in tested.items() if k != "seconds")
    numbers.update((name, weight[name]) for name in scores.POSTERIOR)
    return {k: v if isinstance(v, int) else float(v) for k, v in numbers.items()}

"""Training with early stopping on consistent dropout samples, resumable every epoch."""

import time
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from fimlib.figures import network
from fimlib.figures.network import DropoutCNN
from fimlib.figures.protocol import Protocol
from fimlib.figures.records import Arrays
from fimlib.figures.units import Bars, Work, stream

Pair = tuple[Tensor, Tensor]  # images and labels


def epoch_indices(num_points: int, draws: int, generator: Generator) -> Tensor:
    """``draws`` indices below num_points in random order, repetitions equal up to one.

    The published runs count an epoch as 1024 draws whatever the training set's size.
    """
    rounds = -(-draws // num_points)
    order = torch.randperm(rounds * num_points, generator=generator)
    return order[:draws] % num_points


def mean_accuracy(
    net: DropoutCNN, inputs: Tensor, labels: Tensor, num_samples: int,
    generator: Generator,
) -> tuple[float, float]:  # fmt: skip
    """Accuracy and cross-entropy (nats) of the mean of consistent dropout samples."""
    masks = network.draw_masks(num_samples, generator)
    log_probs = network.mc_log_probs(net, inputs, masks).double()
    mean = log_probs.logsumexp(1) - np.log(num_samples)
    return accuracy(mean, labels)


@torch.no_grad()
def accuracy(log_probs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy and cross-entropy (nats) of log-probabilities (N,C)."""
    correct = (log_probs.argmax(-1) == labels).double().mean()
    return correct.item(), F.nll_loss(log_probs, labels).item()


class Trainer:
    """One training run; its whole state goes to and comes from a dict of arrays.

    Every epoch draws from a generator of its own, so the state holds no generator.
    """

    def __init__(
        self, protocol: Protocol, seed: int, train: Pair, validation: Pair
    ) -> None:
        self.protocol, self.seed = protocol, seed
        self.train, self.validation = train, validation
        self.net = network.DropoutCNN(stream(seed, "initialisation"))
        rate, decay = protocol.learning_rate, protocol.weight_decay
        parameters = self.net.parameters()
        self.optimizer = torch.optim.Adam(parameters, rate, weight_decay=decay)
        self.best = network.to_arrays(self.net)
        self.history: list[Any] = []  # validation accuracy, cross-entropy by epoch

    @property
    def best_epoch(self) -> int:
        """Index of the first epoch with the highest validation accuracy."""
        return int(np.argmax([entry[0] for entry in self.history]))

    @property
    def finished(self) -> bool:
        """Whether patience or the cap has run out."""
        if not self.history:
            return False
        waited = len(self.history) - 1 - self.best_epoch
        at_cap = len(self.history) >= self.protocol.max_epochs
        return at_cap or waited >= self.protocol.patience

    def epoch(self) -> None:
        """One epoch of steps, then one validation."""
        number = len(self.history)
        self.steps(number)
        masks = stream(self.seed, "validation", number)
        samples = self.protocol.validation_samples
        entry = mean_accuracy(self.net, *self.validation, samples, masks)
        self.history.append(entry)
        if self.best_epoch == number:
            arrays = network.to_arrays(self.net)
            self.best = {name: array.copy() for name, array in arrays.items()}

    def steps(self, number: int) -> None:
        """The gradient steps of epoch ``number``, from 0, without a validation."""
        generator = stream(self.seed, "epoch", number)
        inputs, labels = self.train
        draws, size = self.protocol.draws_per_epoch, self.protocol.batch_size
        order = epoch_indices(len(labels), draws, generator)
        for batch in order[: draws - draws % size].split(size):
            masks = network.draw_masks(size, generator)  # a fresh mask per example
            log_probs = F.log_softmax(self.net(inputs[batch], masks), dim=-1)
            self.optimizer.zero_grad()
            F.nll_loss(log_probs, labels[batch]).backward()
            self.optimizer.step()

    def state(self) -> Arrays:
        """Everything the next epoch needs, as arrays."""
        arrays = {"history": np.array(self.history)}
        for name, parameter in self.net.named_parameters():
            moments = self.optimizer.state[parameter]
            arrays[f"now/{name}"] = parameter.detach().numpy()
            arrays[f"mean/{name}"] = moments["exp_avg"].numpy()
            arrays[f"square/{name}"] = moments["exp_avg_sq"].numpy()
            arrays[f"best/{name}"] = self.best[name]
        arrays["step"] = moments["step"].numpy()
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Continue from what ``state`` gave."""
        self.history = [tuple(entry) for entry in arrays["history"].tolist()]
        for name, parameter in self.net.named_parameters():
            parameter.data.copy_(torch.from_numpy(arrays[f"now/{name}"]))
            self.best[name] = arrays[f"best/{name}"].copy()
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(arrays["step"])),
                "exp_avg": torch.from_numpy(arrays[f"mean/{name}"]),
                "exp_avg_sq": torch.from_numpy(arrays[f"square/{name}"]),
            }


def fit(trainer: Trainer, work: Work, progress: Bars) -> Arrays:
    """Train to the end, keeping the state after every epoch; resumes where it stopped.

    Returns the best weights by name, ``history`` (epochs,2) and ``seconds`` in all.
    """
    kept, seconds = work.load("train-state"), 0.0
    if kept is not None:
        trainer.restore(kept)
        seconds = float(kept["seconds"])
    with progress("train", trainer.protocol.max_epochs, len(trainer.history)) as bar:
        while not trainer.finished:
            start = time.perf_counter()
            trainer.epoch()
            seconds += time.perf_counter() - start
            work.save("train-state", **trainer.state(), seconds=np.float64(seconds))
            bar.update()
    history = np.array(trainer.history)
    return {**trainer.best, "history": history, "seconds": np.float64(seconds)}

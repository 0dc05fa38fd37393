"""The protocol of Figures 2 and 3: its numbers, and which digit goes where."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from fimlib.figures.data import Digits
from fimlib.figures.records import Arrays

Three = tuple[np.ndarray, np.ndarray, np.ndarray]
PARTS = ("train", "validation", "pool", "evaluation", "test")


@dataclass(frozen=True)
class Protocol:
    """Every number that a run depends on, besides the data and the seed."""

    train_size: int = 80
    validation_size: int = 1000
    pool_size: int = 1000
    eval_size: int = 2000
    draws_per_epoch: int = 1024
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 5e-4
    validation_samples: int = 20
    patience: int = 20
    max_epochs: int = 150
    mc_samples: int = 100
    test_samples: int = 50
    threads: int = 1  # the same bits on any number of cores, and seeds in parallel
    revision: int = 1  # raised when the code changes what the numbers mean


# Where a data set's published sizes differ from the fields of `Protocol`.
_SIZES = {"embedded": {"validation_size": 500}, "mnist": {"eval_size": 20_000}}


def protocol_for(data: str, **settings: Any) -> Protocol:
    """The protocol of data set ``data`` with ``settings`` put in its place."""
    known = {field.name for field in dataclasses.fields(Protocol)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"no setting {unknown[0]!r}; there are {', '.join(known)}")
    return Protocol(**{**_SIZES.get(data, {}), **settings})


def split(digits: Digits, seed: int = 0, protocol: Protocol | None = None) -> Arrays:
    """Indices of each part of the data, name to array; the parts are disjoint.

    Training and validation are the same for every seed; pool and evaluation are drawn
    with it.
    """
    protocol = protocol or protocol_for(digits.name)
    train, validation, rest = _SPLITS[digits.name](digits, protocol)
    needed = protocol.pool_size + protocol.eval_size
    if needed > len(rest):
        raise ValueError(
            f"pool_size + eval_size is {needed}, but {digits.name} has {len(rest)} "
            "images left after training and validation"
        )
    pool, rest = _take(digits, rest, protocol.pool_size, seed)
    evaluation, rest = _take(digits, rest, protocol.eval_size, seed)
    test = np.arange(digits.num_train, len(digits.labels))
    parts = (train, validation, pool, evaluation, test if len(test) else rest)
    return dict(zip(PARTS, parts, strict=True))


def _take(
    digits: Digits, indices: np.ndarray, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """``size`` of the indices, and the others: stratified where the set is small."""
    if digits.name == "mnist":  # the published draws are plain random ones
        order = np.random.default_rng([seed, len(indices)]).permutation(indices)
        return order[:size], np.sort(order[size:])
    from sklearn.model_selection import train_test_split

    options = {"stratify": digits.labels[indices], "random_state": seed}
    return train_test_split(indices, train_size=size, **options)


def _split_embedded(digits: Digits, protocol: Protocol) -> Three:
    everything = np.arange(len(digits.labels))
    train, rest = _take(digits, everything, protocol.train_size, 0)
    validation, rest = _take(digits, rest, protocol.validation_size, 0)
    return train, validation, rest


def _split_mnist(digits: Digits, protocol: Protocol) -> Three:
    """The published split: its two seeds reproduce the stored training indices."""
    from sklearn.model_selection import StratifiedShuffleSplit

    labels = digits.labels[: digits.num_train]
    shuffle = StratifiedShuffleSplit(
        n_splits=1, test_size=protocol.validation_size, random_state=0
    )
    base, validation = next(shuffle.split(labels[:, None], labels))
    draw = np.random.default_rng(0)
    train = base[draw.choice(len(base), protocol.train_size, replace=False)]
    return train, validation, np.setdiff1d(base, train)


_SPLITS = {"embedded": _split_embedded, "mnist": _split_mnist}

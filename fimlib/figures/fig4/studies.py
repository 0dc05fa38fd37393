"""Smaller questions about Figure 4, each with a record of its own.

rank: what an ensemble of L members knows of batches longer than its rank.
redundancy: how much of what BALD's top k promise one by one is promised twice.
bald: whether top-k BALD beats uniform draws, against the size of its batches.
All start from the labelled sets with which the splits of ``fig4`` start.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib import linalg
from fimlib.figures import records
from fimlib.figures.fig4 import choose, mlp, sets, unit
from fimlib.figures.fig4.kernels import ensemble_features
from fimlib.figures.fig4.mlp import Stack
from fimlib.figures.fig4.protocol import REDUCED, Protocol, protocol_for
from fimlib.figures.fig4.unit import State
from fimlib.figures.records import Arrays
from fimlib.figures.units import Work, fixed_threads, progress_bars

NAME = "fig4-studies"
_MEMBERS = 20  # networks that predict at once: their hidden layers fill the memory


@dataclass(frozen=True)
class Settings:
    """What the studies depend on besides the protocol of the main run."""

    rank_data: tuple = ("fried", "protein")
    rank_splits: tuple = (0, 1, 2)
    members: tuple = (3, 5, 10, 20, 50)
    reference: int = 100  # members that choose, and as many others that value
    groups: int = 5  # at most: disjoint groups of L members
    batches: tuple = (4, 9, 16, 32, 64)
    noises: tuple = (1e-3, 0.1)  # standard deviations that value a batch
    draws: int = 20  # random batches
    redundancy_data: tuple = REDUCED
    redundancy_splits: tuple = (0, 1, 2)
    bald_data: tuple = ("fried", "protein")
    bald_splits: tuple = (0, 1, 2, 3, 4)
    sizes: tuple = (8, 16, 32, 64, 128)
    acquired: int = 128  # labels in all, whatever the size of a batch
    judges: int = 10  # networks trained with the labels, in place of one
    revision: int = 1  # raised when the code changes what the numbers mean


def run(
    data: str | tuple[str, ...] | None = None, seeds: Sequence[int] | None = None,
    out: str | Path | None = None, *, protocol: str = "reduced",
    studies: Sequence[str] | None = None, work: str | Path = "runs",
    progress: bool = True, settings: Settings | None = None, **changes: Any,
) -> Path:  # fmt: skip
    """Make the records ``fig4-STUDY.csv`` in folder ``out``; the last one's path.

    data, seeds: names of sets and numbers of splits, in place of those of ``settings``.
    studies: some of rank, redundancy and bald. ``changes`` replace fields of
    ``Protocol``. Raises ValueError for other names, before anything is computed.
    """
    own = protocol_for(protocol, **changes)
    settings = _restricted(settings or Settings(), data, seeds)
    chosen = tuple(studies or STUDIES)
    for name in chosen:
        if name not in STUDIES:
            raise ValueError(f"no study {name!r}; there are {', '.join(STUDIES)}")
    bars = progress_bars(progress)
    key = records.sha256(repr((own.numbers(), settings)).encode())[:8]
    folder = Work(Path(work) / f"{NAME}-{key}")
    paths = {n: Path(out or "figures/data") / f"fig4-{n}.csv" for n in chosen}
    same = {"protocol": own.numbers(), "settings": dataclasses.asdict(settings)}
    for path in paths.values():
        records.check_replaceable(path, {}, **same)
    for name, path in paths.items():
        study, units_of = STUDIES[name]
        units, found = units_of(own, settings), []
        with fixed_threads(own.threads), bars(name, len(units), 0) as bar:
            for one in units:
                compute = functools.partial(study, *one, own, settings)
                found.append(folder.unit("/".join(map(str, (name, *one))), compute))
                bar.update()
        about = {
            "experiment": NAME,
            "command": f"fimlib run {NAME}",
            **same,
            "data": {data: sets.load(data).digest for data, *_ in units},
            "core_seconds": round(sum(float(unit["seconds"]) for unit in found), 1),
            **records.environment(own.threads),
        }
        records.write_record(path, records.joined(found), about)
    return path


def _restricted(
    settings: Settings, data: str | tuple[str, ...] | None, seeds: Sequence[int] | None
) -> Settings:
    """The settings with these data sets and splits, where they are given."""
    if isinstance(data, str):
        data = tuple(map(sets.canonical, data.split(",")))
    given = {"data": data, "splits": seeds if seeds is None else tuple(seeds)}
    changes: dict[str, Any] = {
        f"{study}_{name}": value
        for name, value in given.items()
        for study in STUDIES
        if value is not None
    }
    return dataclasses.replace(settings, **changes)


def joint(features: ArrayLike, noise: float) -> Tensor:
    """½ log det(I + k / noise^2) in nats of the first 1, ..., K of features (K, d).

    What the labels of the first j rows tell together, j = 1..K (T44).
    """
    features = torch.as_tensor(features, dtype=torch.float64) / noise
    gram = features @ features.mT
    gram.diagonal().add_(1.0)
    return linalg.cholesky(gram).diagonal().log().cumsum(0)


def rank(name: str, split: int, protocol: Protocol, settings: Settings) -> Arrays:
    """Batches that L members choose, valued by members that took no part.

    value, filled, uniform, greedy: joint information, by the other ``reference``
    members, of the batch, of its first L - 1 with random examples after them, of random
    examples, and of the batch that the others would choose (at the protocol's noise,
    valued at column noise). gain, gain_finer: what the last example adds by the L
    members that chose it, and with a tenth of the noise.
    """
    state = State(sets.load(name), split, protocol)
    stack = _ensemble(state, 2 * settings.reference, protocol)
    outputs = _predict(stack, state.pairs("pool")[0])
    choosers, others = outputs.split(settings.reference)
    others = ensemble_features(others)
    longest, noise = max(settings.batches), protocol.noise
    zero = torch.zeros(1, dtype=torch.float64)
    generator = state.stream("study draws", 0)
    draws = [
        torch.randperm(len(others), generator=generator)[:longest]
        for _ in range(settings.draws)
    ]
    best = choose.choose("batch-bald", others, None, longest, noise=noise).indices
    rows = []
    for members in settings.members:
        for group in range(min(settings.groups, settings.reference // members)):
            own = ensemble_features(choosers[group * members :][:members])
            chosen = choose.choose("batch-bald", own, None, longest, noise=noise)
            filled = [_filled(chosen.indices, members - 1, draw) for draw in draws]
            gains = {
                "gain": joint(own[chosen.indices], noise).diff(prepend=zero),
                "gain_finer": joint(own[chosen.indices], noise / 10).diff(prepend=zero),
            }
            for valued in settings.noises:
                found = {
                    "value": joint(others[chosen.indices], valued),
                    "filled": _mean_joint(others, filled, valued),
                    "uniform": _mean_joint(others, draws, valued),
                    "greedy": joint(others[best], valued),
                    **gains,
                }
                rows += [
                    {"members": members, "group": group, "noise": valued, "batch": size}
                    | {key: values[size - 1] for key, values in found.items()}
                    for size in settings.batches
                ]
    return records.columns_of(rows, data=name, split=split)


def _ensemble(state: State, members: int, protocol: Protocol) -> Stack:
    """Networks of this study: streams of their own, so none is one of the sweep's."""
    generators = [state.stream("study network", i) for i in range(members)]
    pairs = unit.stacked([state], "train"), unit.stacked([state], "validation")
    return mlp.fit(*pairs, generators, protocol.training())


def _predict(stack: Stack, inputs: Tensor) -> Tensor:
    starts = range(0, len(stack), _MEMBERS)
    parts = [stack[start : start + _MEMBERS].predict(inputs) for start in starts]
    return torch.cat(parts).double()


def _mean_joint(features: Tensor, batches: list[Tensor], noise: float) -> Tensor:
    return torch.stack([joint(features[batch], noise) for batch in batches]).mean(0)


def _filled(indices: Tensor, count: int, draw: Tensor) -> Tensor:
    """The first ``count`` indices, then those of a random batch, none twice."""
    head = indices[:count]
    tail = draw[~torch.isin(draw, head)]
    return torch.cat([head, tail])[: len(indices)]


def _rank_units(_: Protocol, settings: Settings) -> list[Any]:
    return [*itertools.product(settings.rank_data, settings.rank_splits)]


def redundancy(name: str, split: int, protocol: Protocol, settings: Settings) -> Arrays:
    """What a first batch tells together, and one by one (nats), by BatchBALD's kernel.

    nearest: the mean over the batch of the largest correlation with another of it.
    """
    state = State(sets.load(name), split, protocol)
    stack = unit._trained([state], protocol.members, 0)
    sizes = [size for size in settings.sizes if size <= len(state.parts["pool"])]
    longest, rows = max(sizes), []
    for kernel in choose.KERNELS:
        pools = {
            method: state.features(stack, method, kernel, 0)[0].pool
            for method in ("bald", "batch-bald")
        }
        pool, noise = pools["batch-bald"], protocol.noise
        batches = {
            method: choose.choose(method, own, None, longest, noise=noise).indices
            for method, own in pools.items()
        }
        generator = state.stream("study draws", 0)
        draws = [
            torch.randperm(len(pool), generator=generator)[:longest]
            for _ in range(settings.draws)
        ]
        given = {method: [batch] for method, batch in batches.items()}
        for method, found in (given | {"uniform": draws}).items():
            for size in sizes:
                values = [_shared(pool[batch[:size]], noise) for batch in found]
                together, alone, nearest = np.mean(values, axis=0)
                rows.append({
                    "kernel": kernel, "method": method, "batch": size,
                    "together": together, "alone": alone, "nearest": nearest,
                })  # fmt: skip
    return records.columns_of(rows, data=name, split=split)


def _shared(features: Tensor, noise: float) -> tuple[float, float, float]:
    """(joint information, sum of single ones, mean of the largest correlations)."""
    gram = features @ features.mT
    sizes = gram.diagonal().sqrt()
    correlation = gram / (sizes[:, None] * sizes).clamp_min(1e-300)
    correlation.fill_diagonal_(-1.0)
    alone = (gram.diagonal() / noise**2).log1p().sum() / 2
    nearest = correlation.max(1).values.mean()
    return float(joint(features, noise)[-1]), float(alone), float(nearest)


def _redundancy_units(_: Protocol, settings: Settings) -> list[Any]:
    return [*itertools.product(settings.redundancy_data, settings.redundancy_splits)]


def bald(
    name: str, method: str, size: int, protocol: Protocol, settings: Settings
) -> Arrays:
    """Log RMSE after ``acquired`` labels, chosen ``size`` at a time by one network.

    Of ``judges`` networks trained anew with the labels, over members and points.
    """
    data = sets.load(name)
    own = dataclasses.replace(protocol, batch=size, steps=settings.acquired // size)
    kernel = "none" if method == "uniform" else "white-box"
    found = unit.run_units(name, data.digest, method, kernel, settings.bald_splits, own)
    states = []
    for split, arrays in found.items():
        state = State(data, split, own)
        chosen = torch.from_numpy(arrays["indices"].ravel())
        state.label(torch.isin(state.parts["pool"], chosen).nonzero()[:, 0])
        states.append(state)
    members = settings.judges
    # A step that no run has: the judges are not the networks that chose.
    stack = unit._trained(states, members, protocol.steps + settings.acquired)
    rows = []
    for i, state in enumerate(states):
        inputs, targets = state.pairs("test")
        part = stack[i * members : (i + 1) * members]
        error = part.predict(inputs).double() - targets
        rows.append({
            "split": state.split,
            "labels": len(state.parts["train"]),
            "log_rmse": float(error.square().mean().sqrt().log()),
        })  # fmt: skip
    return records.columns_of(rows, data=name, method=method, batch=size)


def _bald_units(_: Protocol, settings: Settings) -> list[Any]:
    for size in settings.sizes:
        if settings.acquired % size:
            raise ValueError(
                f"sizes must divide acquired = {settings.acquired}, got {size}"
            )
    arms = [("uniform", settings.acquired), *(("bald", n) for n in settings.sizes)]
    return [(name, *arm) for name in settings.bald_data for arm in arms]


STUDIES: dict[str, tuple[Callable[..., Arrays], Callable[..., list[Any]]]] = {
    "rank": (rank, _rank_units),
    "redundancy": (redundancy, _redundancy_units),
    "bald": (bald, _bald_units),
}


def save_live(path: str | Path, protocol: Protocol | None = None) -> Path:
    """Keep the networks with which split 0 of "fried" chooses its first batch.

    As float32 arrays weight0, bias0, ...: all members, the white box first.
    """
    protocol = protocol or protocol_for("reduced")
    with fixed_threads(protocol.threads):
        state = State(sets.load("fried"), 0, protocol)
        stack = unit._trained([state], protocol.members, 0)
    arrays = {f"weight{i}": part.numpy() for i, part in enumerate(stack.weights)}
    arrays |= {f"bias{i}": part.numpy() for i, part in enumerate(stack.biases)}
    return records.write_npz(path, **arrays)


def load_live(path: str | Path) -> Stack:
    """The `Stack` that ``save_live`` kept."""
    arrays = {k: torch.from_numpy(v) for k, v in records.read_npz(path).items()}
    layers = range(len(arrays) // 2)
    return mlp.Stack(*(
        [arrays[f"{part}{i}"] for i in layers] for part in ("weight", "bias")
    ))  # fmt: skip


def first_batch(
    state: State, stack: Stack, method: str, kernel: str
) -> tuple[Tensor, int]:
    """Places in the data of a unit's first batch, and how many lead it for sure.

    Those that gain less than a billionth of the largest gain go by rounding.
    """
    chosen = state.chosen(stack, method, kernel, 0)
    clear = chosen.gains > 1e-9 * chosen.gains.max()
    return state.parts["pool"][chosen.indices], int(clear.long().cumprod(0).sum())

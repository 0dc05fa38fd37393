"""The run behind Figures 2 and 3: one small network, every score of 1000 pool digits.

Protocol of Kirsch and Gal (2022), "Unifying approaches in active learning and active
sampling via Fisher information and information-theoretic quantities", as its public
code (github.com/BlackHC/2208.00549) has it: 80 training digits, a dropout network, and
then information scores in weight space and in prediction space for the same pool.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fimlib.figures import data as data_sets
from fimlib.figures import records, scores
from fimlib.figures.data import Digits
from fimlib.figures.protocol import PARTS, Protocol, protocol_for, split
from fimlib.figures.records import Run
from fimlib.figures.seed_run import SeedResult, SeedRun, draw_masks
from fimlib.figures.units import Work, fixed_threads, progress_bars

__all__ = ["PARTS", "SeedResult", "draw_masks", "protocol_for", "run", "split"]

_KEPT_EVALUATION = 2000  # evaluation points in the last layer kept with a record
_NOTES = {
    "embedded": "the 80 training digits are balanced, 8 a class; the paper's are not",
    "mnist": "the paper's 80 training digits (10,13,9,6,9,7,4,3,9,10 of 0..9)",
}


def run(
    data: str, seeds: Sequence[int] = (0,), out: str | Path | None = None,
    eval_size: int | None = None, *, work: str | Path = "runs", progress: bool = True,
    **settings: Any,
) -> Path:  # fmt: skip
    """Make the record ``fig23-DATA.csv`` in folder ``out``; its path is returned.

    Units in folder ``work`` are not done again: a killed run goes on where it stopped,
    to the same bytes. ``settings`` replace fields of ``Protocol``. Beside the record go
    the first seed's weights (embedded) or last layer (mnist), from which the book
    computes. Raises ValueError, before anything is computed, for an ``out`` whose
    record is of another protocol or holds other seeds.
    """
    seeds = checked_seeds(seeds)
    if eval_size is not None:
        settings["eval_size"] = eval_size
    protocol = protocol_for(data, **settings)
    digits = data_sets.load(data)
    path = Path(out or "figures/data") / f"fig23-{data}.csv"
    numbers = dataclasses.asdict(protocol)
    records.check_replaceable(path, {"seeds": seeds}, protocol=numbers)
    bars = progress_bars(progress)
    folder = work_folder(work, digits, protocol)
    with fixed_threads(protocol.threads):
        results = [
            SeedRun(digits, seed, protocol, Work(folder / str(seed)), bars).result()
            for seed in seeds
        ]
    columns = records.joined([result.columns for result in results])
    _write_beside(path, data, results[0])
    about = {
        **describe(digits, seeds, protocol),
        "columns": scores.describe_columns(),
        "models": [result.model for result in results],
        "seconds": [_rounded(result.seconds) for result in results],
        "wall_seconds": round(sum(sum(r.seconds.values()) for r in results), 1),
    }
    return records.write_record(path, columns, about)


def weights_path(path: str | Path) -> Path:
    """Where the weights behind the record ``NAME.csv`` lie: ``NAME-weights.npz``."""
    return Path(path).with_name(f"{Path(path).stem}-weights.npz")


def layer_path(path: str | Path) -> Path:
    """Where the last layer behind the record ``NAME.csv`` lies."""
    return Path(path).with_name(f"{Path(path).stem}-last-layer.npz")


def _write_beside(path: str | Path, data: str, result: SeedResult) -> None:
    if data == "embedded":  # its images come with a package, so the weights suffice
        records.write_npz(weights_path(path), **result.weights)
        return
    layer = {name: array for name, array in result.layer.items() if name != "seconds"}
    for name in ("evaluation/features", "evaluation/logits"):
        layer[name] = layer[name][:_KEPT_EVALUATION]
    records.write_npz(layer_path(path), **layer)


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be distinct and not negative, got {seeds}")
    return seeds


def work_folder(work: str | Path, digits: Digits, protocol: Protocol) -> Path:
    """A folder that only runs of equal data, protocol and torch share."""
    key = f"{digits.digest} {protocol} {torch.__version__}".encode()
    return Path(work) / f"fig23-{digits.name}-{records.sha256(key)[:8]}"


def describe(
    digits: Digits, seeds: Sequence[int], protocol: Protocol, experiment: str = "fig23"
) -> Run:
    """What stands in the ``.run.json`` of any record of an experiment on fig23's seeds.

    Nothing in it names the machine.
    """
    return {
        "experiment": experiment,
        "command": _command(digits.name, seeds, protocol, experiment),
        "data": {
            "name": digits.name,
            "source": digits.source,
            "sha256": digits.digest,
            "note": _NOTES[digits.name],
        },
        "seeds": list(seeds),
        "protocol": dataclasses.asdict(protocol),
        **records.environment(protocol.threads),
    }


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {stage: round(value, 1) for stage, value in seconds.items()}


def _command(
    data: str, seeds: Sequence[int], protocol: Protocol, experiment: str = "fig23"
) -> str:
    words = ["fimlib", "run", experiment, "--data", data]
    if len(seeds) > 1 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        words += ["--seeds", f"{seeds[0]}..{seeds[-1]}"]
    elif seeds != (0,):
        words += ["--seeds", ",".join(map(str, seeds))]
    if protocol.eval_size != protocol_for(data).eval_size:
        words += ["--eval-size", str(protocol.eval_size)]
    return " ".join(words)

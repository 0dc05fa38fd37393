"""The run behind Figures 2 and 3: one small network, every score of 1000 pool digits.

Protocol of Kirsch and Gal (2022), "Unifying approaches in active learning and active
sampling via Fisher information and information-theoretic quantities", as its public
code (github.com/BlackHC/2208.00549) has it: 80 training digits, a dropout network, and
then information scores in weight space and in prediction space for the same pool.
"""

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from fimlib import records
from fimlib.experiments import data as data_sets
from fimlib.experiments import network, scores, training
from fimlib.experiments.units import Work, stream

PARTS = ("train", "validation", "pool", "evaluation", "test")
_EVAL_CHUNK = 2000  # evaluation points in one unit of Monte-Carlo samples


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


_VALIDATION = {"embedded": 500, "mnist": 1000}
_NOTES = {
    "embedded": "the 80 training digits are balanced, 8 a class; the paper's are not",
    "mnist": "the paper's 80 training digits (10,13,9,6,9,7,4,3,9,10 of 0..9)",
}


def protocol_for(data, **settings):
    """The protocol of data set ``data`` with ``settings`` put in its place."""
    known = {field.name for field in dataclasses.fields(Protocol)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"no setting {unknown[0]!r}; there are {', '.join(known)}")
    size = _VALIDATION.get(data, Protocol.validation_size)
    return Protocol(**{"validation_size": size, **settings})


def split(digits, seed=0, protocol=None):
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


def _take(digits, indices, size, seed):
    """``size`` of the indices, and the others: stratified where the set is small."""
    if digits.name == "mnist":  # the published draws are plain random ones
        order = np.random.default_rng([seed, len(indices)]).permutation(indices)
        return order[:size], np.sort(order[size:])
    from sklearn.model_selection import train_test_split

    labels = digits.labels[indices]
    return train_test_split(
        indices, train_size=size, stratify=labels, random_state=seed
    )


def _split_embedded(digits, protocol):
    everything = np.arange(len(digits.labels))
    train, rest = _take(digits, everything, protocol.train_size, 0)
    validation, rest = _take(digits, rest, protocol.validation_size, 0)
    return train, validation, rest


def _split_mnist(digits, protocol):
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


def run(
    data,
    seeds=(0,),
    out=None,
    eval_size=None,
    *,
    work="runs",
    progress=True,
    **settings,
):
    """Make the record ``fig23-DATA.csv`` in folder ``out``; its path is returned.

    Finished units in folder ``work`` are not done again, so a killed run goes on where
    it stopped, to the same bytes. ``settings`` replace fields of ``Protocol``. The
    weights of the first seed go beside the record of the embedded set, for the book.
    """
    seeds = _checked_seeds(seeds)
    if eval_size is not None:
        settings["eval_size"] = eval_size
    protocol = protocol_for(data, **settings)
    digits = data_sets.load(data)
    bars = _progress(progress)
    folder = _work_folder(work, digits, protocol)
    with _threads(protocol.threads):
        results = [
            _run_seed(digits, seed, protocol, Work(folder / str(seed)), bars)
            for seed in seeds
        ]
    columns = {
        name: np.concatenate([result.columns[name] for result in results])
        for name in results[0].columns
    }
    path = Path(out or "figures/data") / f"fig23-{data}.csv"
    if data == "embedded":
        records.write_npz(weights_path(path), **results[0].weights)
    about = _describe(digits, seeds, protocol, results)
    return records.write_record(path, columns, about)


def weights_path(path):
    """Where the weights behind the record ``NAME.csv`` lie: ``NAME-weights.npz``."""
    return Path(path).with_name(f"{Path(path).stem}-weights.npz")


@dataclass(frozen=True)
class SeedResult:
    """Columns and weights of one seed (name to array), its model's numbers, seconds."""

    columns: dict
    weights: dict
    model: dict
    seconds: float


def _run_seed(digits, seed, protocol, work, bars):
    parts = split(digits, seed, protocol)
    inputs = {part: network.prepare(digits.images[parts[part]]) for part in PARTS}
    labels = {part: torch.from_numpy(digits.labels[parts[part]]) for part in PARTS}
    trained = work.unit(
        "train", lambda: _train(protocol, seed, inputs, labels, work, bars)
    )
    net = network.from_arrays(trained)
    tested = work.unit("test", lambda: _test(net, protocol, seed, inputs, labels))
    weight = work.unit("weight-space", lambda: _weight_space(net, inputs))
    pool = _mc_unit(net, protocol, seed, inputs["pool"], "mc-pool", work)
    evaluation = _mc_evaluation(net, protocol, seed, inputs["evaluation"], work, bars)
    predictive = work.unit(
        "prediction-space",
        lambda: scores.prediction_space(pool["log_probs"], evaluation["log_probs"]),
    )
    units = (trained, tested, weight, pool, evaluation, predictive)
    rows = {
        "seed": np.full(protocol.pool_size, seed),
        "pool_index": parts["pool"],
        "label": digits.labels[parts["pool"]],
    }
    rows.update((name, {**weight, **predictive}[name]) for name in scores.COLUMNS)
    model = _model_numbers(seed, trained, tested, weight)
    seconds = sum(float(unit["seconds"]) for unit in units)
    return SeedResult(rows, network.to_arrays(net), model, seconds)


def _train(protocol, seed, inputs, labels, work, bars):
    sets = [(inputs[part], labels[part]) for part in ("train", "validation")]
    return training.fit(training.Trainer(protocol, seed, *sets), work, bars)


def _test(net, protocol, seed, inputs, labels):
    sampled = training.mean_accuracy(
        net, inputs["test"], labels["test"], protocol.test_samples, stream(seed, "test")
    )
    numbers = {"test_accuracy": sampled[0], "test_cross_entropy": sampled[1]}
    for part in ("test", "train"):
        logits = network.features(net, inputs[part])[1].double()
        single = training.accuracy(logits.log_softmax(-1), labels[part])
        numbers[f"{part}_accuracy_single"] = single[0]
        numbers[f"{part}_cross_entropy_single"] = single[1]
    return {name: np.float64(value) for name, value in numbers.items()}


def _weight_space(net, inputs):
    parts = ("train", "pool", "evaluation")
    return scores.weight_space(net, *(inputs[part] for part in parts))


def draw_masks(protocol, seed):
    """The dropout masks of a run: the same for pool and evaluation."""
    return network.draw_masks(protocol.mc_samples, stream(seed, "masks"))


def _mc_unit(net, protocol, seed, inputs, name, work):
    def compute():
        samples = network.mc_log_probs(net, inputs, draw_masks(protocol, seed))
        return {"log_probs": samples.numpy()}

    return work.unit(name, compute)


def _mc_evaluation(net, protocol, seed, inputs, work, bars):
    blocks = inputs.split(_EVAL_CHUNK)
    units = []
    with bars("evaluation samples", len(blocks), 0) as bar:
        for number, block in enumerate(blocks):
            name = f"mc-evaluation-{number:03d}"
            units.append(_mc_unit(net, protocol, seed, block, name, work))
            bar.update()
    return {
        "log_probs": np.concatenate([unit["log_probs"] for unit in units]),
        "seconds": sum(unit["seconds"] for unit in units),
    }


def _model_numbers(seed, trained, tested, weight):
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


def _checked_seeds(seeds):
    seeds = tuple(int(seed) for seed in seeds)
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be distinct and not negative, got {seeds}")
    return seeds


def _work_folder(work, digits, protocol):
    """A folder that only runs of equal data, protocol and torch share."""
    key = f"{digits.digest} {protocol} {torch.__version__}".encode()
    return Path(work) / f"fig23-{digits.name}-{records.sha256(key)[:8]}"


@contextlib.contextmanager
def _threads(count):
    """A fixed number of threads: sums are split, and so rounded, the same way."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _progress(shown):
    def bar(description, total, initial):
        return tqdm(
            desc=description,
            total=total,
            initial=initial,
            disable=not shown,
            leave=False,
        )

    return bar


def _describe(digits, seeds, protocol, results):
    """What stands in ``fig23-DATA.run.json``; nothing in it names this machine."""
    return {
        "experiment": "fig23",
        "command": _command(digits.name, seeds, protocol),
        "data": {
            "name": digits.name,
            "source": digits.source,
            "sha256": digits.digest,
            "note": _NOTES[digits.name],
        },
        "seeds": list(seeds),
        "protocol": dataclasses.asdict(protocol),
        "columns": scores.describe_columns(),
        "models": [result.model for result in results],
        "wall_seconds": round(sum(result.seconds for result in results), 1),
        **records.environment(protocol.threads),
    }


def _command(data, seeds, protocol):
    words = ["fimlib", "run", "fig23", "--data", data]
    if len(seeds) > 1 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        words += ["--seeds", f"{seeds[0]}..{seeds[-1]}"]
    elif seeds != (0,):
        words += ["--seeds", ",".join(map(str, seeds))]
    if protocol.eval_size != Protocol.eval_size:
        words += ["--eval-size", str(protocol.eval_size)]
    return " ".join(words)

"""Smaller questions about Figures 2 and 3, each with a record of its own.

They start from the trained networks of ``fig23`` (and train them where that has not
been done), so a seed's unit of work is shared between the two.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fimlib import information, predictive
from fimlib.figures import data as data_sets
from fimlib.figures import fig23, network, ranking, records, scores, training
from fimlib.figures.agreement import spearman, spearman_within_top, top
from fimlib.figures.network import DropoutCNN, Masks
from fimlib.figures.records import Arrays
from fimlib.figures.seed_run import SeedRun
from fimlib.figures.units import Work, fixed_threads, progress_bars, stream

NAME = "fig23-studies"
Study = Callable[[SeedRun, "Settings", Work], Arrays]
_BLOCK = 100  # dropout samples in one unit of work


@dataclass(frozen=True)
class Settings:
    """What the studies depend on besides the protocol of the main run."""

    mc_seeds: tuple = (0, 2)  # bias and noise look at these alone: they cost minutes
    mc_samples: int = 1000
    mc_eval: int = 500
    levels: tuple = (20, 50, 100, 250, 500, 1000)  # samples an estimate uses
    jackknifed: int = 100
    epochs: tuple = (5, 10, 20, 30, 46, 60, 100)
    eval_sizes: tuple = (
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000,
    )  # fmt: skip
    pairwise_eval: int = 500
    revision: int = 1  # raised when the code changes what the numbers mean


def run(
    data: str, seeds: Sequence[int] = (0,), out: str | Path | None = None,
    eval_size: int | None = None, *, work: str | Path = "runs", progress: bool = True,
    settings: Settings | None = None, **protocol: Any,
) -> Path:  # fmt: skip
    """Make the records ``fig23-DATA-STUDY.csv`` in folder ``out``; the last one's path.

    The studies are bias and noise (of BALD and EPIG in the number of dropout samples),
    epochs (what stopping later changes), jepig (against the number of evaluation
    points) and pairwise (EPIG against EPIG upper). ``settings`` is a ``Settings``;
    other options are those of ``fig23.run``.
    """
    seeds = fig23.checked_seeds(seeds)
    settings = settings or Settings()
    _check_levels(settings)
    if eval_size is not None:
        protocol["eval_size"] = eval_size
    protocol = fig23.protocol_for(data, **protocol)
    digits = data_sets.load(data)
    folder = fig23.work_folder(work, digits, protocol)
    bars = progress_bars(progress)
    key = records.sha256(str(settings).encode())[:8]
    runs = {
        seed: SeedRun(digits, seed, protocol, Work(folder / str(seed)), bars)
        for seed in seeds
    }
    paths = {
        name: Path(out or "figures/data") / f"fig23-{data}-{name}.csv"
        for name in STUDIES
    }
    same = {"protocol": dataclasses.asdict(protocol)}
    same["settings"] = dataclasses.asdict(settings)
    for name, path in paths.items():
        own_seeds = _seeds_of(STUDIES[name], seeds, settings)
        records.check_replaceable(path, {"seeds": own_seeds}, **same)
    for name, path in paths.items():
        units, study = [], STUDIES[name]
        with fixed_threads(protocol.threads):
            for seed in _seeds_of(study, seeds, settings):
                own = Work(folder / str(seed) / f"studies-{key}")
                compute = functools.partial(study, runs[seed], settings, own)
                units.append(own.unit(name, compute))
        _write(path, units, fig23.describe(digits, seeds, protocol, NAME), settings)
    return path


def _seeds_of(study: Study, seeds: Sequence[int], settings: Settings) -> Sequence[int]:
    """The seeds a study looks at: the costly two take few of them."""
    if study not in (bias, noise):
        return seeds
    return [seed for seed in seeds if seed in settings.mc_seeds] or seeds[:1]


def _write(
    path: Path, units: list[Arrays], about: dict[str, Any], settings: Settings
) -> None:
    columns = records.joined(units)
    about["seeds"] = np.unique(columns["seed"]).tolist()
    about["settings"] = dataclasses.asdict(settings)
    seconds = sum(float(unit["seconds"]) for unit in units)
    records.write_record(path, columns, {**about, "wall_seconds": round(seconds, 1)})


def _check_levels(settings: Settings) -> None:
    """Every level fits an equal number of times into each half of the samples."""
    half = settings.mc_samples // 2
    for level in settings.levels:
        if level != settings.mc_samples and half % level:
            raise ValueError(f"levels must divide mc_samples / 2 = {half}, got {level}")


def _samples(main: SeedRun, settings: Settings, own: Work) -> list[Tensor]:
    """Log-probabilities (M,L,C) of the pool and (E,L,C) of some evaluation digits."""
    masks = network.draw_masks(settings.mc_samples, stream(main.seed, "study masks"))
    inputs = {
        "pool": main.inputs("pool"),
        "evaluation": main.inputs("evaluation")[: settings.mc_eval],
    }
    found = []
    for part, images in inputs.items():
        units = []
        for start in range(0, settings.mc_samples, _BLOCK):
            some = tuple(mask[start : start + _BLOCK] for mask in masks)
            compute = functools.partial(_mc_log_probs, main.net, images, some)
            units.append(own.unit(f"mc-{part}-{start:04d}", compute)["log_probs"])
        table = torch.from_numpy(np.concatenate(units, axis=1)).double()
        found.append(table.log_softmax(-1))
    return found


def _mc_log_probs(net: DropoutCNN, images: Tensor, masks: Masks) -> Arrays:
    return {"log_probs": network.mc_log_probs(net, images, masks).numpy()}


def _estimates(
    pool: Tensor, evaluation: Tensor, settings: Settings
) -> Iterator[tuple[str, int, int, Tensor]]:
    """(score, samples, block, values) of every estimate from disjoint samples."""
    for samples in settings.levels:
        for block in range(settings.mc_samples // samples):
            chosen = slice(block * samples, (block + 1) * samples)
            yield "bald", samples, block, predictive.bald(pool[:, chosen])
            pair = pool[:, chosen], evaluation[:, chosen]
            yield "epig", samples, block, predictive.epig(*pair)
    for block in range(2):
        samples = settings.jackknifed
        chosen = slice(block * samples, (block + 1) * samples)
        pair = pool[:, chosen], evaluation[:, chosen]
        values = predictive.bald(pair[0], jackknife=True)
        yield "bald_jackknife", samples, block, values
        values = predictive.epig(*pair, jackknife=True)
        yield "epig_jackknife", samples, block, values


def _estimated(
    main: SeedRun, settings: Settings, own: Work
) -> Iterator[tuple[str, int, int, np.ndarray]]:
    """All estimates of ``_estimates`` as one unit: the two studies below share it."""

    def compute() -> Arrays:
        tables = _samples(main, settings, own)
        return {
            f"{score}/{samples}/{block}": values.numpy()
            for score, samples, block, values in _estimates(*tables, settings)
        }

    unit = own.unit("estimates", compute)
    for key, values in unit.items():
        if key != "seconds":
            score, samples, block = key.split("/")
            yield score, int(samples), int(block), values


def bias(main: SeedRun, settings: Settings, own: Work) -> Arrays:
    """Mean of BALD and EPIG, and their agreement with weight space, by samples used."""
    against = {
        "bald": ("eig_log_det", "eig_trace"),
        "epig": ("epig_proxy_log_det", "epig_proxy_trace"),
    }
    weights = {
        name: ranking.higher_is_better(name, main.weight_space[name])
        for pair in against.values()
        for name in pair
    }
    rows = []
    for score, samples, block, values in _estimated(main, settings, own):
        row = {"score": score, "samples": samples, "block": block}
        row["mean"], row["median"] = values.mean(), np.median(values)
        for form, name in zip(
            ("log_det", "trace"), against[score.split("_")[0]], strict=True
        ):
            row[f"spearman_{form}"] = spearman(values, weights[name])
            for count in (500, 100, 50):
                row[f"top_{count}_{form}"] = spearman_within_top(
                    values, weights[name], count
                )
        rows.append(row)
    return records.columns_of(rows, seed=main.seed)


def noise(main: SeedRun, settings: Settings, own: Work) -> Arrays:
    """How well an estimate agrees with the next one and with the other half's.

    The other half are the samples among which the estimate's own are not: about as good
    as no noise at all.
    """
    found = {
        (score, samples, block): values
        for score, samples, block, values in _estimated(main, settings, own)
    }
    half = settings.mc_samples // 2
    rows = []
    for (score, samples, block), values in found.items():
        if "_" in score or samples > half:
            continue
        number = settings.mc_samples // samples
        other = found[score, half, int((block + 1) * samples <= half)]
        following = found[score, samples, (block + 1) % number]
        row = {"score": score, "samples": samples, "block": block}
        for name, reference in (("next", following), ("half", other)):
            row[f"{name}_spearman"] = spearman(values, reference)
            for count in (500, 100, 50):
                row[f"{name}_top_{count}"] = spearman_within_top(
                    values, reference, count
                )
        rows.append(row)
    return records.columns_of(rows, seed=main.seed)


def epochs(main: SeedRun, settings: Settings, own: Work) -> Arrays:
    """The same training run scored after other numbers of epochs, in place of the best.

    The one with ``stopped`` 1 is the network of the main run.
    """
    stopped = int(np.argmax(main.trained["history"][:, 0])) + 1
    counts = sorted({*settings.epochs, stopped})
    trainer, rows = main.trainer(), []
    pool, masks = main.inputs("pool"), fig23.draw_masks(main.protocol, main.seed)
    for number in range(counts[-1]):
        trainer.steps(number)
        if number + 1 not in counts:
            continue
        row = {"epochs": number + 1, "stopped": int(number + 1 == stopped)}
        rows.append(row | _snapshot(trainer, main, pool, masks))
    return records.columns_of(rows, seed=main.seed)


def _snapshot(
    trainer: training.Trainer, main: SeedRun, pool: Tensor, masks: Masks
) -> dict[str, Any]:
    inputs = {"train": trainer.train[0], "pool": pool}
    layer = scores.last_layer(trainer.net, inputs)
    post, roots = scores.posterior_of(layer), scores.roots_of(layer, "pool")
    found = {
        f"eig_{form}": information.eig(roots, post, form=form).numpy()
        for form in ("log_det", "trace")
    }
    samples = network.mc_log_probs(trainer.net, pool, masks).double()
    bald = predictive.bald(samples.log_softmax(-1)).numpy()
    logits = torch.from_numpy(layer["train/logits"]).double()
    single = network.features(trainer.net, trainer.validation[0])[1].double()
    log_det = found["eig_log_det"]
    row = {
        "prior_precision": post.prior_precision,
        "trace_fisher_train": float(
            scores.trace_fisher(scores.roots_of(layer, "train")).sum()
        ),
        "train_cross_entropy": training.accuracy(
            logits.log_softmax(-1), trainer.train[1]
        )[1],
        "validation_accuracy": training.accuracy(single, trainer.validation[1])[0],
        **{
            f"eig_log_det_{name}": np.quantile(log_det, level)
            for name, level in (("q25", 0.25), ("median", 0.5), ("q75", 0.75))
        },
        "eig_log_det_max": log_det.max(),
        "above_log_c": np.mean(log_det > np.log(network.NUM_CLASSES)),
        "bald_median": np.median(bald),
    }
    for form in ("log_det", "trace"):
        values = found[f"eig_{form}"]
        row[f"spearman_{form}"] = spearman(bald, values)
        row[f"top_100_{form}"] = spearman_within_top(bald, values, 100)
    return row


def jepig(main: SeedRun, settings: Settings, own: Work) -> Arrays:
    """JEPIG for the first E evaluation digits, E growing, against EIG and EPIG."""
    post = scores.posterior_of(main.layer)
    roots = scores.roots_of(main.layer, "pool")
    evaluation = scores.roots_of(main.layer, "evaluation")
    eig, epig = main.weight_space["eig_log_det"], main.prediction_space["epig"]
    rows = []
    for size in settings.eval_sizes:
        if size > len(evaluation):
            continue
        values = information.jepig(roots, evaluation[:size], post).numpy()
        ratio = values / eig
        rows.append({
            "eval_size": size,
            "spearman_eig": spearman(values, eig),
            "top_100_eig": spearman_within_top(eig, values, 100),
            "ratio_min": ratio.min(),
            "ratio_median": np.median(ratio),
            "spearman_epig": spearman(values, epig),
            "top_100_epig": spearman_within_top(epig, values, 100),
        })  # fmt: skip
    return records.columns_of(rows, seed=main.seed)


def pairwise(main: SeedRun, settings: Settings, own: Work) -> Arrays:
    """EPIG, the mean over evaluation digits, against EPIG upper and Monte Carlo."""
    post = scores.posterior_of(main.layer)
    roots = scores.roots_of(main.layer, "pool")
    some = scores.roots_of(main.layer, "evaluation")[: settings.pairwise_eval]
    exact = information.epig(roots, some, post).numpy()
    upper = information.epig_upper(roots, some, post).numpy()
    sampled = main.prediction_space["epig"]
    row = {
        "eval_size": len(some),
        "mean_pairwise": exact.mean(),
        "mean_upper": upper.mean(),
        "mean_sampled": sampled.mean(),
        "mean_log_det_eig": main.weight_space["eig_log_det"].mean(),
        "largest_ratio": np.max(exact / upper),
        "spearman_between": spearman(exact, upper),
        "top_100_shared": len(np.intersect1d(top(exact, 100), top(upper, 100))),
    }
    for name, values in (("pairwise", exact), ("upper", upper)):
        row[f"spearman_{name}"] = spearman(sampled, values)
        for count in (500, 100, 50):
            row[f"top_{count}_{name}"] = spearman_within_top(sampled, values, count)
    return records.columns_of([row], seed=main.seed)


STUDIES = {
    "jepig": jepig,
    "pairwise": pairwise,
    "epochs": epochs,
    "bias": bias,
    "noise": noise,
}

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
from fimlib.figures.network import Masks
from fimlib.figures.records import Arrays
from fimlib.figures.seed_run import SeedRun
from fimlib.figures.units import Work, fixed_threads, progress_bars, stream

NAME = "fig23-studies"
Study = Callable[[SeedRun, "Settings", Work], Arrays]
_COUNTS = (500, 100, 50)  # of the tops that are compared
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
    settings: Settings | None = None, **changes: Any,
) -> Path:  # fmt: skip
    """Make the records ``fig23-DATA-STUDY.csv`` in folder ``out``; the last one's path.

    bias and noise of BALD and EPIG in the number of dropout samples, epochs (what
    stopping later changes), jepig (against the number of evaluation points), pairwise
    (EPIG against EPIG upper). Other options are those of ``fig23.run``.
    """
    seeds = fig23.checked_seeds(seeds)
    settings = settings or Settings()
    _check_levels(settings)
    if eval_size is not None:
        changes["eval_size"] = eval_size
    protocol, digits = fig23.protocol_for(data, **changes), data_sets.load(data)
    folder = fig23.work_folder(work, digits, protocol)
    bars = progress_bars(progress)
    key = records.sha256(str(settings).encode())[:8]
    runs = {
        seed: SeedRun(digits, seed, protocol, Work(folder / str(seed)), bars)
        for seed in seeds
    }
    about = fig23.describe(digits, seeds, protocol, NAME)
    about["settings"] = dataclasses.asdict(settings)
    same = {part: about[part] for part in ("protocol", "settings")}
    paths = {n: Path(out or "figures/data") / f"fig23-{data}-{n}.csv" for n in STUDIES}
    for name, path in paths.items():
        of_study = _seeds_of(STUDIES[name], seeds, settings)
        records.check_replaceable(path, {"seeds": of_study}, **same)
    for name, path in paths.items():
        units, study = [], STUDIES[name]
        with fixed_threads(protocol.threads):
            for seed in _seeds_of(study, seeds, settings):
                own = Work(folder / str(seed) / f"studies-{key}")
                compute = functools.partial(study, runs[seed], settings, own)
                units.append(own.unit(name, compute))
        columns = records.joined(units)
        about["seeds"] = np.unique(columns["seed"]).tolist()
        about["wall_seconds"] = round(sum(float(unit["seconds"]) for unit in units), 1)
        records.write_record(path, columns, about)
    return path


def _seeds_of(study: Study, seeds: Sequence[int], settings: Settings) -> Sequence[int]:
    """The seeds a study looks at: the costly two take few of them."""
    if study not in (bias, noise):
        return seeds
    return [seed for seed in seeds if seed in settings.mc_seeds] or seeds[:1]


def _check_levels(settings: Settings) -> None:
    """Every level fits an equal number of times into each half of the samples."""
    half = settings.mc_samples // 2
    for level in settings.levels:
        if level != settings.mc_samples and half % level:
            raise ValueError(f"levels must divide mc_samples / 2 = {half}, got {level}")


def _samples(main: SeedRun, settings: Settings, own: Work) -> list[Tensor]:
    """Log-probabilities (M,L,C) of the pool and (E,L,C) of some evaluation digits."""
    masks = network.draw_masks(settings.mc_samples, stream(main.seed, "study masks"))
    found = []
    for part, most in (("pool", None), ("evaluation", settings.mc_eval)):
        images, units = main.inputs(part)[:most], []
        for start in range(0, settings.mc_samples, _BLOCK):
            some = tuple(mask[start : start + _BLOCK] for mask in masks)
            compute = functools.partial(main.log_probs, images, some)
            units.append(own.unit(f"mc-{part}-{start:04d}", compute)["log_probs"])
        table = torch.from_numpy(np.concatenate(units, axis=1)).double()
        found.append(table.log_softmax(-1))
    return found


def _estimates(
    pool: Tensor, evaluation: Tensor, settings: Settings
) -> Iterator[tuple[str, int, int, Tensor]]:
    """(score, samples, block, values) of every estimate from disjoint samples."""
    for samples in settings.levels:
        for block in range(settings.mc_samples // samples):
            some = slice(block * samples, (block + 1) * samples)
            yield "bald", samples, block, predictive.bald(pool[:, some])
            epig = predictive.epig(pool[:, some], evaluation[:, some])
            yield "epig", samples, block, epig
    samples = settings.jackknifed
    for block in range(2):
        some = slice(block * samples, (block + 1) * samples)
        bald = predictive.bald(pool[:, some], jackknife=True)
        yield "bald_jackknife", samples, block, bald
        epig = predictive.epig(pool[:, some], evaluation[:, some], jackknife=True)
        yield "epig_jackknife", samples, block, epig


def _estimated(
    main: SeedRun, settings: Settings, own: Work
) -> Iterator[tuple[str, int, int, np.ndarray]]:
    """All estimates of ``_estimates`` as one unit: the two studies below share it."""

    def compute() -> Arrays:
        pool, evaluation = _samples(main, settings, own)
        return {
            f"{score}/{samples}/{block}": values.numpy()
            for score, samples, block, values in _estimates(pool, evaluation, settings)
        }

    unit = own.unit("estimates", compute)
    for key, values in unit.items():
        if key != "seconds":
            score, samples, block = key.split("/")
            yield score, int(samples), int(block), values


def _agree(
    first: np.ndarray, second: np.ndarray, key: str, counts: Sequence[int] = _COUNTS
) -> dict[str, float]:
    """Spearman's correlation over all, and within the tops of the first; by keys."""
    found = {key.format("spearman"): spearman(first, second)}
    tops = {
        key.format(f"top_{n}"): spearman_within_top(first, second, n) for n in counts
    }
    return found | tops


def bias(main: SeedRun, settings: Settings, own: Work) -> Arrays:
    """Mean of BALD and EPIG, and their agreement with weight space, by samples used."""
    against = {
        "bald": ("eig_log_det", "eig_trace"),
        "epig": ("epig_proxy_log_det", "epig_proxy_trace"),
    }
    names = [name for pair in against.values() for name in pair]
    weights = {n: ranking.higher_is_better(n, main.weight_space[n]) for n in names}
    rows = []
    for score, samples, block, values in _estimated(main, settings, own):
        row: dict[str, Any] = {"score": score, "samples": samples, "block": block}
        row |= {"mean": values.mean(), "median": np.median(values)}
        forms = zip(("log_det", "trace"), against[score.split("_")[0]], strict=True)
        for form, name in forms:
            row |= _agree(values, weights[name], f"{{}}_{form}")
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
        row: dict[str, Any] = {"score": score, "samples": samples, "block": block}
        for name, reference in (("next", following), ("half", other)):
            row |= _agree(values, reference, f"{name}_{{}}")
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
    train = scores.roots_of(layer, "train")
    fitted = torch.from_numpy(layer["train/logits"]).double().log_softmax(-1)
    single = network.features(trainer.net, trainer.validation[0])[1].double()
    log_det = found["eig_log_det"]
    row = {
        "prior_precision": post.prior_precision,
        "trace_fisher_train": float(scores.trace_fisher(train).sum()),
        "train_cross_entropy": training.accuracy(fitted, trainer.train[1])[1],
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
        row |= _agree(bald, found[f"eig_{form}"], f"{{}}_{form}", (100,))
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
        row |= _agree(sampled, values, f"{{}}_{name}")
    return records.columns_of([row], seed=main.seed)


STUDIES = {
    "jepig": jepig,
    "pairwise": pairwise,
    "epochs": epochs,
    "bias": bias,
    "noise": noise,
}

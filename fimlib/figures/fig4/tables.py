"""Figure 4's numbers: improvements over uniform draws, with errors, from a record.

A split is one draw of everything: labelled set, pool, test set and networks. All
methods share it, so what is averaged over splits is a difference within a split, and
its error is that of paired differences.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from scipy.stats import t as student

from fimlib.figures.agreement import spearman
from fimlib.figures.fig4 import sets
from fimlib.figures.records import Arrays, Record, RecordError, Run, Table

NAMES = {
    "bald": "BALD", "batch-bald": "BatchBALD", "bait": "BAIT", "acs-fw": "ACS-FW",
    "core-set": "Core-Set", "badge": "BADGE", "lcmd": "LCMD",
}  # fmt: skip
FORMS = ("avg", "last")
_RESAMPLES = 2000


class Estimate(NamedTuple):
    """A mean, its standard error, and that error's degrees of freedom."""

    mean: float
    error: float
    freedom: float

    @property
    def margin(self) -> float:
        """Half the width of the 95 % interval, by Student's t."""
        return float(student.ppf(0.975, self.freedom) * self.error)

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.mean) > self.margin

    def __str__(self) -> str:
        """As "0.142 ± 0.012": the 95 % interval."""
        return f"{self.mean + 0.0:.3f} ± {self.margin:.3f}"


Estimates = tuple[Estimate, Estimate]  # white box, black box
Arms = tuple[np.ndarray, np.ndarray]  # likewise, or labels and what was measured there


def estimate(values: ArrayLike) -> Estimate:
    """Mean of values (S,) of S >= 2 splits, an `Estimate`.

    Raises ValueError for a single split, of which no error is known.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        raise ValueError(f"an error needs at least 2 splits, got {len(values)}")
    error = values.std(ddof=1) / len(values) ** 0.5
    return Estimate(float(values.mean()), float(error), len(values) - 1.0)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates; degrees of freedom by Satterthwaite's rule."""
    variances = np.array([one.error**2 for one in estimates])
    freedom = np.array([one.freedom for one in estimates])
    spread = (variances**2 / freedom).sum()
    return Estimate(
        float(np.mean([one.mean for one in estimates])),
        float(np.sqrt(variances.sum()) / len(variances)),
        float(variances.sum() ** 2 / spread if spread else freedom.sum()),
    )


def scores(record: Record, form: str = "avg") -> dict[tuple[str, ...], np.ndarray]:
    """Log RMSE (S,) of each (data, method, kernel), splits in ascending order.

    "avg": the mean over the steps after a first batch, as in the published caption;
    "last": the last step's. Raises ValueError for another form.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    kept = record["step"] >= (1 if form == "avg" else record["step"].max())
    columns = ("data", "method", "kernel", "split", "log_rmse")
    rows = zip(*(record[name][kept].tolist() for name in columns), strict=True)
    found: dict[tuple[str, ...], dict[int, list[float]]] = {}
    for *key, split, value in rows:
        found.setdefault(tuple(key), {}).setdefault(split, []).append(value)
    if len({tuple(sorted(of)) for of in found.values()}) > 1:
        raise RecordError(f"{record.name!r} has not the same splits for all methods")
    return {
        key: np.array([np.mean(of[split]) for split in sorted(of)])
        for key, of in found.items()
    }


def data_sets(record: Record) -> list[str]:
    """The names of the data sets, in the record's order."""
    return list(dict.fromkeys(record["data"].tolist()))


def methods(record: Record) -> list[str]:
    """The methods but for uniform draws, in the record's order."""
    found = dict.fromkeys(record["method"].tolist())
    return [name for name in found if name != "uniform"]


def curve(record: Record, data: str, method: str, kernel: str) -> Arms:
    """(labels, log RMSE) of a learning curve: the mean over splits, step by step."""
    mine = record.where("data", data).where("method", method).where("kernel", kernel)
    labels = np.unique(mine["labels"])
    return labels, np.array(
        [mine.where("labels", n)["log_rmse"].mean() for n in labels]
    )


def improvements(record: Record, form: str = "avg") -> dict[tuple[str, str], Arms]:
    """Log RMSE of uniform draws less that of a method, split by split.

    (data, method) to a pair of arrays (S,): white box, black box. Above 0 the method is
    better, by the factor exp(-improvement) in RMSE (T40).
    """
    found = scores(record, form)

    def improvement(data: str, method: str, kernel: str) -> np.ndarray:
        return found[data, "uniform", "none"] - found[data, method, kernel]

    return {
        (d, m): (improvement(d, m, "white-box"), improvement(d, m, "black-box"))
        for d in data_sets(record)
        for m in methods(record)
    }


def dots(record: Record, method: str, form: str = "avg") -> dict[str, Estimates]:
    """A panel's dots: data set to (white, black), each an `Estimate`."""
    found = improvements(record, form)
    pairs = {data: found[data, method] for data in data_sets(record)}
    return {data: (estimate(w), estimate(b)) for data, (w, b) in pairs.items()}


def star(record: Record, method: str, form: str = "avg") -> Estimates:
    """A panel's star, (white, black): the mean over the data sets.

    Its error is that of the splits alone: these sets are what the mean is of.
    """
    white, black = zip(*dots(record, method, form).values(), strict=True)
    return mean_of(white), mean_of(black)


def gaps(record: Record, method: str) -> dict[str, Estimate]:
    """Black box less white box, data set to `Estimate`: the height above the diagonal.

    Uniform draws cancel, so its error is smaller than those of the two improvements.
    """
    found = improvements(record)
    pairs = {data: found[data, method] for data in data_sets(record)}
    return {data: estimate(black - white) for data, (white, black) in pairs.items()}


def star_table(record: Record) -> Table:
    """A row a method: both improvements, their difference, and who wins where.

    "clearly" where the 95 % interval leaves out 0; "over sets": the difference's
    standard error if the data sets were drawn from many.
    """
    rows = []
    for method in methods(record):
        white, black = star(record, method)
        found = list(gaps(record, method).values())
        rows.append({
            "method": NAMES[method],
            "white box": white,
            "black box": black,
            "black - white": mean_of(found),
            "over sets": estimate([gap.mean for gap in found]).error,
            "black ahead": sum(gap.mean > 0 for gap in found),
            "clearly": sum(gap.clear and gap.mean > 0 for gap in found),
            "clearly behind": sum(gap.clear and gap.mean < 0 for gap in found),
        })  # fmt: skip
    return {key: [row[key] for row in rows] for key in rows[0]}


def win_counts(record: Record) -> dict[str, float]:
    """Over all dots: how many there are, above the diagonal, and clearly off it."""
    found = [gap for m in methods(record) for gap in gaps(record, m).values()]
    return {
        "dots": len(found),
        "black ahead": sum(gap.mean > 0 for gap in found),
        "black clearly ahead": sum(gap.clear and gap.mean > 0 for gap in found),
        "white clearly ahead": sum(gap.clear and gap.mean < 0 for gap in found),
        "median distance": float(np.median([abs(gap.mean) for gap in found])),
    }


def largest_share(record: Record, method: str) -> tuple[str, float]:
    """The data set that moves a white-box star the most, and its share of the star."""
    found = {d: white.mean for d, (white, _) in dots(record, method).items()}
    name = max(found, key=lambda data: found[data])
    return name, found[name] / sum(found.values())


def without(record: Record, name: str) -> Record:
    """The record without one data set."""
    keep = record["data"] != name
    rows = {column: values[keep] for column, values in record.columns.items()}
    return Record(record.name, rows, record.run)


def filled_share(run: Run) -> dict[tuple[str, str], float]:
    """(method, kernel) to the share of batches that had to be filled up."""
    found = {(cost["method"], cost["kernel"]): cost for cost in run["costs"]}
    return {
        arm: cost["filled_batches"] / cost["batches"] for arm, cost in found.items()
    }


def published_improvements(published: Arrays, kernel: str = "best") -> dict[str, float]:
    """Published white-box stars, of columns method and log RMSE: the improvements."""
    values = published[kernel].tolist()
    found = dict(zip(published["method"].tolist(), values, strict=True))
    uniform = found.pop("uniform")
    return {method: uniform - value for method, value in found.items()}


class Order(NamedTuple):
    """A rank correlation, and the middle 95 % of it over resampled data sets."""

    spearman: float
    low: float
    high: float


def order(
    record: Record, published: Arrays, kernel: str = "white-box", form: str = "avg"
) -> Order:
    """Spearman's correlation of our methods' stars with the published ones, an `Order`.

    Resampled are the data sets, with replacement: few, so the range is rough.
    """
    names, sets_ = methods(record), data_sets(record)
    theirs = [published_improvements(published)[name] for name in names]
    found = improvements(record, form)
    side = ("white-box", "black-box").index(kernel)
    ours = np.array([[found[d, name][side].mean() for name in names] for d in sets_])
    draw = np.random.default_rng(0)
    picked = draw.integers(len(ours), size=(_RESAMPLES, len(ours)))
    resampled = rankdata(ours[picked].mean(1), axis=1)
    among = np.corrcoef(rankdata(theirs), resampled)[0, 1:]
    low, high = np.quantile(among, (0.025, 0.975))
    return Order(spearman(theirs, ours.mean(0)), float(low), float(high))


def order_table(record: Record, published: Arrays) -> Table:
    """The stars beside the published white-box ones, best published method first."""
    theirs = published_improvements(published)
    shown = sorted(methods(record), key=lambda name: -theirs[name])
    stars = [star(record, name) for name in shown]
    return {
        "method": [NAMES[name] for name in shown],
        "published, white box": [theirs[name] for name in shown],
        "white box": [str(white) for white, _ in stars],
        "black box": [str(black) for _, black in stars],
    }


def pool_size(rows: int, protocol: dict[str, Any]) -> int:
    """How many examples a split's pool holds at first; ``protocol`` is the run's."""
    test = sets.published_test_size(rows)
    test = min(test, protocol["test"] or test)
    left = rows - protocol["initial"] - protocol["validation"] - test
    return min(left, protocol["pool"] or left)


def overlap_table(record: Record, batches: Arrays) -> Table:
    """Share of a first batch that both kernels choose, from the same labelled set.

    batches: "data/method/kernel/split" to indices (steps, K). A row a method: over data
    sets and splits, the lowest and highest set, and what random batches would share.
    """
    protocol, splits = record.run["protocol"], record.run["splits"]
    batch, names = protocol["batch"], data_sets(record)
    rows = {s["name"]: s["rows"] for s in record.run["sets"]}
    chance = np.mean([batch / pool_size(rows[data], protocol) for data in names])

    def share(data: str, method: str, split: int) -> float:
        white, black = (
            batches[f"{data}/{method}/{kernel}/{split}"][0]
            for kernel in ("white-box", "black-box")
        )
        return len(np.intersect1d(white, black)) / batch

    found: Table = {"method": [], "both choose": [], "least": [], "most": []}
    for method in methods(record):
        shares = [np.mean([share(d, method, split) for split in splits]) for d in names]
        found["method"].append(NAMES[method])
        found["both choose"].append(float(np.mean(shares)))
        found["least"].append(float(np.min(shares)))
        found["most"].append(float(np.max(shares)))
    return found | {"chance": [float(chance)] * len(found["method"])}


def cost_table(run: Run) -> Table:
    """Median seconds of one core: to train, and to choose one batch, by kernel."""
    costs = {(cost["method"], cost["kernel"]): cost for cost in run["costs"]}
    names = [name for name in run["methods"] if name != "uniform"]
    found: Table = {"method": ["uniform", *(NAMES[name] for name in names)]}
    for kernel in ("white-box", "black-box"):
        for label, column in (("train", "train_seconds"), ("choose", "select_seconds")):
            first = costs["uniform", "none"][column] if kernel == "white-box" else None
            own = [costs[name, kernel][column] for name in names]
            found[f"{label}, {kernel.replace('-', ' ')}"] = [first, *own]
    return found

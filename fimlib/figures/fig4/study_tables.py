"""The numbers of Figure 4's studies, from their records."""

import numpy as np

from fimlib.figures.fig4.tables import Estimate, estimate
from fimlib.figures.records import Record, Table

Curves = tuple[np.ndarray, np.ndarray, np.ndarray]


def _means(record: Record, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of ``batch`` and the mean of another column for each."""
    sizes = np.unique(record["batch"])
    return sizes, np.array([record.where("batch", n)[column].mean() for n in sizes])


def gains(record: Record, members: int) -> Curves:
    """(batch sizes, last example's gain, the same with a tenth of the noise), means."""
    record = _valued(record.where("members", members))
    batches, gain = _means(record, "gain")
    return batches, gain, _means(record, "gain_finer")[1]


def _valued(record: Record, noise: float | None = None) -> Record:
    """The rows at one noise, the least by default."""
    least = record["noise"].min()
    return record.where("noise", least if noise is None else noise)


def shares(record: Record, members: int, noise: float | None = None) -> Curves:
    """(batch sizes, share of the batch, share of its first L - 1 and random others).

    A share is (value - uniform) / (greedy - uniform): 0 for random examples, 1 for the
    batch that the valuing members choose themselves.
    """
    record = _valued(record.where("members", members), noise)
    above = record["greedy"] - record["uniform"]
    columns = {
        name: (record[name] - record["uniform"]) / above for name in ("value", "filled")
    }
    found = Record(record.name, record.columns | columns, record.run)
    batches, value = _means(found, "value")
    return batches, value, _means(found, "filled")[1]


def share_table(record: Record, noise: float | None = None) -> Table:
    """`shares` of whole batches: a row a number of members, a column a batch size."""
    found = {"members": np.unique(record["members"]).tolist()}
    rows = [shares(record, members, noise) for members in found["members"]]
    for k, size in enumerate(rows[0][0].tolist()):
        found[size] = [float(value[k]) for _, value, _ in rows]
    return found


def past_rank(record: Record) -> list[tuple[int, int, float, float]]:
    """Batches longer than L - 1: (members, batch, share as chosen, share as filled)."""
    return [
        (members, int(size), float(a), float(b))
        for members in np.unique(record["members"]).tolist()
        for size, a, b in zip(*shares(record, members), strict=True)
        if size > members - 1
    ]


def noise_table(record: Record) -> Table:
    """How a tenth of the noise changes the last example's gain, in nats.

    By log 10 = 2.303 within the rank L - 1: rows are members, columns batch sizes.
    """
    found = {"members": np.unique(record["members"]).tolist()}
    rows = [gains(record, members) for members in found["members"]]
    for k, size in enumerate(rows[0][0].tolist()):
        found[size] = [float(finer[k] - gain[k]) for _, gain, finer in rows]
    return found


def told_once(record: Record, kernel: str, method: str) -> tuple[np.ndarray, ...]:
    """(batch sizes, mean, least and most over data sets) of joint over summed nats.

    1 where nothing is told twice.
    """
    record = record.where("kernel", kernel).where("method", method)
    share = {"share": record["together"] / record["alone"]}
    shares = Record(record.name, record.columns | share, record.run)
    names = list(dict.fromkeys(record["data"].tolist()))
    found = [_means(shares.where("data", name), "share") for name in names]
    values = np.array([means for _, means in found])
    return found[0][0], values.mean(0), values.min(0), values.max(0)


def redundancy_table(record: Record, batch: int) -> Table:
    """A row a kernel and method: joint nats over greedy's, over the sum, nearness."""
    record, rows = record.where("batch", batch), []
    for kernel in ("white-box", "black-box"):
        mine = record.where("kernel", kernel)
        greedy = mine.where("method", "batch-bald")["together"]
        for method in ("bald", "uniform", "batch-bald"):
            one = mine.where("method", method)
            rows.append({
                "kernel": kernel.replace("-", " "),
                "batch": method,
                "joint / greedy": float(np.mean(one["together"] / greedy)),
                "joint / sum": float(np.mean(one["together"] / one["alone"])),
                "nearest": float(one["nearest"].mean()),
            })  # fmt: skip
    return {key: [row[key] for row in rows] for key in rows[0]}


def bald_improvements(record: Record, name: str) -> dict[int, Estimate]:
    """Size of a batch to BALD's improvement in the same split, labels being equal."""
    record = record.where("data", name)
    uniform = _by_split(record.where("method", "uniform"))
    mine = record.where("method", "bald")
    found = {}
    for size in np.unique(mine["batch"]).tolist():
        ours = _by_split(mine.where("batch", size))
        found[size] = estimate([uniform[split] - ours[split] for split in ours])
    return found


def _by_split(record: Record) -> dict[int, float]:
    return dict(zip(record["split"].tolist(), record["log_rmse"].tolist(), strict=True))


def bald_slope(record: Record, name: str) -> Estimate:
    """What a doubling of the batch does to BALD's improvement, an `Estimate`.

    The slope of a line through the sizes, in each split: uniform draws cancel.
    """
    mine = record.where("data", name).where("method", "bald")
    sizes = np.unique(mine["batch"])
    ours = [_by_split(mine.where("batch", size)) for size in sizes]
    return estimate([
        -np.polyfit(np.log2(sizes), [one[split] for one in ours], 1)[0]
        for split in ours[0]
    ])  # fmt: skip

"""Figure 4's sweep: units spread over processes or a cluster, kept one by one.

Whoever runs ``sweep`` writes every file. A worker gets a task (some splits of one data
set, method and kernel, trained in step) and returns arrays, so that a kill loses what
is being computed and nothing else, and workers need no shared disk.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fimlib.figures import records
from fimlib.figures.fig4 import sets
from fimlib.figures.fig4.choose import METHODS
from fimlib.figures.fig4.protocol import Protocol, arms, protocol_for
from fimlib.figures.fig4.unit import run_units
from fimlib.figures.records import Arrays, Run
from fimlib.figures.units import Work, progress_bars

Names = str | Sequence[str] | None
Seeds = Sequence[int] | None
Task = tuple[str, str, str, tuple[int, ...]]  # data, method, kernel, splits
BACKENDS = ("loky", "dask")
_CONNECT_SECONDS = 10
_TRAINING = {"black-box": 10, "white-box": 1, "none": 1}  # relative cost, for the order


class Unit(NamedTuple):
    """One data set, method, kernel and split."""

    data: str
    method: str
    kernel: str
    split: int

    def path(self) -> str:
        """What it is kept under."""
        return f"{self.data}/{self.method}/{self.kernel}/{self.split}"


def sweep(
    data: Names = None, seeds: Seeds = None, *, protocol: str = "reduced",
    methods: Names = None, backend: str = "loky", scheduler: str | None = None,
    jobs: int | None = None, together: int = 5, work: str | Path | None = None,
    out: str | Path | None = None, progress: bool = True, **settings: Any,
) -> Path:  # fmt: skip
    """Make the record ``fig4-PROTOCOL.csv`` in folder ``out``; its path is returned.

    data, methods, seeds: names, and numbers of splits; by default the protocol's.
    together: splits trained as one batched model. backend "dask" sends tasks to the
    scheduler at address ``scheduler``, or to a cluster of ``jobs`` processes of its
    own. Units in folder ``work`` are not done again. ``settings`` replace fields of
    ``Protocol``. Raises ValueError, before anything is written, for unknown names, for
    a ``work`` or ``out`` that holds another protocol, and where no scheduler answers.
    """
    from joblib import delayed

    plan = Plan(protocol_for(protocol, **settings), data, seeds, methods)
    _check_backend(backend, scheduler, jobs)
    work = Path(work or f"runs/fig4-{plan.protocol.name}")
    path = Path(out or "figures/data") / f"fig4-{plan.protocol.name}.csv"
    digests = {name: sets.load(name).digest for name in plan.data}
    records.check_replaceable(path, plan.holds(), protocol=plan.protocol.numbers())
    _check_folder(work, plan.protocol)
    store, call = Work(work), delayed(_run_task)
    missing = [unit for unit in plan.units() if not store.path(unit.path()).exists()]
    tasks = plan.tasks(missing, together)
    with _parallel(backend, scheduler, jobs, len(tasks)) as parallel:
        bars = progress_bars(progress)
        with bars("units", len(plan.units()), len(plan.units()) - len(missing)) as bar:
            calls = (call(task, digests[task[0]], plan.protocol) for task in tasks)
            for (name, method, kernel, _), found in parallel(calls):
                for split, arrays in found.items():
                    store.save(Unit(name, method, kernel, split).path(), **arrays)
                    bar.update()
    return _write(path, plan, store, digests)


class Plan:
    """What is asked for: a protocol, and the data sets, splits and methods of it."""

    def __init__(
        self, protocol: Protocol, data: Names, splits: Seeds, methods: Names
    ) -> None:
        self.protocol = protocol
        self.data = _named(data or protocol.data, sets.NAMES, "data set")
        self.methods = _named(methods or METHODS, METHODS, "method")
        self.splits = tuple(range(protocol.splits) if splits is None else splits)
        if not self.splits or min(self.splits) < 0:
            raise ValueError(f"seeds must be 0 or more, got {self.splits}")

    def holds(self) -> dict[str, list[Any]]:
        """What a record of it says that it holds."""
        names = ("data", "methods", "splits")
        return {name: list(getattr(self, name)) for name in names}

    def units(self) -> list[Unit]:
        """All of them, in the record's order."""
        return [
            Unit(data, method, kernel, split)
            for data in self.data
            for method, kernel in arms(self.methods)
            for split in self.splits
        ]

    def tasks(self, missing: list[Unit], together: int) -> list[Task]:
        """The units as (data, method, kernel, splits), the long ones first."""
        groups: dict[tuple[str, str, str], list[int]] = {}
        for unit in missing:
            groups.setdefault(unit[:3], []).append(unit.split)
        tasks = [
            (*key, tuple(splits[start : start + together]))
            for key, splits in groups.items()
            for start in range(0, len(splits), together)
        ]
        return sorted(tasks, key=lambda task: -_TRAINING[task[2]])


def _named(
    names: str | Sequence[str], known: Sequence[str], what: str
) -> tuple[str, ...]:
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}; there are {', '.join(known)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a {what} is named twice: {', '.join(names)}")
    return names


def _run_task(
    task: Task, digest: str, protocol: Protocol
) -> tuple[Task, dict[int, Arrays]]:
    name, method, kernel, splits = task
    return task, run_units(name, digest, method, kernel, splits, protocol)


def _check_folder(work: Path, protocol: Protocol) -> None:
    """The folder's protocol, written at its first use, must be this one."""
    ours = {**protocol.numbers(), "torch": torch.__version__}
    path = work / "protocol.json"
    if not path.exists():
        if work.exists() and any(work.iterdir()):
            raise ValueError(
                f"{work} is not empty and has no protocol.json: name another folder"
            )
        records.write_json(path, ours)
        return
    what = f"{work} is of another protocol"
    records.refuse_difference(records.read_json(path), ours, what, "folder")


def _check_backend(backend: str, scheduler: str | None, jobs: int | None) -> None:
    if backend not in BACKENDS:
        raise ValueError(f"no backend {backend!r}; there are {', '.join(BACKENDS)}")
    if scheduler is not None and backend != "dask":
        raise ValueError("a scheduler is for backend dask")
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")


@contextlib.contextmanager
def _parallel(
    backend: str, scheduler: str | None, jobs: int | None, count: int
) -> Iterator[Callable[..., Iterable[Any]]]:
    """What runs calls and yields their results as they come."""
    from joblib import Parallel, cpu_count, parallel_config

    jobs = jobs or cpu_count(only_physical_cores=False)
    options = {"return_as": "generator_unordered", "batch_size": 1}
    if not count:
        yield list
    elif backend == "loky":
        yield Parallel(n_jobs=min(jobs, count), backend="loky", **options)
    else:
        with _client(scheduler, jobs), parallel_config("dask"):
            yield Parallel(n_jobs=-1, **options)


@contextlib.contextmanager
def _client(scheduler: str | None, jobs: int) -> Iterator[Any]:
    """A Dask client: of the scheduler, or of a local cluster of ``jobs`` processes."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ValueError(
            "backend dask needs the package distributed: pip install 'fimlib[dask]'"
        ) from None
    if scheduler is None:
        options = {"threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(n_workers=jobs, **options) as local, Client(local) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"no Dask scheduler answers at {scheduler}: {why}") from None
    with client:
        yield client


def _write(path: Path, plan: Plan, store: Work, digests: dict[str, str]) -> Path:
    units = plan.units()
    found = [store.read(unit.path()) for unit in units]
    steps = np.arange(plan.protocol.steps + 1)
    columns = {
        name: np.repeat([getattr(unit, name) for unit in units], len(steps))
        for name in Unit._fields
    }
    columns["step"] = np.tile(steps, len(units))
    columns["labels"] = plan.protocol.initial + plan.protocol.batch * columns["step"]
    both = records.joined(found)
    columns |= {name: both[name] for name in ("log_rmse", "log_rmse_mean")}
    about = _describe(plan, units, found, digests)
    chosen = {u.path(): f["indices"] for u, f in zip(units, found, strict=True)}
    records.write_npz(batches_path(path), **chosen)
    return records.write_record(path, columns, about)


def batches_path(path: str | Path) -> Path:
    """Where the chosen examples behind the record ``NAME.csv`` lie."""
    return Path(path).with_name(f"{Path(path).stem}-batches.npz")


def _describe(
    plan: Plan, units: list[Unit], found: list[Arrays], digests: dict[str, str]
) -> Run:
    """What stands in the run.json: nothing in it names the machine."""
    data = []
    for name in plan.data:
        loaded = sets.load(name)
        rows, width = loaded.inputs.shape
        data.append({
            "name": name, "rows": rows, "columns": width, "source": loaded.source,
            "sha256": digests[name], "note": loaded.note,
        })  # fmt: skip
    costs = []
    for method, kernel in arms(plan.methods):
        pairs = zip(units, found, strict=True)
        mine = records.joined([f for u, f in pairs if u[1:3] == (method, kernel)])
        costs.append({
            "method": method,
            "kernel": kernel,
            "select_seconds": round(float(np.median(mine["select_seconds"])), 4),
            "train_seconds": round(float(np.median(mine["train_seconds"])), 4),
            "filled_batches": int(mine["filled"].sum()),
            "batches": mine["filled"].size,
        })  # fmt: skip
    seconds = ("train_seconds", "select_seconds")
    total = sum(float(f[name].sum()) for f in found for name in seconds)
    return {
        "experiment": "fig4",
        "command": f"fimlib run fig4 --protocol {plan.protocol.name}",
        "protocol": plan.protocol.numbers(),
        **plan.holds(),
        "sets": data,
        "costs": costs,
        "core_seconds": round(total, 1),
        **records.environment(plan.protocol.threads),
    }

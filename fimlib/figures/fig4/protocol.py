"""The protocols of Figure 4: every number that a run depends on, besides the data."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fimlib.figures.fig4.choose import KERNELS, METHODS
from fimlib.figures.fig4.mlp import Training
from fimlib.figures.fig4.sets import NAMES

REDUCED = ("fried", "poker", "diamonds", "protein", "sgemm", "kegg_undir", "sarcos")
EMBEDDED = ("fried", "poker")  # generated: no files, no network


@dataclass(frozen=True)
class Protocol:
    """One size of the experiment; the defaults are the published ones."""

    name: str
    data: tuple[str, ...] = NAMES
    splits: int = 5
    initial: int = 256
    validation: int = 1024
    pool: int | None = None  # at most; None: all that is left
    test: int | None = None  # at most; None: a fifth of the set
    steps: int = 16
    batch: int = 256
    members: int = 10  # of the black box; the white box is a single network
    hidden: tuple[int, ...] = (512, 512)
    epochs: int = 256
    minibatch: int = 256
    learning_rate: float = 0.375
    width: int = 512  # of a sketch, and of random features
    noise: float = 1e-3  # standard deviation sigma of the kernels' Gaussian process
    threads: int = 1  # the same bits on any number of cores
    revision: int = 1  # raised when the code changes what the numbers mean

    def training(self) -> Training:
        """How its networks are trained."""
        return Training(self.hidden, self.epochs, self.minibatch, self.learning_rate)

    def numbers(self) -> dict[str, Any]:
        """All fields on which a unit's numbers depend, as JSON has them."""
        found = dataclasses.asdict(self)
        found["hidden"] = list(self.hidden)
        return {k: v for k, v in found.items() if k not in ("name", "data", "splits")}


PROTOCOLS = {
    "full": Protocol("full"),
    "reduced": Protocol(
        "reduced", data=REDUCED, initial=128, validation=256, pool=8000, test=4000,
        steps=8, batch=64, hidden=(128, 128), epochs=64, minibatch=64,
    ),
    "demo": Protocol(
        "demo", data=EMBEDDED, splits=2, initial=64, validation=128, pool=2000,
        test=2000, steps=4, batch=32, hidden=(64, 64), epochs=32, minibatch=32,
        width=128,
    ),
}  # fmt: skip


def protocol_for(name: str, **settings: Any) -> Protocol:
    """The protocol of that name, with ``settings`` put in the place of its fields."""
    if name not in PROTOCOLS:
        raise ValueError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    known = {field.name for field in dataclasses.fields(Protocol)} - {"name"}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"no setting {unknown[0]!r}; there are {', '.join(known)}")
    return dataclasses.replace(PROTOCOLS[name], **settings)


def arms(methods: Sequence[str] = METHODS) -> tuple[tuple[str, str], ...]:
    """Pairs (method, kernel): uniform draws look at no kernel."""
    return tuple(
        (method, kernel)
        for method in methods
        for kernel in (("none",) if method == "uniform" else KERNELS)
    )

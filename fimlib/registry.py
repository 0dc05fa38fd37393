"""The registry of methods: each a choice of quantity, targets, matrix, form, optimiser.

`fimlib methods` prints it, the book's tables and its map of methods are made from it;
its rows are in methods.toml. Nothing here needs torch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

QUANTITIES = ("EIG", "IG", "EPIG", "PIG", "JEPIG", "JPIG", "CG", "CMI")
SPACES = ("prediction", "weight", "function", "similarity", "distance")
CODE, DERIVED = "from the authors' code", "derived"
LITERATURE = "from the literature, not checked here"
EVIDENCE = (CODE, DERIVED, LITERATURE)

# What the quantity is about, as published; "any" where the user says so.
TARGETS = ("none", "any", "pool", "pool and labelled", "query set", "holdout set")

_FILE = Path(__file__).with_name("methods.toml")
_DATA = tomllib.loads(_FILE.read_text(encoding="utf-8"))
# What stands for the posterior, and whether it remembers the training data.
PRIORS: dict[str, bool] = _DATA["priors"]
_WORDS: dict[str, Collection[str]] = {
    "quantities": QUANTITIES, "space": SPACES, "prior": PRIORS, "evidence": EVIDENCE,
    "targets": TARGETS,
}  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One method of data selection, as published, in the terms of this package.

    A word that is not of its list, such as `SPACES`, raises a ValueError.
    """

    name: str  #: as published
    #: what it estimates; () if no such reduction is known. CG is EIG, CMI is JEPIG,
    #: each given other data
    quantities: tuple[str, ...]
    space: str  #: where it works
    matrix: str  #: what stands for the Fisher information
    aggregation: str  #: how that becomes a number
    prior: str  #: what stands for the posterior
    labels: str  #: which labels it uses
    optimiser: str  #: how it comes to a batch
    reduction: str  #: how it comes down to the quantity, or why it does not
    claims: tuple[str, ...]  #: the ledger's entries about it
    source: str  #: a key of references.bib
    evidence: str  #: where this row comes from
    call: str = ""  #: the function of fimlib that computes it, or ""
    targets: str = "none"  #: which predictions it is about; none if about parameters

    def __post_init__(self) -> None:
        for field, known in _WORDS.items():
            value = getattr(self, field)
            words = value if isinstance(value, tuple) else (value,)
            if wrong := [word for word in words if word not in known]:
                wanted = ", ".join(known)
                raise ValueError(f"{field} must be of {wanted}, got {wrong[0]!r}")

    @property
    def quantity(self) -> str:
        """The quantities as text, "none" if there is none."""
        return ", ".join(self.quantities) or "none"

    @property
    def keeps_posterior(self) -> bool:
        """Whether the training data still counts when the method scores an example."""
        return PRIORS[self.prior]


def methods() -> tuple[Method, ...]:
    """Return every method of the registry, grouped by space, in the order of the map.

    >>> [m.name for m in methods() if m.quantities == ("JEPIG",)][:2]
    ['JEPIG (samples)', 'JEPIG log det']
    """
    return _METHODS


def find(name: str) -> Method:
    """Return the method of this name.

    Raises:
        ValueError: another name; the message lists all names.

    >>> find("BAIT").quantity, find("BAIT").call
    ('EPIG, JEPIG', 'fimlib.selection.bait')
    """
    found = {method.name: method for method in _METHODS}
    if name not in found:
        raise ValueError(f"name must be one of {', '.join(found)}, got {name!r}")
    return found[name]


def resolve(method: Method) -> Callable[..., Any] | None:
    """Return the function that `method.call` names, None if fimlib has none.

    >>> resolve(find("BALD")).__name__
    'bald'
    """
    module, _, name = method.call.rpartition(".")
    return getattr(import_module(module), name) if module else None


def records() -> list[dict[str, Any]]:
    """Return the registry as dictionaries, ready for JSON, with `keeps_posterior`.

    >>> records()[0]["name"], records()[0]["keeps_posterior"]
    ('BALD', True)
    """
    return [asdict(m) | {"keeps_posterior": m.keeps_posterior} for m in _METHODS]


def markdown(
    columns: Sequence[str] = ("name", "quantity", "matrix", "aggregation", "optimiser"),
) -> str:
    """Return a Markdown table of the methods' `columns`, whose sources are citations.

    >>> print(markdown(("name", "call"))[:22])
    | method | in fimlib |
    """
    rows = [[_HEADINGS.get(c, c) for c in columns]]
    rows += [[_cell(method, c) for c in columns] for method in _METHODS]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + ":---|" * len(columns), *lines[1:]])


_HEADINGS = {"name": "method", "quantity": "information", "call": "in fimlib"}


def _cell(method: Method, column: str) -> str:
    value = getattr(method, column)
    if column == "name":
        return f"{value} {{cite:p}}`{method.source}`"
    if column == "call":
        return f"`{value.removeprefix('fimlib.')}`" if value else ""
    return ", ".join(value) if isinstance(value, tuple) else str(value)


_METHODS = tuple(
    Method(**row | {key: tuple(row[key]) for key in ("quantities", "claims")})
    for row in _DATA["method"]
)

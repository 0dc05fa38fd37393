"""The form of a ledger entry, and the decorator that makes one from a derivation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HOLDS = "holds"
CONDITIONS = "holds with conditions"
CORRECTED = "corrected"


@dataclass(frozen=True)
class Claim:
    """One statement of the talk: what it says, what is true, how it is checked."""

    id: str
    title: str
    talk: str  # the statement as the talk has it (TeX in $...$)
    statement: str  # the precise statement
    assumptions: tuple[str, ...]
    verdict: str
    chapter: str  # docname of the chapter
    derive: Callable
    correction: str = ""  # what had to be put right, in a sentence
    labels: tuple[str, ...] = ()  # of the theorem and displays it stands behind


def claim(id, **fields):
    """Register a function that returns a `Derivation` as the ledger entry `id`."""

    def wrap(function):
        function.claim = Claim(id=id, derive=function, **fields)
        return function

    return wrap


def claims_of(module):
    """The claims that a derivations module defines, in the order of the file."""
    return [v.claim for v in vars(module).values() if hasattr(v, "claim")]

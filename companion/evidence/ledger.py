"""The form of a ledger entry, and the decorator that makes one from a derivation."""

from collections.abc import Callable
from dataclasses import dataclass

from companion.evidence import pages
from companion.proof import Check, Derivation

HOLDS = "holds"
CONDITIONS = "holds with conditions"
CORRECTED = "corrected"


@dataclass(frozen=True)
class Claim:
    """A statement of the talk: how it is checked, and what became of it.

    What is true stands once, in the theorem of the claim's chapter, and is read there.
    """

    id: str
    verdict: str
    labels: tuple[str, ...]  # of the theorem and displays it stands behind
    derive: Callable
    correction: str = ""  # what had to be put right, in a sentence

    @property
    def chapter(self):
        """Document name of the chapter, from the evidence's folder."""
        return pages.chapter(self.derive.__module__.split(".")[-2])

    @property
    def title(self):
        return pages.theorem(self.chapter, self.id)[0]

    @property
    def statement(self):
        """The theorem's text with its assumptions, as Markdown, displays unlabelled."""
        return pages.theorem(self.chapter, self.id)[1]


def claim(id, verdict, labels):
    """Register a function that returns a `Derivation` as the ledger entry `id`.

    `labels` are those of the theorem and the displays, with spaces between. The
    function's docstring is the correction, if anything had to be put right.
    """

    def wrap(function):
        correction = " ".join((function.__doc__ or "").split()).removesuffix(".")
        function.claim = Claim(id, verdict, tuple(labels.split()), function, correction)
        return function

    return wrap


def claims_of(module):
    """The claims that a derivations module defines, in the order of the file."""
    found = (getattr(v, "claim", None) for v in vars(module).values())
    return [c for c in found if isinstance(c, Claim)]


def evidence(steps, *items):
    """A claim's lines, then its checks and the wrong versions of either, together."""
    checks = [item for item in items if isinstance(item, Check)]
    return Derivation(steps, checks, [item for item in items if item not in checks])

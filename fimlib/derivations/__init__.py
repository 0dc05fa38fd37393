"""Derivations, one module a chapter; each claim a function that returns its steps."""

from importlib import import_module

MODULES = (
    "blr",
    "sylvester",
    "bald",
    "eig",
    "trace",
    "batch",
    "epig",
    "epig_upper",
    "bait",
)


def modules():
    """The derivation modules, in the order of the book."""
    return [import_module(f"fimlib.derivations.{name}") for name in MODULES]

"""Evidence, one folder a chapter; each claim a function that returns its steps."""

import pkgutil
from importlib import import_module


def modules():
    """Every module of the evidence."""
    found = pkgutil.walk_packages(__path__, f"{__name__}.")
    return [import_module(module.name) for module in found]

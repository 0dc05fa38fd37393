"""From scores or Fisher roots to a batch: a `Selection` in order of choice.

Every method returns `Selection(indices, gains)` with K indices into the pool. Names are
loaded on first use (PEP 562), so that the registry of methods needs no torch.
"""

import sys
from importlib import import_module
from inspect import isfunction
from types import ModuleType

from fimlib._checks import guarded

_HOMES = {
    "Selection": "result",
    "top_k": "top",
    "stochastic_top_k": "top",
    "greedy_log_det": "greedy",
    "log_det_mi": "mutual",
    "log_det_cg": "mutual",
    "log_det_cmi": "mutual",
    "badge": "badge",
    "bait": "bait",
    "max_dist": "distances",
    "k_means_pp": "distances",
    "lcmd": "distances",
    "frank_wolfe": "frank_wolfe",
    "k_dpp": "dpp",
    "batch_bald": "prediction",
}

__all__ = list(_HOMES)


class _Package(ModuleType):
    """A package whose functions keep their names where a submodule has the same."""

    def __setattr__(self, name, value):
        # An import of the submodule `badge` would hide the function `badge`.
        if not (isinstance(value, ModuleType) and name in _HOMES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'fimlib.selection' has no attribute {name!r}")
    value = getattr(import_module(f"fimlib.selection.{_HOMES[name]}"), name)
    globals()[name] = value = guarded(value) if isfunction(value) else value
    return value


def __dir__():
    return sorted(__all__)

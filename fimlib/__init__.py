"""Fisher information for active data selection: exact scores and batches.

Submodules are loaded on first use (PEP 562), so ``import fimlib`` costs nothing:
``fimlib.information.eig`` and ``from fimlib import information`` both work.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.2.0"

_SUBMODULES = (
    "linalg", "families", "blr", "fisher", "posterior", "information",
    "predictive", "similarity", "selection", "registry",
)  # fmt: skip
__all__ = ["__version__", *_SUBMODULES]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBMODULES:
        return import_module(f"fimlib.{name}")
    raise AttributeError(f"module 'fimlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""The runs behind the book's figures: data, networks, and recorded numbers."""

from importlib import import_module
from pathlib import Path
from typing import Any

NAMES = ("fig23", "fig23-studies", "fig4", "fig4-studies")
_MODULES = {"fig4-studies": "fig4.studies"}  # others have their own name


def run(name: str, data: str | None = None, **options: Any) -> Path:
    """Run experiment ``name`` and return the path of its record.

    ``data`` names its data set, None the embedded one. ``options`` (seeds, out, ...) go
    to the experiment's own ``run``.
    """
    if name not in NAMES:
        raise ValueError(f"no experiment {name!r}; there are {', '.join(NAMES)}")
    if data is None and not name.startswith("fig4"):  # whose protocol names its sets
        data = "embedded"
    module = _MODULES.get(name, name.replace("-", "_"))
    return import_module(f"{__name__}.{module}").run(data, **options)

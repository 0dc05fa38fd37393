"""The runs behind the book's figures: data, networks, and recorded numbers."""

from importlib import import_module

NAMES = ("fig23",)


def run(name, data="embedded", seeds=(0,), out=None):
    """Run experiment ``name`` and return the path of its record."""
    if name not in NAMES:
        raise ValueError(f"no experiment {name!r}; there are {', '.join(NAMES)}")
    return import_module(f"{__name__}.{name}").run(data, seeds=seeds, out=out)

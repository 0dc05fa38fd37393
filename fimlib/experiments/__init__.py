"""The runs behind the book's figures: data, networks, and recorded numbers."""

from importlib import import_module

NAMES = ("fig23", "fig23-studies")


def run(name, data="embedded", **options):
    """Run experiment ``name`` and return the path of its record.

    ``options`` (seeds, out, eval_size, ...) go to the experiment's own ``run``.
    """
    if name not in NAMES:
        raise ValueError(f"no experiment {name!r}; there are {', '.join(NAMES)}")
    module = name.replace("-", "_")
    return import_module(f"{__name__}.{module}").run(data, **options)

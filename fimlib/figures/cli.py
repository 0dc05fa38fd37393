"""``fimlib run``, ``figure``, ``data``: the commands that Figures 2, 3 and 4 add."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="2, 3, 4, top, map, ... or all")],
    out: Annotated[Path | None, typer.Option(help="folder (figures)")] = None,
) -> None:
    """Draw a figure again, from the recorded numbers or the registry of methods."""
    paths = []
    if name in ("map", "all"):
        from fimlib.figures.plots.map import map_of_methods

        paths += map_of_methods().write(Path(out or "figures") / "map-of-methods")
    if name != "map":
        from fimlib.figures import plots

        paths += plots.figure(name, out)
    for path in paths:
        typer.echo(path)


@app.command()
def run(
    name: Annotated[
        str, typer.Argument(help="fig23, fig4, fig23-studies or fig4-studies")
    ],
    data: Annotated[
        str | None, typer.Option(help="embedded, mnist; fig4: fried,poker,...")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="0, 0,2 or 0..4; of fig4, its splits")
    ] = None,
    eval_size: Annotated[int | None, typer.Option(help="evaluation points")] = None,
    out: Annotated[Path | None, typer.Option(help="folder (figures/data)")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="fig4: demo, reduced or full")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="fig4: bald,bait,...")] = None,
    backend: Annotated[str | None, typer.Option(help="fig4: loky or dask")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="fig4: the Dask scheduler's address")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="fig4: processes")] = None,
    work: Annotated[Path | None, typer.Option(help="folder of finished units")] = None,
) -> None:
    """Run an experiment; a killed run goes on where it stopped."""
    from fimlib import figures

    options = {
        "seeds": seeds if seeds is None else parse_seeds(seeds),
        "eval_size": eval_size,
        "out": out,
        "protocol": protocol,
        "methods": methods and tuple(methods.split(",")),
        "backend": backend,
        "scheduler": scheduler,
        "jobs": jobs,
        "work": work,
    }
    given = {key: value for key, value in options.items() if value is not None}
    if name.startswith("fig23"):
        _refuse(given, ("protocol", "methods", "backend", "scheduler", "jobs"), name)
    elif name.endswith("studies"):
        _refuse(given, ("eval_size", "methods", "backend", "scheduler", "jobs"), name)
    else:
        _refuse(given, ("eval_size",), name)
    typer.echo(figures.run(name, data=data, **given))


def _refuse(given: dict[str, Any], options: tuple[str, ...], name: str) -> None:
    for option in options:
        if option in given:
            raise ValueError(f"{name} has no --{option.replace('_', '-')}")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from "3", "0,2" or "0..4" (both ends included)."""
    try:
        if ".." in text:
            first, last = map(int, text.split(".."))
            chosen = tuple(range(first, last + 1))
        else:
            chosen = tuple(int(part) for part in text.split(","))
    except ValueError:
        chosen = ()
    if not chosen or min(chosen) < 0:
        raise ValueError(f"seeds must look like 3, 0,2 or 0..4, not {text!r}")
    return chosen


@app.command()
def data() -> None:
    """List the data sets, and where each was found."""
    from fimlib.figures import data
    from fimlib.figures.fig4 import sets

    for line in data.status() + sets.status():
        typer.echo(line)

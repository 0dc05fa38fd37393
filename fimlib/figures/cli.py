"""``fimlib run``, ``figure``, ``data``: the commands that Figures 2, 3 and 4 add."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

app = typer.Typer()


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="2, 3, 4, top, map, ... or all")],
    out: Annotated[Path | None, Option(help="folder (figures)")] = None,
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
        str, typer.Argument(help="fig23, fig4, fig23-studies, fig4-studies")
    ],
    data: Annotated[str | None, Option(help="embedded, mnist; fig4: fried,...")] = None,
    seeds: Annotated[str | None, Option(help="0, 0,2 or 0..4; fig4: splits")] = None,
    eval_size: Annotated[int | None, Option(help="evaluation points")] = None,
    out: Annotated[Path | None, Option(help="folder (figures/data)")] = None,
    protocol: Annotated[str | None, Option(help="fig4: demo, reduced, full")] = None,
    methods: Annotated[str | None, Option(help="fig4: bald,bait,...")] = None,
    backend: Annotated[str | None, Option(help="fig4: loky or dask")] = None,
    scheduler: Annotated[str | None, Option(help="fig4: Dask's address")] = None,
    jobs: Annotated[int | None, Option(help="fig4: processes")] = None,
    work: Annotated[Path | None, Option(help="folder of finished units")] = None,
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
    sweep = {"methods", "backend", "scheduler", "jobs"}
    foreign = {"eval_size"} if name.startswith("fig4") else {"protocol"} | sweep
    if name.endswith("studies"):
        foreign |= sweep
    for option in given:
        if option in foreign:
            raise ValueError(f"{name} has no --{option.replace('_', '-')}")
    typer.echo(figures.run(name, data=data, **given))


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

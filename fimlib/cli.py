"""``fimlib``: verify claims, draw figures, run experiments, look after data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fisher information for active data selection: the book's checks and runs.",
)


@app.command()
def verify(
    claims: Annotated[list[str] | None, typer.Argument(help="T9 T21 ...")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write this")] = None,
):
    """Check every claim, or the ones named; exit 1 if anything fails."""
    from rich.console import Console
    from rich.progress import Progress

    from fimlib import claims as ledger
    from fimlib import records

    chosen = ledger.select(claims or ())
    with Progress(transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(chosen))

        def progress(claim):
            bar.update(task, description=f"{claim.id} {claim.title}")
            bar.advance(task)

        record = ledger.verify([c.id for c in chosen], progress)
    _print_record(record)
    if json_file is not None:
        records.write_json(json_file, record)
    if any(c["status"] == "fail" for c in record["claims"]):
        raise typer.Exit(1)


_STATUS = {
    "pass": "[green]pass[/]",
    "fail": "[red]FAIL[/]",
    "no records": "[yellow]no records[/]",
}


def _print_record(record):
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("claim", "statement", "steps", "checks", "mutants", "verdict", "")
    failures = []
    for c in record["claims"]:
        table.add_row(
            c["id"],
            c["title"],
            str(len(c["steps"])),
            str(len(c["checks"])),
            f"{sum(m['rejected'] for m in c['mutants'])}/{len(c['mutants'])}",
            c["verdict"],
            _STATUS[c["status"]],
        )
        failures += _failures(c)
    console.print(table)
    for line in failures:
        console.print(line, style="red", markup=False)
    passed = sum(c["status"] == "pass" for c in record["claims"])
    total = len(record["claims"])
    console.print(f"{passed} of {total} claims pass, {record['seconds']} s")


def _failures(c):
    for i, s in enumerate(c["steps"], 1):
        if not s["ok"]:
            yield f"{c['id']} step {i} ({s['reason']}): {s['detail']}"
    for s in c["checks"]:
        if s.get("absent"):
            yield f"{c['id']} not decided: {s['name']}: {s['detail']}"
        elif not s["ok"]:
            yield f"{c['id']} check {s['name']}: {s['detail']}"
    for m in c["mutants"]:
        if not m["rejected"] and not m.get("absent"):
            yield f"{c['id']} mutant not rejected: {m['name']}"


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="2, 3, 4, top, map, ... or all")],
    out: Annotated[Path | None, typer.Option(help="folder (figures)")] = None,
):
    """Draw a figure again, from the recorded numbers or the registry of methods."""
    paths = []
    if name in ("map", "all"):
        from fimlib.illustrations.lens import map_of_methods

        paths += map_of_methods().write(Path(out or "figures") / "map-of-methods")
    if name != "map":
        from fimlib import plotting

        paths += plotting.figure(name, out)
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
):
    """Run an experiment; a killed run goes on where it stopped."""
    from fimlib import experiments

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
    typer.echo(experiments.run(name, data=data, **given))


def _refuse(given, options, name):
    for option in options:
        if option in given:
            raise ValueError(f"{name} has no --{option.replace('_', '-')}")


def parse_seeds(text):
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
def data():
    """List the data sets, and where each was found."""
    from fimlib.experiments import data
    from fimlib.experiments.fig4 import sets

    for line in data.status() + sets.status():
        typer.echo(line)


@app.command()
def methods(
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
):
    """List the methods of data selection: what each estimates, and how."""
    import json

    from fimlib.selection import registry

    if as_json:
        typer.echo(json.dumps(registry.records(), indent=2, ensure_ascii=False))
    else:
        _print_methods(registry.methods())


def _print_methods(found):
    from rich.console import Console
    from rich.table import Table

    rows = [("method", "information", "space", "matrix", "form", "optimiser", "call")]
    rows += [
        (m.name, m.quantity, m.space, m.matrix, m.aggregation, m.optimiser,
         m.call.removeprefix("fimlib."))
        for m in found
    ]  # fmt: skip
    console = Console()
    if console.is_terminal:
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def main():
    """Entry point: an expected error is one line and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        typer.echo(f"fimlib: {error}", err=True)
        raise SystemExit(2) from None

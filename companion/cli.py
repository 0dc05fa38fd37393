"""``fimlib verify``: the command that the book adds to the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def verify(
    claims: Annotated[list[str] | None, typer.Argument(help="T9 T21 ...")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write this")] = None,
):
    """Check every claim, or the ones named; exit 1 if anything fails."""
    from rich.console import Console
    from rich.progress import Progress

    from companion import claims as ledger
    from fimlib.figures import records

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

"""``fimlib``: the shell. Packages add commands to it by the entry point below."""

import json
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from fimlib import registry

COMMANDS = "fimlib.commands"  # entry points that are Typer apps
# Heading -> field, of the table of methods.
_COLUMNS = {
    "method": "name", "information": "quantity", "targets": "targets", "space": "space",
    "matrix": "matrix", "form": "aggregation", "optimiser": "optimiser", "call": "call",
}  # fmt: skip
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fisher information for active data selection.",
)


@app.command()
def methods(
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """List the methods of data selection: what each estimates, and how."""
    if as_json:
        typer.echo(json.dumps(registry.records(), indent=2, ensure_ascii=False))
    else:
        _print_methods()


def _print_methods() -> None:
    """A table on a terminal, plain columns elsewhere."""
    rows = [tuple(_COLUMNS)]
    for method in registry.methods():
        cells = (str(getattr(method, field)) for field in _COLUMNS.values())
        rows.append(tuple(cell.removeprefix("fimlib.") for cell in cells))
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def no_book(
    claims: Annotated[list[str] | None, typer.Argument(help="T9 T21 ...")] = None,
) -> None:
    """Check the book's claims (where its repository is installed)."""
    raise ValueError(
        "verify checks the book's derivations, which are in its repository and not in "
        "this package: get the sources, then `make verify` there"
    )


def assembled() -> typer.Typer:
    """The shell with the commands of every installed package."""
    found = entry_points(group=COMMANDS)
    for point in found:
        app.add_typer(point.load())
    if "book" not in found.names:
        app.command("verify")(no_book)
    return app


def main() -> None:
    """Entry point: an expected error is one line and exit code 2."""
    try:
        assembled()()
    except (ValueError, OSError) as error:
        typer.echo(f"fimlib: {error}", err=True)
        raise SystemExit(2) from None

"""The book's figures, drawn from records: the same bytes for the same record."""

from collections.abc import Callable, Iterable
from pathlib import Path

from fimlib.figures import ranking, records
from fimlib.figures.plots import fig4, fig23
from fimlib.figures.plots.style import Drawing, drawing
from fimlib.figures.records import Record

DATA_SETS = {"mnist": "MNIST", "embedded": "the embedded 5,000 digits"}
PROTOCOLS = ("full", "reduced", "demo")  # of Figure 4's sweep


class FigureError(ValueError):
    """A figure is unknown, or the records to draw it from are missing."""


def figure(
    name: str, out: str | Path | None = None, data: str | Path | None = None
) -> list[Path]:
    """Draw figure ``name`` from every record there is; paths of the files written.

    "all" is every figure. out is the folder of the files (figures), data that of the
    records (figures/data). Raises FigureError for another name, and where there is no
    record to draw from.
    """
    if name == "all":
        return [path for each in names() for path in figure(each, out, data)]
    folder = Path(data or "figures/data")
    stem, record, keys, run = _source(str(name))
    paths = {stem.format(key): folder / record.format(key) for key in keys}
    found = {own: path for own, path in paths.items() if path.exists()}
    if not found:
        raise FigureError(
            f"no {record.format('*')} in {folder}: call from the repository's root, or "
            f"make one with `fimlib run {run}`"
        )
    written = []
    for own, path in found.items():
        drawing = draw(name, records.read_record(path))
        written += drawing.write(Path(out or "figures") / own)
    return written


def names() -> list[str]:
    """Every figure that is drawn from records."""
    return [*fig23.FIGURES, *fig4.FIGURES]


def _source(name: str) -> tuple[str, str, Iterable[str], str]:
    """The names of files and records, with {} for each key, and what makes a record."""
    _, study = _drawer(name)
    if name in fig4.FIGURES and study:
        return f"fig{name}", f"fig4-{study}.csv", ("",), "fig4-studies"
    if name in fig4.FIGURES:
        return f"fig{name}-{{}}", "fig4-{}.csv", PROTOCOLS, "fig4"
    stem = f"fig{name}-{{}}" if name[0].isdigit() else f"fig23-{name}-{{}}"
    if study:
        run = "fig23-studies --data mnist"
        return stem, f"fig23-{{}}-{study}.csv", DATA_SETS, run
    return stem, "fig23-{}.csv", DATA_SETS, "fig23"


def draw(name: str, *found: Record) -> Drawing:
    """The ``Drawing`` of figure ``name`` from records of one run.

    Several records hold different seeds of the run. RecordError, which names the
    difference, if their data or their protocols are not the same.
    """
    drawer, _ = _drawer(name)
    record = ranking.merged(*found)
    return drawing(lambda canvas: drawer(canvas, record))


def _drawer(name: str) -> tuple[Callable[..., None], str]:
    """The function that draws, and the study whose record it draws from."""
    figures = {**fig23.FIGURES, **fig4.FIGURES}
    if str(name) not in figures:
        raise FigureError(f"no figure {name!r}; there are {', '.join(figures)} and all")
    return figures[str(name)]

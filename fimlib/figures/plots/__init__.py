"""The book's figures, drawn from records: the same bytes for the same record."""

from collections.abc import Callable
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
    found = {s: path for s, path in _files(name, folder).items() if path.exists()}
    if not found:
        raise FigureError(_missing(name, folder))
    written = []
    for stem, path in found.items():
        drawing = draw(name, records.read_record(path))
        written += drawing.write(Path(out or "figures") / stem)
    return written


def names() -> list[str]:
    """Every figure that is drawn from records."""
    return [*fig23.FIGURES, *fig4.FIGURES]


def _files(name: str, folder: Path) -> dict[str, Path]:
    """Stem of the files to write, and the record that each is drawn from."""
    _, study = _drawer(name)
    if _of_figure_4(name):
        if study:
            return {f"fig{name}": folder / f"fig4-{study}.csv"}
        return {f"fig{name}-{key}": folder / f"fig4-{key}.csv" for key in PROTOCOLS}
    stem = f"fig{name}" if str(name)[0].isdigit() else f"fig23-{name}"
    return {f"{stem}-{key}": _record_path(key, study, folder) for key in DATA_SETS}


def _missing(name: str, folder: Path) -> str:
    _, study = _drawer(name)
    if _of_figure_4(name):
        sample, run = f"fig4-{study or '*'}.csv", "fig4-studies" if study else "fig4"
    else:
        sample = _record_path("*", study, folder).name
        run = "fig23-studies --data mnist" if study else "fig23"
    return (
        f"no {sample} in {folder}: call from the repository's root, or make one with "
        f"`fimlib run {run}`"
    )


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


def _of_figure_4(name: str) -> bool:
    return str(name) in fig4.FIGURES


def _record_path(key: str, study: str, folder: Path) -> Path:
    name = f"fig23-{key}-{study}.csv" if study else f"fig23-{key}.csv"
    return folder / name

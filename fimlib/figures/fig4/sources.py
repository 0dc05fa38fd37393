"""Where the regression sets of Figure 4 are published, and how a table is prepared.

Identifiers, targets and preparation: the benchmark of arXiv:2203.09410.
"""

import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fimlib.figures.data import openml

MAX_TRAINABLE, MAX_TEST = 200_000, 300_000  # rows to train, validate, choose; to test
_MAX_ONE_HOT = 300  # columns, over all categories
_UCI = "https://archive.ics.uci.edu/static/public"
_UCI_FILES = "https://archive.ics.uci.edu/ml/machine-learning-databases"


class OpenML(NamedTuple):
    """A table of openml.org, the name of its target, and columns left out."""

    id: int
    target: str
    ignore: tuple[str, ...] = ()
    on_first_use: str = "fetched and cached on first use"

    def __str__(self) -> str:
        return f"OpenML {self.id}"

    def fetch(self) -> tuple[Any, np.ndarray]:
        """The inputs as a data frame and the targets (n,)."""
        table = openml(self.id, as_frame=True).frame
        targets = table[self.target].to_numpy(np.float32)
        return table.drop(columns=[self.target, *self.ignore]), targets


class Table(NamedTuple):
    """A text table at a URL, a file of that name in an archive, or a .mat matrix.

    The target is the median of the columns ``target``, or its logarithm.
    """

    url: str
    file: str
    target: tuple[int, ...]
    ignore: tuple[int, ...] = ()
    header: int | None = None
    separator: str = ","
    log: bool = False
    on_first_use: str = "fetched and cached on first use"

    def __str__(self) -> str:
        return self.url

    def fetch(self) -> tuple[Any, np.ndarray]:
        """The inputs as a data frame and the targets (n,)."""
        import pooch

        with tempfile.TemporaryDirectory() as folder:
            name = Path(self.url).name
            path = Path(pooch.retrieve(self.url, None, name, folder))
            table = self._read(path)
        targets = table.iloc[:, list(self.target)].to_numpy(np.float32)
        targets = np.median(targets, axis=1)
        left_out = table.columns[[*self.target, *self.ignore]]
        return table.drop(columns=left_out), np.log(targets) if self.log else targets

    def _read(self, path: Path) -> Any:
        import pandas as pd

        if path.suffix == ".mat":
            from scipy.io import loadmat

            return pd.DataFrame(loadmat(path)[self.file])
        options = {"header": self.header, "sep": self.separator, "na_values": "?"}
        if path.suffix != ".zip":
            return pd.read_csv(path, **options)
        with zipfile.ZipFile(path) as archive:
            found = [m for m in archive.namelist() if Path(m).name == self.file]
            if not found:
                raise ValueError(f"the archive holds no {self.file}")
            with archive.open(found[0]) as stream:
                return pd.read_csv(stream, **options)


class ByHand(NamedTuple):
    """A set that is too large to be fetched here."""

    where: str
    why: str

    def __str__(self) -> str:
        return self.where

    @property
    def on_first_use(self) -> str:
        """Why it is not fetched."""
        return f"not fetched: {self.why}"

    def fetch(self) -> tuple[Any, np.ndarray]:
        """Refuse."""
        raise ValueError(self.why)


SOURCES: dict[str, OpenML | Table | ByHand] = {
    "sgemm": Table(
        f"{_UCI}/440/sgemm+gpu+kernel+performance.zip",
        "sgemm_product.csv", (14, 15, 16, 17), header=0, log=True,
    ),
    "wecs": Table(f"{_UCI_FILES}/00494/WECs_DataSet.zip", "Sydney_Data.csv", (48,)),
    "ct": Table(
        f"{_UCI}/206/relative+location+of+ct+slices+on+axial+axis.zip",
        "slice_localization_data.csv", (385,), (0,), header=0,
    ),
    "kegg_undir": Table(
        f"{_UCI}/221/kegg+metabolic+reaction+network+undirected.zip",
        "Reaction Network (Undirected).data", (26,), (0,),
    ),
    "online_video": Table(
        f"{_UCI_FILES}/00335/online_video_dataset.zip",
        "transcoding_mesurment.tsv", (21,), (0, 20), header=0, separator="\t",
    ),
    "query_agg_count": Table(
        f"{_UCI_FILES}/00493/datasets.zip",
        "Range-Queries-Aggregates.csv", (5,), (0, 6, 7), header=0,
    ),
    "road_network": Table(
        f"{_UCI_FILES}/00246/3D_spatial_network.txt", "", (3,), (0,)
    ),
    "mlr_knn_rng": OpenML(42454, "perf.logloss", ("perf.mmce",)),
    "diamonds": OpenML(42225, "price"),
    "methane": ByHand(
        "OpenML 42701",
        "it has millions of rows; keep 500,000 of them, target MM264, without "
        "MM263 and MM256",
    ),
    "stock": OpenML(1200, "company10"),
    "protein": OpenML(42903, "RMSD"),
    "sarcos": Table(
        "http://www.gaussianprocess.org/gpml/data/sarcos_inv.mat",
        "sarcos_inv", (21,), tuple(range(22, 28)),
    ),
}  # fmt: skip


def kept_rows(n: int) -> np.ndarray:
    """The rows used of n: all of them, or 500,000 by the benchmark's seed."""
    most = MAX_TRAINABLE + MAX_TEST
    if n <= most:
        return np.arange(n)
    return np.random.default_rng(12345).permutation(n)[:most]


def prepared(table: Any, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n,d) and targets (n,), float32, of a data frame and its targets.

    Rows with a missing value and columns without variation are dropped; categories are
    one-hot, the smallest first and 300 columns at most, after the numeric columns.
    """
    import pandas as pd

    complete = table.notna().all(axis=1).to_numpy() & ~np.isnan(targets)
    table, targets = table[complete], targets[complete]
    rows = kept_rows(len(table))
    table, targets = table.iloc[rows], targets[rows]
    numeric, categories = [], []
    for name in table:
        column = table[name]
        if column.nunique() < 2:
            continue
        if pd.api.types.is_numeric_dtype(column):
            numeric.append(column.to_numpy(np.float32)[:, None])
        else:
            categories.append(_one_hot(column.astype(str).to_numpy()))
    categories.sort(key=lambda block: block[0])
    total = np.cumsum([0] + [levels for levels, _ in categories])[1:]
    pairs = zip(categories, total, strict=True)
    fitting = [block for (_, block), columns in pairs if columns <= _MAX_ONE_HOT]
    inputs = np.concatenate(numeric + fitting, axis=1)
    if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
        raise ValueError("the table holds infinite values")
    return inputs, targets.astype(np.float32)


def _one_hot(values: np.ndarray) -> tuple[int, np.ndarray]:
    """The number of levels, and their indicators with one column for a missing value.

    Two levels need one indicator. No value is missing here, but the benchmark has the
    column, and the width sets the scale of a network's first layer.
    """
    levels, codes = np.unique(values, return_inverse=True)
    block = np.zeros((len(values), len(levels) + 1), dtype=np.float32)
    block[np.arange(len(values)), codes] = 1
    return len(levels), block[:, 1:] if len(levels) == 2 else block

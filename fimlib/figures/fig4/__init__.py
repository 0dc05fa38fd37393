"""Figure 4: black-box against white-box batch selection for regression.

Protocol of Kirsch, "Black-Box Batch Active Learning for Regression" (arXiv:2302.08981),
whose white box is the benchmark of Holzmueller et al. (arXiv:2203.09410).
"""

from pathlib import Path
from typing import Any


def run(data: Any = None, seeds: Any = None, **options: Any) -> Path:
    """Make the record of the sweep; ``seeds`` are its splits (see ``sweep.sweep``)."""
    from fimlib.figures.fig4.protocol import EMBEDDED
    from fimlib.figures.fig4.sweep import sweep

    protocol = options.pop("protocol", None)
    if isinstance(data, str):
        data = EMBEDDED if data == "embedded" else tuple(data.split(","))
    if protocol is None:
        protocol = "demo" if data in (None, EMBEDDED) else "reduced"
    return sweep(data, seeds, protocol=protocol, **options)

"""Records of Figure 4 made by hand."""

import numpy as np

from fimlib.figures import records

# Log RMSE by (data, method, kernel), then by split: the steps 0, 1, 2.
HAND = {
    ("a", "uniform", "none"): ((9.0, 1.0, 3.0), (9.0, 2.0, 4.0), (9.0, 0.0, 2.0)),
    ("a", "bald", "white-box"): ((9.0, 1.0, 1.0), (9.0, 1.0, 2.0), (9.0, 0.0, 0.0)),
    ("a", "bald", "black-box"): ((9.0, 0.0, 2.0), (9.0, 2.0, 3.0), (9.0, 0.0, 1.0)),
    ("a", "lcmd", "white-box"): ((9.0, 0.0, 0.0), (9.0, 1.0, 1.0), (9.0, -1.0, 0.0)),
    ("a", "lcmd", "black-box"): ((9.0, 1.0, 3.0), (9.0, 3.0, 5.0), (9.0, 0.0, 4.0)),
    ("b", "uniform", "none"): ((9.0, 1.0, 1.0), (9.0, 2.0, 2.0), (9.0, 3.0, 3.0)),
    ("b", "bald", "white-box"): ((9.0, 2.0, 2.0), (9.0, 3.0, 3.0), (9.0, 4.0, 4.0)),
    ("b", "bald", "black-box"): ((9.0, 1.5, 1.5), (9.0, 2.5, 2.5), (9.0, 3.5, 3.5)),
    ("b", "lcmd", "white-box"): ((9.0, 0.0, 0.0), (9.0, 1.0, 1.0), (9.0, 2.0, 2.0)),
    ("b", "lcmd", "black-box"): ((9.0, 0.0, 0.0), (9.0, 1.0, 1.0), (9.0, 2.0, 2.0)),
}
BATCHES = {
    f"{data}/{method}/{kernel}/{split}": np.array([indices, [90, 91, 92, 93]])
    for data in "ab"
    for method, kernel, indices in (
        ("bald", "white-box", [0, 1, 2, 3]),
        ("bald", "black-box", [3, 2, 5, 6] if data == "a" else [0, 7, 8, 9]),
        ("lcmd", "white-box", [0, 1, 2, 3]),
        ("lcmd", "black-box", [4, 5, 6, 7]),
    )
    for split in range(3)
}
RUN = {
    "protocol": {
        "initial": 10, "validation": 10, "test": 20, "pool": 50, "batch": 4,
    },
    "splits": [0, 1, 2],
    "methods": ["uniform", "bald", "lcmd"],
    "sets": [{"name": "a", "rows": 1000}, {"name": "b", "rows": 65}],
    "costs": [
        {
            "method": m, "kernel": k, "train_seconds": t, "select_seconds": t / 2,
            "filled_batches": int(t), "batches": 20,
        }
        for m, k, t in (
            ("uniform", "none", 1.0),
            ("bald", "white-box", 2.0),
            ("bald", "black-box", 8.0),
            ("lcmd", "white-box", 3.0),
            ("lcmd", "black-box", 9.0),
        )
    ],
}  # fmt: skip


def by_hand(values=None, run=RUN):
    rows = [
        (*key, split, step, 10 + 4 * step, value)
        for key, splits in (values or HAND).items()
        for split, steps in enumerate(splits)
        for step, value in enumerate(steps)
    ]
    names = ("data", "method", "kernel", "split", "step", "labels", "log_rmse")
    columns = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    return records.Record("fig4-hand", columns, run)

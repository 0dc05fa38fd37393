"""The sweep of Figure 4: units kept one by one, the same record however it is run."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from fimlib import figures as experiments
from fimlib.figures import records
from fimlib.figures.fig4 import sets
from fimlib.figures.fig4.protocol import PROTOCOLS, arms, protocol_for
from fimlib.figures.fig4.sweep import sweep
from fimlib.figures.fig4.unit import State, run_units

TINY = {
    "splits": 2, "initial": 16, "validation": 16, "pool": 60, "test": 50, "steps": 2,
    "batch": 8, "members": 3, "hidden": (8,), "epochs": 2, "minibatch": 8, "width": 16,
}  # fmt: skip
METHODS = ("uniform", "bald", "core-set")


def tiny(folder, **options):
    """A sweep of a few seconds below ``folder``."""
    options = {"data": "fried", "methods": METHODS, "jobs": 1, **TINY, **options}
    options.setdefault("work", folder / "work")
    options.setdefault("out", folder / "out")
    return sweep(protocol="demo", progress=False, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of an undisturbed run, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, tiny(folder)


def test_the_record_has_every_unit_and_step(whole):
    record = records.read_record(whole[1])
    columns = record.columns
    keys = list(
        zip(*(columns[k] for k in ("method", "kernel", "split", "step")), strict=True)
    )
    wanted = [
        (method, kernel, split, step)
        for method, kernel in arms(METHODS)
        for split in range(2)
        for step in range(3)
    ]
    assert keys == wanted
    assert list(columns["labels"][:3]) == [16, 24, 32]
    assert record.run["protocol"]["hidden"] == [8]
    assert np.isfinite(columns["log_rmse"]).all()


def test_batches_are_new_examples_of_the_pool(whole):
    batches = records.read_npz(whole[1].with_name("fig4-demo-batches.npz"))
    assert len(batches) == 10
    protocol = protocol_for("demo", **TINY)
    pools = {s: State(sets.load("fried"), s, protocol).parts["pool"] for s in (0, 1)}
    for name, batch in batches.items():
        chosen = batch.ravel().tolist()
        assert len(set(chosen)) == 16
        assert set(chosen) <= set(pools[int(name[-1])].tolist())


def test_methods_share_the_networks_of_the_first_step(whole):
    columns = records.read_record(whole[1]).columns
    first = (columns["step"] == 0) & (columns["split"] == 1)
    for kernels in (("none", "white-box"), ("black-box",)):
        mine = first & np.isin(columns["kernel"], kernels)
        assert len(set(columns["log_rmse"][mine])) == 1


def test_log_rmse_is_over_members_and_points():
    protocol = protocol_for("demo", **{**TINY, "steps": 0})
    from fimlib.figures.fig4 import unit

    data = sets.load("fried")
    found = run_units("fried", data.digest, "bald", "black-box", (0,), protocol)[0]
    state = State(data, 0, protocol)
    stack = unit._trained([state], 3, 0)
    inputs, targets = (t.numpy().astype(float) for t in state.pairs("test"))
    outputs = stack.predict(torch.from_numpy(inputs).float()).numpy().astype(float)
    squares = [(outputs[k, i] - targets[i]) ** 2 for k in range(3) for i in range(50)]
    wanted = np.log(np.sqrt(sum(squares) / 150))
    assert found["log_rmse"] == pytest.approx([wanted], abs=1e-6)
    mean = [(outputs[:, i].mean() - targets[i]) ** 2 for i in range(50)]
    wanted = np.log(np.sqrt(np.mean(mean)))
    assert found["log_rmse_mean"] == pytest.approx([wanted], abs=1e-6)


def test_splits_in_step_or_alone_give_the_same_bytes(whole, tmp_path):
    assert tiny(tmp_path, together=1).read_bytes() == whole[1].read_bytes()


def test_finished_units_are_not_done_again(whole, tmp_path):
    tiny(tmp_path, methods=("uniform",), seeds=(1,))
    unit = tmp_path / "work" / "fried" / "uniform" / "none" / "1.npz"
    before = unit.stat().st_mtime_ns
    assert tiny(tmp_path).read_bytes() == whole[1].read_bytes()
    assert unit.stat().st_mtime_ns == before


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_fig4_sweep import tiny
print(tiny(Path(sys.argv[1]), jobs=2, together=1))
"""


def start(folder):
    here = os.path.dirname(__file__)  # noqa: PTH120
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), here],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def test_a_killed_sweep_goes_on_to_the_same_bytes(whole, tmp_path):
    work = tmp_path / "work"
    first = start(tmp_path)
    deadline = time.monotonic() + 120
    while len(list(work.rglob("*.npz"))) < 3 and time.monotonic() < deadline:
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    kept = {p: p.stat().st_mtime_ns for p in work.rglob("*.npz")}
    assert 3 <= len(kept) < 10
    assert not (tmp_path / "out" / "fig4-demo.csv").exists()
    second = start(tmp_path)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert (tmp_path / "out" / "fig4-demo.csv").read_bytes() == whole[1].read_bytes()
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in kept.items())


@pytest.mark.filterwarnings("ignore")
def test_dask_gives_the_same_bytes(whole, tmp_path):
    pytest.importorskip("distributed", reason="needs the extra dask")
    from distributed import Client, LocalCluster

    own = tiny(tmp_path / "own", backend="dask", jobs=2)
    assert own.read_bytes() == whole[1].read_bytes()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as them,
        Client(them),
    ):
        found = tiny(
            tmp_path / "named", backend="dask", scheduler=them.scheduler_address
        )
        assert found.read_bytes() == whole[1].read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "frieda"}, "no data set 'frieda'; there are"),
        ({"methods": ("balt",)}, "no method 'balt'; there are uniform, bald"),
        ({"methods": ("bald", "bald")}, "named twice"),
        ({"seeds": (-1,)}, "seeds must be 0 or more"),
        ({"backend": "slurm"}, "no backend 'slurm'; there are loky, dask"),
        ({"scheduler": "tcp://x:1"}, "a scheduler is for backend dask"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"colour": 3}, "no setting 'colour'"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        tiny(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_an_unreachable_scheduler_is_one_clear_line(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="needs the extra dask")
    from fimlib.figures.fig4 import sweep as module

    monkeypatch.setattr(module, "_CONNECT_SECONDS", 1)
    with pytest.raises(ValueError, match="no Dask scheduler answers at") as caught:
        tiny(tmp_path, backend="dask", scheduler="tcp://127.0.0.1:9")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.npz"))


def test_a_folder_of_another_protocol_is_refused(whole, tmp_path):
    folder = whole[0]
    kept = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"another protocol: epochs is 2 there and 3"):
        tiny(tmp_path, work=folder / "work", epochs=3)
    with pytest.raises(ValueError, match=r"another protocol: epochs is 2 there and 3"):
        tiny(tmp_path, out=folder / "out", epochs=3)
    with pytest.raises(ValueError, match="also holds methods bald, core-set"):
        tiny(tmp_path, out=folder / "out", methods=("uniform",))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"has no protocol\.json"):
        tiny(tmp_path, work=tmp_path / "full")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == kept


def test_other_data_than_the_sweep_began_with_are_refused():
    with pytest.raises(ValueError, match="another set here"):
        run_units("fried", "0" * 64, "bald", "white-box", (0,), PROTOCOLS["demo"])


def test_the_protocols_are_the_documented_sizes():
    full, reduced = (PROTOCOLS[name].numbers() for name in ("full", "reduced"))
    published = {
        "initial": 256, "validation": 1024, "steps": 16, "batch": 256, "members": 10,
        "hidden": [512, 512], "epochs": 256, "minibatch": 256, "learning_rate": 0.375,
        "width": 512, "noise": 1e-3, "pool": None, "test": None,
    }  # fmt: skip
    assert {name: full[name] for name in published} == published
    assert len(PROTOCOLS["full"].data) == 15
    assert len(PROTOCOLS["reduced"].data) >= 6
    assert reduced["steps"] >= 8 and PROTOCOLS["reduced"].splits >= 5


def test_the_default_is_the_embedded_demonstration(monkeypatch):
    from fimlib.figures.fig4 import sweep as module

    calls = []
    monkeypatch.setattr(module, "sweep", lambda *a, **k: calls.append((a, k)))
    experiments.run("fig4")
    experiments.run("fig4", data="embedded", seeds=(0,))
    experiments.run("fig4", protocol="full", data="fried,sgemm")
    assert calls == [
        ((None, None), {"protocol": "demo"}),
        ((("fried", "poker"), (0,)), {"protocol": "demo"}),
        ((("fried", "sgemm"), None), {"protocol": "full"}),
    ]


def test_the_run_file_names_data_and_costs(whole):
    run = json.loads(records.run_path(whole[1]).read_text())
    assert run["sets"][0]["sha256"] == sets.load("fried").digest
    assert {cost["method"] for cost in run["costs"]} == set(METHODS)
    assert run["core_seconds"] > 0

import collections
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fimlib import figures as experiments
from fimlib.figures import data, fig23, network, records, scores, seed_run, training
from fimlib.figures.units import Work, stream

SMALL = {
    "train_size": 20,
    "validation_size": 20,
    "pool_size": 30,
    "draws_per_epoch": 64,
    "batch_size": 32,
    "validation_samples": 2,
    "patience": 2,
    "max_epochs": 3,
    "mc_samples": 6,
    "test_samples": 2,
    "threads": 1,
}
WHOLE = data.load("embedded")


def small_digits(_="embedded"):
    """250 of the embedded digits, 25 a class."""
    keep = slice(None, None, 20)
    images, labels = WHOLE.images[keep], WHOLE.labels[keep]
    return data.Digits("embedded", images, labels, len(labels), "0" * 64, "a test")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(data, "load", small_digits)
    monkeypatch.setattr(seed_run, "_EVAL_CHUNK", 16)


def run(folder, seeds=(0,), **settings):
    return fig23.run(
        "embedded", seeds, folder / "out", 40, work=folder / "work", progress=False,
        **{**SMALL, **settings},
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One small run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", small_digits)
        patch.setattr(seed_run, "_EVAL_CHUNK", 16)
        return run(folder)


def softmax_fisher(features, logits):
    """Dense last-layer Fisher information (M,D,D), a sum over labels of g g^T."""
    found = []
    for phi, z in zip(features, logits, strict=True):
        p = np.exp(z - z.max())
        p /= p.sum()
        errors = np.eye(10) - p  # row y: gradient of log p(y) in the logits
        grads = [np.append(np.outer(e, phi), e) for e in errors]
        rows = np.sqrt(p)[:, None] * np.array(grads)
        found.append(rows.T @ rows)
    return found


def hard_gradient_length(phi, z):
    """Length of the last layer's gradient of -log p(y) at the likeliest y."""
    weight = torch.zeros(10, 129, dtype=torch.float64, requires_grad=True)
    inputs = torch.from_numpy(np.append(phi, 1.0))
    logits = torch.from_numpy(z) + weight @ inputs
    loss = -logits.log_softmax(0)[z.argmax()]
    return float(torch.autograd.grad(loss, weight)[0].norm())


def test_weight_space_columns_are_the_published_formulas(finished):
    record = records.read_record(finished)
    net = network.from_arrays(records.read_npz(fig23.weights_path(finished)))
    protocol = fig23.protocol_for("embedded", **SMALL, eval_size=40)
    parts = fig23.split(small_digits(), 0, protocol)
    fisher, badge = {}, []
    for part, count in (("train", 20), ("pool", 3), ("evaluation", 40)):
        images = small_digits().images[parts[part][:count]]
        values = network.features(net, network.prepare(images))
        values = [v.double().numpy() for v in values]
        fisher[part] = softmax_fisher(*values)
        if part == "pool":
            badge = [hard_gradient_length(*one) for one in zip(*values, strict=True)]
    delta = record.run["models"][0]["prior_precision"]
    precision = sum(fisher["train"]) + delta * np.eye(1290)
    total = sum(fisher["evaluation"])

    def log_det(matrix):
        return np.linalg.slogdet(matrix)[1]

    before = {share: log_det(precision + share * total) for share in (0, 1, 1 / 40)}
    for i, own in enumerate(fisher["pool"]):
        updated = precision + own
        expected = {
            "eig_log_det": 0.5 * (log_det(updated) - before[0]),
            "eig_trace": 0.5 * np.trace(np.linalg.solve(precision, own)),
            "jepig_proxy_log_det": log_det(updated + total) - log_det(updated),
            "jepig_proxy_trace": np.trace(np.linalg.solve(updated, total)),
            "epig_proxy_log_det": log_det(updated + total / 40) - log_det(updated),
            "epig_proxy_trace": np.trace(np.linalg.solve(updated, total)) / 40,
            "trace_fisher": np.trace(own),
            "badge_norm": badge[i],
        }
        joint, mean = (before[share] - before[0] for share in (1, 1 / 40))
        expected["jepig_log_det"] = (joint - expected["jepig_proxy_log_det"]) / 2
        expected["epig_upper"] = (mean - expected["epig_proxy_log_det"]) / 2
        found = {name: record[name][i] for name in expected}
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
    numbers = record.run["models"][0]
    assert numbers["half_log_det_precision"] == pytest.approx(log_det(precision) / 2)
    assert numbers["trace_fisher_train"] == pytest.approx(
        np.trace(sum(fisher["train"]))
    )


def test_prediction_space_columns_are_the_published_formulas(finished):
    record = records.read_record(finished)
    net = network.from_arrays(records.read_npz(fig23.weights_path(finished)))
    protocol = fig23.protocol_for("embedded", **SMALL, eval_size=40)
    parts = fig23.split(small_digits(), 0, protocol)
    masks = network.draw_masks(6, stream(0, "masks"))
    pool, evals = (
        network.mc_log_probs(
            net, network.prepare(small_digits().images[parts[part]]), masks
        )
        .double()
        .exp()
        .numpy()
        for part in ("pool", "evaluation")
    )

    def entropy(p):
        return -np.sum(p * np.log(np.where(p > 0, p, 1.0)))

    for i in (0, 7, 29):
        own = entropy(pool[i].mean(0))
        bald = own - np.mean([entropy(p) for p in pool[i]])
        epig = np.mean(
            [own + entropy(e.mean(0)) - entropy(pool[i].T @ e / len(e)) for e in evals]
        )
        found = [record[name][i] for name in ("bald", "epig", "predictive_entropy")]
        assert found == pytest.approx([bald, epig, own], rel=1e-4, abs=1e-6)


def test_the_record_says_what_it_is(finished):
    record = records.read_record(finished)
    assert list(record.columns) == ["seed", "pool_index", "label", *scores.COLUMNS]
    assert set(record.run["columns"]) == set(scores.COLUMNS)
    assert record.run["columns"]["eig_log_det"]["half"] is True
    assert record.run["columns"]["jepig_proxy_log_det"]["half"] is False
    assert record.run["command"].startswith("fimlib run fig23 --data embedded")
    assert record.run["data"]["sha256"] == "0" * 64
    assert record.run["seeds"] == [0]
    stages = record.run["seconds"][0]
    assert set(stages) >= {"training", "weight_space", "prediction_space"}
    text = json.dumps(record.run)
    assert str(Path.cwd()) not in text
    assert os.uname().nodename not in text
    assert "balanced" in text
    labels = small_digits().labels[record["pool_index"]]
    assert np.array_equal(labels, record["label"])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_write_it_resumes_to_the_same_bytes(
    finished, tmp_path, monkeypatch, when
):
    write, seen = records.write_npz, collections.Counter()

    def dies(path, **arrays):
        name = Path(path).name
        seen[name] += 1
        if when == "after":
            write(path, **arrays)
        if seen[name] <= (3 if name == "train-state.npz" else 1):
            raise Killed
        return write(path, **arrays)

    monkeypatch.setattr(records, "write_npz", dies)
    deaths = 0
    for _ in range(20):
        try:
            path = run(tmp_path)
            break
        except Killed:
            deaths += 1
    assert deaths == 3 + 9 + 1  # epochs, units (three of evaluation), weights
    assert path.read_bytes() == finished.read_bytes()


@pytest.mark.parametrize("calls", [1, 3, 7])
def test_killed_inside_a_unit_it_resumes_to_the_same_bytes(
    finished, tmp_path, monkeypatch, calls
):
    whole, count = network.mc_log_probs, []

    def dies(*arguments, **named):
        count.append(None)
        if len(count) == calls:
            raise Killed
        return whole(*arguments, **named)

    monkeypatch.setattr(network, "mc_log_probs", dies)
    with pytest.raises(Killed):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    assert run(tmp_path).read_bytes() == finished.read_bytes()


def test_a_real_kill_resumes_to_the_same_bytes(finished, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import pathlib\n"
        "from figures import test_fig23 as t\n"
        "t.data.load = t.small_digits; t.seed_run._EVAL_CHUNK = 16\n"
        "t.run(pathlib.Path(sys.argv[2]))"
    )
    root = str(Path(__file__).parents[1])
    child = subprocess.Popen([sys.executable, "-c", code, root, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("work/*/0/train-state.npz")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "out").exists()
    assert run(tmp_path).read_bytes() == finished.read_bytes()


def test_nothing_finished_is_done_twice(finished, tmp_path, monkeypatch):
    first = run(tmp_path)
    before = records.read_json(records.run_path(first))
    for module, name in (
        (training.Trainer, "epoch"),
        (network, "mc_log_probs"),
        (scores, "weight_space"),
    ):
        monkeypatch.setattr(module, name, None)
    again = run(tmp_path)
    assert again.read_bytes() == finished.read_bytes()
    assert records.read_json(records.run_path(again)) == before  # wall time included


def test_a_damaged_unit_is_named(tmp_path):
    run(tmp_path)
    unit = next(tmp_path.glob("work/*/0/mc-pool.npz"))
    unit.write_bytes(unit.read_bytes()[:100])
    with pytest.raises(records.RecordError, match=r"mc-pool.npz .*delete it and run"):
        run(tmp_path)


def test_another_protocol_uses_no_unit_of_this_one(tmp_path):
    run(tmp_path)
    (tmp_path / "out").rename(tmp_path / "first")
    run(tmp_path, mc_samples=5)
    assert len(list(tmp_path.glob("work/*"))) == 2


def test_a_record_of_another_protocol_or_of_more_seeds_stays(finished):
    folder = finished.parents[1]
    kept = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"protocol: mc_samples is 6 there and 5 here"):
        run(folder, mc_samples=5)
    with pytest.raises(ValueError, match="also holds seeds 0, which this run leaves"):
        run(folder, seeds=(1,))
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == kept


def test_two_seeds_are_two_blocks_and_two_models(finished, tmp_path):
    path = run(tmp_path, seeds=(0, 1))
    record = records.read_record(path)
    assert len(record) == 60
    one = records.read_record(finished)
    for name in one.columns:
        assert np.array_equal(record.where("seed", 0)[name], one[name])
    assert not np.array_equal(record.where("seed", 1)["pool_index"], one["pool_index"])
    assert [model["seed"] for model in record.run["models"]] == [0, 1]
    assert "--seeds 0..1" in record.run["command"]


def test_global_random_state_and_threads_are_left_alone(tmp_path):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    run(tmp_path)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("seed", [0, 3])
def test_the_embedded_split_is_disjoint_stratified_and_fixed(seed):
    parts = fig23.split(WHOLE, seed)
    sizes = [len(parts[name]) for name in fig23.PARTS]
    assert sizes == [80, 500, 1000, 2000, 1420]
    assert len(np.unique(np.concatenate(list(parts.values())))) == 5000
    for indices in parts.values():
        counts = np.bincount(WHOLE.labels[indices])
        assert counts.tolist() == [len(indices) // 10] * 10
    first = fig23.split(WHOLE, 0)
    assert np.array_equal(parts["train"], first["train"])
    assert np.array_equal(parts["validation"], first["validation"])
    assert np.array_equal(parts["pool"], first["pool"]) == (seed == 0)


def mnist_like():
    """The size of MNIST and about its class shares, without its images."""
    labels = np.random.default_rng(3).integers(0, 10, 70_000)
    return data.Digits("mnist", np.zeros((70_000, 0)), labels, 60_000, "", "a test")


def test_the_mnist_split_has_the_published_shape():
    digits = mnist_like()
    parts = fig23.split(digits, 0)
    sizes = [len(parts[name]) for name in fig23.PARTS]
    assert sizes == [80, 1000, 1000, 20_000, 10_000]
    together = np.concatenate(list(parts.values()))
    assert len(np.unique(together)) == len(together)
    assert parts["test"].min() == 60_000
    assert max(parts[name].max() for name in fig23.PARTS[:4]) < 60_000
    small = fig23.split(digits, 0, fig23.protocol_for("mnist", eval_size=2000))
    assert np.array_equal(small["pool"], parts["pool"])
    assert np.array_equal(small["evaluation"], parts["evaluation"][:2000])


@pytest.mark.skipif(not os.environ.get("FIMLIB_DATA"), reason="needs FIMLIB_DATA")
def test_the_mnist_training_digits_are_the_published_80(monkeypatch):
    monkeypatch.undo()
    digits = data.load("mnist")
    counts = np.bincount(digits.labels[fig23.split(digits)["train"]])
    assert counts.tolist() == [10, 13, 9, 6, 9, 7, 4, 3, 9, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": ()}, "seeds must be"),
        ({"seeds": (1, 1)}, "seeds must be"),
        ({"seeds": (-1,)}, "seeds must be"),
        ({"lerning_rate": 1.0}, "no setting 'lerning_rate'; there are "),
        ({"pool_size": 500}, "pool_size \\+ eval_size is 540, but embedded has 210"),
    ],
)
def test_bad_input_is_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **arguments)


def test_unknown_names_list_the_valid_ones(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(
        ValueError, match="no experiment 'fig9'; there are fig23, fig23-"
    ):
        experiments.run("fig9")
    with pytest.raises(ValueError, match="no data set 'cifar'; there are embedded"):
        experiments.run("fig23", data="cifar")


@pytest.mark.parametrize(
    ("seeds", "eval_size", "words"),
    [
        ((0,), 20_000, ""),
        ((0, 1, 2, 3, 4), 20_000, " --seeds 0..4"),
        ((0, 2), 20_000, " --seeds 0,2"),
        ((3,), 2000, " --seeds 3 --eval-size 2000"),
    ],
)
def test_the_recorded_command_is_the_public_one(seeds, eval_size, words):
    protocol = fig23.protocol_for("mnist", eval_size=eval_size)
    found = fig23._command("mnist", seeds, protocol)
    assert found == f"fimlib run fig23 --data mnist{words}"


def test_a_unit_is_computed_once_and_times_itself(tmp_path):
    work, calls = Work(tmp_path / "w"), []

    def compute():
        calls.append(None)
        return {"x": np.arange(3)}

    first = work.unit("a", compute)
    assert work.unit("a", compute)["x"].tolist() == [0, 1, 2]
    assert len(calls) == 1
    assert first["seconds"] >= 0
    assert work.load("b") is None


def test_a_last_layer_gives_the_recorded_scores(tmp_path):
    path = run(tmp_path)
    unit = records.read_npz(next(tmp_path.glob("work/*/0/last-layer.npz")))
    result = fig23.SeedResult({}, {}, unit, {}, {})
    fig23._write_beside(path, "mnist", result)
    layer = records.read_npz(fig23.layer_path(path))
    assert "seconds" not in layer
    record = records.read_record(path)
    found = scores.weight_space(layer)
    for name in ("eig_log_det", "epig_upper", "badge_norm"):
        assert np.array_equal(found[name], record[name])

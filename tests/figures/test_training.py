import contextlib

import numpy as np
import pytest
import torch

from fimlib.figures import network, training
from fimlib.figures.fig23 import Protocol
from fimlib.figures.units import Work, stream


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quiet(*_):
    return contextlib.nullcontext(type("Bar", (), {"update": int}))


def trainer(seed=0, **settings):
    small = {"draws_per_epoch": 40, "batch_size": 16, "validation_samples": 2}
    protocol = Protocol(**{**small, **settings})
    draw = torch.Generator().manual_seed(9)
    inputs = torch.randn(12, 1, 28, 28, generator=draw)
    labels = torch.arange(12) % 10
    return training.Trainer(protocol, seed, (inputs, labels), (inputs, labels))


@pytest.mark.parametrize(("points", "draws"), [(80, 1024), (80, 80), (7, 3), (3, 10)])
def test_an_epoch_repeats_points_equally(points, draws):
    order = training.epoch_indices(points, draws, stream(0, "epoch"))
    assert len(order) == draws
    counts = torch.bincount(order, minlength=points)
    assert counts.max() <= -(-draws // points)
    again = training.epoch_indices(points, draws, stream(0, "epoch"))
    assert torch.equal(order, again)
    if draws > 7:
        other = training.epoch_indices(points, draws, stream(0, "epoch", 1))
        assert not torch.equal(order, other)


def test_streams_are_told_apart_by_each_part_of_their_key():
    keys = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1)]
    draws = {float(torch.rand((), generator=stream(*key))) for key in keys}
    assert len(draws) == len(keys)


def scripted(monkeypatch, scores):
    """Validation says ``scores`` one after another; steps only count."""
    told = iter(scores)
    monkeypatch.setattr(training, "mean_accuracy", lambda *_: (next(told), 0.0))

    def step(self, _):
        with torch.no_grad():
            self.net.fc2.bias.fill_(len(self.history))

    monkeypatch.setattr(training.Trainer, "steps", step)


def test_patience_counts_epochs_without_a_strictly_better_one(monkeypatch):
    scripted(monkeypatch, [0.1, 0.5, 0.5, 0.4, 0.5, 0.9])
    run = trainer(patience=3, max_epochs=150)
    while not run.finished:
        run.epoch()
    # Best at index 1; the ties at 2 and 4 do not count; three epochs later it stops.
    assert (len(run.history), run.best_epoch) == (5, 1)
    assert set(run.best["fc2.bias"].tolist()) == {1.0}


def test_the_recorded_run_length_follows_from_its_best_epoch(monkeypatch):
    scripted(monkeypatch, [*np.linspace(0.1, 0.8, 45), 0.834, *[0.5] * 100])
    run = trainer(patience=20, max_epochs=150)
    while not run.finished:
        run.epoch()
    assert (len(run.history), run.best_epoch) == (66, 45)  # as published


def test_the_cap_ends_a_run_that_keeps_improving(monkeypatch):
    scripted(monkeypatch, np.linspace(0, 1, 9))
    run = trainer(patience=3, max_epochs=4)
    while not run.finished:
        run.epoch()
    assert (len(run.history), run.best_epoch) == (4, 3)


def test_steps_are_adam_on_one_dropout_sample():
    run = trainer()
    before = {k: v.clone() for k, v in run.net.state_dict().items()}
    run.epoch()
    # Two whole batches of 16 in 40 draws: Adam's first step is the learning rate long.
    steps = {int(run.optimizer.state[p]["step"]) for p in run.net.parameters()}
    assert steps == {2}
    largest = max(
        float((value - before[name]).abs().max())
        for name, value in run.net.state_dict().items()
    )
    assert 1e-3 <= largest <= 2.1e-3


def test_training_learns_what_it_sees():
    run = trainer(draws_per_epoch=160)
    inputs, labels = run.train
    first = training.accuracy(run.net(inputs).log_softmax(-1).detach(), labels)
    for _ in range(15):
        run.epoch()
    last = training.accuracy(run.net(inputs).log_softmax(-1).detach(), labels)
    assert last[0] > max(first[0], 0.8)
    assert last[1] < first[1]


def test_mean_accuracy_averages_probabilities():
    run = trainer()
    inputs, labels = run.train
    found = training.mean_accuracy(run.net, inputs, labels, 3, stream(0, "x"))
    masks = network.draw_masks(3, stream(0, "x"))
    probs = network.mc_log_probs(run.net, inputs, masks).exp().mean(1)
    assert found[0] == pytest.approx(
        float((probs.argmax(-1) == labels).double().mean())
    )
    entropy = -probs[torch.arange(12), labels].log().mean()
    assert found[1] == pytest.approx(float(entropy), rel=1e-5)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_state_continues_to_the_same_bits(tmp_path, stop_after):
    whole = training.fit(trainer(max_epochs=4), Work(tmp_path / "a"), quiet)
    first = trainer(max_epochs=4)
    work = Work(tmp_path / "b")
    for _ in range(stop_after):
        first.epoch()
        work.save("train-state", **first.state(), seconds=np.float64(5.0))
    rest = training.fit(trainer(max_epochs=4), work, quiet)
    assert rest["seconds"] > 5.0
    for name in whole:
        if name != "seconds":
            assert whole[name].tobytes() == rest[name].tobytes(), name


def test_seeds_differ(tmp_path):
    weights = [
        training.fit(trainer(seed, max_epochs=1), Work(tmp_path / f"{seed}"), quiet)
        for seed in (0, 1)
    ]
    assert not np.array_equal(weights[0]["fc2.weight"], weights[1]["fc2.weight"])

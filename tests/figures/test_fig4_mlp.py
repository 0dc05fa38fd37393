"""Stacked NTK networks: each is as if it had been trained alone."""

import pytest
import torch

from fimlib.figures.fig4 import mlp
from fimlib.figures.fig4.mlp import Stack, Training

D, H1, H2 = 5, 7, 3


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def problem(sets, rows, seed=0):
    """Inputs (sets, rows, D) and targets of a smooth function."""
    inputs = torch.randn(sets, rows, D, generator=generators(seed)[0])
    return inputs, inputs[..., 0] - inputs[..., 1] * inputs[..., 2]


def test_outputs_follow_the_ntk_parametrisation():
    draw = generators(1)[0]
    shapes = [(D, H1), (H1, H2), (H2, 1)]
    weights = [torch.randn(2, *s, generator=draw).double() for s in shapes]
    biases = [torch.randn(2, 1, s[1], generator=draw).double() for s in shapes]
    inputs = torch.randn(11, D, generator=draw).double()
    found = Stack(weights, biases).predict(inputs)
    for b in range(2):
        for n in range(11):
            z = inputs[n].tolist()
            for layer, (rows, columns) in enumerate(shapes):
                w, c = weights[layer][b].tolist(), biases[layer][b, 0].tolist()
                z = [
                    0.2 / rows**0.5 * sum(z[i] * w[i][j] for i in range(rows))
                    + 0.2 * c[j]
                    for j in range(columns)
                ]
                if layer < 2:
                    z = [max(value, 0.0) for value in z]
            assert float(found[b, n]) == pytest.approx(z[0], abs=1e-12)


def test_predictions_do_not_depend_on_chunks(monkeypatch):
    stack = mlp.drawn(D, (H1,), generators(0, 1))
    inputs = problem(1, 29)[0][0]
    whole = stack.predict(inputs)
    monkeypatch.setattr(mlp, "_POINTS", 8)
    assert torch.allclose(stack.predict(inputs), whole, atol=1e-6)


@pytest.mark.parametrize("hidden", [(32, 32), (13, 7)])
def test_a_network_is_the_same_whichever_others_are_trained_beside_it(hidden):
    training = Training(hidden, epochs=5, batch_size=8, learning_rate=0.3)
    train, held = problem(3, 37), problem(3, 11, seed=1)
    many = mlp.fit(train, held, generators(*range(12)), training)  # four members a set
    for first, last in ((4, 8), (4, 5)):
        rows = slice(1, 2)
        alone = mlp.fit(
            [t[rows] for t in train], [t[rows] for t in held],
            generators(*range(first, last)), training,
        )  # fmt: skip
        for a, b in zip(many[first:last].parameters(), alone.parameters(), strict=True):
            assert torch.equal(a, b)


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    rows, rate = 17, 0.25
    train = problem(1, rows)
    before = mlp.drawn(D, (H1,), generators(3))
    for tensor in before.parameters():
        tensor.requires_grad_()
    (before.outputs(train[0]) - train[1]).square().mean().backward()
    training = Training((H1,), epochs=1, batch_size=64, learning_rate=rate)
    after = mlp.fit(train, problem(1, 5, seed=2), generators(3), training)
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        moved = old.detach() - rate * old.grad / (old.grad.abs() + 1e-8)
        assert torch.allclose(new, moved, atol=1e-5)


def test_the_learning_rate_falls_to_zero_linearly(monkeypatch):
    rates = []

    class Spy(torch.optim.Adam):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            return super().step()

    monkeypatch.setattr(torch.optim, "Adam", Spy)
    training = Training((H1,), epochs=3, batch_size=8, learning_rate=0.6)
    # 20 rows: two whole batches an epoch, the last four rows dropped.
    mlp.fit(problem(1, 20), problem(1, 5), generators(0), training)
    assert rates == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_each_network_keeps_its_own_best_epoch():
    best, now = (mlp.drawn(D, (H1,), generators(*s)) for s in ((0, 1), (2, 3)))
    first = [tensor.clone() for tensor in best.parameters()]
    inputs, targets = problem(2, 13)
    errors = (now.outputs(inputs) - targets).square().mean(1)
    least = errors * torch.tensor([0.5, 2.0])
    mlp._keep_best(now, best, least, (inputs, targets))
    for old, found, new in zip(first, best.parameters(), now.parameters(), strict=True):
        assert torch.equal(found[0], old[0]) and torch.equal(found[1], new[1])
    assert least[1] == errors[1] and least[0] == errors[0] * 0.5


def test_training_learns():
    training = Training((64, 64), epochs=150, batch_size=32, learning_rate=0.3)
    train, held = problem(1, 256), problem(1, 128, seed=1)
    stack = mlp.fit(train, held, generators(0, 1), training)
    inputs, targets = problem(1, 500, seed=2)
    error = (stack.predict(inputs[0]) - targets[0]).square().mean(1)
    assert (error < 0.15 * targets.var()).all()

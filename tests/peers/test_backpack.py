"""backpack-for-pytorch: gradients of single examples and the diagonal of the GGN.

Both follow the loss's reduction: with "mean" the gradient of an example is that of its
loss / N, and the GGN's diagonal is 1/N times the sum over the examples.
"""

import copy

import pytest
import torch
from conversions import N, agree, flat, in_torch_order, peer

backpack = peer("backpack-for-pytorch", "backpack")
extensions = peer("backpack-for-pytorch", "backpack.extensions")

# Both sides compute in float64, with a few hundred roundings an entry.
TOLERANCE = 1e-13


def run(model, inputs, labels, extension, reduction):
    """What the extension left on each parameter."""
    # backpack hooks itself into the modules: a copy keeps the fixture's as it was.
    model = backpack.extend(copy.deepcopy(model))
    loss = backpack.extend(torch.nn.CrossEntropyLoss(reduction=reduction))
    with backpack.backpack(extension):
        loss(model(inputs), labels).backward()
    return [getattr(p, extension.savefield) for p in model.parameters()]


@pytest.mark.parametrize(("reduction", "scale"), [("sum", 1), ("mean", N)])
def test_empirical_roots_are_the_gradients_of_the_examples(problem, reduction, scale):
    features = problem.features(problem.train)
    layer, extension = problem.last_layer, extensions.BatchGrad()
    theirs = run(layer, features, problem.labels, extension, reduction)
    roots = problem.roots(problem.train, estimator="empirical", labels=problem.labels)
    agree(in_torch_order(roots.dense()[:, 0]), scale * flat(theirs), TOLERANCE)


@pytest.mark.parametrize(("reduction", "scale"), [("sum", 1), ("mean", N)])
def test_the_gram_matrix_of_the_gradients(problem, reduction, scale):
    # Each gradient of the "mean" carries its own 1/N, so that inner products need N^2.
    features = problem.features(problem.train)
    layer, extension = problem.last_layer, extensions.BatchGrad()
    theirs = run(layer, features, problem.labels, extension, reduction)
    roots = problem.roots(problem.train, estimator="empirical", labels=problem.labels)
    ours = roots.cross(roots)[:, 0, :, 0]
    agree(ours, scale**2 * flat(theirs) @ flat(theirs).mT, TOLERANCE)


@pytest.mark.parametrize(("reduction", "scale"), [("sum", 1), ("mean", N)])
def test_the_diagonal_of_the_fisher_information(problem, reduction, scale):
    features = problem.features(problem.train)
    layer, extension = problem.last_layer, extensions.DiagGGNExact()
    theirs = run(layer, features, problem.labels, extension, reduction)
    theirs = torch.cat([part.flatten() for part in theirs])
    ours = problem.roots(problem.train).fisher_sum().diagonal()
    agree(in_torch_order(ours), scale * theirs, TOLERANCE)


def test_the_diagonal_of_each_examples_fisher_information(problem):
    features = problem.features(problem.train)
    layer, extension = problem.last_layer, extensions.BatchDiagGGNExact()
    theirs = run(layer, features, problem.labels, extension, "sum")
    ours = problem.roots(problem.train).dense().square().sum(1)
    agree(in_torch_order(ours), flat(theirs), TOLERANCE)


def test_the_gradients_of_a_network(problem):
    roots = problem.network_roots(
        problem.train, estimator="empirical", labels=problem.labels
    )
    extension = extensions.BatchGrad()
    theirs = run(problem.model, problem.train, problem.labels, extension, "sum")
    agree(roots.dense()[:, 0], flat(theirs), TOLERANCE)


def test_the_diagonals_of_a_network(problem):
    roots = problem.network_roots(problem.train)
    extension = extensions.BatchDiagGGNExact()
    theirs = run(problem.model, problem.train, problem.labels, extension, "sum")
    agree(roots.dense().square().sum(1), flat(theirs), TOLERANCE)

"""curvlinops-for-pytorch: matrix-vector products with the GGN, Hessian and EF.

Its matrices follow the loss's reduction: "sum" is fimlib's sum over the examples,
"mean" that divided by N. Parameters are in torch's order.
"""

import pytest
import torch
from conversions import C, D, N, agree, in_torch_order, peer

from fimlib.fisher import network_roots, observed_information

curvlinops = peer("curvlinops-for-pytorch", "curvlinops")

# Both sides compute in float64, with a few hundred roundings an entry.
TOLERANCE = 1e-13


def dense(operator, model, inputs, labels, reduction):
    """The operator's matrix, by its products with the columns of the identity."""
    loss = torch.nn.CrossEntropyLoss(reduction=reduction)
    matrix = operator(model, loss, list(model.parameters()), [(inputs, labels)])
    return matrix @ torch.eye(matrix.shape[1])


@pytest.mark.parametrize(("reduction", "scale"), [("sum", 1), ("mean", N)])
def test_the_ggn_of_the_last_layer_is_the_sum_of_the_fisher_information(
    problem, reduction, scale
):
    operator = curvlinops.GGNLinearOperator
    features = problem.features(problem.train)
    theirs = dense(operator, problem.last_layer, features, problem.labels, reduction)
    ours = problem.roots(problem.train).fisher_sum()
    agree(in_torch_order(ours), scale * theirs, TOLERANCE)


def test_the_hessian_of_a_last_layer_is_its_fisher_information(problem):
    # Logits are natural parameters and linear in the weights, so that the labels drop
    # out of the Hessian (T18, T19).
    operator = curvlinops.HessianLinearOperator
    features = problem.features(problem.train)
    theirs = dense(operator, problem.last_layer, features, problem.labels, "sum")
    ours = problem.roots(problem.train).fisher_sum()
    agree(in_torch_order(ours), theirs, TOLERANCE)


@pytest.mark.parametrize(("reduction", "scale"), [("sum", 1), ("mean", N)])
def test_the_empirical_fisher_is_the_estimator_of_that_name(problem, reduction, scale):
    # With "mean" the operator is 1/N times the sum of outer products of the gradients
    # of single examples, and not 1/N^2, although each gradient is of loss_i / N.
    operator = curvlinops.EFLinearOperator
    features = problem.features(problem.train)
    theirs = dense(operator, problem.last_layer, features, problem.labels, reduction)
    roots = problem.roots(problem.train, estimator="empirical", labels=problem.labels)
    agree(in_torch_order(roots.fisher_sum()), scale * theirs, TOLERANCE)


def test_the_ggn_of_the_network(problem):
    operator = curvlinops.GGNLinearOperator
    theirs = dense(operator, problem.model, problem.train, problem.labels, "sum")
    assert len(theirs) > D
    agree(problem.network_roots(problem.train).fisher_sum(), theirs, TOLERANCE)


def test_the_empirical_fisher_of_the_network(problem):
    operator = curvlinops.EFLinearOperator
    theirs = dense(operator, problem.model, problem.train, problem.labels, "sum")
    roots = problem.network_roots(
        problem.train, estimator="empirical", labels=problem.labels
    )
    agree(roots.fisher_sum(), theirs, TOLERANCE)


def test_the_hessian_of_the_network_is_the_observed_information(problem):
    # fimlib's is of each example; the operator's of the sum of their losses.
    operator = curvlinops.HessianLinearOperator
    theirs = dense(operator, problem.model, problem.train, problem.labels, "sum")
    ours = observed_information(problem.model, problem.train, problem.labels)
    agree(problem.fault * ours.sum(0), theirs, TOLERANCE)


def test_the_ggn_of_a_convolutional_network(problem):
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, kernel_size=2),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(8, C),
    )
    images = torch.linspace(-2.0, 2.0, N * 9).sin().view(N, 1, 3, 3)
    ours = problem.planted(network_roots(model, images)).fisher_sum()
    operator = curvlinops.GGNLinearOperator
    theirs = dense(operator, model, images, problem.labels, "sum")
    agree(ours, theirs, TOLERANCE)

"""nngeometry: the Fisher information and Gram matrices, of parameters or of examples.

Its Fisher information is the mean over the examples: N times it is fimlib's sum. Gram
matrices are neither divided by N nor averaged. Parameters are in torch's order.
"""

import torch
from conversions import C, D, M, N, agree, in_torch_order, peer

from fimlib.families import Gaussian
from fimlib.information import batch_eig
from fimlib.posterior import GaussianPosterior

gram = peer("nngeometry", "nngeometry.gram")
matrices = peer("nngeometry", "nngeometry.object")
metrics = peer("nngeometry", "nngeometry.metrics")

# Both sides compute in float64; nngeometry guards a division by adding 2e-16 to the
# probabilities that are left, of which the smallest here are above 1e-4.
TOLERANCE = 1e-12


def loader(inputs, labels):
    # It asks for gradients by the inputs it is given: these are a copy.
    data = torch.utils.data.TensorDataset(inputs.clone(), labels)
    return torch.utils.data.DataLoader(data, batch_size=4)


def fisher_mean(model, inputs, labels):
    data = loader(inputs, labels)
    found = metrics.FIM(model, data, matrices.PMatDense, variant="classif_logits")
    return found.to_torch()


def outer_gram(model, inputs, labels):
    """J_i J_j^T as (N, C, N, C); nngeometry has the outputs before the examples."""
    found = gram.GramMatrix(model, loader(inputs, labels)).to_torch()
    return found.permute(1, 0, 3, 2)


def test_the_fisher_information_of_a_last_layer(problem):
    features = problem.features(problem.train)
    theirs = fisher_mean(problem.last_layer, features, problem.labels)
    ours = problem.roots(problem.train)
    agree(in_torch_order(ours.fisher_mean()), theirs, TOLERANCE)
    agree(in_torch_order(ours.fisher_sum()), N * theirs, TOLERANCE)


def test_the_fisher_information_of_a_network(problem):
    ours = problem.network_roots(problem.train).fisher_sum()
    theirs = fisher_mean(problem.model, problem.train, problem.labels)
    agree(ours, N * theirs, TOLERANCE)


def test_the_gram_matrix_of_a_last_layer(problem):
    # The Jacobians are the roots of a Gaussian of variance 1.
    variance = 1.7
    features = problem.features(problem.train)
    theirs = outer_gram(problem.last_layer, features, problem.labels)
    roots = problem.roots(problem.train, family=Gaussian(variance))
    agree(roots.cross(roots), theirs / variance, TOLERANCE)


def test_the_gram_matrix_of_a_network(problem):
    variance = 1.7
    roots = problem.network_roots(problem.train, family=Gaussian(variance))
    theirs = outer_gram(problem.model, problem.train, problem.labels)
    agree(roots.cross(roots), theirs / variance, TOLERANCE)


def test_the_joint_eig_is_a_log_determinant_over_the_examples(problem):
    # nngeometry's root of an example's Fisher information differs from fimlib's by a
    # rotation, which no determinant sees (Sylvester).
    prior_precision = 0.7
    features, pool_labels = problem.features(problem.pool), torch.zeros(M).long()
    data = loader(features, pool_labels)
    found = metrics.FIM(
        problem.last_layer, data, matrices.FMatDense, variant="classif_logits"
    ).to_torch()
    size = found.shape[0] * found.shape[1]
    assert found.shape[0] == C - 1
    kernel = found.reshape(size, size) / prior_precision
    theirs = torch.linalg.slogdet(torch.eye(size) + kernel).logabsdet / 2
    ours = batch_eig(
        problem.roots(problem.pool), GaussianPosterior.isotropic(D, prior_precision)
    )
    agree(ours, theirs, TOLERANCE)

"""bmdal-reg: kernels of rank-1 features for regression, and max-det selection.

Its kernel is the plain inner product of features; the noise variance s2 enters as a
ridge beside it. fimlib has it in the roots: R_i = phi_i^T / s, with prior precision 1.
"""

import math

import torch
from conversions import agree, peer

from fimlib.fisher import FisherRoots
from fimlib.information import batch_eig, eig
from fimlib.posterior import GaussianPosterior

bmdal = peer("bmdal-reg", "bmdal_reg.bmdal.selection")

NOISE = 0.6

# Both sides compute in float64 and factor a matrix of condition below 100.
TOLERANCE = 1e-13


def peer_features(features):
    """bmdal's features, of which no other map is taken."""
    identity = bmdal.IdentityFeatureMap(features.shape[1])
    return bmdal.Features(identity, bmdal.TensorFeatureData(features))


def roots_of(problem, inputs):
    return problem.planted(FisherRoots.from_dense(problem.features(inputs) / NOISE))


def test_the_kernel_is_the_gram_matrix_of_the_roots(problem):
    train, pool = (problem.features(x) for x in (problem.train, problem.pool))
    theirs = peer_features(train).get_kernel_matrix(peer_features(pool))
    ours = roots_of(problem, problem.train).cross(roots_of(problem, problem.pool))
    agree(ours[:, 0, :, 0], theirs / NOISE**2, TOLERANCE)


def test_the_posterior_kernel_gives_the_eig(problem):
    # phi^T P^{-1} phi, P = I + Phi^T Phi / s2, is the variance of the mean: over s2 it
    # is the Gram block, whose log(1 + .) / 2 is the EIG.
    train, pool = (problem.features(x) for x in (problem.train, problem.pool))
    posterior = peer_features(train).posterior_tfm(NOISE)
    theirs = posterior(peer_features(pool)).get_kernel_matrix_diag() / NOISE**2
    roots = roots_of(problem, problem.pool)
    post = GaussianPosterior.from_roots(roots_of(problem, problem.train), 1.0)
    agree(roots.gram(post)[:, 0, 0], theirs, TOLERANCE)
    agree(eig(roots, post, form="trace"), theirs / 2, TOLERANCE)
    agree(eig(roots, post), theirs.log1p() / 2, TOLERANCE)


def test_max_det_selection_is_greedy_in_the_joint_eig(problem):
    train, pool = (problem.features(x) for x in (problem.train, problem.pool))
    posterior = peer_features(train).posterior_tfm(NOISE)
    features = posterior(peer_features(pool))
    method = bmdal.MaxDetSelectionMethod(
        features, peer_features(train), noise_sigma=NOISE
    )
    chosen = method.select(5).tolist()
    assert len(set(chosen)) == 5
    roots = roots_of(problem, problem.pool)
    post = GaussianPosterior.from_roots(roots_of(problem, problem.train), 1.0)

    # Its determinant is of K + s2 I: without the noise, 2 log s for each example.
    kernel = features.get_kernel_matrix(features)[chosen][:, chosen]
    noisy = torch.linalg.slogdet(kernel + NOISE**2 * torch.eye(5)).logabsdet
    joint = batch_eig(roots[chosen], post)
    agree(joint, noisy / 2 - 5 * math.log(NOISE), TOLERANCE)

    for step in range(5):
        others = [i for i in range(len(roots)) if i not in chosen[:step]]
        gains = [batch_eig(roots[[*chosen[:step], i]], post) for i in others]
        assert others[int(torch.stack(gains).argmax())] == chosen[step]

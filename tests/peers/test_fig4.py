"""bmdal-reg: the kernels of Figure 4 and, from the same features, the same batches.

Its sketches and random features are of torch's own generator: with the same seed they
are ours, number by number. What differs is in the tests' names: `acs-rf` without a
factor of the posterior covariance, 1e-8 more noise in BAIT's scores, and a batch that
is filled up at random once nothing is left to gain, where ours goes on by index.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from conversions import agree, peer

from fimlib.experiments.fig4 import choose as fig4
from fimlib.experiments.fig4 import kernels
from fimlib.experiments.fig4.mlp import BIAS_FACTOR, WEIGHT_FACTOR, drawn

bmdal = peer("bmdal-reg", "bmdal_reg.bmdal.algorithms")

INPUTS, HIDDEN, WIDTH = 3, (17, 13), 29
POOL, TRAIN, MEMBERS, BATCH = 101, 23, 10, 11
NOISE = 1e-3  # as in the benchmark

# The benchmark's kernel transforms and selection of each method.
TRAIN_TRANSFORM = ("train", [NOISE, None])
ACS_TRANSFORM = ("acs-rf", [WIDTH, NOISE, None])
WHITE_BOX = {
    "bald": ([ACS_TRANSFORM], "maxdiag"),
    "batch-bald": ([TRAIN_TRANSFORM], "maxdet"),
    "bait": ([TRAIN_TRANSFORM], "bait"),
    "acs-fw": ([("acs-rf-hyper", [WIDTH, None])], "fw"),
    "core-set": ([TRAIN_TRANSFORM], "maxdist"),
    "badge": ([ACS_TRANSFORM], "kmeanspp"),
    "lcmd": ([], "lcmd"),
}
CLASSES = {
    "bald": "MaxDiag",
    "batch-bald": "MaxDet",
    "bait": "BaitFeatureSpace",
    "acs-fw": "FrankWolfe",
    "core-set": "MaxDist",
    "badge": "Kmeanspp",
    "lcmd": "LargestClusterMaxDist",
}
EXACT = [method for method in CLASSES if method != "badge"]


@pytest.fixture(autouse=True)
def double():
    """float64 also for the constants that bmdal makes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(seed, members=1):
    """Networks, inputs of a pool and a training set, and the latter's targets."""
    generators = [source(seed + 1000 * i) for i in range(members)]
    stack = drawn(INPUTS, HIDDEN, generators)
    for bias in stack.biases:
        bias.normal_(generator=generators[0])
    x = torch.randn(POOL + TRAIN, INPUTS, generator=source(seed))
    return stack, x[:POOL], x[POOL:], x[POOL:].sin().sum(1) + 1


def peer_model(stack):
    """The same network, of bmdal's layers."""
    layers = []
    for weight, bias in zip(stack.weights, stack.biases, strict=True):
        factor = WEIGHT_FACTOR / math.sqrt(weight.shape[1])
        layers += [
            bmdal.LinearLayer(weight[0].clone(), bias[0, 0].clone(), factor, BIAS_FACTOR),
            torch.nn.ReLU(),
        ]
    return torch.nn.Sequential(*layers[:-1])


def peer_features(features):
    """bmdal's features, of which no other map is taken."""
    identity = bmdal.IdentityFeatureMap(features.shape[1])
    return bmdal.Features(identity, bmdal.TensorFeatureData(features))


def select(method, pool, train, size, noise=NOISE):
    """bmdal's batch, in the mode of the figure."""
    found = getattr(bmdal, f"{CLASSES[method]}SelectionMethod")(
        pool_features=peer_features(pool),
        train_features=None if train is None else peer_features(train),
        sel_with_train=method == "lcmd",
        noise_sigma=noise,
        verbosity=0,
    )
    chosen = found.select(size)
    # In order of size, the largest first.
    return (chosen.flip(0) if method == "bald" else chosen).tolist(), found


def peer_gradients(stack, *inputs):
    model = peer_model(stack)
    grad_layers = [layer for layer in model if isinstance(layer, bmdal.LinearLayer)]
    feature_map = bmdal.create_grad_feature_map(model, grad_layers, use_float64=True)
    return [
        bmdal.Features(feature_map, bmdal.TensorFeatureData(x)).precompute()
        for x in inputs
    ]


def test_the_network_and_the_kernel_of_its_gradients():
    stack, pool, train, _ = problem(0)
    agree(peer_model(stack)(pool)[:, 0], stack.predict(pool)[0], 1e-13)
    theirs = peer_gradients(stack, pool, train)
    ours = [kernels.gradient_factors(stack, x) for x in (pool, train)]
    kernel = sum(
        (a @ c.mT) * (b @ d.mT) for (a, b), (c, d) in zip(*ours, strict=True)
    )
    agree(kernel, theirs[0].get_kernel_matrix(theirs[1]), 1e-13)


def peer_transformed(stack, pool, train, transforms, targets, seed):
    """The pool's and training set's features after bmdal's transforms."""
    torch.manual_seed(seed)
    inner = bmdal.BatchSelectorImpl(
        [peer_model(stack)],
        {k: bmdal.TensorFeatureData(x) for k, x in (("train", train), ("pool", pool))},
        targets[:, None],
    )
    inner.select("grad", [("rp", [WIDTH]), *transforms], "random", 1)
    return [inner.features[k].get_feature_matrix() for k in ("pool", "train")]


@pytest.mark.parametrize("method", WHITE_BOX)
def test_the_kernel_of_the_white_box(method):
    stack, pool, train, targets = problem(3)
    transforms, _ = WHITE_BOX[method]
    theirs = peer_transformed(stack, pool, train, transforms, targets, 3)
    args = (stack, pool, train, source(3), WIDTH, NOISE, targets)
    ours = fig4.features(method, "white-box", *args)
    if ours.train is not None:
        agree(ours.train, theirs[1], 1e-9)
    agree(ours.pool, theirs[0], 1e-7)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", EXACT)
def test_the_white_box_chooses_the_same_batch(method, seed):
    # All of it by the two libraries: network, sketch, transforms and selection.
    stack, pool, train, targets = problem(seed)
    transforms, selection = WHITE_BOX[method]
    torch.manual_seed(seed)
    theirs, results = bmdal.select_batch(
        BATCH,
        [peer_model(stack)],
        {"train": bmdal.TensorFeatureData(train), "pool": bmdal.TensorFeatureData(pool)},
        targets[:, None],
        "grad",
        [("rp", [WIDTH]), *transforms],
        selection,
        sel_with_train=method == "lcmd",
        maxdet_sigma=NOISE,
        bait_sigma=NOISE,
        allow_float64=True,
        verbosity=0,
    )
    assert results["selection_status"] is None
    theirs = theirs.flip(0) if method == "bald" else theirs
    args = (stack, pool, train, source(seed), WIDTH, NOISE, targets)
    found = fig4.features(method, "white-box", *args)
    ours = fig4.choose(method, *found, BATCH, noise=NOISE)
    assert ours.indices.tolist() == theirs.tolist()


def black_box(seed):
    """Features of an ensemble's covariance on the pool and on the training set."""
    stack, pool, train, _ = problem(seed, MEMBERS)
    return fig4.features("lcmd", "black-box", stack, pool, train)


@pytest.mark.parametrize("size", [7, 31])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", EXACT)
def test_the_black_box_chooses_the_same_batch(method, seed, size):
    pool, train = black_box(seed)
    assert torch.linalg.matrix_rank(pool) == MEMBERS - 1
    theirs, _ = select(method, pool, train, size)
    ours = fig4.choose(method, pool, train, size, noise=NOISE)
    print(method, size, ours.notes)
    assert ours.indices.tolist() == theirs

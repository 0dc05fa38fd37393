"""bmdal-reg's max-det and submodlib's log-determinants: the same greedy batches.

bmdal's kernel is of features with a ridge sigma^2. submodlib has lambda on the
diagonals of kernels it holds in float32, and values without the 1/2: twice our gains,
and K log lambda in what is no mutual information. In its convention eta and nu multiply
the kernels between the ground set and the queries or the private examples.
"""

import math

import numpy as np
import pytest
import torch
from conversions import peer

from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior
from fimlib.selection import greedy_log_det, log_det_cg, log_det_cmi, log_det_mi

RIDGE, WIDTH = 0.6, 17
POOL, QUERIES, PRIVATE, BATCH = 43, 7, 5, 11


@pytest.fixture
def bmdal():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield peer("bmdal-reg", "bmdal_reg.bmdal.selection")
    torch.set_default_dtype(before)


@pytest.fixture
def submodlib():
    return peer("submodlib-py", "submodlib")


def features(count, seed):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(count, WIDTH, generator=source, dtype=torch.float64)


def roots(count, seed):
    return FisherRoots.from_dense(features(count, seed))


def kernel(first, second):
    return (first @ second.mT).numpy()


POST = GaussianPosterior.isotropic(WIDTH, RIDGE)
SETS = features(POOL, 0), features(QUERIES, 1), features(PRIVATE, 2)
SIZES = dict(zip(("n", "num_queries", "num_privates"), map(len, SETS), strict=True))


def kernels(*names):
    """Arguments of these kernels' names: `data`, `query`, `private` and their pairs."""
    pool, query, private = SETS
    every = {
        "data_sijs": kernel(pool, pool),
        "query_sijs": kernel(pool, query),
        "query_query_sijs": kernel(query, query),
        "private_sijs": kernel(pool, private),
        "private_private_sijs": kernel(private, private),
        "query_private_sijs": kernel(query, private),
    }
    return {name: every[name] for name in names}


def agree(function, ours, shift=0.0, optimizer="NaiveGreedy"):
    """Its greedy batch is ours, its gains are twice ours and a shift, in float32."""
    theirs = function.maximize(BATCH, optimizer=optimizer, show_progress=False)
    assert [index for index, _ in theirs] == ours.indices.tolist()
    gains = 2 * ours.gains.numpy() + shift
    np.testing.assert_allclose([gain for _, gain in theirs], gains, rtol=2e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("train", [0, 9])
def test_max_det_is_greedy_log_det(bmdal, seed, train):
    def peer_features(values):
        identity = bmdal.IdentityFeatureMap(WIDTH)
        return bmdal.Features(identity, bmdal.TensorFeatureData(values))

    noise = math.sqrt(RIDGE)
    pool, known = features(POOL, seed), features(max(train, 1), seed + 50)
    theirs, post = peer_features(pool), GaussianPosterior.isotropic(WIDTH, 1.0)
    if train:
        theirs = peer_features(known).posterior_tfm(noise)(theirs)
        post = post.update(FisherRoots.from_dense(known / noise))
    method = bmdal.MaxDetSelectionMethod(
        theirs, peer_features(known), noise_sigma=noise
    )
    ours = greedy_log_det(FisherRoots.from_dense(pool / noise), post, WIDTH)
    assert method.select(WIDTH).tolist() == ours.indices.tolist()


@pytest.mark.parametrize("optimizer", ["NaiveGreedy", "LazyGreedy"])
def test_log_det(submodlib, optimizer):
    function = submodlib.LogDeterminantFunction(
        n=POOL, mode="dense", lambdaVal=RIDGE, sijs=kernel(SETS[0], SETS[0])
    )
    ours = greedy_log_det(FisherRoots.from_dense(SETS[0]), POST, BATCH)
    agree(function, ours, math.log(RIDGE), optimizer)


@pytest.mark.parametrize("eta", [1.0, 0.6])
def test_log_det_mi(submodlib, eta):
    function = submodlib.LogDeterminantMutualInformationFunction(
        n=POOL,
        num_queries=QUERIES,
        lambdaVal=RIDGE,
        magnificationEta=eta,
        **kernels("data_sijs", "query_sijs", "query_query_sijs"),
    )
    pool, evals = (FisherRoots.from_dense(one) for one in SETS[:2])
    agree(function, log_det_mi(pool, evals, POST, BATCH, eta=eta))


@pytest.mark.parametrize("nu", [1.0, 0.6])
def test_log_det_cg(submodlib, nu):
    function = submodlib.LogDeterminantConditionalGainFunction(
        n=POOL,
        num_privates=PRIVATE,
        lambdaVal=RIDGE,
        privacyHardness=nu,
        **kernels("data_sijs", "private_sijs", "private_private_sijs"),
    )
    pool, private = (FisherRoots.from_dense(one) for one in SETS[::2])
    agree(function, log_det_cg(pool, private, POST, BATCH, nu=nu), math.log(RIDGE))


@pytest.mark.parametrize(("eta", "nu"), [(1.0, 1.0), (0.7, 0.7), (0.5, 0.6)])
def test_log_det_cmi(submodlib, eta, nu):
    function = submodlib.LogDeterminantConditionalMutualInformationFunction(
        **SIZES,
        lambdaVal=RIDGE,
        magnificationEta=eta,
        privacyHardness=nu,
        **kernels(
            "data_sijs",
            "query_sijs",
            "query_query_sijs",
            "private_sijs",
            "private_private_sijs",
            "query_private_sijs",
        ),
    )
    pool, evals, private = (FisherRoots.from_dense(one) for one in SETS)
    agree(function, log_det_cmi(pool, evals, private, POST, BATCH, eta=eta, nu=nu))


def test_past_the_rank_an_element_is_repeated_by_it_and_none_by_us(submodlib):
    low = features(POOL, 3)[:, :4] @ features(4, 4)
    function = submodlib.LogDeterminantFunction(
        n=POOL, mode="dense", lambdaVal=0.0, sijs=kernel(low, low)
    )
    theirs = function.maximize(BATCH, show_progress=False)
    assert len({index for index, _ in theirs}) < BATCH
    post = GaussianPosterior.isotropic(WIDTH, 1e-9)
    ours = greedy_log_det(FisherRoots.from_dense(low), post, BATCH)
    assert len(set(ours.indices.tolist())) == BATCH
    assert ours.gains.isfinite().all()


def test_an_eta_of_2_repeats_elements_there_and_is_refused_here(submodlib):
    function = submodlib.LogDeterminantMutualInformationFunction(
        n=POOL,
        num_queries=QUERIES,
        lambdaVal=RIDGE,
        magnificationEta=2.0,
        **kernels("data_sijs", "query_sijs", "query_query_sijs"),
    )
    theirs = function.maximize(BATCH, show_progress=False)
    assert len({index for index, _ in theirs}) < BATCH
    pool, evals = (FisherRoots.from_dense(one) for one in SETS[:2])
    with pytest.raises(ValueError, match="eta must leave the joint kernel"):
        log_det_mi(pool, evals, POST, BATCH, eta=2.0)

"""bmdal-reg and scikit-activeml: batches spread out, Frank-Wolfe, and BAIT at rank 1.

bmdal's mode "P" knows the pool only, "TP" has the training examples as centres too. Its
BAIT has sums where ours has means, and the noise variance in the denominator: a score
of its is 2 n s2 times our gain, n examples in its sum.
"""

import numpy as np
import pytest
import torch
from conversions import agree, peer

from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior
from fimlib.selection import badge, bait, frank_wolfe, k_means_pp, lcmd, max_dist

bmdal = peer("bmdal-reg", "bmdal_reg.bmdal.selection")

NOISE = 0.6
POOL, TRAIN, WIDTH = 41, 7, 5


@pytest.fixture(autouse=True)
def double():
    """float64 also for the constants that bmdal makes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def data(seed):
    """Features of a pool, of several lengths, and of a training set."""
    pool, train = normal(POOL, WIDTH, seed=seed), normal(TRAIN, WIDTH, seed=seed + 1)
    return pool * (1 + torch.arange(POOL)[:, None] % 3), train


def peer_features(features):
    """bmdal's features, of which no other map is taken."""
    identity = bmdal.IdentityFeatureMap(features.shape[1])
    return bmdal.Features(identity, bmdal.TensorFeatureData(features))


def select(name, pool, train, size, **options):
    method = getattr(bmdal, f"{name}SelectionMethod")
    method = method(peer_features(pool), peer_features(train), verbosity=0, **options)
    return method.select(size).tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_train", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(max_dist, "MaxDist"), (lcmd, "LargestClusterMaxDist")]
)
def test_the_same_examples_are_chosen(ours, theirs, with_train, seed):
    pool, train = data(seed)
    wanted = select(theirs, pool, train, 23, sel_with_train=with_train)
    found = ours(pool, 23, train_features=train if with_train else None)
    assert found.indices.tolist() == wanted
    assert len(set(wanted)) == 23


@pytest.mark.parametrize("seed", range(5))
def test_frank_wolfe_chooses_the_same_examples(seed):
    pool, train = data(seed)
    found = frank_wolfe(pool, 17)
    assert found.indices.tolist() == select("FrankWolfe", pool, train, 17)


@pytest.mark.parametrize("with_train", [False, True])
def test_the_distances_of_d2_sampling_are_the_same(with_train):
    # The draws differ; what they are proportional to, along our batch, does not.
    pool, train = data(1)
    found = k_means_pp(
        pool,
        13,
        train_features=train if with_train else None,
        generator=torch.Generator().manual_seed(0),
    )
    method = bmdal.KmeansppSelectionMethod(
        peer_features(pool), peer_features(train), sel_with_train=with_train
    )
    for number in range(TRAIN if with_train else 0):
        method.add(POOL + number)
    theirs = [pool[found.indices[0]].square().sum()] * (not with_train)
    for index in found.indices.tolist():
        if torch.isfinite(method.min_sq_dists).all():
            theirs.append(method.min_sq_dists[index].clone())
        method.add(index)
    agree(found.gains, torch.stack(theirs), 1e-13)


@pytest.mark.parametrize("oversample", [1, 2])
def test_bait_of_rank_one_chooses_the_same_examples(problem, oversample):
    train, pool = (problem.features(x) for x in (problem.train, problem.pool))
    posterior = peer_features(train).posterior_tfm(NOISE)
    method = bmdal.BaitFeatureSpaceSelectionMethod(
        posterior(peer_features(pool)),
        posterior(peer_features(train)),
        noise_sigma=NOISE,
        overselection_factor=float(oversample),
        verbosity=0,
    )
    scores = method.get_scores() / (2 * NOISE**2 * (len(pool) + len(train)))
    wanted = method.select(4).tolist()

    rows = [problem.planted(FisherRoots.from_dense(x / NOISE)) for x in (pool, train)]
    both = FisherRoots.joined(rows)
    post = GaussianPosterior.from_roots(rows[1], 1.0)
    found = bait(rows[0], both, post, 4, oversample)
    if problem.fault == 1.0:
        assert found.indices.tolist() == wanted
    single = [bait(rows[0][[i]], both, post, 1).gains[0] for i in range(len(pool))]
    # It adds 1e-8 to the noise variance.
    agree(torch.stack(single), scores, 1e-7)


def given_classifier(features, logits):
    """A classifier of scikit-activeml with these outputs, whatever it is asked."""
    base = peer("scikit-activeml", "skactiveml.base")

    class Given(base.SkactivemlClassifier):
        def fit(self, X, y, sample_weight=None):
            return self

        def predict_proba(self, X):
            return logits.softmax(1).numpy(), features.numpy()

    return Given()


def test_badge_draws_by_the_distances_of_scikit_activeml_without_the_origin():
    pool = peer("scikit-activeml", "skactiveml.pool")
    features, logits = normal(POOL, WIDTH, seed=1), normal(POOL, 3, seed=2)
    query = pool.Badge(random_state=0)
    chosen, utilities = query.query(
        features.numpy(),
        np.full(POOL, np.nan),
        given_classifier(features, logits),
        fit_clf=False,
        batch_size=2,
        return_utilities=True,
    )
    found = badge(features, logits, POOL, torch.Generator().manual_seed(0))
    assert int(found.indices[0]) == chosen[0]
    # The distances to the first choice: of each example in a batch of the two.
    apart = torch.zeros(POOL)
    for i in range(POOL):
        if i != chosen[0]:
            pair = [chosen[0], i]
            apart[i] = badge(features[pair], logits[pair], 2).gains[1]
    # In 1.0.1 the origin is a centre as well: their distance is at most the norm.
    norms = torch.stack(
        [badge(features[[i]], logits[[i]], 1).gains[0] for i in range(POOL)]
    )
    theirs = torch.minimum(apart, norms)
    others = [i for i in range(POOL) if i != chosen[0]]
    agree(torch.tensor(utilities[1])[others], (theirs / theirs.sum())[others], 1e-6)
    assert (apart > norms)[others].double().mean() > 0.1

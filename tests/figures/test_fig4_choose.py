"""The batches of Figure 4 against brute force, and the kernels of each method."""

import numpy as np
import pytest
import torch

from fimlib.figures.fig4 import kernels
from fimlib.figures.fig4.choose import KERNELS, METHODS, choose, features
from fimlib.figures.fig4.mlp import drawn
from fimlib.selection import k_means_pp

POOL, TRAIN, WIDTH, BATCH, NOISE = 23, 7, 5, 11, 0.3
INPUTS = 3


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=source(seed), dtype=torch.float64)


def data(seed):
    """Features of a pool, of several lengths, and of a training set."""
    pool = normal(POOL, WIDTH, seed=seed) * (1 + torch.arange(POOL)[:, None] % 3)
    return pool, normal(TRAIN, WIDTH, seed=seed + 100)


def greedy(values, size=BATCH, start=()):
    """Indices of the largest `values(chosen)`, one at a time."""
    chosen = list(start)
    while len(chosen) < size:
        found = np.array(values(chosen), dtype=float)
        found[chosen] = -np.inf
        chosen.append(int(found.argmax()))
    return chosen


def by_determinants(pool, train):
    def values(chosen):
        rows = [pool[[*chosen, i]] for i in range(len(pool))]
        noise = NOISE**2 * np.eye(len(chosen) + 1)
        return [np.linalg.slogdet(x @ x.T + noise)[1] for x in rows]

    return greedy(values)


def by_traces(pool, train):
    both = np.concatenate([pool, train])

    def values(chosen):
        found = []
        for i in range(len(pool)):
            # The rows of one example twice would count twice.
            rows = pool[[*chosen, i]] if i not in chosen else pool[chosen]
            precision = np.eye(WIDTH) + rows.T @ rows / NOISE**2
            found.append(-np.trace(np.linalg.solve(precision, both.T @ both)))
        return found

    return greedy(values)


def apart(pool, centres):
    return ((pool[:, None] - centres[None]) ** 2).sum(2)


def by_distance(pool, train):
    start = [int((pool**2).sum(1).argmax())]
    return greedy(lambda chosen: apart(pool, pool[chosen]).min(1), start=start)


def by_clusters(pool, train):
    def values(chosen):
        found = apart(pool, np.concatenate([train, pool[chosen]]))
        nearest, least = found.argmin(1), found.min(1)
        sizes = np.bincount(nearest, weights=least)
        return np.where(nearest == sizes.argmax(), least, -1.0)

    return greedy(values)


def by_frank_wolfe(pool, train):
    """The weights of the pool's examples themselves, as Pinsler et al. have it."""
    lengths = np.sqrt((pool**2).sum(1))
    weights, chosen = np.zeros(len(pool)), []
    for _ in range(BATCH):
        left = (1 - weights) @ pool
        scores = pool @ left / lengths
        scores[chosen] = -np.inf
        best = int(scores.argmax())
        vertex = np.zeros(len(pool))
        vertex[best] = lengths.sum() / lengths[best]
        step = (vertex - weights) @ pool
        weights += step @ left / (step @ step) * (vertex - weights)
        chosen.append(best)
    return chosen


BRUTE = {
    "bald": lambda pool, train: np.argsort(-(pool**2).sum(1))[:BATCH].tolist(),
    "batch-bald": by_determinants,
    "bait": by_traces,
    "acs-fw": by_frank_wolfe,
    "core-set": by_distance,
    "lcmd": by_clusters,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", BRUTE)
def test_the_batch_of_brute_force(method, seed):
    # 11 examples of 5 features: past the rank as well.
    pool, train = data(seed)
    found = choose(method, pool, train, BATCH, noise=NOISE)
    assert found.indices.tolist() == BRUTE[method](pool.numpy(), train.numpy())


def test_badge_draws_the_first_centre_at_random():
    pool, _ = data(0)
    found = choose("badge", pool, None, BATCH, source(3))
    wanted = k_means_pp(pool, BATCH, first="uniform", generator=source(3))
    assert found.indices.tolist() == wanted.indices.tolist()
    first = [int(choose("badge", pool, None, 1, source(i)).indices) for i in range(920)]
    counts = np.bincount(first, minlength=POOL)
    # Chi-square with 22 degrees of freedom: its 0.9999 quantile is 56.
    assert ((counts - 40.0) ** 2 / 40).sum() < 56


def test_uniform_is_a_random_subset():
    drawn_batches = [
        choose("uniform", torch.empty(POOL, 0), None, BATCH, source(i)).indices
        for i in range(460)
    ]
    assert all(len(set(batch.tolist())) == BATCH for batch in drawn_batches)
    again = choose("uniform", torch.empty(POOL, 0), None, BATCH, source(5))
    assert again.indices.equal(drawn_batches[5])
    assert not again.gains.any()
    # Each example is in 11 of 23 batches.
    counts = torch.cat(drawn_batches).bincount(minlength=POOL)
    assert (counts - 220).abs().max() < 4.5 * (460 * 11 / 23 * 12 / 23) ** 0.5


@pytest.mark.parametrize("method", METHODS)
def test_no_method_fails_past_the_rank_of_an_ensemble(method):
    pool = kernels.ensemble_features(normal(4, 43))
    train = kernels.ensemble_features(normal(4, TRAIN, seed=1))
    found = choose(method, pool, train, 37, source(), noise=1e-3)
    assert len(set(found.indices.tolist())) == 37
    assert found.gains.isfinite().all()


def test_an_ensemble_that_agrees_is_completed_by_index():
    pool = kernels.ensemble_features(torch.ones(4, POOL))
    train = kernels.ensemble_features(torch.ones(4, TRAIN))
    for method in METHODS[1:]:
        found = choose(method, pool, train, BATCH, source())
        assert len(set(found.indices.tolist())) == BATCH
        assert bool(found.notes) == (method != "bald"), method


def networks():
    return drawn(INPUTS, (13, 11), [source(i) for i in range(3)])


def inputs():
    """Inputs of the pool and the training examples, and the latter's targets."""
    pool = normal(POOL, INPUTS).float()
    train = normal(TRAIN, INPUTS, seed=1).float()
    return pool, train, normal(TRAIN, seed=2)


def made(method, kernel):
    pool, train, targets = inputs()
    return features(
        method, kernel, networks(), pool, train, source(), 17, NOISE, targets
    )


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("kernel", KERNELS)
def test_which_methods_look_at_the_training_examples(method, kernel):
    found = made(method, kernel)
    width = 17 if kernel == "white-box" else 3
    assert found.pool.shape == (POOL, width)
    assert found.pool.dtype == torch.float64
    assert (found.train is not None) == (method in ("bait", "lcmd"))
    if found.train is not None:
        assert found.train.shape == (TRAIN, width)
    chosen = choose(method, *found, BATCH, source())
    assert len(set(chosen.indices.tolist())) == BATCH


@pytest.mark.parametrize("method", METHODS[1:])
def test_the_black_box_has_the_covariance_of_the_predictions(method):
    pool, train, _ = inputs()
    found = made(method, "black-box")
    rows = found.pool if found.train is None else torch.cat([found.pool, found.train])
    x = pool if found.train is None else torch.cat([pool, train])
    wanted = np.cov(networks().predict(x).double().T.numpy(), bias=True)
    torch.testing.assert_close(rows @ rows.mT, torch.tensor(wanted))


def white_box():
    """The sketched gradients of the first network, and the generator after them."""
    pool, train, _ = inputs()
    generator = source()
    both = torch.cat([pool, train])
    found = kernels.sketched_gradients(networks()[0], both, 17, generator)
    return found[:POOL], found[POOL:], generator


@pytest.mark.parametrize("method", ["batch-bald", "bait", "core-set"])
def test_the_white_box_is_given_the_training_examples(method):
    pool, train, _ = white_box()
    size = train.square().sum(1).mean()
    cross, noisy = pool @ train.mT / size, train @ train.mT / size
    noisy = noisy + NOISE**2 * torch.eye(TRAIN)
    wanted = pool @ pool.mT / size - cross @ torch.linalg.solve(noisy, cross.mT)
    found = made(method, "white-box")
    torch.testing.assert_close(found.pool @ found.pool.mT, wanted)
    if method == "bait":
        wanted = cross - cross @ torch.linalg.solve(noisy, train @ train.mT / size)
        torch.testing.assert_close(found.pool @ found.train.mT, wanted)


def test_the_other_white_boxes():
    pool, train, generator = white_box()
    found = made("lcmd", "white-box")
    torch.testing.assert_close(found.pool, pool)
    torch.testing.assert_close(found.train, train)
    pair, after = kernels.scaled_to_train(pool, train), generator.get_state()
    forms = {"bald": "benchmark", "badge": "benchmark", "acs-fw": "hyper"}
    for method, form in forms.items():
        generator.set_state(after)
        targets = inputs()[2]
        wanted = kernels.acs_features(*pair, 17, generator, NOISE, form, targets)
        torch.testing.assert_close(made(method, "white-box").pool, wanted)


def test_uniform_has_no_features():
    found = features("uniform", "none", networks(), *inputs()[:2])
    assert found.pool.shape == (POOL, 0)
    assert found.train is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choose("other", *data(0), 3), "method must be one of"),
        (lambda: choose("bait", data(0)[0], None, 3), "train must be given"),
        (lambda: choose("lcmd", data(0)[0], normal(3, 2), 3), "train must have shape"),
        (lambda: choose("bait", *data(0), 3, noise=-1.0), "noise must be positive"),
        (lambda: choose("bald", normal(3), None, 3), "pool must have shape"),
        (lambda: choose("uniform", normal(3, 2), None, 5), "batch_size must be at"),
        (
            lambda: features("other", "none", networks(), *inputs()[:2]),
            "method must be one of",
        ),
        (
            lambda: features("bald", "none", networks(), *inputs()[:2]),
            "kernel must be one of",
        ),
        (
            lambda: features("acs-fw", "white-box", networks(), *inputs()[:2]),
            "targets must be given",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()

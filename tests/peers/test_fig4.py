"""bmdal-reg: the kernels of Figure 4 and, from the same features, the same batches.

Its sketches and random features are of torch's own generator: with the same seed they
are ours, number by number. What differs is in the tests' names: `acs-rf` without a
factor of the posterior covariance, 1e-8 more noise in BAIT's scores, and a batch that
is filled up at random once nothing is left to gain, where ours goes on by index.
"""

import itertools
import math

import mpmath
import pytest
import torch
from conversions import agree, peer

from fimlib.figures.fig4 import choose as fig4
from fimlib.figures.fig4 import kernels
from fimlib.figures.fig4.mlp import BIAS_FACTOR, WEIGHT_FACTOR, drawn
from fimlib.selection import max_dist

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
            bmdal.LinearLayer(
                weight[0].clone(), bias[0, 0].clone(), factor, BIAS_FACTOR
            ),
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
    kernel = sum((a @ c.mT) * (b @ d.mT) for (a, b), (c, d) in zip(*ours, strict=True))
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
        {
            "train": bmdal.TensorFeatureData(train),
            "pool": bmdal.TensorFeatureData(pool),
        },
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


def test_far_past_the_rank_only_the_noise_decides():
    # With sigma^2 = 1e-6 on the diagonal both are still sure of each of 97 choices.
    pool, train = black_box(0)
    theirs, method = select("batch-bald", pool, train, 97)
    ours = fig4.choose("batch-bald", pool, train, 97, noise=NOISE)
    assert ours.indices.tolist() == theirs
    assert method.status is None
    assert not ours.notes
    # What is left of the variance of the others is below that of the noise.
    assert (method.diag.sort()[0][97:] < 2 * NOISE**2).all()
    assert 0 < ours.gains[-1] < ours.gains[MEMBERS] < ours.gains[0] / 10


def in_many_digits(pool, noise, size):
    """The greedy batch of max-det, of whose numbers nothing is lost."""
    with mpmath.workdps(60):
        rows = [mpmath.matrix(row.tolist()) / noise for row in pool]
        inverse, chosen = mpmath.eye(pool.shape[1]), []
        for _ in range(size):
            gains = [(row.T * inverse * row)[0] for row in rows]
            best = max(
                (i for i in range(len(rows)) if i not in chosen), key=gains.__getitem__
            )
            along = inverse * rows[best]
            inverse -= along * along.T / (1 + gains[best])
            chosen.append(best)
        return chosen


def test_with_hardly_any_noise_rounding_decides_past_the_rank_in_bmdal_only():
    # 1e-20 on the diagonal is lost beside what is left of the kernel by rounding.
    pool, train = black_box(0)
    theirs, method = select("batch-bald", pool, train, 31, 1e-10)
    ours = fig4.choose("batch-bald", pool, train, 31, noise=1e-10)
    wanted = in_many_digits(pool, 1e-10, 17)
    assert ours.indices.tolist()[:17] == wanted
    assert theirs[: MEMBERS - 1] == wanted[: MEMBERS - 1]
    assert theirs[:17] != wanted
    assert "filling up with random samples" in method.status


@pytest.mark.parametrize("kernel", fig4.KERNELS)
def test_max_dist_with_the_training_examples(kernel):
    stack, x_pool, x_train, _ = problem(0, MEMBERS)
    pool, train = fig4.features("lcmd", kernel, stack, x_pool, x_train, source(), WIDTH)
    theirs = bmdal.MaxDistSelectionMethod(
        peer_features(pool), peer_features(train), sel_with_train=True, verbosity=0
    )
    ours = max_dist(pool, BATCH, train_features=train)
    assert ours.indices.tolist() == theirs.select(BATCH).tolist()


@pytest.mark.parametrize("noise", [NOISE, 0.3])
def test_a_score_of_bait_is_2_n_times_the_gain_but_for_its_1e_8(noise):
    # A noise variance in both roots and evaluation roots would be another factor.
    pool, train = black_box(1)
    method = bmdal.BaitFeatureSpaceSelectionMethod(
        peer_features(pool), peer_features(train), noise_sigma=noise, verbosity=0
    )
    scores = method.get_scores()
    ours = fig4.choose("bait", pool, train, 1, noise=noise)
    best = int(ours.indices)
    size = float(pool[best].square().sum() + noise**2)
    wanted = scores[best] / (2 * (POOL + TRAIN)) * (size + 1e-8) / size
    agree(ours.gains[0], wanted, 1e-11)
    assert best == int(scores.argmax())


def peer_probabilities(pool, size):
    """How likely each ordered batch is under bmdal's k-means++."""
    found = {}
    for batch in itertools.permutations(range(len(pool)), size):
        method = bmdal.KmeansppSelectionMethod(
            peer_features(pool), peer_features(pool), sel_with_train=False
        )
        chance = 1 / len(pool)
        for index in batch[:-1]:
            method.add(index)
            weights = method.min_sq_dists.clamp(min=0)
            chance *= float(weights[batch[batch.index(index) + 1]] / weights.sum())
        found[batch] = chance
    return found


@pytest.mark.parametrize("members", [3, 10])
def test_badge_draws_the_batches_of_k_means_pp(members):
    # Ours draws by bounds and rejects: other random numbers, the same distribution.
    stack, x_pool, x_train, _ = problem(0, members)
    pool = fig4.features("badge", "black-box", stack, x_pool[:5], x_train).pool
    wanted = peer_probabilities(pool, 3)
    assert math.isclose(sum(wanted.values()), 1.0, rel_tol=1e-12)
    generator, draws = source(1), 4000
    counts = dict.fromkeys(wanted, 0)
    for _ in range(draws):
        batch = fig4.choose("badge", pool, None, 3, generator)
        counts[tuple(batch.indices.tolist())] += 1
    # Rare batches share a cell.
    cells = {}
    for batch, chance in wanted.items():
        cell = cells.setdefault(batch if draws * chance >= 8 else "rare", [0, 0.0])
        cell[0] += counts[batch]
        cell[1] += draws * chance
    chi_square = sum((seen - mean) ** 2 / mean for seen, mean in cells.values())
    freedom = len(cells) - 1
    assert freedom > 20
    assert chi_square < freedom + 4.5 * math.sqrt(2 * freedom)


def acs_pair(noise, form, width=WIDTH):
    """Random features of ours, and bmdal's with the same draws."""
    stack, x_pool, x_train, targets = problem(2)
    both = torch.cat([x_pool, x_train])
    found = kernels.sketched_gradients(stack, both, WIDTH, source())
    pool, train = kernels.scaled_to_train(found[:POOL], found[POOL:])
    ours = kernels.acs_features(pool, train, width, source(5), noise, form, targets)
    torch.manual_seed(5)
    known = peer_features(train)
    if form == "hyper":
        transform = known.acs_rf_hyper_tfm(targets[:, None], width)
    else:
        transform = known.acs_rf_tfm(width, noise)
    theirs = transform(peer_features(pool)).get_feature_matrix()
    return ours, theirs


@pytest.mark.parametrize("noise", [NOISE, 0.3, 1.0])
@pytest.mark.parametrize("form", ["benchmark", "hyper"])
def test_random_features_of_coresets(form, noise):
    agree(*acs_pair(noise, form), 1e-7 if noise == NOISE else 1e-11)


def test_it_divides_by_the_number_of_inputs_of_the_random_features():
    ours, theirs = acs_pair(0.3, "benchmark", 47)
    agree(ours * math.sqrt(47 / WIDTH), theirs, 1e-11)


def test_its_random_features_lack_a_factor_of_the_posterior_covariance():
    agree(*acs_pair(1.0, "posterior"), 1e-12)
    ours, theirs = acs_pair(0.3, "posterior")
    assert (ours - theirs).abs().max() > 0.5 * theirs.abs().max()


def test_the_kernel_of_its_random_features_in_the_mean():
    # E of f^2 g^2 for f, g ~ N(0, C), C = (X^T X + s2 I)^{-1} without the factor s2.
    noise, (pool, train) = 0.3, (x[:, :5] for x in black_box(0))
    pool, train = 40 * pool[:3], 40 * train
    torch.manual_seed(0)
    transform = peer_features(train).acs_rf_tfm(200_000, noise)
    theirs = transform(peer_features(pool)).get_feature_matrix()
    ours = kernels.acs_features(pool, train, 200_000, source(7), noise, "benchmark")
    pairs = [(x * x.shape[1] ** 0.5) for x in (ours, theirs * math.sqrt(5 / 200_000))]
    products = [x[:, None] * x[None] for x in pairs]
    means = [x.mean(2) for x in products]
    error = sum(x.var(2) / x.shape[2] for x in products).sqrt()
    assert ((means[0] - means[1]).abs() < 4.5 * error).all()
    assert (error.diagonal() < 0.02 * means[0].diagonal()).all()

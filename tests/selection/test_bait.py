"""BAIT beside brute force: D x D inverses for every candidate of every step."""

import mpmath
import numpy as np
import pytest
import torch
from cases import dense_roots, fishers, mp_matrix, normal, softmax_roots
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.fisher import FisherRoots, KroneckerRoots, roots_from_loader
from fimlib.information import epig
from fimlib.posterior import GaussianPosterior
from fimlib.selection import bait


def trace(evals, precision):
    return np.trace(np.linalg.solve(precision, evals))


def by_definition(pool, evals, start, batch_size, oversample):
    """Indices and halved decreases of tr(F_U M^{-1}), from NumPy matrices (M, D, D)."""
    now, chosen = start.copy(), []
    for _ in range(min(oversample * batch_size, len(pool))):
        rest = [i for i in range(len(pool)) if i not in chosen]
        left = [trace(evals, now + pool[i]) for i in rest]
        chosen.append(rest[int(np.argmin(left))])
        now = now + pool[chosen[-1]]
    while len(chosen) > batch_size:
        left = [trace(evals, now - pool[i]) for i in chosen]
        now = now - pool[chosen.pop(int(np.argmin(left)))]
    steps = np.cumsum([start, *(pool[i] for i in chosen)], axis=0)
    return chosen, -np.diff([trace(evals, m) for m in steps]) / 2


def problem(kind, seed, prior=0.7, count=13):
    make = dense_roots if kind == "dense" else softmax_roots
    options = {} if kind == "dense" else {"bias": False, "scale": 2.0}
    sizes = {"pool": count, "evals": 7, "train": 5}
    seeds = zip(sizes.values(), (seed, seed + 100, seed + 200), strict=True)
    pool, evals, train = (make(n, seed=s, **options) for n, s in seeds)
    return pool, evals, train, GaussianPosterior.from_roots(train, prior)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(["dense", "softmax"]),
    weights=st.sampled_from(["bayes", "official"]),
    seed=st.integers(0, 99),
    batch_size=st.sampled_from([1, 3, 5, 13]),
    oversample=st.sampled_from([1, 2, 3]),
    prior=st.sampled_from([0.03, 1.0]),
)
def test_indices_and_gains_are_those_of_brute_force(
    kind, weights, seed, batch_size, oversample, prior
):
    pool, evals, train, post = problem(kind, seed, prior)
    found = bait(pool, evals, post, batch_size, oversample, weights)
    size = pool.num_parameters
    all_f = fishers(pool).numpy()
    start = prior * np.eye(size)
    if weights == "bayes":
        start = start + fishers(train).sum(0).numpy()
    else:
        start = start + fishers(train).sum(0).numpy() / (5 + batch_size)
        all_f = all_f * batch_size / (5 + batch_size)
    mean = fishers(evals).mean(0).numpy()
    indices, gains = by_definition(all_f, mean, start, batch_size, oversample)
    assert found.indices.tolist() == indices
    gains = torch.tensor(gains)
    torch.testing.assert_close(found.gains, gains, rtol=1e-9, atol=1e-13)
    final = trace(mean, start) - trace(mean, start + all_f[indices].sum(0))
    assert float(found.gains.sum()) == pytest.approx(final / 2, rel=1e-10)
    assert found.notes == ()


def test_the_criterion_is_not_submodular():
    # P = I, F_U = u u^T: b lowers the trace by 2/3 alone, by 10/3 after a (T25).
    pool = FisherRoots.from_dense(torch.tensor([[-2.0, 1.0], [-1.0, 2.0]]))
    evals = FisherRoots.from_dense(torch.tensor([[2.0, 2.0]]))
    post = GaussianPosterior.isotropic(2, 1.0)
    alone = bait(pool[[1]], evals, post, 1)
    assert float(alone.gains[0]) == pytest.approx(1 / 3, rel=1e-14)
    both = bait(pool, evals, post, 2)
    assert both.indices.tolist() == [0, 1]
    # a first: they gain the same alone.
    assert both.gains.tolist() == pytest.approx([1 / 3, 5 / 3], rel=1e-13)


def test_gains_are_the_trace_form_of_epig():
    pool, evals, _, post = problem("softmax", seed=3)
    found = bait(pool, evals, post, 3, oversample=1)
    for index, gain in zip(found.indices, found.gains, strict=True):
        scores = epig(pool, evals, post, form="trace")
        assert float(gain) == pytest.approx(float(scores[index]), rel=1e-11)
        assert float(scores.max()) == pytest.approx(float(gain), rel=1e-11)
        post = post.update(pool[[int(index)]])


def test_the_backward_pass_makes_a_better_batch_here():
    pool, evals, _, post = problem("dense", seed=12)
    only_forward, pruned = (bait(pool, evals, post, 5, o) for o in (1, 2))
    assert only_forward.indices.tolist() != pruned.indices.tolist()
    assert pruned.gains.sum() > only_forward.gains.sum()
    # Twice as many is the default.
    assert bait(pool, evals, post, 5).indices.tolist() == pruned.indices.tolist()


def test_weights_and_prior_precision_matter():
    pool, evals, train, post = problem("softmax", seed=5)
    assert post.prior_precision == 0.7
    found = bait(pool, evals, post, 5)
    official = bait(pool, evals, post, 5, weights="official")
    assert found.indices.tolist() != official.indices.tolist()
    weak = bait(pool, evals, GaussianPosterior.from_roots(train, 1e-4), 5)
    assert found.indices.tolist() != weak.indices.tolist()
    # Without training examples the two weigh alike.
    none = GaussianPosterior.isotropic(pool.num_parameters, 0.7)
    same = [bait(pool, evals, none, 5, weights=w) for w in ("bayes", "official")]
    assert same[0].indices.tolist() == same[1].indices.tolist()
    torch.testing.assert_close(same[0].gains, same[1].gains, rtol=1e-12, atol=0)


def mp_choice(pool, evals, prior, count):
    """Forward choices at 60 digits, by rows of rank 1, and halved decreases."""
    rows, prior = [mp_matrix(row[None]) for row in pool], mpmath.mpf(prior)
    mean = mp_matrix(evals).T * mp_matrix(evals) / len(evals)
    inverse, chosen, halves = mpmath.eye(pool.shape[1]) / prior, [], []
    for _ in range(count):
        target = inverse * mean * inverse
        gains = [(v * target * v.T)[0] / (1 + (v * inverse * v.T)[0]) for v in rows]
        for i in chosen:
            gains[i] = 0
        chosen.append(gains.index(max(gains)))
        halves.append(float(max(gains) / 2))
        thin = inverse * rows[chosen[-1]].T
        inverse = inverse - thin * thin.T / (1 + (rows[chosen[-1]] * thin)[0])
    return chosen, torch.tensor(halves, dtype=torch.float64)


@pytest.mark.parametrize("prior", [1e-4, 1e-8, 1e-10])
def test_a_small_prior_precision_costs_few_digits(prior):
    # After D choices all scores are below the rounding of what they started as.
    pool, evals = normal(29, 3, seed=1), normal(11, 3, seed=2)
    with mpmath.workdps(60):
        wanted, gains = mp_choice(pool, evals, prior, 12)
    assert gains[0] > 1e4 * gains[-1]
    roots = [FisherRoots.from_dense(x) for x in (pool, evals)]
    post = GaussianPosterior.isotropic(3, prior)
    found = bait(*roots, post, 12, oversample=1)
    assert found.indices.tolist() == wanted
    torch.testing.assert_close(found.gains, gains, rtol=1e-5, atol=0)
    # The gains of what is left after pruning, too.
    found = bait(*roots, post, 6)
    with mpmath.workdps(60):
        _, gains = mp_choice(pool[found.indices], evals, prior, 6)
    assert float(found.gains.sum()) == pytest.approx(float(gains.sum()), rel=1e-9)
    m = prior * torch.eye(3).double()
    mean = evals.T @ evals / 11
    left = []
    for index in found.indices:
        m = m + pool[index].outer(pool[index])
        left.append(torch.linalg.solve(m, mean).trace())
    steps = -torch.stack(left).diff()[2:] / 2
    torch.testing.assert_close(found.gains[3:], steps, rtol=1e-4, atol=0)


def test_blocks_stay_accurate_through_many_moves():
    from fimlib.selection.trace_design import Blocks, Design

    pool, evals, _, post = problem("softmax", seed=7, prior=0.01, count=61)
    design = Design(post, evals, pool.device)
    blocks = Blocks(pool, design)
    for i in range(60):
        _, thin = design.move(pool[[i]])
        blocks.traces(thin=thin)
    for i in range(40):
        _, thin = design.move(pool[[i]], -1.0)
        traces = blocks.traces(-1.0, thin)
    precision = post.precision + fishers(pool[40:60]).sum(0)
    covariance = torch.linalg.inv(precision)
    target = covariance @ fishers(evals).mean(0) @ covariance
    tight = {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(design.both[0], covariance, **tight)
    torch.testing.assert_close(design.both[1], target, **tight)
    torch.testing.assert_close(blocks.gram, pool.gram(covariance), **tight)
    torch.testing.assert_close(blocks.target, pool.gram(target), **tight)
    f = fishers(pool[40:60])
    start = float(target.new_tensor(trace(fishers(evals).mean(0), precision)))
    after = [trace(fishers(evals).mean(0), precision - one) for one in f]
    torch.testing.assert_close(traces[40:60], torch.tensor(after) - start, **tight)


@pytest.mark.parametrize("oversample", [1, 2])
def test_ties_go_to_the_lowest_index_and_duplicates_do_not_repeat(oversample):
    pool, evals, _, post = problem("softmax", seed=2, count=5)
    twice = pool[[0, 1, 2, 3, 4, 0, 1, 2, 3, 4]]
    first = int(bait(pool, evals, post, 1, oversample=1).indices[0])
    found = bait(twice, evals, post, 10, oversample)
    assert found.indices[0] == first
    assert sorted(found.indices.tolist()) == list(range(10))
    order = found.indices.tolist()
    assert all(order.index(i) < order.index(i + 5) for i in range(5))


def test_of_tied_examples_the_one_chosen_last_is_dropped():
    row = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    pool = FisherRoots.from_dense(row.repeat(4, 1))
    found = bait(pool, pool, GaussianPosterior.isotropic(2, 1.0), 2)
    assert found.indices.tolist() == [0, 1]
    # 1/2 (1 - 1/2), then 1/2 (1/2 - 1/3).
    assert found.gains.tolist() == pytest.approx([1 / 4, 1 / 12], rel=1e-14)


def test_examples_that_tell_nothing_follow_by_index():
    rows = torch.tensor([[0.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 0.0]]).double()
    evals = FisherRoots.from_dense(torch.tensor([[2.0, 0.0]]))
    pool, post = FisherRoots.from_dense(rows), GaussianPosterior.isotropic(2, 1.0)
    found = bait(pool, evals, post, 3)
    assert found.indices.tolist() == [2, 0, 1]
    assert found.gains.tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert found.notes == (
        "only 1 examples lower the trace by more than rounding: the other 2 are the "
        "lowest indices left",
    )


def loader_and_model():
    torch.manual_seed(1)
    layers = torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)
    inputs = normal(11, 3, seed=4).float()
    return torch.nn.Sequential(*layers), [inputs[:5], inputs[5:]]


@pytest.mark.parametrize("scope", ["last_layer", "network"])
@pytest.mark.parametrize("weights", ["bayes", "official"])
def test_any_roots_will_do(scope, weights):
    streamed = roots_from_loader(*loader_and_model(), scope=scope, progress=False)
    held = FisherRoots.from_dense(streamed.dense())
    found = [
        bait(r, r, GaussianPosterior.from_roots(r, 0.5), 3, weights=weights)
        for r in (streamed, held)
    ]
    assert found[0].indices.tolist() == found[1].indices.tolist()
    torch.testing.assert_close(found[0].gains, found[1].gains, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "softmax"])
def test_single_precision_roots_are_summed_in_double(kind):
    make = dense_roots if kind == "dense" else softmax_roots
    single = make(17, seed=1)
    if kind == "dense":
        single = FisherRoots.from_dense(single.dense(), dtype=torch.float32)
        double = FisherRoots.from_dense(single.dense())
    else:
        single = softmax_roots(17, seed=1, dtype=torch.float32)
        double = KroneckerRoots(single.factor.double(), single.features.double())
    post = GaussianPosterior.isotropic(single.num_parameters, 1e-3)
    found, wanted = (bait(r, r, post, 5) for r in (single, double))
    assert found.indices.tolist() == wanted.indices.tolist()
    # The roots' own rounding is about 6e-8.
    torch.testing.assert_close(found.gains, wanted.gains, rtol=5e-7, atol=0)


@pytest.mark.parametrize("approximation", ["diagonal", "kronecker"])
def test_a_named_approximation_stands_for_p(approximation):
    pool, evals, train, _ = problem("softmax", seed=3)
    post = GaussianPosterior.from_roots(train, 0.7, approximation=approximation)
    exact, seen, others = post.shared(pool, evals)
    found = bait(pool, evals, post, 3)
    wanted = bait(
        FisherRoots.from_dense(seen.dense()),
        FisherRoots.from_dense(others.dense()),
        exact,
        3,
    )
    assert found.indices.tolist() == wanted.indices.tolist()
    with pytest.raises(ValueError, match='weights must be "bayes"'):
        bait(pool, evals, post, 3, weights="official")


def test_bad_input_is_refused_by_name():
    pool, evals, _, post = problem("dense", seed=1)
    large = GaussianPosterior.isotropic(20_001, 1.0)
    rows = FisherRoots.from_dense(torch.ones(2, 1, 20_001))
    refused = {
        "roots must hold at least one": (pool[:0], evals, post, 1),
        "eval_roots must hold at least one": (pool, evals[:0], post, 1),
        "roots must have 11 parameters": (dense_roots(3, size=7), evals, post, 1),
        "eval_roots must have 11 param": (pool, dense_roots(3, size=7), post, 1),
        "roots must be Fisher roots": (torch.ones(3, 11), evals, post, 1),
        "batch_size must be at most the pool's 13": (pool, evals, post, 14),
        "batch_size must be a positive": (pool, evals, post, 0),
        "oversample must be a positive": (pool, evals, post, 1, 0),
        "weights must be one of": (pool, evals, post, 1, 2, "mean"),
        "at most 20000 parameters": (rows, rows, large, 1),
    }
    for message, arguments in refused.items():
        with pytest.raises(ValueError, match=message):
            bait(*arguments)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("oversample", [1, 2])
@pytest.mark.parametrize("noise", [1e-6, 1e-7, 1e-8, 1e-9])
@pytest.mark.parametrize("seed", [0, 1, 8])
def test_labels_of_hardly_any_noise_come_to_an_end(seed, noise, oversample):
    # Nine directions are pinned down at once, to more digits than a float64 has. What
    # further examples add is far below the rounding of what there was at first.
    spread = normal(71, 10, seed=seed)
    pool = (spread - spread.mean(1, keepdim=True)) / 10**0.5
    roots, evals = (FisherRoots.from_dense(pool / s) for s in (noise, 1.0))
    post = GaussianPosterior.isotropic(10, 1.0)
    found = bait(roots, evals, post, 61 // oversample, oversample=oversample)
    assert len(set(found.indices.tolist())) == 61 // oversample
    # Half the pool's mean squared length, but for the nine noise variances.
    whole = float(pool.square().sum(1).mean()) / 2
    assert float(found.gains.sum()) == pytest.approx(whole, rel=1e-6)

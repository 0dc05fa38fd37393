"""BADGE: the embeddings are never formed, so every test forms them."""

from itertools import permutations

import numpy as np
import pytest
import torch
from cases import generator, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fimlib.fisher import last_layer_roots
from fimlib.selection import badge, k_means_pp


def embeddings(features, logits):
    """(p - e_y) (x) phi at the most probable label, (M, C d)."""
    logits = torch.as_tensor(logits, dtype=torch.float64)
    features = torch.as_tensor(features, dtype=torch.float64)
    hard = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1])
    residuals = logits.softmax(1) - hard
    return torch.einsum("ic,id->icd", residuals, features).flatten(1)


def squared_distances(rows):
    return (rows[:, None] - rows[None]).square().sum(-1)


def gains_of(rows, indices):
    """Squared distances to those chosen before, from the definition."""
    apart = squared_distances(rows)[indices][:, indices]
    later = [apart[k, :k].min() for k in range(1, len(indices))]
    return torch.stack([rows[indices[0]].square().sum(), *later])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    count=st.integers(1, 23),
    classes=st.sampled_from([2, 3, 5, 29]),
    width=st.sampled_from([1, 7]),
    seed=st.integers(0, 99),
    scale=st.sampled_from([0.1, 3.0, 40.0, 2000.0]),
)
def test_gains_are_squared_distances_and_nothing_comes_twice(
    count, classes, width, seed, scale
):
    features = normal(count, width, seed=seed)
    logits = scale * normal(count, classes, seed=seed + 100)
    found = badge(features, logits, count, generator=generator(seed))
    assert sorted(found.indices.tolist()) == list(range(count))
    assert found.indices.dtype == torch.int64
    assert found.gains.dtype == torch.float64
    rows = embeddings(features, logits)
    wanted = gains_of(rows, found.indices)
    largest = float(rows.square().sum(1).max())
    assert float(wanted[0]) == pytest.approx(largest, rel=1e-12, abs=0)
    # Near 2,000 logits gradients underflow in the embeddings formed here, not there.
    torch.testing.assert_close(found.gains, wanted, rtol=1e-9, atol=1e-20)


def test_the_order_follows_d2_probabilities():
    # All sequences of 3 more, by the definition; 3 and 4 repeat 1 and 2 nearly, so
    # that the bounds which examples are drawn by are often out of date.
    features = [[2.0, 0.0], [-1.5, 0.3], [0.0, 1.6], [-1.4, 0.5], [0.3, 1.4]]
    logits = torch.zeros(5, 2)
    apart = squared_distances(embeddings(features, logits)).numpy()
    probability = {}
    for rest in permutations(range(1, 5), 3):
        share, near = 1.0, apart[0]
        for index in rest:
            share *= near[index] / near.sum()
            near = np.minimum(near, apart[index])
        probability[rest] = share
    assert sum(probability.values()) == pytest.approx(1.0, abs=1e-12)
    draws, random = 1500, generator(3)
    seen = dict.fromkeys(probability, 0)
    for _ in range(draws):
        first, *rest = badge(features, logits, 4, generator=random).indices.tolist()
        assert first == 0
        seen[tuple(rest)] += 1
    wanted = {rest: draws * share for rest, share in probability.items()}
    often = [rest for rest in wanted if wanted[rest] >= 5]
    assert len(often) >= 10
    counts, sizes = [seen[r] for r in often], [wanted[r] for r in often]
    counts, sizes = [*counts, draws - sum(counts)], [*sizes, draws - sum(sizes)]
    assert stats.chisquare(counts, sizes).pvalue > 0.01


def test_a_generator_decides_and_numpy_arrays_will_do():
    features, logits = normal(31, 5, seed=1), normal(31, 3, seed=2)
    first, again = (badge(features, logits, 7, generator(4)) for _ in range(2))
    assert first.indices.tolist() == again.indices.tolist()
    arrays = badge(features.numpy(), logits.numpy(), 7, generator(4))
    assert first.indices.tolist() == arrays.indices.tolist()
    others = {tuple(badge(features, logits, 7, generator(s)).indices) for s in range(5)}
    assert len(others) == 5


def test_it_is_k_means_pp_of_hard_label_roots_and_of_embeddings():
    features, logits = normal(31, 5, seed=1), 3 * normal(31, 3, seed=2)
    wanted = badge(features, logits, 9, generator(5))
    roots = last_layer_roots(features, logits, estimator="hard_label", bias=False)
    for same in (roots, embeddings(features, logits)):
        found = k_means_pp(same, 9, generator=generator(5))
        assert found.indices.tolist() == wanted.indices.tolist()
        torch.testing.assert_close(found.gains, wanted.gains, rtol=1e-10, atol=0)


def test_no_constant_feature_is_appended():
    # With a bias the first gain would be larger by |p - e_y|^2.
    features, logits = torch.zeros(3, 2), normal(3, 4)
    features[1] = torch.tensor([3.0, 4.0])
    found = badge(features, logits, 1)
    residual = embeddings(torch.ones(3, 1), logits)[1]
    assert found.indices.tolist() == [1]
    assert float(found.gains[0]) == pytest.approx(25 * float(residual @ residual))


def test_the_label_takes_part_in_the_embedding():
    # Without its 1 the embedding -p (x) phi would prefer the confident example 0.
    features = torch.ones(2, 1)
    logits = torch.tensor([[9.0, 0.0], [0.1, 0.0]])
    found = badge(features, logits, 1)
    assert found.indices.tolist() == [1]
    p = 1 / (1 + np.exp(-0.1))
    # logits are float32: 0.1 is rounded.
    assert float(found.gains[0]) == pytest.approx(2 * (1 - p) ** 2, rel=1e-6)


def test_opposite_predictions_are_far_apart_though_parallel():
    # Nearly opposite g: distance 4 |g|^2, determinant about 0 (T33).
    features = torch.ones(2, 1, dtype=torch.float64)
    found = badge(features, torch.tensor([[0.1, 0.0], [0.0, 0.1]]), 2)
    assert float(found.gains[1]) == pytest.approx(4 * float(found.gains[0]), rel=1e-9)


def test_the_origin_is_no_centre():
    # The second gain, 4 |g|^2, is more than the distance |g|^2 to the origin.
    features, logits = torch.tensor([[3.0], [-2.9]]), torch.tensor([[0.2, 0.0]] * 2)
    found = badge(features, logits, 2)
    assert found.indices.tolist() == [0, 1]
    assert found.gains[1] > 3.9 * embeddings(features, logits)[1].square().sum()


@pytest.mark.parametrize("logits", [0.0, 800.0])
def test_a_pool_of_duplicates_or_of_zero_gradients_is_filled_by_index(logits):
    features = torch.full((5, 3), 1.7)
    logits = torch.tensor([[logits, 0.0]] * 5)
    found = badge(features, logits, 3)
    assert found.indices.tolist() == [0, 1, 2]
    assert found.gains[1:].tolist() == [0.0, 0.0]
    assert found.notes[0].startswith("only 1 examples")


def test_few_distinct_embeddings_are_all_found_before_any_repeats():
    # Exact duplicates are at distance 0, and not at that of rounding.
    distinct, copies = 6, 17
    which = torch.randperm(distinct * copies, generator=generator(1)) % distinct
    features, logits = normal(distinct, 13, seed=2), normal(distinct, 3, seed=3)
    found = badge(features[which], logits[which], 20, generator(0))
    assert sorted(which[found.indices[:distinct]].tolist()) == list(range(distinct))
    assert (found.gains[:distinct] > 0.1).all()
    assert found.gains[distinct:].tolist() == [0.0] * 14
    assert len(set(found.indices.tolist())) == 20
    left = sorted(
        set(range(distinct * copies)) - set(found.indices[:distinct].tolist())
    )
    assert found.indices[distinct:].tolist() == left[:14]


def test_the_first_of_equally_long_embeddings_has_the_lowest_index():
    features = torch.tensor([[1.0], [-2.0], [2.0], [2.0]])
    found = badge(features, torch.zeros(4, 3), 1)
    assert found.indices.tolist() == [1]


def test_near_duplicates_have_accurate_distances():
    # The formula |a|^2 + |b|^2 - 2ab has no digit of these.
    features = normal(2, 7, seed=1) * 100
    features[1] = features[0] + 1e-6 * normal(7, seed=2)
    logits = normal(1, 5, seed=3).repeat(2, 1)
    logits[1, 0] += 1e-9
    found = badge(features, logits, 2)
    rows = embeddings(features, logits)
    wanted = float((rows[0] - rows[1]).square().sum())
    # The difference itself has 8 digits: phi to 1e-16 of 100, apart by 1e-6.
    assert float(found.gains[1]) == pytest.approx(wanted, rel=1e-6, abs=0)


def test_single_precision_gives_the_same_batch():
    features, logits = normal(31, 5, seed=1), normal(31, 3, seed=2)
    single = badge(features, logits, 9, generator(5), dtype=torch.float32)
    double = badge(features, logits, 9, generator(5))
    assert single.indices.tolist() == double.indices.tolist()
    torch.testing.assert_close(single.gains, double.gains, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("features", "logits", "batch_size", "message"),
    [
        (torch.ones(0, 2), torch.ones(0, 3), 1, "features must hold at least one"),
        (torch.ones(3, 0), torch.ones(3, 3), 1, "features must have at least one col"),
        (torch.ones(3), torch.ones(3, 3), 1, "features must have shape"),
        (torch.ones(3, 2), torch.ones(4, 3), 1, "logits must have shape"),
        (torch.ones(3, 2), torch.ones(3, 1), 1, "must have at least 2 columns"),
        (torch.ones(3, 2), torch.full((3, 2), torch.nan), 1, "logits must be finite"),
        (np.full((3, 2), 1e200), torch.ones(3, 2), 1, "features must have squared"),
        (torch.ones(3, 2), torch.ones(3, 3), 4, "batch_size must be at most"),
        (torch.ones(3, 2), torch.ones(3, 3), 0, "batch_size must be a positive"),
        (torch.ones(3, 2), torch.ones(3, 3), 1.5, "batch_size must be a positive"),
    ],
)
def test_bad_input_is_refused_by_name(features, logits, batch_size, message):
    with pytest.raises(ValueError, match=message):
        badge(features, logits, batch_size)

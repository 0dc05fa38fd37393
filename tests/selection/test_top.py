"""Top-k and its stochastic forms: order, ties, zeros, and the law of what is drawn."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from cases import generator, normal

from fimlib.selection import stochastic_top_k, top_k


def test_the_largest_come_first_and_ties_go_to_the_lowest_index():
    scores = torch.tensor([1.0, 3.0, 2.0, 3.0, 2.0, 3.0], dtype=torch.float64)
    found = top_k(scores, 5)
    assert found.indices.tolist() == [1, 3, 5, 2, 4]
    assert found.gains.tolist() == [3.0, 3.0, 3.0, 2.0, 2.0]
    assert found.indices.dtype == torch.int64 and found.gains.dtype == torch.float64
    assert len(found) == 5 and found.notes == ()


def test_a_large_pool_of_ties_keeps_its_order():
    assert top_k(np.ones(1013), 1013).indices.tolist() == list(range(1013))


def test_gains_are_a_copy_of_the_scores():
    scores = normal(7)
    found = top_k(scores, 7)
    assert torch.equal(found.gains, scores[found.indices])
    found.gains.zero_()
    assert scores.abs().sum() > 0


@pytest.mark.parametrize("select", [top_k, stochastic_top_k])
@pytest.mark.parametrize(
    ("scores", "batch_size", "message"),
    [
        ([1.0, float("nan")], 1, "scores must be finite"),
        ([1.0, float("inf")], 1, "scores must be finite"),
        ([[1.0, 2.0]], 1, r"scores must have shape \(M,\)"),
        ([], 1, "must hold at least one example"),
        ([1.0, 2.0], 3, "batch_size must be at most the pool's 2, got 3"),
        ([1.0, 2.0], 0, "batch_size must be a positive integer, got 0"),
        ([1.0, 2.0], 1.5, "batch_size must be a positive integer"),
        ("scores", 1, "scores must be a numeric array"),
    ],
)
def test_bad_input_is_refused(select, scores, batch_size, message):
    with pytest.raises(ValueError, match=message):
        select(scores, batch_size)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="kind must be one of 'power'"):
        stochastic_top_k([1.0], 1, kind="gumbel")
    with pytest.raises(ValueError, match="coldness must be positive and finite, got 0"):
        stochastic_top_k([1.0], 1, coldness=0)
    with pytest.raises(ValueError, match=r"negative.*smallest of -1"):
        stochastic_top_k([-1.0, 2.0], 1)
    assert len(stochastic_top_k([-1.0, 2.0], 2, kind="softmax")) == 2


def draws(number, scores, batch_size, **options):
    source = generator(3)
    return [
        tuple(
            stochastic_top_k(
                scores, batch_size, generator=source, **options
            ).indices.tolist()
        )
        for _ in range(number)
    ]


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        ("power", lambda s, rank, b: s**b),
        ("softmax", lambda s, rank, b: np.exp(b * s)),
        ("softrank", lambda s, rank, b: rank**-b),
    ],
)
@pytest.mark.parametrize("coldness", [0.5, 2.0])
def test_batches_have_the_law_of_drawing_without_replacement(kind, weight, coldness):
    scores, rank = np.array([0.3, 1.7, 0.9]), np.array([3.0, 1.0, 2.0])
    weights = weight(scores, rank, coldness)
    number = 2000
    found = Counter(draws(number, scores, 2, kind=kind, coldness=coldness))
    for first, second in itertools.permutations(range(3), 2):
        p = weights[first] / weights.sum()
        p *= weights[second] / (weights.sum() - weights[first])
        spread = 4.5 * np.sqrt(p * (1 - p) / number)
        assert abs(found[first, second] / number - p) < spread


def test_examples_of_score_zero_come_last_in_uniform_order():
    scores = [0.0, 1e-12, 0.0, 2.0, 0.0]
    found = draws(1200, scores, 5)
    assert all(set(one[:2]) == {1, 3} for one in found)
    tails = Counter(one[2:] for one in found)
    assert len(tails) == 6
    assert all(abs(count - 200) < 4.5 * np.sqrt(200) for count in tails.values())


def test_a_batch_has_no_repeats_and_its_gains_are_the_scores():
    scores = normal(11).abs()
    for kind in ("power", "softmax", "softrank"):
        found = stochastic_top_k(scores, 11, kind=kind, generator=generator(5))
        assert sorted(found.indices.tolist()) == list(range(11))
        assert torch.equal(found.gains, scores[found.indices])


def test_great_coldness_is_top_k_and_a_seed_repeats_itself():
    scores = torch.tensor([0.5, 2.0, 1.0, 4.0], dtype=torch.float64)
    for kind in ("power", "softmax", "softrank"):
        cold = stochastic_top_k(scores, 4, kind, 1e4, generator(1))
        assert cold.indices.tolist() == top_k(scores, 4).indices.tolist()
        first, second = (
            stochastic_top_k(scores, 4, kind, generator=generator(2)).indices
            for _ in range(2)
        )
        assert torch.equal(first, second)

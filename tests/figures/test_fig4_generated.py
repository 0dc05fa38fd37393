import collections
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from fimlib.figures import records
from fimlib.figures.fig4 import generated, sets

LOCAL = os.environ.get("FIMLIB_DATA")

# Poker: the published counts of the 2,598,960 hands, and the rules one by one.

COUNTS = [1302540, 1098240, 123552, 54912, 10200, 5108, 3744, 624, 36, 4]


def slow_class(suits, ranks):
    """The class of one hand, by the list of the ranks that make a straight."""
    counts = sorted(collections.Counter(ranks).values(), reverse=True)
    flush = len(set(suits)) == 1
    runs = [set(range(low, low + 5)) for low in range(1, 10)]
    royal = {10, 11, 12, 13, 1}
    straight = set(ranks) in [*runs, royal]
    if flush and set(ranks) == royal:
        return 9
    if flush and straight:
        return 8
    if counts[0] == 4:
        return 7
    if counts[:2] == [3, 2]:
        return 6
    if flush:
        return 5
    if straight:
        return 4
    return {(3, 1): 3, (2, 2): 2, (2, 1): 1, (1, 1): 0}[tuple(counts[:2])]


def test_every_hand_of_five_cards_is_counted():
    rest = np.array(list(itertools.combinations(range(52), 4)), dtype=np.int8)
    counts = np.zeros(10, dtype=np.int64)
    for first in range(48):  # the lowest card, then the four above it
        others = rest[rest[:, 0] > first]
        hands = np.column_stack([np.full(len(others), first, np.int8), others])
        classes = generated.hand_class(hands // 13, hands % 13 + 1)
        counts += np.bincount(classes, minlength=10)
    assert counts.tolist() == COUNTS


def test_poker_classes_follow_the_rules_in_any_order_of_the_cards():
    rng = np.random.default_rng(3)
    cards = np.array([rng.permutation(52)[:5] for _ in range(2000)])
    flush = np.array([rng.permutation(13)[:5] for _ in range(500)])  # in one suit
    low = np.array([rng.permutation(5) + 13 * rng.integers(0, 4, 5) for _ in range(99)])
    for hands in (cards, flush, low, (low + 9) % 13 + 13 * (low // 13)):
        suits, ranks = hands // 13 + 1, hands % 13 + 1
        found = generated.hand_class(suits, ranks)
        expected = [slow_class(s, r) for s, r in zip(suits.tolist(), ranks.tolist(),
                                                     strict=True)]  # fmt: skip
        assert found.tolist() == expected


def decoded(inputs):
    """Suits and ranks (n,5) of one-hot inputs; no column for a missing value is set."""
    suits, ranks = inputs[:, :25].reshape(-1, 5, 5), inputs[:, 25:].reshape(-1, 5, 14)
    for block in (suits, ranks):
        assert np.array_equal(block.sum(axis=2), np.ones(block.shape[:2]))
        assert not block[..., -1].any()
    return suits.argmax(axis=2) + 1, ranks.argmax(axis=2) + 1


def test_poker_hands_are_dealt_uniformly_without_repeats():
    inputs, classes = generated.poker()
    assert inputs.shape == (40_768, 95)
    suits, ranks = decoded(inputs)
    cards = np.sort(13 * (suits - 1) + ranks - 1, axis=1)
    assert (np.diff(cards, axis=1) > 0).all()
    n = len(cards)
    expected = np.array(COUNTS) / sum(COUNTS) * n
    counts = np.bincount(classes.astype(int), minlength=10)
    assert (abs(counts - expected) < 4.5 * np.sqrt(expected) + 1).all()
    seen = np.bincount(cards.ravel(), minlength=52)
    assert (abs(seen - 5 * n / 52) < 4.5 * np.sqrt(5 * n / 52)).all()
    for j in range(5):  # each place holds any card: the order is random as well
        place = np.bincount(13 * (suits[:, j] - 1) + ranks[:, j] - 1, minlength=52)
        assert (abs(place - n / 52) < 4.5 * np.sqrt(n / 52)).all()


@pytest.mark.skipif(
    not LOCAL or not (Path(LOCAL) / "regression" / "poker.npz").exists(),
    reason="FIMLIB_DATA names no folder with the published poker rows",
)
def test_poker_classes_equal_the_published_ones():
    stored = records.read_npz(Path(LOCAL) / "regression" / "poker.npz")
    found = generated.hand_class(*decoded(stored["X"]))
    assert np.array_equal(found, stored["y"])


# Friedman's function.


def test_fried_is_the_formula_plus_unit_noise():
    inputs, targets = generated.fried()
    assert inputs.shape == (40_768, 10)
    assert inputs.dtype == np.float32
    assert 0 <= inputs.min() < 1e-4 < 1 - 1e-4 < inputs.max() <= 1
    x1, x2, x3, x4, x5 = inputs[:, :5].T.astype(float)
    mean = 10 * np.sin(np.pi * x1 * x2) + 20 * (x3 - 0.5) ** 2 + 10 * x4 + 5 * x5
    noise = targets - mean
    error = len(noise) ** -0.5
    assert abs(noise.mean()) < 4 * error
    assert abs(noise.std() - 1) < 4 * error / 2**0.5
    assert abs(np.corrcoef(noise, inputs.T)[0, 1:]).max() < 4.5 * error
    off = np.corrcoef(inputs.T) - np.eye(10)
    assert abs(off).max() < 4.5 * error


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("fried", "ee91ed828fe7b642d71615474137b1ee2d040e74e819e285c7f2785402414d64"),
        ("poker", "5357963025882c378a3c4015c8b8a2176fd0b77ca9011d9d4112b13f78878cb0"),
    ],
)
def test_generated_sets_are_the_same_rows_every_time(name, digest):
    found = sets.load(name)
    assert found.digest == digest
    assert found.inputs.dtype == np.float32
    assert found.targets.dtype == np.float64
    assert abs(found.targets.mean()) < 1e-12
    assert abs(found.targets.std() - 1) < 1e-12
    assert "not the published rows" in found.note
    assert (name == "fried") == ("500,000" not in found.note)

"""The two regression sets of Figure 4 that are generated: the same rows every time."""

import numpy as np

ROWS = 40_768  # as in the published set of Friedman's function


def fried(rows: int = ROWS, seed: int = 564) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n,10) and targets (n,) of Friedman's first function (1991), noise 1."""
    rng = np.random.default_rng(seed)
    inputs = rng.random((rows, 10)).astype(np.float32)
    noise = rng.standard_normal(rows)
    x = inputs.astype(np.float64).T
    mean = 10 * np.sin(np.pi * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2
    mean += 10 * x[3] + 5 * x[4]
    # Rounded, so that the last bit of a processor's sine does not change the digest.
    return inputs, np.round(mean + noise, 6)


def poker(rows: int = ROWS, seed: int = 158) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n,95) and classes (n,) of hands of five cards dealt uniformly.

    One-hot suits, then ranks; each card attribute has one more column, always zero, for
    a missing value, as in the benchmark: the width sets the scale of the first layer.
    """
    rng = np.random.default_rng(seed)
    cards = rng.random((rows, 52)).argsort(axis=1)[:, :5]
    suits, ranks = cards // 13 + 1, cards % 13 + 1
    parts = [suits[..., None] == np.arange(1, 6), ranks[..., None] == np.arange(1, 15)]
    inputs = np.concatenate([part.reshape(rows, -1) for part in parts], axis=1)
    return inputs.astype(np.float32), hand_class(suits, ranks).astype(np.float64)


def hand_class(suits: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Classes (n,) 0..9 of hands (n,5): suits 1..4, ranks 1 (ace) .. 13 (king).

    Nothing, pair, two pairs, three of a kind, straight, flush, full house, four of a
    kind, straight flush, royal flush: the rules of the UCI Poker Hand set.
    """
    first, second = np.triu_indices(5, 1)
    # How many of the ten pairs of cards are of one rank tells every such class.
    equal = (ranks[:, first] == ranks[:, second]).sum(axis=1)
    by_equal = np.array([0, 1, 2, 3, 6, 0, 7])[equal]  # 5 equal pairs cannot be
    low, high = ranks.min(axis=1), ranks.max(axis=1)
    # Five different ranks with an ace sum to 47 only as 1, 10, 11, 12, 13.
    royal = (equal == 0) & (low == 1) & (ranks.sum(axis=1) == 47)
    straight = (equal == 0) & (high - low == 4) | royal
    flush = (suits == suits[:, :1]).all(axis=1)
    rules = [flush & royal, flush & straight, flush, straight]
    return np.select(rules, [9, 8, 5, 4], by_equal)

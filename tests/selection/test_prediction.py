import math

import numpy as np
import pytest
import torch
from cases import generator, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.predictive import bald
from fimlib.predictive import batch_bald as joint_information
from fimlib.predictive.outcomes import joint_outcomes, merged
from fimlib.predictive.scores import shared_information
from fimlib.selection import prediction
from fimlib.selection.prediction import batch_bald

M, L, C = 7, 5, 3


def random_log_probs(count=M, samples=L, classes=C, seed=0, scale=2.0):
    return (scale * normal(count, samples, classes, seed=seed)).log_softmax(-1)


def brute_information(log_probs):
    """I[Theta; Y_1..Y_K] of the whole joint table, by definition."""
    probs = log_probs.double().exp().numpy()
    joint = np.full((probs.shape[1], 1), 1 / probs.shape[1])
    for one in probs:
        joint = (joint[:, :, None] * one[:, None, :]).reshape(len(joint), -1)
    mask = joint > 0
    independent = np.outer(joint.sum(1), joint.sum(0))
    return float((joint[mask] * np.log(joint[mask] / independent[mask])).sum())


def brute_greedy(log_probs, batch_size):
    """Indices and gains of the greedy choice, every batch evaluated from scratch."""
    chosen, gains, so_far = [], [], 0.0
    for _ in range(batch_size):
        values = [
            -math.inf if i in chosen else brute_information(log_probs[[*chosen, i]])
            for i in range(len(log_probs))
        ]
        chosen.append(int(np.argmax(values)))
        gains.append(max(values) - so_far)
        so_far = max(values)
    return chosen, gains


def check_greedy(log_probs, batch_size, **options):
    found = batch_bald(log_probs, batch_size, **options)
    chosen, gains = brute_greedy(log_probs, batch_size)
    assert found.indices.tolist() == chosen and found.notes == ()
    assert found.indices.dtype == torch.int64 and found.gains.dtype == torch.float64
    torch.testing.assert_close(
        found.gains, torch.tensor(gains, dtype=torch.float64), rtol=0, atol=1e-12
    )


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    samples=st.integers(2, 9),
    scale=st.floats(0.1, 5.0),
)
def test_greedy_is_the_brute_force_greedy(seed, samples, scale):
    check_greedy(random_log_probs(M, samples, C, seed, scale), 4)


@pytest.mark.parametrize("together", [1, 3, 100])
@pytest.mark.parametrize("scale", [0.3, 4.0])
def test_examples_out_of_reach_would_not_have_been_chosen(monkeypatch, together, scale):
    monkeypatch.setattr(prediction, "_TOGETHER", together)
    check_greedy(random_log_probs(53, 11, 3, 5, scale), 4)


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_a_lower_precision_of_float32_changes_nothing(precision):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        check_greedy(random_log_probs(23, 11), 3)
    finally:
        torch.set_float32_matmul_precision(before)


def test_gains_are_steps_of_the_joint_information():
    log_probs = random_log_probs()
    found = batch_bald(log_probs, 5)
    assert found.gains[0] == bald(log_probs).max()
    steps = [joint_information(log_probs[found.indices[:k]]) for k in range(1, 6)]
    torch.testing.assert_close(found.gains.cumsum(0), torch.stack(steps))
    assert (found.gains.diff() <= 1e-12).all()


def test_a_batch_of_one_is_the_best_bald():
    log_probs = random_log_probs()
    assert batch_bald(log_probs, 1).indices.tolist() == [int(bald(log_probs).argmax())]


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_the_best_bald_is_in_the_batch(batch_size):
    log_probs = random_log_probs(20, 6, 4, seed=9)
    best = int(bald(log_probs).argmax())
    for options in ({}, {"max_outcomes": 1, "generator": generator()}):
        found = batch_bald(log_probs, batch_size, **options)
        assert found.indices[0] == best


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("most", [1, 10_000])
def test_zero_probabilities_and_wide_gaps(dtype, most):
    """Log-probabilities of -inf and of -1000: no NaN, and never first for that."""
    log_probs = random_log_probs().to(dtype)
    zero = torch.tensor([0.0, -math.inf, -math.inf], dtype=dtype)
    log_probs[0] = zero
    log_probs[1] = torch.tensor([1000.0, 0.0, 0.0], dtype=dtype).log_softmax(-1)
    log_probs[2, 0] = zero
    found = batch_bald(log_probs, M, generator(), most)
    assert sorted(found.indices.tolist()) == list(range(M))
    assert torch.isfinite(found.gains).all()
    assert found.indices[0] == bald(log_probs).argmax()
    if most > 1:
        assert set(found.indices[-2:].tolist()) == {0, 1}
        brute, gains = brute_greedy(log_probs.double().log_softmax(-1), 3)
        assert found.indices[:3].tolist() == brute
        assert found.gains[:3].tolist() == pytest.approx(gains, rel=1e-6)


@pytest.mark.parametrize("most", [1, 10_000])
def test_equal_examples_go_by_their_index_and_none_is_chosen_twice(most):
    alike = random_log_probs(1, 4)[[0] * M]
    assert batch_bald(alike, M, generator(), most).indices.tolist() == list(range(M))
    certain = torch.tensor([[[0.0, -math.inf]] * 3] * M)
    found = batch_bald(certain, M, generator(), most)
    assert found.indices.tolist() == list(range(M)) and (found.gains == 0).all()


def test_copies_of_the_best_wait_for_what_is_new():
    bits = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1]])
    certain = torch.nn.functional.one_hot(bits).double().log()
    found = batch_bald(certain, 3)
    assert found.indices.tolist() == [0, 2, 1]
    expected = torch.tensor([math.log(2), math.log(2), 0.0]).double()
    torch.testing.assert_close(found.gains, expected, rtol=1e-7, atol=1e-14)


def test_drawn_outcomes_estimate_the_gains():
    """Past max_outcomes: repeatable, and said in the notes."""
    log_probs = random_log_probs(11, 5, 3, seed=2)
    exact = batch_bald(log_probs, 4)
    drawn = batch_bald(log_probs, 4, generator(), max_outcomes=9)
    again = batch_bald(log_probs, 4, generator(), max_outcomes=9)
    assert torch.equal(drawn.gains, again.gains)
    assert torch.equal(drawn.indices, again.indices)
    assert torch.equal(drawn.indices[:3], exact.indices[:3])
    assert torch.equal(drawn.gains[:3], exact.gains[:3])
    assert drawn.notes == ("gains from number 4 on are estimates, from 10 outcomes",)
    many = batch_bald(log_probs, 4, generator(), max_outcomes=26)
    assert not torch.equal(many.gains, drawn.gains)


def test_estimates_out_of_reach_would_not_have_been_chosen(monkeypatch):
    """Earlier exact gains bound exact gains, but not estimates: those are all made."""
    log_probs = random_log_probs(31, 7, 3, seed=3)
    for seed in range(5):
        found = []
        for together in (1, 1000):
            monkeypatch.setattr(prediction, "_TOGETHER", together)
            found.append(batch_bald(log_probs, 6, generator(seed), max_outcomes=9))
        assert torch.equal(found[0].indices, found[1].indices)
        torch.testing.assert_close(found[0].gains, found[1].gains, rtol=0, atol=1e-12)


def test_drawn_gains_are_unbiased():
    """Of an example that has no rival, over seeds."""
    log_probs = random_log_probs(3, 5, 3, seed=4)
    exact = batch_bald(log_probs, 3).gains[-1]
    found = torch.stack(
        [batch_bald(log_probs, 3, generator(s), 8).gains[-1] for s in range(200)]
    )
    assert (found.mean() - exact).abs() < 4 * found.std() / math.sqrt(len(found))
    assert found.std() > 0


def test_float32_is_off_by_less_than_the_margin():
    """What is told apart in float32 is told apart: on the tables that are hardest."""
    for classes, samples in ((2, 3), (11, 301)):
        odds = normal(13, samples, classes, seed=classes)
        hot = torch.nn.functional.one_hot(odds.argmax(-1), classes).double().log()
        for log_probs in ((30 * odds).log_softmax(-1), hot, odds.log_softmax(-1)):
            outcomes = merged(joint_outcomes(log_probs[:3], 2000, generator()))
            full = shared_information(log_probs, outcomes)
            half = shared_information(log_probs, outcomes.to(torch.float32))
            assert (full - half)[0].abs().max() < prediction._ROUGH / 4


def test_numpy_arguments():
    log_probs = random_log_probs()
    found = batch_bald(log_probs.numpy(), 3)
    assert torch.equal(found.indices, batch_bald(log_probs, 3).indices)


def test_bad_input_is_refused_by_name():
    log_probs = random_log_probs()
    with pytest.raises(ValueError, match="batch_size must be at most the pool's 7"):
        batch_bald(log_probs, M + 1)
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        batch_bald(log_probs, 0)
    with pytest.raises(ValueError, match="max_outcomes must be a positive integer"):
        batch_bald(log_probs, 2, max_outcomes=0)
    with pytest.raises(ValueError, match="log_probs must hold log-prob"):
        batch_bald(log_probs + 1, 2)
    with pytest.raises(ValueError, match=r"log_probs must have shape \(M, L, C\)"):
        batch_bald(log_probs[0], 2)

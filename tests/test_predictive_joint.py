import math

import numpy as np
import pytest
import torch
from cases import generator, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.predictive import bald, batch_bald, epig, jepig, outcomes, tables

M, E, L, C = 5, 3, 7, 4


def random_log_probs(count, samples=L, classes=C, seed=0, scale=2.0):
    return (scale * normal(count, samples, classes, seed=seed)).log_softmax(-1)


def mutual_information(joint):
    """I[A;B] of a joint table by definition: its divergence from independence."""
    independent = np.outer(joint.sum(1), joint.sum(0))
    mask = joint > 0
    return float((joint[mask] * np.log(joint[mask] / independent[mask])).sum())


def joint_table(log_probs):
    """p(theta_l, y_1, ..., y_K) as (L, C^K), by multiplying out."""
    probs = log_probs.exp().numpy()
    table = np.full((probs.shape[1], 1), 1 / probs.shape[1])
    for one in probs:
        table = (table[:, :, None] * one[:, None, :]).reshape(len(table), -1)
    return table


def brute_jepig(log_probs, evals):
    table = joint_table(evals)
    pairs = [np.einsum("lo,lc->oc", table, row) for row in log_probs.exp().numpy()]
    truth = [mutual_information(pair) for pair in pairs]
    return torch.tensor(truth, dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batch_bald_is_the_information_of_the_joint_table(count):
    log_probs = random_log_probs(count)
    value, error = batch_bald(log_probs, return_error=True)
    truth = mutual_information(joint_table(log_probs))
    assert value.shape == () and error.item() == 0.0
    assert value.item() == pytest.approx(truth, rel=1e-12, abs=0)


def test_batch_bald_of_one_example_is_bald():
    log_probs = random_log_probs(1)
    torch.testing.assert_close(batch_bald(log_probs), bald(log_probs)[0])


def test_chain_rule():
    """I[Theta; Y_1..Y_K] = sum_k I[Theta; Y_k | Y_1..Y_{k-1}], by definition."""
    log_probs = random_log_probs(4)
    total = 0.0
    for k in range(4):
        before, own = joint_table(log_probs[:k]), log_probs[k].exp().numpy()
        evidence = before.sum(0)
        total += sum(
            p * mutual_information(column[:, None] / p * own)
            for p, column in zip(evidence, before.T, strict=True)
        )
    assert batch_bald(log_probs).item() == pytest.approx(total, rel=1e-12, abs=0)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    samples=st.integers(1, 9),
    classes=st.integers(2, 4),
    scale=st.floats(0.01, 30.0),
)
def test_batch_caps(seed, samples, classes, scale):
    """BatchBALD <= sum of BALD (T47), K log C and log L (T45)."""
    log_probs = random_log_probs(E, samples, classes, seed, scale)
    joint = batch_bald(log_probs).item()
    assert joint >= bald(log_probs).max().item() - 1e-12
    assert joint <= bald(log_probs).sum().item() + 1e-12
    assert joint <= min(E * math.log(classes), math.log(samples)) + 1e-12


def test_batch_of_independent_labels_is_the_sum_and_copies_add_nothing():
    """Four samples of theta, told apart by two labels of one bit each."""
    bits = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
    certain = torch.nn.functional.one_hot(bits).double().log()
    assert batch_bald(certain).item() == pytest.approx(2 * math.log(2), rel=1e-15)
    copies = batch_bald(certain[[0, 0, 0]]).item()
    assert copies == pytest.approx(math.log(2), rel=1e-15, abs=0)


def test_jepig_is_the_information_of_the_joint_table():
    log_probs, evals = random_log_probs(M), random_log_probs(E, classes=2, seed=1)
    score, error = jepig(log_probs, evals)
    assert (error == 0).all()
    torch.testing.assert_close(score, brute_jepig(log_probs, evals), rtol=1e-11, atol=0)


def test_jepig_of_one_evaluation_example_is_epig():
    log_probs, evals = random_log_probs(M), random_log_probs(1, seed=1)
    torch.testing.assert_close(jepig(log_probs, evals)[0], epig(log_probs, evals))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    samples=st.integers(1, 9),
    classes=st.integers(2, 4),
    scale=st.floats(0.01, 30.0),
)
def test_epig_jepig_eig_are_in_order(seed, samples, classes, scale):
    """T3: EPIG <= JEPIG <= EIG, with equal weights, also with a repeated input."""
    log_probs = random_log_probs(M, samples, classes, seed, scale)
    evals = random_log_probs(E, samples, classes, seed + 1, scale)
    evals = torch.cat([evals, evals[:1], log_probs[:1]])
    low, middle = epig(log_probs, evals), jepig(log_probs, evals)[0]
    assert (low <= middle + 1e-12).all()
    assert (middle <= bald(log_probs) + 1e-12).all()


def test_joint_information_of_certain_labels():
    """Log-probabilities of -inf: outcomes that cannot be have no weight."""
    labels = torch.tensor([[0, 1, 2, 3, 0, 1, 2], [0, 0, 0, 0, 1, 1, 1]])
    certain = torch.nn.functional.one_hot(labels, 4).double().log()
    truth = math.log(7)
    assert batch_bald(certain).item() == pytest.approx(truth, rel=1e-14, abs=0)
    drawn = batch_bald(certain, num_outcomes=1, generator=generator()).item()
    assert drawn == pytest.approx(truth, rel=1e-14, abs=0)
    score, _ = jepig(certain, certain[1:])
    torch.testing.assert_close(score, brute_jepig(certain, certain[1:]))


def test_chunks_of_outcomes_that_cannot_be(monkeypatch):
    labels = torch.tensor([[0, 1, 1], [1, 1, 0], [1, 0, 1]])
    certain = torch.nn.functional.one_hot(labels, 3).double().log()
    truth = brute_jepig(certain, certain)
    monkeypatch.setattr(tables, "NUMBERS", 6)
    torch.testing.assert_close(jepig(certain, certain)[0], truth)


def standard_scores(estimate, truth, seeds=200):
    """(estimate - truth) / standard error, over seeds."""
    found = [estimate(generator(seed)) for seed in range(seeds)]
    values, errors = (torch.stack(column) for column in zip(*found, strict=True))
    return (values - truth) / errors


def check_calibration(standard):
    """Unbiased, and errors that are what they say: spread 1 within about 4 errors."""
    count = len(standard)
    assert (standard.mean(0).abs() < 4 / math.sqrt(count)).all()
    assert ((standard.std(0) - 1).abs() < 0.25).all()


def test_sampled_batch_bald_is_unbiased_with_its_error():
    log_probs = random_log_probs(E)
    truth = mutual_information(joint_table(log_probs))

    def estimate(g):
        return batch_bald(log_probs, 40, g, return_error=True)

    check_calibration(standard_scores(estimate, truth))


def test_sampled_jepig_is_unbiased_with_its_error():
    log_probs, evals = random_log_probs(M), random_log_probs(E, seed=1)
    check_calibration(
        standard_scores(
            lambda g: jepig(log_probs, evals, 40, g), brute_jepig(log_probs, evals)
        )
    )


def test_exact_if_the_joint_labels_fit():
    log_probs, evals = random_log_probs(M), random_log_probs(E, seed=1)
    assert (jepig(log_probs, evals, C**E)[1] == 0).all()
    assert (jepig(log_probs, evals, C**E - 1)[1] > 0).all()
    assert batch_bald(evals, C**E, return_error=True)[1] == 0
    assert batch_bald(evals, C**E - 1, return_error=True)[1] > 0


def test_many_evaluation_examples_leave_no_more_to_learn():
    """JEPIG goes to EIG (T3); joint probabilities of 1e-400 do not underflow."""
    log_probs, evals = random_log_probs(M), random_log_probs(1000, seed=1)
    score, error = jepig(log_probs, evals, 100, generator())
    torch.testing.assert_close(score, bald(log_probs), rtol=1e-9, atol=0)
    assert (error < 1e-9).all()
    joint, error = batch_bald(evals, 100, generator(), return_error=True)
    assert joint.item() == pytest.approx(math.log(L), rel=1e-9, abs=0)


def test_draws_repeat_with_the_generator():
    log_probs, evals = random_log_probs(M), random_log_probs(E, seed=1)
    first, again = (jepig(log_probs, evals, 20, generator(3))[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, jepig(log_probs, evals, 20, generator(4))[0])


def test_chunks_give_what_one_pass_gives(monkeypatch):
    log_probs, evals = random_log_probs(M), random_log_probs(E, seed=1)
    exact = jepig(log_probs, evals)[0], batch_bald(evals)
    for numbers in (1, 100):
        monkeypatch.setattr(tables, "NUMBERS", numbers)
        monkeypatch.setattr(tables, "BLOCK", numbers)
        torch.testing.assert_close(jepig(log_probs, evals)[0], exact[0])
        torch.testing.assert_close(batch_bald(evals), exact[1])
        score, error = jepig(log_probs, evals, 60, generator())
        assert ((score - exact[0]).abs() < 4 * error).all() and (error < 0.1).all()


def test_draws_have_the_probabilities_of_the_labels():
    """Each class as often as it should be, and never one without probability."""
    probs = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0]).double()
    rows = probs.log().reshape(1, 6, 1)
    labels = outcomes._draw(rows, 20_000, generator())
    shares = torch.bincount(labels.flatten(), minlength=6) / 20_000
    assert (shares[probs == 0] == 0).all()
    error = (probs * (1 - probs) / 20_000).sqrt()
    assert ((shares - probs).abs() <= 4 * error).all()


def test_the_lowest_draw_is_a_class_that_can_be(monkeypatch):
    rows = torch.tensor([0.0, 0.7, 0.0, 0.3]).double().log().reshape(1, 4, 1)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape).double())
    assert outcomes._draw(rows, 2, None).tolist() == [[[1, 1]]]


def test_bad_input_is_refused_by_name():
    log_probs = random_log_probs(M)
    with pytest.raises(ValueError, match="num_outcomes must be a positive integer"):
        batch_bald(log_probs, num_outcomes=0)
    with pytest.raises(ValueError, match="num_outcomes must be a positive integer"):
        jepig(log_probs, log_probs, num_outcomes=2.5)
    with pytest.raises(ValueError, match=r"log_probs_eval must have the 7 samples"):
        jepig(log_probs, log_probs[:, :6])
    with pytest.raises(ValueError, match="log_probs_eval must hold log-prob"):
        jepig(log_probs, log_probs + 1)
    with pytest.raises(ValueError, match="log_probs must hold log-prob"):
        batch_bald(log_probs + 1)

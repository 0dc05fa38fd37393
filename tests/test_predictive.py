import math

import numpy as np
import pytest
import torch
from cases import normal
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib import predictive
from fimlib.predictive import bald, epig

M, E, L, C = 5, 3, 7, 4


def random_log_probs(count, samples=L, classes=C, seed=0, scale=2.0):
    return (scale * normal(count, samples, classes, seed=seed)).log_softmax(-1)


def mutual_information(joint):
    """I[A;B] of a joint table by definition: its divergence from independence."""
    independent = np.outer(joint.sum(1), joint.sum(0))
    mask = joint > 0
    return float((joint[mask] * np.log(joint[mask] / independent[mask])).sum())


def brute_bald(log_probs):
    """I[theta;Y] with theta uniform over the L samples: rows p(theta, y)."""
    return [mutual_information(row.exp().numpy() / len(row)) for row in log_probs]


def brute_epig(log_probs, evals):
    values = []
    for row in log_probs.exp().numpy():
        pairs = [
            mutual_information(np.einsum("lc,ld->cd", row, e) / len(row))
            for e in evals.exp().numpy()
        ]
        values.append(np.mean(pairs))
    return values


def test_bald_is_mutual_information_with_the_sample():
    log_probs = random_log_probs(M)
    torch.testing.assert_close(
        bald(log_probs),
        torch.tensor(brute_bald(log_probs), dtype=torch.float64),
        rtol=1e-12,
        atol=1e-14,
    )


def test_epig_is_the_mean_mutual_information_of_label_pairs():
    log_probs, evals = random_log_probs(M), random_log_probs(E, classes=2, seed=1)
    torch.testing.assert_close(
        epig(log_probs, evals),
        torch.tensor(brute_epig(log_probs, evals), dtype=torch.float64),
        rtol=1e-10,
        atol=1e-14,
    )


def test_by_hand_two_disagreeing_samples():
    certain = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
    assert bald(certain).item() == pytest.approx(math.log(2), rel=1e-15, abs=0)
    assert epig(certain, certain).item() == pytest.approx(math.log(2), rel=1e-15, abs=0)


def test_zero_probabilities_are_no_nan():
    """A log-probability of -inf, or one that underflows, contributes nothing."""
    log_probs = random_log_probs(M)
    log_probs[1] = torch.tensor([0.0, -math.inf, -math.inf, -math.inf])
    log_probs[2] = torch.tensor([120.0, 0.0, -700.0, -1000.0]).log_softmax(-1)
    scores = bald(log_probs)
    assert scores[1].item() == 0.0 and scores[2].item() == pytest.approx(0.0, abs=1e-15)
    assert torch.isfinite(epig(log_probs, log_probs)).all()
    single = torch.tensor([[[0.0, -120.0]] * 3]).float()
    assert bald(single).item() == 0.0


def test_agreeing_samples_score_exactly_zero():
    agreeing = random_log_probs(M)[:, :1].expand(-1, L, -1)
    assert bald(agreeing).abs().max() < 1e-16


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    samples=st.integers(1, 9),
    classes=st.integers(2, 5),
    scale=st.floats(0.01, 30.0),
)
def test_caps_and_order(seed, samples, classes, scale):
    """0 <= EPIG <= BALD <= min(log C, log L): T1, T3, T45."""
    log_probs = random_log_probs(M, samples, classes, seed, scale)
    evals = random_log_probs(E, samples, classes, seed + 1, scale)
    information, predictive_information = bald(log_probs), epig(log_probs, evals)
    assert (information >= 0).all()
    assert (information <= min(math.log(classes), math.log(samples)) + 1e-12).all()
    assert (predictive_information >= -1e-12).all()
    assert (predictive_information <= information + 1e-12).all()


def test_chunks_give_what_one_pass_gives(monkeypatch):
    log_probs, evals = random_log_probs(M), random_log_probs(E, seed=1)
    whole = bald(log_probs), epig(log_probs, evals)
    for numbers in (1, 20, 60):
        monkeypatch.setattr(predictive, "_CHUNK_NUMBERS", numbers)
        torch.testing.assert_close(bald(log_probs), whole[0])
        torch.testing.assert_close(epig(log_probs, evals), whole[1])


def test_float32_and_numpy_arguments_are_scored_in_float64():
    log_probs = random_log_probs(M)
    scores = bald(log_probs.float().numpy())
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, bald(log_probs), rtol=1e-5, atol=1e-6)


def test_bad_input_is_refused_by_name():
    log_probs = random_log_probs(M)
    with pytest.raises(ValueError, match=r"log_probs must hold log-prob.*sum to 1"):
        bald(log_probs + 2e-4)
    with pytest.raises(ValueError, match=r"log_probs must hold log-prob.*sums from 4"):
        bald(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"log_probs must have shape \(M, L, C\)"):
        bald(log_probs[0])
    with pytest.raises(ValueError, match="without a zero, got"):
        bald(log_probs[:0])
    with pytest.raises(ValueError, match="log_probs must be finite, got 1 NaN"):
        broken = log_probs.clone()
        broken[0, 0, 0] = math.nan
        bald(broken)
    with pytest.raises(ValueError, match="log_probs must be finite"):
        broken[0, 0, 0] = math.inf
        bald(broken)
    with pytest.raises(ValueError, match=r"must have the 7 samples of log_probs.*6"):
        epig(log_probs, log_probs[:, :6])
    with pytest.raises(ValueError, match="log_probs_eval must hold"):
        epig(log_probs, log_probs + 0.1)

import math

import mpmath
import numpy as np
import pytest
import torch
from cases import generator, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.predictive import bald, batch_bald, epig, jepig, scores, tables

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
    assert 0.0 <= bald(single).item() < 1e-80


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_probability_or_a_wide_gap_is_never_ranked_first(dtype):
    """Plain exp and log make these NaN: 0 log 0, and exp(-1000) in float32."""
    log_probs = random_log_probs(M).to(dtype)
    zero = torch.tensor([0.0, -math.inf, -math.inf, -math.inf], dtype=dtype)
    log_probs[0] = zero
    log_probs[1] = torch.tensor([1000.0, 0.0, 0.0, 0.0], dtype=dtype).log_softmax(-1)
    log_probs[2, 0] = zero
    evals = random_log_probs(E, seed=1).to(dtype)
    evals[0, 0] = zero
    for found in (
        bald(log_probs),
        epig(log_probs, evals),
        epig(log_probs, evals, dtype=torch.float32),
        jepig(log_probs, evals)[0],
        jepig(log_probs, evals, num_outcomes=1, generator=generator())[0],
    ):
        assert torch.isfinite(found).all()
        assert found[:2].abs().max() < 1e-7 and found.argmax() >= 2
    assert torch.isfinite(batch_bald(log_probs))
    torch.testing.assert_close(
        bald(log_probs)[2].item(), brute_bald(log_probs[2:3])[0], rtol=1e-6, atol=0
    )


def test_agreeing_samples_score_zero():
    agreeing = random_log_probs(M)[:, :1].expand(-1, L, -1)
    assert bald(agreeing).abs().max() < 1e-30
    assert epig(agreeing, random_log_probs(E, seed=1)).abs().max() < 1e-17


def mp_information(joint):
    """I[A;B] of a list of rows p(a, b), at the working precision."""
    rows = [mpmath.fsum(row) for row in joint]
    columns = [mpmath.fsum(column) for column in zip(*joint, strict=True)]
    return mpmath.fsum(
        p * mpmath.log(p / (rows[a] * columns[b]))
        for a, row in enumerate(joint)
        for b, p in enumerate(row)
    )


def test_small_information_keeps_its_digits():
    """Differences of entropies near 1 would leave none of a score of 1e-12."""
    log_probs = random_log_probs(1, 1) + 1e-6 * normal(1, L, C, seed=3)
    evals = random_log_probs(1, 1, seed=1) + 1e-6 * normal(1, L, C, seed=4)
    log_probs, evals = log_probs.log_softmax(-1), evals.log_softmax(-1)
    with mpmath.workdps(50):
        mine, other = (
            [[p / mpmath.fsum(row) for p in row] for row in table]
            for table in (
                [[mpmath.exp(x) for x in row] for row in one[0].tolist()]
                for one in (log_probs, evals)
            )
        )
        truth = mp_information([[p / L for p in row] for row in mine])
        pairs = [
            [mpmath.fsum(a[c] * b[d] for a, b in zip(mine, other, strict=True)) / L
             for d in range(C)]
            for c in range(C)
        ]  # fmt: skip
        pair = mp_information(pairs)
    assert 1e-14 < truth < 1e-11 and pair < 1e-20
    assert bald(log_probs).item() == pytest.approx(float(truth), rel=1e-8, abs=0)
    assert epig(log_probs, evals).item() == pytest.approx(float(pair), rel=1e-2, abs=0)


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
        monkeypatch.setattr(tables, "NUMBERS", numbers)
        monkeypatch.setattr(tables, "BLOCK", numbers)
        torch.testing.assert_close(bald(log_probs), whole[0])
        torch.testing.assert_close(epig(log_probs, evals), whole[1])


def test_float32_and_numpy_arguments_are_scored_in_float64():
    log_probs = random_log_probs(M)
    scores = bald(log_probs.float().numpy())
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, bald(log_probs), rtol=1e-5, atol=1e-6)


def test_epig_in_float32():
    log_probs, evals = random_log_probs(M), random_log_probs(E, seed=1)
    single = epig(log_probs, evals, dtype=torch.float32)
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), epig(log_probs, evals), rtol=1e-5, atol=0
    )
    with pytest.raises(ValueError, match="dtype must be one of"):
        epig(log_probs, evals, dtype=torch.float16)


def test_arguments_stay_as_they_are():
    log_probs, evals = random_log_probs(M), random_log_probs(E, seed=1)
    before = log_probs.clone(), evals.clone()
    bald(log_probs, jackknife=True)
    epig(log_probs, evals, jackknife=True)
    jepig(log_probs, evals)
    jepig(log_probs, evals, num_outcomes=1)
    batch_bald(log_probs)
    assert torch.equal(log_probs, before[0]) and torch.equal(evals, before[1])


def test_slightly_unnormalised_rows_count_as_distributions():
    """Rows of float32 sum to 1 +- 1e-7: bounds hold all the same."""
    log_probs = random_log_probs(M)
    off = log_probs + 5e-5 * normal(M, L, 1, seed=5).clamp(-1, 1)
    torch.testing.assert_close(bald(off), bald(log_probs), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        batch_bald(off), batch_bald(log_probs), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(("samples", "groups"), [(10, 5), (7, 5), (11, 2), (5, 5)])
def test_jackknife_removes_a_bias_of_a_over_l(samples, groups):
    """T39: whatever a is, and for groups of unequal sizes."""

    def biased(table):
        return torch.tensor([2.0, 3.0]).double() + 7.0 / table.shape[1]

    table = random_log_probs(2, samples)
    found = scores.jackknifed(biased, table, groups=groups)
    torch.testing.assert_close(found, torch.tensor([2.0, 3.0]).double())


def test_jackknife_leaves_each_sample_out_once():
    """A mean over samples has no bias: it is what it was, for each sample's value."""
    table = torch.arange(7.0).double().reshape(1, 7, 1).square()

    def mean(part):
        return part.mean((1, 2))

    torch.testing.assert_close(scores.jackknifed(mean, table), mean(table))


def dirichlet_log_probs(count, samples, concentration=0.5, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet([concentration] * classes, (count, samples))
    return torch.as_tensor(np.log(np.maximum(drawn, 1e-300))).log_softmax(-1)


def test_jackknife_of_bald_where_the_truth_is_known():
    """theta_l is the distribution of Y itself, drawn from a Dirichlet distribution.

    I[Theta; Y] = log C - psi(C a + 1) + psi(a + 1).
    """
    truth = math.log(5) - float(mpmath.digamma(3.5) - mpmath.digamma(1.5))
    log_probs = dirichlet_log_probs(20_000, 20)
    plain, corrected = bald(log_probs), bald(log_probs, jackknife=True)
    error = corrected.std().item() / math.sqrt(len(corrected))
    assert plain.mean().item() - truth < -20 * error
    assert abs(corrected.mean().item() - truth) < 4 * error


def test_jackknife_of_epig_where_the_truth_is_zero():
    """Labels of independent parts of theta: a score above zero is bias (T39)."""
    log_probs = dirichlet_log_probs(400, 100)
    evals = dirichlet_log_probs(11, 100, seed=1)
    plain, corrected = (epig(log_probs, evals, jackknife=j) for j in (False, True))
    assert (plain > 0).all()
    assert corrected.mean().abs() < 0.1 * plain.mean()


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
    with pytest.raises(
        ValueError, match=r"log_probs must be finite, or -inf.* got 1 NaN"
    ):
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
    with pytest.raises(ValueError, match="log_probs must be a numeric array"):
        bald("log")
    with pytest.raises(ValueError, match="log_probs must be real, got dtype"):
        bald(log_probs.to(torch.complex128))
    with pytest.raises(ValueError, match="jackknife needs at least 2 samples"):
        bald(log_probs[:, :1].log_softmax(-1), jackknife=True)

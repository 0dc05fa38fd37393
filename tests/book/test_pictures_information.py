"""The pictures are drawn alike each time, from numbers that other means confirm."""

import itertools
import math
import re

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import beta

from companion.evidence.ch01.information_gain import beta_gains
from companion.pictures import information as information_pictures
from companion.pictures.information import (
    CELLS,
    EVALS,
    SIZES,
    evaluation_sets,
    four_scores,
    threshold_log_probs,
)

PICTURES = (
    "four_answers",
    "what_separates_them",
    "widening",
    "random_evaluation_sets",
)


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_the_same_each_time_and_fits_a_phone(name):
    one, two = (getattr(information_pictures, name)() for _ in range(2))
    assert one.svg == two.svg
    assert one.png.startswith(b"\x89PNG")
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', one.svg)[1]
    assert float(width) <= 360  # at 350 px, letters of 9 points keep 6
    assert not re.search(r"<dc:date>|nan|inf\b", one.svg)


def one_probability(x, theta, quiet=0.05):
    lies = quiet + (0.5 - quiet) * math.exp(-((x / 0.2) ** 2))
    return 1 - lies if x > theta else lies


def test_labels_are_coin_flips_at_zero_and_tell_the_side_elsewhere():
    positions = [0.0, 0.31, 0.9]
    p = threshold_log_probs(positions).exp().numpy()
    assert p.shape == (3, CELLS, 2)
    for row, x in zip(p, positions, strict=True):
        truth = [one_probability(x, (k + 0.5) / CELLS) for k in range(CELLS)]
        assert row[:, 1] == pytest.approx(truth, abs=1e-14)
        assert row.sum(1) == pytest.approx(np.ones(CELLS), abs=1e-14)
    assert p[0] == pytest.approx(np.full((CELLS, 2), 0.5))


def mutual(joint):
    """I of the two axes of a joint table, as a sum of p log p / (q r)."""
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    cells = joint > 0
    return float((joint[cells] * np.log(joint[cells] / product[cells])).sum())


@pytest.mark.parametrize("x", [0.2, 0.5, 0.75])
def test_four_scores_by_enumeration(x):
    """Every joint outcome of threshold, label and five evaluation labels, in turn."""
    thetas = [(k + 0.5) / CELLS for k in range(CELLS)]
    own = np.array([[1 - one_probability(x, t), one_probability(x, t)] for t in thetas])
    evals = np.array([[one_probability(e, t) for e in EVALS] for t in thetas])
    outcomes = list(itertools.product((0, 1), repeat=len(EVALS)))
    likelihood = np.stack(
        [np.where(o, evals, 1 - evals).prod(1) for o in np.array(outcomes)], axis=1
    )
    marginal = own.mean(0)
    single = [mutual(own.T @ np.stack([1 - e, e], 1) / CELLS) for e in evals.T]
    truth = {
        "entropy": -(marginal * np.log(marginal)).sum(),
        "EIG": mutual(own / CELLS),
        "JEPIG": mutual(own.T @ likelihood / CELLS),
        "EPIG": np.mean(single),
    }
    found = four_scores([x])
    assert list(found) == list(truth)
    assert [float(v[0]) for v in found.values()] == pytest.approx(
        list(truth.values()), abs=1e-12
    )


@pytest.mark.parametrize(("a", "b"), [(1, 10), (2, 3), (5, 1)])
def test_beta_gains_by_quadrature(a, b):
    prior = beta(a, b)

    def mean(p, f):
        return integrate.quad(lambda t: p.pdf(t) * f(t), 0, 1, epsabs=1e-12)[0]

    for y, after in enumerate((beta(a, b + 1), beta(a + 1, b))):
        own = mean(after, lambda t, p=after: -p.logpdf(t))
        drop = mean(prior, lambda t: -prior.logpdf(t)) - own
        moved = mean(after, lambda t: -prior.logpdf(t)) - own
        assert beta_gains(a, b)[:, y] == pytest.approx((drop, moved), abs=1e-8)


def test_evaluation_sets_lie_between_what_they_must():
    joint, epig, eig = evaluation_sets(count=5)
    assert joint.shape == (5, len(SIZES))
    assert (np.diff(joint, axis=1) >= -1e-12).all()  # a larger set knows more
    assert (joint <= eig + 1e-12).all()
    one_each = [
        float(four_scores([0.6], [position])["JEPIG"])
        for position in 0.5 + np.arange(1, 21) / 40
    ]
    assert epig == pytest.approx(np.mean(one_each), abs=1e-12)


def test_numbers_that_captions_and_alternative_texts_state():
    x = np.arange(CELLS + 1) / CELLS
    scores = four_scores(x)
    best = {name: x[int(v.argmax())] for name, v in scores.items()}
    assert (best["JEPIG"], best["EPIG"]) == (0.7, 0.75)
    assert best["EIG"] == 0.525
    assert [round(float(v.max()), 2) for v in scores.values()] == [
        0.69,
        0.49,
        0.37,
        0.18,
    ]
    ends = four_scores([0.5, 0.75])
    shown = np.array([[round(float(n), 3) for n in v] for v in ends.values()])
    assert shown.T.tolist() == [
        [0.693, 0.492, 0.172, 0.084],
        [0.588, 0.390, 0.362, 0.181],
    ]
    gaps = -np.diff([v.numpy() for v in ends.values()], axis=0)
    assert gaps.T.round(3).tolist() == [[0.201, 0.320, 0.088], [0.199, 0.028, 0.181]]
    assert beta_gains(1, 10).round(2).tolist() == [[0.09, -0.44], [0.0, 0.38]]
    joint, epig, eig = evaluation_sets()
    mean = joint.mean(0)
    assert [round(v, 2) for v in (mean[0], mean[-1], epig, eig)] == [
        0.16,
        0.41,
        0.16,
        0.48,
    ]
    assert (joint[:12, 0] < epig).any()

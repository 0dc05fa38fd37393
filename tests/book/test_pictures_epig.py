"""The pictures are drawn alike each time, from numbers that other means confirm."""

import math
import re

import numpy as np
import pytest
import torch

from companion.pictures import epig as epig_pictures
from companion.pictures.epig import (
    display_and_epig,
    gains_after_copies,
    information_shares,
)
from fimlib.fisher import last_layer_roots
from fimlib.information import scores
from fimlib.posterior import GaussianPosterior


@pytest.fixture(scope="module")
def problem():
    """Pool, evaluation set and posterior as in the chapter."""
    waves = torch.arange(1, 701, dtype=torch.float64).square().cos()
    features, logits = waves[:400].reshape(100, 4), waves[400:].reshape(100, 3)
    roots = last_layer_roots(features, 3 * logits)
    post = GaussianPosterior.from_roots(roots[:8], prior_precision=0.5)
    return roots[24:84], roots[8:24], post


@pytest.mark.parametrize(
    ("name", "with_problem"),
    [
        ("falling_display", False),
        ("sandwich", True),
        ("score_chain", True),
        ("growing_evaluation_set", False),
        ("rising_gain", False),
    ],
)
def test_picture_is_the_same_each_time_and_fits_a_phone(name, with_problem, problem):
    arguments = problem if with_problem else ()
    one, two = (getattr(epig_pictures, name)(*arguments) for _ in range(2))
    assert one.svg == two.svg
    assert one.png.startswith(b"\x89PNG")
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', one.svg)[1]
    assert float(width) <= 360  # at 350 px, letters of 9 points keep 6
    assert not re.search(r"<dc:date>|nan|inf\b", one.svg)


def test_display_and_epig_are_the_closed_forms():
    x = np.array([0.0, 0.5, 2**0.25, 10.0])
    epig, right = display_and_epig(x)
    correlation = x**2 / (2 * (1 + x**2))
    assert epig == pytest.approx(-np.log1p(-correlation) / 2, abs=1e-12)
    assert right == pytest.approx(np.log1p(1 / (1 + x**2)) / 2, abs=1e-12)
    assert (epig[-1], right[-1]) == pytest.approx((0.34165, 0.00493), abs=1e-5)
    assert epig[2] == pytest.approx(right[2], abs=1e-12)  # where the curves cross


@pytest.mark.parametrize("directions", [2, 5])
def test_shares_against_determinants(directions):
    """JEPIG / EIG and EPIG / EIG by log-determinants of joint covariances of labels."""
    sizes = (3, 7)
    jepig, epig = information_shares(directions, sizes, count=4)
    rng = np.random.default_rng(0)
    x, x_eval = rng.standard_normal((4, 5)), rng.standard_normal((7, 5))
    x_eval[:, directions:] = 0

    def entropy(*rows):
        rows = np.vstack(rows)
        return np.linalg.slogdet(np.eye(len(rows)) + rows @ rows.T)[1] / 2

    def mutual(a, b):
        return entropy(a) + entropy(b) - entropy(a, b)

    for i, n in enumerate(sizes):
        joint = [mutual(a[None], x_eval[:n]) / entropy(a[None]) for a in x]
        single = [
            np.mean([mutual(a[None], e[None]) for e in x_eval[:n]]) / entropy(a[None])
            for a in x
        ]
        assert jepig[i] == pytest.approx(joint, rel=1e-9)
        assert epig[i] == pytest.approx(single, rel=1e-9)


@pytest.mark.parametrize("copies", [0, 1, 6])
def test_gains_after_copies_are_the_closed_forms(copies):
    s = 1 / (1 + 4 * copies)  # variance of the first parameter
    correlation = (4 - 2 * s) ** 2 / ((5 + 4 * s) * (5 + s))
    jepig, eig = gains_after_copies(copies)
    assert jepig == pytest.approx(-math.log1p(-correlation) / 2, rel=1e-12)
    assert eig == pytest.approx(math.log(5 + s) / 2, rel=1e-12)


def test_numbers_that_captions_and_alternative_texts_state(problem):
    pool, evals, post = problem
    found = scores(pool, post, evals, pairwise=True)
    epig, upper = found["epig_log_det"], found["epig_upper"]
    assert (round(float(epig.max()), 3), round(float(upper.max()), 3)) == (0.066, 0.104)
    start = float(scores(evals, post)["eig_log_det"].mean())
    lower = start - found["epig_proxy_log_det"]
    assert (lower < 0).all()
    assert round(float((upper - lower).mean()), 3) == 0.135
    first, last = (np.median(information_shares(5)[0], axis=1)[i] for i in (0, -1))
    assert (round(first, 2), round(last, 2)) == (0.06, 1.0)
    few, single = information_shares(2)[0][-1], information_shares(5)[1][-1]
    assert (round(np.median(few), 2), round(np.median(single), 2)) == (0.2, 0.09)
    ends = [round(value, 2) for k in (0, 6) for value in gains_after_copies(k)]
    assert ends == [0.04, 0.9, 0.45, 0.81]
    assert [round(v, 2) for v in (2 / math.sqrt(54), 3.6 / math.sqrt(5.2 * 5.8))] == [
        0.27,
        0.66,
    ]

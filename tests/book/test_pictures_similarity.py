"""The pictures are drawn alike each time, from numbers that other means confirm."""

import math
import re

import numpy as np
import pytest

from companion.pictures import similarity as similarity_pictures
from companion.pictures.similarity import (
    BATCHES,
    CORNERS,
    POINTS,
    at_angle,
    eig_of_prior,
    fisher_ellipse,
    jepig_at_angle,
    squared_distances,
)

PICTURES = (
    "parallelograms",
    "labels_on_the_simplex",
    "vanishing_prior",
    "point_and_span",
    "angles_and_lengths",
)


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_the_same_each_time_and_fits_a_phone(name):
    one, two = (getattr(similarity_pictures, name)() for _ in range(2))
    assert one.svg == two.svg
    assert one.png.startswith(b"\x89PNG")
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', one.svg)[1]
    assert float(width) <= 360  # at 350 px, letters of 9 points keep 6
    assert not re.search(r"<dc:date>|nan|inf\b", one.svg)


@pytest.mark.parametrize(
    ("degrees", "product", "det", "distance"),
    [(90, 0, 16, 2.8), (30, 3.5, 4, 1.0), (150, -3.5, 4, 3.9)],
)
def test_parallelograms_state_these_numbers(degrees, product, det, distance):
    rows = at_angle(degrees)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(2)
    assert rows[0] @ rows[1] == pytest.approx(product, abs=0.05)
    assert np.linalg.det(rows @ rows.T) == pytest.approx(det)
    assert np.linalg.norm(rows[0] - rows[1]) == pytest.approx(distance, abs=0.05)


@pytest.mark.parametrize("p", [(0.6, 0.3, 0.1), (0.4, 0.35, 0.25), (0.5, 0.3, 0.2)])
def test_the_ellipse_is_that_of_the_fisher_information(p):
    lam = np.diag(p) - np.outer(p, p)
    inverse = np.linalg.pinv(lam)
    # Back from the plane to three probabilities that sum to one.
    square = np.vstack([CORNERS.T, np.ones(3)])
    for point in fisher_ellipse(p, count=7):
        u = np.linalg.solve(square, [*point, 1.0]) - p
        assert u @ inverse @ u == pytest.approx(1, rel=1e-9)
    for c in range(3):
        g = np.asarray(p) - np.eye(3)[c]
        assert g @ inverse @ g == pytest.approx((1 - p[c]) / p[c], rel=1e-9)


@pytest.mark.parametrize("name", "ABC")
def test_eig_of_prior_is_the_sum_of_logs(name):
    values, lams = np.array(BATCHES[name]), np.array([1e3, 1.0, 1e-6])
    truth = [np.log1p(values / lam).sum() / 2 for lam in lams]
    assert eig_of_prior(values, lams) == pytest.approx(truth, rel=1e-12, abs=0)


def test_the_order_of_the_batches_is_reversed_as_the_caption_says():
    scores = {n: eig_of_prior(v, [100.0, 1e-6]) for n, v in BATCHES.items()}
    order = [sorted(scores, key=lambda n: -scores[n][i]) for i in (0, 1)]
    assert order == [["B", "C", "A"], ["A", "C", "B"]]


def test_squared_distances():
    degrees = np.array([0.0, 60.0, 90.0, 180.0])
    point, span = squared_distances(degrees)
    turn = np.radians(degrees)
    law = 4 + 1.9**2 - 7.6 * np.cos(turn)
    assert point == pytest.approx(law, abs=1e-12)
    assert span == pytest.approx((1.9 * np.sin(turn)) ** 2, abs=1e-12)
    a, b, c = (np.array(p) for p in POINTS.values())
    share = ((b - a) ** 2).sum() / (((b - a) ** 2).sum() + ((c - a) ** 2).sum())
    assert round(share, 3) == 0.753


@pytest.mark.parametrize("length", [0.3, 10.0])
@pytest.mark.parametrize("lam", [0.1, 1e-4])
def test_jepig_at_angle_is_a_correlation(length, lam):
    degrees = np.array([1.0, 30.0, 90.0])
    cosine = np.cos(np.radians(degrees))
    correlation = (length * cosine) ** 2 / ((lam + length**2) * (lam + 1))
    truth = -np.log1p(-correlation) / 2
    found = jepig_at_angle(degrees, length, lam)
    assert found == pytest.approx(truth, rel=1e-9, abs=1e-15)


def test_lengths_matter_under_a_prior_and_not_without():
    spread = {
        lam: np.ptp([jepig_at_angle([45.0], n, lam) for n in (0.3, 10.0)])
        for lam in (0.1, 1e-4)
    }
    assert spread[0.1] > 0.1
    assert spread[1e-4] < 1e-3
    limit = -math.log(math.sin(math.pi / 4))
    assert jepig_at_angle([45.0], 1.0, 1e-9) == pytest.approx(limit, abs=1e-6)


def test_numbers_that_captions_and_alternative_texts_state():
    ends = {n: eig_of_prior(v, [1e-6])[0] for n, v in BATCHES.items()}
    assert {n: round(v, 1) for n, v in ends.items()} == {
        "A": 20.7,
        "B": 17.0,
        "C": 19.1,
    }
    # B leads A until lambda = 1/625, up to (1 + lambda) and (1 + lambda / 25).
    crossing = [eig_of_prior(BATCHES[n], [0.0017, 0.0015]) for n in "AB"]
    assert crossing[0][0] < crossing[1][0]
    assert crossing[0][1] > crossing[1][1]
    starts = [jepig_at_angle([0.0], n, 0.1)[0] for n in (10.0, 1.0, 0.3)]
    assert [round(v, 1) for v in starts] == [1.2, 0.9, 0.3]
    point, span = squared_distances(np.array([90.0, 180.0]))
    assert (round(span[0], 1), round(point[1], 1)) == (3.6, 15.2)

"""The pictures are drawn alike each time, from numbers that other means confirm."""

import math
import re

import numpy as np
import pytest
from scipy import integrate

from companion.pictures import fisher as fisher_pictures
from companion.pictures.fisher import (
    AT,
    DATA,
    EDGE_MEANS,
    JACOBIAN,
    MODEL,
    curvatures,
    ellipse,
    estimates,
    gradients,
    label_curves,
    mean_square,
    pool,
)

PICTURES = ("mean_curve", "balanced_gradients", "four_sources", "moving_edge")


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_the_same_each_time_and_fits_a_phone(name):
    one, two = (getattr(fisher_pictures, name)() for _ in range(2))
    assert one.svg == two.svg
    assert one.png.startswith(b"\x89PNG")
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', one.svg)[1]
    assert float(width) <= 360  # at 350 px, letters of 9 points keep 6
    assert not re.search(r"<dc:date>|nan|inf\b", one.svg)


def test_label_curves_are_those_of_a_sigmoid():
    share = 1 / (1 + math.exp(-4 * math.tanh(AT)))
    for theta in (-1.0, 0.2, AT, 1.7):
        one = 1 / (1 + math.exp(-4 * math.tanh(theta)))
        truth = -math.log(1 - one), -math.log(one)
        mean = (1 - share) * truth[0] + share * truth[1]
        assert label_curves(theta) == pytest.approx((*truth, mean), rel=1e-12)


def test_slopes_and_bends_by_differences():
    slopes, bends = curvatures()
    step = 1e-4
    low, middle, high = (
        np.array(label_curves(AT + shift)) for shift in (-step, 0, step)
    )
    assert slopes == pytest.approx((high - low) / (2 * step), abs=1e-6)
    assert bends == pytest.approx((high - 2 * middle + low) / step**2, abs=1e-5)
    assert slopes[2] == pytest.approx(0, abs=1e-14)
    assert bends.round(2).tolist() == [-0.92, 1.86, 1.42]


def test_gradients_by_differences_balance_under_the_model_alone():
    z = np.log(MODEL)

    def loss(theta, y):
        logits = z + JACOBIAN @ theta
        return np.log(np.exp(logits).sum()) - logits[y]

    step = 1e-5
    for y, row in enumerate(gradients()):
        differences = [
            (loss(step * e, y) - loss(-step * e, y)) / (2 * step) for e in np.eye(2)
        ]
        assert row == pytest.approx(differences, abs=1e-8)
    assert np.array(MODEL) @ gradients() == pytest.approx(np.zeros(2), abs=1e-14)
    assert np.linalg.norm(np.array(DATA) @ gradients()) > 0.5
    assert sum(DATA) == pytest.approx(1)
    fisher = JACOBIAN.T @ (np.diag(MODEL) - np.outer(MODEL, MODEL)) @ JACOBIAN
    assert mean_square(MODEL) == pytest.approx(fisher, abs=1e-12)


def test_ellipse_is_where_the_quadratic_form_is_one():
    matrix = np.array([[2.0, 0.7], [0.7, 0.5]])
    points = ellipse(matrix, count=9)
    form = np.einsum("in,ij,jn->n", points, np.linalg.inv(matrix), points)
    assert form == pytest.approx(np.ones(9), abs=1e-4)


def test_estimates_are_means_over_the_pool():
    x, logits = (t.numpy() for t in pool())
    p = 1 / (1 + np.exp(-logits[:, 0]))
    sure = np.maximum(p, 1 - p)
    outer = x[:, :, None] * x[:, None, :] / len(x)
    found = estimates(draws=400)
    for name, factor in (
        ("exact", p * (1 - p)),
        ("agreeing", (1 - sure) ** 2),
        ("opposite", sure**2),
    ):
        truth = (factor[:, None, None] * outer).sum(0)
        assert found[name] == pytest.approx(truth, abs=1e-12)
    # the traces of 400 draws: their mean within four standard errors
    traces = found["sampled"].trace(axis1=1, axis2=2)
    error = traces.std() / math.sqrt(len(traces))
    assert abs(traces.mean() - found["exact"].trace()) < 4 * error
    widths = [math.sqrt(found[k][0, 0]) for k in ("agreeing", "exact", "opposite")]
    assert widths[0] < widths[1] and widths[2] > 2 * widths[1]


def test_moving_edge_states_these_means():
    """Slope and bend of -log p by differences, averaged by quadrature at theta = 1."""

    def exponential(y, t):
        return y / t + math.log(t), math.exp(-y)

    def uniform(y, t):
        return math.log(t), 1.0

    step = 1e-3
    for name, label, top in (("exponential", exponential, 50), ("uniform", uniform, 1)):

        def slope(y, label=label):
            return (label(y, 1 + step)[0] - label(y, 1 - step)[0]) / (2 * step)

        def bend(y, label=label):
            ends = label(y, 1 + step)[0] + label(y, 1 - step)[0]
            return (ends - 2 * label(y, 1)[0]) / step**2

        def mean(function, label=label, top=top):
            return integrate.quad(lambda y: function(y) * label(y, 1)[1], 0, top)[0]

        first, square = mean(slope), mean(lambda y, f=slope: f(y) ** 2)
        found = first, square, square - first**2, mean(bend)
        assert EDGE_MEANS[name] == pytest.approx(found, abs=1e-4)

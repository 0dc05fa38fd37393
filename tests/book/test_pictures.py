"""The pictures are drawn alike each time, from numbers that other means confirm."""

import math
import re

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

from companion.pictures import blr, eig
from companion.pictures.eig import logistic_information, probit_ladder, trace_excess

PICTURES = (
    "squeezed_ellipse",
    "sylvester_sides",
    "pair_information",
    "assumptions",
    "trace_bound",
    "logistic_scores",
    "redundancy",
)


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_the_same_each_time_and_fits_a_phone(name):
    module = blr if hasattr(blr, name) else eig
    one, two = (getattr(module, name)() for _ in range(2))
    assert one.svg == two.svg
    assert one.png.startswith(b"\x89PNG")
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', one.svg)[1]
    assert float(width) <= 360  # at 350 px, letters of 9 points keep 6
    assert not re.search(r"<dc:date>|nan|inf\b", one.svg)


def label_information(log_prob, mean, spread):
    """H[Y] - E H[Y|theta] of a binary label, by adaptive quadrature."""

    def average(function):
        def integrand(z):
            return function(mean + spread * z) * norm.pdf(z)

        return integrate.quad(integrand, -10, 10, limit=400, epsabs=1e-12)[0]

    def entropy(log_p, log_q):
        return -math.exp(log_p) * log_p - math.exp(log_q) * log_q

    p = average(lambda t: math.exp(log_prob(t)))
    noise = average(lambda t: entropy(log_prob(t), log_prob(-t)))
    return entropy(math.log(p), math.log1p(-p)) - noise


@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (3, 1), (5, 5), (0, 10)])
def test_logistic_information(mean, spread):
    exact, log_det, trace = logistic_information(mean, spread)
    truth = label_information(lambda t: -np.logaddexp(0, -t), mean, spread)
    p = 1 / (1 + math.exp(-mean))
    t = p * (1 - p) * spread**2
    assert exact == pytest.approx(truth, abs=1e-9)
    assert (log_det, trace) == pytest.approx((math.log1p(t) / 2, t / 2), rel=1e-12)


def test_probit_ladder_ends_at_both_truths():
    ladder = list(probit_ladder(1.0, 2.0).values())
    assert ladder[0] == pytest.approx(label_information(norm.logcdf, 1, 2), abs=1e-9)
    fisher = norm.pdf(1) ** 2 / (norm.cdf(1) * norm.cdf(-1))
    assert ladder[4] == pytest.approx(math.log1p(4 * fisher) / 2, rel=1e-12)
    assert ladder[3] < ladder[4]


def test_probit_ladder_between_them():
    """Modes and curvatures by grid and by differences, gains by their definition."""
    mean, spread = 0.5, 1.5
    grid = np.linspace(mean - 8 * spread, mean + 8 * spread, 200_001)
    step = 1e-3
    gains = {"mode": [], "start": []}
    for sign in (-1, 1):

        def loss(theta, sign=sign):
            return (theta - mean) ** 2 / spread**2 / 2 - norm.logcdf(sign * theta)

        for name, at in (("mode", grid[loss(grid).argmin()]), ("start", mean)):
            bend = (loss(at + step) - 2 * loss(at) + loss(at - step)) / step**2
            gains[name].append(math.log(bend * spread**2) / 2)
    marginal = norm.cdf(np.array([-mean, mean]) / math.hypot(1, spread))
    ladder = list(probit_ladder(mean, spread).values())
    found = [
        marginal @ gains["mode"],
        marginal @ gains["start"],
        norm.cdf([-mean, mean]) @ gains["start"],
    ]
    assert ladder[1:4] == pytest.approx(found, abs=1e-5)


def test_assumptions_cost_nothing_in_the_limit_of_a_narrow_prior():
    values = list(probit_ladder(0.3, 0.01).values())
    assert values == pytest.approx([values[0]] * 5, rel=1e-3)


def test_trace_excess():
    ell = trace_excess(0.25)
    assert ell == pytest.approx(1.25 * math.log1p(ell))
    assert ell > trace_excess(0.1) == pytest.approx(0.20645, abs=1e-5)


def test_numbers_that_captions_and_alternative_texts_state():
    ladder = [round(value, 3) for value in probit_ladder().values()]
    assert ladder == [0.342, 0.384, 0.541, 0.496, 0.507]
    ell = trace_excess()
    assert (round(ell, 2), round(math.log1p(ell) / 2, 3)) == (0.21, 0.094)
    assert 20 < 100 / math.log1p(100) < 25
    copies, single = math.log1p(424.5) / 2, math.log1p(4.245) / 2
    assert round(copies, 2) == 3.03
    assert (round(100 * single, 1), round(100 * single / copies)) == (82.9, 27)
    assert (int(424.5 / 2), round(424.5 / 2 / copies)) == (212, 70)

"""The pictures are drawn alike each time, from numbers that other means confirm."""

import math
import re

import numpy as np
import pytest
import sympy
from scipy import integrate, optimize

from companion.evidence.ch03.logistic import mode_of, posterior_at, quadrature
from companion.evidence.generic import (
    COUNT,
    INDEX,
    TERMS,
    EachEntry,
    S,
    T,
    density,
    entry,
    vanishes,
)
from companion.pictures import laplace as pictures

PLAIN = [1.0, -0.5, 2.0], [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "name", ["touching_parabolas", "stacked_curvatures", "entropy_of_growing_data"]
)
def test_picture_is_the_same_each_time_and_fits_a_phone(name, monkeypatch):
    exact = np.linspace(4, -0.5, len(pictures.SIZES))[None]
    drawn = np.stack([exact, exact - 0.05, exact - 0.8])
    monkeypatch.setattr(pictures, "entropies", lambda: drawn)
    one, two = (getattr(pictures, name)() for _ in range(2))
    assert one.svg == two.svg
    assert one.png.startswith(b"\x89PNG")
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', one.svg)[1]
    assert float(width) <= 360  # at 350 px, letters of 9 points keep 6
    assert not re.search(r"<dc:date>|nan|inf\b", one.svg)


def test_parabolas_touch_the_curve():
    """Slope and curvature at the expansion point, by differences."""
    for star, mean, variance in pictures.parabolas():
        at = [pictures.energy(np.array([star + h])) for h in (-1e-4, 0.0, 1e-4)]
        slope, bend = (at[2] - at[0]) / 2e-4, (at[0] - 2 * at[1] + at[2]) / 1e-8
        assert slope == pytest.approx((star - mean) / variance, abs=1e-6)
        assert bend == pytest.approx(1 / variance, rel=1e-5)


def test_mode_and_stack_of_curvatures():
    def energy(theta, count=4):
        z = pictures.STEEP * (theta - pictures.POSITIONS[:count])
        labels = np.logaddexp(0, z) - pictures.ANSWERS[:count] * z
        return labels.sum() + pictures.PULL * theta**2 / 2

    for count in (3, 4):
        found = optimize.minimize_scalar(energy, args=(count,), tol=1e-10)
        assert pictures.position_mode(count) == pytest.approx(found.x, abs=1e-6)
    for theta in (-1.0, 0.3):
        h = 1e-4
        bend = (energy(theta - h) - 2 * energy(theta) + energy(theta + h)) / h**2
        assert pictures.curvatures([theta]).sum() == pytest.approx(bend, rel=1e-5)


def test_entropy_by_quadrature_in_one_dimension():
    x, y, prior = np.array(PLAIN[0])[:, None], np.array(PLAIN[1]), np.array([[0.5]])

    def height(t):
        return float(pictures.energy(np.array([t]), x, y, prior))

    total = integrate.quad(lambda t: math.exp(-height(t)), -25, 25)[0]
    mean = integrate.quad(lambda t: height(t) * math.exp(-height(t)), -25, 25)[0]
    truth = math.log(total) + mean / total
    found = quadrature(x, y, prior, mode_of(x, y, prior))
    assert found == pytest.approx(truth, rel=1e-9)


def test_entropy_on_the_grid_of_two_independent_weights():
    """Labels that ask about one weight each: the entropy is a sum of two."""
    x, y = np.array(PLAIN[0])[:, None], np.array(PLAIN[1])
    prior = np.array([[0.5]])
    pair = np.block([[x, 0 * x], [0 * x, -x]]), np.concatenate([y, y])
    mode = mode_of(*pair, np.eye(2) / 2)
    spread = posterior_at(*pair, np.eye(2) / 2, mode).covariance.numpy()
    found = pictures.grid_entropy(*pair, np.eye(2) / 2, mode, spread)
    single = quadrature(x, y, prior, mode_of(x, y, prior))
    mirrored = quadrature(-x, y, prior, mode_of(-x, y, prior))
    assert found == pytest.approx(single + mirrored, abs=1e-4)


def test_entropies_at_the_mode_come_closer_and_those_at_zero_do_not():
    exact, at_mode, kept = pictures.entropies(sizes=(8, 64), data_sets=3)
    near, far = (np.abs(v - exact).mean(0) for v in (at_mode, kept))
    assert near[1] < near[0] < 0.3
    assert far[1] > 10 * near[1]
    assert exact.shape == (3, 2)


# --- generic functions ---------------------------------------------------------------


def decide(left, right):
    return EachEntry(left, "=", right, "").decide(np.random.default_rng(0))


def test_a_true_identity_is_proved_for_any_number_of_terms():
    p = density("p", INDEX, S, T)
    whole = entry(sympy.log(sympy.Product(p, TERMS)))
    outcome = decide(whole, sympy.Sum(entry(sympy.log(p)), TERMS))
    assert outcome.ok and outcome.kind == "all dimensions"


@pytest.mark.parametrize("factor", [-1, 2, 1 / COUNT])
def test_a_false_identity_is_refuted_by_an_instance(factor):
    p = density("p", INDEX, S, T)
    whole = entry(sympy.log(sympy.Product(p, TERMS)))
    outcome = decide(whole, factor * sympy.Sum(entry(sympy.log(p)), TERMS))
    assert outcome.refuted and not outcome.ok


def test_products_and_weights_of_sums_are_not_taken_for_sums_of_products():
    p, q = density("p", INDEX, T), density("q", INDEX, T)
    one = sympy.Sum(1, TERMS)
    mixed = sympy.Sum(p * q, TERMS) * one - sympy.Sum(p, TERMS) * sympy.Sum(q, TERMS)
    assert not vanishes(mixed)
    assert not vanishes(INDEX * sympy.Sum(p, TERMS) - sympy.Sum(INDEX * p, TERMS))
    assert not vanishes(sympy.Sum(p, TERMS) - sympy.Sum(p, (INDEX, 2, COUNT)))
    assert vanishes(sympy.Sum(p + q, TERMS) - sympy.Sum(p, TERMS) - sympy.Sum(q, TERMS))

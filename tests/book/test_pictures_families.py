"""The pictures are drawn alike each time, from numbers that other means confirm."""

import math
import re

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.stats import norm

from companion.evidence.ch05.coin import coin_gains
from companion.pictures import families as families_pictures
from companion.pictures.families import (
    CORNERS,
    example_network,
    gains,
    label_spread,
    link_curves,
    partition_curves,
    share,
    simplex_grid,
    spectra,
)
from fimlib.families import Bernoulli, Poisson

PICTURES = (
    "one_function",
    "triangle_of_labels",
    "two_links",
    "four_gains",
    "four_spectra",
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_the_same_each_time_and_fits_a_phone(name):
    one, two = (getattr(families_pictures, name)() for _ in range(2))
    assert one.svg == two.svg
    assert one.png.startswith(b"\x89PNG")
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', one.svg)[1]
    assert float(width) <= 360  # at 350 px, letters of 9 points keep 6
    assert not re.search(r"<dc:date>|nan|inf\b", one.svg)


@pytest.mark.parametrize(
    ("family", "partition"),
    [(Bernoulli(), lambda z: np.logaddexp(0, z)), (Poisson(), np.exp)],
    ids=["bernoulli", "poisson"],
)
def test_slope_and_bend_of_the_partition_by_differences(family, partition):
    z, step = np.array([-2.0, 0.1, 1.3]), 1e-3
    low, middle, high = (partition(z + shift) for shift in (-step, 0, step))
    found = partition_curves(family, z)
    assert found[0] == pytest.approx(middle, rel=1e-12)
    assert found[1] == pytest.approx((high - low) / (2 * step), rel=1e-5)
    assert found[2] == pytest.approx((high - 2 * middle + low) / step**2, rel=1e-5)


def test_the_grid_lies_inside_the_triangle():
    points = simplex_grid(5)
    assert len(points) == 6 and len(np.unique(points, axis=0)) == 6
    assert points.sum(1) == pytest.approx(np.ones(6))
    assert points.min() > 0


def test_label_spread_is_the_covariance_of_the_corner():
    p = np.array([0.5, 0.3, 0.2])
    mean = CORNERS @ p
    truth = sum(
        q * np.outer(c - mean, c - mean) for q, c in zip(p, CORNERS.T, strict=True)
    )
    assert label_spread(p) == pytest.approx(truth, abs=1e-14)
    # An equilateral triangle turns into itself: no direction is special in the middle.
    middle = label_spread(np.ones(3) / 3)
    assert middle == pytest.approx(np.eye(2) / 6, abs=1e-12)


def test_link_curves_by_differences():
    step = 1e-3

    def bends(log_p, eta):
        low, middle, high = (log_p(eta + shift) for shift in (-step, 0, step))
        return -(high - 2 * middle + low) / step**2

    def log_logit(eta):
        return -np.logaddexp(0, -eta)

    found = link_curves([-1.1, 0.0, 1.7])
    for name, log_p in (("logit", log_logit), ("probit", norm.logcdf)):
        for i, eta in enumerate([-1.1, 0.0, 1.7]):
            one, zero = bends(log_p, eta), bends(log_p, -eta)
            p = math.exp(log_p(eta))
            truth = [one, zero, p * one + (1 - p) * zero]
            assert found[name][:, i] == pytest.approx(truth, rel=1e-4)
    assert found["logit"].std(axis=0).max() < 1e-14


def test_gains_by_quadrature():
    mean, spread = 0.4, 1.5
    zero, one, eig, approximate = gains(mean, spread)
    prior = norm(mean, spread)

    def integral(f):
        return integrate.quad(f, mean - 12 * spread, mean + 12 * spread)[0]

    def one_of(t):
        return 1 / (1 + math.exp(-t))

    def drop(likelihood):
        total = integral(lambda t: likelihood(t) * prior.pdf(t))

        def surprise(t):
            q = likelihood(t) * prior.pdf(t) / total
            return -q * math.log(q)

        return prior.entropy() - integral(surprise)

    truth = drop(lambda t: one_of(-t)), drop(one_of)
    assert (zero, one) == pytest.approx(truth, abs=1e-7)
    p = integral(lambda t: one_of(t) * prior.pdf(t))
    assert share(mean, spread) == pytest.approx([1 - p, p], abs=1e-9)
    assert eig == pytest.approx((1 - p) * zero + p * one, abs=1e-9)
    curvature = one_of(mean) * one_of(-mean)
    assert approximate == pytest.approx(math.log1p(spread**2 * curvature) / 2, rel=1e-9)


def test_gains_of_the_chapter():
    found = gains(1, 2)
    assert found == pytest.approx([0.25503, 0.19488, 0.21607, 0.29011], abs=5e-6)
    narrow = gains(1, 0.01)
    assert narrow == pytest.approx(np.full(4, narrow[3]), rel=0.02)


def test_a_coin_never_forgets_which_label_is_rare():
    zero, one = coin_gains(ones=1, zeros=2)
    assert one == pytest.approx(math.log(3) - 5 / 6, rel=1e-12)
    assert zero == pytest.approx(math.log(1.5) - 1 / 3, rel=1e-12)
    many = coin_gains(ones=1000, zeros=4000) * 2 * 5000
    assert many == pytest.approx([0.25, 4.0], rel=2e-3)


def test_spectra_are_those_of_autodiff():
    model, x = example_network()
    theta = torch.nn.utils.parameters_to_vector(model.parameters()).detach()

    def losses(t):
        hidden = torch.tanh(t[:6].view(3, 2) @ x[0] + t[6:9])
        return -torch.log_softmax(t[9:18].view(3, 3) @ hidden + t[18:], 0)

    hessians = torch.func.hessian(losses)(theta)
    mean = torch.einsum("c,cde->de", torch.exp(-losses(theta)), hessians)
    truth = torch.linalg.eigvalsh(torch.cat([hessians, mean[None]]))
    found = spectra()
    assert found == pytest.approx(truth.numpy(), abs=1e-10)
    assert (found[:3, 0] < -0.1).all() and found[3, 0] > -1e-12
    assert (found[3] > 1e-6).sum() == 2

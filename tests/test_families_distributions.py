"""Families as distributions: against SciPy, at extremes, and what they refuse."""

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from cases import generator, normal
from family_cases import COVARIANCE, log_partitions
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.families import (
    Bernoulli,
    Binomial,
    Exponential,
    GaussianMeanLogSd,
    GaussianMeanVariance,
    MultivariateGaussian,
    Poisson,
)

SCIPY = {
    "bernoulli": (Bernoulli(), lambda z: scipy.stats.bernoulli(1 / (1 + np.exp(-z)))),
    "binomial": (Binomial(13), lambda z: scipy.stats.binom(13, 1 / (1 + np.exp(-z)))),
    "poisson": (Poisson(), lambda z: scipy.stats.poisson(np.exp(z))),
    "exponential": (Exponential(), lambda z: scipy.stats.expon(scale=-1 / z)),
}


@pytest.mark.parametrize("name", SCIPY)
def test_scalar_families_match_scipy(name):
    family, frozen = SCIPY[name]
    for z in (-2.3, -0.7, -0.1) if name == "exponential" else (-1.1, 0.2, 1.9):
        theirs = frozen(z)
        column = torch.full((3, 1), z, dtype=torch.float64)
        y = torch.tensor([0.0, 1.0, 1.0]) if name != "exponential" else normal(3).abs()
        log_p = theirs.logpdf(y) if name == "exponential" else theirs.logpmf(y)
        np.testing.assert_allclose(family.log_prob(column, y), log_p, rtol=1e-12)
        np.testing.assert_allclose(
            family.entropy(column), [theirs.entropy()] * 3, rtol=1e-9
        )
        np.testing.assert_allclose(family.mean(column)[0], theirs.mean(), rtol=1e-12)
        np.testing.assert_allclose(family.fisher(column)[0], theirs.var(), rtol=1e-12)
    both = torch.tensor([[-0.3, -0.9]]).double()
    alone = family.entropy(both[:, :1]) + family.entropy(both[:, 1:])
    torch.testing.assert_close(family.entropy(both), alone, rtol=1e-13, atol=0)
    y = torch.ones(1, 2)
    alone = sum(family.log_prob(both[:, k, None], y[:, k]) for k in range(2))
    torch.testing.assert_close(family.log_prob(both, y), alone, rtol=1e-13, atol=0)


def test_mean_and_variance_match_scipy():
    mu, s = 0.8, 1.7
    theirs = scipy.stats.norm(mu, s)
    y = normal(5)
    outputs = torch.tensor([[mu, math.log(s)]]).double().expand(5, -1)
    natural = torch.tensor([[mu / s**2, -1 / (2 * s**2)]]).double().expand(5, -1)
    by_sd, by_variance = GaussianMeanLogSd(), GaussianMeanVariance()
    torch.testing.assert_close(by_sd.natural(outputs), natural)
    for labels in (y, y[:, None]):
        np.testing.assert_allclose(
            by_variance.log_prob(natural, labels), theirs.logpdf(y)
        )
    np.testing.assert_allclose(by_variance.entropy(natural), [theirs.entropy()] * 5)
    np.testing.assert_allclose(by_variance.mode(natural), [mu] * 5)
    np.testing.assert_allclose(by_variance.mean(natural)[0], [mu, mu**2 + s**2])
    # T17: the Fisher information by (mu, s2)-natural parameters, entry by entry.
    expected = [[s**2, 2 * mu * s**2], [2 * mu * s**2, 2 * s**4 + 4 * mu**2 * s**2]]
    np.testing.assert_allclose(by_variance.fisher(natural)[0], expected)


def test_mean_and_log_sd_are_not_natural():
    """claims T17: FIM diag(1/s^2, 2), while the observed Hessian depends on y."""
    family = GaussianMeanLogSd()
    outputs = torch.stack([normal(7), 0.5 * normal(7, seed=1)], -1)
    root = family.output_root(outputs)
    s = outputs[:, 1].exp()
    fisher = torch.diag_embed(torch.stack([s**-2, torch.full_like(s, 2)], -1))
    torch.testing.assert_close(root @ root.mT, fisher)
    for y in (normal(7, seed=2), normal(7, seed=3)):

        def loss(out, label):
            error = (label - out[0]) * (-out[1]).exp()
            return error**2 / 2 + out[1]

        gradients = torch.func.vmap(torch.func.grad(loss))(outputs, y)
        hessians = torch.func.vmap(torch.func.hessian(loss))(outputs, y)
        torch.testing.assert_close(family.output_gradient(outputs, y), gradients)
        torch.testing.assert_close(family.output_hessian(outputs, y), hessians)
        assert (hessians - fisher).abs().amax((1, 2)).min() > 0.1
        assert torch.linalg.det(hessians).max() < 0
    # The same information in natural parameters, by the Jacobian of the change.
    jacobian = torch.func.jacrev(
        lambda o: torch.stack([o[0] * (-2 * o[1]).exp(), -(-2 * o[1]).exp() / 2])
    )
    for row, expected in zip(outputs, fisher, strict=True):
        j = jacobian(row)
        natural = GaussianMeanVariance().fisher(family.natural(row[None]))[0]
        torch.testing.assert_close(j.mT @ natural @ j, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("z", [-690.0, -69.0, -25.0, 0.3, 25.0, 69.0, 690.0])
def test_logits_keep_their_relative_digits_at_the_ends(z):
    """p = 1 - 1e-30 and beyond, against 400 digits."""
    with mpmath.workdps(400):
        p = 1 / (1 + mpmath.exp(-mpmath.mpf(z)))
        q = 1 - p
        expected = {
            "log_partition": -mpmath.log(q),
            "root": mpmath.sqrt(p * q),
            "fisher": p * q,
            "entropy": -p * mpmath.log(p) - q * mpmath.log(q),
            "log_prob_1": mpmath.log(p),
            "log_prob_0": mpmath.log(q),
            "gradient_1": -q,
            "gradient_0": p,
        }
    family = Bernoulli()
    found = {
        "log_partition": family.log_partition([[z]]),
        "root": family.fisher_root([[z]]),
        "fisher": family.fisher([[z]]),
        "entropy": family.entropy([[z]]),
        "log_prob_1": family.log_prob([[z]], [1]),
        "log_prob_0": family.log_prob([[z]], [0]),
        "gradient_1": family.output_gradient([[z]], [1]),
        "gradient_0": family.output_gradient([[z]], [0]),
    }
    for key, value in expected.items():
        assert found[key].item() == pytest.approx(float(value), rel=1e-12, abs=0), key


@pytest.mark.parametrize(
    "log_rate", [-600.0, -69.0, -3.0, 0.0, 2.0, 5.0, 6.9, 6.92, 8.0, 20.0, 700.0]
)
def test_poisson_entropy_of_any_rate(log_rate):
    """Against the sum in mpmath, and past it against the Gaussian limit's series."""
    found = Poisson().entropy([[log_rate]]).item()
    with mpmath.workdps(40):
        rate = mpmath.exp(mpmath.mpf(log_rate))
        if rate < 3000:
            ends = (
                max(0, int(rate - 14 * mpmath.sqrt(rate))),
                int(rate + 14 * mpmath.sqrt(rate) + 60),
            )
            log_p = [
                k * mpmath.mpf(log_rate) - rate - mpmath.loggamma(k + 1)
                for k in range(*ends)
            ]
            expected = -mpmath.fsum(mpmath.exp(v) * v for v in log_p)
        else:
            expected = (mpmath.log(2 * mpmath.pi * mpmath.e) + log_rate) / 2
            expected -= 1 / (12 * rate) + 1 / (24 * rate**2)
    assert found == pytest.approx(float(expected), rel=1e-12, abs=0)


def test_extremes_of_rates_and_variances():
    for z in (-600.0, 700.0):
        root = Poisson().fisher_root([[z]]).item()
        assert root == pytest.approx(float(mpmath.exp(z / 2)), rel=1e-13, abs=0)
    for z in (-1e-150, -1e150):
        assert Exponential().fisher_root([[z]]).item() == pytest.approx(
            -1 / z, rel=1e-13, abs=0
        )
        assert Exponential().entropy([[z]]).item() == pytest.approx(
            1 - math.log(-z), rel=1e-13, abs=0
        )
    outputs = torch.tensor([[3.0, 150.0], [3.0, -150.0]]).double()
    family = GaussianMeanLogSd()
    torch.testing.assert_close(
        family.entropy(family.natural(outputs)),
        outputs[:, 1] + math.log(2 * math.pi * math.e) / 2,
        rtol=1e-13,
        atol=0,
    )
    torch.testing.assert_close(
        family.output_root(outputs)[:, 0, 0], (-outputs[:, 1]).exp(), rtol=0, atol=0
    )
    assert Binomial(100_000).entropy([[0.3]]).item() == pytest.approx(
        0.5 * math.log(2 * math.pi * math.e * 1e5 * scipy.stats.logistic.pdf(0.3)),
        rel=1e-6,
    )


def test_samples_have_the_moments_of_their_family():
    draws = 40_000
    for name, (family, _, z) in log_partitions().items():
        if name in ("categorical", "gaussian"):
            continue
        z = z[:3]
        y = family.sample(z, draws, generator(5))
        again = family.sample(z, draws, generator(5))
        assert torch.equal(y, again)
        t = torch.stack([y, y**2], -1) if name == "mean and variance" else y
        assert t.shape == (draws, 3, z.shape[1]), name
        variance = family.fisher(z)
        spread = variance.diagonal(dim1=1, dim2=2)
        error = (t.mean(0) - family.mean(z)).abs()
        assert (error < 5 * (spread / draws).sqrt()).all(), name
        centred = t - family.mean(z)
        found = torch.einsum("nmi,nmj->mij", centred, centred) / draws
        scale = (spread[:, :, None] * spread[:, None, :]).sqrt()
        assert ((found - variance).abs() < 0.06 * scale).all(), name
        if name != "mean and variance":
            family.log_prob(z, y[0])


def test_modes_are_the_most_probable_labels():
    z = torch.tensor([[-2.0], [-0.3], [0.0], [0.9], [3.0]]).double()
    for family, support in (
        (Bernoulli(), 2),
        (Binomial(7), 8),
        (Poisson(), 60),
    ):
        labels = torch.arange(support)
        log_p = torch.stack(
            [family.log_prob(row.expand(support, 1), labels) for row in z[:, None]]
        )
        best = log_p.gather(1, family.mode(z).long())[:, 0]
        torch.testing.assert_close(best, log_p.amax(1))
    assert Exponential().mode([[-2.0]]).item() == 0.0


@given(
    st.integers(1, 12),
    st.lists(st.floats(-30, 30), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_binomial_probabilities_sum_to_one_and_scores_to_zero(trials, logits, random):
    family = Binomial(trials)
    z = torch.tensor([logits]).double()
    labels = torch.tensor([[random.randint(0, trials) for _ in logits]])
    gradient = family.output_gradient(z, labels)
    expected = trials * torch.sigmoid(z) - labels
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)
    support = torch.arange(trials + 1)
    for logit in logits:
        rows = torch.full((trials + 1, 1), logit, dtype=torch.float64)
        p = family.log_prob(rows, support).exp()
        assert p.sum().item() == pytest.approx(1.0, rel=1e-11)
        score = family.output_gradient(rows, support)[:, 0]
        assert abs((p * score).sum().item()) < 1e-10 * trials


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=2), st.floats(-50, 50))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_both_gaussian_parametrisations_agree(outputs, y):
    by_sd, by_variance = GaussianMeanLogSd(), GaussianMeanVariance()
    outputs = torch.tensor([outputs]).double()
    z = by_sd.natural(outputs)
    error = (y - outputs[0, 0].item()) * math.exp(-outputs[0, 1].item())
    expected = -(error**2) / 2 - outputs[0, 1].item() - math.log(2 * math.pi) / 2
    found = by_variance.log_prob(z, [y]).item()
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert torch.isfinite(by_variance.fisher_root(z)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Binomial(0), "num_trials must be a positive integer, got 0"),
        (lambda: Binomial(2.5), "num_trials must be a positive integer"),
        (
            lambda: Bernoulli().log_prob([[0.0]], [2]),
            r"y must hold integers in 0\.\.1, got 1 others, from 2 to 2",
        ),
        (
            lambda: Binomial(3).output_gradient([[0.0], [1.0]], [0.5, 4]),
            r"labels must hold integers in 0\.\.3, got 2 others, from 0\.5 to 4",
        ),
        (
            lambda: Poisson().log_prob([[0.0]], [-1]),
            "y must hold integers of at least 0",
        ),
        (lambda: Poisson().mean([[710.0]]), "z must be log rates of at most 709"),
        (lambda: Exponential().mean([[0.0]]), r"z must be negative \(minus the rate\)"),
        (
            lambda: Exponential().natural([[-1.0], [2.0]]),
            "outputs must be negative .* got 1 others, from 2 to 2",
        ),
        (lambda: Exponential().log_prob([[-1.0]], [-0.1]), "y must be at least 0"),
        (
            lambda: GaussianMeanVariance().entropy([[0.0, 0.0]]),
            "z must have a negative second column",
        ),
        (
            lambda: GaussianMeanVariance().mean([[0.0, -1.0, 2.0]]),
            r"z must have shape \(M, 2\), got \(1, 3\)",
        ),
        (
            lambda: GaussianMeanLogSd().output_root([[0.0]]),
            r"outputs must have shape \(M, 2\), got \(1, 1\)",
        ),
        (
            lambda: GaussianMeanLogSd().output_gradient([[0.0, 0.0]], [1.0, 2.0]),
            r"labels must have shape \(1, 1\), got \(2, 1\)",
        ),
        (
            lambda: MultivariateGaussian([[1.0, 2.0], [2.0, 1.0]]),
            "covariance must be positive definite, got a smallest eigenvalue of -1",
        ),
        (
            lambda: MultivariateGaussian(COVARIANCE).mean([[0.0, 1.0]]),
            r"z must have shape \(M, 3\), got \(1, 2\)",
        ),
        (
            lambda: Bernoulli().log_prob([[0.0, 1.0]], [1]),
            r"y must have shape \(1, 2\), got \(1,\)",
        ),
        (lambda: Bernoulli().mean(torch.zeros(2, 0)), "z must have at least 1 columns"),
        (lambda: Poisson().entropy([[math.nan]]), "z must be finite, got 1 NaN"),
        (lambda: Poisson().sample([[0.0]], -1), "num_samples must be a positive"),
    ],
)
def test_bad_parameters_and_labels_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_repr_names_the_family_and_its_constants():
    shown = [repr(family) for family, _, _ in log_partitions().values()]
    assert shown == [
        "Bernoulli()",
        "Binomial(num_trials=5)",
        "Poisson()",
        "Exponential()",
        "GaussianMeanVariance()",
        "MultivariateGaussian(covariance=(3, 3))",
        "Categorical()",
        "Gaussian(variance=0.3)",
    ]

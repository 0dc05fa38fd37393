import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from cases import generator, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.families import (
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    ExponentialFamily,
    Gaussian,
    GaussianMeanLogSd,
    GaussianMeanVariance,
    MultivariateGaussian,
    Poisson,
)

FAMILIES = {"categorical": Categorical(), "gaussian": Gaussian(0.3)}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def test_mean_and_fisher_are_the_derivatives_of_the_log_partition(family):
    for z in normal(3, 5):
        # Central differences, extrapolated once: an error of order step^4.
        step = 1e-3
        eye = torch.eye(5, dtype=torch.float64)

        def value(point):
            return family.log_partition(point[None])[0]

        def gradient(point, h=step, eye=eye):
            return torch.stack([(value(point + h * e) - value(point - h * e)) / (2 * h)
                                for e in eye])  # fmt: skip

        fine, coarse = gradient(z, step / 2), gradient(z)
        torch.testing.assert_close(
            family.mean(z[None])[0], (4 * fine - coarse) / 3, rtol=0, atol=1e-10
        )
        means = [
            (family.mean((z + h * e)[None]) - family.mean((z - h * e)[None]))[0]
            / (2 * h)
            for h in (step, step / 2)
            for e in eye
        ]
        hessian = (4 * torch.stack(means[5:]) - torch.stack(means[:5])) / 3
        torch.testing.assert_close(
            family.fisher(z[None])[0], hessian, rtol=0, atol=1e-10
        )


def test_fisher_root_squares_to_fisher(family):
    z = 3 * normal(7, 5)
    root = family.fisher_root(z)
    torch.testing.assert_close(root @ root.mT, family.fisher(z), rtol=0, atol=1e-14)


def test_categorical_root_has_full_column_rank():
    root = Categorical().fisher_root(normal(7, 5))
    assert root.shape == (7, 5, 4)
    assert torch.linalg.svdvals(root).min() > 1e-3
    torch.testing.assert_close(
        root.sum(1), torch.zeros(7, 4, dtype=torch.float64), rtol=0, atol=1e-15
    )


def exact_categorical(z):
    with mpmath.workdps(400):
        weights = [mpmath.exp(mpmath.mpf(v)) for v in z.tolist()]
        return [w / mpmath.fsum(weights) for w in weights]


@pytest.mark.parametrize("gap", [0.0, 3.0, 69.0776, 350.0, 690.0])
@pytest.mark.parametrize("top", [0, 1, 2])
def test_categorical_is_relatively_accurate_for_saturated_logits(gap, top):
    """p = 1 - 1e-30 and beyond: entropy, log_prob and the root keep their digits."""
    z = torch.tensor([0.0, 0.5, -1.0], dtype=torch.float64) - gap
    z[top] = 0.7
    family = Categorical()
    p = exact_categorical(z)
    with mpmath.workdps(400):
        entropy = -mpmath.fsum(v * mpmath.log(v) for v in p)
        quadratic = [
            # Var of the statistic a^T T under p, as the sum of squares over pairs.
            mpmath.fsum(
                p[i] * p[j] * (a[i] - a[j]) ** 2 for i in range(3) for j in range(i)
            )
            for a in ((1, 2, 4), (3, -1, 0))
        ]
        log_top = mpmath.log(p[top])
        determinant = p[0] * p[1] * p[2]
    assert family.entropy(z[None]).item() == pytest.approx(
        float(entropy), rel=2e-13, abs=0
    )
    assert family.log_prob(z[None], [top]).item() == pytest.approx(
        float(log_top), rel=2e-13, abs=0
    )
    gradient = family.output_gradient(z[None], [top])[0, top].item()
    assert -gradient == pytest.approx(
        float(mpmath.fsum(p[k] for k in range(3) if k != top)), rel=2e-13, abs=0
    )
    root = family.fisher_root(z[None])[0]
    statistics = torch.tensor([(1, 2, 4), (3, -1, 0)], dtype=torch.float64)
    torch.testing.assert_close(
        (statistics @ root).square().sum(-1),
        torch.tensor([float(q) for q in quadratic], dtype=torch.float64),
        rtol=1e-12,
        atol=0,
    )
    if gap < 300:  # any 2 x 2 minor of Lambda is p_1 p_2 p_3
        minor = torch.linalg.det(root[:2]).square().item()
        assert minor == pytest.approx(float(determinant), rel=1e-12, abs=0)
    torch.testing.assert_close(
        family.fisher(z[None])[0, top, top].item(),
        float(p[top] * mpmath.fsum(p[k] for k in range(3) if k != top)),
        rtol=1e-12,
        atol=0,
    )


def test_gaussian_outputs_are_means_and_natural_parameters_are_means_over_variance():
    family = Gaussian(0.3)
    mu = normal(5, 2)
    z = family.natural(mu)
    torch.testing.assert_close(family.mean(z), mu)
    # By z the curvature is s2; by the mean it is 1 / s2 (T17).
    assert family.fisher(z)[0, 0, 0].item() == pytest.approx(0.3)
    root = family.output_root(mu)
    assert (root @ root.mT)[0, 0, 0].item() == pytest.approx(1 / 0.3)
    y = normal(5, 2, seed=3)
    normal_density = torch.distributions.Normal(mu, math.sqrt(0.3))
    torch.testing.assert_close(
        family.log_prob(z, y), normal_density.log_prob(y).sum(-1)
    )
    torch.testing.assert_close(family.entropy(z), normal_density.entropy().sum(-1))


def test_categorical_matches_torch_distributions():
    z, y = normal(5, 3), torch.tensor([0, 2, 1, 1, 0])
    expected = torch.distributions.Categorical(logits=z)
    family = Categorical()
    torch.testing.assert_close(family.log_prob(z, y), expected.log_prob(y))
    torch.testing.assert_close(family.entropy(z), expected.entropy())
    torch.testing.assert_close(family.mean(z), expected.probs)


def test_output_gradients_match_autodiff():
    outputs = normal(5, 3).requires_grad_()
    y = torch.tensor([0, 2, 1, 1, 0])
    loss = torch.nn.functional.cross_entropy(outputs, y, reduction="sum")
    (expected,) = torch.autograd.grad(loss, outputs)
    torch.testing.assert_close(Categorical().output_gradient(outputs, y), expected)
    target = normal(5, 3, seed=9)
    loss = (outputs - target).square().sum() / (2 * 0.3)
    (expected,) = torch.autograd.grad(loss, outputs)
    torch.testing.assert_close(Gaussian(0.3).output_gradient(outputs, target), expected)


def test_the_score_has_mean_zero_and_the_fisher_as_its_covariance():
    z = normal(4, 3)
    family = Categorical()
    scores = torch.stack([family.output_gradient(z, [y] * 4) for y in range(3)])
    p = family.mean(z).T[:, :, None]
    assert (p * scores).sum(0).abs().max() < 1e-15
    outer = torch.einsum("ymi,ymj,ymk->mij", scores, scores, p)
    torch.testing.assert_close(outer, family.fisher(z), rtol=0, atol=1e-15)


def test_samples_follow_the_family_and_the_generator():
    z = normal(3, 4)
    draws = Categorical().sample(z, 20_000, generator(1))
    assert draws.shape == (20_000, 3)
    counts = torch.nn.functional.one_hot(draws, 4).double().mean(0)
    assert (counts - Categorical().mean(z)).abs().max() < 5 * 0.5 / math.sqrt(20_000)
    torch.testing.assert_close(draws, Categorical().sample(z, 20_000, generator(1)))
    family = Gaussian(0.3)
    draws = family.sample(z, 20_000, generator(1))
    assert draws.shape == (20_000, 3, 4)
    assert (draws.mean(0) - family.mean(z)).abs().max() < 5 * math.sqrt(0.3 / 20_000)
    assert (draws.var(0) - 0.3).abs().max() < 5 * 0.3 * math.sqrt(2 / 20_000)
    assert Categorical().mode(z).tolist() == z.argmax(-1).tolist()
    torch.testing.assert_close(family.mode(z), family.mean(z))


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="variance must be positive"):
        Gaussian(0.0)
    with pytest.raises(ValueError, match=r"z must have shape \(M, C\), got \(3,\)"):
        Categorical().entropy([0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="z must have at least 2 columns"):
        Categorical().mean([[0.0]])
    with pytest.raises(ValueError, match="z must be finite, got 1 NaN"):
        Categorical().mean([[0.0, math.inf]])
    with pytest.raises(ValueError, match=r"y must lie in 0..2, got values from 3 to 3"):
        Categorical().log_prob([[0.0, 1.0, 2.0]], [3])
    with pytest.raises(ValueError, match="y must hold integers"):
        Categorical().log_prob([[0.0, 1.0, 2.0]], [1.0])
    with pytest.raises(ValueError, match=r"y must have shape \(2, 3\)"):
        Gaussian(1.0).log_prob(normal(2, 3), normal(2, 4))
    with pytest.raises(ValueError, match="num_samples must be a positive integer"):
        Gaussian(1.0).sample(normal(2, 3), 0)


# Every family below is compared with formulas written here again, from the densities.
COVARIANCE = torch.tensor(
    [[1.3, 0.4, -0.2], [0.4, 0.9, 0.1], [-0.2, 0.1, 0.7]]
).double()


def log_partitions():
    """Name -> (family, A as a torch function of z (C,), parameters (M, C))."""
    z = normal(7, 3)
    return {
        "bernoulli": (
            Bernoulli(),
            lambda z: torch.logaddexp(z, torch.zeros_like(z)).sum(),
            z,
        ),
        "binomial": (
            Binomial(5),
            lambda z: 5 * torch.logaddexp(z, torch.zeros_like(z)).sum(),
            z,
        ),
        "poisson": (Poisson(), lambda z: z.exp().sum(), z),
        "exponential": (Exponential(), lambda z: -(-z).log().sum(), -z.exp()),
        "mean and variance": (
            GaussianMeanVariance(),
            lambda z: -(z[0] ** 2) / (4 * z[1]) - (-2 * z[1]).log() / 2,
            torch.stack([z[:, 0], -z[:, 1].exp()], -1),
        ),
        "multivariate": (
            MultivariateGaussian(COVARIANCE),
            lambda z: z @ COVARIANCE @ z / 2,
            z,
        ),
        "categorical": (Categorical(), lambda z: z.logsumexp(0), z),
        "gaussian": (Gaussian(0.3), lambda z: 0.3 * z @ z / 2, z),
    }


@pytest.mark.parametrize("name", log_partitions())
def test_mean_and_fisher_are_autodiff_derivatives_of_the_log_partition(name):
    family, partition, z = log_partitions()[name]
    assert isinstance(family, ExponentialFamily)

    def same(found, expected):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)

    same(family.log_partition(z), torch.stack([partition(row) for row in z]))
    same(family.mean(z), torch.stack([torch.func.grad(partition)(row) for row in z]))
    hessian = torch.stack([torch.func.hessian(partition)(row) for row in z])
    same(family.fisher(z), hessian)
    root = family.fisher_root(z)
    same(root @ root.mT, hessian)


@pytest.mark.parametrize("z", [-3.0, 0.0, 0.4, 2.5])
def test_discrete_log_partitions_are_sums_over_the_labels(z):
    """A(z) = log sum_y h(y) e^{zy}, with h from the definition of the family."""
    for family, weights in (
        (Bernoulli(), [1, 1]),
        (Binomial(5), [math.comb(5, k) for k in range(6)]),
        (Poisson(), [1 / math.factorial(k) for k in range(120)]),
    ):
        total = math.fsum(w * math.exp(z * k) for k, w in enumerate(weights))
        found = family.log_partition([[z]]).item()
        assert found == pytest.approx(math.log(total), rel=1e-13, abs=0)
        labels = torch.arange(len(weights))
        rows = torch.full((len(weights), 1), z, dtype=torch.float64)
        log_p = family.log_prob(rows, labels)
        expected = [math.log(w) + z * k - found for k, w in enumerate(weights)]
        torch.testing.assert_close(
            log_p, torch.tensor(expected, dtype=log_p.dtype), rtol=1e-12, atol=1e-12
        )


def test_continuous_log_partitions_are_integrals():
    """A(z) = log int h(y) e^{z T(y)} dy by quadrature, constants of h included."""
    for family, z, integrand, ends in (
        (Exponential(), (-1.7,), lambda y, z: np.exp(z[0] * y), (0, np.inf)),
        (
            GaussianMeanVariance(),
            (0.8, -0.6),
            lambda y, z: np.exp(z[0] * y + z[1] * y * y) / math.sqrt(2 * math.pi),
            (-np.inf, np.inf),
        ),
    ):
        value, _ = scipy.integrate.quad(integrand, *ends, args=(z,), epsrel=1e-12)
        found = family.log_partition([z]).item()
        assert found == pytest.approx(math.log(value), rel=1e-10, abs=0)


def moments(family, outputs, nodes, weights):
    """E[score], E[score score^T] and E[observed Hessian] over labels at these nodes."""
    count = len(nodes)
    rows = torch.tensor(outputs).double().expand(count, -1)
    p = weights * family.log_prob(family.natural(rows), nodes).exp()
    assert p.sum().item() == pytest.approx(1.0, rel=1e-11)
    score = family.output_gradient(rows, nodes)
    outer = torch.einsum("n,ni,nj->ij", p, score, score)
    hessian = torch.einsum("n,nij->ij", p, family.output_hessian(rows, nodes))
    root = family.output_root(rows[:1])[0]
    return p @ score, outer, hessian, root @ root.mT


def legendre(low, high, count=400):
    nodes, weights = np.polynomial.legendre.leggauss(count)
    half = (high - low) / 2
    return torch.tensor(low + half * (nodes + 1)), torch.tensor(half * weights)


@pytest.mark.parametrize(
    ("family", "outputs", "low", "high"),
    [
        (Bernoulli(), [0.7], 0, 1),
        (Binomial(7), [-0.4], 0, 7),
        (Poisson(), [1.3], 0, 60),
        (Categorical(), [0.3, -0.2, 1.1], 0, 2),
        (Exponential(), [-1.3], 0.0, 40.0),
        (GaussianMeanVariance(), [0.8, -0.6], -11.0, 13.0),
        (GaussianMeanLogSd(), [0.8, -0.3], -9.0, 10.0),
        (Gaussian(0.3), [0.8], -6.0, 7.0),
        (MultivariateGaussian([[0.3]]), [0.8], -6.0, 7.0),
    ],
    ids=lambda v: repr(v) if isinstance(v, ExponentialFamily) else "",
)
def test_scores_have_mean_zero_and_the_fisher_is_their_covariance(
    family, outputs, low, high
):
    """claims T15: E s = 0, E s s^T = E H = F, by sums and quadrature over labels."""
    if isinstance(low, int):
        nodes, weights = torch.arange(low, high + 1), torch.ones(high + 1).double()
    else:
        nodes, weights = legendre(low, high)
    mean, outer, hessian, fisher = moments(family, outputs, nodes, weights)
    assert mean.abs().max() < 1e-10
    torch.testing.assert_close(outer, fisher, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(hessian, fisher, rtol=1e-9, atol=1e-11)


def test_gradients_of_correlated_targets_are_autodiff_gradients():
    family = MultivariateGaussian(COVARIANCE)
    mu, y = normal(5, 3).requires_grad_(), normal(5, 3, seed=4)
    density = torch.distributions.MultivariateNormal(mu, COVARIANCE)
    (expected,) = torch.autograd.grad(-density.log_prob(y).sum(), mu)
    torch.testing.assert_close(family.output_gradient(mu, y), expected)
    z = family.natural(mu)
    torch.testing.assert_close(family.mean(z), mu.detach())
    torch.testing.assert_close(family.mode(z), mu.detach())
    torch.testing.assert_close(family.log_prob(z, y), density.log_prob(y).detach())
    torch.testing.assert_close(family.entropy(z), density.entropy().detach())
    inverse = torch.linalg.inv(COVARIANCE).expand(5, -1, -1)
    root = family.output_root(mu)
    torch.testing.assert_close(root @ root.mT, inverse)
    torch.testing.assert_close(family.output_hessian(mu, y), inverse)
    diagonal = MultivariateGaussian(0.3 * torch.eye(3))
    torch.testing.assert_close(
        diagonal.log_prob(diagonal.natural(mu), y),
        Gaussian(0.3).log_prob(Gaussian(0.3).natural(mu), y),
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


def test_natural_families_have_an_observed_hessian_without_the_label():
    for name, (family, _, z) in log_partitions().items():
        outputs = z if name not in ("gaussian", "multivariate") else family.mean(z)
        labels = torch.zeros(7, 3) if outputs.shape[1] == 3 else torch.zeros(7)
        if name == "categorical":
            labels = torch.zeros(7).long()
        root = family.output_root(outputs)
        torch.testing.assert_close(
            family.output_hessian(outputs, labels),
            root @ root.mT,
            rtol=1e-12,
            atol=1e-14,
        )


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

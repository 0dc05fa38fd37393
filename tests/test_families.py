"""The categorical and Gaussian families, and what every family must satisfy."""

import math

import mpmath
import pytest
import torch
from cases import generator, normal

from fimlib.families import Categorical, Gaussian

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

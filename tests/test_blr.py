import math

import numpy as np
import pytest
import torch
from cases import normal
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.blr import BayesianLinearRegression
from fimlib.fisher import FisherRoots
from fimlib.information import batch_eig, eig, epig, ig, jepig
from fimlib.posterior import GaussianPosterior

NOISE = 0.7


def model(size=5, noise=NOISE, seed=0):
    half = normal(size, size + 1, seed=seed)
    return BayesianLinearRegression(
        normal(size, seed=seed + 1), half @ half.mT / size, noise
    )


def gaussian_entropy(covariance):
    return torch.linalg.slogdet(2 * math.pi * math.e * covariance)[1] / 2


def joint_covariance(blr, *inputs):
    """Covariance of the labels at all inputs together: x Sigma x^T + s2 I."""
    x = torch.cat(inputs)
    eye = torch.eye(len(x), dtype=torch.float64)
    return x @ blr.covariance @ x.mT + blr.noise_variance * eye


def mutual_information(blr, x, x_eval):
    return (
        gaussian_entropy(joint_covariance(blr, x))
        + gaussian_entropy(joint_covariance(blr, x_eval))
        - gaussian_entropy(joint_covariance(blr, x, x_eval))
    )


def test_entropy_is_minus_the_mean_log_density():
    blr = model(3)
    density = torch.distributions.MultivariateNormal(blr.mean, blr.covariance)
    torch.testing.assert_close(blr.entropy(), density.entropy())


def test_conditioning_is_bayes_rule():
    """Posterior density = prior x likelihood / evidence, at arbitrary theta (T6)."""
    blr, x, y = model(3), normal(2, 3, seed=5), normal(2, seed=6)
    after = blr.condition(x, y)
    theta = normal(7, 3, seed=8)

    def log_density(m, at):
        return torch.distributions.MultivariateNormal(m.mean, m.covariance).log_prob(at)

    spread = torch.tensor(math.sqrt(NOISE), dtype=torch.float64)
    likelihood = torch.distributions.Normal(theta @ x.mT, spread)
    evidence = torch.distributions.MultivariateNormal(
        x @ blr.mean, joint_covariance(blr, x)
    )
    expected = (
        log_density(blr, theta) + likelihood.log_prob(y).sum(-1) - evidence.log_prob(y)
    )
    torch.testing.assert_close(log_density(after, theta), expected, rtol=1e-10, atol=0)


def test_posterior_covariance_does_not_depend_on_the_labels():
    blr, x = model(), normal(2, 5, seed=5)
    first = blr.condition(x, [0.0, 0.0]).covariance
    assert torch.equal(first, blr.condition(x, [100.0, -3.0]).covariance)


def test_eig_is_the_closed_form_the_entropy_drop_and_bald():
    blr, x = model(), normal(3, 5, seed=5)
    gains = blr.eig(x)
    for gain, row in zip(gains, x, strict=True):
        variance = row @ blr.covariance @ row
        assert gain.item() == pytest.approx(
            0.5 * math.log((NOISE + variance) / NOISE), rel=1e-12, abs=0
        )
        drop = blr.entropy() - blr.condition(row[None], [0.3]).entropy()
        assert gain.item() == pytest.approx(drop.item(), rel=1e-10, abs=0)
    torch.testing.assert_close(gains, blr.information_gain(x, [1.0, -2.0, 30.0]))


def test_batch_eig_follows_the_chain_rule_on_both_sides_of_sylvester():
    blr = model(3)
    for count in (2, 3, 7):
        x = normal(count, 3, seed=count)
        now, total = blr, 0.0
        for row in x:
            total += now.eig(row[None]).item()
            now = now.condition(row[None], [0.0])
        assert blr.batch_eig(x).item() == pytest.approx(total, rel=1e-10, abs=0)


def test_duplicates_saturate():
    blr = BayesianLinearRegression([0.0], [[4.245]], 1.0)
    values = [blr.batch_eig([[1.0]] * k).item() for k in (1, 10, 100)]
    assert values == pytest.approx([0.829, 1.886, 3.027], abs=1e-3)


def test_epig_and_jepig_are_differences_of_gaussian_entropies():
    blr, x, x_eval = model(), normal(3, 5, seed=5), normal(7, 5, seed=6)
    pairs = [[mutual_information(blr, row[None], e[None]) for e in x_eval] for row in x]
    torch.testing.assert_close(
        blr.epig(x, x_eval), torch.tensor(pairs).mean(-1), rtol=1e-10, atol=0
    )
    joint = [mutual_information(blr, row[None], x_eval) for row in x]
    torch.testing.assert_close(
        blr.jepig(x, x_eval), torch.tensor(joint), rtol=1e-10, atol=0
    )
    few = [mutual_information(blr, row[None], x_eval[:2]) for row in x]
    torch.testing.assert_close(
        blr.jepig(x, x_eval[:2]), torch.tensor(few), rtol=1e-10, atol=0
    )


def test_the_talks_epig_display_counterexample():
    blr = BayesianLinearRegression([0.0], [[1.0]], 1.0)
    assert blr.epig([[10.0]], [[1.0]]).item() == pytest.approx(0.34165, abs=1e-5)


def test_jepig_is_not_submodular():
    blr = BayesianLinearRegression([0.0, 0.0], torch.eye(2), 1.0)
    u, a, b = [[2.0, 2.0]], [[2.0, 0.0]], [[-1.0, 2.0]]
    assert blr.jepig(b, u).item() == pytest.approx(0.03848, abs=1e-5)
    after = blr.condition(a, [0.0]).jepig(b, u)
    assert after.item() == pytest.approx(0.28080, abs=1e-5)


def test_an_evaluation_point_outside_the_set_breaks_the_order():
    blr = BayesianLinearRegression([0.0, 0.0], torch.eye(2), 1.0)
    assert blr.jepig([[1.0, 0.0]], [[0.0, 1.0]]).item() == 0.0
    assert blr.epig([[1.0, 0.0]], [[1.0, 0.0]]).item() == pytest.approx(
        0.14384, abs=1e-5
    )


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 10**6))
def test_weight_space_scores_are_exact(size, evals, seed):
    """EIG, EPIG, JEPIG and batches from Fisher information equal these (T22)."""
    blr = model(size, seed=seed)
    x, x_eval = normal(3, size, seed=seed + 5), normal(evals, size, seed=seed + 6)
    roots = FisherRoots.from_dense(x / math.sqrt(NOISE))
    eval_roots = FisherRoots.from_dense(x_eval / math.sqrt(NOISE))
    precision = torch.linalg.inv(blr.covariance)
    post = GaussianPosterior.from_roots(roots[:0], (precision + precision.mT) / 2)

    def same(found, expected):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)

    same(eig(roots, post), blr.eig(x))
    same(batch_eig(roots, post), blr.batch_eig(x))
    same(epig(roots, eval_roots, post), blr.epig(x, x_eval))
    same(jepig(roots, eval_roots, post), blr.jepig(x, x_eval))
    observed = x[:, :, None] * x[:, None, :] / NOISE
    same(ig(observed, post), blr.information_gain(x, torch.zeros(3)))
    same(post.entropy(), blr.entropy())
    same(post.update(roots).covariance, blr.condition(x, torch.zeros(3)).covariance)


def test_numpy_arguments_give_float64_tensors():
    blr = BayesianLinearRegression(np.zeros(2), np.eye(2), 1.0)
    gains = blr.eig(np.ones((3, 2), dtype=np.float32))
    assert gains.dtype == torch.float64 and gains.shape == (3,)
    assert gains.tolist() == pytest.approx([math.log(3) / 2] * 3)


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match=r"covariance must have shape \(2, 2\)"):
        BayesianLinearRegression([0.0, 0.0], torch.eye(3), 1.0)
    with pytest.raises(ValueError, match=r"covariance must be positive definite.*-1"):
        BayesianLinearRegression([0.0], [[-1.0]], 1.0)
    with pytest.raises(ValueError, match="noise_variance must be positive"):
        BayesianLinearRegression([0.0], [[1.0]], -1.0)
    blr = model(2)
    with pytest.raises(ValueError, match=r"x must have shape \(M, 2\), got \(1, 3\)"):
        blr.eig(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="x must hold at least one example"):
        blr.eig(torch.zeros(0, 2))
    with pytest.raises(ValueError, match="x_eval must hold at least one example"):
        blr.jepig(torch.zeros(1, 2), torch.zeros(0, 2))
    with pytest.raises(ValueError, match=r"y must have shape \(1,\), got \(2,\)"):
        blr.condition(torch.zeros(1, 2), [0.0, 1.0])
    with pytest.raises(ValueError, match="y must be finite"):
        blr.condition(torch.zeros(1, 2), [math.nan])

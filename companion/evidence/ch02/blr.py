"""Bayesian linear regression, where every quantity is exact: T5 to T7.

y = x'theta + noise, theta ~ N(mu, Sigma), noise ~ N(0, sigma^2) with sigma^2 known.
"""

import numpy as np
from scipy import stats

from companion.evidence.draws import SIZES, TIGHT, gap, log_det, problem, z_score
from companion.evidence.ledger import HOLDS, claim
from companion.evidence.notation import *
from companion.proof import *
from fimlib.blr import BayesianLinearRegression

# --- T5 --------------------------------------------------------------------------


@claim("T5", HOLDS, "thm-blr-entropy eq-blr-entropy")
def t5():
    scatter = Sym(r"(\w-\mu)(\w-\mu)^\top", "D", "D", "symmetric", mean=S)
    surprise = HALF * logdet(TWO_PI * S) + HALF * Tr(S.I * scatter)
    steps = chain(
        Let(r"\Hof{\W}", Mean(surprise, r"\simpleE{\w}")),
        eq(
            Mean(surprise, r"\simpleE{\w}"),
            r"$-\log$ of the Gaussian density; a scalar is its own trace",
        ),
        eq(
            HALF * logdet(TWO_PI * S) + HALF * Tr(S.I * S),
            r"the trace is linear and $\simpleE{}[(\w-\mu)(\w-\mu)^\top]=\Sigma$",
        ),
        eq(HALF * logdet(TWO_PI * S) + HALF * scalar("D"), r"$\tr I_D=D$"),
        eq(entropy(S), r"$\det(cX)=c^D\det X$, and $D=\log e^D$"),
    )

    def sampled(function, rng):
        mu, cov, s2, _, _ = problem(rng, 5)
        density = stats.multivariate_normal(mu, cov)
        surprises = -density.logpdf(density.rvs(40_000, random_state=rng))
        return z_score(surprises, float(function(mu, cov, s2)))

    def closed(function, rng):
        worst = 0.0
        for size in SIZES:
            mu, cov, s2, _, _ = problem(rng, size)
            truth = stats.multivariate_normal(mu, cov).entropy()
            worst = max(worst, gap(function(mu, cov, s2), truth))
        return worst

    name = "BayesianLinearRegression.entropy equals SciPy's Gaussian entropy"
    sampled_name = "mean surprise of samples"
    return Derivation(
        steps,
        [
            Check(name, model_entropy, closed, TIGHT),
            Check(sampled_name, model_entropy, sampled, 4, MONTE_CARLO),
        ],
        [
            Mutant(r"dropped $e$", 4, HALF * logdet(TWO_PI * S)),
            Mutant(r"dropped ½", 4, logdet(TWO_PI_E * S)),
            Mutant(r"precision for covariance", 4, entropy(S.I)),
            Mutant(r"dropped $2\pi e$", name, lambda m, c, s: 0.5 * log_det(c)),
            Mutant("dropped ½", name, lambda *a: 2 * model_entropy(*a)),
            Mutant("dropped ½", sampled_name, lambda *a: 2 * model_entropy(*a)),
        ],
    )


def model_entropy(mean, covariance, noise_variance):
    return BayesianLinearRegression(mean, covariance, noise_variance).entropy()


# --- T6 --------------------------------------------------------------------------


@claim("T6", HOLDS, "thm-blr-update eq-blr-update def-blr")
def t6():
    w, mu = Sym(r"\w", "D"), Sym(r"\mu", "D")
    y = scalar(r"\y", positive=None, real=True)
    v = S2 + X_1.T * S * X_1
    residual = y - X_1.T * mu
    mu_new = Let(r"\mu_{\text{new}}", mu + S * X_1 * residual / v)
    misfit = y - X_1.T * w
    before = (w - mu).T * S.I * (w - mu) + misfit * misfit / S2
    after = (w - mu_new).T * S_NEW.I * (w - mu_new) + residual * residual / v
    steps = [
        *chain(
            before,
            eq(
                after,
                r"completing the square in $\w$: what is left over is free of $\w$",
            ),
        ),
        Step(
            S_NEW.I,
            "=",
            S.I + X_1 * X_1.T / S2,
            r"the curvature in $\w$; no $\y$ in it",
        ),
        Step(
            S_NEW,
            "=",
            S - S * X_1 * X_1.T * S / v,
            "the same update without an inverse (Sherman and Morrison)",
        ),
    ]

    def joint(function, rng):
        worst = 0.0
        for size in SIZES:
            mu, cov, s2, x, y = problem(rng, size, count=3)
            posterior = function(mu, cov, s2, x, y)
            cross = cov @ x.T
            total = x @ cross + s2 * np.eye(3)
            gain = cross @ np.linalg.inv(total)
            worst = max(
                worst,
                gap(posterior.mean, mu + gain @ (y - x @ mu)),
                gap(posterior.covariance, cov - gain @ cross.T),
            )
        return worst

    def two_labels(function, rng):
        mu, cov, s2, x, y = problem(rng, 5)
        one, other = (function(mu, cov, s2, x, y + shift) for shift in (0, 1e3))
        return float(np.abs(np.asarray(one.covariance - other.covariance)).max())

    name = "BayesianLinearRegression.condition equals conditioning the joint Gaussian"

    def no_noise(m, c, s, x, y):
        return update(m, c, 1.0, x, y)

    def doubled(m, c, s, x, y):
        return update(m, c, s / 2, x, y)

    def label_scaled(m, c, s, x, y):
        return update(m, c, s * (1 + y[0] ** 2), x, y)

    same = "two labels, one covariance"
    v_wrong = S2 + X_1.T * S_NEW * X_1
    return Derivation(
        steps,
        [Check(name, update, joint, TIGHT), Check(same, update, two_labels, 0)],
        [
            Mutant(r"$\sigma^2$ left out", 2, S.I + X_1 * X_1.T),
            Mutant("minus for plus", 2, S.I - X_1 * X_1.T / S2),
            Mutant(
                "posterior for prior covariance", 3, S - S * X_1 * X_1.T * S / v_wrong
            ),
            Mutant(
                "mean not moved",
                1,
                (w - mu).T * S_NEW.I * (w - mu) + residual * residual / v,
            ),
            Mutant("noise variance left out", name, no_noise),
            Mutant("noise variance halved", name, doubled),
            Mutant("covariance that depends on the label", same, label_scaled),
        ],
    )


def update(mean, covariance, noise_variance, x, y):
    return BayesianLinearRegression(mean, covariance, noise_variance).condition(x, y)


# --- T7 --------------------------------------------------------------------------


@claim("T7", HOLDS, "thm-blr-determinant eq-blr-determinant")
def t7():
    eig = Let(r"\MIof{\W;\Y\given\x}", entropy(S) - entropy(S_NEW))
    steps = chain(
        eig,
        eq(
            HALF * logdet(TWO_PI_E * S) - HALF * logdet(TWO_PI_E * S_NEW),
            r"{prf:ref}`thm-blr-entropy` before and after; by "
            r"{prf:ref}`thm-blr-update` the second entropy is the same for every "
            r"$\y$, so the expectation over $\y$ drops out",
        ),
        eq(
            HALF * logdet(S * S_NEW.I),
            r"$(2\pi e)^D$ cancels; $\det$ is multiplicative",
            Scaled(TWO_PI_E, S),
            Scaled(TWO_PI_E, S_NEW),
            Multiplicative(S, S_NEW.I),
        ),
        eq(HALF * logdet(S * (S.I + X_1 * X_1.T / S2)), "{prf:ref}`thm-blr-update`"),
        eq(HALF * logdet(I_D + S * X_1 * X_1.T / S2), "multiply out"),
    )

    def entropies(function, rng):
        worst = 0.0
        for size in SIZES:
            mu, cov, s2, x, _ = problem(rng, size, count=4)
            after = [np.linalg.inv(cov) + np.outer(a, a) / s2 for a in x]
            truth = [0.5 * (log_det(cov) + log_det(p)) for p in after]
            worst = max(worst, gap(function(mu, cov, s2, x), truth))
        return worst

    name = "BayesianLinearRegression.eig equals the drop of the log-determinants"

    def after_update(m, c, s, x):
        return [float(update(m, c, s, a[None], [0.0]).eig(a[None])[0]) for a in x]

    return Derivation(
        steps,
        [Check(name, model_eig, entropies, TIGHT)],
        [
            Mutant("dropped ½", 4, logdet(I_D + S * X_1 * X_1.T / S2)),
            Mutant("inverse on the wrong factor", 2, HALF * logdet(S.I * S_NEW)),
            Mutant(
                r"$\Sigma_{\text{new}}$ for $\Sigma$",
                4,
                HALF * logdet(I_D + S_NEW * X_1 * X_1.T / S2),
            ),
            Mutant("dropped ½", name, lambda *a: 2 * model_eig(*a)),
            Mutant(r"$\Sigma_{\text{new}}$ for $\Sigma$", name, after_update),
            Mutant(
                r"$\sigma$ for $\sigma^2$",
                name,
                lambda m, c, s, x: model_eig(m, c, s**0.5, x),
            ),
        ],
    )


def model_eig(mean, covariance, noise_variance, x):
    return BayesianLinearRegression(mean, covariance, noise_variance).eig(x)

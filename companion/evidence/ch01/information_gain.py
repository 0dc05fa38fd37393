"""Information gain of a known label, two definitions that differ: T2."""

import mpmath
import numpy as np
import sympy
import torch
from scipy import stats
from scipy.special import digamma
from torch.distributions import MultivariateNormal, kl_divergence

from companion.evidence.ch01.information_quantities import EIG, P_Y
from companion.evidence.draws import SIZES, TIGHT, doubled, gap, log_det, problem, worst
from companion.evidence.ledger import CONDITIONS, claim, evidence
from companion.evidence.notation import I_D, LABEL, S2, S_NEW, X_1, ZERO, S, W, same
from companion.proof import *
from fimlib import information, predictive
from fimlib.blr import BayesianLinearRegression
from fimlib.posterior import GaussianPosterior

POSTERIOR = r"\pof{\w\given\y,\x}"
T = sympy.Symbol("t", positive=True)
PRIOR = (1, 10)  # of a Bernoulli probability t


@claim(
    "T2",
    CONDITIONS,
    "thm-information-gain eq-information-mean-gain eq-information-linear-gain "
    "eq-information-gains eq-errata-gains",
)
def t2():
    """Two different quantities fit the description and average to EIG; the entropy drop
    may be negative, and its sign depends on the coordinates of the parameters, which
    neither the divergence nor EIG do.
    """
    surprise = Average(W, LABEL, "gain")
    left = Average(W, LABEL, "entropy")
    drop = Let(rf"\E{{{P_Y}}}{{\mathrm{{IG}}(\x,\y)}}", H(W) - left)
    kl = Let(rf"\simpleE{{\y}}\Kale{{{POSTERIOR}}}{{\pof{{\w}}}}", surprise)
    steps = [
        same(
            drop,
            EIG,
            r"for $\mathrm{IG}(\x,\y)=\Hof{\W}-\Hof{\W\given\y,\x}$ this is the "
            "definition of EIG",
        ),
        *chain(
            kl,
            eq(
                EIG,
                r"$-\log\pof{\w}$ has the mean $\Hof{\W}$ also under "
                rf"${P_Y}\,{POSTERIOR}$",
            ),
            ge(
                ZERO,
                "Gibbs; and so for every single label",
                Informations(((1, surprise),)),
            ),
        ),
    ]
    beta = beta_steps()
    less, more = (beta[i].rhs for i in (0, 1))
    steps += linear_steps() + beta
    laplace, told, closed, hermite, counts, average = (
        "information.ig equals the entropy drop to precision P + H, negative ones too",
        "BLR: entropy() falls by eig for every label",
        "BLR: the divergence of condition(x, y) from the prior equals line 6",
        "BLR: its mean over labels, by Gauss-Hermite, is eig",
        "Beta(1, 10): both gains of both labels, by quadrature",
        "predictive.bald on quantiles of Beta(1, 10) equals the mean of both",
    )
    return evidence(
        steps,
        Check(laplace, information.ig, gaussian_drop, TIGHT),
        Check(told, entropy_drop, any_label, TIGHT),
        Check(closed, divergence, at_residuals, TIGHT),
        Check(hermite, mean_divergence, hermite_mean, TIGHT),
        Check(counts, beta_gains, by_quadrature, TIGHT),
        Check(average, predictive.bald, mean_of_gains, 1e-5),
        Mutant("the divergence the other way round", 2, Average(W, LABEL, "loss")),
        Mutant("at least the label's entropy", 3, H(LABEL)),
        Mutant("a mean with equal weights", 10, (less + more) / 2),
        Mutant("absolute value", laplace, lambda h, p: information.ig(h, p).abs()),
        Mutant("dropped ½", laplace, doubled(information.ig)),
        Mutant("sign", told, lambda *a: -entropy_drop(*a)),
        Mutant("divergence for entropy drop", told, divergence),
        Mutant("entropy drop for divergence", closed, entropy_drop),
        Mutant(
            "the divergence the other way round",
            closed,
            lambda *a: divergence(*a, reverse=True),
        ),
        Mutant(
            "labels of one model, not of the marginal",
            hermite,
            lambda m, c, s, x: mean_divergence(m, c, s, x, spread=s),
        ),
        Mutant("the two exchanged", counts, lambda *a: beta_gains(*a)[::-1]),
        Mutant("labels exchanged", counts, lambda *a: beta_gains(*a)[:, ::-1]),
        Mutant("dropped ½", average, doubled(predictive.bald)),
    )


def linear_steps():
    """Lines 4 to 7, one label in a linear model."""
    v = Let("v", S2 + X_1.T * S * X_1)
    q = Let("q", X_1.T * S * X_1)
    # r^2 is random through the label; its mean is the predictive variance.
    r2 = Sym("r^2", 1, 1, "symmetric", mean=v)
    ratio = I_D - X_1 * X_1.T * S / v
    eig = HALF * logdet(1 + q / S2)
    gaussians = (
        eig
        + HALF * (Tr(ratio) - scalar("D"))
        + HALF
        * Let(r"\tfrac{r^2}{v^2}", r2 / (v * v))
        * Let(r"\x^\top\Sigma\Sigma^{-1}\Sigma\x", X_1.T * S * S.I * S * X_1)
    )
    part, square = Let(r"\tfrac{q}{v}", q / v), Let(r"\tfrac{r^2}{v}", r2 / v)
    told = Let(r"\MIof{\W;\Y\given\x}", eig) + HALF * part * (square - 1)
    return [
        same(
            S.I * S_NEW,
            ratio,
            r"linear model, {prf:ref}`thm-blr-update` times $\Sigma^{-1}$; "
            r"$q=\x^\top\Sigma\x$, $v=\sigma^2+q$",
        ),
        *chain(
            Let(rf"\Kale{{{POSTERIOR}}}{{\pof{{\w}}}}", gaussians),
            eq(
                gaussians,
                r"divergence of two Gaussians whose means are $\Sigma\x\,r/v$ apart, "
                r"$r=\y-\x^\top\mu$: half the log-determinant is that of "
                r"{prf:ref}`thm-blr-eig`, the trace that of line 4",
            ),
            eq(told, r"$\tr$ is cyclic and $\tr I_D=D$"),
        ),
        same(Mean(told, r"\simpleE{\y}"), eig, r"$\simpleE{\y}[r^2]=v$"),
    ]


def beta_steps():
    """Lines 8 to 10: the gains of both labels under `PRIOR`, integrated exactly."""
    a, b = PRIOR
    before = beta_entropy(a, b)
    one, zero = before - beta_entropy(a + 1, b), before - beta_entropy(a, b + 1)
    label = sympy.Rational(a, a + b)
    # Of -t log t and, by symmetry, of -(1 - t) log(1 - t).
    noise = -beta_mean(a, b, 1, log=True) - beta_mean(b, a, 1, log=True)
    log = sympy.log
    less = log(11) - sympy.Rational(78671, 27720)
    more = log(sympy.Rational(11, 10)) - sympy.Rational(1, 110)
    eig = -label * log(label) - (1 - label) * log(1 - label) - noise
    prior = r"a coin with $\pof{t}=10(1-t)^9$, which is Beta(1, 10)"
    return [
        Calculus(
            one, "=", less, f"{prior}, shows $y=1$: {round_off(less)}, negative",
            tex=(r"\mathrm{IG}(1)", r"\log11-\tfrac{78671}{27720}"),
        ),
        Calculus(
            zero, "=", more, f"the same coin shows $y=0$: {round_off(more)}",
            tex=(r"\mathrm{IG}(0)", r"\log\tfrac{11}{10}-\tfrac1{110}"),
        ),
        Calculus(
            label * one + (1 - label) * zero, "=", eig,
            rf"the mean is EIG, $\Hof{{\Y}}-\simpleE{{t}}\Hof{{\Y\given t}}$: "
            f"{round_off(eig)}",
            tex=(
                r"\tfrac1{11}\mathrm{IG}(1)+\tfrac{10}{11}\mathrm{IG}(0)",
                r"\MIof{t;\Y}",
            ),
        ),
    ]  # fmt: skip


def round_off(e):
    return f"${float(e):.6f}$"


def beta_mean(a, b, power=0, log=False):
    """Mean of t^power (times log t) under Beta(a, b), a and b integers, exactly.

    Term by term: t^n has the integral 1 / (n + 1), and t^n log t has -1 / (n + 1)^2.
    """
    density = sympy.Poly(T ** (a - 1) * (1 - T) ** (b - 1), T).terms()
    total = sum(c / (n + 1) for (n,), c in density)
    exponents = [(n + power + 1, c) for (n,), c in density]
    terms = (-c / n**2 if log else c / n for n, c in exponents)
    return sum(terms) / total


def beta_entropy(a, b):
    """Entropy of Beta(a, b), the mean of -log of its density, exactly."""
    constant = sympy.gamma(a) * sympy.gamma(b) / sympy.gamma(a + b)
    # The mean of log(1 - t) is that of log t under Beta(b, a).
    one, other = beta_mean(a, b, log=True), beta_mean(b, a, log=True)
    return sympy.log(constant) - (a - 1) * one - (b - 1) * other


def beta_gains(a, b):
    """Gains (2, 2) of a Bernoulli label, t ~ Beta(a, b): rows (T2), columns y = 0, 1.

    Rows: the entropy drop H[t] - H[t|y] and the divergence KL(p(t|y) || p(t)), in nats.
    """
    after = stats.beta([a, a + 1], [b + 1, b])
    drop = stats.beta(a, b).entropy() - after.entropy()
    count = np.array([b, a])  # of the value that was seen
    kl = np.log((a + b) / count) + digamma(count + 1) - digamma(a + b + 1)
    return np.stack([drop, kl])


def by_quadrature(function, rng):
    a, b = PRIOR

    def mean(f, a, b):
        total = mpmath.beta(a, b)
        return mpmath.quad(
            lambda t: t ** (a - 1) * (1 - t) ** (b - 1) / total * f(t), [0, 0.3, 1]
        )

    def log_density(t, a, b):
        powers = (a - 1) * mpmath.log(t) + (b - 1) * mpmath.log1p(-t)
        return powers - mpmath.log(mpmath.beta(a, b))

    def cross(p, q):
        return mean(lambda t: -log_density(t, *q), *p)

    prior, truth = (a, b), np.empty((2, 2))
    for y, after in enumerate(((a, b + 1), (a + 1, b))):
        truth[0, y] = cross(prior, prior) - cross(after, after)
        truth[1, y] = cross(after, prior) - cross(after, after)
    return gap(function(*prior), truth)


def mean_of_gains(function, rng):
    """Residual against both means over the label, theta at 20,000 quantiles."""
    a, b = PRIOR
    t = stats.beta(a, b).ppf((np.arange(20_000) + 0.5) / 20_000)
    found = float(function(np.log(np.stack([1 - t, t], -1))[None])[0])
    both = beta_gains(a, b) @ [b / (a + b), a / (a + b)]
    return gap(np.full(2, found), both)


@worst
def gaussian_drop(function, rng):
    """Entropy of precision P minus that of P + H, H of mixed or negative sign."""
    for size in SIZES:
        root = rng.standard_normal((size, size)) + 2 * np.eye(size)
        relative = rng.uniform(-0.9, 2, (4, size))
        relative[0] = -0.5  # a label after which everything is less certain
        observed = np.einsum("ij,mj,kj->mik", root, relative, root)
        precision = root @ root.T
        truth = [(log_det(precision + h) - log_det(precision)) / 2 for h in observed]
        post = GaussianPosterior(size, torch.tensor(precision))
        yield gap(function(observed, post), truth)


def after_each(mean, covariance, noise_variance, x, y):
    """The model before, and after each label alone."""
    blr = BayesianLinearRegression(mean, covariance, noise_variance)
    labels = zip(x, np.asarray(y), strict=True)
    return blr, [blr.condition(a[None], b[None]) for a, b in labels]


def entropy_drop(*arguments):
    blr, after = after_each(*arguments)
    return np.array([float(blr.entropy() - new.entropy()) for new in after])


def divergence(*arguments, reverse=False):
    """KL(p(theta|y, x) || p(theta)) of each label alone."""
    blr, after = after_each(*arguments)
    gaussian = [MultivariateNormal(m.mean, m.covariance) for m in (blr, *after)]
    pairs = [(new, gaussian[0])[:: -1 if reverse else 1] for new in gaussian[1:]]
    return np.array([float(kl_divergence(*pair)) for pair in pairs])


def mean_divergence(mean, covariance, noise_variance, x, spread=None):
    """Mean of `divergence` over labels N(x'mu, spread), by default p(y|x)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    out = []
    for row in x:
        v = spread or noise_variance + row @ covariance @ row
        y = row @ mean + np.sqrt(v) * nodes
        rows = np.repeat(row[None], len(y), axis=0)
        gains = divergence(mean, covariance, noise_variance, rows, y)
        out.append(weights @ gains / weights.sum())
    return np.array(out)


def closed_forms(problem, residuals=0.0):
    """EIG, and the divergence at the given residuals, in predictive deviations."""
    _, cov, s2, x, _ = problem
    q = np.einsum("nd,de,ne->n", x, cov, x)
    eig = np.log1p(q / s2) / 2
    return eig, eig + q / (2 * (s2 + q)) * (residuals**2 - 1)


@worst
def any_label(function, rng):
    for size in SIZES:
        mu, cov, s2, x, y = instance = problem(rng, size, count=3)
        truth = closed_forms(instance)[0]
        for shift in (0.0, 30.0):
            yield gap(function(mu, cov, s2, x, y + shift), truth)


@worst
def at_residuals(function, rng):
    residuals = np.array([0.0, 1.0, -3.0])
    for size in SIZES:
        mu, cov, s2, x, _ = instance = problem(rng, size, count=3)
        spread = np.sqrt(s2 + np.einsum("nd,de,ne->n", x, cov, x))
        found = function(mu, cov, s2, x, x @ mu + residuals * spread)
        yield gap(found, closed_forms(instance, residuals)[1])


@worst
def hermite_mean(function, rng):
    for size in SIZES:
        mu, cov, s2, x, _ = instance = problem(rng, size, count=3)
        yield gap(function(mu, cov, s2, x), closed_forms(instance)[0])

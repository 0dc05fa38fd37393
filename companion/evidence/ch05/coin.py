"""A label whose logit z is the only unknown, with a conjugate prior: exact, for T19.

The density of z is t^a (1 - t)^b / B(a, b), t the sigmoid of z: after a flat prior, a
ones and b zeros. Entropies are those of z, not of t.
"""

import mpmath
import numpy as np
import sympy
from scipy.special import digamma
from scipy.stats import beta

from companion.evidence.ch01.information_gain import beta_mean
from companion.evidence.draws import gap, worst

__all__ = [
    "SHARE",
    "N",
    "coin_eig",
    "coin_gain",
    "coin_gains",
    "coin_gap",
    "coin_laplace",
    "coin_values",
    "left_over",
    "probability_gains",
]  # fmt: skip

PRIOR = 1, 2  # the density e^z / (1 + e^z)^3
N, SHARE = sympy.symbols("n pi_1", positive=True)


def logit_entropy(a, b):
    """Entropy of z with the density t^a (1 - t)^b / B(a, b), t its sigmoid."""
    constant = sympy.gamma(a) * sympy.gamma(b) / sympy.gamma(a + b)
    # log(1 - t) has the mean that log t has under Beta(b, a).
    one, other = beta_mean(a, b, log=True), beta_mean(b, a, log=True)
    return sympy.log(constant) - a * one - b * other


def coin_gain(label):
    a, b = PRIOR
    after = (a + 1, b) if label else (a, b + 1)
    return logit_entropy(a, b) - logit_entropy(*after)


def coin_eig():
    """H[Y] - E H[Y|z], from predictions."""
    a, b = PRIOR
    share = sympy.Rational(a, a + b)
    noise = -beta_mean(a, b, 1, log=True) - beta_mean(b, a, 1, log=True)
    entropy = -share * sympy.log(share) - (1 - share) * sympy.log(1 - share)
    return entropy - noise


def coin_laplace():
    z = sympy.Symbol("z", real=True)
    a, b = PRIOR
    surprise = (a + b) * sympy.log(1 + sympy.exp(z)) - a * z
    at_mode = {z: sympy.log(sympy.Rational(a, b))}
    if sympy.simplify(surprise.diff(z).subs(at_mode)) != 0:
        raise ArithmeticError("not the mode")
    precision = sympy.simplify(surprise.diff(z, 2).subs(at_mode))
    curvature = sympy.log(1 + sympy.exp(z)).diff(z, 2).subs(at_mode)
    return sympy.log(1 + sympy.simplify(curvature) / precision) / 2


def left_over(leading):
    """Limit of n^2 (IG(1) - leading) after n labels, a share pi of them 1.

    H(k, n - k) - H(k + 1, n - k) with psi(t + 1) = psi(t) + 1 / t, psi by its series.
    """
    t, k = sympy.Symbol("t", positive=True), SHARE * N
    psi = sympy.digamma(t).aseries(t, 4).removeO()
    gain = sympy.log(N / k) + psi.subs(t, k) - psi.subs(t, N) + 1 / k - 1 / N
    rest = sympy.expand(sympy.expand_log(N**2 * (gain - leading(k, N))))
    return sympy.limit(rest, N, sympy.oo)


def coin_gains(ones, zeros):
    """IG of the labels 0 and 1 (2,), in nats, after so many ones and zeros (T19).

    The prior on the logit is flat, so that the posterior is Beta(ones, zeros).
    """
    k, n = np.array([zeros, ones], dtype=float), ones + zeros
    return np.log(n / k) + digamma(k) - digamma(n) + 1 / k - 1 / n


def coin_values():
    """Closed forms: IG(1), IG(0), EIG, and the approximation."""
    log, third = sympy.log, sympy.Rational(1, 3)
    one = log(3) - sympy.Rational(5, 6)
    zero = log(sympy.Rational(3, 2)) - third
    mean = log(3) - 2 * third * log(2) - sympy.Rational(1, 2)
    return one, zero, mean, log(4 * third) / 2


@worst
def coin_gap(function, rng):
    """Entropies of the logit integrated; and the distance to (1/k - 1/n) / 2."""

    def entropy(a, b):
        total = mpmath.log(mpmath.beta(a, b))

        def surprise(z):
            log_p = a * z - (a + b) * mpmath.log1p(mpmath.exp(z)) - total
            return -mpmath.exp(log_p) * log_p

        middle = mpmath.log(mpmath.mpf(a) / b)
        return mpmath.quad(surprise, [middle + k for k in range(-45, 46, 9)])

    for ones, zeros in ((1, 2), (4, 9), (30, 10)):
        before = entropy(ones, zeros)
        after = entropy(ones, zeros + 1), entropy(ones + 1, zeros)
        truth = [float(before - h) for h in after]
        yield gap(function(ones, zeros), truth)
    for n in (30, 300, 3000):
        leading = (1 / np.array([2 * n / 3, n / 3]) - 1 / n) / 2
        off = np.abs(function(n / 3, 2 * n / 3) - leading).max()
        yield off * (off > 0.7 / n**2)


def probability_gains(ones, zeros):
    """Entropy drop of the probability, which is another one than the logit's."""
    prior, after = beta(ones, zeros), beta([ones, ones + 1], [zeros + 1, zeros])
    return prior.entropy() - after.entropy()

"""The trace bound, and what it does not bound: T23, T24."""

import mpmath
import numpy as np
import torch

from companion.evidence.draws import *
from companion.evidence.ledger import CORRECTED, HOLDS, claim, evidence
from companion.evidence.notation import I_D, I_R, G, P, R, at_least, at_most
from companion.proof import *
from fimlib import information
from fimlib.families import Categorical
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

# --- T23 -------------------------------------------------------------------------


@claim("T23", HOLDS, "thm-trace-bound eq-eig-trace eq-eig-trace-form")
def t23():
    a = Let("A", Sym("A", "n", "n", "psd"))
    i_n = Eye("n")
    cubic = Tr(a) - HALF * Tr(a * a) + Tr(a * a * a) / 3
    steps = [
        at_most(
            logdet(i_n + a),
            Tr(a),
            r"$\log(1+\ell)\le\ell$ for every eigenvalue $\ell\ge0$",
            Spectral(a),
        ),
        at_least(
            logdet(i_n + a),
            Tr(a) - HALF * Tr(a * a),
            r"$\log(1+\ell)\ge\ell-\ell^2/2$: small scores agree to second order",
            Spectral(a),
        ),
        at_most(
            logdet(i_n + a),
            cubic,
            r"$\log(1+\ell)\le\ell-\ell^2/2+\ell^3/3$",
            Spectral(a),
        ),
        *chain(
            HALF * logdet(I_D + R.T * R * P.I),
            eq(
                HALF * logdet(I_R + G),
                r"$F_{\x}P^{-1}$ is not symmetric, $G=RP^{-1}R^\top$ is: "
                "{prf:ref}`thm-sylvester`",
                Sylvester(R.T, R * P.I),
            ),
            le(HALF * Tr(G), r"line 1 with $A=G\succeq0$", Spectral(G)),
            eq(HALF * Tr(R.T * R * P.I), "the trace is cyclic"),
        ),
    ]

    @worst
    def dense_trace(function, rng):
        for roots, post, fishers, p in classifiers(rng):
            truth = [0.5 * np.trace(f @ np.linalg.inv(p)) for f in fishers]
            yield gap(function(roots, post), truth)

    def between(function, rng):
        """How far log det leaves [tr - tr²/4, tr]: 0 if it never does."""
        excess = 0.0
        for _ in range(50):
            roots, _, post = classifier(rng, scale=float(rng.uniform(0.1, 6)))
            spectra = np.linalg.eigvalsh(post.gram(roots).numpy())
            trace = spectra.sum(1) / 2
            low = trace - (spectra**2).sum(1) / 4
            value = np.asarray(function(roots, post))
            slack = 1e-12 * (1 + trace)
            excess = max(excess, (value - trace - slack).max())
            excess = max(excess, (low - value - slack).max())
        return excess

    form = "information.eig(form='trace') equals the D × D trace"
    order = "log-det scores lie between the trace's two bounds"
    return evidence(
        steps,
        Check(form, trace_eig, dense_trace, TIGHT),
        Check(order, information.eig, between, 0),
        Mutant("half the trace bounds it", 1, HALF * Tr(a)),
        Mutant("lower bound without ½", 2, Tr(a) - HALF * HALF * Tr(a * a)),
        Mutant("cubic term left out", 3, Tr(a) - HALF * Tr(a * a)),
        Mutant("dropped ½", form, doubled(trace_eig)),
        Mutant("log det for trace", form, information.eig),
        Mutant("dropped ½", order, doubled(information.eig)),
    )


def trace_eig(roots, post):
    return information.eig(roots, post, form="trace")


# --- T24 -------------------------------------------------------------------------

# Logistic regression with one weight, prior N(m, s^2), x = 1, theta* = m: true mutual
# information by 30-digit quadrature (`logistic_information` recomputes it).
LOGISTIC_CASES = ((5, 5), (3, 1), (0, 10), (0, 1))


@claim(
    "T24",
    CORRECTED,
    "thm-trace-not-bound eq-eig-not-bound eq-errata-trace eq-errata-talk-trace",
)
def t24():
    """A bound of the approximation, not of the mutual information."""
    steps = chain(
        HALF * logdet(I_R + G),
        le(HALF * Tr(G), r"{prf:ref}`thm-trace-bound` with $A=G$", Spectral(G)),
    )

    def surrogate(function, rng):
        values = [function(m, s) for m, s in LOGISTIC_CASES]
        truth = []
        for m, s in LOGISTIC_CASES:
            p = mpmath.mpf(1) / (1 + mpmath.exp(-m))
            t = p * (1 - p) * s**2
            truth.append((float(mpmath.log1p(t) / 2), float(t / 2)))
        return gap(values, truth)

    def crossing(function, rng):
        """The largest of: how far (5,5) fails to exceed, how far (0,10) exceeds."""
        above = logistic_information(5, 5) - max(function(5, 5))
        below = logistic_information(0, 10) - min(function(0, 10))
        return max(0.0, 0.2 - above, below + 1)

    name = "logistic regression: both forms against their closed forms"
    both = "the true information is 0.2 above both at (5, 5), 1 below both at (0, 10)"
    return evidence(
        steps,
        Check(name, logistic_scores, surrogate, TIGHT),
        Check(both, logistic_scores, crossing, 0),
        Mutant("half the trace bounds it", 1, HALF * HALF * Tr(G)),
        Mutant("the two forms exchanged", name, reordered(logistic_scores, 1, 0)),
        Mutant("dropped ½", name, doubled(logistic_scores)),
        Mutant(
            "a bound large enough to hold",
            both,
            after(logistic_scores, lambda pair: 8 * np.array(pair)),
        ),
    )


def logistic_scores(m, s):
    """(log det, trace) of logistic regression with one weight ~ N(m, s^2), x = 1.

    The two classes get the logits (theta, 0); the Fisher information of theta is
    p (1 - p).
    """
    root = Categorical().fisher_root(torch.tensor([[float(m), 0.0]]))[0, :1].T
    roots = FisherRoots.from_dense(root[None])
    post = GaussianPosterior.isotropic(1, 1 / s**2)
    forms = (information.eig(roots, post, form=f) for f in ("log_det", "trace"))
    return tuple(float(value) for value in forms)


def logistic_information(m, s):
    """Mutual information of a label and the weight, by quadrature, in nats."""
    with mpmath.workdps(20):
        points = [m + s * mpmath.mpf(k) for k in range(-12, 13, 2)]

        def mean(f):
            def integrand(t):
                return f(t) * mpmath.npdf(t, m, s)

            return mpmath.quad(integrand, points)

        def entropy(p):
            return -p * mpmath.log(p) - (1 - p) * mpmath.log1p(-p)

        def sigmoid(t):
            return 1 / (1 + mpmath.exp(-t))

        def noise(t):  # the label's entropy given the weight, for either sign of t
            e = mpmath.exp(-abs(t))
            return mpmath.log1p(e) + abs(t) * e / (1 + e)

        return float(entropy(mean(sigmoid)) - mean(noise))

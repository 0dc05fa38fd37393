"""BAIT and its relatives: the trace form, greedy steps, limits: T28, T29, T49."""

import numpy as np
import sympy
import torch

from companion.evidence.ch07.epig import F_BAR, F_E, Q, mean
from companion.evidence.draws import *
from companion.evidence.ledger import CONDITIONS, CORRECTED, HOLDS, claim, evidence
from companion.evidence.notation import I_R, P, R, at_most, same
from companion.proof import *
from fimlib import information
from fimlib.blr import BayesianLinearRegression
from fimlib.fisher import FisherRoots
from fimlib.posterior import GaussianPosterior

M = Sym("M", "D", "D", "pd")
F_U = Sym("F_U", "D", "D", "psd")
V = Sym("V", "r", "D")
U = np.array([2.0, 2.0])  # the evaluation point of both counterexamples
B_POINT = np.array([-1.0, 2.0])


# --- T28 -------------------------------------------------------------------------


@claim("T28", CONDITIONS, "thm-bait-trace eq-epig-trace eq-epig-bait")
def t28():
    """The trace cannot tell EPIG from JEPIG; the published code weighs new points by
    K/(n+K), not by 1/(n+K).
    """
    count, s2 = scalar("E"), scalar(r"\sigma^2")
    x = Sym(r"\x", "D")
    added = M + V.T * V
    removed = Let(r"\bar M", M + V.T * V)  # from which V is taken back
    block = V * M.I * V.T
    steps = [
        same(
            mean(HALF * Tr(F_E * Q.I)),
            HALF * Tr(F_BAR * Q.I),
            "the trace is linear: no Jensen gap",
        ),
        same(
            HALF * Tr(count * F_BAR * Q.I),
            count * (HALF * Tr(F_BAR * Q.I)),
            r"JEPIG's sum $F_E=E\,\bar F$ changes the trace by the factor $E$ alone",
        ),
        same(
            Tr(x * x.T / s2 * Q.I),
            x.T * Q.I * x / s2,
            "linear model: the noise-free output's variance, in units of the noise",
        ),
        same(
            Tr(F_U * M.I) - Tr(F_U * added.I),
            Tr(V * M.I * F_U * M.I * V.T * (I_R + block).I),
            r"Woodbury, {prf:ref}`thm-sylvester`: a forward step",
        ),
        same(
            removed.I + removed.I * V.T * (I_R - V * removed.I * V.T).I * V * removed.I,
            (removed - V.T * V).I,
            "a backward step takes the point out again",
            Equal(I_R - V * removed.I * V.T, (I_R + block).I),
        ),
    ]
    linear, ratio, trace, model = (
        "epig_proxy (trace) is its mean over evaluation inputs taken singly",
        "jepig trace over epig trace is E",
        "jepig (trace) equals the drop of ½ tr(F_E M^-1), dense",
        "linear model: the proxy is half the mean noise-free variance",
    )
    return evidence(
        steps,
        Check(linear, trace_proxy, mean_of_singles, TIGHT),
        Check(ratio, both_traces, factor_of_e, TIGHT),
        Check(trace, jepig_trace, dense_drop, TIGHT),
        Check(model, trace_proxy, average_variance, TIGHT),
        Mutant("sum for mean", linear, by_trace(information.jepig_proxy)),
        Mutant("no factor", ratio, lambda *a: both_traces(*a)[:1] * 2),
        Mutant("dropped ½", trace, doubled(jepig_trace)),
        Mutant("log det for trace", model, information.epig_proxy),
    )


def trace_proxy(roots, eval_roots, post):
    return information.epig_proxy(roots, eval_roots, post, form="trace")


def jepig_trace(roots, eval_roots, post):
    return information.jepig(roots, eval_roots, post, form="trace")


def both_traces(roots, eval_roots, post):
    epig = information.epig(roots, eval_roots, post, form="trace")
    return [epig, jepig_trace(roots, eval_roots, post)]


@worst
def mean_of_singles(function, rng):
    for (roots, evals, post), _ in predictive_problems(rng):
        each = [function(roots, evals[i : i + 1], post) for i in range(len(evals))]
        yield gap(function(roots, evals, post), torch.stack(each).mean(0))


@worst
def factor_of_e(function, rng):
    for sizes in PROBLEMS:
        epig, jepig = function(*predictive_problem(rng, *sizes))
        yield gap(jepig / epig, np.full(sizes[2], sizes[3]))


@worst
def dense_drop(function, rng):
    for arguments, (fishers, each, p) in predictive_problems(rng):
        f_e, before = each.sum(0), np.linalg.inv(p)
        drops = [before - np.linalg.inv(p + f) for f in fishers]
        yield gap(function(*arguments), [np.trace(f_e @ d) / 2 for d in drops])


def linear_problem(rng, size, s2, count=4, evals=7):
    """A linear model's data, and the same in weight space."""
    mu, cov, _, x, _ = problem(rng, size, count)
    x_eval = rng.standard_normal((evals, size))
    roots, eval_roots = (FisherRoots.from_dense(a / np.sqrt(s2)) for a in (x, x_eval))
    post = GaussianPosterior.from_roots(roots[:0], np.linalg.inv(cov))
    blr = BayesianLinearRegression(mu, cov, s2)
    return blr, x, x_eval, (roots, eval_roots, post)


@worst
def average_variance(function, rng):
    for size in (1, 3, 5):
        s2 = float(np.exp(rng.uniform(-2, 2)))
        blr, x, x_eval, weights = linear_problem(rng, size, s2)
        truth = []
        for a in x:
            after = blr.condition(a[None], [0.0]).covariance.numpy()
            variances = np.einsum("nd,de,ne->n", x_eval, after, x_eval)
            truth.append(variances.mean() / (2 * s2))
        yield gap(function(*weights), truth)


# --- T29 -------------------------------------------------------------------------


@claim("T29", HOLDS, "thm-itl-limit eq-epig-itl")
def t29():
    e2 = scalar(r"\epsilon^2")
    targets = Sym("X_E", "E", "D")
    i_e = Eye("E")
    k, k_x = targets * P.I * targets.T, targets * Q.I * targets.T
    steps = [
        same(
            HALF * logdet(i_e + k / e2) - HALF * logdet(i_e + k_x / e2),
            HALF * logdet(e2 * i_e + k) - HALF * logdet(e2 * i_e + k_x),
            r"$\epsilon^{2E}$ cancels; what is left is continuous at $\epsilon=0$",
            Scaled(1 / e2, e2 * i_e + k),
            Scaled(1 / e2, e2 * i_e + k_x),
        )
    ]

    @worst
    def limit(function, rng):
        """JEPIG is below ITL, and within C ε² of it."""
        cov, x_eval = pd_matrix(rng, 5, spread=1.0), rng.standard_normal((3, 5))
        x, s2 = rng.standard_normal((4, 5)), 0.7
        gains = []
        for a in x:
            v = cov @ a
            after = cov - np.outer(v, v) / (s2 + a @ v)
            pair = (x_eval @ c @ x_eval.T for c in (cov, after))
            before, now = (np.linalg.slogdet(m)[1] for m in pair)
            gains.append((before - now) / 2)
        for e2 in (1e-4, 1e-6, 1e-8):
            found = np.asarray(function(x, x_eval, cov, s2, e2))
            yield gap(found, gains) / e2
            yield np.inf if (found > gains).any() else 0.0

    name = "jepig with evaluation noise 1e-4 to 1e-8 is below ITL, by at most 1000 ε²"
    return evidence(
        steps,
        Check(name, noisy_jepig, limit, 1e3),
        Mutant("unit evaluation noise", name, changed(noisy_jepig, 4, lambda _: 1.0)),
        Mutant("dropped ½", name, doubled(noisy_jepig)),
    )


# --- T49 -------------------------------------------------------------------------


@claim("T49", CORRECTED, "thm-not-submodular eq-epig-rise")
def t49():
    """Greedy has no 1 - 1/e guarantee here, a weaker one for BAIT's trace; and lazy
    greedy may err.
    """
    eval_root = Sym("L", "m", "D")
    inner = (Eye("m") + eval_root * P.I * eval_root.T).I
    lost = eval_root * P.I * R.T
    block = R * (P + eval_root.T * eval_root).I * R.T
    steps = [
        at_most(
            HALF * logdet(I_R + block),
            HALF * logdet(I_R + R * P.I * R.T),
            "every gain is an EIG minus a smaller one: JEPIG is monotone",
            Grows(I_R + block, lost.T * inner * lost),
        ),
        exact_bait([], sympy.Rational(2, 3), r"\text{BAIT gain of }b"),
        exact_bait(
            [[-2, 1]], sympy.Rational(10, 3), r"\text{gain of }b\text{ after }a"
        ),
    ]

    def jepig_gains(function, rng):
        """Gains of b before and after a, against 2 x 2 determinants."""
        a, eye = np.array([2.0, 0.0]), np.eye(2)

        def joint(points):
            p = eye + sum((np.outer(v, v) for v in points), 0 * eye)
            return 0.5 * np.log((1 + U @ U) / (1 + U @ np.linalg.inv(p) @ U))

        truth = joint([B_POINT]), joint([a, B_POINT]) - joint([a])
        return gap(function(a), truth)

    def rises(function, rng):
        before, after = function(np.array([2.0, 0.0]))
        errors = abs(before - 0.03848), abs(after - 0.28080)
        return max(*(e - 1e-5 for e in errors), before - after, 0.0)

    name, larger = (
        "gains of b by information.jepig, before and after a",
        "they rise from .03848 to .28080",
    )
    return evidence(
        steps,
        Check(name, gains_of_b, jepig_gains, TIGHT),
        Check(larger, gains_of_b, rises, 0),
        Mutant("gain falls to a tenth", 1, HALF * logdet(I_R + R * P.I * R.T) - 1),
        Mutant("additive BAIT", 3, sympy.Rational(2, 3)),
        Mutant("dropped ½", name, doubled(gains_of_b)),
        Mutant("not updated", larger, lambda a: gains_of_b(0 * a)),
    )


def gains_of_b(a):
    """JEPIG gains of b given nothing, and given a, for the evaluation point U."""
    evals = FisherRoots.from_dense(U[None])
    b = FisherRoots.from_dense(B_POINT[None])
    post = GaussianPosterior.isotropic(2, 1.0)
    after = post.update(FisherRoots.from_dense(a[None]))
    return [float(information.jepig(b, evals, p)[0]) for p in (post, after)]


def exact_bait(taken, gain, label):
    """tr(F_U M^-1) falls by exactly `gain` when b joins the points taken."""
    u, b = sympy.Matrix([2, 2]), sympy.Matrix([-1, 2])
    m = sympy.eye(2)
    for point in taken:
        m += sympy.Matrix(point) * sympy.Matrix(point).T
    drop = (u.T * m.inv() * u - u.T * (m + b * b.T).inv() * u)[0]
    return same(drop, gain, "exact arithmetic", tex=(label, sympy.latex(gain)))

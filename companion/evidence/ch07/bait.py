"""BAIT and its relatives: the trace form, greedy steps, limits: T28, T29, T49."""

from __future__ import annotations

import numpy as np
import sympy
import torch

from companion.evidence.ch02.blr import problem
from companion.evidence.ch06.eig import I_R, TIGHT, P, R, dense
from companion.evidence.ch07.epig import (
    CHAPTER,
    F_BAR,
    F_E,
    PROBLEMS,
    Q,
    mean,
    predictive_problem,
)
from companion.evidence.draws import gap, pd_matrix
from companion.evidence.ledger import CONDITIONS, CORRECTED, HOLDS, claim
from companion.proof import (
    HALF,
    Check,
    Derivation,
    Eye,
    Grows,
    Mutant,
    Scaled,
    Step,
    Sym,
    Tr,
    chain,
    eq,
    logdet,
    scalar,
)
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


@claim(
    "T28",
    title="The trace form, and BAIT",
    talk="This is the actual foundation of BAIT (Ash et al., 2021)",
    statement=(
        r"BAIT minimises $\tr(F_UM_A^{-1})$, the trace form of T27's bound. The trace "
        r"is linear, so EPIG and JEPIG have proportional trace forms (factor $E$) and "
        r"no Jensen gap; one greedy step lowers it by "
        r"$\tr(VM^{-1}F_UM^{-1}V^\top(I_r+VM^{-1}V^\top)^{-1})$."
    ),
    assumptions=(r"$M_A=P+\sum_{a\in A}F_a$ with Bayes weights one to one",),
    verdict=CONDITIONS,
    correction=(
        "the trace cannot tell EPIG from JEPIG; the published code weighs new points "
        "by K/(n+K), not by 1/(n+K)"
    ),
    chapter=CHAPTER,
    labels=("thm-bait-trace", "eq-epig-trace", "eq-epig-bait"),
)
def t28():
    count, s2 = scalar("E"), scalar(r"\sigma^2")
    x = Sym(r"\x", "D")
    added = M + V.T * V
    removed = Sym(r"\bar M", "D", "D", "pd")  # M + V'V, from which V is taken back
    block = V * M.I * V.T
    steps = [
        *chain(
            mean(HALF * Tr(F_E * Q.I)),
            eq(HALF * Tr(F_BAR * Q.I), "the trace is linear: no Jensen gap"),
        ),
        Step(
            HALF * Tr(count * F_BAR * Q.I),
            "=",
            count * (HALF * Tr(F_BAR * Q.I)),
            r"JEPIG's sum $F_E=E\,\bar F$ changes the trace by the factor $E$ alone",
        ),
        Step(
            Tr(x * x.T / s2 * Q.I),
            "=",
            x.T * Q.I * x / s2,
            "linear model: the noise-free output's variance, in units of the noise",
        ),
        Step(
            Tr(F_U * M.I) - Tr(F_U * added.I),
            "=",
            Tr(V * M.I * F_U * M.I * V.T * (I_R + block).I),
            r"Woodbury, {prf:ref}`thm-sylvester`: a forward step",
        ),
        Step(
            removed.I + removed.I * V.T * (I_R - V * removed.I * V.T).I * V * removed.I,
            "=",
            (removed - V.T * V).I,
            "a backward step takes the point out again",
        ),
    ]
    linear, ratio, trace, model = (
        "epig_proxy (trace) is its mean over evaluation inputs taken singly",
        "jepig trace over epig trace is E",
        "jepig (trace) equals the drop of ½ tr(F_E M^-1), dense",
        "linear model: the proxy is half the mean noise-free variance",
    )
    return Derivation(
        steps,
        [
            Check(linear, trace_proxy, mean_of_singles, TIGHT),
            Check(ratio, both_traces, factor_of_e, TIGHT),
            Check(trace, jepig_trace, dense_drop, TIGHT),
            Check(model, trace_proxy, average_variance, TIGHT),
        ],
        [
            Mutant("sum for mean", 1, HALF * Tr(count * F_BAR * Q.I)),
            Mutant("E squared", 2, count * count * (HALF * Tr(F_BAR * Q.I))),
            Mutant("noise left out", 3, x.T * Q.I * x),
            Mutant(
                "no whitening of the step",
                4,
                Tr(V * M.I * F_U * M.I * V.T),
            ),
            Mutant(
                "plus for minus in the removal",
                5,
                (removed + V.T * V).I,
            ),
            Mutant(
                "sum for mean",
                linear,
                lambda r, e, p: information.jepig_proxy(r, e, p, form="trace"),
            ),
            Mutant("no factor", ratio, lambda *a: both_traces(*a)[:1] * 2),
            Mutant("dropped ½", trace, lambda *a: 2 * jepig_trace(*a)),
            Mutant(
                "log det for trace",
                model,
                lambda r, e, p: information.epig_proxy(r, e, p),
            ),
        ],
    )


def trace_proxy(roots, eval_roots, post):
    return information.epig_proxy(roots, eval_roots, post, form="trace")


def jepig_trace(roots, eval_roots, post):
    return information.jepig(roots, eval_roots, post, form="trace")


def both_traces(roots, eval_roots, post):
    epig = information.epig(roots, eval_roots, post, form="trace")
    return [epig, jepig_trace(roots, eval_roots, post)]


def mean_of_singles(function, rng):
    worst = 0.0
    for sizes in PROBLEMS:
        roots, evals, post = predictive_problem(rng, *sizes)
        each = [function(roots, evals[i : i + 1], post) for i in range(len(evals))]
        worst = max(worst, gap(function(roots, evals, post), torch.stack(each).mean(0)))
    return worst


def factor_of_e(function, rng):
    worst = 0.0
    for sizes in PROBLEMS:
        epig, jepig = function(*predictive_problem(rng, *sizes))
        worst = max(worst, gap(jepig / epig, np.full(sizes[2], sizes[3])))
    return worst


def dense_drop(function, rng):
    worst = 0.0
    for sizes in PROBLEMS:
        roots, evals, post = predictive_problem(rng, *sizes)
        p, f_e = post.precision.numpy(), dense(evals).sum(0)
        start = np.trace(f_e @ np.linalg.inv(p))
        truth = [
            (start - np.trace(f_e @ np.linalg.inv(p + f))) / 2 for f in dense(roots)
        ]
        worst = max(worst, gap(function(roots, evals, post), truth))
    return worst


def linear_problem(rng, size, s2, count=4, evals=7):
    """A linear model's data, and the same in weight space."""
    mu, cov, _, x, _ = problem(rng, size, count)
    x_eval = rng.standard_normal((evals, size))
    roots, eval_roots = (FisherRoots.from_dense(a / np.sqrt(s2)) for a in (x, x_eval))
    post = GaussianPosterior.from_roots(roots[:0], np.linalg.inv(cov))
    blr = BayesianLinearRegression(mu, cov, s2)
    return blr, x, x_eval, (roots, eval_roots, post)


def average_variance(function, rng):
    worst = 0.0
    for size in (1, 3, 5):
        s2 = float(np.exp(rng.uniform(-2, 2)))
        blr, x, x_eval, weights = linear_problem(rng, size, s2)
        truth = []
        for a in x:
            after = blr.condition(a[None], [0.0]).covariance.numpy()
            variances = np.einsum("nd,de,ne->n", x_eval, after, x_eval)
            truth.append(variances.mean() / (2 * s2))
        worst = max(worst, gap(function(*weights), truth))
    return worst


# --- T29 -------------------------------------------------------------------------


@claim(
    "T29",
    title="Transductive limits: ITL and VTL",
    talk="See also Hübotter et al. (2024) for transductive active learning",
    statement=(
        r"In a linear-Gaussian model with evaluation noise $\epsilon^2$, JEPIG is "
        r"$\tfrac12\log\det(\epsilon^2I+X_EP^{-1}X_E^\top)"
        r"-\tfrac12\log\det(\epsilon^2I+X_EQ^{-1}X_E^\top)$, from the covariances of "
        r"the noise-free targets before and after "
        r"the label; as $\epsilon\to0$ it tends to ITL, $I(f_E;\Y)$."
    ),
    assumptions=("the evaluation inputs are linearly independent",),
    verdict=HOLDS,
    chapter=CHAPTER,
    labels=("thm-itl-limit", "eq-epig-itl"),
)
def t29():
    e2 = scalar(r"\epsilon^2")
    targets = Sym("X_E", "E", "D")
    i_e = Eye("E")
    k, k_x = targets * P.I * targets.T, targets * Q.I * targets.T
    steps = [
        Step(
            HALF * logdet(i_e + k / e2) - HALF * logdet(i_e + k_x / e2),
            "=",
            HALF * logdet(e2 * i_e + k) - HALF * logdet(e2 * i_e + k_x),
            r"$\epsilon^{2E}$ cancels; what is left is continuous at $\epsilon=0$",
            (Scaled(1 / e2, e2 * i_e + k), Scaled(1 / e2, e2 * i_e + k_x)),
        ),
    ]

    def limit(function, rng):
        """JEPIG is within C ε² of ITL, and comes closer as ε falls."""
        cov, x_eval = pd_matrix(rng, 5, spread=1.0), rng.standard_normal((3, 5))
        x, s2 = rng.standard_normal((4, 5)), 0.7
        gains = []
        for a in x:
            v = cov @ a
            after = cov - np.outer(v, v) / (s2 + a @ v)
            pair = (x_eval @ c @ x_eval.T for c in (cov, after))
            before, now = (np.linalg.slogdet(m)[1] for m in pair)
            gains.append((before - now) / 2)
        worst = 0.0
        for e2 in (1e-4, 1e-6, 1e-8):
            error = gap(function(x, x_eval, cov, s2, e2), gains)
            worst = max(worst, error / e2)
        return worst

    name = "jepig with evaluation noise 1e-4 to 1e-8 is ITL up to 1000 ε²"
    return Derivation(
        steps,
        [Check(name, noisy_jepig, limit, 1e3)],
        [
            Mutant(
                "evaluation noise left out",
                1,
                HALF * logdet(i_e + k) - HALF * logdet(i_e + k_x),
            ),
            Mutant(
                "unit evaluation noise",
                name,
                lambda x, e, c, s, _: noisy_jepig(x, e, c, s, 1.0),
            ),
            Mutant("dropped ½", name, lambda *a: 2 * noisy_jepig(*a)),
        ],
    )


def noisy_jepig(x, x_eval, covariance, noise_variance, eval_noise):
    roots = FisherRoots.from_dense(x / np.sqrt(noise_variance))
    evals = FisherRoots.from_dense(x_eval / np.sqrt(eval_noise))
    post = GaussianPosterior.from_roots(roots[:0], np.linalg.inv(covariance))
    return information.jepig(roots, evals, post)


# --- T49 -------------------------------------------------------------------------


@claim(
    "T49",
    title="JEPIG and BAIT are monotone, not submodular",
    talk="(greedy selection of predictive objectives, unqualified)",
    statement=(
        r"JEPIG grows with every point, but one more point can be worth *more* after "
        r"another: with $P=I_2$, evaluation input $(2,2)$, $a=(2,0)$, $b=(-1,2)$ the "
        r"gain of $b$ rises from .0385 to .2808; BAIT's decrease of the trace, with "
        r"$a=(-2,1)$, from $2/3$ to $10/3$."
    ),
    assumptions=("one counterexample each",),
    verdict=CORRECTED,
    correction=(
        "greedy has no 1 - 1/e guarantee here, a weaker one for BAIT's trace; and lazy "
        "greedy may err"
    ),
    chapter=CHAPTER,
    labels=("thm-not-submodular", "eq-epig-rise"),
)
def t49():
    eval_root = Sym("L", "m", "D")
    inner = (Eye("m") + eval_root * P.I * eval_root.T).I
    lost = eval_root * P.I * R.T
    block = R * (P + eval_root.T * eval_root).I * R.T
    steps = [
        Step(
            HALF * logdet(I_R + block),
            "<=",
            HALF * logdet(I_R + R * P.I * R.T),
            "every gain is an EIG minus a smaller one: JEPIG is monotone",
            (Grows(I_R + block, lost.T * inner * lost),),
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
    return Derivation(
        steps,
        [
            Check(name, gains_of_b, jepig_gains, TIGHT),
            Check(larger, gains_of_b, rises, 0),
        ],
        [
            Mutant("gain falls to a tenth", 1, HALF * logdet(I_R + R * P.I * R.T) - 1),
            Mutant("additive BAIT", 3, sympy.Rational(2, 3)),
            Mutant("dropped ½", name, lambda a: [2 * g for g in gains_of_b(a)]),
            Mutant("not updated", larger, lambda a: gains_of_b(0 * a)),
        ],
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
    return Step(
        drop,
        "=",
        gain,
        "exact arithmetic",
        tex=(label, sympy.latex(gain)),
    )

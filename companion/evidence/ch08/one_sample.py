"""One gradient for the Fisher information: sampled labels, hard labels: T31.

The letters are those of `companion.evidence.ch05.softmax`.
"""

import numpy as np
import sympy
import torch

from companion.evidence.draws import *
from companion.evidence.ledger import CORRECTED, claim, evidence
from companion.evidence.notation import I_D, C, P, at_most, same
from companion.evidence.softmax import *
from companion.proof import *
from fimlib import fisher, information
from fimlib.posterior import GaussianPosterior

EXAMPLE = (0.6, 0.3, 0.1)


@claim("T31", CORRECTED, "thm-sim-label eq-sim-variance eq-sim-hard eq-sim-loewner")
def t31():
    """Two cases are mixed: sampled labels are unbiased with high variance, hard labels
    have no variance and a trace that is too small.
    """
    factor = I_C - V * V.T * LAMBDA / KAPPA
    uncertain = Positive(KAPPA)  # p_y < 1
    jac = Sym("J", C, "D")
    # More parameters than classes, so that the rows can be independent.
    last = Sym("J", C, f"{C}+n")
    fisher_info, sampled = fisher_and_sample()

    def g(x):
        return HALF * logdet(P + x) - HALF * logdet(P)

    def second(x, v):
        inverse = (P + x).I
        return TraceProducts(((HALF.value, inverse, v * inverse * v),))

    def mean(e):
        return Mean(e, r"\simpleE{y}")

    steps = [
        same(
            LAMBDA,
            PI - PROBS * PROBS.T,
            r"$\Lambda=\sum_cp_c\,g_cg_c^\top$, the mean over sampled labels, is the "
            "Fisher information of the logits: no bias",
            *SOFTMAX,
        ),
        variance_of_one_sample(),
        same(
            Tr(LAMBDA) - G_Y.T * G_Y,
            2 * P_Y - 2 * PROBS.T * PROBS,
            r"$\Vert g_y\Vert^2=1+\Vert p\Vert^2-2p_y$: a label's trace, too small for "
            "probable ones",
            *SOFTMAX,
            TRACE_ONE,
        ),
        at_most(
            PROBS.T * PROBS,
            P_MAX,
            r"$\tr(N\Pi)\ge0$ with $N=p_{\hat y}I-\Pi\succeq0$: for the most probable "
            "label line 3 is not negative",
            *HARD,
            TraceProducts(((1, SLACK, PI),)),
        ),
        same(LAMBDA * V, G_Y, "with $v=-e_y/p_y$", *SOFTMAX),
        same(
            KAPPA, P_Y.I - 1, r"$\kappa=v^\top\Lambda v=g_y^\top\Lambda^+g_y$", *SOFTMAX
        ),
        at_most(
            G_Y * G_Y.T,
            KAPPA * LAMBDA,
            r"Cauchy-Schwarz: the gap is $\kappa\,W^\top\Lambda W$, "
            r"$W=I-vv^\top\Lambda/\kappa$",
            *SOFTMAX,
            uncertain,
            Congruences(((factor, KAPPA * LAMBDA),)),
        ),
        same(
            V.T * (LAMBDA - G_Y * G_Y.T) * V,
            KAPPA * (1 - KAPPA),
            r"line 7 is tight along $v$; negative if and only if $p_y<\frac12$",
            *SOFTMAX,
        ),
        at_most(
            jac.T * G_Y * G_Y.T * jac,
            KAPPA * (jac.T * LAMBDA * jac),
            "line 7 after any Jacobian",
            *SOFTMAX,
            uncertain,
            Congruences(((factor * jac, KAPPA * LAMBDA),)),
        ),
        same(
            last * (last.T * (last * last.T).I * V),
            V,
            "independent rows: some direction of the parameters maps to $v$, so that "
            "line 8 stands",
            Positive(last * last.T),
        ),
        *lost_only_if(),
        *chain(
            mean(HALF * logdet(I_D + sampled * P.I)),
            eq(
                mean(g(sampled)),
                r"$\det$ is multiplicative",
                Multiplicative(P + sampled, P.I),
            ),
            le(
                g(fisher_info),
                "Jensen, as for {prf:ref}`thm-epig-display`",
                Concave(g, sampled, second),
            ),
            eq(
                HALF * logdet(I_D + fisher_info * P.I),
                r"so one sampled label underrates the EIG on average",
                Multiplicative(P + fisher_info, P.I),
            ),
        ),
    ]
    unbiased, spread, bias, order, tight, plug = (
        "monte_carlo roots of a last layer: the mean of $g g^\\top$ is the exact F",
        "their squared error is .2376 for p = (.6, .3, .1), and a quarter for 4 labels",
        "hard_label roots: the same each time, trace short by 2(p_max - |p|²)|φ|²",
        "hard_label ⪯ exact if and only if p_max ≥ ½: 3000 random p, C = 2 to 7",
        "largest eigenvalue of the hard label against exact is (1 - p_max)/p_max",
        "½ log det: hard .416, mean over labels .599, exact .810",
    )
    return evidence(
        steps,
        Check(unbiased, fisher.last_layer_roots, mean_of_labels, 4, MONTE_CARLO),
        Check(spread, fisher.last_layer_roots, squared_error, 4, MONTE_CARLO),
        Check(bias, fisher.last_layer_roots, trace_deficit, TIGHT),
        Check(order, fisher.last_layer_roots, loewner_mismatches, 0),
        Check(tight, fisher.last_layer_roots, largest_factor, 1e-8),
        Check(plug, information.eig, plugged_in, 5e-4),
        Mutant("any label in line 4", 4, P_Y),
        Mutant("$p_y(1-p_y)$ for the factor", 7, P_Y * (1 - P_Y) * LAMBDA),
        Mutant("factor left out", 9, jac.T * LAMBDA * jac),
        Mutant("hard for sampled", unbiased, with_estimator("hard_label")),
        Mutant("uniform for sampled", unbiased, uniform_labels),
        Mutant("hard for sampled", spread, with_estimator("hard_label")),
        Mutant("sum for mean over labels", spread, summed_labels),
        Mutant("sampled for hard", bias, with_estimator("monte_carlo")),
        Mutant("exact for hard", bias, with_estimator("exact")),
        Mutant("least probable label", order, other_label),
        Mutant("least probable label", tight, other_label),
        Mutant("dropped ½", plug, doubled(information.eig)),
        Mutant("trace for log det", plug, by_trace(information.eig)),
    )


def fisher_and_sample():
    """F, and a random psd matrix of which it is the mean."""
    fisher_info = Sym("F", "D", "D", "psd")
    return fisher_info, Sym("gg^\\top", "D", "D", "psd", mean=fisher_info)


def lost_only_if():
    """p = (.4, .35, .25): not below Lambda, but below after J with columns ~ u."""
    p = sympy.Matrix([8, 7, 5]) / 20
    g = p - sympy.Matrix([1, 0, 0])
    m = sympy.diag(*p) - p * p.T - g * g.T
    directions = (
        (sympy.Matrix([-1 / p[0], 0, 0]), "v", sympy.Rational(-3, 4)),
        (sympy.Matrix([0, 1, -1]), "u", sympy.Rational(29, 50)),
    )
    reasons = (
        r"$p=(.4,.35,.25)$: the hard label is not below $\Lambda$ in the logits",
        r"but along $u=(0,1,-1)$, all that a Jacobian with columns along $u$ sees",
    )
    return [
        same(
            (w.T * m * w)[0],
            result,
            reason,
            tex=(
                rf"{name}^\top(\Lambda-g_{{\hat y}}g_{{\hat y}}^\top){name}",
                sympy.latex(result, fold_short_frac=True),
            ),
        )
        for (w, name, result), reason in zip(directions, reasons, strict=True)
    ]


def single_point(p, count=1, phi=(1.0,)):
    """Features (count, d) and logits (count, C) of one point, repeated."""
    features = torch.tensor(np.array([phi])).expand(count, -1)
    logits = torch.tensor(np.log([p])).expand(count, -1)
    return features, logits


def with_estimator(estimator):
    """`last_layer_roots` that uses this estimator, whatever was asked for."""

    def roots(features, logits, **options):
        options["estimator"] = estimator
        return fisher.last_layer_roots(features, logits, **options)

    return roots


def empirical(features, logits, labels, options):
    options = {"bias": options["bias"], "estimator": "empirical", "labels": labels}
    return fisher.last_layer_roots(features, logits, **options)


def uniform_labels(features, logits, **options):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(logits.shape[1], (len(logits),), generator=generator)
    return empirical(features, logits, labels, options)


def other_label(features, logits, **options):
    if options["estimator"] == "exact":
        return fisher.last_layer_roots(features, logits, **options)
    return empirical(features, logits, logits.argmin(1), options)


def summed_labels(features, logits, **options):
    roots = fisher.last_layer_roots(features, logits, **options)
    scale = options["num_samples"] ** 0.5 * torch.eye(roots.rank, dtype=torch.float64)
    return roots.scaled(scale.expand(len(roots), -1, -1))


def mean_of_labels(function, rng):
    """Largest z-score over three random linear functions of g g'."""
    p, phi = rng.dirichlet(np.ones(4)), rng.standard_normal(2)
    features, logits = single_point(p, 20_000, phi)
    generator = seeded(rng)
    roots = function(
        features, logits, bias=False, estimator="monte_carlo", generator=generator
    )
    samples = dense(roots)
    truth = np.kron(np.diag(p) - np.outer(p, p), np.outer(phi, phi))
    probes = rng.standard_normal((3, *truth.shape))
    return max(z_score((samples * a).sum((1, 2)), (truth * a).sum()) for a in probes)


def squared_error(function, rng):
    """z-scores of ||g g' - F||² for one and for four labels, by enumeration."""
    p = np.array(EXAMPLE)
    lam = np.diag(p) - np.outer(p, p)
    errors = [np.outer(p - e, p - e) - lam for e in np.eye(3)]
    truth = sum(q * (m**2).sum() for q, m in zip(p, errors, strict=True))
    worst = abs(truth - 0.2376) / 1e-9
    features, logits = single_point(p, 20_000)
    for labels in (1, 4):
        roots = function(
            features, logits, bias=False, estimator="monte_carlo",
            num_samples=labels, generator=seeded(rng),
        )  # fmt: skip
        samples = ((dense(roots) - lam) ** 2).sum((1, 2))
        worst = max(worst, z_score(samples, truth / labels))
    return worst


@worst
def trace_deficit(function, rng):
    for classes, width in ((2, 1), (3, 2), (7, 3)):
        p = rng.dirichlet(np.ones(classes), 5)
        phi = rng.standard_normal((5, width))
        hard = function(phi, np.log(p), bias=False, estimator="hard_label")
        again = function(phi, np.log(p), bias=False, estimator="hard_label")
        traces = [np.trace(f) for f in dense(hard)]
        length = (phi**2).sum(1)
        truth = (1 - (p**2).sum(1)) * length - 2 * (p.max(1) - (p**2).sum(1)) * length
        yield gap(traces, truth)
        yield gap(dense(again), dense(hard))


def hard_and_exact(function, p):
    features = np.ones((len(p), 1))
    for estimator in ("hard_label", "exact"):
        yield dense(function(features, np.log(p), bias=False, estimator=estimator))


def loewner_mismatches(function, rng):
    mismatches = 0
    for classes in range(2, 8):
        # Flatter ones too, or few have p_max < ½.
        p = rng.dirichlet(np.full(classes, 2.0), 500)
        hard, exact = hard_and_exact(function, p)
        below = np.linalg.eigvalsh(exact - hard)[:, 0] >= -1e-12
        mismatches += int((below != (p.max(1) >= 0.5)).sum())
    return mismatches


@worst
def largest_factor(function, rng):
    for classes in (2, 3, 5):
        p = rng.dirichlet(np.full(classes, 2.0), 7)
        hard, exact = hard_and_exact(function, p)
        # Largest eigenvalue of F^+ g g' = its trace, as it has rank one.
        found = np.einsum("mij,mji->m", np.linalg.pinv(exact, rcond=1e-10), hard)
        yield gap(found, (1 - p.max(1)) / p.max(1))


def plugged_in(function, rng):
    """Distance from .416 (hard), .599 (mean over labels), .810 (exact); P⁻¹ = 5 I."""
    features, logits = single_point(EXAMPLE)
    post = GaussianPosterior.isotropic(3, 0.2)

    def score(**options):
        roots = fisher.last_layer_roots(features, logits, bias=False, **options)
        return float(function(roots, post)[0])

    each = [score(estimator="empirical", labels=torch.tensor([c])) for c in range(3)]
    found = score(estimator="hard_label"), np.dot(EXAMPLE, each), score()
    return float(np.abs(np.array(found) - (0.416, 0.599, 0.810)).max())

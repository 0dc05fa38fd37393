"""Fisher information, the mean curvature over labels of the model: T14."""

import numpy as np
import sympy
import torch

from companion.evidence.ch04.label_network import *
from companion.evidence.draws import TIGHT, dense, gap, seeded, worst, z_score
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.evidence.notation import HESSIAN, OUTER, same
from companion.proof import MONTE_CARLO, Calculus, Check, Mean, Mutant, Sym
from fimlib import fisher
from fimlib.families import Bernoulli
from fimlib.fisher import FisherRoots


@claim(
    "T14",
    HOLDS,
    "thm-fisher-mean eq-fisher-mean eq-fisher-additive eq-fisher-empirical",
)
def t14():
    f_1, f_2 = (Sym(f"F_{i}", "D", "D", "psd") for i in (1, 2))
    h_1, h_2 = (
        Sym(rf"\HofHessian{{\y_{i}}}", "D", "D", "symmetric", mean=m)
        for i, m in ((1, f_1), (2, f_2))
    )
    model_mean, data_mean, rate = poisson_means()
    excess, off = logistic_excess()
    steps = [
        same(
            Mean(h_1 + h_2, r"\simpleE{\y_1,\y_2}"),
            f_1 + f_2,
            "independent labels: $-\\log p$ adds up, so do its Hessians, and a "
            "mean is linear",
        ),
        Calculus(
            model_mean,
            "=",
            1 / rate,
            r"a count with rate $\theta$: $\HofHessian{\y}=\y/\theta^2$, summed over "
            r"all $\y$ with the model's probabilities",
            tex=(rf"\simpleE{{\pof{{\y\given\theta}}}}{HESSIAN}", r"\tfrac1\theta"),
        ),
        same(
            data_mean - 1 / rate,
            (MEAN - rate) / rate**2,
            r"the same over counts of the data, with mean $m$ (three of them): $F$ "
            r"only if $m=\theta$",
            tex=(
                rf"\simpleE{{\text{{data}}}}{HESSIAN}-\tfrac1\theta",
                r"\tfrac{m-\theta}{\theta^2}",
            ),
        ),
        same(
            excess,
            off,
            r"logistic regression at $\x=1$: gradients at the data's labels, of which "
            r"a share $q$ is 1, against $F=\pi(1-\pi)$",
            tex=(rf"\simpleE{{\text{{data}}}}{OUTER}-F", r"(q-\pi)(1-2\pi)"),
        ),
    ]
    exact, sampled, added, data = (
        "network_roots, exact, D = 21: the mean of autodiff's Hessians over labels",
        "monte_carlo roots are right in the mean",
        "fisher_sum of 3 points: mean Hessian over their 27 joint labels",
        "last_layer_roots, empirical: off by (q - π)(1 - 2π)",
    )
    roots = fisher.network_roots
    return evidence(
        steps,
        Check(exact, roots, mean_hessian_gap, TIGHT),
        Check(sampled, roots, sampled_labels, 4, MONTE_CARLO),
        Check(added, fisher_sum, joint_gap, TIGHT),
        Check(data, fisher.last_layer_roots, excess_gap, TIGHT),
        Mutant("data labels for model labels", 4, 0 * off),
        Mutant("share of the other label", 4, off.subs(SHARE, 1 - SHARE)),
        Mutant("data labels for model labels", exact, at_label(0)),
        Mutant("hard labels for model labels", exact, at_label("hard_label")),
        Mutant("labels equally weighted", exact, equal_weights),
        Mutant("labels equally probable", sampled, uniform_draws),
        Mutant("sum for mean over draws", sampled, summed_draws),
        Mutant("mean for sum", added, lambda m, x: fisher_sum(m, x) / len(x)),
        Mutant(
            "data labels for model labels",
            added,
            lambda m, x: at_label(0)(m, x).fisher_sum(),
        ),
        Mutant("model labels for data labels", data, exact_last_layer),
    )


MEAN, SHARE = sympy.symbols("m q", positive=True)


def poisson_means():
    """Mean of H'' for a count with rate theta: over the model, and over three counts.

    The counts are written by their mean m and two of them.
    """
    theta = sympy.Symbol("theta", positive=True)
    y = sympy.Symbol("y", integer=True, nonnegative=True)
    log_p = y * sympy.log(theta) - theta - sympy.log(sympy.factorial(y))
    observed = -sympy.diff(log_p, theta, 2)
    weight = theta**y * sympy.exp(-theta) / sympy.factorial(y)
    over_model = sympy.simplify(sympy.summation(observed * weight, (y, 0, sympy.oo)))
    counts = [*sympy.symbols("y_1 y_2"), 3 * MEAN - sympy.Symbol("y_1")]
    counts[2] -= counts[1]
    over_data = sum(observed.subs(y, c) for c in counts) / 3
    return over_model, over_data, theta


def logistic_excess():
    """E over labels with share q of H'^2, minus pi (1 - pi), at x = 1; the closed form.

    pi is the sigmoid of the one weight.
    """
    z = sympy.Symbol("z", real=True)
    pi = 1 / (1 + sympy.exp(-z))
    squares = [sympy.diff(-sympy.log(p), z) ** 2 for p in (1 - pi, pi)]
    found = (1 - SHARE) * squares[0] + SHARE * squares[1]
    truth = sympy.diff(pi, z)  # pi (1 - pi)
    return found - truth, (SHARE - pi) * (1 - 2 * pi)


def mean_hessian_gap(function, rng):
    model, inputs = tanh_network(rng)
    truth = []
    for x in inputs:
        p, _, hessians = by_autodiff(model, x)
        truth.append(torch.einsum("c,cde->de", p, hessians))
    return gap(dense(function(model, inputs)), torch.stack(truth))


def sampled_labels(function, rng):
    """Largest z-score over three random v of v'F v; four labels are drawn a time."""
    model, inputs = tanh_network(rng, count=1)
    p, rows, _ = by_autodiff(model, inputs[0])
    options = {"estimator": "monte_carlo", "num_samples": 4, "generator": seeded(rng)}
    roots = function(model, inputs.expand(2000, -1), **options)
    probes = torch.tensor(rng.standard_normal((3, len(flat(model)))))
    samples = (roots.dense() @ probes.T).square().sum(1)
    truth = p @ (rows @ probes.T).square()
    return max(z_score(s, t) for s, t in zip(samples.T, truth.tolist(), strict=True))


def joint_gap(function, rng):
    """Hessians of -log p(y_1, y_2, y_3), one for each of the 27 joint labels."""
    model, inputs = tanh_network(rng)
    theta = flat(model)

    def joint(t):
        one, two, three = (log_probs(t, x) for x in inputs)
        return -(one[:, None, None] + two[:, None] + three).flatten()

    hessians = torch.func.hessian(joint)(theta)
    truth = torch.einsum("y,yde->de", torch.exp(-joint(theta)), hessians)
    return gap(function(model, inputs), truth)


def fisher_sum(model, inputs):
    return fisher.network_roots(model, inputs).fisher_sum()


@worst
def excess_gap(function, rng):
    for logit, ones in ((-1.3, 5), (0.4, 2), (2.2, 7)):
        labels = (torch.arange(7) < ones).double()
        column = torch.ones(7, 1, dtype=torch.float64)
        found = function(
            column, logit * column, Bernoulli(), bias=False, estimator="empirical",
            labels=labels,
        )  # fmt: skip
        pi, q = 1 / (1 + np.exp(-logit)), ones / 7
        truth = pi * (1 - pi) + (q - pi) * (1 - 2 * pi)
        yield gap(found.fisher_mean(), [[truth]])


def equal_weights(model, inputs):
    rows = [at_label(c)(model, inputs).dense() for c in range(CLASSES)]
    return FisherRoots.from_dense(torch.cat(rows, 1) / CLASSES**0.5)


def uniform_draws(model, inputs, generator, num_samples, **options):
    shape = len(inputs), num_samples
    labels = torch.randint(CLASSES, shape, generator=generator)
    rows = [
        fisher.network_roots(
            model, inputs, estimator="empirical", labels=column
        ).dense()
        for column in labels.T
    ]
    return FisherRoots.from_dense(torch.cat(rows, 1) / num_samples**0.5)


def summed_draws(model, inputs, **options):
    rows = fisher.network_roots(model, inputs, **options).dense()
    return FisherRoots.from_dense(rows * options["num_samples"] ** 0.5)


def exact_last_layer(features, logits, family, **options):
    return fisher.last_layer_roots(features, logits, family, bias=options["bias"])

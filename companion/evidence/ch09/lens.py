"""One set of quantities: Lindley's information, and batches of labels: T41, T47.

W is the parameters, Y a label, P the posterior precision of a Gaussian approximation.
"""

import numpy as np

from companion.evidence.draws import *
from companion.evidence.ledger import HOLDS, claim, evidence
from companion.evidence.notation import I_D, ZERO, P, W, Y, at_least, same
from companion.proof import *
from fimlib import predictive

Y_1, Y_2, Y_3 = r"\Y_1", r"\Y_2", r"\Y_3"


def tables(rng, count, samples, classes, sharpness=1.0):
    """Log-probabilities (M, L, C) of random label tables, sharp or flat."""
    p = rng.dirichlet(np.full(classes, 1 / sharpness), (count, samples))
    p = (p + 1e-12) / (1 + classes * 1e-12)
    return np.log(p)


# --- T41 -------------------------------------------------------------------------


@claim("T41", HOLDS, "thm-lens-lindley eq-lens-lindley eq-lens-mackay")
def t41():
    x, u, s2 = Sym(r"\x", "D"), Sym("u", "D"), scalar(r"\sigma^2")
    q = Let("Q", P + x * x.T / s2)
    shared = Let("c", u.T * P.I * x)
    noise = s2 + x.T * P.I * x
    steps = [
        *chain(
            H(W) - H(W, given=Y),
            eq(MI(W, Y), "Lindley's definition is symmetric in $\\W$ and $\\Y$"),
            eq(H(Y) - H(Y, given=W), "read the other way it is BALD"),
        ),
        at_least(
            MI(W, Y),
            ZERO,
            "Lindley: an experiment cannot be expected to mislead",
            Informations(((1, MI(W, Y)),)),
        ),
        same(
            MI(W, (Y_1, Y_2)),
            MI(W, Y_1) + MI(W, Y_2, given=Y_1),
            "Lindley: information of two experiments adds up, the second given the "
            "first",
        ),
        same(
            HALF * logdet(I_D + x * x.T * P.I / s2),
            HALF * logdet(1 + x.T * P.I * x / s2),
            r"MacKay's total information gain: {prf:ref}`thm-sylvester`",
            Sylvester(x, x.T * P.I / s2),
        ),
        same(
            u.T * q.I * u,
            u.T * P.I * u - shared * shared / noise,
            r"MacKay's variance of the output at $u$ after a label at $\x$: "
            r"$Q=P+\x\x^\top/\sigma^2$, $c=u^\top P^{-1}\x$",
        ),
    ]

    @worst
    def lindley(function, rng):
        """Expected drop of the entropy of L equally likely parameters, by Bayes."""
        for samples, classes in ((2, 3), (5, 2), (7, 11)):
            log_p = tables(rng, 3, samples, classes)
            truth = []
            for p in np.exp(log_p):
                drop = 0.0
                for label in p.T:
                    evidence = label.mean()
                    posterior = label / label.sum()
                    drop += evidence * (np.log(samples) - table_entropy(posterior))
                truth.append(drop)
            yield gap(function(log_p), truth)

    @worst
    def mackay(function, rng):
        """-1/2 log(1 - rho^2) of the output at u (noise e2) and the label at x."""
        for size, e2 in ((1, 0.5), (3, 0.5), (5, 1e-3)):
            cov, s2 = pd_matrix(rng, size, spread=1.0), 0.7
            x, u = rng.standard_normal((4, size)), rng.standard_normal((1, size))
            spread = e2 + u[0] @ cov @ u[0]
            noise = s2 + np.einsum("nd,de,ne->n", x, cov, x)
            squared = (x @ cov @ u[0]) ** 2 / (spread * noise)
            truth = -np.log1p(-squared) / 2
            yield gap(function(x, u, cov, s2, e2), truth)

    table, output = (
        "predictive.bald equals Lindley's expected drop of entropy, by Bayes' rule",
        "jepig of one output equals the log-ratio of its variances",
    )
    return evidence(
        steps,
        Check(table, predictive.bald, lindley, TIGHT),
        Check(output, noisy_jepig, mackay, TIGHT),
        Mutant("additive without conditioning", 4, MI(W, Y_1) + MI(W, Y_2)),
        Mutant("bits for nats", table, lambda p: predictive.bald(p) / np.log(2)),
        Mutant("entropy of the label", table, label_entropy),
        Mutant("dropped ½", output, doubled(noisy_jepig)),
        Mutant(
            "noise-free target for a noisy one",
            output,
            lambda x, u, c, s, _: noisy_jepig(x, u, c, s, 1e-9),
        ),
    )


def label_entropy(log_probs):
    p = np.exp(log_probs).mean(1)
    return -(p * np.log(p)).sum(-1)


# --- T47 -------------------------------------------------------------------------


@claim("T47", HOLDS, "thm-lens-batch eq-lens-batch eq-lens-submodular")
def t47():
    taken, three, other = r"\Y_{\mathcal B}", (Y_1, Y_2, Y_3), r"\Y'"
    singles = MI(W, Y_1) + MI(W, Y_2) + MI(W, Y_3)
    steps = [
        *chain(
            MI(W, (taken, Y)),
            eq(MI(W, taken) + MI(W, Y, given=taken), "chain rule"),
            eq(
                MI(W, taken) + MI(W, Y) - MI(taken, Y),
                r"given $\W$, the batch says nothing about $\Y$: what it says without "
                "it is counted twice",
                Independent(Y, taken, W),
            ),
            le(
                MI(W, taken) + MI(W, Y),
                r"$\MIof{\Y_{\mathcal B};\Y}\ge0$; repeat, until $\mathcal B$ is empty",
                Informations(((1, MI(taken, Y)),)),
            ),
        ),
        same(
            singles - MI(W, three),
            H(Y_1) + H(Y_2) + H(Y_3) - H(three),
            "the excess of top-k is the labels' total correlation: zero if and only "
            "if they are independent",
            Independent(Y_1, Y_2, W),
            Independent((Y_1, Y_2), Y_3, W),
        ),
        *chain(
            MI(W, Y, given=taken) - MI(W, Y, given=(taken, other)),
            eq(
                MI(Y, other, given=taken),
                r"submodular: a label $\Y'$ more in the batch takes from the gain of "
                r"$\Y$ what the two have in common",
                Independent(Y, (taken, other), W),
                Independent(Y, taken, W),
            ),
            ge(
                ZERO,
                "which is none or more",
                Informations(((1, MI(Y, other, given=taken)),)),
            ),
        ),
    ]

    @worst
    def joint_tables(function, rng):
        """BatchBALD against the entropies of the joint table, by brute force."""
        for samples, classes, count in ((4, 3, 2), (5, 2, 3), (3, 5, 2)):
            log_p = tables(rng, count, samples, classes)
            joint = np.ones((samples, 1))
            for p in np.exp(log_p):
                joint = (joint[:, :, None] * p[:, None, :]).reshape(samples, -1)
            noise = np.mean([table_entropy(row) for row in joint])
            truth = table_entropy(joint.mean(0)) - noise
            yield gap(function(log_p), truth)

    @worst
    def overcount(function, rng):
        """Sum minus joint against the total correlation of the labels."""
        for samples, classes in ((4, 3), (5, 2)):
            log_p = tables(rng, 2, samples, classes)
            joint, total = function(log_p)
            one, two = np.exp(log_p)
            both = np.einsum("la,lb->ab", one, two) / samples
            truth = (
                table_entropy(both.sum(0))
                + table_entropy(both.sum(1))
                - table_entropy(both)
            )
            if truth < 1e-4:
                raise ArithmeticError("these labels are independent")
            yield gap(total - joint, truth)

    def independent(function, rng):
        """theta = (a, b), one label each: the two labels share nothing."""
        one, two = np.exp(tables(rng, 2, 3, 2))
        pairs = np.stack([one.repeat(3, axis=0), np.tile(two, (3, 1))])
        joint, total = function(np.log(pairs))
        return gap(joint, total)

    @worst
    def falling_gains(function, rng):
        """Rises of a label's gain when another one joins the batch."""
        for samples, classes, sharpness in ((5, 2, 0.3), (4, 3, 1.0), (6, 2, 5.0)):
            for _ in range(7):
                a, b, y = tables(rng, 3, samples, classes, sharpness)

                def gain(*batch, y=y):
                    with_it, without = (
                        float(function(np.stack(rows))) for rows in ([*batch, y], batch)
                    )
                    return with_it - without

                yield max(0.0, gain(a, b) - gain(a))

    brute, excess, equal, falling = (
        "predictive.batch_bald equals the entropies of the joint table",
        "sum of bald minus batch_bald equals the total correlation",
        "labels of independent parameters: batch_bald equals the sum",
        "21 random batches: no gain of batch_bald rises when a label joins",
    )
    return evidence(
        steps,
        Check(brute, predictive.batch_bald, joint_tables, TIGHT),
        Check(excess, joint_and_sum, overcount, TIGHT),
        Check(equal, joint_and_sum, independent, TIGHT),
        Check(falling, predictive.batch_bald, falling_gains, TIGHT),
        Mutant("the batch alone bounds it", 3, MI(W, taken)),
        Mutant("gains that stay", 5, ZERO),
        Mutant("sum of the singles", brute, lambda p: predictive.bald(p).sum()),
        Mutant("dropped factor", brute, halved(predictive.batch_bald)),
        Mutant("additive BatchBALD", excess, lambda p: (joint_and_sum(p)[1],) * 2),
        Mutant(
            "the best label alone",
            equal,
            lambda p: (predictive.bald(p).max(), joint_and_sum(p)[1]),
        ),
        Mutant("sign", falling, lambda p: -predictive.batch_bald(p)),
    )


def joint_and_sum(log_probs):
    """BatchBALD of all the examples, and the sum of their BALD scores."""
    joint = predictive.batch_bald(log_probs)
    return joint, predictive.bald(log_probs).sum()

"""Random tables p(y|theta) of equally likely parameters, and their informations.

Everything comes from joint tables and Bayes' rule: independent of `fimlib.predictive`.
"""

import numpy as np


def tables(rng, count=7, samples=5, classes=3, certain=0.0):
    """log p(y|x_i, theta_l) (M, L, C); a share `certain` of the rows is one class."""
    p = rng.dirichlet(np.ones(classes), (count, samples))
    sure = rng.random((count, samples)) < certain
    p[sure] = np.eye(classes)[rng.integers(classes, size=sure.sum())]
    with np.errstate(divide="ignore"):
        return np.log(p)


def plogp(p):
    """Entropy over the last axis, with 0 log 0 = 0."""
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)


def posteriors(p):
    """p(theta_l | y) as (M, C, L) and p(y) as (M, C), for equally likely theta_l."""
    joint = p.swapaxes(1, 2) / p.shape[1]
    return joint / joint.sum(-1, keepdims=True), joint.sum(-1)


def label_tables(rng, repeated=True):
    """Tables of a pool and an evaluation set with a repetition and a candidate."""
    classes, samples = (int(n) for n in rng.integers(2, 6, 2))
    certain = rng.choice([0.0, 0.3])
    log_p = tables(rng, 3, samples, classes, certain)
    evals = tables(rng, int(rng.integers(1, 4)), samples, classes, certain)
    if repeated and len(evals) > 1:
        evals = np.concatenate(
            [evals[:-1], evals[:1] if rng.random() < 0.5 else log_p[:1]]
        )
    return log_p, evals


def outcomes(p):
    """p(o|theta_l) (L, O) of all joint outcomes o of labels with p (E, L, C)."""
    joint = p[0]
    for other in p[1:]:
        joint = (joint[:, :, None] * other[:, None, :]).reshape(len(joint), -1)
    return joint


def information(p, q):
    """I of two labels (L, C) and (L, O), theta equally likely, by their joint table."""
    joint = p.T @ q / len(p)
    return plogp(joint.sum(1)) + plogp(joint.sum(0)) - plogp(joint.ravel())


def conditional(p, q, condition):
    """I[Y; O | Z] for labels p (L, C), q (L, O) and z (L, Z), by Bayes' rule for z."""
    joint = condition / len(condition)  # p(theta_l, z)
    found = 0.0
    for column in joint.T[joint.sum(0) > 0]:
        posterior = column / column.sum()
        table = (p * posterior[:, None]).T @ q
        mutual = plogp(table.sum(1)) + plogp(table.sum(0)) - plogp(table.ravel())
        found += column.sum() * mutual
    return found

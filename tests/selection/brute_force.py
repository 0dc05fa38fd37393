"""Greedy selection by the definition: dense determinants of every candidate set."""

import itertools

import mpmath
import numpy as np
from cases import mp_fisher, mp_log_det


def greedy(value, count, batch_size, tie=1e-9):
    """Indices and gains of the largest value(list of indices), step by step."""
    chosen, gains = [], []
    for _ in range(batch_size):
        left = [i for i in range(count) if i not in chosen]
        before = value(chosen)
        found = [value([*chosen, i]) - before for i in left]
        best = next(k for k, gain in enumerate(found) if gain >= max(found) - tie)
        chosen.append(left[best])
        gains.append(found[best])
    return chosen, np.array(gains)


def log_det(matrix):
    sign, value = np.linalg.slogdet(matrix)
    assert sign > 0
    return value


def eig_value(fishers, precision):
    """Joint EIG of a batch: 1/2 log det(P + F_A) - 1/2 log det P."""
    fishers, precision = np.asarray(fishers), np.asarray(precision)

    def value(chosen):
        after = precision + fishers[chosen].sum(0)
        return (log_det(after) - log_det(precision)) / 2

    return value


def jepig_value(fishers, eval_fisher, precision):
    """Joint JEPIG of a batch, as four determinants."""
    before = eig_value(fishers, precision)
    after = eig_value(fishers, np.asarray(precision) + np.asarray(eval_fisher))
    return lambda chosen: before(chosen) - after(chosen)


def kernel_value(pool, evals, private, covariance, eta, nu):
    """Half of LogDetCMI of I + kernels, cross blocks with the pool times eta and nu.

    Rows of pool (M, r, D), evals (E, D) and private (T, D) examples, E or T may be 0.
    """
    pool, evals, private = (np.asarray(one) for one in (pool, evals, private))
    covariance = np.asarray(covariance)

    def joint(rows, scale):
        kernel = rows @ covariance @ rows.T
        return log_det(np.eye(len(rows)) + scale * kernel)

    def value(chosen):
        mine = pool[chosen].reshape(-1, pool.shape[2])
        total = 0.0
        for parts, sign in (((0, 2), 1), ((1, 2), 1), ((0, 1, 2), -1), ((2,), -1)):
            rows = [(mine, evals, private)[k] for k in parts]
            kind = np.repeat(parts, [len(one) for one in rows])
            scale = np.ones((len(kind), len(kind)))
            for other, factor in ((1, eta), (2, nu)):
                cross = (kind[:, None] == 0) & (kind == other)
                scale[cross | cross.T] = factor
            total += sign * joint(np.concatenate(rows), scale)
        return total / 2

    return value


def exact_eig_greedy(rows, prior_precision, batch_size, digits=80):
    """Greedy indices and EIG gains in mpmath, from rows (M, r, D) and P = lambda I."""
    with mpmath.workdps(digits):
        fishers = [mp_fisher(one) for one in rows]
        start = mpmath.mpf(prior_precision) * mpmath.eye(rows.shape[2])

        def value(chosen):
            return mp_log_det(sum((fishers[i] for i in chosen), start)) / 2

        chosen, gains = greedy(value, len(rows), batch_size, tie=0)
        return chosen, np.array([float(gain) for gain in gains])


def best_value(value, count, batch_size):
    """The largest value of any batch of this size."""
    batches = itertools.combinations(range(count), batch_size)
    return max(value(list(batch)) for batch in batches)

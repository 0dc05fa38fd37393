"""Random worlds: sizes, scalars and matrices that satisfy what symbols promise.

A world is "plain" (floats of moderate size), or exact (mpmath, many digits): "decades"
mixes scales from 1e-6 to 1e6, "edges" has zeros, singular and indefinite matrices,
equal entries, wherever the symbols' kinds allow them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import mpmath
import numpy as np

from companion.proof import arrays
from companion.proof.points import draw_number, to_number

SIZES = (1, 2, 3, 5, 7)
SMALL_SIZES = (1, 2, 3)
OUTCOMES = 3  # values that a random symbol takes
PLAIN, DECADES, EDGES = "plain", "decades", "edges"


def as_numbers(array, world=None, exact=None):
    """The array in the numbers of the world."""
    exact = world.exact if exact is None else exact
    return arrays.exact(array) if exact else np.asarray(array, dtype=float)


@dataclass
class Instance:
    """One random world: sizes, scalars and matrices are drawn when first met."""

    rng: np.random.Generator
    regime: str = PLAIN
    sizes: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    outcome: int = 0
    law: object = None  # the joint law of the variables of entropies

    def __post_init__(self):
        self.known = {}  # values of compound formulas, by node and outcome
        weights = as_numbers(self.rng.dirichlet(np.ones(OUTCOMES)), self)
        self.weights = weights / weights.sum()

    @property
    def exact(self):
        return self.regime != PLAIN

    def size(self, name):
        if str(name).isdigit():
            return int(name)
        if "+" in name:
            return sum(self.size(part) for part in name.split("+"))
        choices = SMALL_SIZES if self.exact else SIZES
        return self.sizes.setdefault(name, int(self.rng.choice(choices)))

    def scale(self):
        """A magnitude: 1, or anything over twelve decades."""
        return 10.0 ** self.rng.uniform(-6, 6) if self.regime == DECADES else 1.0

    def numbers(self, array):
        return as_numbers(array, self)

    def positive(self, count):
        """A (count, 1) column of positive numbers."""
        if self.regime == EDGES:
            column = np.ones(count)
        elif self.exact:
            column = 10.0 ** self.rng.uniform(-6, 6, count)
        else:
            column = self.rng.uniform(0.1, 2, count)
        return self.numbers(column[:, None])

    def matrix(self, shape):
        """Any matrix; at the edges zero, of rank one, or with equal entries."""
        base = self.rng.standard_normal(shape)
        if self.regime == EDGES:
            column = self.rng.standard_normal((shape[0], 1))
            cases = (0 * base, column @ base[:1], 0 * base + 1.0, base, -1e3 * base)
            base = cases[self.rng.integers(len(cases))]
        return self.numbers(base * self.scale())

    def symmetric(self, size):
        base = self.matrix((size, size))
        cases = [(base + base.T) / 2]
        if self.regime == EDGES:
            cases += [self.numbers(sign * 1e3 * np.eye(size)) for sign in (-1, 1)]
        return cases[self.rng.integers(len(cases))]

    def psd(self, size):
        """psd, of any rank."""
        ranks = range(size + 1) if self.exact else [max(1, size - 1)]
        rank = int(self.rng.choice(ranks))
        base = self.numbers(self.rng.standard_normal((size, rank)) * self.scale())
        return base @ base.T if rank else self.numbers(np.zeros((size, size)))

    def pd(self, size):
        base = self.numbers(self.rng.standard_normal((size, size)) * self.scale())
        least = self.numbers((0.3 if not self.exact else self.scale()) * np.eye(size))
        if self.regime == EDGES and self.rng.integers(2):
            return least
        return base @ base.T + least

    def invertible(self, size):
        """Far from singular, of either orientation."""
        base = self.numbers(self.rng.standard_normal((size, size)))
        if self.regime == EDGES and self.rng.integers(2):
            base = self.numbers(np.diag(self.rng.choice((-1.0, 1.0), size)))
        return base * self.scale()

    def of_kind(self, kind, shape):
        if kind == "any":
            return self.matrix(shape)
        return getattr(self, kind)(shape[0])

    def draw(self, sym, centre=None):
        """The value of a symbol, at the outcome in question if it is random.

        centre gives the value of its mean, if it has one.
        """
        if id(sym) not in self.values:
            shape = self.size(sym.rows), self.size(sym.cols)
            if sym.among is not None:
                options = [sym.among.draw(sym, self).reshape(shape)]
            elif sym.mean is None:
                options = [self.of_kind(sym.kind, shape)]
            else:
                options = self._around(sym, np.asarray(centre()).reshape(shape))
            self.values[id(sym)] = sym, options
        options = self.values[id(sym)][1]
        return options[self.outcome % len(options)]

    def _around(self, sym, centre):
        """Outcomes, of the symbol's kind, whose weighted mean is `centre`."""
        if sym.kind in ("psd", "pd"):
            return self._around_psd(centre, sym.kind)
        kind = "symmetric" if sym.symmetric else "any"
        noise = [self.of_kind(kind, centre.shape) for _ in range(OUTCOMES)]
        middle = sum(n * w for w, n in zip(self.weights, noise, strict=True))
        return [centre + n - middle for n in noise]

    def _around_psd(self, centre, kind):
        """G Z G' with G G' the mean, and psd Z whose mean is the identity."""
        size = len(centre)
        shares = [self.of_kind(kind, (size, size)) for _ in range(OUTCOMES)]
        if kind == "psd":  # so that the mean of the shares is definite
            shares[-1] = self.pd(size)
        mean = sum(z * w for w, z in zip(self.weights, shares, strict=True))
        unroot = arrays.inverse(arrays.root(mean)[0])
        outer = arrays.root(centre)[0] @ unroot
        return [outer @ z @ outer.T for z in shares]

    def scalar(self, symbol):
        if symbol.name in self.sizes:
            size = self.sizes[symbol.name]
            return mpmath.mpf(size) if self.exact else float(size)
        if symbol not in self.values:
            drawn = to_number(draw_number(symbol, self.rng, self.regime))
            number = drawn if self.exact else float(drawn)
            self.values[symbol] = symbol, [number]
        return self.values[symbol][1][0]

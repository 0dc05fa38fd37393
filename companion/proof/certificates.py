"""What an inequality may cite: certificates that check all that they rest on.

From the eigenvalues of one matrix, as a sum of congruences or of traces of products, or
as growth of log det. Each proves the kinds of its matrices (`kinds`) itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from companion.proof import formula as f
from companion.proof.algebra import Algebra
from companion.proof.rules import det, prepared
from companion.proof.scalars import is_positive, split_logs
from companion.proof.words import add, dimension, scale


class Certificate:
    """A proof of smaller <= larger. Its subclasses are the certificates there are."""

    def prove(self, smaller, larger, rules=()):
        """Is smaller <= larger for all values? Raises where it need not exist."""
        raise NotImplementedError


def manifestly_psd(m):
    """Is m positive semidefinite for all values of its symbols, by its form?"""
    return Algebra().is_psd(m)


def positive_number(weight):
    return is_positive(f.as_formula(weight).value)


@dataclass(frozen=True, eq=False)
class Spectral(Certificate):
    """smaller <= larger from a scalar inequality for the eigenvalues of one matrix.

    `matrix` is a `Let` whose definition is psd, so that its eigenvalues are >= 0, or
    with `positive` a product of two pd matrices, so that they are > 0 (it is similar to
    a congruence). Both sides must be sums over its eigenvalues: log det of, and traces
    of, polynomials in it; if it is random, means of such sums.
    """

    matrix: f.Let
    positive: bool = False

    def __post_init__(self):
        if not isinstance(self.matrix, f.Let):
            raise TypeError("the matrix needs a name: a `Let`")

    def prove(self, smaller, larger, rules=()):
        algebra = prepared(rules, opaque=(self.matrix,))
        if not self._spectrum_is_known(algebra):
            return False
        letter = next(iter(algebra.matrix(self.matrix)))[0]
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        gap = means_opened(algebra.resolved(gap), algebra)
        n = dimension(self.matrix.shape[0])
        eigenvalue = sympy.Dummy("ell", positive=True)
        h = self._per_eigenvalue(gap, algebra, letter, n, eigenvalue)
        return nonnegative(h, eigenvalue, 1 if self.positive else 0)

    def _spectrum_is_known(self, algebra):
        definition = self.matrix.definition
        if not self.positive:
            return algebra.is_psd(definition)
        factors = definition.factors if isinstance(definition, f.Mul) else ()
        return len(factors) == 2 and all(map(algebra.is_pd, factors))

    def _per_eigenvalue(self, gap, algebra, letter, n, ell):
        """h with gap = sum of h over the n eigenvalues."""

        def spectrum(poly):
            if any(x != letter for word, _ in poly for x in word):
                raise ValueError("not a function of the one matrix")
            return sum(c * ell ** len(word) for word, c in poly)

        h = sympy.expand(split_logs(gap, algebra.known_positive))
        if not additive(h, algebra.atoms):
            raise ValueError("no sum over eigenvalues")
        for (kind, key), atom in algebra.atoms.items():
            if not h.has(atom):
                continue
            if kind == "tr":
                h = h.subs(atom, spectrum([(key, 1)]))
            elif kind == "det":
                each = spectrum(key)
                if sign_on(each, ell, 0, sympy.oo) <= 0:
                    raise ValueError("the log of a factor that may be negative")
                h = h.subs(atom, each)
            else:
                raise ValueError(f"{kind} is no sum over eigenvalues")
        linear = sympy.expand(h)
        # what stands without an eigenvalue is n times a constant per eigenvalue
        constant, per = linear.as_independent(ell, as_Add=True)
        share = sympy.cancel(constant / n)
        if share.has(n):
            raise ValueError("a constant that does not grow with the dimension")
        return per + share


def means_opened(gap, algebra):
    """x for a gap E[x]: every random atom inside a mean, each mean with a number."""
    means = {a: key for (kind, key), a in algebra.atoms.items() if kind == "mean"}
    found = gap.free_symbols & set(means)
    if not found:
        return gap  # for every value of what is random
    if algebra.random_scalar(gap):
        raise NotImplementedError("a random number outside its mean")
    poly = sympy.expand(gap).as_poly(*found)
    if poly is None or poly.total_degree() > 1:
        raise NotImplementedError("a product of means")
    return gap.subs({a: means[a] for a in found})


def additive(e, atoms):
    """Is e linear in the traces and in the logs of determinants?"""
    parts = {
        key: atom if key[0] == "tr" else sympy.log(atom) for key, atom in atoms.items()
    }
    dummies = {part: sympy.Dummy() for part in parts.values()}
    e = e.subs(dummies)
    if e.free_symbols & set(atoms.values()):
        return False
    poly = e.as_poly(*dummies.values()) if dummies else None
    return poly is not None and poly.total_degree() <= 1


def nonnegative(h, x, start=0):
    """Is h >= 0 for all x > 0? By calculus: h has its minimum at `start`, and is >= 0.

    With start = 0: h(0) >= 0 and h' >= 0 on (0, oo). With start = 1 (a minimum inside):
    h(1) >= 0, h' <= 0 on (0, 1) and h' >= 0 on (1, oo). h' must be rational, and have
    no pole.
    """
    if h.free_symbols - {x}:
        raise ValueError("the inequality depends on more than the eigenvalue")
    if not sympy.limit(h, x, start) >= 0:
        return False
    slope = sympy.cancel(sympy.together(sympy.diff(h, x)))
    if start == 0:
        return sign_on(slope, x, 0, sympy.oo) >= 0
    if not sympy.fraction(slope)[1].subs(x, start):
        return False
    return sign_on(slope, x, 0, start) <= 0 <= sign_on(slope, x, start, sympy.oo)


def sign_on(e, x, low, high):
    """Sign (-1, 0, 1) of a rational function on (low, high).

    Exact: no root of the numerator of odd multiplicity inside the interval, and none of
    the denominator (Sturm's theorem, `Poly.count_roots`). Raises ValueError if the sign
    changes.
    """
    e = sympy.sympify(e)
    if e == 0:
        return 0
    top, bottom = sympy.fraction(sympy.cancel(e))
    probe = low + 1 if high == sympy.oo else sympy.Rational(low + high) / 2
    while top.subs(x, probe) == 0 or bottom.subs(x, probe) == 0:
        probe += sympy.Rational(1, 97) * (high - low if high != sympy.oo else 1)
    for part in (top, bottom):
        for factor, multiplicity in sympy.factor_list(part)[1]:
            even = part is top and multiplicity % 2 == 0
            if even or not factor.has(x):
                continue
            if _roots_inside(sympy.Poly(factor, x), low, high):
                raise ValueError(f"{e} changes sign between {low} and {high}")
    return int(sympy.sign(e.subs(x, probe)))


def _roots_inside(poly, low, high):
    top = None if high == sympy.oo else high
    ends = sum(poly.eval(end) == 0 for end in (low, high) if end != sympy.oo)
    return poly.count_roots(low, top) - ends


@dataclass(frozen=True, eq=False)
class Congruences(Certificate):
    """smaller <= larger (Loewner): the gap is a sum of V' M V with every M psd.

    The M are proved psd: a symbol of kind "psd" or "pd", an identity, an inverse or a
    sum of such, a congruence of such, a nonnegative multiple.
    """

    parts: tuple  # of (V, M)

    def prove(self, smaller, larger, rules=()):
        algebra = prepared(rules)
        gap = add(algebra.matrix(larger), scale(algebra.matrix(smaller), -1))
        for v, m in self.parts:
            part = v.T * m * v
            if part.shape != larger.shape:
                raise TypeError(f"a part is {part.shape}, the gap {larger.shape}")
            if not algebra.is_psd(m):
                return False
            gap = add(gap, scale(algebra.matrix(part), -1))
        return all(map(algebra.is_zero, algebra.reduce(gap).values()))


@dataclass(frozen=True, eq=False)
class TraceProducts(Certificate):
    """The gap is a sum of c tr(M N), c > 0, M and N psd.

    tr(M N) = tr(N^1/2 M N^1/2) >= 0.
    """

    parts: tuple  # of (c, M, N)

    def prove(self, smaller, larger, rules=()):
        algebra = prepared(rules)
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        for weight, m, n in self.parts:
            if m.shape != n.shape:
                raise TypeError(f"{m.shape} and {n.shape} differ")
            if not (
                positive_number(weight) and algebra.is_psd(m) and algebra.is_psd(n)
            ):
                return False
            gap -= sympy.sympify(weight) * algebra.scalar(f.Tr(m * n))
        return algebra.is_zero(gap)


@dataclass(frozen=True, eq=False)
class Grows(Certificate):
    """The gap is a positive multiple of log det(X + Y) - log det X, X pd and Y psd.

    log det grows with Y because I + X^{-1/2} Y X^{-1/2} has no eigenvalue below one.
    """

    base: f.Formula
    added: f.Formula

    def prove(self, smaller, larger, rules=()):
        algebra = prepared(rules)
        if not (algebra.is_pd(self.base) and algebra.is_psd(self.added)):
            return False
        whole = self.base + self.added
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        growth = algebra.scalar(f.Log(det(whole))) - algebra.scalar(
            f.Log(det(self.base))
        )
        gap, growth = (
            sympy.expand(split_logs(algebra.resolved(e), algebra.known_positive))
            for e in (gap, growth)
        )
        if gap == 0:
            return True
        ratio = sympy.cancel(gap / growth)
        return bool(ratio.is_number and ratio >= 0)


SCALAR_CERTIFICATES = (Spectral, TraceProducts, Grows)

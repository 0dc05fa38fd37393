"""What a step may cite: determinant rules, and certificates of inequalities.

A rule is applied to the normal forms of one step; it adds a rewriting of determinant
atoms whose justification is a theorem (proved under T8, or multiplicativity of det).
A certificate proves an inequality: from the eigenvalues, or as a sum of congruences.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from companion.proof import formula as f
from companion.proof.algebra import Algebra
from companion.proof.scalars import is_zero, split_logs, substitute
from companion.proof.words import add, dimension, freeze, scale


@dataclass(frozen=True, eq=False)
class Rule:
    """det(left) may be replaced by the product of det(right_i)^power_i."""

    name: str
    left: f.Formula
    right: tuple  # of (formula, power)

    def apply(self, algebra):
        self.verify(algebra)
        atom = algebra.scalar(f.Det(self.left))
        value = sympy.prod(algebra.scalar(_det(x)) ** power for x, power in self.right)
        return atom, value

    def verify(self, algebra):
        """Raise unless the rule is an instance of its theorem."""


def _det(x):
    return x if x.shape == f.SCALAR else f.Det(x)


class Sylvester(Rule):
    """det(I + A B) = det(I + B A) (T8)."""

    def __init__(self, a, b):
        left, right = f.Eye(a.shape[0]) + a * b, identity(b.shape[0]) + b * a
        super().__init__("Sylvester", left, ((right, 1),))


class Multiplicative(Rule):
    """det(X Y) = det X det Y for square X, Y."""

    def __init__(self, *factors):
        product = factors[0]
        for x in factors[1:]:
            product = product * x
        for x in factors:
            f.Det(x)
        super().__init__("det of a product", product, tuple((x, 1) for x in factors))


class Triangular(Rule):
    """det of a block triangular matrix is the product over its diagonal blocks."""

    def __init__(self, matrix):
        n = len(matrix.rows)
        diagonal = tuple((matrix.rows[i][i], 1) for i in range(n))
        super().__init__("block triangular", matrix, diagonal)

    def verify(self, algebra):
        n, rows = len(self.left.rows), self.left.rows
        cells = {(i, j): algebra.matrix(rows[i][j]) for i in range(n) for j in range(n)}
        upper = all(not cells[i, j] for i in range(n) for j in range(i))
        lower = all(not cells[i, j] for j in range(n) for i in range(j))
        if not (upper or lower):
            raise ValueError("the block matrix is not triangular")


class BlockProduct(Rule):
    """det(M) = det(X) det(Y) for block matrices with M = X Y, checked cell by cell."""

    def __init__(self, whole, left, right):
        self.parts = (left, right)
        super().__init__("det of a product", whole, ((left, 1), (right, 1)))

    def verify(self, algebra):
        if not blocks_equal(algebra, self.left, *self.parts):
            raise ValueError("the block matrices do not multiply to the whole")


class Scaled(Rule):
    """det(c X) = c^n det X for an n x n matrix X."""

    def __init__(self, c, x):
        self.c, self.x = c, x
        super().__init__("scaling", c * x, ((x, 1),))

    def apply(self, algebra):
        atom, value = super().apply(algebra)
        return atom, value * algebra.scalar(self.c) ** dimension(self.x.shape[0])


class Given(Rule):
    """left = right is a premise: what the symbols in it stand for.

    Given(p, Pi * ones) says that p is the diagonal of Pi, say. The symbols' `make` must
    give values that satisfy it: a premise that fails on a random instance proves
    nothing (`Step.decide`).
    """

    def __init__(self, left, right):
        if left.shape != right.shape:
            raise TypeError(f"shapes {left.shape} and {right.shape} differ")
        super().__init__("given", left, right)

    def apply(self, algebra):
        if self.left.shape == f.SCALAR:
            atom = algebra.scalar(self.left)
            if not atom.is_Symbol:
                raise ValueError(f"the left side {atom} of a premise is no single atom")
            return atom, algebra.scalar(self.right)
        gap = add(algebra.matrix(self.left), scale(algebra.matrix(self.right), -1))
        algebra.assume(algebra.reduce(gap))
        return None


def apply_rules(rules, algebra):
    """The replacements of atoms by which the rules act; premises come first."""
    rules = sorted(rules, key=lambda r: not isinstance(r, Given))
    pairs = [r.apply(algebra) for r in rules]
    return [pair for pair in pairs if pair is not None]


def identity(size):
    return f.Const(sympy.Integer(1)) if size == 1 else f.Eye(size)


def blocks_equal(algebra, whole, left, right):
    n = len(whole.rows)
    for i in range(n):
        for j in range(n):
            product = left.rows[i][0] * right.rows[0][j]
            for k in range(1, n):
                product = product + left.rows[i][k] * right.rows[k][j]
            gap = add(
                algebra.matrix(whole.rows[i][j]), scale(algebra.matrix(product), -1)
            )
            if any(not is_zero(c) for c in gap.values()):
                return False
    return True


# --- certificates of inequalities -------------------------------------------------


@dataclass(frozen=True, eq=False)
class Spectral:
    """smaller <= larger from a scalar inequality for the eigenvalues of one matrix.

    `matrix` is a `Let` whose definition is manifestly psd, so that its eigenvalues are
    >= 0, or with `positive` a product of two such matrices, invertible, so that they
    are > 0 (it is similar to a congruence). Both sides must be sums over its
    eigenvalues: log det of, and traces of, polynomials in it.
    """

    matrix: f.Let
    positive: bool = False

    def prove(self, smaller, larger, rules=()):
        if not self._spectrum_is_known():
            return False
        algebra = Algebra(opaque=(self.matrix,))
        letter = next(iter(algebra.matrix(self.matrix)))[0]
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        n = dimension(self.matrix.shape[0])
        eigenvalue = sympy.Symbol("ell", positive=True)
        h = self._per_eigenvalue(gap, algebra, letter, n, eigenvalue)
        return nonnegative(h, eigenvalue, 1 if self.positive else 0)

    def _spectrum_is_known(self):
        definition = self.matrix.definition
        if not self.positive:
            return manifestly_psd(definition)
        factors = definition.factors if isinstance(definition, f.Mul) else ()
        return len(factors) == 2 and all(map(manifestly_psd, factors))

    def _per_eigenvalue(self, gap, algebra, letter, n, ell):
        """h with gap = sum of h over the n eigenvalues."""

        def spectrum(poly):
            if any(x != letter for word, _ in poly for x in word):
                raise ValueError("not a function of the one matrix")
            return sum(c * ell ** len(word) for word, c in poly)

        h = sympy.expand(split_logs(gap))
        if not additive(h, algebra.atoms):
            return sympy.Integer(-1)
        for (kind, key), atom in algebra.atoms.items():
            if not h.has(atom):
                continue
            if kind == "tr":
                h = h.subs(atom, spectrum([(key, 1)]))
            elif kind == "det":
                h = h.subs(atom, spectrum(key))
        linear = sympy.expand(h)
        # what stands without an eigenvalue is n times a constant per eigenvalue
        constant, per = linear.as_independent(ell, as_Add=True)
        share = sympy.cancel(constant / n)
        if share.has(n):
            raise ValueError("a constant that does not grow with the dimension")
        return per + share


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
    h(1) >= 0, h' <= 0 on (0, 1) and h' >= 0 on (1, oo). h' must be rational.
    """
    if sympy.limit(h, x, start) < 0:
        return False
    slope = sympy.cancel(sympy.together(sympy.diff(h, x)))
    if start == 0:
        return sign_on(slope, x, 0, sympy.oo) >= 0
    return sign_on(slope, x, 0, start) <= 0 <= sign_on(slope, x, start, sympy.oo)


def sign_on(e, x, low, high):
    """Sign (-1, 0, 1) of a rational function on (low, high).

    Exact: no root of numerator or denominator of odd multiplicity inside the interval
    (Sturm's theorem, `Poly.count_roots`). Raises ValueError if the sign changes.
    """
    if e == 0:
        return 0
    top, bottom = sympy.fraction(e)
    probe = low + 1 if high == sympy.oo else sympy.Rational(low + high) / 2
    while top.subs(x, probe) == 0 or bottom.subs(x, probe) == 0:
        probe += sympy.Rational(1, 97) * (high - low if high != sympy.oo else 1)
    for part in (top, bottom):
        for factor, multiplicity in sympy.factor_list(part)[1]:
            if multiplicity % 2 == 0 or not factor.has(x):
                continue
            if _roots_inside(sympy.Poly(factor, x), low, high):
                raise ValueError(f"{e} changes sign between {low} and {high}")
    return int(sympy.sign(e.subs(x, probe)))


def _roots_inside(poly, low, high):
    top = None if high == sympy.oo else high
    ends = sum(poly.eval(end) == 0 for end in (low, high) if end != sympy.oo)
    return poly.count_roots(low, top) - ends


@dataclass(frozen=True, eq=False)
class Congruences:
    """smaller <= larger (Loewner): the gap is a sum of V' M V with every M psd.

    The M must be manifestly positive semidefinite: a symbol of kind "psd" or "pd", an
    identity, an inverse or a sum of such, a congruence of such, a positive multiple.
    """

    parts: tuple  # of (V, M)

    def prove(self, smaller, larger, rules=()):
        algebra = Algebra()
        pairs = apply_rules(rules, algebra)
        gap = add(algebra.matrix(larger), scale(algebra.matrix(smaller), -1))
        for v, m in self.parts:
            if not manifestly_psd(m):
                return False
            gap = add(gap, scale(algebra.matrix(v.T * m * v), -1))
        gap = algebra.reduce(gap).values()
        return all(is_zero(substitute(c, pairs)) for c in gap)


def manifestly_psd(m):
    match m:
        case f.Eye():
            return True
        case f.Sym():
            return m.kind in ("psd", "pd")
        case f.Let():
            return manifestly_psd(m.definition)
        case f.Inv():
            return manifestly_psd(m.arg)
        case f.Add():
            return all(manifestly_psd(t) for t in m.terms)
        case f.Const():
            return bool(m.value.is_nonnegative)
        case f.Mul():
            return _psd_product(m.factors)
    return False


def _psd_product(factors):
    scalars = [x for x in factors if x.shape == f.SCALAR]
    if not all(manifestly_psd(x) for x in scalars):
        return False
    matrices = [x for x in factors if x.shape != f.SCALAR]
    return _is_congruence([y for x in matrices for y in _open_transpose(x)])


def _open_transpose(x):
    """(A B)' as the factors B', A'."""
    if isinstance(x, f.Transpose) and isinstance(x.arg, f.Mul):
        return [f.Transpose(y) for y in reversed(x.arg.factors)]
    return [x]


def _is_congruence(factors):
    """X' M X (or X' X, X X'): peel matching outer factors off."""
    if len(factors) <= 1:
        return all(manifestly_psd(x) for x in factors)
    algebra = Algebra()
    first, last = algebra.matrix(factors[0]), algebra.matrix(factors[-1])
    if freeze(algebra.transpose(first)) != freeze(last):
        return False
    return _is_congruence(factors[1:-1])


@dataclass(frozen=True, eq=False)
class Grows:
    """The gap is a positive multiple of log det(X + Y) - log det X, X and Y psd.

    X is positive definite where its log det exists, and log det grows with Y because
    I + X^{-1/2} Y X^{-1/2} has no eigenvalue below one.
    """

    base: f.Formula
    added: f.Formula

    def prove(self, smaller, larger, rules=()):
        if not (manifestly_psd(self.base) and manifestly_psd(self.added)):
            return False
        algebra = Algebra()
        pairs = apply_rules(rules, algebra)
        whole = self.base + self.added
        gap = algebra.scalar(larger) - algebra.scalar(smaller)
        growth = sympy.log(algebra.scalar(_det(whole))) - sympy.log(
            algebra.scalar(_det(self.base))
        )
        gap, growth = (
            sympy.expand(split_logs(substitute(e, pairs))) for e in (gap, growth)
        )
        ratio = sympy.cancel(gap / growth)
        return bool(ratio.is_number and ratio >= 0)

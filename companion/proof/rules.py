"""What an equality may cite: theorems on determinants, and premises about symbols.

A rule is applied to the normal forms of one step; it adds a rewriting of determinant
atoms whose justification is a theorem (proved under T8, or multiplicativity of det).
A premise restricts the values for which a step is claimed; it is shown with the step.
"""

from __future__ import annotations

import mpmath
import numpy as np
import sympy

from companion.proof import arrays
from companion.proof import formula as f
from companion.proof.algebra import Algebra
from companion.proof.instances import OUTCOMES
from companion.proof.numeric import value
from companion.proof.points import evaluated
from companion.proof.render import tex
from companion.proof.words import add, dimension, scale


class Rule:
    """What a step cites beside a certificate; its subclasses are all there are."""

    def apply(self, algebra):
        """Tell the algebra; return (atom, value) where the one is the other."""
        raise NotImplementedError


class DetRule(Rule):
    """det(left) may be replaced by the product of det(right_i)."""

    def sides(self):
        """The matrix on the left, and the matrices on the right."""
        raise NotImplementedError

    def apply(self, algebra):
        self.verify(algebra)
        left, right = self.sides()
        atom = algebra.scalar(f.Det(left))
        return atom, sympy.prod(algebra.scalar(det(x)) for x in right)

    def verify(self, algebra):
        """Raise unless the rule is an instance of its theorem."""


def det(x):
    return x if x.shape == f.SCALAR else f.Det(x)


def blocks(*matrices):
    if not all(isinstance(x, f.Block) for x in matrices):
        raise TypeError("block matrices are needed")
    return matrices


def square(x):
    if x.shape[0] != x.shape[1]:
        raise TypeError(f"a square matrix is needed, not {x.shape}")


class Sylvester(DetRule):
    """det(I + A B) = det(I + B A) (T8)."""

    def __init__(self, a, b):
        if a.shape != b.shape[::-1]:
            raise TypeError(f"A B and B A need matching shapes, not {a.shape, b.shape}")
        self.parts = (a, b)
        self.sides()

    def sides(self):
        a, b = self.parts
        return identity(a.shape[0]) + a * b, (identity(b.shape[0]) + b * a,)


class Multiplicative(DetRule):
    """det(X Y) = det X det Y for square X, Y of one size."""

    def __init__(self, *factors):
        for x in factors:
            square(x)
        if len({x.shape for x in factors}) != 1:
            raise TypeError("the factors differ in size")
        self.parts = factors

    def sides(self):
        product, *rest = self.parts
        for x in rest:
            product = product * x
        return product, self.parts


class Triangular(DetRule):
    """det of a block triangular matrix is the product over its diagonal blocks."""

    def __init__(self, matrix):
        self.parts = blocks(matrix)

    def sides(self):
        (matrix,) = self.parts
        return matrix, tuple(matrix.rows[i][i] for i in range(len(matrix.rows)))

    def verify(self, algebra):
        rows = self.parts[0].rows
        n = len(rows)
        cells = {(i, j): algebra.matrix(rows[i][j]) for i in range(n) for j in range(n)}
        upper = all(not cells[i, j] for i in range(n) for j in range(i))
        lower = all(not cells[i, j] for j in range(n) for i in range(j))
        if not (upper or lower):
            raise ValueError("the block matrix is not triangular")


class BlockProduct(DetRule):
    """det(M) = det(X) det(Y) for block matrices with M = X Y, checked cell by cell."""

    def __init__(self, whole, left, right):
        self.parts = blocks(whole, left, right)

    def sides(self):
        whole, *factors = self.parts
        return whole, tuple(factors)

    def verify(self, algebra):
        if not blocks_equal(algebra, *self.parts):
            raise ValueError("the block matrices do not multiply to the whole")


class Scaled(DetRule):
    """det(c X) = c^n det X for an n x n matrix X."""

    def __init__(self, c, x):
        c = f.as_formula(c)
        square(x)
        if c.shape != f.SCALAR:
            raise TypeError(f"{c.shape} is no scalar")
        self.parts = (c, x)

    def sides(self):
        c, x = self.parts
        return c * x, (x,)

    def apply(self, algebra):
        c, x = self.parts
        atom, value = super().apply(algebra)
        return atom, value * algebra.scalar(c) ** dimension(x.shape[0])


# --- premises ---------------------------------------------------------------------


class Premise(Rule):
    """A condition on the values of the symbols, shown with the step."""


class Condition(Premise):
    """A premise that most values satisfy: the step is claimed for those.

    Of a formula, or of a sympy expression in a step between such.
    """

    def __init__(self, formula):
        self.formula = f.as_formula(formula)
        self.parts = (self.formula,)
        square(self.formula)

    @property
    def expression(self):
        """The sympy expression that it is about."""
        return self.formula.value

    def holds(self, world):
        """Does it hold in an `Instance`, for all that is random?"""
        outcomes = range(OUTCOMES)
        if not any(map(f.is_random, f.subtrees(self.formula))):
            outcomes = (0,)
        found = []
        for world.outcome in outcomes:
            found.append(self._true_of(value(self.formula, world)))
        world.outcome = 0
        return all(found)

    def at(self, point):
        """Does it hold at a point, values of the symbols of a sympy expression?"""
        return self._true_of(evaluated(self.expression, point))

    def _true_of(self, number):
        raise NotImplementedError


class Invertible(Condition):
    """The matrix is invertible; the scalar is not zero."""

    def apply(self, algebra):
        if self.formula.shape == f.SCALAR:
            algebra.known_nonzero.append(no_zero(algebra, self.formula))
        else:
            algebra.known_invertible.append(algebra.matrix(self.formula))

    def _true_of(self, number):
        if np.ndim(number) == 0:
            return abs(number) > floor(number)
        if not arrays.is_exact(number):
            return np.linalg.cond(number) < 1e10
        return arrays.det(number) != 0


class Positive(Condition):
    """The scalar is positive; the symmetric matrix is positive definite."""

    def apply(self, algebra):
        if self.formula.shape == f.SCALAR:
            algebra.known_positive.append(no_zero(algebra, self.formula))
            return
        if not algebra.is_symmetric(self.formula):
            raise ValueError("a premise of positivity, of a matrix not symmetric")
        algebra.known_pd.append(algebra.matrix(self.formula))
        algebra.known_invertible.append(algebra.matrix(self.formula))

    def _true_of(self, number):
        if np.ndim(number) == 0:
            return number > floor(number)
        number = arrays.exact(number)
        return arrays.is_psd(number, 0) and arrays.det(number) > 0


def no_zero(algebra, formula):
    """The value of a scalar; a premise that zero is not zero is refused."""
    value = algebra.scalar(formula)
    if algebra.is_zero(value):
        raise ValueError(f"a premise about {tex(formula)}, which is zero")
    return value


def floor(number):
    """What rounding may leave of a zero."""
    return mpmath.mpf(10) ** -60 if arrays.is_exact(number) else 1e-10


class Given(Premise):
    """left = right by what the symbols in it stand for (`companion.proof.sets`).

    Given(p, Pi * ones) recalls that Pi is the diagonal matrix of p, say. It is derived
    from what defines the sets: no equation can be assumed of symbols that are free.
    """

    def __init__(self, left, right):
        if left.shape != right.shape:
            raise TypeError(f"shapes {left.shape} and {right.shape} differ")
        self.parts = (left, right)

    def apply(self, algebra):
        left, right = self.parts
        if not holds_by_definition(left, right):
            raise ValueError("a premise does not hold for all that its symbols may be")
        return learn(algebra, left, right)


def learn(algebra, left, right):
    """Let the algebra use left = right."""
    if left.shape == f.SCALAR:
        atom, value = algebra.scalar(left), algebra.scalar(right)
        if not atom.is_Symbol:
            raise ValueError("the left side of a premise is no single atom")
        return atom, value
    algebra.assume(algebra.matrix(left - right))
    return None


def holds_by_definition(left, right):
    """Does left = right follow from the sets that the symbols belong to?"""
    algebra = Algebra()
    members = [e for e in f.subtrees((left, right)) if isinstance(e, f.Sym)]
    facts = [pair for e in members if e.among for pair in e.among.facts(e)]
    algebra.pairs = [p for p in (learn(algebra, *pair) for pair in facts) if p]
    if left.shape == f.SCALAR:
        return algebra.is_zero(algebra.scalar(left) - algebra.scalar(right))
    return all(map(algebra.is_zero, algebra.matrix(left - right).values()))


class Equal(Rule):
    """left = right, shown here by normal forms: the left is of the kind of the right.

    For a difference that is psd, say, but does not look it.
    """

    def __init__(self, left, right):
        if left.shape != right.shape:
            raise TypeError(f"shapes {left.shape} and {right.shape} differ")
        self.parts = (left, right)

    def apply(self, algebra):
        left, right = self.parts
        poly = algebra.matrix(left)
        gap = algebra.reduce(add(poly, scale(algebra.matrix(right), -1)))
        if not all(map(algebra.is_zero, gap.values())):
            raise ValueError("the two are not proved to be equal")
        if algebra.is_pd(right):
            algebra.known_pd.append(poly)
        if algebra.is_psd(right):
            algebra.known_psd.append(poly)
        algebra.answers.clear()


def prepared(rules, opaque=()):
    """An algebra that knows the rules; what symbols stand for comes first."""
    algebra = Algebra(opaque)
    order = (Given, Condition, Equal, Rule)

    def rank(rule):
        return next(i for i, kind in enumerate(order) if isinstance(rule, kind))

    pairs = []
    for rule in sorted(rules, key=rank):
        pairs.append(rule.apply(algebra))
    algebra.pairs = [pair for pair in pairs if pair is not None]
    return algebra


def identity(size):
    return f.Const(sympy.Integer(1)) if size == 1 else f.Eye(size)


def blocks_equal(algebra, whole, left, right):
    """Is the block matrix `whole` the product of the two, cell by cell?"""
    if not whole.sizes == left.sizes == right.sizes:
        raise TypeError("the block matrices are cut differently")
    n = len(whole.rows)
    for i in range(n):
        for j in range(n):
            product = left.rows[i][0] * right.rows[0][j]
            for k in range(1, n):
                product = product + left.rows[i][k] * right.rows[k][j]
            gap = add(
                algebra.matrix(whole.rows[i][j]), scale(algebra.matrix(product), -1)
            )
            if any(not algebra.is_zero(c) for c in gap.values()):
                return False
    return True

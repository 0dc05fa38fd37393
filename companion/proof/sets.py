"""Symbols that stand for an element of a named set: vectors of ones, a distribution.

What is true of an element is listed as `facts`, from which a premise `Given` has to
follow; a random instance is an element drawn broadly. The sets are those of this
module: a set that readers could make would be a place to hide an assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from companion.proof import formula as f
from companion.proof.calculus import exchanged
from companion.proof.formula import Sym
from companion.proof.numeric import as_numbers, value
from companion.proof.render import tex as latex
from companion.proof.rules import holds_by_definition
from companion.proof.words import dimension

ONE = f.Const(sympy.Integer(1))


@dataclass(frozen=True, eq=False)
class Set:
    """What a symbol is: words for the page, facts, and random elements."""

    invertible = False

    def words(self, tex):
        """What is declared of the symbol, in Markdown."""
        raise NotImplementedError

    def facts(self, sym):
        """Pairs of equal formulas, each side one that a premise may name."""
        return ()

    def positive(self, sym):
        """Scalar formulas that are positive."""
        return ()

    def draw(self, sym, world):
        """A random element."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Ones(Set):
    def words(self, tex):
        return f"${tex}$: every entry is 1"

    def facts(self, sym):
        return ((sym.T * sym, f.Const(dimension(sym.rows))),)

    def positive(self, sym):
        return (sym.T * sym,)

    def draw(self, sym, world):
        return as_numbers(np.ones((world.size(sym.rows), 1)), world)


def ones(tex, size):
    """The vector of ones."""
    return Sym(tex, size, among=Ones())


@dataclass(frozen=True, eq=False)
class Probabilities(Set):
    ones: Sym

    def words(self, tex):
        return rf"${tex}$: positive entries that sum to one"

    def facts(self, sym):
        return ((self.ones.T * sym, ONE),)

    def draw(self, sym, world):
        odds = world.positive(world.size(sym.rows))
        return odds / odds.sum()


def probabilities(tex, ones):
    """Positive probabilities, one for each entry of the vector of ones."""
    return Sym(tex, ones.rows, among=Probabilities(ones))


@dataclass(frozen=True, eq=False)
class Diagonal(Set):
    entries: Sym

    invertible = True

    def words(self, tex):
        return rf"${tex}=\operatorname{{diag}}({self.entries.tex})$"

    def facts(self, sym):
        ones, p = self.entries.among.ones, self.entries
        total = ones.T * p
        return ((sym * ones, p), (f.Tr(sym), total), (f.Tr(sym * sym), p.T * p))

    def draw(self, sym, world):
        return np.diag(world.draw(self.entries)[:, 0])


def diagonal(tex, entries):
    """diag(p) of the probabilities p."""
    return Sym(tex, entries.rows, entries.rows, "pd", among=Diagonal(entries))


@dataclass(frozen=True, eq=False)
class OneHot(Set):
    weights: Sym  # the diagonal matrix of the probabilities of the classes
    probable: bool

    def words(self, tex):
        which = "the most probable class" if self.probable else "one class"
        return rf"${tex}$: the one-hot vector of {which}"

    def facts(self, sym):
        p = self.weights.among.entries
        own = (self.weights * sym, (sym.T * p) * sym)
        return ((sym.T * sym, ONE), (p.among.ones.T * sym, ONE), own)

    def positive(self, sym):
        return (sym.T * self.weights.among.entries,)

    def draw(self, sym, world):
        p = world.draw(self.weights.among.entries)[:, 0]
        hot = p.argmax() if self.probable else world.rng.integers(len(p))
        return as_numbers(np.eye(len(p))[:, [hot]], world)


def one_hot(tex, weights, probable=False):
    """The one-hot vector of a class, or of the most probable; weights = diag(p)."""
    return Sym(tex, weights.rows, among=OneHot(weights, probable))


@dataclass(frozen=True, eq=False)
class Slack(Set):
    hot: Sym

    def words(self, tex):
        p = self.hot.among.weights
        return rf"${tex}=p_{{\max}}I-{p.tex}$"

    def facts(self, sym):
        weights = self.hot.among.weights
        largest = self.hot.T * weights.among.entries
        return ((sym, largest * f.Eye(sym.rows) - weights),)

    def draw(self, sym, world):
        p = world.draw(self.hot.among.weights.among.entries)[:, 0]
        return np.diag(p.max() - p)


def slack(tex, hot):
    """p_max I - diag(p) for the one-hot vector of the most probable class."""
    if not hot.among.probable:
        raise ValueError(f"{hot.tex} is not of the most probable class")
    return Sym(tex, hot.rows, hot.rows, "psd", among=Slack(hot))


@dataclass(frozen=True, eq=False)
class Centred(Set):
    ones: Sym

    def words(self, tex):
        return f"${tex}$: every column sums to zero"

    def facts(self, sym):
        return ((self.ones.T * sym, f.Zero(1, sym.cols)),)

    def draw(self, sym, world):
        rows = world.matrix((world.size(sym.rows), world.size(sym.cols)))
        return rows - rows.sum(0) / len(rows)


def centred(tex, ones, cols=1):
    """A matrix whose columns sum to zero."""
    return Sym(tex, ones.rows, cols, among=Centred(ones))


@dataclass(frozen=True, eq=False)
class Orthonormal(Set):
    def words(self, tex):
        return f"${tex}$: orthonormal rows"

    def facts(self, sym):
        return ((sym * sym.T, f.Eye(sym.rows)),)

    def draw(self, sym, world):
        shape = world.size(sym.rows), world.size(sym.cols)
        return as_numbers(orthonormal(world.rng, shape, world.exact), world)


def orthonormal_rows(tex, size, cols):
    """Orthonormal rows; `cols` is the sum of `size` and others, so that they fit in."""
    if str(size) not in str(cols).split("+"):
        raise ValueError(f"{cols} need not be as large as {size}")
    return Sym(tex, size, cols, among=Orthonormal())


def orthonormal(rng, shape, exact):
    """Random orthonormal rows; exactly so, by Gram-Schmidt, if numbers are exact."""
    rows = as_numbers(rng.standard_normal(shape), exact=exact)
    for i, row in enumerate(rows):
        for other in rows[:i]:
            row = row - other * (row @ other)
        rows[i] = row / (row @ row) ** 0.5
    return rows


@dataclass(frozen=True, eq=False)
class Signs(Set):
    invertible = True

    def words(self, tex):
        return rf"${tex}$: diagonal, every entry $\pm1$"

    def facts(self, sym):
        identity = f.Eye(sym.rows)
        return ((sym * sym, identity), (sym.T * sym, identity))

    def draw(self, sym, world):
        signs = world.rng.choice((-1.0, 1.0), world.size(sym.rows))
        return as_numbers(np.diag(signs), world)


def signs(tex, size):
    """A diagonal matrix of signs."""
    return Sym(tex, size, size, "symmetric", among=Signs())


@dataclass(frozen=True, eq=False)
class Stack(Set):
    parts: tuple  # formulas, one above the other, or side by side
    across: bool = False

    def words(self, tex):
        inside = (r" & " if self.across else r" \\ ").join(map(latex, self.parts))
        return rf"${tex}=\begin{{pmatrix}} {inside} \end{{pmatrix}}$"

    def facts(self, sym):
        grams = [p * p.T if self.across else p.T * p for p in self.parts]
        total = grams[0]
        for gram in grams[1:]:
            total = total + gram
        return ((sym * sym.T if self.across else sym.T * sym, total),)

    def draw(self, sym, world):
        values = [value(part, world) for part in self.parts]
        return np.hstack(values) if self.across else np.vstack(values)

    def shape(self):
        rows, cols = zip(*(part.shape for part in self.parts), strict=True)
        joined, same = (cols, rows) if self.across else (rows, cols)
        if len(set(same)) != 1:
            raise TypeError("the parts do not fit together")
        size = "+".join(map(str, joined))
        return (same[0], size) if self.across else (size, same[0])


def rows_of(tex, *parts):
    """Matrices (a, D), (b, D), ... one above the other, as one (a+b+..., D)."""
    among = Stack(parts)
    return Sym(tex, *among.shape(), among=among)


def columns_of(tex, *parts):
    """Matrices (N, a), (N, b), ... side by side, as one (N, a+b+...)."""
    among = Stack(parts, across=True)
    return Sym(tex, *among.shape(), among=among)


@dataclass(frozen=True, eq=False)
class Solution(Set):
    parts: list  # the formula that vanishes, which holds the symbol, and the value

    def words(self, tex):
        return f"${tex}$ solves ${latex(self.parts[0])}=0$"

    def facts(self, sym):
        vanishing = self.parts[0]
        zero = f.Zero(*vanishing.shape)
        return ((vanishing, 0 * ONE if zero.shape == f.SCALAR else zero),)

    def draw(self, sym, world):
        return np.asarray(value(self.parts[1], world))


def solution(tex, equation, value):
    """A symbol for which equation(symbol) vanishes, as it does for this value.

    A step uses the equation alone; random instances use the value.
    """
    among = Solution([])
    symbol = Sym(tex, *value.shape, among=among)
    among.parts.extend((equation(symbol), value))
    return symbol


def _fits(sym):
    """Has the symbol the shape and kind of the elements of its set?"""
    among, size = sym.among, (sym.rows, sym.rows)
    match among:
        case Ones():
            return (1, "any") == (sym.cols, sym.kind)
        case Probabilities(ones=of):
            return isinstance(of.among, Ones) and (of.shape, "any") == _form(sym)
        case Diagonal(entries=of):
            sizes = (of.rows, of.rows), "pd"
            return isinstance(of.among, Probabilities) and sizes == _form(sym)
        case OneHot(weights=of):
            column = (of.rows, 1), "any"
            return isinstance(of.among, Diagonal) and column == _form(sym)
        case Slack(hot=of):
            hot = isinstance(of.among, OneHot) and of.among.probable
            return hot and ((of.rows, of.rows), "psd") == _form(sym)
        case Centred(ones=of):
            return isinstance(of.among, Ones) and (of.rows, "any") == _form(sym, 0)
        case Orthonormal():
            return sym.kind == "any" and str(sym.rows) in str(sym.cols).split("+")
        case Signs():
            return (size, "symmetric") == _form(sym)
        case Stack():
            return (among.shape(), "any") == _form(sym)
        case Solution(parts=of):
            zero = f.Zero(*of[0].shape) if of[0].shape != f.SCALAR else 0 * ONE
            solved = holds_by_definition(exchanged(of[0], sym, of[1]), zero)
            return solved and (of[1].shape, "any") == _form(sym)
    return False


def _form(sym, axis=None):
    return (sym.shape if axis is None else sym.shape[axis]), sym.kind


def check(sym):
    """Raise unless the symbol is one that the functions of this module make."""
    if sym.mean is not None or not _fits(sym):
        raise ValueError(f"{sym.tex} is no element of a set that is known here")

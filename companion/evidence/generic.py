"""Identities between derivatives of generic functions: calculus in every dimension.

Entry (i, j) of a Hessian is d^2/ds dt of the function at theta + s e_i + t e_j: it
varies two parameters and holds the others, however many there are. So an identity
proved for all smooth functions of s and t is one for every entry of Hessians of every
size. Functions are sympy's undefined ones; sums and products have N terms, N a symbol.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import sympy
from sympy.core.function import AppliedUndef

from companion.proof import ALL, CALCULUS, Step
from companion.proof.scalars import is_zero
from companion.proof.steps import Outcome

S, T = sympy.symbols("s t", real=True)
INDEX, COUNT = sympy.symbols("i N", integer=True, positive=True)
TERMS = (INDEX, 1, COUNT)
TRIALS, SIZES = 3, (1, 2, 3, 5)


def density(name, *arguments):
    """A generic positive function, such as a likelihood."""
    return sympy.Function(name, positive=True)(*arguments)


def entry(e):
    """Entry (i, j) of the Hessian of e, a function of s and t."""
    return sympy.Derivative(e, S, T)


def slope(e):
    """Entry i of the gradient of e."""
    return sympy.Derivative(e, S)


class EachEntry(Step):
    """An identity of Hessians or gradients, entry by entry, hence in all dimensions."""

    kind = ALL

    def _by_sympy(self, rng):
        for _ in range(TRIALS):
            sides = instance((self.lhs, self.rhs), rng)
            if abs(sides[0] - sides[1]) > 1e-12 * (1 + abs(sides[0])):
                seen = " against ".join(f"{float(x):.4g}" for x in sides)
                return Outcome(False, self.kind, f"false for an instance: {seen}", True)
        proved = vanishes(self.lhs - self.rhs)
        return Outcome(proved, self.kind, "" if proved else "not provable")


class OnALine(EachEntry):
    """An identity for a generic function along a line."""

    kind = CALCULUS


def vanishes(e):
    """Is e zero for all functions, and any number of terms? Only yes is a proof."""
    e = sympy.expand_log(e, force=True).doit()
    sums = e.atoms(sympy.Sum)
    outside = e.xreplace({x: sympy.Dummy() for x in sums})
    if outside.has(INDEX) or any(x.limits != (sympy.Tuple(*TERMS),) for x in sums):
        return False
    # A linear combination of sums over the same terms is the sum of one summand.
    total = sympy.Symbol("total")
    e = e.xreplace({x: total * x.function for x in sums})
    unknowns = e.atoms(sympy.Derivative, AppliedUndef)
    e = e.xreplace({x: sympy.Dummy() for x in unknowns})
    poly = sympy.expand(e).as_poly(total)
    if poly is None or poly.degree() > 1:
        return False
    return all(is_zero(c) for c in poly.all_coeffs())


def instance(sides, rng):
    """Values of both sides for random functions, at a random point."""

    def number():
        return sympy.Rational(int(rng.integers(-999, 1000)), 1000)

    both = sympy.Tuple(*sides)
    applied = {x.func: len(x.args) for x in both.atoms(AppliedUndef)}
    for function, arity in sorted(applied.items(), key=str):
        both = both.replace(function, random_function(arity, number))
    both = both.subs(COUNT, int(rng.choice(SIZES))).doit()
    point = {x: abs(number()) + 1 for x in sorted(both.free_symbols, key=str)}
    return [x.subs(point).evalf(30) for x in both]


def random_function(arity, number):
    """The exponential of a random polynomial of degree three."""
    powers = [
        p for k in range(4) for p in combinations_with_replacement(range(arity), k)
    ]
    weights = [number() / (1 + len(p)) ** 2 for p in powers]

    def function(*x):
        monomials = (sympy.prod(x[i] for i in p) for p in powers)
        return sympy.exp(sympy.Add(*map(sympy.Mul, weights, monomials)))

    return function

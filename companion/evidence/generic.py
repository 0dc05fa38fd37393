"""Identities between derivatives of generic functions: calculus in every dimension.

Entry (i, j) of a Hessian is d^2/ds dt of the function at theta + s e_i + t e_j: it
varies two parameters and holds the others, however many there are. So an identity
proved for all smooth functions of s and t is one for every entry of Hessians of every
size. Functions are sympy's undefined ones; sums and products have N terms, N a symbol.
"""

from __future__ import annotations

import mpmath
import sympy
from sympy.core.function import AppliedUndef

from companion.proof import ALL, CALCULUS, Step
from companion.proof.points import (
    DIGITS,
    UNDEFINED,
    agree,
    compiled,
    draw_point,
    undefined_part,
    with_random_functions,
)
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
        try:
            if self.relation != "=" or self.by:
                raise ValueError("an equality, without premises, is needed")
            for _ in range(TRIALS):
                sides = instance((self.lhs, self.rhs), rng)
                if not agree(*sides):
                    seen = " against ".join(f"{float(x):.4g}" for x in sides)
                    return Outcome(False, self.kind, f"false, as {seen}", refuted=True)
            for side in (self.lhs, self.rhs):
                part = undefined_part(side)
                if part is not None:
                    raise ValueError(f"{part} {UNDEFINED}")
            proved = vanishes(self.lhs - self.rhs)
        except Exception as error:  # whatever broke, nothing was proved
            return Outcome(False, self.kind, f"{type(error).__name__}: {error}")
        return Outcome(proved, self.kind, "" if proved else "not provable")


class OnALine(EachEntry):
    """An identity for a generic function along a line."""

    kind = CALCULUS


def vanishes(e):
    """Is e zero for all functions, and any number of terms? Only yes is a proof."""
    e = sympy.expand_log(log_of_product(e)).doit()
    sums = e.atoms(sympy.Sum)
    outside = e.xreplace({x: sympy.Dummy() for x in sums})
    if outside.has(INDEX) or any(x.limits != (sympy.Tuple(*TERMS),) for x in sums):
        return False
    # A linear combination of sums over the same terms is the sum of one summand.
    total = sympy.Dummy("total")
    e = e.xreplace({x: total * x.function for x in sums})
    for kind in (sympy.Subs, sympy.Derivative, AppliedUndef):  # the outermost first
        e = e.xreplace({x: sympy.Dummy() for x in e.atoms(kind)})
    poly = sympy.expand(e).as_poly(total)
    if poly is None or poly.degree() > 1:
        return False
    return all(is_zero(c) for c in poly.all_coeffs())


def log_of_product(e):
    """log of a product of positive factors -> the sum of their logs."""

    def split(x):
        (product,) = x.args
        if isinstance(product, sympy.Product) and product.function.is_positive:
            return sympy.Sum(sympy.log(product.function), *product.limits)
        return x

    return e.replace(lambda x: isinstance(x, sympy.log), split)


def instance(sides, rng):
    """Values of both sides for random functions, at a random point."""
    both = with_random_functions(sympy.Tuple(*sides), rng, {COUNT: rng.choice(SIZES)})
    values = compiled(both)
    with mpmath.workdps(DIGITS):
        return values(draw_point(values.symbols, rng, "plain", steep=True))

"""The chain rule for a generic function of three outputs that depend on two parameters.

sympy's own undefined functions leave the derivatives of A(f_1, f_2, f_3) unevaluated;
those here are symbols in the end, so that an identity between them is algebra.
"""

import functools

import numpy as np
import sympy
from sympy.core.function import AppliedUndef

from companion.evidence.generic import S, T


class Smooth(sympy.Function):
    """A generic smooth function, whose derivatives are functions of the same kind."""

    orders: tuple

    def fdiff(self, argindex=1):
        more = list(self.orders)
        more[argindex - 1] += 1
        return smooth(*more)(*self.args)


@functools.cache
def smooth(*orders):
    """The derivative of these orders of one generic function."""
    name = "A" + "".join(map(str, orders))
    return type(name, (Smooth,), {"orders": orders})


def chain_rule():
    """Entry (i, j) of the Hessian of A(f) - T'f for three outputs, and the formula."""
    outputs = [sympy.Function(f"f{k}")(S, T) for k in range(3)]
    stat, unit = sympy.symbols("T_1:4", real=True), np.eye(3, dtype=int)
    loss = smooth(0, 0, 0)(*outputs) - sum(map(sympy.Mul, stat, outputs))

    def part(*which):
        return smooth(*(int(n) for n in sum(unit[k] for k in which)))(*outputs)

    ggn = sum(
        f.diff(S) * part(k, m) * g.diff(T)
        for k, f in enumerate(outputs)
        for m, g in enumerate(outputs)
    )
    rest = sum((stat[k] - part(k)) * f.diff(S, T) for k, f in enumerate(outputs))
    return as_symbols(loss.diff(S, T)), as_symbols(ggn - rest)


def as_symbols(e):
    """Generic functions and their derivatives at one point: symbols of their own."""
    for kind in (Smooth, sympy.Derivative, AppliedUndef):
        found = sorted(e.atoms(kind), key=str)
        names = {x: {"real": True, "positive": x.is_positive or None} for x in found}
        e = e.xreplace({x: sympy.Symbol(str(x), **names[x]) for x in found})
    return e

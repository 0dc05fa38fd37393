"""What an attack on the engine is, and how it is judged.

An attack writes a step that is false, or that says something else than it shows. It is
refused if it cannot be written, or else if the reason proves nothing *and* the step
does not hold: neither the proof nor the random instances may have to save the other.
"""

import sympy

from companion.proof import Const, Eye, Step, Sym, generator, scalar
from companion.proof.expressions import check_conditions, identical, pairs_of
from companion.proof.steps import proves

D, I = scalar("D"), Eye("D")
P, Q = Sym("P", "D", "D", "pd"), Sym("Q", "D", "D", "pd")
A, B = Sym("A", "D", "D", "psd"), Sym("B", "D", "D", "psd")
S, Z = Sym("S", "D", "D", "symmetric"), Sym("Z", "D", "D")
N = Sym("N", "D", "D", "invertible")
R = Sym("R", "r", "D")
x, y = Sym("x", "D"), Sym("y", "D")
a, b = scalar("a"), scalar("b")
c = Const(sympy.Symbol("c", real=True))  # of either sign, or zero
ZERO, ONE = Const(sympy.Integer(0)), Const(sympy.Integer(1))


def line(lhs, relation, rhs, *by):
    """A builder of a step: an attack may fail as soon as it is written."""
    return lambda: Step(lhs, relation, rhs, "", by)


def equation(lhs, rhs, *by):
    return line(lhs, "=", rhs, *by)


def proved(step):
    """By its reason alone."""
    if not isinstance(step.lhs, sympy.Basic | sympy.MatrixBase):
        return proves(step)
    try:
        check_conditions(step.by)
        pairs = pairs_of(step.lhs, step.rhs, step.relation)
        return identical(pairs, step.by)
    except Exception:  # as in `proves`: whatever broke, nothing was proved
        return False


def accepted(step):
    return any(step.decide(generator(f"attack {k}")).ok for k in range(2))


def refused(build):
    try:
        step = build()
    except (TypeError, ValueError):
        return True
    return not proved(step) and not accepted(step)


def holds(build):
    step = build()
    return all(step.decide(generator(f"truth {k}")).ok for k in range(2))

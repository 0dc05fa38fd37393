"""Deciding equality of scalars: rational functions, logarithms, exponentials."""

from __future__ import annotations

import sympy


def split_logs(e):
    """log of a rational expression -> logs of its irreducible factors."""
    return e.replace(lambda x: isinstance(x, sympy.log), lambda x: _split(x.args[0]))


def _split(arg):
    numerator, denominator = sympy.fraction(sympy.cancel(sympy.together(arg)))
    return _log_factors(numerator) - _log_factors(denominator)


def _log_factors(e):
    powers = [x for x in sympy.Mul.make_args(e) if x.is_Pow and not x.exp.is_Integer]
    out = sum((x.exp * sympy.log(x.base) for x in powers), sympy.Integer(0))
    e = e / sympy.prod(powers)
    constant, factors = sympy.factor_list(e)
    for base, k in factors:
        out += k * sympy.log(base)
    return out + (sympy.log(constant) if constant != 1 else 0)


def is_zero(e):
    """Decide e == 0 for rational functions of symbols, logs and exponentials."""
    e = split_logs(e)
    exps = {x for x in e.atoms(sympy.exp)}
    if exps:
        e = rationalise_exponentials(e)
    return sympy.cancel(sympy.together(sympy.expand(e))) == 0


def rationalise_exponentials(e):
    """exp(k z) -> u_z**k, so that cancel can decide."""
    e = sympy.expand_power_exp(e.rewrite(sympy.exp))
    table = {}

    def replace(x):
        k, z = x.args[0].as_coeff_Mul()
        u = table.setdefault(z, sympy.Symbol(f"u{len(table)}", positive=True))
        return u**k

    return e.replace(lambda x: isinstance(x, sympy.exp), replace)


def substitute(e, pairs):
    """e with every left side replaced, again until nothing changes."""
    for _ in range(len(pairs) + 1):
        new = e.subs(pairs)
        if new == e:
            break
        e = new
    return e

"""Deciding equality and sign of scalars: rational functions, logarithms, exponentials.

Every rewriting is valid for all values that the assumptions of the symbols allow: a
logarithm is split only where the factor that leaves it is positive.
"""

from __future__ import annotations

import sympy


def split_logs(e, known=()):
    """log of a product -> log of its positive factors, and of the rest in one."""
    return e.replace(
        lambda x: isinstance(x, sympy.log), lambda x: _split(x.args[0], known)
    )


def _split(arg, known):
    numerator, denominator = sympy.fraction(sympy.cancel(sympy.together(arg)))
    above, top = _log_factors(numerator, known)
    below, bottom = _log_factors(denominator, known)
    rest = sympy.cancel(top / bottom)
    return above - below + (0 if rest == 1 else sympy.log(rest))


def _log_factors(e, known):
    """(logs of the positive factors of e, product of the others)."""
    out, rest = sympy.Integer(0), sympy.Integer(1)
    powers = [x for x in sympy.Mul.make_args(e) if x.is_Pow and not x.exp.is_Integer]
    for x in powers:
        if x.exp.is_real and is_positive(x.base, known):
            out += x.exp * sympy.log(x.base)
        else:
            rest *= x
    constant, factors = sympy.factor_list(e / sympy.prod(powers))
    for base, k in (*_primes(constant), *factors):
        if is_positive(base, known):
            out += k * sympy.log(base)
        elif k % 2 == 0 and is_positive(-base, known):
            out += k * sympy.log(-base)
        else:
            rest *= base**k
    return out, rest


def _primes(number):
    """A constant as powers of primes, if it is rational."""
    if not number.is_Rational or abs(number) > 10**12 or number.q > 10**12:
        return ((number, 1),)
    parts = sympy.factorint(abs(number.p)).items()
    below = ((p, -k) for p, k in sympy.factorint(number.q).items())
    powers = [(sympy.Integer(p), k) for p, k in (*parts, *below)]
    return powers if number > 0 else [(sympy.Integer(-1), 1), *powers]


def is_zero(e, known=()):
    """Decide e == 0 for rational functions of symbols, logs and exponentials."""
    e = split_logs(e, known)
    if e.atoms(sympy.exp, sympy.tanh, sympy.sinh, sympy.cosh):
        e = rationalise_exponentials(e)
    return sympy.cancel(sympy.together(sympy.expand(e))) == 0


def rationalise_exponentials(e):
    """exp(k z) -> u_z**k, so that cancel can decide."""
    e = sympy.expand_power_exp(e.rewrite(sympy.exp))
    table = {}

    def replace(x):
        k, z = x.args[0].as_coeff_Mul()
        sign = {"positive": True} if z.is_real else {"nonzero": True}
        return table.setdefault(z, sympy.Dummy("u", **sign)) ** k

    return e.replace(lambda x: isinstance(x, sympy.exp), replace)


def substitute(e, pairs):
    """e with every left side replaced, again until nothing changes."""
    for _ in range(len(pairs) + 1):
        new = e.subs(pairs)
        if new == e:
            break
        e = new
    return e


# --- signs, for all values of the symbols; no only means not proved -----------------


def is_positive(e, known=()):
    """Is e > 0? `known` are expressions that are."""
    return _decide(e, known, "is_positive", _positive_factors)


def is_nonnegative(e, known=()):
    return _decide(e, known, "is_nonnegative", _nonnegative_factors)


def is_nonzero(e, positive=(), nonzero=()):
    """Is e != 0? `positive` and `nonzero` are expressions that are."""

    def factors_are(factors, _):
        return all(
            _plainly(x, (*positive, *nonzero), "is_nonzero")
            or _plainly(x, positive, "is_positive")
            or _plainly(-x, positive, "is_positive")
            for x, _ in factors
        )

    if any(_plainly(x, positive, "is_positive") for x in (e, -e)):
        return True
    return _decide(e, (*positive, *nonzero), "is_nonzero", factors_are)


def _decide(e, known, question, by_factors):
    if e.is_infinite or e is sympy.nan:
        return False
    if _plainly(e, known, question):
        return True
    top, bottom = sympy.fraction(sympy.cancel(sympy.together(e)))
    constant, factors = sympy.factor_list(top * bottom)
    return bool(by_factors(((constant, 1), *factors), known))


def _positive_factors(factors, known):
    sign = 1
    for x, power in factors:
        if power % 2 == 0:
            if not _plainly(x, known, "is_nonzero"):
                return False
        elif _plainly(-x, known, "is_positive"):
            sign = -sign
        elif not _plainly(x, known, "is_positive"):
            return False
    return sign > 0


def _nonnegative_factors(factors, known):
    sign = 1
    for x, power in factors:
        if power % 2 == 0:
            continue
        if _plainly(-x, known, "is_nonnegative"):
            sign = -sign
        elif not _plainly(x, known, "is_nonnegative"):
            return False
    return sign > 0


def _plainly(x, known, question):
    """By its own assumptions, or as a multiple of something known, or more than it."""
    if getattr(x, question):
        return True
    if question == "is_nonzero" and (x.is_positive or (-x).is_positive):
        return True
    for k in known:
        if getattr(sympy.cancel(x / k), question):
            return True
        above = sympy.expand(x - k).is_nonnegative
        if above and question != "is_nonzero":
            return True
    return False

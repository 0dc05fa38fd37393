"""The reasons that a step may give, and the kinds that it declares of abbreviations."""

from __future__ import annotations

from companion.proof import formula as f
from companion.proof import rules, sets
from companion.proof.calculus import Concave
from companion.proof.certificates import Congruences, Grows, Spectral, TraceProducts
from companion.proof.shannon import Independent, Informations

RULES = (
    rules.Sylvester,
    rules.Multiplicative,
    rules.Triangular,
    rules.BlockProduct,
    rules.Scaled,
    rules.Given,
    rules.Positive,
    rules.Invertible,
    rules.Equal,
    Independent,
)
CERTIFICATES = (Spectral, Congruences, TraceProducts, Grows, Concave, Informations)


def check_reasons(by):
    """Raise unless every reason is one that the engine checks itself."""
    for reason in by:
        if type(reason) not in (*RULES, *CERTIFICATES):
            raise TypeError(f"{type(reason).__name__} is no reason that can be checked")


def known(thing):
    """Is it of a class of the engine's own, which cannot say what it likes?"""
    return type(thing).__module__.startswith("companion.proof.")


def check_kinds(lhs, rhs, by):
    """Raise unless the kind that a `Let` declares is proved, and every set is known."""
    algebra = rules.prepared([r for r in by if isinstance(r, rules.Premise)])
    has = {
        "symmetric": algebra.is_symmetric,
        "psd": algebra.is_psd,
        "pd": algebra.is_pd,
        "invertible": algebra.is_invertible,
    }
    for e in f.subtrees((lhs, rhs, *by)):
        if isinstance(e, f.Let) and e.kind != "any" and not has[e.kind](e.definition):
            raise ValueError(f"{e.tex} is not proved to be {e.kind}")
        if not known(e):
            raise TypeError(f"{type(e).__name__} is no formula that is known")
        if isinstance(e, f.Sym) and e.among is not None:
            if not known(e.among):
                raise TypeError(f"{type(e.among).__name__} is no set that is known")
            sets.check(e)

"""Names mean one thing each within a step, and everything in it is declared.

What a reader sees is names: two symbols that look alike, an abbreviation with two
definitions, a symbol that may be complex or a rounded number would let a line say
something else than what was decided.
"""

from __future__ import annotations

import re

import sympy

from companion.proof import formula as f
from companion.proof.render import is_sum, tex

# What makes a name look like a formula: it then has to be the formula that it names.
WRITTEN_OUT = re.compile(r"^\s*\d|frac|\\log|\\det|\\tr\b|\^\{-1\}|[/*<>=]|\\[lg]eq?\b")
POWER = re.compile(r"(?<!vert)(?<!Vert)\^\{?\d")  # but |g|^2 is a name
QUANTITY = re.compile(r"\\(MIof|Hof)\{[^{}]*(\{[^{}]*\}[^{}]*)*\}")
EXPECTATION = re.compile(r"\\(simple|op)?E(\{[^{}]*(\{[^{}]*\}[^{}]*)*\})*")


class Unclear(ValueError):
    """A step whose names or numbers do not say what they stand for."""


def check_names(lhs, rhs, by):
    """Raise `Unclear` unless each name of the step stands for one thing."""
    owners = {}
    nodes = list(f.subtrees((lhs, rhs, *by)))
    for e in nodes:
        match e:
            case f.Sym():
                check_name(e.tex)
                _claim(owners, e.tex, id(e))
            case f.Let():
                check_name(e.tex, tex(e.definition))
                check_quantity(e)
                _claim(owners, e.tex, structure(e.definition))
            case f.Leaf():
                _claim(owners, e.tex, structure(e))
            case f.Mean() if not EXPECTATION.fullmatch(e.tex):
                raise Unclear(f"{e.tex} is no name of an expectation")
            case f.Const():
                check_scalar(e.value)
                for s in e.value.free_symbols:
                    check_name(s.name)
                    _claim(owners, s.name, s)
        for n in getattr(e, "variables", ()):
            check_name(n)
            if ";" in n or "given" in n:
                raise Unclear(f"{n} is no name of one variable")
            kind = type(n).__name__, getattr(n, "states", None)
            _claim(owners, f"variable {n}", kind)
    names = {part for e in nodes for n in e.shape for part in str(n).split("+")}
    for name in names:
        if not re.search("[A-Za-z]", name) and not (name.isdigit() and int(name)):
            raise Unclear(f"{name!r} is no size")
        if name in owners and owners[name] != sympy.Symbol(name, positive=True):
            raise Unclear(f"{name} is a size, and something else")


def check_name(name, meaning=""):
    """Raise for a name that is a number or, unless it means just that, a formula."""
    if not re.search("[A-Za-z]", name):
        raise Unclear(f"{name!r} is no name")
    if (
        meaning
        and (is_sum(name) or POWER.search(name))
        and plain(name) != plain(meaning)
    ):
        raise Unclear(f"{name} reads as a formula, and stands for {meaning}")
    if WRITTEN_OUT.search(name) and plain(name) != plain(meaning):
        raise Unclear(
            f"{name} reads as a formula, and stands for {meaning or 'another'}"
        )


def check_quantity(let):
    """Raise if an entropy is given the name of another, or of two of them."""
    alias = isinstance(let.definition, f.Leaf | f.Let)
    made_of_entropies = any(hasattr(e, "variables") for e in f.subtrees(let.definition))
    if QUANTITY.fullmatch(let.tex) and made_of_entropies and not alias:
        raise Unclear(f"{let.tex} is no name of {tex(let.definition)}")


def plain(text):
    """LaTeX without what is not seen: spaces, needless braces, the size of brackets."""
    text = re.sub(r"\\left|\\right|\\[,;!:]|\s", "", text).replace(r"\tfrac", r"\frac")
    text = re.sub(r"\{(\(.*?\))\}", r"\1", text)
    text = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", text)
    return re.sub(r"([\^_])\{(\\?\w+)\}", r"\1\2", text)


def _claim(owners, name, owner):
    if owners.setdefault(name, owner) != owner:
        raise Unclear(f"{name} stands for two things")


def check_scalar(e):
    """Raise unless e is a real number, exactly written, of real symbols."""
    if sympy.sympify(e).has(sympy.I):
        raise Unclear(f"{e} is not real")
    if not isinstance(e, sympy.Expr) or e.has(
        sympy.nan, sympy.oo, -sympy.oo, sympy.zoo
    ):
        raise Unclear(f"{e} is no number")
    if e.has(sympy.Float):
        raise Unclear(f"{e} is rounded; write it exactly")
    for s in e.free_symbols:
        if not s.is_real or not s.is_commutative:
            raise Unclear(f"{s} is not declared to be real")


def structure(e):
    """What a formula is made of, to compare definitions."""
    if isinstance(e, f.Let):
        return structure(e.definition)
    if isinstance(e, f.Sym):
        return id(e)
    if isinstance(e, (tuple, list)):
        return tuple(map(structure, e))
    if isinstance(e, f.Formula):
        return type(e).__name__, structure(list(vars(e).values()))
    return e

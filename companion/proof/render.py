"""LaTeX of formulas and lines, from the trees that were checked."""

from __future__ import annotations

import itertools
import re

import sympy

from companion.proof import formula as f

RELATIONS = {"=": "=", "<=": r"\le", ">=": r"\ge"}
LOEWNER = {"=": "=", "<=": r"\preceq", ">=": r"\succeq"}
LINE = 34  # symbols that fit beside each other on the page


def tex(e):
    """LaTeX of a formula or a sympy expression, terms in the author's order."""
    if not isinstance(e, f.Formula):
        return _latex(e)
    match e:
        case f.Const():
            return _number(e.value)
        case f.Sym() | f.Let():
            return e.tex
        case f.Eye():
            return f"I_{{{e.size}}}" if e.size != 1 else "1"
        case f.Zero():
            return "0"
        case f.Add():
            return _sum(e.terms)
        case f.Mul():
            return _product(e.factors)
        case f.Transpose():
            return f"{_atom(e.arg)}^\\top"
        case f.Inv():
            return f"{_atom(e.arg)}^{{-1}}"
        case f.Det():
            return rf"\det {_argument(e.arg)}"
        case f.Tr():
            return rf"\tr {_argument(e.arg)}"
        case f.Log():
            inner = e.arg
            return (
                rf"\log {tex(inner) if isinstance(inner, f.Det) else _argument(inner)}"
            )
        case f.Mean():
            return rf"{e.tex}\left[{tex(e.arg)}\right]"
        case f.Block():
            rows = r" \\ ".join(" & ".join(map(tex, row)) for row in e.rows)
            return rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}"
    if isinstance(e, f.Leaf):
        return e.tex
    raise TypeError(f"no LaTeX for {type(e).__name__}")


def _number(value):
    if value.is_Rational and not value.is_Integer:
        sign = "-" if value < 0 else ""
        return rf"{sign}\tfrac{{{abs(value.p)}}}{{{value.q}}}"
    return _latex(value)


def _latex(e):
    """sympy's LaTeX, but 2 pi e as everybody writes it, and a space after a row."""
    return sympy.latex(e).replace(r"e \pi", r"\pi e").replace(r"\\", r"\\ ")


def _atom(e):
    """Parenthesised unless it is a single symbol, without a power of its own."""
    single = isinstance(e, (f.Sym, f.Let, f.Eye, f.Block)) or (
        isinstance(e, f.Const) and e.value.is_Symbol
    )
    text = tex(e)
    plain = single and not raised(text) and not is_sum(text)
    return text if plain else rf"\left({text}\right)"


def raised(text):
    """Does a name end in a power?"""
    return re.search(r"\^(\{[^{}]*\}|\\?\w+)$", text) is not None


def is_sum(text):
    """Does a name hold a sign outside its brackets?"""
    depth = 0
    for character in text:
        depth += (character in "({[") - (character in ")}]")
        if depth == 0 and character in "+-":
            return True
    return False


def _argument(e):
    return _atom(e)


def _is_minus_one(e):
    return isinstance(e, f.Const) and e.value == -1


def _sum(terms):
    out = tex(terms[0])
    for term in terms[1:]:
        body = tex(term)
        out += f" {body}" if body.startswith("-") else f" + {body}"
    return out


def _product(factors):
    sign = "-" if sum(map(_is_minus_one, factors)) % 2 else ""
    factors = [x for x in factors if not _is_minus_one(x)]
    below = [x.arg for x in factors if isinstance(x, f.Inv) and x.shape == f.SCALAR]
    above = [x for x in factors if not (isinstance(x, f.Inv) and x.shape == f.SCALAR)]
    numbers = [x for x in above if isinstance(x, f.Const) and x.value.is_number]
    rest = [x for x in above if x not in numbers]
    lead = _numbers(numbers, alone=not rest and not below)
    body = " ".join(_powers(rest))
    if not below:
        return sign + " ".join(part for part in (lead, body) if part)
    denominator = " ".join(_powers(below)) if len(below) > 1 else tex(below[0])
    return rf"{sign}{lead}\frac{{{body or '1'}}}{{{denominator}}}"


def _numbers(numbers, alone):
    """The numbers in front of a product; a 1 is written only if it stands alone."""
    shown = [x for x in numbers if x.value != 1]
    return r" \cdot ".join(map(_factor, shown)) or ("1" if alone else "")


def _powers(factors):
    """Factors; one that repeats as a power."""
    out = []
    for _, group in itertools.groupby(factors, key=_same):
        x, *more = group
        if not more:
            out.append(_factor(x))
            continue
        base = _factor(x)
        if raised(base):
            base = rf"\left({base}\right)"
        out.append(f"{base}^{{{1 + len(more)}}}")
    return out


def _same(x):
    """What two factors share that are one and the same."""
    return x.value if isinstance(x, f.Const) else id(x)


def _factor(e):
    needs = isinstance(e, f.Add) or (
        isinstance(e, f.Const) and (e.value.is_Add or e.value.is_negative)
    )
    needs = needs or (isinstance(e, f.Sym | f.Let) and is_sum(e.tex))
    return rf"\left({tex(e)}\right)" if needs else tex(e)


def step_tex(step):
    """LaTeX of a step; a chained one begins with its relation."""
    matrix = isinstance(step.lhs, f.Formula) and step.lhs.shape != f.SCALAR
    relation = (LOEWNER if matrix else RELATIONS)[step.relation]
    left, right = step.tex or (tex(step.lhs), tex(step.rhs))
    if step.chained:
        return rf"\quad {relation} {right}"
    if visible(left) + visible(right) > LINE:
        return (
            rf"\begin{{aligned}} &{left} \\ &\quad {relation} {right} \end{{aligned}}"
        )
    return f"{left} {relation} {right}"


def visible(text):
    """Roughly how many symbols of a LaTeX formula are seen side by side."""
    if r"\begin" in text:
        return 0
    return len(re.sub(r"\\(left|right|t?frac)|\\[A-Za-z]+|[{}^_\s]", "", text)) + len(
        re.findall(r"\\(?!left|right|t?frac)[A-Za-z]+", text)
    )


# --- what a line rests on ---------------------------------------------------------


def premises_of(step):
    """Sets, conditions and independences that a step rests on, in Markdown."""
    nodes = list(f.subtrees((step.lhs, step.rhs, step.by)))
    members = [e for e in nodes if isinstance(e, f.Sym) and e.among is not None]
    found = [e.among.words(e.tex) for e in members]
    for e in nodes:
        for n in sorted(getattr(e, "variables", ())):
            if getattr(n, "is_discrete", False):
                many = f"${n.states}$" if n.states else "finitely many"
                found.append(f"${n}$ has {many} values")
    return tuple(dict.fromkeys([*found, *(w for r in step.by for w in words_of(r))]))


def words_of(reason):
    """A premise in Markdown; nothing for a theorem or a certificate."""
    name = type(reason).__name__
    if name == "Given":
        return ["$" + " = ".join(map(tex, reason.parts)) + "$"]
    if name == "Independent":
        one, other, given = (", ".join(sorted(part)) for part in reason.sets)
        bar = rf" \given {given}" if given else ""
        return [rf"${one} \indep {other}{bar}$"]
    if name in ("Positive", "Invertible"):
        scalar = reason.formula.shape == f.SCALAR
        signs = {
            "Positive": (r"\succ0$", ">0$"),
            "Invertible": ("$ invertible", r"\ne0$"),
        }
        return [f"${tex(reason.formula)}{signs[name][scalar]}"]
    return []

"""Polynomials in noncommuting words, {word: coefficient}; a word is a tuple."""

from __future__ import annotations

import sympy


def add(p, q):
    out = dict(p)
    for word, c in q.items():
        new = out.get(word, 0) + c
        if new == 0:
            out.pop(word, None)
        else:
            out[word] = new
    return out


def total(polys):
    out = {}
    for p in polys:
        out = add(out, p)
    return out


def scale(p, c):
    return {w: k * c for w, k in p.items()}


def multiply(p, q):
    return total({a + b: c * d} for a, c in p.items() for b, d in q.items())


def word_order(word):
    return (len(word), word)


def freeze(poly):
    """A hashable, sorted form of a polynomial, with canonical coefficients."""
    return tuple(sorted(((w, sympy.cancel(c)) for w, c in poly.items()), key=str))


def dimension(size):
    """The number behind a dimension's name; that of "m+n" or "m+1" is a sum."""
    parts = str(size).split("+")
    return sympy.Add(
        *(
            sympy.Integer(part) if part.isdigit() else sympy.Symbol(part, positive=True)
            for part in parts
        )
    )

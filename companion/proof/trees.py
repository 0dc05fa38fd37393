"""Formulas as trees: what stands in them, and when two of them are the same."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import sympy

from companion.proof import formula as f


def key(e):
    """What two formulas share exactly if they are the same tree of the same symbols."""
    if isinstance(e, f.Inv) and isinstance(e.arg, f.Inv):
        return key(e.arg.arg)
    if isinstance(e, f.Sym):
        return ("Sym", id(e))
    if isinstance(e, tuple | list):
        return tuple(map(key, e))
    if isinstance(e, f.Formula) and is_dataclass(e):
        return (type(e).__name__, *(key(getattr(e, x.name)) for x in fields(e)))
    if isinstance(e, sympy.MatrixBase):
        return e.as_immutable()
    return e


def nodes(*formulas, open_names=True):
    """Every node, names (`Let`) and what they stand for included, in reading order."""
    todo = list(formulas)
    while todo:
        e = todo.pop(0)
        if isinstance(e, tuple | list):
            todo[:0] = e
        elif isinstance(e, f.Formula):
            yield e
            if is_dataclass(e) and (open_names or not isinstance(e, f.Let)):
                todo[:0] = [getattr(e, x.name) for x in fields(e)]


def distinct(found):
    """Each tree once."""
    return list({key(e): e for e in found}.values())


def opened(name):
    """What a name stands for, also below an inverse; None for what is no name."""
    if isinstance(name, f.Inv) and isinstance(name.arg, f.Let):
        return f.Inv(name.arg.definition)
    return name.definition if isinstance(name, f.Let) else None


def defines(step):
    """Does the line say what a name stands for, and nothing else?"""
    ends = (step.lhs, step.rhs)
    return step.relation == "=" and any(
        (meant := opened(one)) is not None and key(meant) == key(other)
        for one, other in (ends, ends[::-1])
    )

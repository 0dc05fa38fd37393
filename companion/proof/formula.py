"""Formulas: one syntax tree for the matrix algebra that the book displays.

A formula is written once. From the same tree come its LaTeX (`tex`), its value on
random matrices (`companion.proof.numeric`) and its normal form, which decides equality
in every dimension (`companion.proof.algebra`). So a page shows what was checked.

Shapes are pairs of dimension names (``"D"``, ``"K"``; ``1`` is the number): a sum or
product whose shapes do not fit cannot be written. A 1 x 1 formula is a scalar.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass

import sympy

SCALAR = (1, 1)
KINDS = ("any", "invertible", "symmetric", "psd", "pd")
SYMMETRIC = ("symmetric", "psd", "pd")


class Formula:
    """A node with a shape; arithmetic builds `Add`, `Mul` and `Inv` nodes."""

    shape: tuple

    def __add__(self, other):
        return Add((self, as_formula(other, like=self)))

    def __radd__(self, other):
        return Add((as_formula(other, like=self), self))

    def __sub__(self, other):
        return self + -as_formula(other, like=self)

    def __rsub__(self, other):
        return as_formula(other, like=self) + -self

    def __neg__(self):
        return Mul((Const(sympy.Integer(-1)), self))

    def __mul__(self, other):
        return Mul((self, as_formula(other)))

    def __rmul__(self, other):
        return Mul((as_formula(other), self))

    def __truediv__(self, other):
        other = as_formula(other)
        if other.shape != SCALAR:
            raise TypeError("division is by scalars only; write X * Y.I")
        return Mul((self, Inv(other)))

    def __rtruediv__(self, other):
        return as_formula(other) / self

    @property
    def T(self):
        return self if self.shape == SCALAR else Transpose(self)

    @property
    def I(self):  # noqa: E743 - the field's notation for an inverse
        return Inv(self)


def as_formula(value, like=None):
    """Wrap a number or sympy scalar; 0 and 1 take the shape of `like`."""
    if isinstance(value, Formula):
        return value
    if like is not None and like.shape != SCALAR:
        if value == 0:
            return Zero(*like.shape)
        raise TypeError(f"cannot add {value!r} to a {like.shape} matrix; use Eye(...)")
    return Const(sympy.sympify(value))


@dataclass(frozen=True, eq=False)
class Const(Formula):
    """A commuting scalar: any sympy expression."""

    value: sympy.Expr
    shape = SCALAR

    def __post_init__(self):
        if not isinstance(self.value, sympy.Expr) or self.value.has(sympy.Float):
            raise TypeError(f"{self.value} is no exact number; write a fraction")


@dataclass(frozen=True, eq=False)
class Sym(Formula):
    """A free matrix; `kind` is one of `KINDS`.

    `mean` names the matrix that is its expectation, if it is random (see `Mean`).
    `among` is the set of `companion.proof.sets` that it stands for an element of, if
    that is not described by its kind: made by the functions of that module alone.
    """

    tex: str
    rows: object
    cols: object = 1
    kind: str = "any"
    mean: Formula | None = None
    among: object = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} of {self.tex}; there are {KINDS}")
        if self.kind != "any" and self.rows != self.cols:
            raise TypeError(f"{self.tex} is {self.kind}, so it must be square")
        if self.mean is not None and self.mean.shape != self.shape:
            raise TypeError(f"{self.tex} is {self.shape}, its mean {self.mean.shape}")
        if self.mean is not None and any(is_random(e) for e in subtrees(self.mean)):
            raise ValueError(f"the mean of {self.tex} is itself random")

    @property
    def shape(self):
        return (self.rows, self.cols)

    @property
    def symmetric(self):
        return self.kind in SYMMETRIC


def is_random(e):
    return isinstance(e, Sym) and e.mean is not None


def subtrees(e):
    """Every node of a formula, definitions of `Let`s and means of symbols included.

    Also of whatever holds formulas: a rule, a certificate, a tuple.
    """
    todo, seen = [e], {}
    while todo:
        e = todo.pop()
        if isinstance(e, (tuple, list)):
            todo += e
        elif hasattr(e, "parts") and not isinstance(e, Formula):
            todo += e.parts  # of a rule or a certificate
        elif isinstance(e, Formula) or is_dataclass(e):
            if id(e) in seen:
                continue
            seen[id(e)] = e
            parts = fields(e) if is_dataclass(e) else ()
            todo += [getattr(e, part.name) for part in parts]
            if isinstance(e, Formula):
                yield e


@dataclass(frozen=True, eq=False)
class Eye(Formula):
    size: object

    @property
    def shape(self):
        return (self.size, self.size)


@dataclass(frozen=True, eq=False)
class Zero(Formula):
    rows: object
    cols: object

    @property
    def shape(self):
        return (self.rows, self.cols)


@dataclass(frozen=True, eq=False)
class Let(Formula):
    """A named abbreviation: displayed as `tex`, computed as `definition`.

    A `kind` beside it is no promise: it is proved before a step is decided.
    """

    tex: str
    definition: Formula
    kind: str = "any"

    @property
    def shape(self):
        return self.definition.shape


@dataclass(frozen=True, eq=False)
class Add(Formula):
    terms: tuple
    shape: tuple = field(init=False)

    def __post_init__(self):
        flat = []
        for term in self.terms:
            flat += term.terms if isinstance(term, Add) else [term]
        shapes = {t.shape for t in flat}
        if len(shapes) != 1:
            raise TypeError(f"cannot add shapes {sorted(map(str, shapes))}")
        object.__setattr__(self, "terms", tuple(flat))
        object.__setattr__(self, "shape", shapes.pop())


@dataclass(frozen=True, eq=False)
class Mul(Formula):
    factors: tuple
    shape: tuple = field(init=False)

    def __post_init__(self):
        flat = []
        for factor in self.factors:
            flat += factor.factors if _opens(factor) else [factor]
        object.__setattr__(self, "factors", tuple(flat))
        object.__setattr__(self, "shape", product_shape(flat))


def _opens(factor):
    """May a product be merged into the one around it?

    Not if it is a scalar made of matrices: x'Sx times A is no product of four.
    """
    if not isinstance(factor, Mul):
        return False
    return factor.shape != SCALAR or all(f.shape == SCALAR for f in factor.factors)


def product_shape(factors):
    """Shape of a product in which 1 x 1 factors may stand anywhere."""
    rows = cols = None
    for f in factors:
        if f.shape == SCALAR:
            continue
        if rows is None or (rows == 1 and cols == 1):
            rows, cols = f.shape
        elif cols == f.shape[0]:
            cols = f.shape[1]
        else:
            raise TypeError(f"cannot multiply {rows, cols} by {f.shape}")
    return SCALAR if rows is None else (rows, cols)


@dataclass(frozen=True, eq=False)
class Transpose(Formula):
    arg: Formula

    @property
    def shape(self):
        return self.arg.shape[::-1]


@dataclass(frozen=True, eq=False)
class Square(Formula):
    """Base of the nodes that need a square argument."""

    arg: Formula

    def __post_init__(self):
        if self.arg.shape[0] != self.arg.shape[1]:
            raise TypeError(f"{type(self).__name__} of a {self.arg.shape} matrix")


class Inv(Square):
    @property
    def shape(self):
        return self.arg.shape


class Det(Square):
    shape = SCALAR


class Tr(Square):
    shape = SCALAR


@dataclass(frozen=True, eq=False)
class Log(Formula):
    arg: Formula
    shape = SCALAR

    def __post_init__(self):
        if self.arg.shape != SCALAR:
            raise TypeError("log of a matrix; use logdet")


@dataclass(frozen=True, eq=False)
class Mean(Formula):
    """Expectation over the random symbols (those with a `mean`)."""

    arg: Formula
    tex: str = r"\simpleE{}"

    @property
    def shape(self):
        return self.arg.shape


@dataclass(frozen=True, eq=False)
class Block(Formula):
    """A block matrix, square blocks on the diagonal."""

    rows: tuple

    def __post_init__(self):
        heights = [{b.shape[0] for b in row} for row in self.rows]
        widths = [{b.shape[1] for b in col} for col in zip(*self.rows, strict=True)]
        if any(len(s) != 1 for s in heights) or heights != widths:
            raise TypeError("blocks do not fit together, square ones on the diagonal")

    @property
    def sizes(self):
        return tuple(row[0].shape[0] for row in self.rows)

    @property
    def shape(self):
        size = "+".join(map(str, self.sizes))
        return (size, size)


class Leaf(Formula):
    """A scalar with a name of its own (`tex`), which another module adds.

    It gives its normal form, `lower(algebra)`, and its value, `evaluate(world)`.
    """

    shape = SCALAR


def logdet(arg):
    """log det of a square formula (for a scalar: its log)."""
    return Log(arg if arg.shape == SCALAR else Det(arg))


def scalar(tex, **assumptions):
    """A named scalar, positive unless said otherwise."""
    return Const(sympy.Symbol(tex, **({"positive": True} | assumptions)))


def block(*rows):
    """Block matrix from rows of formulas."""
    return Block(tuple(tuple(row) for row in rows))


HALF = Const(sympy.Rational(1, 2))

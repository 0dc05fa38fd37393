"""Normal forms that decide equality of formulas in every dimension.

A matrix formula becomes a polynomial in noncommuting letters (`letters`), `{word:
coefficient}` with commuting sympy coefficients. Equal normal forms prove equality for
all dimensions. Unequal ones prove nothing by themselves: `companion.proof.numeric` then
looks for a counterexample.

A scalar formula becomes a sympy expression in atoms, one for each trace of a word (up
to rotation and transposition) and each determinant of a normal form.

Nothing is written that need not exist: an inverse is taken only of what is proved
invertible (`kinds`), a logarithm only of what is proved positive.
"""

from __future__ import annotations

import sympy

from companion.proof import formula as f
from companion.proof.kinds import Kinds, remembered
from companion.proof.points import undefined_part
from companion.proof.render import tex
from companion.proof.scalars import is_zero, split_logs, substitute
from companion.proof.words import (
    add,
    dimension,
    freeze,
    multiply,
    scale,
    total,
)


class Undefined(ValueError):
    """Something that need not exist for all values of the symbols."""


class Algebra(Kinds):
    """Letters, rewriting rules and atoms for the formulas of one decision.

    `opaque` lists `Let`s to be kept as letters of their own.
    """

    def __init__(self, opaque=()):
        super().__init__()
        self.opaque = tuple(opaque)
        self.atoms = {}  # (kind, key) -> sympy symbol
        self.random_atoms = set()
        self.pairs = ()  # replacements of atoms by which the rules act
        self._alive = []
        self._positive_dets = set()

    def is_zero(self, e):
        """Is a scalar zero, given the rules?"""
        return is_zero(self.resolved(e), self.known_positive)

    def resolved(self, e):
        """A scalar by the rules as they are now: atoms reduced, and replaced."""
        pairs = [
            (self._refreshed(a), self._refreshed(value)) for a, value in self.pairs
        ]
        return substitute(self._refreshed(e), pairs)

    def _refreshed(self, e):
        """The same number, in atoms that the rules found since do not reduce."""
        e = sympy.sympify(e)
        keys = {a: (kind, key) for (kind, key), a in self.atoms.items()}
        new = {a: self._reduced_atom(*keys[a]) for a in e.free_symbols & set(keys)}
        return e.subs({a: value for a, value in new.items() if a != value})

    def _reduced_atom(self, kind, key):
        if kind == "tr":
            return self._cyclic(key)
        if kind == "det" and key[0][0] != "block":
            words = [word for word, _ in key if word]
            return self.determinant(self.reduce(dict(key)), self.sizes[words[0][0]][0])
        return self.atoms[kind, key]

    # --- matrices ----------------------------------------------------------

    def matrix(self, e):
        """Normal form of a matrix formula (also of a 1 x 1 one)."""
        return self.reduce(self._unreduced(e))

    @remembered
    def _unreduced(self, e):
        match e:
            case f.Eye():
                return {(): sympy.Integer(1)}
            case f.Zero():
                return {}
            case f.Sym():
                return {(self._symbol(e),): sympy.Integer(1)}
            case f.Let() if e in self.opaque:
                return {(self._opaque(e),): sympy.Integer(1)}
            case f.Let():
                return self._unreduced(e.definition)
            case f.Add():
                return total(self._unreduced(t) for t in e.terms)
            case f.Mul():
                return self._product(e.factors)
            case f.Transpose():
                return self.transpose(self._unreduced(e.arg))
            case f.Inv() if e.shape != f.SCALAR:
                return self._inverse(e)
            case f.Mean() if e.shape != f.SCALAR:
                return self.expect(self.matrix(e.arg))
            case _ if e.shape == f.SCALAR:
                return {(): self.scalar(e)}
        raise TypeError(f"no normal form for {type(e).__name__}")

    def _symbol(self, e):
        key = ("sym", id(e))
        if key in self.letters:
            return self.letters[key]
        letter = self._new_letter(key, e.shape, e.kind)
        self._alive.append(e)  # so that its id names no other symbol
        if e.mean is not None:
            self._check_mean(e)
            twin = self.transposed[letter]
            self.random |= {letter, twin}
            self.means[letter] = self.matrix(e.mean)
            self.means[twin] = self.transpose(self.means[letter])
        if e.among is not None:
            self.known_positive += [self.scalar(x) for x in e.among.positive(e)]
        return letter

    def _check_mean(self, e):
        has = {"psd": self.is_psd, "pd": self.is_pd, "symmetric": self.is_symmetric}
        if e.kind in has and not has[e.kind](e.mean):
            raise Undefined(f"the mean of {e.tex} is not proved to be {e.kind}")

    def _opaque(self, e):
        """The letter of a `Let` that is not looked into, with its proved kind."""
        key = ("let", id(e))
        if key not in self.letters:
            self.matrix(e.definition)  # has to exist
            proved = (
                ("pd", self.is_pd),
                ("psd", self.is_psd),
                ("symmetric", self.is_symmetric),
                ("any", lambda _: True),
            )
            kind = next(name for name, holds in proved if holds(e.definition))
            letter = self._new_letter(key, e.shape, kind)
            self._alive.append(e)
            if any(map(f.is_random, f.subtrees(e.definition))):
                self.random |= {letter, self.transposed[letter]}
        return self.letters[key]

    def _product(self, factors):
        """Product from the left; a stretch that closes to 1 x 1 is a scalar."""
        result, coefficient, open_rows = {(): sympy.Integer(1)}, sympy.Integer(1), None
        for factor in factors:
            if factor.shape == f.SCALAR:
                coefficient *= self.scalar(factor)
                continue
            if open_rows is None:
                open_rows = factor.shape[0]
            result = multiply(result, self._unreduced(factor))
            if open_rows == 1 and factor.shape[1] == 1:
                coefficient *= self._trace_value(self.reduce(result), 1)
                result, open_rows = {(): sympy.Integer(1)}, None
        return scale(result, coefficient)

    def _inverse(self, e):
        if not self.is_invertible(e.arg):
            raise Undefined(f"{tex(e.arg)} is not proved to be invertible")
        poly = self.matrix(e.arg)
        if not poly:
            raise Undefined(f"{tex(e.arg)} is zero")
        if len(poly) == 1:
            ((word, c),) = poly.items()
            if self.is_square(word):
                return self.reduce(scale(self.inverse_word(word), 1 / c))
        w = self._inverse_of_sum(poly, e.shape, self.is_pd(e.arg))
        return {(w,): sympy.Integer(1)}

    def expect(self, poly):
        """Expectation of a normal form that is linear in the random symbols.

        Each word holds one of them at most, itself and not its inverse, and the
        coefficients none.
        """
        out = {}
        for word, c in poly.items():
            spots = [i for i, x in enumerate(word) if self.touches(x)]
            if not spots and not self.random_scalar(c):
                out = add(out, {word: c})
                continue
            if len(spots) != 1 or self.random_scalar(c):
                raise NotImplementedError("expectation of a nonlinear word")
            i = spots[0]
            if word[i] not in self.means:
                raise NotImplementedError("expectation of a function of the random")
            inner = multiply({word[:i]: c}, self.means[word[i]])
            out = add(out, multiply(inner, {word[i + 1 :]: sympy.Integer(1)}))
        return self.reduce(out)

    # --- scalars -----------------------------------------------------------

    def scalar(self, e):
        """The sympy expression of a scalar formula, in traces and determinants."""
        if e.shape != f.SCALAR:
            raise TypeError(f"a scalar is needed, not a {e.shape} matrix")
        match e:
            case f.Const():
                return self._constant(e.value)
            case f.Let():
                return self.scalar(e.definition)
            case f.Add():
                return sum((self.scalar(t) for t in e.terms), sympy.Integer(0))
            case f.Inv():
                return self._reciprocal(e.arg)
            case f.Log():
                return self._log(e.arg)
            case f.Tr():
                return self._trace_value(self.matrix(e.arg), e.arg.shape[0])
            case f.Det() if isinstance(e.arg, f.Block):
                return self.atom("det", freeze_block(self, e.arg))
            case f.Det():
                self._note_positive(e.arg)
                return self.determinant(self.matrix(e.arg), e.arg.shape[0])
            case f.Mean():
                return self._mean_value(e.arg)
            case f.Mul() if all(x.shape == f.SCALAR for x in e.factors):
                return sympy.prod(self.scalar(x) for x in e.factors)
            case f.Mul() | f.Transpose() | f.Sym() | f.Eye() | f.Zero():
                return self._trace_value(self.matrix(e), 1)
        return e.lower(self)  # a leaf that another module adds

    def _constant(self, value):
        if not (value.is_Rational or value.is_Symbol):
            part = undefined_part(value, self.known_positive, self.known_nonzero)
            if part is not None:
                raise Undefined(f"{part} need not exist")
        return value

    def _reciprocal(self, arg):
        value = self.scalar(arg)
        if not self.nonzero(value):
            raise Undefined(f"{tex(arg)} is not proved to be nonzero")
        return 1 / value

    def _log(self, arg):
        value = self.scalar(arg)
        proved = self.positive(self.resolved(value)) or (
            isinstance(arg, f.Det)
            and not isinstance(arg.arg, f.Block)
            and self.det_is_positive(arg.arg)
        )
        if not proved:
            raise Undefined(f"{tex(arg)} is not proved to be positive")
        return sympy.log(value)

    def atom(self, kind, key, sign=None):
        """The symbol for a number, "positive" or "nonnegative" where that is proved."""
        if (kind, key) not in self.atoms:
            signs = {sign: True} if sign else {}
            new = sympy.Dummy(kind, real=True, **signs)
            self.atoms[kind, key] = new
            if kind in ("tr", "det") and self._is_random(key):
                self.random_atoms.add(new)
        return self.atoms[kind, key]

    def _is_random(self, key):
        """Does a word, or a normal form, hold something random?"""
        if isinstance(key, str):
            return key in self.sizes and self.touches(key)
        if isinstance(key, sympy.Basic):
            return self.random_scalar(key)
        return any(map(self._is_random, key))

    def random_scalar(self, e):
        return bool(sympy.sympify(e).free_symbols & self.random_atoms)

    def _trace_value(self, poly, size):
        out = sympy.Integer(0)
        for word, c in poly.items():
            out += c * (self._cyclic(word) if word else dimension(size))
        return out

    def _cyclic(self, word):
        """Value of tr(word), the same for every rotation and for the transpose."""
        for i, x in enumerate(word):
            if x in self.expanded:
                head, tail = (
                    {word[:i]: sympy.Integer(1)},
                    {word[i + 1 :]: sympy.Integer(1)},
                )
                whole = multiply(multiply(head, self.expanded[x]), tail)
                return self._trace_value(whole, self.sizes[word[0]][0])
        starts = range(len(word))
        closed = [k for k in starts if self.sizes[word[k]][0] == 1]
        for k in closed or starts:
            turned = word[k:] + word[:k]
            reduced = self.reduce({turned: sympy.Integer(1)})
            if reduced != {turned: 1}:
                return self._trace_value(reduced, self.sizes[turned[0]][0])
        flipped = tuple(self.transposed[x] for x in reversed(word))
        turns = [w[k:] + w[:k] for w in (word, flipped) for k in range(len(word))]
        return self.atom("tr", min(turns), self._sign_of_trace(word))

    def _sign_of_trace(self, word):
        """tr(M N) >= 0 for psd M and N, > 0 if both are definite."""
        best = None
        for k in range(len(word)):
            turned = word[k:] + word[:k]
            for j in range(1, len(word) + 1):
                parts = turned[:j], turned[j:]
                if any(p and not self._square_stretch(p) for p in parts):
                    continue
                kinds = [self.word_kind(p) for p in parts]
                if kinds == ["pd", "pd"]:
                    return "positive"
                if all(kinds):
                    best = "nonnegative"
        return best

    def _square_stretch(self, word):
        return self.sizes[word[0]][0] == self.sizes[word[-1]][1]

    def _mean_value(self, e):
        """E[scalar]: linear in traces; any other random atom stays inside E."""
        value = self.resolved(self.scalar(e))
        value = sympy.expand(split_logs(value, self.known_positive))
        out = sympy.Integer(0)
        for term in sympy.Add.make_args(value):
            random = sorted(term.free_symbols & self.random_atoms, key=str)
            out += self._mean_term(term, random) if random else term
        return out

    def _mean_term(self, term, random):
        if len(random) == 1:
            kind, key = next(k for k, a in self.atoms.items() if a == random[0])
            rest = sympy.cancel(term / random[0])
            linear = kind == "tr" and not rest.has(random[0])
            if linear and sum(map(self.touches, key)) == 1:
                if any(x in self.means for x in key):
                    mean = self.expect({key: sympy.Integer(1)})
                    return rest * self._trace_value(mean, self.sizes[key[0]][0])
        constant, random_part = term.as_independent(*random, as_Add=False)
        return constant * self.atom("mean", random_part)

    # --- determinants ------------------------------------------------------

    def _note_positive(self, e):
        """Remember that det e > 0 if the tree shows it, whatever its normal form."""
        if e.shape != f.SCALAR and self.det_is_positive(e):
            self._positive_dets.add(self._det_key(self.matrix(e)))

    def _det_key(self, poly):
        return min(freeze(poly), freeze(self.transpose(poly)), key=str)

    def determinant(self, poly, size):
        """det of a normal form: multiplicative on words, one atom for a sum."""
        if size == 1:
            return self._trace_value(poly, 1)
        if not poly:
            return sympy.Integer(0)
        if len(poly) == 1:
            ((word, c),) = poly.items()
            if self.is_square(word):
                value = c ** dimension(size)
                for x in word:
                    value *= self._letter_det(x)
                return value
        key = self._det_key(poly)
        positive = key in self._positive_dets or self.poly_det_positive(poly)
        return self.atom("det", key, "positive" if positive else None)

    def _letter_det(self, x):
        if x in self.inverse_of:
            return 1 / self.determinant(self.inverse_of[x], self.sizes[x][0])
        base = self.inverses.get(x)
        if base is not None and self.letters.get(("inv", base)) == x:
            return 1 / self._letter_det(base)
        x = min(x, self.transposed[x])
        signs = {"pd": "positive", "psd": "nonnegative", "invertible": "nonzero"}
        sign = signs.get(self.kinds[x])
        return self.atom("det", (((x,), sympy.Integer(1)),), sign)


def freeze_block(algebra, b):
    cells = [freeze(algebra.matrix(x)) for row in b.rows for x in row]
    return (("block", "+".join(map(str, b.sizes)), tuple(cells)),)

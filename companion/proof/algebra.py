"""Normal forms that decide equality of formulas in every dimension.

A matrix formula becomes a polynomial in noncommuting letters, `{word: coefficient}`
with commuting sympy coefficients. Letters carry a transpose and, if invertible, an
inverse; the inverse of a sum is a letter of its own with the relations n w = w n = 1.
The relations are completed (overlaps resolved, up to a bound), so that most words
reduce to one form. Equal normal forms prove equality for all dimensions. Unequal ones
prove nothing by themselves: `companion.proof.numeric` then looks for a counterexample.

A scalar formula becomes a sympy expression in atoms, one for each trace of a word (up
to rotation and transposition) and each determinant of a normal form.
"""

from __future__ import annotations

import sympy

from companion.proof import formula as f
from companion.proof.scalars import split_logs, substitute
from companion.proof.words import (
    add,
    dimension,
    freeze,
    multiply,
    scale,
    total,
    word_order,
)

MAX_RULES = 60
MAX_WORD = 14


class Algebra:
    """Letters, rewriting rules and atoms for the formulas of one decision.

    `opaque` lists `Let`s to be kept as letters of their own.
    """

    def __init__(self, opaque=()):
        self.opaque = tuple(opaque)
        self.letters = {}  # key -> letter name
        self.transposed = {}  # letter -> letter
        self.means = {}  # letter -> normal form of its expectation
        self.sizes = {}  # letter -> (rows, cols)
        self.inverses = {}  # letter -> letter, both ways
        self.inverse_of = {}  # inverse letter of a sum -> that sum
        self.rules = {}  # word -> normal form
        self.atoms = {}  # (kind, key) -> sympy symbol
        self._alive = []
        self.pairs = ()  # replacements of determinants, made inside expectations

    # --- letters -----------------------------------------------------------

    def _new_letter(self, key, shape, symmetric):
        if key in self.letters:
            return self.letters[key]
        name = f"{len(self.sizes):03d}"
        self.letters[key] = name
        self.sizes[name] = shape
        if symmetric:
            self.transposed[name] = name
        else:
            twin = name + "'"
            self.sizes[twin] = shape[::-1]
            self.transposed[name], self.transposed[twin] = twin, name
        return name

    def _inverse_letter(self, letter):
        if letter not in self.inverses:
            base = self.transposed[letter] if letter.endswith("'") else letter
            flipped = self.transposed[base]
            inv = self._new_letter(("inv", base), self.sizes[base], base == flipped)
            self.inverses |= {base: inv, inv: base}
            if base != flipped:
                inv_t = self.transposed[inv]
                self.inverses |= {flipped: inv_t, inv_t: flipped}
            for a in {base, flipped}:
                b = self.inverses[a]
                self._add_rule((a, b), {(): sympy.Integer(1)})
                self._add_rule((b, a), {(): sympy.Integer(1)})
        return self.inverses[letter]

    def _inverse_of_sum(self, poly, shape):
        """The letter w with n w = w n = 1 for a normal form n of several words."""
        key, flipped = freeze(poly), freeze(self.transpose(poly))
        for known, w in (k for k in self.letters.items() if k[0][0] == "invsum"):
            if known[1] == key:
                return w
            if known[1] == flipped:
                return self.transposed[w]
        w = self._new_letter(("invsum", key), shape, key == flipped)
        self.inverse_of[w] = poly
        pairs = [(w, poly)]
        if key != flipped:
            self.inverse_of[self.transposed[w]] = self.transpose(poly)
            pairs.append((self.transposed[w], self.transpose(poly)))
        for letter, p in pairs:
            lead = max(p, key=word_order)
            for left, right in (((), (letter,)), ((letter,), ())):
                rhs = {(): 1 / p[lead]}
                for word, c in p.items():
                    if word != lead:
                        rhs = add(rhs, {left + word + right: -c / p[lead]})
                self._add_rule(left + lead + right, rhs)
            self._scalar_relations(letter, p, lead)
        self._complete()
        return w

    def _scalar_relations(self, w, poly, lead):
        """For n = q + u v': multiply n w = 1 by v' q^-1, and w n = 1 by q^-1 u.

        v' q^-1 u is then a scalar, which no overlap of words would find.
        """
        if len(lead) != 2 or self.sizes[lead[0]][1] != 1:
            return
        one = {(): sympy.Integer(1)}
        for word in poly:
            if len(word) == 1 and self.sizes[word[0]][0] == self.sizes[word[0]][1]:
                inverse = self._letter_inverse(word[0])
                left = multiply({lead[1:]: sympy.Integer(1)}, inverse)
                right = multiply(inverse, {lead[:1]: sympy.Integer(1)})
                n_w = add(multiply(poly, {(w,): sympy.Integer(1)}), scale(one, -1))
                w_n = add(multiply({(w,): sympy.Integer(1)}, poly), scale(one, -1))
                self._relate(multiply(left, n_w))
                self._relate(multiply(w_n, right))

    # --- rewriting ---------------------------------------------------------

    def _add_rule(self, word, poly):
        self.rules[word] = poly

    def reduce(self, poly):
        """Apply the rules until none fits."""
        todo, done = dict(poly), {}
        while todo:
            word, c = todo.popitem()
            if c == 0:
                continue
            stretch = self._closed(word)
            if stretch is not None:
                i, j = stretch
                todo = add(todo, {word[:i] + word[j:]: c * self._cyclic(word[i:j])})
                continue
            hit = self._find(word)
            if hit is None:
                done = add(done, {word: c})
                continue
            start, pattern = hit
            head, tail = word[:start], word[start + len(pattern) :]
            for w, k in self.rules[pattern].items():
                todo = add(todo, {head + w + tail: c * k})
        return {w: c for w, c in done.items() if c != 0}

    def _closed(self, word):
        """A proper stretch of the word that is 1 x 1: a scalar, to be pulled out."""
        for j in range(1, len(word)):
            if self.sizes[word[j]][1] == 1:
                for i in range(j, -1, -1):
                    if self.sizes[word[i]][0] == 1 and j + 1 - i < len(word):
                        return i, j + 1
        return None

    def _find(self, word):
        for start in range(len(word)):
            for pattern in self.rules:
                if word[start : start + len(pattern)] == pattern:
                    return start, pattern
        return None

    def _complete(self):
        """Resolve overlaps of rules (Knuth-Bendix), within the bounds."""
        seen, changed = set(), True
        while changed and len(self.rules) < MAX_RULES:
            changed = False
            for a in list(self.rules):
                for b in list(self.rules):
                    if (a, b) in seen:
                        continue
                    seen.add((a, b))
                    if len(self.rules) >= MAX_RULES:
                        return
                    for k in range(1, min(len(a), len(b))):
                        if a[-k:] == b[:k] and len(a) + len(b) - k <= MAX_WORD:
                            changed |= self._resolve(a, b, k)

    def _resolve(self, a, b, k):
        left = multiply(self.rules[a], {b[k:]: sympy.Integer(1)})
        right = multiply({a[:-k]: sympy.Integer(1)}, self.rules[b])
        return self._relate(add(left, scale(right, -1)))

    def _relate(self, poly):
        """Add the rule that poly = 0 implies; False if it implies nothing new."""
        gap = self.reduce(poly)
        gap = {w: sympy.cancel(c) for w, c in gap.items()}
        gap = {w: c for w, c in gap.items() if c != 0}
        if not gap:
            return False
        lead = max(gap, key=word_order)
        if not lead:
            raise ArithmeticError("the relations are contradictory")
        rest = {w: sympy.cancel(-c / gap[lead]) for w, c in gap.items() if w != lead}
        self._add_rule(lead, rest)
        return True

    def assume(self, poly):
        """Let this normal form be zero, and its transpose with it."""
        self._relate(poly)
        self._relate(self.transpose(poly))
        self._complete()

    # --- matrices ----------------------------------------------------------

    def transpose(self, poly):
        return {
            tuple(self.transposed[x] for x in reversed(word)): c
            for word, c in poly.items()
        }

    def matrix(self, e):
        """Normal form of a matrix formula (also of a 1 x 1 one)."""
        return self.reduce(self._matrix(e))

    def _matrix(self, e):
        match e:
            case f.Eye():
                return {(): sympy.Integer(1)}
            case f.Zero():
                return {}
            case f.Sym():
                return {(self._symbol(e),): sympy.Integer(1)}
            case f.Let() if e in self.opaque:
                symmetric = e.kind in ("symmetric", "psd", "pd")
                letter = self._new_letter(("let", id(e)), e.shape, symmetric)
                return {(letter,): sympy.Integer(1)}
            case f.Let():
                return self._matrix(e.definition)
            case f.Add():
                return total(self._matrix(t) for t in e.terms)
            case f.Mul():
                return self._product(e.factors)
            case f.Transpose():
                return self.transpose(self._matrix(e.arg))
            case f.Inv() if e.shape != f.SCALAR:
                return self._inverse(self.matrix(e.arg), e.shape)
            case f.Mean() if e.shape != f.SCALAR:
                return self.expect(self.matrix(e.arg))
            case _ if e.shape == f.SCALAR:
                return {(): self.scalar(e)}
        raise TypeError(f"no normal form for {type(e).__name__}")

    def _symbol(self, e):
        letter = self._new_letter(("sym", id(e)), e.shape, e.symmetric)
        self._alive.append(e)  # so that its id names no other symbol
        if e.mean is not None and letter not in self.means:
            self.means[letter] = self.matrix(e.mean)
            twin = self.transposed[letter]
            self.means[twin] = self.transpose(self.means[letter])
        return letter

    def _product(self, factors):
        """Product from the left; a stretch that closes to 1 x 1 is a scalar."""
        result, coefficient, open_rows = {(): sympy.Integer(1)}, sympy.Integer(1), None
        for factor in factors:
            if factor.shape == f.SCALAR:
                coefficient *= self.scalar(factor)
                continue
            if open_rows is None:
                open_rows = factor.shape[0]
            result = multiply(result, self._matrix(factor))
            if open_rows == 1 and factor.shape[1] == 1:
                coefficient *= self._trace_value(self.reduce(result), 1)
                result, open_rows = {(): sympy.Integer(1)}, None
        return scale(result, coefficient)

    def _inverse(self, poly, shape):
        if len(poly) == 1:
            ((word, c),) = poly.items()
            if all(self.sizes[x][0] == self.sizes[x][1] for x in word):
                inverse = {(): 1 / c}
                for x in reversed(word):
                    inverse = multiply(inverse, self._letter_inverse(x))
                return self.reduce(inverse)
        if not poly:
            raise ZeroDivisionError("inverse of the zero matrix")
        return {(self._inverse_of_sum(poly, shape),): sympy.Integer(1)}

    def _letter_inverse(self, x):
        if x in self.inverse_of:
            return self.inverse_of[x]
        return {(self._inverse_letter(x),): sympy.Integer(1)}

    def expect(self, poly):
        """Expectation of a normal form that is linear in the random letters."""
        out = {}
        for word, c in poly.items():
            spots = [i for i, x in enumerate(word) if x in self.means]
            if len(spots) > 1:
                raise NotImplementedError("expectation of a nonlinear word")
            if not spots:
                out = add(out, {word: c})
                continue
            i = spots[0]
            inner = multiply({word[:i]: c}, self.means[word[i]])
            out = add(out, multiply(inner, {word[i + 1 :]: sympy.Integer(1)}))
        return self.reduce(out)

    # --- scalars -----------------------------------------------------------

    def scalar(self, e):
        """The sympy expression of a scalar formula, in traces and determinants."""
        match e:
            case f.Const():
                return e.value
            case f.Let():
                return self.scalar(e.definition)
            case f.Add():
                return sum((self.scalar(t) for t in e.terms), sympy.Integer(0))
            case f.Inv():
                return 1 / self.scalar(e.arg)
            case f.Log():
                return sympy.log(self.scalar(e.arg))
            case f.Tr():
                return self._trace_value(self.matrix(e.arg), e.arg.shape[0])
            case f.Det() if isinstance(e.arg, f.Block):
                return self.atom("det", freeze_block(self, e.arg))
            case f.Det():
                return self.determinant(self.matrix(e.arg), e.arg.shape[0])
            case f.Mean():
                return self._mean_value(e.arg)
            case f.Mul() if all(x.shape == f.SCALAR for x in e.factors):
                return sympy.prod(self.scalar(x) for x in e.factors)
            case f.Mul() | f.Transpose() | f.Sym():
                return self._trace_value(self.matrix(e), 1)
        return e.lower(self)  # a leaf that another module adds

    def atom(self, kind, key):
        if (kind, key) not in self.atoms:
            name = f"{kind}{len(self.atoms)}"
            positive = True if kind == "det" else None
            self.atoms[kind, key] = sympy.Symbol(name, real=True, positive=positive)
        return self.atoms[kind, key]

    def _trace_value(self, poly, size):
        out = sympy.Integer(0)
        for word, c in poly.items():
            out += c * (self._cyclic(word) if word else dimension(size))
        return out

    def _cyclic(self, word):
        """Value of tr(word), the same for every rotation and for the transpose."""
        starts = range(len(word))
        closed = [k for k in starts if self.sizes[word[k]][0] == 1]
        for k in closed or starts:
            turned = word[k:] + word[:k]
            reduced = self.reduce({turned: sympy.Integer(1)})
            if reduced != {turned: 1}:
                return self._trace_value(reduced, self.sizes[turned[0]][0])
        flipped = tuple(self.transposed[x] for x in reversed(word))
        turns = [w[k:] + w[:k] for w in (word, flipped) for k in range(len(word))]
        return self.atom("tr", min(turns))

    def _mean_value(self, e):
        """E[scalar]: linear in traces; any other random atom stays inside E."""
        value = sympy.expand(split_logs(substitute(self.scalar(e), self.pairs)))
        out = sympy.Integer(0)
        for term in sympy.Add.make_args(value):
            random = [s for s in term.free_symbols if self._is_random(s)]
            if not random:
                out += term
                continue
            out += self._mean_term(term, random)
        return out

    def _mean_term(self, term, random):
        kinds = {a: key for key, a in self.atoms.items()}
        if len(random) == 1:
            kind, key = kinds[random[0]]
            rest = sympy.cancel(term / random[0])
            if kind == "tr" and not rest.has(random[0]):
                mean = self.expect({key: sympy.Integer(1)})
                return rest * self._trace_value(mean, self.sizes[key[0]][0])
        constant, random_part = term.as_independent(*random)
        return constant * self.atom("mean", random_part)

    def _is_random(self, symbol):
        for (kind, key), atom in self.atoms.items():
            if atom == symbol:
                words = [key] if kind == "tr" else [w for w, _ in key if w != "block"]
                return any(self._touches(x) for w in words for x in w)
        return False

    def _touches(self, letter):
        if letter in self.means or self.transposed.get(letter) in self.means:
            return True
        poly = self.inverse_of.get(letter, {})
        base = self.inverses.get(letter)
        return base in self.means or any(self._touches(x) for w in poly for x in w)

    def determinant(self, poly, size):
        """det of a normal form: multiplicative on words, one atom for a sum."""
        if size == 1:
            return self._trace_value(poly, 1)
        if len(poly) == 1:
            ((word, c),) = poly.items()
            if all(self.sizes[x][0] == self.sizes[x][1] for x in word):
                value = c ** dimension(size)
                for x in word:
                    value *= self._letter_det(x)
                return value
        return self.atom("det", min(freeze(poly), freeze(self.transpose(poly))))

    def _letter_det(self, x):
        if x in self.inverse_of:
            return 1 / self.determinant(self.inverse_of[x], self.sizes[x][0])
        base = self.inverses.get(x)
        if base is not None and self.letters.get(("inv", base)) == x:
            return 1 / self._letter_det(base)
        x = min(x, self.transposed[x])
        return self.atom("det", (((x,), sympy.Integer(1)),))


def freeze_block(algebra, b):
    cells = [freeze(algebra.matrix(x)) for row in b.rows for x in row]
    return (("block", tuple(cells)),)

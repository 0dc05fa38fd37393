"""Noncommuting letters and their rewriting rules.

A letter stands for a matrix: it has a size, a kind, a transpose and, if invertible, an
inverse. The inverse of a sum n is a letter w of its own with n w = w n = 1. These
relations are completed (overlaps resolved, up to a bound), so that most words reduce to
one form.
"""

from __future__ import annotations

import sympy

from companion.proof.formula import SYMMETRIC
from companion.proof.scalars import is_nonzero
from companion.proof.words import add, freeze, multiply, scale, word_order

MAX_RULES = 60
MAX_WORD = 14
ONE = sympy.Integer(1)


class Letters:
    """The letters of one decision, and what is known about their products."""

    def __init__(self):
        self.letters = {}  # key -> letter name
        self.transposed = {}  # letter -> letter
        self.means = {}  # letter -> normal form of its expectation
        self.random = set()  # letters that stand for something random
        self.sizes = {}  # letter -> (rows, cols)
        self.kinds = {}  # letter -> kind, as of a `Sym`
        self.inverses = {}  # letter -> letter, both ways
        self.inverse_of = {}  # inverse letter of a sum -> that sum
        self.expanded = {}  # inverse letter of a rank-one update -> its expansion
        self.rules = {}  # word -> normal form

    # --- letters -----------------------------------------------------------

    def _new_letter(self, key, shape, kind, symmetric=False):
        if key in self.letters:
            return self.letters[key]
        name = f"{len(self.sizes):03d}"
        self.letters[key] = name
        self.sizes[name], self.kinds[name] = shape, kind
        if symmetric or kind in SYMMETRIC:
            self.transposed[name] = name
        else:
            twin = name + "'"
            self.sizes[twin], self.kinds[twin] = shape[::-1], kind
            self.transposed[name], self.transposed[twin] = twin, name
        return name

    def _inverse_letter(self, letter):
        if letter not in self.inverses:
            base = self.transposed[letter] if letter.endswith("'") else letter
            flipped = self.transposed[base]
            kind = "pd" if self.kinds[base] in ("psd", "pd") else "invertible"
            shape = self.sizes[base]
            inv = self._new_letter(("inv", base), shape, kind, base == flipped)
            self.inverses |= {base: inv, inv: base}
            if base != flipped:
                inv_t = self.transposed[inv]
                self.inverses |= {flipped: inv_t, inv_t: flipped}
            for a in {base, flipped}:
                b = self.inverses[a]
                self._add_rule((a, b), {(): ONE})
                self._add_rule((b, a), {(): ONE})
            self._complete()
        return self.inverses[letter]

    def _inverse_of_sum(self, poly, shape, positive):
        """The letter w with n w = w n = 1 for a normal form n of several words."""
        key, flipped = freeze(poly), freeze(self.transpose(poly))
        for known, w in (k for k in self.letters.items() if k[0][0] == "invsum"):
            if known[1] == key:
                return w
            if known[1] == flipped:
                return self.transposed[w]
        for word in poly:  # inverses of its parts first: relations then rewrite w
            if len(word) == 1 and self._has_inverse(word[0]):
                self._letter_inverse(word[0])
        kind = "pd" if positive else "invertible"
        w = self._new_letter(("invsum", key), shape, kind, key == flipped)
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
            self._expand(letter, p)
        self._complete()
        return w

    def _scalar_relations(self, w, poly, lead):
        """For n = q + u v': multiply n w = 1 by v' q^-1, and w n = 1 by q^-1 u.

        v' q^-1 u is then a scalar, which no overlap of words would find.
        """
        if len(lead) != 2 or self.sizes[lead[0]][1] != 1:
            return
        one = {(): ONE}
        for word in poly:
            if len(word) == 1 and self._has_inverse(word[0]):
                inverse = self._letter_inverse(word[0])
                left = multiply({lead[1:]: ONE}, inverse)
                right = multiply(inverse, {lead[:1]: ONE})
                n_w = add(multiply(poly, {(w,): ONE}), scale(one, -1))
                w_n = add(multiply({(w,): ONE}, poly), scale(one, -1))
                self._relate(multiply(left, n_w))
                self._relate(multiply(w_n, right))

    def _expand(self, w, poly):
        """Sherman and Morrison, for n = a q + b u v': n^-1 without a letter of its own.

        Its traces and quadratic forms are expanded, and then compare with those of q.
        a q and n are invertible, so 1 + b v' q^-1 u / a is not zero.
        """
        if len(poly) != 2:
            return
        (q, a), (outer, b) = sorted(poly.items(), key=lambda item: len(item[0]))
        if len(q) != 1 or len(outer) != 2 or self.sizes[outer[0]][1] != 1:
            return
        if not self._has_inverse(q[0]):
            return
        inverse = scale(self._letter_inverse(q[0]), 1 / a)
        right, left = multiply(inverse, {outer[:1]: ONE}), {outer[1:]: ONE}
        form = sum(c * self._cyclic(word) for word, c in multiply(left, right).items())
        share = -b / (1 + b * form)
        update = scale(multiply(multiply(right, left), inverse), share)
        self.expanded[w] = add(inverse, update)
        if len(update) == 1:  # the same, as a rule for the matrix
            ((word, c),) = update.items()
            gap = add({(w,): ONE}, scale(inverse, -1))
            self._add_rule(word, scale(gap, 1 / c))

    def _has_inverse(self, letter):
        return letter in self.inverses or self.kinds[letter] in ("pd", "invertible")

    def _letter_inverse(self, x):
        if x in self.inverse_of:
            return self.inverse_of[x]
        return {(self._inverse_letter(x),): ONE}

    def inverse_word(self, word):
        """Normal form of the inverse of a product of square letters."""
        inverse = {(): ONE}
        for x in reversed(word):
            inverse = multiply(inverse, self._letter_inverse(x))
        return self.reduce(inverse)

    def is_square(self, word):
        """Is every letter of the word square?"""
        return all(self.sizes[x][0] == self.sizes[x][1] for x in word)

    def transpose(self, poly):
        return {
            tuple(self.transposed[x] for x in reversed(word)): c
            for word, c in poly.items()
        }

    def touches(self, letter):
        """Does the letter stand for something that depends on a random symbol?"""
        flipped = self.transposed[letter]
        if letter in self.random or flipped in self.random:
            return True
        base = self.inverses.get(letter)
        if base in self.random or self.transposed.get(base) in self.random:
            return True
        inner = self.inverse_of.get(letter, {})
        return any(
            self.random_scalar(c) or any(self.touches(x) for x in word)
            for word, c in inner.items()
        )

    def random_scalar(self, e):
        """Does a coefficient depend on a random symbol? See `Algebra`."""
        raise NotImplementedError

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

    def _cyclic(self, word):
        """The number that a closed word is. See `Algebra`."""
        raise NotImplementedError

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
        left = multiply(self.rules[a], {b[k:]: ONE})
        right = multiply({a[:-k]: ONE}, self.rules[b])
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
        if not is_nonzero(gap[lead]):
            return False  # the coefficient may vanish, and then the word need not
        rest = {w: sympy.cancel(-c / gap[lead]) for w, c in gap.items() if w != lead}
        self._add_rule(lead, rest)
        return True

    def assume(self, poly):
        """Let this normal form be zero, and its transpose with it."""
        self._relate(poly)
        self._relate(self.transpose(poly))
        self._complete()

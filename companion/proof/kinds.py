"""What a formula is for every value of its symbols: positive, invertible, symmetric.

A kind is proved, by closure (sums and congruences of psd matrices are psd, inverses of
pd ones are pd), or declared of a symbol, or a premise of the step. Nothing else makes a
matrix invertible or a number positive. No is only "not proved".
"""

from __future__ import annotations

import functools

import sympy

from companion.proof import formula as f
from companion.proof.letters import Letters
from companion.proof.scalars import is_nonnegative, is_nonzero, is_positive
from companion.proof.words import add, scale


def remembered(method):
    """Keep a method's answer for each node of a tree."""

    @functools.wraps(method)
    def wrapper(self, e):
        key = (method.__name__, id(e))
        if key not in self.answers:
            self.answers[key] = e, method(self, e)  # e, so that its id stays its own
        return self.answers[key][1]

    return wrapper


class Kinds(Letters):
    """Provers of kinds: on the tree, where congruences show, then on normal forms."""

    def __init__(self):
        super().__init__()
        self.answers = {}
        self.known_pd = []  # normal forms that a premise makes positive definite
        self.known_psd = []
        self.known_invertible = []
        self.known_positive = []  # scalars that a premise makes positive
        self.known_nonzero = []

    def positive(self, e):
        return is_positive(e, self.known_positive)

    def nonnegative(self, e):
        return is_nonnegative(e, self.known_positive)

    def nonzero(self, e):
        return is_nonzero(e, self.known_positive, self.known_nonzero)

    # --- on the tree ---------------------------------------------------------

    @remembered
    def is_psd(self, e):
        """Is e symmetric positive semidefinite (a scalar: not negative)?"""
        if e.shape == f.SCALAR:
            return self.nonnegative(self.scalar(e)) or self._quadratic_form(e)
        if e.shape[0] != e.shape[1]:
            return False
        match e:
            case f.Eye() | f.Zero():
                return True
            case f.Sym() if e.kind in ("psd", "pd"):
                return True
            case f.Let():
                return self.is_psd(e.definition)
            case f.Inv() | f.Transpose() | f.Mean():  # what is inverted is invertible
                return self.is_psd(e.arg)
            case f.Add() if all(self.is_psd(t) for t in e.terms):
                return True
            case f.Mul() if self._congruence(e.factors, self.is_psd):
                return True
        known = (*self.known_psd, *self.known_pd)
        return self.poly_psd(self.matrix(e)) or self._is_known(self.matrix(e), known)

    def _quadratic_form(self, e):
        """x' M x, a scalar, with psd M."""
        if isinstance(e, f.Let):
            return self._quadratic_form(e.definition)
        return isinstance(e, f.Mul) and self._congruence(e.factors, self.is_psd)

    @remembered
    def is_pd(self, e):
        """Is e symmetric positive definite (a scalar: positive)?"""
        if e.shape == f.SCALAR:
            return self.positive(self.scalar(e))
        if e.shape[0] != e.shape[1]:
            return False
        match e:
            case f.Eye():
                return True
            case f.Sym() if e.kind == "pd":
                return True
            case f.Let():
                return self.is_pd(e.definition)
            case f.Inv():
                return self.is_psd(e.arg)
            case f.Transpose() | f.Mean():
                return self.is_pd(e.arg)
            case f.Add() if all(self.is_psd(t) for t in e.terms):
                if any(self.is_pd(t) for t in e.terms):
                    return True
            case f.Mul() if self._congruence(e.factors, self.is_pd):
                return True
        return self.poly_pd(self.matrix(e)) or self.is_pd_by_premise(e)

    def is_pd_by_premise(self, e):
        return self._is_known(self.matrix(e), self.known_pd)

    def is_symmetric(self, e):
        poly = self.matrix(e)
        return self._is_known(poly, [self.transpose(poly)])

    @remembered
    def is_invertible(self, e):
        if e.shape == f.SCALAR:
            return self.nonzero(self.scalar(e))
        match e:
            case f.Eye() | f.Inv():
                return True
            case f.Sym() if e.kind in ("invertible", "pd"):
                return True
            case f.Sym() if e.among is not None and e.among.invertible:
                return True
            case f.Let():
                return self.is_invertible(e.definition)
            case f.Transpose():
                return self.is_invertible(e.arg)
            case f.Mul() if all(x.shape[0] == x.shape[1] for x in e.factors):
                if all(self.is_invertible(x) for x in e.factors):
                    return True
        return self.det_is_positive(e) or self.invertible_poly(self.matrix(e))

    @remembered
    def det_is_positive(self, e):
        match e:
            case f.Let():
                return self.det_is_positive(e.definition)
            case f.Inv() | f.Transpose():
                return self.det_is_positive(e.arg)
            case f.Mul() if self._product_of_positive(e.factors):
                return True
            case f.Add() if self._one_plus_product(e.terms):
                return True
        return self.is_pd(e) or self.poly_det_positive(self.matrix(e))

    def _product_of_positive(self, factors):
        scalars, matrices = parted(factors)
        if not self.positive(self._product_of(scalars)):
            return False
        square = all(x.shape[0] == x.shape[1] for x in matrices)
        if square and len(matrices) > 1 and all(map(self.det_is_positive, matrices)):
            return True
        return self._congruence(factors, self.det_is_positive)

    def _one_plus_product(self, terms):
        """c I + A B with psd A, B: no eigenvalue of A B is negative."""
        rest = [t for t in terms if not self._is_positive_scale(t)]
        if len(rest) != 1 or len(rest) == len(terms) or not isinstance(rest[0], f.Mul):
            return False
        scalars, matrices = parted(rest[0].factors)
        if not self.nonnegative(self._product_of(scalars)):
            return False
        groups = ((matrices[:k], matrices[k:]) for k in range(1, len(matrices)))
        return any(
            all(self._congruence(part, self.is_psd) for part in pair)
            for pair in groups
            if pair[0][0].shape[0] == pair[0][-1].shape[1]
        )

    def _is_positive_scale(self, e):
        """Is e a positive multiple of the identity?"""
        if isinstance(e, f.Mul):
            scalars, matrices = parted(e.factors)
            identity = len(matrices) == 1 and isinstance(matrices[0], f.Eye)
            return identity and self.positive(self._product_of(scalars))
        return isinstance(e, f.Eye)

    def _product_of(self, scalars):
        return sympy.Mul(*(self.scalar(x) for x in scalars))

    def _congruence(self, factors, middle):
        """Is c V' M V of the kind that `middle` decides M to be?

        For a definite M the outer factors have to be invertible.
        """
        scalars, matrices = parted([y for x in factors for y in opened(x)])
        outer_free = middle == self.is_psd
        sign = self.nonnegative if outer_free else self.positive
        each = self.is_psd if outer_free else self.is_pd
        if not (sign(self._product_of(scalars)) or all(map(each, scalars))):
            return False
        while len(matrices) > 1:
            if not outer_free and self.is_pd_by_premise(f.Mul(tuple(matrices))):
                return True
            first, last = matrices[0], matrices[-1]
            if first.shape != last.shape[::-1]:
                return False
            gap = add(self.transpose(self.matrix(first)), scale(self.matrix(last), -1))
            if self.reduce(gap):
                return False
            square = first.shape[0] == first.shape[1]
            if not (outer_free or (square and self.is_invertible(first))):
                return False
            matrices = matrices[1:-1]
        return not matrices or middle(matrices[0])

    # --- on normal forms -----------------------------------------------------

    def _is_known(self, poly, others):
        """Is poly one of these normal forms?"""
        return any(
            all(sympy.cancel(c) == 0 for c in self.reduce(gap).values())
            for gap in (add(poly, scale(other, -1)) for other in others)
        )

    def word_kind(self, word):
        """ "pd" or "psd" if the word is a congruence V' M V of such an M, else ""."""
        definite = True
        while len(word) > 1:
            first, last = word[0], word[-1]
            if self.transposed[first] != last:
                return ""
            definite &= self._has_inverse(first)
            word = word[1:-1]
        kind = self.kinds[word[0]] if word else "pd"
        if kind not in ("psd", "pd"):
            return ""
        return "pd" if definite and kind == "pd" else "psd"

    def poly_psd(self, poly):
        return all(self.word_kind(w) and self.nonnegative(c) for w, c in poly.items())

    def poly_pd(self, poly):
        return self.poly_psd(poly) and any(
            self.word_kind(w) == "pd" and self.positive(c) for w, c in poly.items()
        )

    def invertible_poly(self, poly):
        if self._is_known(poly, self.known_invertible):
            return True
        if self._is_known(self.transpose(poly), self.known_invertible):
            return True
        if len(poly) != 1:
            return False
        ((word, c),) = poly.items()
        letters = self.is_square(word) and all(map(self._has_inverse, word))
        return letters and self.nonzero(c)

    def poly_det_positive(self, poly):
        if not poly:
            return False
        if self.poly_pd(poly) or self._is_known(poly, self.known_pd):
            return True
        if len(poly) == 1:
            ((word, c),) = poly.items()
            return self.positive(c) and self._word_det_positive(word)
        return any(
            self._one_plus(p) or self._multiple(p) for p in (poly, self.transpose(poly))
        )

    def _multiple(self, poly):
        """M w with a letter w that every word ends in."""
        ends = {word[-1:] for word in poly}
        if len(ends) != 1 or not self._word_det_positive(*ends):
            return False
        return self.poly_det_positive({word[:-1]: c for word, c in poly.items()})

    def _word_det_positive(self, word):
        """Positive letters, and others an even number of times."""
        if not (self.is_square(word) and all(map(self._has_inverse, word))):
            return False
        odd = set()
        for x in word:
            inverse = self.inverses.get(x, x)
            family = {x, inverse, self.transposed[x], self.transposed[inverse]}
            if self.kinds[x] != "pd":
                odd ^= {min(family)}
        return not odd

    def _one_plus(self, poly):
        """c I + M R, M and R psd; or R invertible, c R^-1 + M pd and det R > 0."""
        shift = poly.get((), sympy.Integer(0))
        rest = {w: c for w, c in poly.items() if w}
        if not self.positive(shift):
            return False
        shortest = min(rest, key=len)
        for k in range(1, len(shortest) + 1):
            tail = shortest[-k:]
            if self.sizes[tail[0]][0] != self.sizes[tail[-1]][1]:
                continue
            if any(w[-k:] != tail for w in rest):
                continue
            left = {w[:-k]: c for w, c in rest.items()}
            if self.word_kind(tail) and self.poly_psd(left):
                return True
            if self._word_det_positive(tail):
                both = add(scale(self.inverse_word(tail), shift), left)
                if self.poly_pd(self.reduce(both)):
                    return True
        return False


def parted(factors):
    """The scalars of a product, and its matrices."""
    scalars = [x for x in factors if x.shape == f.SCALAR]
    return scalars, [x for x in factors if x.shape != f.SCALAR]


def opened(x):
    """(A B)' as the factors B', A'."""
    if isinstance(x, f.Transpose) and isinstance(x.arg, f.Mul):
        return [y.T for y in reversed(x.arg.factors)]
    return [x]

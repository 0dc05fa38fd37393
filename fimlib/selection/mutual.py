"""Greedy batches of what they share with other examples: LogDetMI, CG and CMI.

In the similarity submodular functions of Kothawade et al. 2021 (SIMILAR,
arXiv:2107.00717; PRISM, arXiv:2103.00128), for general posteriors and roots (T34, T35):
gains carry the 1/2 of an information, so that the functions' values are twice their
sum. eta and nu multiply the covariances between the pool and the other examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fimlib import linalg
from fimlib._checks import positive_float
from fimlib.fisher.roots import FisherRoots, in_memory, outer
from fimlib.posterior.gaussian import GaussianPosterior
from fimlib.posterior.span import Form
from fimlib.selection.covariances import Columns, Pool, pool_of, rounding, trace
from fimlib.selection.greedy import (
    ROUNDING,
    Candidates,
    Gains,
    greedily,
    greedy_log_det,
    ties,
)
from fimlib.selection.result import Selection, check_roots, checked_batch_size

_INDEFINITE = (
    "{} must leave the joint kernel of the pool and the other examples positive "
    "definite, for its log-determinant to exist, got {}: {}"
)


def log_det_mi(
    roots: FisherRoots,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
    batch_size: int,
    eta: float = 1.0,
) -> Selection:
    """The greedy batch for the JEPIG of all evaluation examples together (T34).

    Gains in nats are the increments of 1/2 log det(I + F_A P^{-1}) - 1/2 log det(I +
    F_A (P + F_E)^{-1}), half of LogDetMI. It is not submodular (T49): every gain is
    computed in every step, and (1 - 1/e) does not hold. eta other than 1 multiplies
    the covariances between pool and evaluation examples; above 1 they may belong to no
    joint distribution. Ties, zero gains, notes and large roots as in `greedy_log_det`.

    Raises ValueError for what is not roots, empty ones, a posterior of another size, a
    batch larger than the pool, and where eta makes the joint kernel indefinite, with an
    eta that does not.

    >>> pool = FisherRoots.from_dense([[9.0, 0.0], [0.0, 1.0]])
    >>> asked = FisherRoots.from_dense([[0.0, 1.0]])
    >>> post = GaussianPosterior.isotropic(2, 1.0)
    >>> log_det_mi(pool, asked, post, 1).indices.tolist()
    [1]
    """
    check_roots(roots, "roots", post)
    check_roots(eval_roots, "eval_roots", post)
    batch_size = checked_batch_size(batch_size, len(roots))
    eta = positive_float(eta, "eta")
    post, roots, eval_roots = post.shared(roots, eval_roots)
    roots = in_memory(roots)
    refusal = None if eta == 1.0 else _refusal("eta", eta)

    def start(chosen: list[int]) -> Any:
        now = post.update(roots[chosen]) if chosen else post
        pool = pool_of(roots, now, eval_roots, by_blocks=not chosen)
        m = pool.frame.m
        gap = eta**2 * m / (1 + m)
        left = 1 / (1 + m) if eta == 1.0 else 1 - gap
        forms, steps = (Form(left), Form(gap, rest=False)), batch_size - len(chosen)
        return Shared(pool, steps, forms, chosen, refusal and refusal(m))

    return greedily(start, batch_size)


def log_det_cg(
    roots: FisherRoots,
    private_roots: FisherRoots,
    post: GaussianPosterior,
    batch_size: int,
    nu: float = 1.0,
) -> Selection:
    """The greedy batch for the joint EIG given the private examples T (T35).

    Gains in nats are the increments of 1/2 log det(I + F_A (P + F_T)^{-1}); LogDetCG
    is twice that and, where its kernel is lambda I + S, K log lambda. nu other than 1
    multiplies the covariances between the pool and T; above 1 gains may be negative.
    Submodular, and lazy, like `greedy_log_det`. Raises ValueError for what is not
    roots, empty ones, a posterior of another size, a batch larger than the pool, and
    where nu makes the joint kernel indefinite, with a nu that does not.

    >>> pool = FisherRoots.from_dense([[3.0, 0.0], [0.0, 2.0]])
    >>> known = FisherRoots.from_dense([[9.0, 0.0]])
    >>> post = GaussianPosterior.isotropic(2, 1.0)
    >>> log_det_cg(pool, known, post, 1).indices.tolist()
    [1]
    """
    check_roots(roots, "roots", post)
    check_roots(private_roots, "private_roots", post)
    batch_size = checked_batch_size(batch_size, len(roots))
    nu = positive_float(nu, "nu")
    if nu == 1.0:
        return greedy_log_det(roots, post.update(private_roots), batch_size)
    post, roots, private_roots = post.shared(roots, private_roots)
    pool = pool_of(in_memory(roots), post, private_roots)
    m = pool.frame.m
    form = Form(1 - nu**2 * m / (1 + m))

    def start(chosen: list[int]) -> Any:
        return Gains(pool, batch_size, form, refusal=_refusal("nu", nu)(m))

    return greedily(start, batch_size)


def log_det_cmi(
    roots: FisherRoots,
    eval_roots: FisherRoots,
    private_roots: FisherRoots,
    post: GaussianPosterior,
    batch_size: int,
    eta: float = 1.0,
    nu: float = 1.0,
) -> Selection:
    """The greedy batch for the JEPIG given the private examples T (T35).

    `log_det_mi` under P + F_T; half of LogDetCMI. eta and nu multiply the covariances
    of the pool with the evaluation and with the private examples; other than 1 they
    need the rows of both in memory, (E + T) r D numbers. Raises ValueError for what is
    not roots, empty ones, a posterior of another size, a batch larger than the pool,
    and where eta and nu make the joint kernel indefinite.

    >>> pool = FisherRoots.from_dense([[3.0, 0.0], [0.0, 2.0]])
    >>> known = FisherRoots.from_dense([[9.0, 0.0]])
    >>> post = GaussianPosterior.isotropic(2, 1.0)
    >>> log_det_cmi(pool, pool, known, post, 1).indices.tolist()
    [1]
    """
    check_roots(roots, "roots", post)
    check_roots(eval_roots, "eval_roots", post)
    check_roots(private_roots, "private_roots", post)
    batch_size = checked_batch_size(batch_size, len(roots))
    eta, nu = positive_float(eta, "eta"), positive_float(nu, "nu")
    if eta == 1.0 and nu == 1.0:
        return log_det_mi(roots, eval_roots, post.update(private_roots), batch_size)
    post, roots, *others = post.shared(roots, eval_roots, private_roots)
    evals, private = (one.rows() for one in others)
    both = FisherRoots(torch.cat([evals, private])[:, None])
    pool = pool_of(in_memory(roots), post, both)
    left, gap = _scaled_forms(pool, evals, private, eta, nu)
    forms = Form(left), Form(gap, rest=False)
    refusal = _INDEFINITE.format(
        "eta and nu", (eta, nu), "equal ones up to 1 always do"
    )

    def start(chosen: list[int]) -> Any:
        return Shared(pool, batch_size, forms, refusal=refusal)

    return greedily(start, batch_size)


class Shared(Candidates):
    """Gains of what examples share with others, none of them ever out of date.

    forms: what is left of S given the others, and what they take of it, the gap.
    """

    def __init__(
        self,
        pool: Pool,
        steps: int,
        forms: tuple[Form, Form],
        taken: Sequence[int] = (),
        refusal: str | None = None,
    ) -> None:
        self.left, self.gap = pool.grams(*forms)
        self.left_size = trace(self.left)
        size = self.left_size + trace(self.gap)
        super().__init__(pool, size, taken, refusal)
        self.forms = forms
        self.columns = Columns(pool, steps), Columns(pool, steps)
        self._rate()

    def best(self) -> int:
        """The example of the largest gain, the first of those that tie."""
        top = int(self.gains.argmax())
        if self.lost(top):
            return top
        return int(ties(self.gains, top, self.rounding(top))[0])

    def rounding(self, index: int) -> Tensor:
        """Rounding in the gain of an example, in nats."""
        left, gap = self.left[index], self.gap[index]
        # At first the gap is a Gram block itself, and no difference of larger ones.
        size = self.size[index] if self.count else trace(gap)
        # An error in what is left cancels but for what the gap changes.
        apart = rounding(left, self.left_size[index])
        return apart + rounding(left + gap, size - self.left_size[index])

    def add(self, index: int) -> None:
        """Take an example."""
        left, gap = self.pool.columns(index, *self.forms)
        grams = self.left[index], self.left[index] + self.gap[index]
        new = [
            columns.add(index, vectors, gram)
            for columns, vectors, gram in zip(
                self.columns, (left, left + gap), grams, strict=True
            )
        ]
        rows = self.pool.product(None, torch.cat(new, dim=1))
        lost, whole = (outer(one) for one in rows.chunk(2, dim=2))
        self.left -= lost
        self.gap -= whole - lost
        self.taken[index] = True
        self.count = self.columns[0].count
        self._rate()

    def _rate(self) -> None:
        gains = _shared(self.left, self.gap)
        if self.refusal:
            gains[trace(self.gap) <= ROUNDING * self.size] = 0.0
            if gains[~self.taken].isnan().any():
                raise ValueError(self.refusal)
        self.gains = gains.masked_fill(self.taken, -torch.inf)


def _shared(left: Tensor, gap: Tensor) -> Tensor:
    """1/2 log det(I + G + gap) - 1/2 log det(I + G) (M,) of G = left, as one log det.

    NaN where I + G is not positive definite.
    """
    share = linalg.relative(gap, left)
    gains = linalg.log_det_identity_plus_rest(share) / 2
    return torch.where(share[:, 0, 0].isnan(), torch.nan, gains)


def _refusal(name: str, value: float) -> Callable[[Tensor], str]:
    def text(m: Tensor) -> str:
        top = float(m.max()) if len(m) else 0.0
        safe = math.sqrt((1 + top) / top) if top > 0 else math.inf
        return _INDEFINITE.format(name, value, f"any up to {safe:.6g} does")

    return text


def _scaled_forms(
    pool: Pool, evals: Tensor, private: Tensor, eta: float, nu: float
) -> tuple[Tensor, Tensor]:
    """What is left of S given T and E, and what E takes of it beyond T, (k, k) each.

    With t and q the rows of T and E in coordinates where S = I, and Y Y^T what T takes:
    Y = t^T (I + t t^T)^{-1/2}; E takes B B^T, B = (eta I - nu Y Y^T) q^T C^{-T}, with
    C C^T = I + q (I - Y Y^T) q^T.
    """
    t, q = pool.coordinates(private), pool.coordinates(evals)
    _, s, v = torch.linalg.svd(t, full_matrices=False)
    taken = (v.mT * (s.square() / (1 + s.square()))) @ v
    if len(q) > q.shape[1]:
        q = torch.linalg.qr(q, mode="r")[1]
    eye = torch.eye(len(v.mT)).to(v)
    inner = q - (q @ v.mT * (1 - 1 / (1 + s.square()).sqrt())) @ v
    factor = torch.linalg.cholesky(torch.eye(len(q)).to(q) + inner @ inner.mT)
    b = torch.linalg.solve_triangular(factor, q @ (eta * eye - nu * taken), upper=False)
    gap = b.mT @ b
    return eye - nu**2 * taken - gap, gap

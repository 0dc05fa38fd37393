"""Greedy batches of what they share with other examples: LogDetMI, CG and CMI.

In the similarity submodular functions of Kothawade et al. 2021 (SIMILAR,
arXiv:2107.00717; PRISM, arXiv:2103.00128), for general posteriors and roots (T34, T35):
gains carry the 1/2 of an information, so that the functions' values are twice their
sum. eta and nu multiply the covariances between the pool and the other examples.
"""

import math
from typing import Any

import torch
from torch import Tensor

from fimlib import linalg
from fimlib._checks import positive_float
from fimlib.fisher.roots import FisherRoots, outer
from fimlib.posterior.frame import Form
from fimlib.posterior.gaussian import GaussianPosterior
from fimlib.selection.covariances import Columns, Pool, held, pool_of, rounding, trace
from fimlib.selection.greedy import NOISE, Candidates, Gains, greedily, greedy_log_det
from fimlib.selection.result import Selection, checked_pool

_INDEFINITE = (
    "{} must leave the joint kernel of the pool and the other examples positive "
    "definite, for its log-determinant to exist, got {}: {}"
)


def log_det_mi(
    roots: FisherRoots, eval_roots: FisherRoots, post: GaussianPosterior,
    batch_size: int, eta: float = 1.0,
) -> Selection:  # fmt: skip
    """Return the greedy batch for the JEPIG of all evaluation examples together (T34).

    Of roots (M, r, D) with eval_roots (E, r', D) under `post`, `batch_size` examples by
    the increments, in nats, of 1/2 log det(I + F_A P^{-1}) - 1/2 log det(I +
    F_A (P + F_E)^{-1}), half of LogDetMI. Not submodular (T49): every step computes
    every gain, and (1 - 1/e) does not hold. Above eta = 1 there may be no joint
    distribution. Ties, zeros, notes and ValueErrors as in `greedy_log_det`; one where
    eta makes the joint kernel indefinite names an eta that does not.

    >>> pool = FisherRoots.from_dense([[2.0, 0.0], [0.0, 1.0]])
    >>> post, asked = GaussianPosterior.isotropic(2, 1.0), pool[[1]]
    >>> log_det_mi(pool, asked, post, 1).gains  # 1/2 log(2 / (3 / 2))
    tensor([0.1438], dtype=torch.float64)
    """
    batch_size = checked_pool(roots, post, batch_size, eval_roots=eval_roots)
    eta = positive_float(eta, "eta")
    post, roots, eval_roots = post.shared(roots, eval_roots)
    roots = held(roots)

    def start(taken: list[int]) -> Shared:
        pool = pool_of(roots, post, eval_roots, taken)
        m = pool.frame.m
        gap = eta**2 * m / (1 + m)
        if eta == 1.0:
            return Shared(pool, batch_size, 1 / (1 + m), gap)
        return Shared(pool, batch_size, 1 - gap, gap, _refusal("eta", eta, m))

    return greedily(start, batch_size)


def log_det_cg(
    roots: FisherRoots, private_roots: FisherRoots, post: GaussianPosterior,
    batch_size: int, nu: float = 1.0,
) -> Selection:  # fmt: skip
    """Return the greedy batch for the joint EIG given the private examples T (T35).

    Of roots (M, r, D) given private_roots (T, r', D) under `post`, `batch_size`
    examples by the increments, in nats, of 1/2 log det(I + F_A (P + F_T)^{-1});
    LogDetCG is twice that and, where its kernel is lambda I + S, K log lambda. Above
    nu = 1 gains may be negative. Submodular and lazy, with the errors of
    `greedy_log_det`; one where nu makes the kernel indefinite names a nu that does not.

    >>> pool = FisherRoots.from_dense([[2.0, 0.0], [0.0, 1.0]])
    >>> log_det_cg(pool, pool[[0]], GaussianPosterior.isotropic(2, 1.0), 1).gains
    tensor([0.3466], dtype=torch.float64)
    """
    batch_size = checked_pool(roots, post, batch_size, private_roots=private_roots)
    nu = positive_float(nu, "nu")
    if nu == 1.0:
        return greedy_log_det(roots, post.update(private_roots), batch_size)
    post, roots, private_roots = post.shared(roots, private_roots)
    pool = pool_of(held(roots), post, private_roots)
    m = pool.frame.m
    form, refusal = Form(1 - nu**2 * m / (1 + m)), _refusal("nu", nu, m)
    return greedily(
        lambda _: Gains(pool, batch_size, form, refusal=refusal), batch_size
    )


def log_det_cmi(
    roots: FisherRoots, eval_roots: FisherRoots, private_roots: FisherRoots,
    post: GaussianPosterior, batch_size: int, eta: float = 1.0, nu: float = 1.0,
) -> Selection:  # fmt: skip
    """Return the greedy batch for the JEPIG in nats given private examples T (T35).

    `log_det_mi` of roots (M, r, D), eval_roots (E, r', D) and `batch_size` under `post`
    and private_roots (T, r'', D), P + F_T; half of LogDetCMI. An eta or nu other than 1
    needs the rows of both in memory, (E + T) r D numbers. Errors as `log_det_mi`.

    >>> pool = FisherRoots.from_dense([[2.0, 0.0], [0.0, 1.0]])
    >>> post, asked = GaussianPosterior.isotropic(2, 1.0), pool[[1]]
    >>> log_det_cmi(pool, asked, pool[[0]], post, 1).gains
    tensor([0.1438], dtype=torch.float64)
    """
    others = {"eval_roots": eval_roots, "private_roots": private_roots}
    batch_size = checked_pool(roots, post, batch_size, **others)
    eta, nu = positive_float(eta, "eta"), positive_float(nu, "nu")
    if eta == 1.0 and nu == 1.0:
        return log_det_mi(roots, eval_roots, post.update(private_roots), batch_size)
    post, roots, *both = post.shared(roots, eval_roots, private_roots)
    evals, private = (one.rows() for one in both)
    known = FisherRoots(torch.cat([evals, private])[:, None])
    pool = pool_of(held(roots), post, known)
    forms = _scaled_forms(pool, evals, private, eta, nu)
    why = "equal ones up to 1 always do"
    refusal = _INDEFINITE.format("eta and nu", (eta, nu), why)
    return greedily(lambda _: Shared(pool, batch_size, *forms, refusal), batch_size)


class Shared(Candidates):
    """Gains of what examples share with others, none of them ever out of date.

    left, gap: what is left of S given the others, and what they take of it, as forms.
    """

    def __init__(
        self, pool: Pool, batch_size: int, left: Tensor, gap: Tensor,
        refusal: str | None = None,
    ) -> None:  # fmt: skip
        self.forms = Form(left), Form(gap, rest=False)
        self.left, self.gap = pool.grams(*self.forms)
        self.left_size = trace(self.left)
        super().__init__(pool, self.left_size + trace(self.gap), refusal)
        self.columns = Columns(pool, batch_size), Columns(pool, batch_size)
        self._rate()

    def best(self) -> int:
        """The example of the largest gain, the first of those that tie."""
        top = int(self.gains.argmax())
        return top if self.lost(top) else int(self.ties(top)[0])

    def rounding(self, index: Any) -> Tensor:
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
        gram = self.left[index]
        new = [
            self.columns[0].add(index, left, gram),
            self.columns[1].add(index, left + gap, gram + self.gap[index]),
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
            gains[trace(self.gap) <= NOISE * self.size] = 0.0
        self.set(gains)


def _shared(left: Tensor, gap: Tensor) -> Tensor:
    # Of I + G + gap and I + G with G = left, as one; NaN where I + G is not positive.
    share = linalg.relative(gap, left)
    gains = linalg.log_det_identity_plus_rest(share) / 2
    return torch.where(share[:, 0, 0].isnan(), torch.nan, gains)


def _refusal(name: str, value: float, m: Tensor) -> str:
    top = float(m.max()) if len(m) else 0.0
    safe = math.sqrt((1 + top) / top) if top > 0 else math.inf
    return _INDEFINITE.format(name, value, f"any up to {safe:.6g} does")


def _scaled_forms(
    pool: Pool, evals: Tensor, private: Tensor, eta: float, nu: float
) -> tuple[Tensor, Tensor]:
    """Return what is left of S given T and E, and what E takes beyond T, (k, k) each.

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

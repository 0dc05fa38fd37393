"""BAIT: a batch that lowers tr(F_U M^{-1}) greedily, forward and then back (T28)."""

import torch
from torch import Tensor

from fimlib import linalg
from fimlib._checks import check_choice, positive_int
from fimlib.fisher.roots import FisherRoots
from fimlib.linalg import EPS
from fimlib.posterior.gaussian import GaussianPosterior
from fimlib.selection.distances import lowest_best
from fimlib.selection.result import FEW, Selection, checked_pool, completed

# Rounding of a gain, relative to it, that asks for a fresh start.
_LOST = 1e-9
# Pivots of a Cholesky factor this far apart may be rounding: it takes half the digits.
_PIVOTS = 1e-6
# Numbers that the blocks of a chunk may hold, so that they stay in the cache.
_CACHED = 2**17
_LOWER = FEW.format("lower the trace by more than rounding")


def bait(
    roots: FisherRoots, eval_roots: FisherRoots, post: GaussianPosterior,
    batch_size: int, oversample: int = 2, weights: str = "bayes",
) -> Selection:  # fmt: skip
    """Return the batch of least tr(F_U M^{-1}) by BAIT (arXiv:2106.09675).

    F_U is the mean Fisher information of eval_roots (N, r', D) (in the paper those of
    the pool and the labelled examples), M the precision once the batch is labelled.
    `oversample` K of the roots (M, r, D), with K the batch_size, are chosen greedily,
    then all but K dropped greedily. weights: "bayes", M = P + sum of F_i with P of
    `post`; or "official", as in the authors' code, M = prior + (sum of the N training
    F_i + K sum of F_i) / (N + K). Not submodular (T25). gains: half the decrease of the
    trace in nats, in the order of choice (EPIG's trace form, T28), which sum to
    1/2 [tr(F_U M_0^{-1}) - tr(F_U M^{-1})]. Ties go to the lowest index; of tied ones
    that chosen last is dropped. Where no example lowers the trace by more than
    rounding, the lowest indices follow, and `notes` says so. ValueErrors: empty roots,
    other numbers of parameters or above 20,000, a batch_size outside 1..M, "official"
    weights for a posterior that is an approximation.

    >>> pool = FisherRoots.from_dense([[1.0, 0.0], [0.0, 1.0]])
    >>> bait(pool, pool[[1]], GaussianPosterior.isotropic(2, 1.0), 1).gains
    tensor([0.2500], dtype=torch.float64)
    """
    batch_size = checked_pool(roots, post, batch_size, eval_roots=eval_roots)
    count = min(positive_int(oversample, "oversample") * batch_size, len(roots))
    check_choice(weights, "weights", ("bayes", "official"))
    weight = 1.0
    if weights == "official":
        post, weight = _official(post, batch_size)
    post, roots, eval_roots = post.shared(roots, eval_roots)
    design = Design(post, eval_roots, roots.device)
    roots = roots.held().double()
    roots = roots if weight == 1.0 else roots.reweighted(weight)
    chosen, gains = _forward(roots, design, count)
    if len(chosen) > batch_size:
        chosen = _backward(roots, design, chosen, batch_size)
        design.start()
        gains = _gains(roots[chosen], design)
    return completed(chosen, gains, batch_size, design.evals, _LOWER)


def _official(
    post: GaussianPosterior, batch_size: int
) -> tuple[GaussianPosterior, float]:
    """The posterior with training weights 1 / (N + K); the weight K / (N + K)."""
    if post.approximation is not None:
        raise ValueError(
            'weights must be "bayes" for a posterior that is an approximation, got '
            f'"official" for the {post.approximation} one'
        )
    total = sum(len(part) for part in post.train_roots) + batch_size
    train = [part.reweighted(1 / total) for part in post.train_roots]
    post = GaussianPosterior(post.num_parameters, post.prior_precision, train)
    return post, batch_size / total


class Design:
    """S = M^{-1} and A = S F_U S, as `both` (2, D, D), while examples come and go.

    A move leaves `rounding`, about the error of its gain by numbers up to `scale`, and
    `lost`: that it matters, and that a fresh start would lessen it.
    """

    def __init__(
        self, post: GaussianPosterior, eval_roots: FisherRoots, device: torch.device
    ) -> None:
        self.post = post
        # The first, since it refuses a D x D matrix that is too large.
        post.covariance  # noqa: B018
        self.evals = eval_roots.fisher_mean().to(device)
        self.start()

    def start(self, rows: Tensor | None = None) -> None:
        """Compute S and A anew for M = P, or M = P + V^T V with rows V (n, D)."""
        covariance = self.post.covariance.to(self.evals)
        if rows is not None:
            covariance = _inverse(self.post.precision.to(rows), rows)
        self.both = torch.stack([covariance, covariance @ self.evals @ covariance])
        self.scale, self.moved = float(self.both[1].diagonal().max()), False

    def move(self, root: FisherRoots, sign: float = 1.0) -> tuple[float, Tensor | None]:
        """Return half the trace's decrease as M gains sign V^T V of a root V (1, r, D).

        And, by Woodbury, X over Y (2r, D) such that S loses sign X^T X, and A loses
        sign (X^T Y + Y^T X). Where rounding has made I + sign V S V^T indefinite,
        nothing is moved, and None is returned.
        """
        rows = root.rows()
        x, y = (root.times(one)[0] for one in self.both)
        core = torch.eye(len(rows)).to(rows) + sign * (x @ rows.mT)
        size = float(rows.square().sum() / (1 + (x * rows).sum()))
        factor, info = torch.linalg.cholesky_ex((core + core.mT) / 2)
        if int(info) != 0:
            self.lost, self.rounding = True, float("inf")
            return 0.0, None
        core = torch.cholesky_solve(y @ rows.mT, factor)
        thin = torch.cat([x, y - (sign / 2) * (core.mT @ x)], dim=1)
        thin = torch.linalg.solve_triangular(factor, thin, upper=False)
        x, y = thin.split(len(x.mT), dim=1)
        thin = torch.cat([x, y])
        self.both[0].addmm_(x.mT, x, alpha=-sign)
        self.both[1].addmm_(thin.mT, torch.cat([y, x]), alpha=-sign)
        gain = sign * float(core.trace()) / 2
        self.moved, self.rounding = True, 10 * EPS * self.scale * size
        fallen = float(self.both[1].diagonal().max()) < self.scale / 10
        self.lost = fallen and self.rounding > _LOST * gain
        return gain, thin


def _inverse(precision: Tensor, rows: Tensor) -> Tensor:
    """Inverse of P + V^T V, also where the sum has more digits than a float64."""
    factor, info = torch.linalg.cholesky_ex(precision.addmm(rows.mT, rows))
    pivots = factor.diagonal()
    if int(info) == 0 and float(pivots.min() / pivots.max()) > _PIVOTS:
        return torch.cholesky_inverse(factor)
    upper = linalg.cholesky_of_symmetric(precision, "precision").mT
    upper = torch.linalg.qr(torch.cat([upper, rows]), mode="r")[1]
    return torch.cholesky_inverse(upper, upper=True)


class Blocks:
    """G_i = R_i S R_i^T and H_i = R_i A R_i^T (M, r, r) of all examples."""

    def __init__(self, roots: FisherRoots, design: Design) -> None:
        self.roots, self.design = roots, design
        self.gram, self.target = (roots.gram_of_symmetric(one) for one in design.both)

    def traces(self, sign: float = 1.0, thin: Tensor | None = None) -> Tensor:
        """Return tr(H_i (I + sign G_i)^{-1}), (M,): what adding or dropping i changes.

        thin: first follow the move of the design that returned it. Blocks that rounding
        has left without an inverse give NaN.
        """
        rank = self.roots.rank
        eye = torch.eye(rank).to(self.gram)
        step = max(16, _CACHED // (rank * (4 * rank + 2 * self.roots.num_outputs)))
        product = None if thin is None else self.roots.multiplier(thin.mT)
        found = self.gram.new_empty(len(self.roots))
        for start in range(0, len(self.roots), step):
            few = slice(start, start + step)
            gram, target = self.gram[few], self.target[few]
            if product is not None:
                x, y = product(few).chunk(2, 2)
                gram.baddbmm_(x, x.mT, alpha=-sign)
                cross = x @ y.mT
                target.sub_(cross + cross.mT, alpha=sign)
            factor, info = torch.linalg.cholesky_ex(eye + sign * gram)
            solved = torch.cholesky_solve(target, factor)
            traces = solved.diagonal(dim1=1, dim2=2).sum(-1)
            found[few] = traces.masked_fill_(info != 0, torch.nan)
        return found


def _forward(
    roots: FisherRoots, design: Design, count: int
) -> tuple[list[int], list[float]]:
    """The first `count` greedy choices, or as many as lower the trace, and gains."""
    chosen: list[int] = []
    gains: list[float] = []
    blocks, thin = Blocks(roots, design), None
    while len(chosen) < count:
        scores = blocks.traces(thin=thin)
        lost = design.moved and bool(scores.isnan().any())
        if not lost:
            scores[chosen] = -torch.inf
            index = lowest_best(scores.nan_to_num(-torch.inf))
            # A fresh start lessens no error where there was one just now.
            stale = design.moved
            gain, thin = design.move(roots[[index]])
            lost = stale and design.lost
        if lost:
            design.start(roots[chosen].rows())
            blocks, thin = Blocks(roots, design), None
            continue
        if not gain > design.rounding:
            break
        chosen.append(index)
        gains.append(gain)
    return chosen, gains


def _gains(roots: FisherRoots, design: Design) -> list[float]:
    """What each example adds to those before it."""
    gains = []
    for i in range(len(roots)):
        gain, _ = design.move(roots[[i]])
        if design.lost:
            design.start(roots[:i].rows())
            gain, _ = design.move(roots[[i]])
        gains.append(gain)
    return gains


def _backward(
    roots: FisherRoots, design: Design, chosen: list[int], batch_size: int
) -> list[int]:
    """The `batch_size` of the chosen that are left when the others are dropped."""
    roots, left = roots[chosen], list(range(len(chosen)))
    design.start(roots.rows())
    blocks, thin = Blocks(roots, design), None
    while len(left) > batch_size:
        costs = blocks.traces(-1.0, thin)
        # Nothing is left of M without an example whose block has no inverse: it stays.
        open_costs = costs[left].nan_to_num(torch.finfo(costs.dtype).max / 2)
        last = len(left) - 1 - lowest_best(-open_costs.flip(0))
        _, thin = design.move(roots[[left.pop(last)]], -1.0)
        if thin is None:
            design.start(roots[left].rows())
            blocks = Blocks(roots, design)
    return [chosen[position] for position in left]

"""The pairwise EPIG: the mean over evaluation examples of a JEPIG with each alone."""

from collections.abc import Callable

import torch
from torch import Tensor

from fimlib import linalg
from fimlib.fisher.roots import BATCH, FisherRoots
from fimlib.information.formulas import measured, shared_log_det
from fimlib.posterior.frame import frame_of
from fimlib.posterior.gaussian import GaussianPosterior

# Candidates paired with the evaluation set at once.
_PAIR_BATCH = 8
# Numbers in the temporaries of the pairs.
_PAIR_NUMBERS = 2**22


def pairwise_epig(
    post: GaussianPosterior, roots: FisherRoots, eval_roots: FisherRoots
) -> Tensor:
    """Mean over e of 1/2 [log det(I + F_e P^{-1}) - log det(I + F_e (P+F_i)^{-1})]."""
    frame = frame_of(post, roots, eval_roots)
    way = frame.pairs_way(roots, eval_roots)
    score: Callable[..., Tensor]
    if way == "products":
        score = _by_products(post, eval_roots)
    else:
        compared = _by_rows if way == "rows" else _by_correlations
        # Nothing of the evaluation examples is left over.
        score = compared(frame.whitened(eval_roots))
    found = []
    for batch in roots.batches(BATCH):
        for start in range(0, len(batch), _PAIR_BATCH):
            part = batch[start : start + _PAIR_BATCH]
            pieces = [(part,)] if way == "products" else frame.pieces(part)
            found += [score(*piece) for piece in pieces]
    return torch.cat(found)


def _by_rows(evals: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """What i shares with e is seen along e's own few directions."""
    # In these, s^2/(1+s^2) of the information is shared and 1/(1+s^2) is not; no
    # correlation close to one is ever subtracted from one.
    _, singular, directions = torch.linalg.svd(evals, full_matrices=False)
    squares = singular.square()[:, None, :]

    def score(rows: Tensor, rest: Tensor) -> Tensor:
        along = rows[:, None] @ directions.to(rows).mT
        apart = rows[:, None] - along @ directions.to(rows)
        rest = rest[:, None].expand(-1, len(evals), -1, -1)
        return shared_log_det(squares.to(rows), along, apart, rest).mean(1)

    return score


def _by_correlations(evals: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean over e of -1/2 log det(I - A A^T), A the correlations of i and e."""
    # A = (I + G_i)^{-1/2} Z_i Z_e^T (I + G_e)^{-1/2}: two examples share what their
    # labels, each of unit noise, have in common (Schur complement of T34).
    evals = measured(evals, evals)

    def score(rows: Tensor, rest: Tensor) -> Tensor:
        solved = measured(rows, torch.cat([rows, rest], dim=-1))
        total = rows.new_zeros(len(rows))
        step = max(1, _PAIR_NUMBERS // (solved.shape[0] * solved.shape[1]))
        for few in evals.split(max(1, step // evals.shape[1])):
            shared = torch.einsum("mrk,esk->mers", solved, few.to(rows))
            total += _information(shared).sum(1)
        return total / len(evals)

    return score


def _by_products(
    post: GaussianPosterior, eval_roots: FisherRoots
) -> Callable[[FisherRoots], Tensor]:
    """The same without a whitened row per evaluation example: Kronecker products."""
    evals = [_normalised(batch, post) for batch in eval_roots.batches(BATCH)]
    covariance = post.covariance

    def score(part: FisherRoots) -> Tensor:
        part = _normalised(part, post)
        solved = FisherRoots(part.times(covariance.to(part.device)))
        total = torch.zeros(len(part), dtype=torch.float64, device=part.device)
        each = len(part) * part.rank * max(eval_roots.rank, eval_roots.num_outputs)
        for batch in evals:
            for few in batch.chunks(each):
                # (E, r', M, r) -> (E, M, r, r')
                shared = few.cross(solved).permute(0, 2, 3, 1)
                total += _information(shared).sum(0)
        return total / len(eval_roots)

    return score


def _information(correlations: Tensor) -> Tensor:
    shared = correlations @ correlations.mT
    return -linalg.log_det_identity_minus(shared, check=False) / 2


def _normalised(roots: FisherRoots, post: GaussianPosterior) -> FisherRoots:
    """Roots (I + G_i)^{-1/2} R_i: observations whitened by their predictive noise."""
    factor, _ = linalg.identity_plus_cholesky(post.gram(roots))
    eye = torch.eye(roots.rank).to(factor)
    whitener = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
    return roots.scaled(whitener.to(roots.dtype))

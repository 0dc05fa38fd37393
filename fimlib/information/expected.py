"""Expected information of examples whose labels are not known, in nats."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fimlib._checks import check_choice, check_count
from fimlib.fisher.roots import BATCH, FisherRoots, check_parameters
from fimlib.information.formulas import ByBlocks, ByRows, scores_of
from fimlib.information.pairs import pairwise_epig
from fimlib.posterior.frame import Frame, frame_of, joint_log_det
from fimlib.posterior.gaussian import GaussianPosterior

_FORMS = ("log_det", "trace")
_EIG = ("eig_log_det", "eig_trace")
_PREDICTIVE = (
    "jepig_log_det",
    "jepig_trace",
    "epig_upper",
    "epig_trace",
    "jepig_proxy_log_det",
    "jepig_proxy_trace",
    "epig_proxy_log_det",
    "epig_proxy_trace",
)


def eig(roots: FisherRoots, post: GaussianPosterior, form: str = "log_det") -> Tensor:
    """Expected information gain (M,) of each of M examples, in nats (T21, T23).

    form: "log_det", 1/2 log det(I + F_i P^{-1}), or its upper bound "trace",
    1/2 tr(F_i P^{-1}). Exact for a linear-Gaussian model (T22). Raises ValueError for
    an empty pool, another form, and a posterior of another size.

    >>> roots = FisherRoots.from_dense([[3.0**0.5, 0.0], [0.0, 0.0]])
    >>> eig(roots, GaussianPosterior.isotropic(2, 1.0)).exp().round(decimals=9).tolist()
    [2.0, 1.0]
    """
    check_choice(form, "form", _FORMS)
    return _scores(roots, post, None, (f"eig_{form}",))[f"eig_{form}"]


def batch_eig(
    roots: FisherRoots, post: GaussianPosterior, form: str = "log_det"
) -> Tensor:
    """Joint expected information gain () of all the examples together, in nats (T25).

    form: "log_det", 1/2 log det(I + sum_i F_i P^{-1}), redundancy counted, through the
    smaller of (M r) x (M r) and D x D; or "trace", the sum of the single traces. Raises
    ValueError for an empty batch, another form, and a posterior of another size.

    >>> twice = FisherRoots.from_dense([[1.0], [1.0]])
    >>> batch_eig(twice, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor(3.0000, dtype=torch.float64)
    """
    check_choice(form, "form", _FORMS)
    if form == "trace":
        return eig(roots, post, "trace").sum()
    check_sizes(post, roots=roots)
    return joint_log_det(post, roots) / 2


def jepig(
    roots: FisherRoots,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
    form: str = "log_det",
) -> Tensor:
    """Joint expected predictive information gain (M,), in nats (T3, T27, T50).

    roots: M examples; eval_roots: E examples, of which F_E is the sum. form: "log_det",
    1/2 log det(I + F_E P^{-1}) - 1/2 log det(I + F_E (P + F_i)^{-1}); or "trace",
    1/2 tr(F_E (P^{-1} - (P + F_i)^{-1})), an upper bound. Raises ValueError for empty
    roots, another form, and a posterior of another size.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> jepig(x, x, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([1.3333], dtype=torch.float64)
    """
    return _single("jepig", form, roots, eval_roots, post)


def epig(
    roots: FisherRoots,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
    form: str = "log_det",
) -> Tensor:
    """Expected predictive information gain (M,): the mean over e of pairs (T3, T27).

    roots: M examples; eval_roots: E examples; in nats. form: "log_det", the mean over e
    of the JEPIG with F_e alone, no Jensen step (M E small determinants); or "trace",
    the JEPIG trace / E (T28). Raises ValueError for empty roots, another form, and a
    posterior of another size.

    >>> x = FisherRoots.from_dense([[1.0, 0.0], [0.0, 1.0]])
    >>> epig(x, x, GaussianPosterior.isotropic(2, 1.0)).mul(4).exp()
    tensor([1.3333, 1.3333], dtype=torch.float64)
    """
    check_choice(form, "form", _FORMS)
    if form == "trace":
        return _single("epig", form, roots, eval_roots, post)
    check_sizes(post, roots=roots, eval_roots=eval_roots)
    return pairwise_epig(*post.shared(roots, eval_roots))


def epig_upper(
    roots: FisherRoots,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
    form: str = "log_det",
) -> Tensor:
    """An upper bound of EPIG (M,): the JEPIG formula with the mean of F_e (T50).

    roots: M examples; eval_roots: E examples; in nats. The talk's display with its
    missing first term; only form "log_det" exists, since the trace form bounds nothing
    that `epig` does not give. Raises ValueError for empty roots, another form, and a
    posterior of another size.

    >>> x = FisherRoots.from_dense([[1.0, 0.0], [0.0, 1.0]])
    >>> epig_upper(x, x, GaussianPosterior.isotropic(2, 1.0)).mul(2).exp()
    tensor([1.2000, 1.2000], dtype=torch.float64)
    """
    check_choice(form, "form", ("log_det",))
    return _scores(roots, post, eval_roots, ("epig_upper",))["epig_upper"]


def jepig_proxy(
    roots: FisherRoots,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
    form: str = "log_det",
) -> Tensor:
    """The talk's JEPIG proxy (M,), in nats, lower is better: what is left to learn.

    roots: M examples; eval_roots: E examples, of which F_E is the sum (T27). form:
    "log_det", 1/2 log det(I + F_E (P + F_i)^{-1}); or "trace",
    1/2 tr(F_E (P + F_i)^{-1}), which BAIT minimises (T28). It is a difference from its
    value before the example; where that would lose three digits it is computed apart
    (in small problems: up to D of some hundreds). Raises ValueError for empty roots,
    another form, and a posterior of another size.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> jepig_proxy(x, x, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([1.5000], dtype=torch.float64)
    """
    return _single("jepig_proxy", form, roots, eval_roots, post)


def epig_proxy(
    roots: FisherRoots,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
    form: str = "log_det",
) -> Tensor:
    """The talk's EPIG proxy (M,), in nats, lower is better: with the mean of F_e.

    roots: M examples; eval_roots: E examples; form: "log_det" or "trace" of
    `jepig_proxy`. It bounds I[Theta; Y_e | X_e, Y, x] from above, not EPIG (T27).
    Raises ValueError for empty roots, another form, and a posterior of another size.

    >>> x = FisherRoots.from_dense([[1.0, 0.0], [0.0, 1.0]])
    >>> epig_proxy(x, x, GaussianPosterior.isotropic(2, 1.0)).mul(2).exp()
    tensor([1.8750, 1.8750], dtype=torch.float64)
    """
    return _single("epig_proxy", form, roots, eval_roots, post)


def scores(
    roots: FisherRoots,
    post: GaussianPosterior,
    eval_roots: FisherRoots | None = None,
    pairwise: bool = False,
) -> dict[str, Tensor]:
    """Every score in one pass, a dict of (M,) tensors that share their Gram blocks.

    Keys: eig_log_det, eig_trace and, given the roots of E evaluation examples,
    jepig_log_det, jepig_trace, epig_upper, epig_trace, and jepig_proxy_* and
    epig_proxy_* in both forms; `pairwise` adds epig_log_det (M E small determinants);
    all in nats. Roots that come in `batches()` are scored one batch at a time. Raises
    ValueError for empty roots and a posterior of another size.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> sorted(scores(x, GaussianPosterior.isotropic(1, 1.0)))
    ['eig_log_det', 'eig_trace']
    """
    if pairwise and eval_roots is None:
        raise ValueError("eval_roots must be given for the pairwise EPIG, got None")
    wanted = _EIG if eval_roots is None else _EIG + _PREDICTIVE
    found = _scores(roots, post, eval_roots, wanted)
    if pairwise and eval_roots is not None:
        found["epig_log_det"] = epig(roots, eval_roots, post)
    return found


def _single(
    prefix: str,
    form: str,
    roots: FisherRoots,
    eval_roots: FisherRoots,
    post: GaussianPosterior,
) -> Tensor:
    check_choice(form, "form", _FORMS)
    name = f"{prefix}_{form}"
    return _scores(roots, post, eval_roots, (name,))[name]


def _scores(
    roots: FisherRoots,
    post: GaussianPosterior,
    eval_roots: FisherRoots | None,
    wanted: tuple[str, ...],
) -> dict[str, Tensor]:
    """The wanted scores, batch by batch in one frame."""
    if eval_roots is None:
        check_sizes(post, roots=roots)
        post, roots = post.shared(roots)
    else:
        check_sizes(post, roots=roots, eval_roots=eval_roots)
        post, roots, eval_roots = post.shared(roots, eval_roots)
    count = 0 if eval_roots is None else len(eval_roots)
    frame = frame_of(post, roots, eval_roots)
    # Made first: small results kept between large temporaries would pin memory.
    found = {
        name: torch.empty(len(roots), dtype=torch.float64, device=roots.device)
        for name in wanted
    }
    start = 0
    for part in roots.batches(BATCH):
        m = None if frame.m is None else frame.m.to(part.device)
        for formulas in _formulas(frame, part):
            scored = scores_of(formulas, m, count, set(wanted))
            end = start + len(scored[wanted[0]])
            for name, values in scored.items():
                found[name][start:end] = values
            start = end
    return found


def _formulas(frame: Frame, part: FisherRoots) -> Iterator[ByRows | ByBlocks]:
    grams = frame.blocks(part)
    if grams is not None:
        yield ByBlocks(grams)
        return
    for rows, rest in frame.pieces(part):
        yield ByRows(rows, rest)


def check_sizes(post: GaussianPosterior, **named: FisherRoots) -> None:
    """Raise unless these roots are not empty and have the posterior's parameters."""
    for name, roots in named.items():
        check_count(len(roots), name)
        check_parameters(roots, name, post.num_parameters, "the posterior")

"""Expected information of examples whose labels are not known, in nats."""

import torch

from fimlib import linalg
from fimlib._checks import check_choice, check_count
from fimlib.information.formulas import ByBlocks, ByRows, Matrices, scores_of
from fimlib.information.pairs import pairwise_epig
from fimlib.posterior.frame import frame_of
from fimlib.posterior.gaussian import shared_coordinates
from fimlib.posterior.span import BATCH

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


def eig(roots, post, form="log_det"):
    """Expected information gain (M,): 1/2 log det(I + F_i P^{-1}) or 1/2 tr (T21, T23).

    form: "log_det", or its upper bound "trace". Exact for a linear-Gaussian model
    (T22). Raises ValueError for an empty pool or a posterior of another size.
    """
    check_choice(form, "form", _FORMS)
    return _scores(roots, post, None, (f"eig_{form}",))[f"eig_{form}"]


def batch_eig(roots, post, form="log_det"):
    """Joint expected information gain () of all the examples together (T25).

    1/2 log det(I + sum_i F_i P^{-1}), redundancy counted, through the smaller of
    (M r) x (M r) and D x D; its "trace" form is the sum of the single traces. Raises
    ValueError as `eig` does.
    """
    check_choice(form, "form", _FORMS)
    if form == "trace":
        return eig(roots, post, "trace").sum()
    check_sizes(post, roots=roots)
    post, roots = shared_coordinates(post, roots)
    # With the batch as the evaluation set, I + F P^{-1} is diagonal in the frame.
    m = frame_of(post, roots, roots).m
    return linalg.log_det_identity_plus(m[:, None, None], check=False).sum() / 2


def jepig(roots, eval_roots, post, form="log_det"):
    """Joint expected predictive information gain (M,) (T3, T27, T50).

    log_det: 1/2 log det(I + F_E P^{-1}) - 1/2 log det(I + F_E (P + F_i)^{-1}) with the
    sum F_E over the evaluation examples; trace: 1/2 tr(F_E (P^{-1} - (P + F_i)^{-1})),
    an upper bound. Raises ValueError as `eig` does, and for an empty evaluation set.
    """
    return _single("jepig", form, roots, eval_roots, post)


def epig(roots, eval_roots, post, form="log_det"):
    """Expected predictive information gain (M,): the mean over e of pairs (T3, T27).

    log_det: the mean over evaluation examples e of the JEPIG with F_e alone, no Jensen
    step (M E small determinants); trace: the JEPIG trace / E (T28). Raises ValueError
    as `jepig` does.
    """
    check_choice(form, "form", _FORMS)
    if form == "trace":
        return _single("epig", form, roots, eval_roots, post)
    check_sizes(post, roots=roots, eval_roots=eval_roots)
    return pairwise_epig(*shared_coordinates(post, roots, eval_roots))


def epig_upper(roots, eval_roots, post, form="log_det"):
    """An upper bound of EPIG (M,): the JEPIG formula with the mean of F_e (T50).

    The talk's display with its missing first term; only form "log_det" exists, since
    the trace form bounds nothing that `epig` does not give. Errors as `jepig`.
    """
    check_choice(form, "form", ("log_det",))
    return _scores(roots, post, eval_roots, ("epig_upper",))["epig_upper"]


def jepig_proxy(roots, eval_roots, post, form="log_det"):
    """The talk's JEPIG proxy (M,), lower is better (T27): what is left to learn.

    1/2 log det(I + F_E (P + F_i)^{-1}), or 1/2 tr(F_E (P + F_i)^{-1}), which BAIT
    minimises (T28). It is a difference from its value before the example; where that
    would lose three digits it is computed apart (in small problems: up to D of some
    hundreds). Errors as `jepig`.
    """
    return _single("jepig_proxy", form, roots, eval_roots, post)


def epig_proxy(roots, eval_roots, post, form="log_det"):
    """The talk's EPIG proxy (M,), lower is better: `jepig_proxy` with the mean of F_e.

    It bounds I[Theta; Y_e | X_e, Y, x] from above, not EPIG (T27). Errors as `jepig`.
    """
    return _single("epig_proxy", form, roots, eval_roots, post)


def scores(roots, post, eval_roots=None, pairwise=False):
    """Every score in one pass, a dict of (M,) tensors that share their Gram blocks.

    Keys: eig_log_det, eig_trace and, given evaluation roots, jepig_log_det,
    jepig_trace, epig_upper, epig_trace, and jepig_proxy_* and epig_proxy_* in both
    forms; `pairwise` adds epig_log_det (M E small determinants). Roots that come in
    `batches()` are scored one batch at a time. Errors as `jepig`.
    """
    if pairwise and eval_roots is None:
        raise ValueError("eval_roots must be given for the pairwise EPIG, got None")
    wanted = _EIG if eval_roots is None else _EIG + _PREDICTIVE
    found = _scores(roots, post, eval_roots, wanted)
    if pairwise:
        found["epig_log_det"] = epig(roots, eval_roots, post)
    return found


def _single(prefix, form, roots, eval_roots, post):
    check_choice(form, "form", _FORMS)
    name = f"{prefix}_{form}"
    return _scores(roots, post, eval_roots, (name,))[name]


def _scores(roots, post, eval_roots, wanted):
    """The wanted scores, batch by batch in one frame."""
    if eval_roots is None:
        check_sizes(post, roots=roots)
        post, roots = shared_coordinates(post, roots)
    else:
        check_sizes(post, roots=roots, eval_roots=eval_roots)
        post, roots, eval_roots = shared_coordinates(post, roots, eval_roots)
    count = None if eval_roots is None else len(eval_roots)
    frame = frame_of(post, roots, eval_roots)
    matrices = Matrices(frame)
    # Made first: small results kept between large temporaries would pin memory.
    like = {"dtype": torch.float64, "device": roots.device}
    found = {name: torch.empty(len(roots), **like) for name in wanted}
    start = 0
    for part in roots.batches(BATCH):
        m = None if frame.m is None else frame.m.to(part.device)
        for formulas in _formulas(frame, matrices, part):
            scored = scores_of(formulas, m, count, set(wanted))
            end = start + len(scored[wanted[0]])
            for name, values in scored.items():
                found[name][start:end] = values
            start = end
    return found


def _formulas(frame, matrices, part):
    if frame.by_blocks(part):
        yield ByBlocks(part, matrices)
        return
    for rows, rest in frame.pieces(part):
        yield ByRows(rows, rest)


def check_sizes(post, **named):
    """Raise unless these roots are not empty and have the posterior's parameters."""
    for name, roots in named.items():
        check_count(len(roots), name)
        if roots.num_parameters != post.num_parameters:
            raise ValueError(
                f"{name} must have {post.num_parameters} parameters, as the posterior "
                f"has, got {roots.num_parameters}"
            )

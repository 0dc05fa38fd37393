"""Expected information of examples whose labels are not known, in nats."""

import torch
from torch import Tensor

from fimlib._checks import check_choice, check_count
from fimlib.fisher.roots import BATCH, FisherRoots, check_parameters
from fimlib.information.formulas import scores_of
from fimlib.information.pairs import pairwise_epig
from fimlib.posterior.frame import frame_of, joint_log_det
from fimlib.posterior.gaussian import GaussianPosterior

# In signatures.
Posterior = GaussianPosterior

FORMS = ("log_det", "trace")
_EIG = [f"eig_{form}" for form in FORMS]
_PREDICTIVE = ["jepig_log_det", "jepig_trace", "epig_upper", "epig_trace"]
_PREDICTIVE += [f"{one}_proxy_{form}" for one in ("jepig", "epig") for form in FORMS]


def eig(roots: FisherRoots, post: Posterior, form: str = "log_det") -> Tensor:
    """Return the EIG (M,) in nats of each of M roots (M, r, D) under `post` (T21, T23).

    form: "log_det", 1/2 log det(I + F_i P^{-1}), or its upper bound "trace",
    1/2 tr(F_i P^{-1}). Exact for a linear-Gaussian model (T22).

    >>> roots = FisherRoots.from_dense([[3.0**0.5, 0.0], [0.0, 0.0]])
    >>> eig(roots, GaussianPosterior.isotropic(2, 1.0)).exp().round(decimals=9).tolist()
    [2.0, 1.0]
    """
    return _single("eig", form, post, roots)


def batch_eig(roots: FisherRoots, post: Posterior, form: str = "log_det") -> Tensor:
    """Return the joint EIG () in nats of M roots (M, r, D) together, by `post` (T25).

    form: "log_det", 1/2 log det(I + sum_i F_i P^{-1}), redundancy counted, through the
    smaller of (M r) x (M r) and D x D; or "trace", the sum of the single traces.

    >>> twice = FisherRoots.from_dense([[1.0], [1.0]])
    >>> batch_eig(twice, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor(3.0000, dtype=torch.float64)
    """
    check_choice(form, "form", FORMS)
    if form == "trace":
        return eig(roots, post, "trace").sum()
    return joint_log_det(*shared(post, roots=roots)) / 2


def jepig(
    roots: FisherRoots, eval_roots: FisherRoots, post: Posterior, form: str = "log_det"
) -> Tensor:
    """Return the joint EPIG (M,) in nats of M roots for E eval_roots (T3, T27, T50).

    With F_E the sum over eval_roots, and P of `post`. form: "log_det",
    1/2 log det(I + F_E P^{-1}) - 1/2 log det(I + F_E (P + F_i)^{-1}); or "trace",
    1/2 tr(F_E (P^{-1} - (P + F_i)^{-1})), an upper bound.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> jepig(x, x, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([1.3333], dtype=torch.float64)
    """
    return _single("jepig", form, post, roots, eval_roots)


def epig(
    roots: FisherRoots, eval_roots: FisherRoots, post: Posterior, form: str = "log_det"
) -> Tensor:
    """Return the EPIG (M,) in nats of M roots: the mean over E eval_roots (T3, T27).

    form: "log_det", the mean over e of the `jepig` under `post` with F_e alone, no
    Jensen step (M E small determinants); or "trace", the `jepig` trace / E (T28).

    >>> x = FisherRoots.from_dense([[1.0, 0.0], [0.0, 1.0]])
    >>> epig(x, x, GaussianPosterior.isotropic(2, 1.0)).mul(4).exp()
    tensor([1.3333, 1.3333], dtype=torch.float64)
    """
    check_choice(form, "form", FORMS)
    if form == "trace":
        return _single("epig", form, post, roots, eval_roots)
    return pairwise_epig(*shared(post, roots=roots, eval_roots=eval_roots))


def epig_upper(
    roots: FisherRoots, eval_roots: FisherRoots, post: Posterior, form: str = "log_det"
) -> Tensor:
    """Return a bound (M,) in nats of the EPIG of M roots from above (T50).

    The `jepig` formula under `post` with the mean of F_e over E eval_roots: the talk's
    display with its missing first term. form: "log_det" alone, since the trace form
    bounds nothing that `epig` does not give.

    >>> x = FisherRoots.from_dense([[1.0, 0.0], [0.0, 1.0]])
    >>> epig_upper(x, x, GaussianPosterior.isotropic(2, 1.0)).mul(2).exp()
    tensor([1.2000, 1.2000], dtype=torch.float64)
    """
    check_choice(form, "form", ("log_det",))
    return _scores(["epig_upper"], post, roots, eval_roots)["epig_upper"]


def jepig_proxy(
    roots: FisherRoots, eval_roots: FisherRoots, post: Posterior, form: str = "log_det"
) -> Tensor:
    """Return the talk's JEPIG proxy (M,) in nats of M roots, lower is better (T27).

    What is left to learn under `post`, F_E the sum over E eval_roots. form: "log_det",
    1/2 log det(I + F_E (P + F_i)^{-1}); or "trace", 1/2 tr(F_E (P + F_i)^{-1}), which
    BAIT minimises (T28). A difference from its value before the example; where that
    would lose three digits it is computed apart (up to D of some hundreds).

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> jepig_proxy(x, x, GaussianPosterior.isotropic(1, 1.0)).mul(2).exp()
    tensor([1.5000], dtype=torch.float64)
    """
    return _single("jepig_proxy", form, post, roots, eval_roots)


def epig_proxy(
    roots: FisherRoots, eval_roots: FisherRoots, post: Posterior, form: str = "log_det"
) -> Tensor:
    """Return the talk's EPIG proxy (M,) in nats of M roots, lower is better (T27).

    The `jepig_proxy` under `post` in this form with the mean of F_e over E eval_roots.
    It bounds I[Theta; Y_e | X_e, Y, x] from above, not EPIG.

    >>> x = FisherRoots.from_dense([[1.0, 0.0], [0.0, 1.0]])
    >>> epig_proxy(x, x, GaussianPosterior.isotropic(2, 1.0)).mul(2).exp()
    tensor([1.8750, 1.8750], dtype=torch.float64)
    """
    return _single("epig_proxy", form, post, roots, eval_roots)


def scores(
    roots: FisherRoots,
    post: Posterior,
    eval_roots: FisherRoots | None = None,
    pairwise: bool = False,
) -> dict[str, Tensor]:
    """Return every score (M,) in nats of M roots by name, in one pass.

    Keys: eig_log_det, eig_trace and, given E eval_roots, jepig_log_det, jepig_trace,
    epig_upper, epig_trace, and jepig_proxy_* and epig_proxy_* in both forms; `pairwise`
    adds epig_log_det (M E small determinants). Under `post`, from shared Gram blocks.
    Roots that come in `batches()` are scored one batch at a time.

    Raises:
        ValueError: for pairwise without eval_roots.

    >>> x = FisherRoots.from_dense([[1.0]])
    >>> sorted(scores(x, GaussianPosterior.isotropic(1, 1.0)))
    ['eig_log_det', 'eig_trace']
    """
    if eval_roots is None:
        if pairwise:
            raise ValueError("eval_roots must be given for the pairwise EPIG, got None")
        return _scores(_EIG, post, roots)
    found = _scores(_EIG + _PREDICTIVE, post, roots, eval_roots)
    if pairwise:
        found["epig_log_det"] = epig(roots, eval_roots, post)
    return found


def _single(prefix: str, form: str, post: Posterior, *roots: FisherRoots) -> Tensor:
    check_choice(form, "form", FORMS)
    name = f"{prefix}_{form}"
    return _scores([name], post, *roots)[name]


def _scores(
    wanted: list[str], post: Posterior, *both: FisherRoots
) -> dict[str, Tensor]:
    """The wanted scores of roots, for evaluation roots, batch by batch in one frame."""
    named = zip(("roots", "eval_roots"), both, strict=False)
    post, roots, *evals = shared(post, **dict(named))
    frame = frame_of(post, roots, *evals)
    count = sum(len(one) for one in evals)
    # Made first: small results kept between large temporaries would pin memory.
    like: dict = {"dtype": torch.float64, "device": roots.device}
    found = {name: torch.empty(len(roots), **like) for name in wanted}
    start = 0
    for part in roots.batches(BATCH):
        for scored in scores_of(frame, part, count, wanted):
            end = start + len(scored[wanted[0]])
            for name, values in scored.items():
                found[name][start:end] = values
            start = end
    return found


def shared(post: Posterior, **named: FisherRoots) -> tuple:
    """`post.shared` of roots that are not empty and have the posterior's parameters."""
    for name, roots in named.items():
        check_count(len(roots), name)
        check_parameters(roots, name, post.num_parameters, "the posterior")
    return post.shared(*named.values())

"""Weight-space information scores from Fisher information (T21-T28, T42, T50), in nats.

Every score of an example i is a function of Gram blocks R_i A R_i^T (r, r). With P the
posterior precision and F_E the sum of the evaluation examples' Fisher information, one
matrix X with X^T P X = I and X^T F_E X = diag(m) gives all the A there are:
P^{-1} = X X^T, (P + F_E)^{-1} = X diag(1/(1+m)) X^T, their difference
X diag(m/(1+m)) X^T, which is never computed by subtraction, and P^{-1} F_E P^{-1} =
X diag(m) X^T. The mean evaluation information has m / E in the place of m.
"""

import torch

from fimlib._checks import as_tensor, check_choice, check_count
from fimlib.fisher import FisherRoots
from fimlib.linalg import log_det_identity_minus, log_det_identity_plus
from fimlib.posterior import EXACT_WORK, by_rows, shared_coordinates

# Examples scored at once, and candidates paired with the evaluation set at once.
_BATCH = 16_384
_PAIR_BATCH = 8


def eig(roots, post, form="log_det"):
    """Expected information gain (M,): 1/2 log det(I + F_i P^{-1}) or 1/2 tr (T21, T23).

    form: "log_det", or its upper bound "trace". Exact for a linear-Gaussian model
    (T22). Raises ValueError for an empty pool or a posterior of another size.
    """
    check_choice(form, "form", ("log_det", "trace"))
    _check_sizes(post, roots=roots)
    return (
        _half_log_det(post.gram(roots))
        if form == "log_det"
        else _half_trace(post.gram(roots))
    )


def ig(observed, post):
    """Information gain (M,) of known labels: 1/2 log det(I + H_i P^{-1}) (T2, T42).

    observed: (M, D, D), the observed information -grad^2 log p(y_i|x_i, theta*) or an
    estimate of it. It may be indefinite, so that gains may be negative; raises
    ValueError where P + H_i is not positive definite and no Gaussian is left.
    """
    size = post.num_parameters
    observed = as_tensor(observed, "observed", ("M", size, size))
    check_count(len(observed), "observed")
    if not torch.allclose(observed, observed.mT, rtol=1e-8, atol=0.0):
        raise ValueError(
            f"observed must be symmetric in its last two axes, got a largest asymmetry "
            f"of {float((observed - observed.mT).abs().max()):.3g}"
        )
    inverse = post.root_inverse.to(observed.device)
    eigenvalues = torch.linalg.eigvalsh(inverse.mT @ observed @ inverse)
    smallest = eigenvalues[:, 0]
    if (smallest <= -1).any():
        worst = int(smallest.argmin())
        raise ValueError(
            "observed must leave P + H_i positive definite, got a smallest eigenvalue "
            f"of I + H_i P^(-1) of {float(1 + smallest[worst]):.6g} at example {worst}"
        )
    return torch.log1p(eigenvalues).sum(-1) / 2


def batch_eig(roots, post, form="log_det"):
    """Joint expected information gain () of all the examples together (T25).

    1/2 log det(I + sum_i F_i P^{-1}), redundancy counted; its "trace" form is the sum
    of the single traces. Raises ValueError as `eig` does.
    """
    check_choice(form, "form", ("log_det", "trace"))
    _check_sizes(post, roots=roots)
    if form == "trace":
        return _half_trace(post.gram(roots)).sum()
    post, roots = shared_coordinates(post, roots)
    count = len(roots) * roots.rank
    if post.is_isotropic and count <= post.num_parameters:
        gram = roots.cross(roots).double().reshape(count, count) / post.prior_precision
    elif count <= post.num_parameters:
        rows = roots.project(post.root_inverse).double().flatten(0, 1)
        gram = rows @ rows.mT
    else:
        gram = _symmetric_ratio(post, roots)
    return _half_log_det(gram)


def jepig(roots, eval_roots, post, form="log_det"):
    """Joint expected predictive information gain (M,) (T3, T27, T50).

    log_det: 1/2 log det(I + F_E P^{-1}) - 1/2 log det(I + F_E (P + F_i)^{-1}) with the
    sum F_E over the evaluation examples; trace: 1/2 tr(F_E (P^{-1} - (P + F_i)^{-1})),
    an upper bound. Raises ValueError as `eig` does, and for an empty evaluation set.
    """
    return _predictive(roots, eval_roots, post, form, ("jepig",))[f"jepig_{form}"]


def epig(roots, eval_roots, post, form="log_det"):
    """Expected predictive information gain (M,): the mean over e of pairs (T3, T27).

    log_det: the mean over evaluation examples e of the JEPIG with F_e alone, no Jensen
    step (M E small determinants); trace: the JEPIG trace / E (T28). Raises ValueError
    as `jepig` does.
    """
    check_choice(form, "form", ("log_det", "trace"))
    if form == "trace":
        return jepig(roots, eval_roots, post, form) / len(eval_roots)
    _check_sizes(post, roots=roots, eval_roots=eval_roots)
    return _pairwise_epig(*shared_coordinates(post, roots, eval_roots))


def epig_upper(roots, eval_roots, post, form="log_det"):
    """An upper bound of EPIG (M,): the JEPIG formula with the mean of F_e (T50).

    The talk's display with its missing first term; only form "log_det" exists, since
    the trace form bounds nothing that `epig` does not give. Errors as `jepig`.
    """
    check_choice(form, "form", ("log_det",))
    return _predictive(roots, eval_roots, post, form, ("epig_upper",))["epig_upper"]


def jepig_proxy(roots, eval_roots, post, form="log_det"):
    """The talk's JEPIG proxy (M,), lower is better (T27): what is left to learn.

    1/2 log det(I + F_E (P + F_i)^{-1}), or 1/2 tr(F_E (P + F_i)^{-1}), which BAIT
    minimises (T28). Errors as `jepig`.
    """
    return _predictive(roots, eval_roots, post, form, ("jepig",))[f"jepig_proxy_{form}"]


def epig_proxy(roots, eval_roots, post, form="log_det"):
    """The talk's EPIG proxy (M,), lower is better: `jepig_proxy` with the mean of F_e.

    It bounds I[Theta; Y_e | X_e, Y, x] from above, not EPIG (T27). Errors as `jepig`.
    """
    return _predictive(roots, eval_roots, post, form, ("epig_upper",))[
        f"epig_proxy_{form}"
    ]


def scores(roots, post, eval_roots=None, pairwise=False):
    """Every score in one pass, a dict of (M,) tensors that share their Gram blocks.

    Keys: eig_log_det, eig_trace and, given evaluation roots, jepig_log_det,
    jepig_trace, epig_upper, epig_trace, and jepig_proxy_* and epig_proxy_* in both
    forms; `pairwise` adds epig_log_det (M E small determinants). Errors as `jepig`.
    """
    if eval_roots is None:
        _check_sizes(post, roots=roots)
        if pairwise:
            raise ValueError("eval_roots must be given for the pairwise EPIG, got None")
        gram = post.gram(roots)
        return {"eig_log_det": _half_log_det(gram), "eig_trace": _half_trace(gram)}
    found = _predictive(roots, eval_roots, post, None, ("jepig", "epig_upper"))
    if pairwise:
        found["epig_log_det"] = epig(roots, eval_roots, post)
    return found


def _predictive(roots, eval_roots, post, form, wanted):
    """The scores that need an evaluation set; form None stands for both."""
    if form is not None:
        check_choice(form, "form", ("log_det", "trace"))
    _check_sizes(post, roots=roots, eval_roots=eval_roots)
    count = len(eval_roots)
    post, roots, eval_roots = shared_coordinates(post, roots, eval_roots)
    factor, m = _pencil(post, eval_roots)
    scaled = {name: m if name == "jepig" else m / count for name in wanted}
    weights = {}
    if form != "log_det":
        weights["trace"] = m
    if form == "trace":
        weights["all"] = torch.ones_like(m)
    else:
        for name, values in scaled.items():
            weights[name] = 1 / (1 + values)
            weights[f"{name}_gap"] = values / (1 + values)
    forms = _quadratic_forms(factor, weights, roots)
    parts = [_finish(forms(part), wanted, count) for part in _batches(roots)]
    found = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    return found | _proxies(found, scaled, count)


def _finish(grams, wanted, count):
    """Scores of one batch from its Gram blocks."""
    found = {}
    if "trace" in grams:
        first = wanted[0]
        own = grams["all"] if "all" in grams else grams[first] + grams[f"{first}_gap"]
        found["eig_log_det"] = _half_log_det(own)
        found["eig_trace"] = _half_trace(own)
        # tr F_E (P^{-1} - (P+F_i)^{-1}) = tr (I + G_i)^{-1} R_i P^{-1} F_E P^{-1} R_i^T
        found["jepig_trace"] = _half_trace(_relative(grams["trace"], own))
        found["epig_trace"] = found["jepig_trace"] / count
    for name in wanted:
        if name in grams:
            key = "jepig_log_det" if name == "jepig" else name
            gap = _relative(grams[f"{name}_gap"], grams[name])
            found[key] = _half_log_det(gap)
    return found


def _proxies(found, scaled, count):
    """What the talk prints: the same formulas without their part before the example."""
    proxies = {}
    for name, m in scaled.items():
        prefix = "jepig" if name == "jepig" else "epig"
        log_det = "jepig_log_det" if name == "jepig" else name
        if log_det in found:
            start = torch.log1p(m).sum() / 2
            proxies[f"{prefix}_proxy_log_det"] = start - found[log_det]
        if "jepig_trace" in found:
            trace = found[f"{prefix}_trace"]
            proxies[f"{prefix}_proxy_trace"] = m.sum() / 2 - trace
    return proxies


def _pencil(post, eval_roots):
    """X (D, D) and m (D,) with X^T P X = I and X^T F_E X = diag(m)."""
    inverse = post.root_inverse.to(eval_roots.device)
    count = len(eval_roots) * eval_roots.rank
    if count * post.num_parameters**2 > EXACT_WORK:
        m, vectors = torch.linalg.eigh(_symmetric_ratio(post, eval_roots))
        return inverse @ vectors, m.clamp(min=0.0)
    rows = eval_roots.project(inverse).double().flatten(0, 1)
    if count > post.num_parameters:
        rows = torch.linalg.qr(rows, mode="r")[1]
    _, singular, vectors = torch.linalg.svd(rows, full_matrices=True)
    m = inverse.new_zeros(post.num_parameters)
    m[: len(singular)] = singular.square()
    return inverse @ vectors.mT, m


def _quadratic_forms(factor, weights, roots):
    """A function from roots to Gram blocks R_i X diag(w) X^T R_i^T, by weight name."""
    if not by_rows(roots):
        matrices = {name: factor * w @ factor.mT for name, w in weights.items()}
        return lambda part: {
            name: part.gram_of_symmetric(matrix).double()
            for name, matrix in matrices.items()
        }

    def forms(part):
        grams = {name: [] for name in weights}
        for few in part.chunks():
            rows = few.project(factor).double()
            for name, w in weights.items():
                grams[name].append(rows * w @ rows.mT)
        return {name: torch.cat(found) for name, found in grams.items()}

    return forms


def _symmetric_ratio(post, roots):
    """C^{-T} F C^{-1} with P = C^T C: the symmetric form of F P^{-1}."""
    inverse = post.root_inverse.to(roots.device)
    ratio = inverse.mT @ roots.fisher_sum() @ inverse
    return (ratio + ratio.mT) / 2


def _pairwise_epig(post, roots, eval_roots):
    """Mean over e of -1/2 log det(I - A A^T), A the canonical correlations of i and e.

    A = (I + G_i)^{-1/2} R_i P^{-1} R_e^T (I + G_e)^{-1/2}: two examples share what
    their labels, each of unit noise, have in common (Schur complement of T34).
    """
    inverse = post.root_inverse.to(roots.device)
    evals = _normalised(eval_roots, post)
    total = []
    for start in range(0, len(roots), _PAIR_BATCH):
        part = _normalised(roots[start : start + _PAIR_BATCH], post)
        solved = FisherRoots(part.project(inverse).double() @ inverse.mT)
        total.append(_mean_information(evals, solved))
    return torch.cat(total)


def _mean_information(evals, solved):
    total = solved.dense().new_zeros(len(solved))
    each = len(solved) * solved.rank * max(evals.rank, evals.num_outputs)
    for part in evals.chunks(each):
        # (E, r', M, r) -> (E, M, r, r')
        correlations = part.cross(solved).permute(0, 2, 3, 1)
        shared = correlations @ correlations.mT
        total -= log_det_identity_minus(shared, check=False).sum(0) / 2
    return total / len(evals)


def _normalised(roots, post):
    """Roots (I + G_i)^{-1/2} R_i: observations whitened by their predictive noise."""
    factor = _identity_plus_factor(post.gram(roots))
    eye = torch.eye(roots.rank).to(factor)
    whitener = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
    return roots.scaled(whitener)


def _relative(gram, base):
    """N^{-1} G N^{-T} (M, r, r) with N N^T = I + base: G measured against I + base."""
    factor = _identity_plus_factor(base)
    left = torch.linalg.solve_triangular(factor, gram, upper=False)
    return torch.linalg.solve_triangular(factor, left.mT, upper=False)


def _identity_plus_factor(gram):
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky(eye + gram)


def _half_log_det(gram):
    return log_det_identity_plus(gram, check=False) / 2


def _half_trace(gram):
    return gram.diagonal(dim1=-2, dim2=-1).sum(-1) / 2


def _batches(roots):
    for start in range(0, len(roots), _BATCH):
        yield roots[start : start + _BATCH]


def _check_sizes(post, **named):
    for name, roots in named.items():
        check_count(len(roots), name)
        if roots.num_parameters != post.num_parameters:
            raise ValueError(
                f"{name} must have {post.num_parameters} parameters, as the posterior "
                f"has, got {roots.num_parameters}"
            )

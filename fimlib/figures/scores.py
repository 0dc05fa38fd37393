"""Every score of a pool, in weight space and in prediction space, as named columns."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fimlib import information, predictive
from fimlib.families import Categorical
from fimlib.figures import network
from fimlib.figures.records import Arrays
from fimlib.fisher import FisherRoots, last_layer_roots
from fimlib.posterior import GaussianPosterior, marglik_precision

_DET, _TRACE = "log det(I + F_E (P + F)^-1)", "tr(F_E (P + F)^-1)"
_SUM, _MEAN = "F_E the sum of the F_e", "F_E the mean of the F_e"
# Column: the published column it corresponds to, whether it carries the factor 1/2,
# which end is informative, and what it is. The published (J)EPIG proxies carry no 1/2.
_COLUMNS = {
    "bald": ("bald", None, "higher", "BALD from consistent dropout samples"),
    "epig": ("epig", None, "higher", "EPIG from the same samples"),
    "eig_log_det": ("xig_approx_log_det", True, "higher", "1/2 log det(I + F Sigma)"),
    "eig_trace": ("xig_approx_trace", True, "higher", "1/2 tr(F Sigma)"),
    "jepig_log_det": (None, True, "higher", "JEPIG, log det"),
    "epig_upper": (None, True, "higher", "JEPIG's formula with the mean of the F_e"),
    "jepig_proxy_log_det": ("jxpig_proxy_log_det", False, "lower", f"{_DET}, {_SUM}"),
    "jepig_proxy_trace": ("jxpig_proxy_trace", False, "lower", f"{_TRACE}, {_SUM}"),
    "epig_proxy_log_det": ("xpig_proxy_log_det", False, "lower", f"{_DET}, {_MEAN}"),
    "epig_proxy_trace": ("xpig_proxy_trace", False, "lower", f"{_TRACE}, {_MEAN}"),
    "predictive_entropy": (None, None, "higher", "entropy of the mean of the samples"),
    "softmax_entropy": (None, None, "higher", "entropy of the single pass"),
    "trace_fisher": (None, False, "higher", "tr F: a score without a posterior"),
    "badge_norm": (None, None, "higher", "length of the hard label's gradient (BADGE)"),
}
COLUMNS = tuple(_COLUMNS)
POSTERIOR = (
    "prior_precision", "half_log_det_precision", "trace_fisher_train", "squared_norm",
    "dead_units",
)  # fmt: skip


def describe_columns() -> dict[str, dict[str, Any]]:
    """For each column: published name, factor 1/2, informative end, meaning."""
    keys = ("published", "half", "informative", "meaning")
    return {name: dict(zip(keys, row, strict=True)) for name, row in _COLUMNS.items()}


def last_layer(net: network.DropoutCNN, inputs: dict[str, Tensor]) -> Arrays:
    """The last layer's inputs and outputs, dropout off, and its parameters, as arrays.

    inputs: name of a part to images (N,1,28,28). For each part PART/features (N,128)
    and PART/logits (N,10), and theta (1290,), all in the network's float32.
    """
    found = {}
    for part, images in inputs.items():
        features, logits = network.features(net, images)
        found[f"{part}/features"] = features.numpy()
        found[f"{part}/logits"] = logits.numpy()
    weight, bias = net.fc2.weight.detach(), net.fc2.bias.detach()
    found["theta"] = torch.cat([weight.flatten(), bias]).numpy()
    return found


def roots_of(layer: Arrays, part: str) -> FisherRoots:
    """Fisher roots of one part of what ``last_layer`` gave, in float64."""
    features, logits = _outputs(layer, part)
    return last_layer_roots(features, logits, family=Categorical())


def _outputs(layer: Arrays, part: str) -> tuple[Tensor, Tensor]:
    features, logits = layer[f"{part}/features"], layer[f"{part}/logits"]
    return torch.from_numpy(features).double(), torch.from_numpy(logits).double()


def posterior_of(layer: Arrays) -> GaussianPosterior:
    """The posterior of the training part, with its best prior precision."""
    train, theta = roots_of(layer, "train"), torch.from_numpy(layer["theta"]).double()
    return GaussianPosterior.from_roots(train, marglik_precision(train, theta))


def weight_space(layer: Arrays) -> Arrays:
    """The weight-space columns of the pool, and the numbers in ``POSTERIOR``.

    layer: what ``last_layer`` gave of the parts train, pool and evaluation.
    """
    train, roots, eval_roots = (
        roots_of(layer, part) for part in ("train", "pool", "evaluation")
    )
    features, logits = _outputs(layer, "pool")
    posterior = posterior_of(layer)
    columns = {
        **{  # fimlib's proxies keep the talk's 1/2, the published ones have none
            name: 2.0 * values if "proxy" in name else values
            for name, values in information.scores(roots, posterior, eval_roots).items()
        },
        "trace_fisher": trace_fisher(roots),
        "softmax_entropy": _entropy(logits),
        "badge_norm": badge_norm(features, logits),
        "prior_precision": posterior.prior_precision,
        "half_log_det_precision": 0.5 * posterior.log_det_precision,
        "trace_fisher_train": trace_fisher(train).sum(),
        "squared_norm": np.square(layer["theta"].astype(np.float64)).sum(),
        "dead_units": (features.amax(0) == 0).sum(),
    }
    return {name: np.asarray(value) for name, value in columns.items()}


def trace_fisher(roots: FisherRoots) -> Tensor:
    """tr F of each example: twice the trace form under the posterior precision I."""
    plain = GaussianPosterior.isotropic(roots.num_parameters, 1.0)
    return 2.0 * information.eig(roots, plain, form="trace")


def badge_norm(features: Tensor, logits: Tensor) -> Tensor:
    """Length (M,) of BADGE's embedding: the gradient at the likeliest label."""
    errors = logits.softmax(-1)
    likeliest = torch.arange(len(logits)), logits.argmax(-1)
    errors[likeliest] -= 1.0
    return errors.norm(dim=-1) * (features.square().sum(-1) + 1.0).sqrt()


def _entropy(log_odds: Tensor) -> Tensor:
    log_probs = log_odds.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


def prediction_space(pool: ArrayLike, evaluation: ArrayLike) -> Arrays:
    """BALD, EPIG and predictive entropy of log-probabilities (M,L,C) and (E,L,C)."""
    pool = torch.as_tensor(pool, dtype=torch.float64)
    evaluation = torch.as_tensor(evaluation, dtype=torch.float64)
    # Float32 samples sum to one within 1e-6; the scores ask for more.
    pool, evaluation = pool.log_softmax(-1), evaluation.log_softmax(-1)
    columns = {
        "bald": predictive.bald(pool),
        "epig": predictive.epig(pool, evaluation),
        "predictive_entropy": _entropy(pool.logsumexp(1)),
    }
    return {name: value.numpy() for name, value in columns.items()}

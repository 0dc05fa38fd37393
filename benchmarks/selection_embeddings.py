"""Batches by distances and by BAIT: the two sides of each job.

Sides that draw are compared by what does not depend on the draw: how many distinct
examples they return, and the first one where it is the longest embedding.
"""

import numpy as np
import torch
from pairs import Pair, peak_mb, timed
from weight_space import PRIOR, last_layer

BATCH = 100
EMBEDDINGS = "M=20,000, C d=1280, K=100"
FEATURES = "M=20,000, d=128, K=100"
BAIT = "M=5000, d=128, C=10, K=100 of 200, N=500"
# CPU-seconds that BAIT of this size may take.
BUDGET = 15.0
# Candidates that a step of plain BAIT scores at once.
BLOCK = 50

PAIRS = [
    Pair("BADGE | bmdal-reg kmeanspp", EMBEDDINGS, "badge_distinct", "k_means_pp_peer"),
    Pair("BADGE | scikit-activeml", EMBEDDINGS, "badge_ours", "badge_peer"),
    Pair("max_dist | bmdal-reg", FEATURES, "max_dist_ours", "max_dist_peer"),
    Pair("lcmd | bmdal-reg", FEATURES, "lcmd_ours", "lcmd_peer"),
    Pair("Frank-Wolfe | bmdal-reg", FEATURES, "frank_wolfe_ours", "frank_wolfe_peer"),
    # A step back scores 150 examples on average: all 100 are about 3 steps of 5000.
    Pair("BAIT | D x D products", BAIT, "bait_ours", "bait_dense", 1, 203),
]
for pair in PAIRS:
    pair.compare = "identical"
PAIRS[-1].python = "own"
ALONE = ["bait_budget"]


def embeddings(count=20_000):
    """BADGE's embeddings, all of them formed (M, C d)."""
    _, features, logits = last_layer(count, 1)
    residuals = logits.softmax(1)
    residuals[torch.arange(count), logits.argmax(1)] -= 1
    return (residuals[:, :, None] * features[:, None, :]).flatten(1)


def badge_ours():
    """The first index and the number of distinct ones."""
    from fimlib.selection import badge

    _, features, logits = last_layer(20_000, 1)

    def choose():
        found = badge(features, logits, BATCH).indices.tolist()
        return torch.tensor([found[0], len(set(found))])

    return choose


def badge_distinct():
    """The number of distinct indices."""
    choose = badge_ours()
    return lambda: choose()[1:]


def bmdal(name, features, **options):
    """A selection method of bmdal-reg in its mode P, which sees no training example."""
    if not hasattr(np, "Inf"):
        np.Inf = np.inf  # noqa: NPY201
    from bmdal_reg.bmdal import selection

    # The constants of its methods are of the default type.
    torch.set_default_dtype(torch.float64)
    identity = selection.IdentityFeatureMap(features.shape[1])
    features = selection.Features(identity, selection.TensorFeatureData(features))
    method = getattr(selection, f"{name}SelectionMethod")
    options["sel_with_train"] = False
    return lambda: method(features, features[:1], **options).select(BATCH)


def k_means_pp_peer():
    """bmdal-reg: the same sampling, of embeddings that are formed beforehand."""
    select = bmdal("Kmeanspp", embeddings())
    return lambda: torch.tensor([len(set(select().tolist()))])


def badge_peer():
    """scikit-activeml: the same from features and probabilities."""
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Badge

    _, features, logits = last_layer(20_000, 1)
    outputs = logits.softmax(1).numpy(), features.numpy()

    class Given(SkactivemlClassifier):
        def fit(self, X, y, sample_weight=None):
            return self

        def predict_proba(self, X):
            return outputs

    def choose():
        labels = np.full(len(features), np.nan)
        query, options = Badge(random_state=0).query, {"batch_size": BATCH}
        found = query(outputs[1], labels, Given(), fit_clf=False, **options)
        return torch.tensor([int(found[0]), len({int(i) for i in found})])

    return choose


def _ours(name):
    from fimlib import selection

    features = last_layer(20_000, 1)[1]
    method = getattr(selection, name)
    return lambda: method(features, BATCH).indices


def _peer(name):
    return bmdal(name, last_layer(20_000, 1)[1])


def max_dist_ours():
    """The indices of farthest first."""
    return _ours("max_dist")


def max_dist_peer():
    """bmdal-reg's."""
    return _peer("MaxDist")


def lcmd_ours():
    """The indices of largest cluster maximum distance."""
    return _ours("lcmd")


def lcmd_peer():
    """bmdal-reg's."""
    return _peer("LargestClusterMaxDist")


def frank_wolfe_ours():
    """The indices of Frank-Wolfe."""
    return _ours("frank_wolfe")


def frank_wolfe_peer():
    """bmdal-reg's."""
    return _peer("FrankWolfe")


def bait_ours():
    """The indices of BAIT, the posterior included; F_U is that of the pool."""
    from fimlib.fisher import last_layer_roots
    from fimlib.posterior import GaussianPosterior
    from fimlib.selection import bait

    pool, seen = (
        last_layer_roots(*last_layer(count, seed)[1:], bias=False)
        for count, seed in ((5000, 1), (500, 2))
    )

    def choose():
        post = GaussianPosterior.from_roots(seen, PRIOR)
        return bait(pool, pool, post, BATCH).indices

    return choose


def _gradients(count, seed):
    """sqrt(p_c) (e_c - p) (x) phi for all classes c, for a slice of the examples."""
    _, features, logits = last_layer(count, seed)
    p = logits.softmax(1)
    outer = p.sqrt()[:, :, None] * (torch.eye(p.shape[1]).to(p) - p[:, None, :])

    def rows(part):
        found = outer[part, :, :, None] * features[part, None, None, :]
        return found.flatten(2)

    return rows


def bait_dense():
    """One step forward in plain PyTorch: products of every root with D x D matrices."""
    pool = _gradients(5000, 1)
    blocks = [slice(i, i + BLOCK) for i in range(0, 5000, BLOCK)]
    evals = sum(rows.mT @ rows for rows in (pool(b).flatten(0, 1) for b in blocks))
    evals, seen = evals / 5000, _gradients(500, 2)(slice(None)).flatten(0, 1)
    precision = PRIOR * torch.eye(len(evals)).to(evals) + seen.mT @ seen

    def step():
        inverse, scores = torch.linalg.inv(precision), []
        for part in blocks:
            rows = pool(part)
            thin = rows @ inverse
            gram, target = thin @ rows.mT, thin @ evals @ thin.mT
            eye = torch.eye(gram.shape[1]).to(gram)
            solved = torch.linalg.solve(eye + gram, target)
            scores.append(solved.diagonal(dim1=1, dim2=2).sum(1))
        return torch.cat(scores).argmax()[None]

    return step


def bait_budget():
    """BAIT against its budget of CPU-seconds."""
    cpu, wall, _ = timed(bait_ours())
    row = {"job": f"BAIT against {BUDGET:.0f} CPU-s", "sizes": BAIT, "ours_cpu_s": cpu}
    row |= {"ours_wall_s": wall, "peer_cpu_s": BUDGET, "ratio": BUDGET / cpu}
    return [row | {"ours_peak_mb": peak_mb()}]

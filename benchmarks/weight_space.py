"""Weight-space quantities: the two sides of each job, and rows that have no peer.

A side is made once, then called; what it returns is compared with the other side's.
Peers are imported inside of their side, so that this file needs none.
"""

import math
import time

import numpy as np
import torch
from pairs import Pair, gemm_rate, peak_mb, usage

PRIOR = 1.0
FEATURES, CLASSES = 128, 10
LAST_LAYER = "d=128, C=10, M=1000, N=1000"
NETWORK = "784-64-64-10, N=1000, float32"
# GFLOP of the EIG by blocks of outputs, and the share of the GEMM rate asked for.
GFLOP = {1_000: 6.1, 60_000: 114.0}
SHARE = 0.6

PAIRS = [
    Pair("EIG | D x D determinants", LAST_LAYER, "eig_ours", "dense_eig", 2, 1000),
    Pair("EIG | laplace-torch", LAST_LAYER, "eig_ours", "laplace_eig", 2, 1000),
    Pair(
        "EIG, JEPIG | D x D determinants",
        LAST_LAYER + ", E=20,000",
        "scores_ours",
        "dense",
        2,
        1000,
    ),
    Pair("exact trace of F | backpack", NETWORK, "trace_ours", "trace_backpack"),
    Pair("Gram of gradients | nngeometry", NETWORK, "gram_ours", "gram_nngeometry"),
    Pair("Gram of gradients | torch.func", NETWORK, "gram_ours", "gram_rows"),
    Pair("log det(I + F) | torch.func", NETWORK, "log_det_ours", "log_det_rows"),
]
ALONE = ["rates", "exponent"]


def last_layer(count, seed):
    """Features (M, 128) and logits (M, 10) of a random last layer."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(FEATURES, CLASSES).double()
    torch.manual_seed(seed)
    features = torch.randn(count, FEATURES, dtype=torch.float64)
    with torch.no_grad():
        return layer, features, 3 * layer(features)


def roots(count, seed):
    """fimlib's roots of such a layer."""
    from fimlib.fisher import last_layer_roots

    return last_layer_roots(*last_layer(count, seed)[1:])


def eig_ours(count=1000, train=1000):
    """EIG of a pool, the posterior included."""
    from fimlib.information import eig
    from fimlib.posterior import GaussianPosterior

    pool, seen = roots(count, 1), roots(train, 2)
    return lambda: eig(pool, GaussianPosterior.from_roots(seen, PRIOR))


def scores_ours(count=1000, train=1000, evaluated=20_000):
    """Every score but the pairwise EPIG, the evaluation Fisher included."""
    from fimlib.information import scores
    from fimlib.posterior import GaussianPosterior

    pool, seen, evals = roots(count, 1), roots(train, 2), roots(evaluated, 3)

    def score():
        found = scores(pool, GaussianPosterior.from_roots(seen, PRIOR), evals)
        return torch.stack([found[name] for name in ("eig_log_det", "jepig_log_det")])

    return score


def _determinants(precision, information, evals, samples):
    """The way of a notebook: a D x D determinant for each score of each example."""
    eye = torch.eye(len(precision), dtype=torch.float64)
    inverse = torch.linalg.inv(precision)
    found = []
    for i in range(samples):
        info = information(i).double()
        row = [torch.linalg.slogdet(info @ inverse + eye)[1] / 2]
        if evals is not None:
            after = torch.linalg.inv(info + precision)
            left = torch.linalg.slogdet(evals @ after + eye)[1] / 2
            start = torch.linalg.slogdet(evals @ inverse + eye)[1] / 2
            row.append(start - left)
        found.append(torch.stack(row))
    return torch.stack(found, dim=1).squeeze(0)


def dense(samples=2, evaluated=20_000):
    """Dense Fisher matrices and determinants in plain PyTorch, for a few examples."""
    _, features, logits = last_layer(1000, 1)
    seen = roots(1000, 2).fisher_sum() + PRIOR * torch.eye(1290).double()
    evals = roots(evaluated, 3).fisher_sum() if evaluated else None

    def information(i):
        p = logits[i].softmax(0)
        phi = torch.cat([features[i], torch.ones(1).double()])
        return torch.kron(p.diag() - p.outer(p), phi.outer(phi))

    return lambda: _determinants(seen, information, evals, samples)


def dense_eig(samples=2):
    """`dense` without evaluation examples."""
    return dense(samples, 0)


def laplace_eig(samples=2):
    """laplace-torch: its posterior precision, and its GGN of each example, in turn."""
    from laplace import Laplace
    from laplace.curvature.backpack import BackPackGGN

    layer, features, _ = last_layer(1000, 1)
    _, seen, logits = last_layer(1000, 2)
    with torch.no_grad():
        layer.weight.mul_(3)
        layer.bias.mul_(3)
    body = torch.nn.Sequential(torch.nn.Identity(), layer)
    pairs = torch.utils.data.TensorDataset(seen, logits.argmax(1))
    loader = torch.utils.data.DataLoader(pairs, batch_size=250)
    model = Laplace(
        body, "classification", "last_layer", "full", PRIOR, backend=BackPackGGN
    )
    model.fit(loader)
    precision, none = model.posterior_precision.double(), torch.zeros(1).long()

    def information(i):
        return model.backend.full(features[i : i + 1], none)[1]

    return lambda: _determinants(precision, information, None, samples)


def perceptron():
    """The network 784-64-64-10, 1,000 inputs and labels, in float32."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 64), torch.nn.ReLU(),
        torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10),
    )  # fmt: skip
    return model, torch.randn(1000, 784), torch.randint(10, (1000,))


def _network(function, estimator):
    from fimlib.fisher import network_roots

    model, inputs, labels = perceptron()
    options = {"estimator": estimator, "dtype": torch.float32}
    if estimator == "empirical":
        options["labels"] = labels
    return lambda: function(network_roots(model, inputs, **options))


def trace_ours():
    """The exact trace of the network's Fisher information."""
    from fimlib.information import fisher_trace

    return _network(fisher_trace, "exact")


def gram_ours():
    """Inner products of the gradients of all pairs of examples."""
    from fimlib.information import gram_matrix

    return _network(gram_matrix, "empirical")


def log_det_ours():
    """log det(I + F) of the empirical Fisher information."""
    from fimlib.information import log_det_fisher

    return _network(log_det_fisher, "empirical")


def trace_backpack():
    """backpack: the diagonal of the GGN of each batch, summed."""
    from backpack import backpack, extend
    from backpack.extensions import DiagGGNExact

    model, inputs, labels = perceptron()
    model, loss = extend(model), extend(torch.nn.CrossEntropyLoss(reduction="sum"))

    def trace():
        with backpack(DiagGGNExact()):
            loss(model(inputs), labels).backward()
        return sum(p.diag_ggn_exact.sum() for p in model.parameters())

    return trace


def gram_nngeometry():
    """nngeometry: the Gram matrix of the gradients of each example's loss."""
    from nngeometry.gram import GramMatrix

    model, inputs, labels = perceptron()

    def loss(x, y):
        found = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
        return found[:, None]

    data = torch.utils.data.TensorDataset(inputs, labels)
    loader = torch.utils.data.DataLoader(data, batch_size=len(inputs))
    shape = (len(inputs),) * 2
    return lambda: GramMatrix(model, loader, loss).to_torch().reshape(shape)


def _gradients():
    """A function that gives all gradients as N x D rows, by torch.func."""
    from torch.func import functional_call, grad, vmap

    model, inputs, labels = perceptron()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(values, x, y):
        out = functional_call(model, values, (x[None],))
        return torch.nn.functional.cross_entropy(out, y[None])

    def rows():
        found = vmap(grad(loss), (None, 0, 0))(parameters, inputs, labels)
        return torch.cat([g.flatten(1) for g in found.values()], dim=1)

    return rows


def gram_rows():
    """torch.func: all gradients as N x D rows, and their products."""
    rows = _gradients()
    return lambda: (lambda g: g @ g.mT)(rows())


def log_det_rows():
    """torch.func: the same, and the determinant of I + their products."""
    gram = gram_rows()

    def log_det():
        found = gram().double()
        return torch.linalg.slogdet(torch.eye(len(found)).double() + found)[1]

    return log_det


def rates(counts=(1_000, 60_000)):
    """The EIG against the rate of matrix products, measured in turn in one process."""
    rows = []
    for count in counts:
        score, found = eig_ours(count), []
        for _ in range(5 if count < 10_000 else 1):
            rate, cpu, wall = gemm_rate(), usage(), time.perf_counter()
            score()
            cpu, wall = usage() - cpu, time.perf_counter() - wall
            limit = GFLOP[count] / max(rate, gemm_rate()) / SHARE
            found.append((cpu / limit, cpu, wall, limit))
        ratio, cpu, wall, limit = sorted(found)[len(found) // 2]
        peak = peak_mb()
        rows.append(
            {
                "job": f"EIG of {count:,} against {GFLOP[count]} GFLOP at 60 % of GEMM",
                "sizes": LAST_LAYER.replace("1000", str(count), 1),
                "ours_cpu_s": cpu,
                "ours_wall_s": wall,
                "peer_cpu_s": limit,
                "ratio": 1 / ratio,
                "ours_peak_mb": peak,
            }
        )
    return rows


def exponent(counts=(1_000, 3_000, 10_000, 30_000, 100_000)):
    """Fitted exponent of the EIG's CPU-seconds in the size of the pool.

    The posterior is made before: its cost does not depend on the pool.
    """
    from fimlib.information import eig
    from fimlib.posterior import GaussianPosterior

    post = GaussianPosterior.from_roots(roots(1000, 2), PRIOR)
    eig(roots(2000, 1), post)
    times = []
    for count in counts:
        pool, best = roots(count, 1), math.inf
        for _ in range(3 if count < 20_000 else 1):
            cpu = usage()
            eig(pool, post)
            best = min(best, usage() - cpu)
        times.append(best)
    slope = np.polyfit(np.log(counts), np.log(times), 1)[0]
    row = {
        "job": "EIG: exponent in the size of the pool",
        "sizes": f"M={counts[0]:,} to {counts[-1]:,}",
        "exponent": float(slope),
        "ours_cpu_s": times[-1],
    }
    return [row]

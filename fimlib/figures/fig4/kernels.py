"""Features whose inner products are the kernels of Figure 4.

Base kernels are those of a network's gradients and of an ensemble's covariance;
transforms make a kernel that of a Gaussian process given the training examples. Names
in quotes, and defaults, are those of base kernels and kernel transformations in
Holzmueller et al. 2023, "A Framework and Benchmark for Deep Batch Active Learning for
Regression" (arXiv:2203.09410), and of its code, bmdal-reg. All features are float64;
what a network computes is of its own type.
"""

import math
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Generator, Tensor

from fimlib import _checks
from fimlib._checks import as_tensor, check_choice, check_count, positive_float
from fimlib.figures.fig4.mlp import BIAS_FACTOR, WEIGHT_FACTOR, Stack

_POINTS = 4096  # examples of which gradients are held at once
FORMS = ("posterior", "benchmark", "hyper")


def gradient_factors(stack: Stack, x: ArrayLike) -> list[tuple[Tensor, Tensor]]:
    """Gradients of one network's output, a pair of factors (left, right) a layer.

    x: (n, d). Of layer l, left (n, in_l + 1) and right (n, out_l): left_i (x) right_i
    is the gradient at x_i by the weights (in_l, out_l), and in its last row by the
    biases (arXiv:2203.09410, base kernel "grad"), the factors of the NTK
    parametrisation in left.
    """
    if len(stack) != 1:
        raise ValueError(f"stack must hold one network, got {len(stack)}")
    weights = [weight[0].detach() for weight in stack.weights]
    biases = [bias[0].detach() for bias in stack.biases]
    inputs = [as_tensor(x, "x", ("n", len(weights[0])), weights[0].dtype)]
    one = inputs[0].new_full((len(inputs[0]), 1), BIAS_FACTOR)
    lefts = []
    for weight, bias in zip(weights, biases, strict=True):
        z = inputs[-1]
        lefts.append(torch.cat([WEIGHT_FACTOR / len(weight) ** 0.5 * z, one], 1))
        inputs.append((lefts[-1] @ torch.cat([weight, bias])).relu())
    rights = [torch.ones_like(one)]
    for weight, z in zip(weights[:0:-1], inputs[-2:0:-1], strict=True):
        back = rights[-1] @ (WEIGHT_FACTOR / len(weight) ** 0.5 * weight.mT)
        rights.append(back.masked_fill_(z <= 0, 0.0))
    return list(zip(lefts, rights[::-1], strict=True))


def sketched_gradients(
    stack: Stack, x: ArrayLike, width: int, generator: Generator | None = None
) -> Tensor:
    """Random features (n, width) for inner products of gradients, "grad" and "rp".

    A layer's gradient left (x) right has the features ``(left A) * (right B) /
    sqrt(width)``, with normal A (in + 1, width) and B (out, width), and those of all
    layers are added: the mean of an inner product over A and B is that of the
    gradients. One sketch is drawn for all rows: pool and training examples have to be
    passed together.
    """
    width = _checks.positive_int(width, "width")
    x = torch.as_tensor(x)
    like: dict[str, Any] = {
        "dtype": torch.float64,
        "device": x.device,
        "generator": generator,
    }
    sizes = [(w.shape[1] + 1, w.shape[2]) for w in stack.weights]
    # Drawn in float64, so that networks of both types are given the same sketch.
    sketches = [
        [torch.randn(rows, width, **like).to(stack.weights[0]) for rows in pair]
        for pair in sizes
    ]
    found = torch.empty(len(x), width, dtype=torch.float64, device=x.device)
    for part, into in zip(x.split(_POINTS), found.split(_POINTS), strict=True):
        into.zero_()
        factors = gradient_factors(stack, part)
        for (left, right), (a, b) in zip(factors, sketches, strict=True):
            into += (left @ a).mul_(right @ b)
        into *= width**-0.5
    return found


def scaled_to_train(pool: ArrayLike, train: ArrayLike) -> tuple[Tensor, Tensor]:
    """Pool (M, d) and training features (N, d), over the training rows' mean size.

    The kernel's mean on the training rows is 1 then (transformation "scale"). Raises
    ValueError for training rows that are all 0.
    """
    pool, train = _pair(pool, train)
    size = train.square().sum(1).mean().sqrt()
    if not size > 0:
        raise ValueError("train must have a row that is not 0 to scale by")
    return pool / size, train / size


def given_train(
    pool: ArrayLike, train: ArrayLike, noise: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Features of the Gaussian process posterior given the training rows, `train`.

    pool: (M, d), train: (N, d). With k the inner product of rows and X the training
    rows, the results have the inner products ``k(x, x') - k(x, X) (k(X, X) + noise^2
    I)^{-1} k(X, x')``: they are ``pool R^{-1}`` with ``R^T R = I + X^T X / noise^2``
    (T44), R from a QR decomposition, which has twice the digits of a Cholesky factor.
    After `scaled_to_train` it is the transformation "train".
    """
    pool, train = _pair(pool, train)
    noise = positive_float(noise, "noise")
    eye = torch.eye(train.shape[1], dtype=train.dtype, device=train.device)
    upper = torch.linalg.qr(torch.cat([train / noise, eye]), mode="r")[1]
    # The only one with a positive diagonal, whatever the library's signs.
    upper = upper * upper.diagonal().sign()[:, None]
    inverse = torch.linalg.solve_triangular(upper, eye, upper=True)
    return pool @ inverse, train @ inverse


def acs_features(
    pool: ArrayLike, train: ArrayLike, width: int, generator: Generator | None = None,
    noise: float = 1e-3, form: str = "posterior", targets: ArrayLike | None = None,
) -> Tensor:  # fmt: skip
    """Random features (M, width) of active Bayesian coresets, "acs-rf".

    A column is, for one draw of the weights from their posterior, what each pool
    example's label is expected to add to the log-posterior, over sqrt(width): the
    expected log-likelihood and the predictive entropy (Pinsler et al. 2019,
    arXiv:1908.02144). With posterior variance v of the function, its value f ~ N(0, v)
    less the mean in this draw, and noise variance s2:

    "posterior": ``log(1 + v / s2) / 2 - (f^2 + v) / (2 s2)``.
    "benchmark": the same of v / s2 and f / s for v and f, since bmdal-reg's `acs-rf`
    has the posterior covariance without its factor s2; at noise 1 the two are the same.
    "hyper": a noise variance not known, with an inverse gamma prior of shape and scale
    1, the posterior a~, b~ given the `targets` (N,): ``-(log 2 pi + f^2 + b~/a~ (1 +
    v)) / 2`` with f and v at noise variance 1, and no entropy, as `acs-rf-hyper`.
    """
    check_choice(form, "form", FORMS)
    width = _checks.positive_int(width, "width")
    noise = 1.0 if form == "hyper" else positive_float(noise, "noise")
    pool, known = given_train(pool, train, noise)
    if form == "benchmark":
        pool /= noise
    variance = pool.square().sum(1, keepdim=True)
    draws = torch.randn(
        pool.shape[1], width, dtype=pool.dtype, device=pool.device, generator=generator
    )
    found = (pool @ draws).square_()
    if form == "hyper":
        ratio = _noise_variance(known, targets)
        found += ratio * (1 + variance) + math.log(2 * math.pi)
        return found.mul_(-0.5 / width**0.5)
    found += variance
    found /= -(noise**2)
    found += (variance / noise**2).log1p()
    return found.mul_(0.5 / width**0.5)


def _noise_variance(known: Tensor, targets: ArrayLike | None) -> Tensor:
    """b~ / a~ of the inverse gamma posterior, from posterior features at noise 1."""
    if targets is None:
        raise ValueError('targets must be given for the form "hyper", got None')
    y = as_tensor(targets, "targets", (len(known),)).to(known.device)
    # y^T (I + X X^T)^{-1} y, by Woodbury: R^{-T} X^T y is the product with `known`.
    left = y.square().sum() - (y @ known).square().sum()
    return (1 + left / 2) / (1 + len(y) / 2)


def ensemble_features(predictions: ArrayLike) -> Tensor:
    """Features (n, K) of an ensemble's covariance, from predictions (K, n).

    ``(f_k(x) - mean over k) / sqrt(K)``: inner products are the empirical covariance
    over the members with 1/K, of rank at most K - 1 (T44; arXiv:2302.08981).
    """
    predictions = as_tensor(predictions, "predictions", ("K", "n"))
    check_count(len(predictions), "predictions")
    found = (predictions - predictions.mean(0)) / len(predictions) ** 0.5
    return found.mT.contiguous()


def _pair(pool: ArrayLike, train: ArrayLike) -> tuple[Tensor, Tensor]:
    pool = as_tensor(pool, "pool", ("M", "d"))
    train = as_tensor(train, "train", ("N", "d"))
    _checks.check_shape(train, "train", ("N", pool.shape[1]))
    check_count(len(train), "train")
    return pool, train

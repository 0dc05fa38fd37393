"""Arrays and options of every kind that users give: the right number or a refusal."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from cases import normal
from torch import nn
from zoo_modules import Net

from fimlib.families import Bernoulli, GaussianMeanLogVariance
from fimlib.fisher import (
    FisherRoots,
    last_layer_roots,
    network_roots,
)
from fimlib.posterior import GaussianPosterior
from fimlib.predictive import bald, epig
from fimlib.selection import badge, k_dpp, top_k
from fimlib.similarity import log_det

X, Z = normal(6, 4, seed=1).numpy(), normal(6, 3, seed=2).numpy()
Y = np.array([0, 2, 1, 1, 0, 2])
ORDER = np.array([3, 0, 5, 1, 4, 2])


def rows(features=X, **options):
    return last_layer_roots(features, Z, **options).dense()


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame(X, index=range(10, 16), columns=list("abcd")),
        X[::-1].copy()[::-1],
        X.astype(">f8"),
        X.astype(np.longdouble),
        np.asfortranarray(X),
        np.ma.masked_array(X),
        X.tolist(),
        [torch.tensor(x) for x in X],
        torch.tensor(X.T.copy(), requires_grad=True).T,
        np.lib.stride_tricks.as_strided(X.copy(), X.shape, X.strides, writeable=False),
    ],
)
def test_features_of_every_kind_are_the_same_numbers(given):
    assert torch.equal(rows(given), rows())


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(Y, index=ORDER),
        pd.Series(Y, index=range(10, 16)),
        pd.Series(Y, dtype="Int64"),
        Y.astype(">i8"),
        Y.astype("u1"),
        Y.astype("u2"),
        Y[::-1].copy()[::-1],
        Y.tolist(),
        torch.tensor(Y, dtype=torch.int16),
    ],
)
def test_labels_of_every_kind_are_the_same_numbers(given):
    assert torch.equal(
        rows(estimator="empirical", labels=given), rows(estimator="empirical", labels=Y)
    )


@pytest.mark.parametrize("kind", ["u1", "i2", "u4", "i8", ">i4"])
def test_indices_of_every_kind_select_the_same(kind):
    roots = last_layer_roots(X, Z)
    assert torch.equal(roots[ORDER.astype(kind)].dense(), roots.dense()[ORDER])
    series = pd.Series([0.1, 0.5, 0.3, 0.9, 0.2, 0.4], index=range(10, 16))
    assert top_k(series, 2).indices.tolist() == [3, 1]


class Columns:
    """A frame of another library: it has to_numpy, and columns by name."""

    def to_numpy(self):
        return X

    def __getitem__(self, key):
        return {"a": X[:, 0]}[key]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.ma.masked_array(X, mask=X > 1),
            "features must have no masked entries, got",
        ),
        (torch.tensor(X).to_sparse(), "features must be a dense tensor"),
        (list("abcdef"), "features must be a numeric array or tensor, got list of dty"),
        ({"x": X}, "features must be a numeric array or tensor, got dict"),
        (X + 1j, "features must be real, got dtype torch.complex128"),
        (X.astype(object), "features must be a numeric array or tensor"),
        (np.array(["2020-01-01"] * 6, "M8[D]"), "features must be a numeric array"),
        ([[1.0], [1.0, 2.0]], "features must be a numeric array or tensor, got list"),
        (np.where(X > 1, np.nan, X), "features must be finite"),
        (torch.empty(6, 4, device="meta"), "features must be a dense tensor"),
    ],
)
def test_arrays_that_cannot_be_meant_are_refused(given, message):
    assert torch.equal(rows(Columns()), rows())
    with pytest.raises(ValueError, match=message):
        rows(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dtype": torch.int64},
            "dtype must be a floating torch.dtype, got torch.int64",
        ),
        ({"dtype": "float32"}, "dtype must be a floating torch.dtype, got 'float32'"),
        ({"dtype": np.float32}, "dtype must be a floating torch.dtype"),
        ({"generator": 0}, "generator must be a torch.Generator, got int: pass torch"),
        ({"family": Bernoulli}, "family must be an instance of fimlib.families"),
        ({"family": "regression"}, "family must be an instance .* got 'regression'"),
        (
            {
                "estimator": "empirical",
                "labels": pd.Series([0, None] * 3, dtype="Int64"),
            },
            "labels must hold integers",
        ),
        (
            {"estimator": "empirical", "labels": list("abbaca")},
            "labels must be a numer",
        ),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rows(**options)


def test_a_callers_buffer_may_be_used_again():
    buffer, prior = X.copy(), np.eye(4)
    model, inputs = Net(width=4), X.copy()
    made_of = {
        "array": lambda: FisherRoots.from_dense(buffer),
        "layer": lambda: last_layer_roots(buffer, Z, bias=False),
        "network": lambda: network_roots(model, inputs),
    }
    kept = {name: make() for name, make in made_of.items()}
    before = {name: roots.dense().clone() for name, roots in kept.items()}
    post = GaussianPosterior.from_roots(kept["array"], prior)
    for array in (buffer, inputs, prior):
        array[:] = 7.0
    for name, roots in kept.items():
        assert torch.equal(roots.dense(), before[name])
    expected = torch.eye(4) + torch.tensor(X.T @ X)
    torch.testing.assert_close(post.precision, expected)


def test_probabilities_for_logits_warn():
    for call in (
        lambda z: last_layer_roots(X, z),
        lambda z: badge(X, z, 2),
        lambda z: network_roots(nn.Sequential(Net(), nn.Softmax(-1)), z),
    ):
        with pytest.warns(UserWarning, match=r"pass .* probabilities.log\(\)"):
            call(torch.tensor(Z).softmax(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        last_layer_roots(X, torch.tensor(Z).log_softmax(1))


def test_float32_kernels_are_judged_by_float32():
    """A cosine kernel of rank 8: symmetric and semi-definite up to its own rounding."""
    x = normal(60, 8).float().numpy()
    lengths = np.linalg.norm(x, axis=1)
    kernel = (x @ x.T) / lengths[:, None] / lengths
    unit = torch.tensor(x).double()
    unit /= unit.norm(dim=1, keepdim=True)
    expected = torch.linalg.slogdet(torch.eye(60) + unit @ unit.mT)[1]
    found = log_det(kernel, jitter=1.0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    assert log_det(kernel) == -math.inf
    symmetric = (kernel + kernel.T) / 2
    assert len(k_dpp(symmetric, 3, is_kernel=True)) == 3
    with pytest.raises(ValueError, match="S must be symmetric"):
        log_det(kernel.astype("f8") + np.triu(np.full((60, 60), 1e-5)))


def test_several_labels_are_scored_together():
    """Against entropies of all 8 joint labels, one by one."""
    table = normal(4, 5, 3, 2, seed=3).log_softmax(-1)
    other = normal(2, 5, 3, seed=4).log_softmax(-1)

    def joint(i, labels):
        return math.prod(table[i, :, k, y].exp() for k, y in enumerate(labels))

    every = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    for i in range(4):
        p = torch.stack([joint(i, labels) for labels in every])
        mean = p.mean(1)
        information = (p * (p / mean[:, None]).log()).sum(0).mean()
        assert bald(table)[i].item() == pytest.approx(information.item(), rel=1e-12)
        q = other.exp().mean(1)
        both = torch.einsum("al,elc->eac", p, other.exp()) / 5
        ratio = both / (mean[:, None] * q[:, None, :])
        expected = (both * ratio.log()).sum((1, 2)).mean()
        assert epig(table, other)[i].item() == pytest.approx(expected.item(), rel=1e-10)
    with pytest.raises(ValueError, match=r"K independent labels are \(M, L, K, C\)"):
        bald(normal(9, 7, 4).sigmoid().log())
    with pytest.raises(ValueError, match=r"at most 4096 joint labels .* got 2\^13"):
        bald(torch.full((1, 2, 13, 2), math.log(0.5)))


def test_log_variance_heads_against_their_density():
    """Score, Fisher information and Hessian by autograd of the log-density."""
    family, y = GaussianMeanLogVariance(), normal(6, seed=5)
    outputs = normal(6, 2, seed=6)

    def loss(z, y):
        return (z[1] + (y - z[0]) ** 2 * (-z[1]).exp()) / 2

    gradient, hessian = torch.func.grad(loss), torch.func.hessian(loss)
    for i in range(6):
        one = family.output_gradient(outputs, y)[i]
        torch.testing.assert_close(one, gradient(outputs[i], y[i]))
        one = family.output_hessian(outputs, y)[i]
        torch.testing.assert_close(one, hessian(outputs[i], y[i]))
    # E of the Hessian by Gauss-Hermite: e is standard normal.
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    root = family.output_root(outputs)
    for i in range(6):
        labels = outputs[i, 0] + (outputs[i, 1] / 2).exp() * torch.tensor(nodes)
        each = torch.stack([hessian(outputs[i], label) for label in labels])
        mean = torch.einsum("n,nab->ab", torch.tensor(weights), each) / weights.sum()
        torch.testing.assert_close(root[i] @ root[i].mT, mean)
    exact = torch.distributions.Normal(outputs[:, 0], (outputs[:, 1] / 2).exp())
    z = family.natural(outputs)
    torch.testing.assert_close(family.log_prob(z, y), exact.log_prob(y))

"""One contract for every kind of roots: each method against the dense answer.

A kind is a factory of M examples, with the rows (M, r, D) that they stand for, made
another way. What a kind must keep is tested here once, for all of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from cases import C, dense_roots, normal, softmax_roots
from networks import CLASSES, COUNT, WIDTH, convolution, jacobians, mlp, seeded

from fimlib.families import Categorical
from fimlib.fisher import (
    DiagonalRoots,
    FisherRoots,
    KroneckerRoots,
    LayeredRoots,
    LoaderRoots,
    NetworkRoots,
    Sketch,
    network_roots,
    roots_from_loader,
)
from fimlib.posterior.approximate import Seen


class Kind(NamedTuple):
    """roots(monkeypatch), the rows (M, r, D) they stand for, and their class."""

    roots: Callable
    rows: Callable
    type: type


def features_and_logits():
    return normal(COUNT, 3), normal(COUNT, C, seed=1)


def kronecker_rows():
    """U_i^T (x) (phi_i, 1), element by element."""
    features, logits = features_and_logits()
    factor = Categorical().output_root(logits)
    phi = torch.cat([features, torch.ones(COUNT, 1).double()], dim=1)
    return torch.stack(
        [torch.kron(u.mT.contiguous(), x) for u, x in zip(factor, phi, strict=True)]
    )


def network_rows(model, inputs):
    """U_i^T J_i by plain autograd."""
    factor = Categorical().output_root(model(inputs).detach())
    return factor.mT @ jacobians(model, inputs)


def images():
    return normal(COUNT, 1, 5, 5)


def network(monkeypatch):
    monkeypatch.setattr("fimlib.fisher.network.HELD_NUMBERS", 0)
    monkeypatch.setattr("fimlib.fisher.streamed.HELD_NUMBERS", 500)
    monkeypatch.setattr("fimlib.fisher.network._TOGETHER", 3)
    monkeypatch.setattr("fimlib.fisher.roots._CHUNK_NUMBERS", 400)
    return network_roots(seeded(convolution()), images())


def loader(scope):
    def make(monkeypatch):
        monkeypatch.setattr("fimlib.fisher.loader._TOGETHER", 3)
        monkeypatch.setattr("fimlib.fisher.streamed.HELD_NUMBERS", 500)
        batches = normal(COUNT, WIDTH).split(2)
        return roots_from_loader(mlp(), batches, scope=scope, progress=False)

    return make


def last_layer_rows():
    """The last layer's part of the network's rows, its parameters class-major."""
    model = mlp()
    rows = network_rows(model, normal(COUNT, WIDTH))
    weight, bias = rows[..., -(6 * CLASSES) : -CLASSES], rows[..., -CLASSES:]
    weight = weight.unflatten(2, (CLASSES, -1))
    return torch.cat([weight, bias[..., None]], dim=3).flatten(2)


def layered(_):
    return network_roots(mlp(), normal(COUNT, WIDTH))


def mlp_rows():
    return network_rows(mlp(), normal(COUNT, WIDTH))


def diagonal_rows():
    return torch.diag_embed(dense_roots(COUNT).dense().square().sum(1).sqrt())


def sketch():
    return Sketch(16, 5, "gaussian", torch.Generator().manual_seed(3))


def sketched_rows():
    eye = FisherRoots.from_dense(torch.eye(16, dtype=torch.float64))
    return kronecker_rows() @ sketch()(eye).dense()[:, 0]


def seen(_):
    roots = dense_roots(COUNT)
    return Seen(roots, lambda part: 2 * part.dense(), roots.num_parameters)


KINDS = {
    "dense": Kind(
        lambda _: dense_roots(COUNT), lambda: normal(COUNT, 2, 11), FisherRoots
    ),
    "kronecker": Kind(lambda _: softmax_roots(COUNT), kronecker_rows, KroneckerRoots),
    "layered": Kind(layered, mlp_rows, LayeredRoots),
    "network": Kind(
        network, lambda: network_rows(seeded(convolution()), images()), NetworkRoots
    ),
    "loader, last layer": Kind(loader("last_layer"), last_layer_rows, LoaderRoots),
    "loader, network": Kind(loader("network"), mlp_rows, LoaderRoots),
    "diagonal": Kind(
        lambda _: DiagonalRoots.from_roots(dense_roots(COUNT)),
        diagonal_rows,
        DiagonalRoots,
    ),
    "sketched": Kind(
        lambda _: sketch()(softmax_roots(COUNT)), sketched_rows, FisherRoots
    ),
    "changed": Kind(seen, lambda: 2 * normal(COUNT, 2, 11), Seen),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def roots(kind, monkeypatch):
    return kind.roots(monkeypatch)


@pytest.fixture
def rows(kind):
    return kind.rows()


def same(found, expected):
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def symmetric_matrix(size):
    half = normal(size, size, seed=3)
    return half + half.mT


def test_sizes(kind, roots, rows):
    assert type(roots) is kind.type
    assert (len(roots), roots.rank, roots.num_parameters) == tuple(rows.shape)
    assert roots.num_rows == len(rows) * rows.shape[1]
    assert (roots.dtype, roots.device) == (rows.dtype, rows.device)
    assert f"{COUNT} examples" in repr(roots)


def test_the_rows_themselves(roots, rows):
    same(roots.dense(), rows)
    same(roots.rows(), rows.flatten(0, 1))
    own = roots.own_rows()
    same(own @ own.mT, rows @ rows.mT)


def test_gram_blocks(roots, rows):
    matrix = symmetric_matrix(rows.shape[2])
    same(roots.gram(matrix), rows @ matrix @ rows.mT)
    same(roots.self_gram(), rows @ rows.mT)


def test_products(roots, rows):
    matrix = normal(rows.shape[2], 3, seed=4)
    same(roots.project(matrix), rows @ matrix)
    same(roots[[2]].project(matrix), rows[[2]] @ matrix)
    same(roots.times(matrix), rows @ matrix)


def test_inner_products_with_every_kind(roots, rows, monkeypatch):
    others = [(roots, rows), (roots[1:4], rows[1:4])]
    dense = FisherRoots.from_dense(normal(3, 2, rows.shape[2], seed=8))
    others.append((dense, dense.dense()))
    for other_kind in KINDS.values():
        other = other_kind.rows()
        if other.shape[2] == rows.shape[2]:
            others.append((other_kind.roots(monkeypatch), other))
    for other, other_rows in others:
        expected = torch.einsum("ird,jsd->irjs", rows, other_rows)
        same(roots.cross(other), expected)
        same(other.cross(roots), expected.permute(2, 3, 0, 1))


def test_sums(roots, rows):
    flat = rows.flatten(0, 1)
    total = flat.mT @ flat
    same(roots.fisher_sum(), total)
    same(roots.fisher_mean(), total / len(rows))
    same(roots.fisher_trace(), total.diagonal().sum())
    same(roots.diagonal(), rows.square().sum(1))
    same(roots.diagonal_sum(), total.diagonal())
    vector = normal(rows.shape[2], seed=5)
    same(roots.fisher_product(vector), total @ vector)


def test_other_roots_of_the_same_examples(roots, rows):
    weights = normal(len(rows), 2, rows.shape[1], seed=6)
    same(roots.scaled(weights).dense(), weights @ rows)
    same(roots.reweighted(0.25).dense(), rows / 2)
    reduced = roots.reduced()
    assert reduced.num_parameters <= rows.shape[2]
    same(reduced.cross(reduced), torch.einsum("ird,jsd->irjs", rows, rows))
    for other in (roots.held(), roots.held_if_small(), roots.double()):
        same(other.dense(), rows)
    assert not roots.held().streamed


@pytest.mark.parametrize(
    "index",
    [slice(1, 5), slice(None), [5, 0, 0], -1, [], [k % 2 == 0 for k in range(COUNT)]],
)
def test_selection_keeps_the_example_axis(roots, rows, index):
    expected = rows[[index] if isinstance(index, int) else index]
    part = roots[index]
    assert len(part) == len(expected)
    same(part.dense(), expected)
    same(part.self_gram(), expected @ expected.mT)


def test_bad_indices_are_refused(roots):
    with pytest.raises(IndexError, match="integers below 7"):
        roots[7]
    with pytest.raises(ValueError, match=r"mask must have shape \(7,\)"):
        roots[torch.tensor([True])]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_batches_and_chunks_are_all_examples_in_order(roots, rows, size):
    batches = list(roots.batches(size))
    assert all(0 < len(batch) <= size for batch in batches)
    same(torch.cat([batch.dense() for batch in batches]), rows)
    for numbers in (None, 1, 10**9):
        chunks = list(roots.chunks(numbers))
        assert not any(chunk.streamed for chunk in chunks)
        same(torch.cat([chunk.dense() for chunk in chunks]), rows)
    with pytest.raises(ValueError, match="size must be a positive"):
        next(roots.batches(0))


def test_parts_are_joined_again(roots, rows):
    parts = [roots[:3], roots[3:]]
    same(parts[0].joined(parts).dense(), rows)


def test_bad_arguments_are_refused_by_name(roots, rows):
    size = rows.shape[2]
    with pytest.raises(ValueError, match=rf"matrix must have shape \({size}, {size}\)"):
        roots.gram(torch.eye(size + 1))
    with pytest.raises(ValueError, match="matrix must be symmetric"):
        roots.gram(torch.arange(float(size**2)).view(size, size))
    with pytest.raises(ValueError, match=rf"matrix must have shape \({size}, n\)"):
        roots.project(torch.zeros(size + 1, 2))
    other = dense_roots(3, size=size + 1)
    with pytest.raises(ValueError, match=rf"other must have {size} parameters.*got"):
        roots.cross(other)
    with pytest.raises(ValueError, match="roots must hold at least one example"):
        roots[:0].fisher_mean()

"""Diagonals and sketches of roots."""

import numpy as np
import pytest
import torch
from cases import fishers, generator, normal, softmax_roots
from networks import COUNT

from fimlib.fisher import DiagonalRoots, FisherRoots, Sketch
from fimlib.information import eig
from fimlib.posterior import GaussianPosterior


def test_diagonal_roots_are_the_diagonals_of_any_roots():
    exact = softmax_roots(COUNT)
    expected = torch.diag_embed(fishers(exact).diagonal(dim1=1, dim2=2))
    for roots in (exact, FisherRoots.from_dense(exact.dense())):
        torch.testing.assert_close(
            roots.diagonal(), expected.diagonal(dim1=1, dim2=2), rtol=1e-12, atol=1e-15
        )
        torch.testing.assert_close(
            roots.diagonal_sum(), roots.diagonal().sum(0), rtol=1e-12, atol=1e-15
        )
        diagonal = DiagonalRoots.from_roots(roots)
        torch.testing.assert_close(fishers(diagonal), expected, rtol=1e-12, atol=1e-15)


def test_diagonal_information_is_a_sum_over_parameters_and_an_upper_bound():
    """Hadamard: with a diagonal posterior, dropping correlations adds information."""
    exact = softmax_roots(COUNT)
    diagonal = DiagonalRoots.from_roots(exact)
    precision = 0.5 + normal(exact.num_parameters).abs()
    post = GaussianPosterior.from_roots(exact[:0], torch.diag(precision))
    found = eig(diagonal, post)
    expected = torch.log1p(exact.diagonal() / precision).sum(1) / 2
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=0)
    assert (found > eig(exact, post)).all()
    torch.testing.assert_close(
        eig(diagonal, post, "trace"), eig(exact, post, "trace"), rtol=1e-11, atol=0
    )


@pytest.mark.parametrize("kind", ["gaussian", "count_sketch"])
def test_sketched_inner_products_have_the_documented_moments(kind):
    size, width, draws = 7, 5, 4_000
    a, b = normal(size), normal(size, seed=1)
    roots = FisherRoots.from_dense(torch.stack([a, b]))
    source = generator(3)
    products = torch.stack(
        [
            (rows[0] @ rows[1].mT)[0, 0]
            for rows in (
                Sketch(size, width, kind, source)(roots).dense() for _ in range(draws)
            )
        ]
    )
    exact = a @ b
    variance = (a @ a) * (b @ b) + exact**2
    if kind == "count_sketch":
        variance -= 2 * (a * b).square().sum()
    variance /= width
    assert (products.mean() - exact).abs() < 4 * (variance / draws).sqrt()
    assert products.var().item() == pytest.approx(variance.item(), rel=0.12)


@pytest.mark.parametrize("kind", ["gaussian", "count_sketch"])
def test_a_sketch_is_one_linear_map_for_all_roots(kind, monkeypatch):
    monkeypatch.setattr("fimlib.fisher.roots._CHUNK_NUMBERS", 100)
    roots = softmax_roots(COUNT)
    sketch = Sketch(roots.num_parameters, 11, kind, generator())
    eye = FisherRoots.from_dense(torch.eye(roots.num_parameters, dtype=torch.float64))
    matrix = sketch(eye).dense()[:, 0]
    assert matrix.shape == (roots.num_parameters, 11)
    found = sketch(roots)
    assert (len(found), found.rank, found.num_parameters) == (COUNT, roots.rank, 11)
    torch.testing.assert_close(
        found.dense(), roots.dense() @ matrix, rtol=1e-12, atol=1e-14
    )
    again = Sketch(roots.num_parameters, 11, kind, generator())(roots)
    assert torch.equal(found.dense(), again.dense())
    torch.testing.assert_close(sketch(roots[3:5]).dense(), found[3:5].dense())
    assert len(sketch(roots[:0])) == 0
    if kind == "count_sketch":
        assert set(matrix.abs().sum(1).tolist()) == {1.0}
    assert kind in repr(sketch)


def test_large_sketches_recover_the_information():
    roots = softmax_roots(COUNT)
    sketch = Sketch(roots.num_parameters, 20_011, "gaussian", generator())
    rows = sketch(roots)
    torch.testing.assert_close(rows.self_gram(), roots.self_gram(), rtol=0.2, atol=0.05)
    assert np.isfinite(rows.dense()).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sketch(0, 3), "num_parameters must be a positive integer, got 0"),
        (lambda: Sketch(3, 0), "size must be a positive integer, got 0"),
        (
            lambda: Sketch(3, 2, "srht"),
            "kind must be one of 'gaussian', 'count_sketch'",
        ),
        (
            lambda: Sketch(10**6, 10**6, "gaussian"),
            'got 1000000000000: use "count_sketch"',
        ),
        (
            lambda: Sketch(5, 3)(softmax_roots(2)),
            "roots must have 5 parameters, as the sketch has, got 16",
        ),
        (
            lambda: DiagonalRoots([[1.0, -1.0]]),
            "diagonals must not be negative, got -1",
        ),
        (lambda: DiagonalRoots([1.0]), r"diagonals must have shape \(M, D\)"),
        (lambda: softmax_roots(2).batches(0).__next__(), "size must be a positive"),
    ],
)
def test_bad_approximations_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()

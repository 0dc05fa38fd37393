"""Frank-Wolfe: greedy vertices and exact line search, in plain NumPy beside it."""

import numpy as np
import pytest
import torch
from cases import dense_roots, normal, softmax_roots
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.selection import frank_wolfe


def by_definition(features, batch_size):
    """Choices, and the squared length of what is left before and after each."""
    lengths = np.linalg.norm(features, axis=1)
    vertices = features / lengths[:, None] * lengths.sum()
    target, reached, chosen = features.sum(0), np.zeros(features.shape[1]), []
    errors = [target @ target]
    for _ in range(batch_size):
        slopes = vertices @ (target - reached)
        slopes[chosen] = -np.inf
        chosen.append(int(slopes.argmax()))
        towards = vertices[chosen[-1]] - reached
        # The best point of the line, by a fit of the two end points' error.
        share = np.linalg.lstsq(towards[:, None], target - reached, rcond=None)[0][0]
        reached = reached + share * towards
        errors.append(((target - reached) ** 2).sum())
    return chosen, np.array(errors)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    count=st.integers(1, 19),
    width=st.sampled_from([2, 5, 11]),
    seed=st.integers(0, 99),
)
def test_choices_and_gains_are_those_of_the_definition(count, width, seed):
    # Vertices on one side, or they could leave nothing to approximate.
    features = normal(count, width, seed=seed) + 1.0
    found = frank_wolfe(features, count)
    chosen, errors = by_definition(features.numpy(), count)
    assert found.indices.tolist() == chosen
    wanted = torch.tensor(errors[:-1] - errors[1:])
    torch.testing.assert_close(found.gains, wanted, rtol=0, atol=1e-12 * errors[0])
    assert found.notes == ()


def test_two_directions_are_found_before_any_repeats():
    # Sums to (6, 4): its direction's vertex first, the other axis then.
    features = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0, 2]])
    found = frank_wolfe(features, 4)
    assert found.indices.tolist()[:2] == [0, 2]
    # v = (10, 0), step share 10 * 6 / 100; then towards (0, 10) from (6, 0).
    assert float(found.gains[0]) == pytest.approx(36.0, rel=1e-12)
    assert float(found.gains[1]) == pytest.approx(40.0**2 / 136, rel=1e-12)


def test_what_is_approximated_does_not_depend_on_the_scale():
    features = normal(23, 5, seed=1)
    wanted = frank_wolfe(features, 9)
    scaled = frank_wolfe(features * 1e-6, 9)
    assert scaled.indices.tolist() == wanted.indices.tolist()
    torch.testing.assert_close(scaled.gains, wanted.gains * 1e-12, rtol=1e-8, atol=0)


def test_zero_features_are_no_vertices_and_come_last():
    features = normal(7, 3, seed=1)
    features[[0, 4]] = 0
    found = frank_wolfe(features, 7)
    assert found.indices[5:].tolist() == [0, 4]
    assert found.gains[5:].tolist() == [0.0, 0.0]
    assert found.notes == (
        "only 5 examples have a gradient: the other 2 are the lowest indices left",
    )
    assert frank_wolfe(torch.zeros(3, 2), 2).indices.tolist() == [0, 1]


def test_a_pool_of_one_and_of_duplicates():
    assert frank_wolfe(torch.tensor([[3.0]]), 1).gains.tolist() == [9.0]
    found = frank_wolfe(torch.full((5, 3), 0.7), 5)
    assert found.indices.tolist() == [0, 1, 2, 3, 4]
    # One vertex is all of the sum: nothing is left after it.
    assert float(found.gains[0]) == pytest.approx(25 * 3 * 0.49)
    assert found.gains[1:].tolist() == [0.0] * 4
    assert found.notes[0].startswith("only 1 examples are needed")


def test_roots_of_rank_one_are_never_formed_and_give_the_same():
    roots = softmax_roots(29, estimator="hard_label", bias=False)
    found, wanted = (frank_wolfe(x, 7) for x in (roots, roots.dense()[:, 0]))
    assert found.indices.tolist() == wanted.indices.tolist()
    torch.testing.assert_close(found.gains, wanted.gains, rtol=1e-10, atol=0)
    single = frank_wolfe(roots, 7, dtype=torch.float32)
    assert single.indices.tolist() == wanted.indices.tolist()
    assert single.gains.dtype == torch.float64


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="features must have shape"):
        frank_wolfe(torch.ones(3), 1)
    with pytest.raises(ValueError, match="rank 2"):
        frank_wolfe(dense_roots(3), 1)
    with pytest.raises(ValueError, match="batch_size must be at most the pool's 3"):
        frank_wolfe(torch.ones(3, 2), 4)
    with pytest.raises(ValueError, match="at least one example"):
        frank_wolfe(torch.ones(0, 2), 1)

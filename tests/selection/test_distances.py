"""k-means++, farthest first and largest clusters, beside plain NumPy versions."""

import numpy as np
import pytest
import torch
from cases import dense_roots, generator, normal, softmax_roots
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fimlib.fisher import FisherRoots, KroneckerRoots, roots_from_loader
from fimlib.selection import k_means_pp, lcmd, max_dist

NAMES = {"k_means_pp": k_means_pp, "max_dist": max_dist, "lcmd": lcmd}


def by_definition(features, batch_size, train, clusters):
    """Farthest first, or LCMD with `clusters`, by loops over examples and centres."""
    centres, chosen = [row for row in train], []
    for _ in range(batch_size):
        rest = [i for i in range(len(features)) if i not in chosen]
        if not centres:
            chosen.append(max(rest, key=lambda i: features[i] @ features[i]))
            centres.append(features[chosen[0]])
            continue
        apart = np.array([[((x - c) ** 2).sum() for c in centres] for x in features])
        near, home = apart.min(1), apart.argmin(1)
        if clusters:
            sizes = [near[home == number].sum() for number in range(len(centres))]
            rest = [i for i in rest if home[i] == int(np.argmax(sizes))]
        chosen.append(max(rest, key=lambda i: near[i]))
        centres.append(features[chosen[-1]])
    return chosen


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    count=st.integers(2, 19),
    width=st.sampled_from([1, 3, 7]),
    train=st.sampled_from([0, 1, 5]),
    seed=st.integers(0, 99),
    clusters=st.booleans(),
)
def test_the_choice_is_that_of_the_definition(count, width, train, seed, clusters):
    features, seen = (
        normal(count, width, seed=seed),
        normal(train, width, seed=seed + 1),
    )
    method = lcmd if clusters else max_dist
    # Towards K = M the distances that are left may tie at rounding in one dimension.
    size = max(1, count - 2)
    found = method(features, size, train_features=seen if train else None)
    wanted = by_definition(features.numpy(), size, seen.numpy(), clusters)
    assert found.indices.tolist() == wanted
    assert found.notes == ()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(NAMES)),
    distinct=st.integers(1, 5),
    count=st.integers(1, 17),
    train=st.sampled_from([0, 3]),
    seed=st.integers(0, 99),
)
def test_duplicates_and_zeros_never_repeat_an_index(name, distinct, count, train, seed):
    rows = normal(distinct, 11, seed=seed) * 37.1
    rows[0] = 0
    which = torch.randint(distinct, (count,), generator=generator(seed))
    options = {"generator": generator(seed)} if name == "k_means_pp" else {}
    # Training examples that repeat examples of the pool leave nothing at a distance.
    seen = rows[which][:train] if train else None
    found = NAMES[name](rows[which], count, train_features=seen, **options)
    assert sorted(found.indices.tolist()) == list(range(count))
    covered = set() if seen is None else set(which[:train].tolist())
    apart = set(which.tolist()) - covered
    positive = int((found.gains > 0).sum())
    # Without training examples an all-zero pool has a first choice of norm 0.
    assert positive == len(apart) - int(train == 0 and apart == {0})
    assert set(which[found.indices[:positive]].tolist()) <= apart
    rest = found.indices[max(positive, 1) :].tolist()
    assert rest == sorted(rest)
    assert bool(found.notes) == (count > max(len(apart), train == 0))


@pytest.mark.parametrize("method", NAMES.values())
def test_gains_are_squared_distances_at_the_time_of_choice(method):
    features, seen = normal(23, 5, seed=1), normal(3, 5, seed=2)
    for train in (None, seen):
        found = method(features, 7, train_features=train)
        centres = [] if train is None else list(seen)
        for index, gain in zip(found.indices, found.gains, strict=True):
            row = features[index]
            apart = [float((row - c).square().sum()) for c in centres]
            wanted = min(apart) if centres else float(row.square().sum())
            assert float(gain) == pytest.approx(wanted, rel=1e-12, abs=0)
            centres.append(row)


def test_the_span_is_not_the_nearest_point():
    # After a, b = (-1.9, 0) is drawn with probability 15.21 / 20.21, although
    # det{a, b} = 0 and det{a, c} = 4 (T33).
    features = torch.tensor([[2.0, 0.0], [-1.9, 0.0], [0.0, 1.0]], dtype=torch.float64)
    share = 15.21 / (15.21 + 5.0)
    assert share == pytest.approx(0.753, abs=5e-4)
    grams = [torch.linalg.det(g @ g.mT) for g in (features[:2], features[::2])]
    assert [float(g) for g in grams] == pytest.approx([0.0, 4.0])
    random, draws, of_b = generator(1), 1500, 0
    for _ in range(draws):
        found = k_means_pp(features, 2, generator=random)
        assert found.indices[0] == 0
        of_b += int(found.indices[1]) == 1
        gain = 15.21 if found.indices[1] == 1 else 5.0
        assert float(found.gains[1]) == pytest.approx(gain, rel=1e-12)
    assert stats.binomtest(of_b, draws, share).pvalue > 0.01
    assert max_dist(features, 3).indices.tolist() == [0, 1, 2]


def test_a_sign_changes_distances_and_no_determinant():
    features = torch.tensor([[2.0, 0.1], [1.9, 0.0], [0.0, 1.0]], dtype=torch.float64)
    flipped = features * torch.tensor([[1.0], [-1.0], [1.0]])
    dets = [torch.linalg.det(eye_plus(f)) for f in (features, flipped)]
    assert float(dets[0]) == pytest.approx(float(dets[1]), rel=1e-14)
    assert max_dist(features, 2).indices.tolist() == [0, 2]
    assert max_dist(flipped, 2).indices.tolist() == [0, 1]


def eye_plus(rows):
    return torch.eye(len(rows), dtype=rows.dtype) + rows @ rows.mT


def test_the_first_may_be_any():
    features = torch.tensor([[1.0], [5.0], [-2.0]])
    random, counts = generator(2), [0, 0, 0]
    for _ in range(300):
        counts[int(k_means_pp(features, 1, "uniform", generator=random).indices)] += 1
    assert stats.chisquare(counts).pvalue > 0.01
    assert k_means_pp(features, 1).indices.tolist() == [1]


def test_ties_go_to_the_lowest_index():
    square = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    for method in (max_dist, lcmd):
        assert method(square, 4).indices.tolist() == [0, 2, 1, 3]
        # Rounding makes no difference between these.
        for seed in range(9):
            turned = square.double() @ torch.linalg.qr(normal(2, 2, seed=seed))[0]
            assert method(turned, 4).indices.tolist() == [0, 2, 1, 3]


def test_the_largest_cluster_need_not_hold_the_farthest_example():
    # Five examples at distance 1 of the first centre, one at distance 2 of the second.
    train = torch.tensor([[0.0], [10.0]])
    features = torch.tensor([[1.0], [1.1], [0.9], [1.0], [-1.2], [12.0]])
    assert max_dist(features, 1, train).indices.tolist() == [5]
    assert lcmd(features, 1, train).indices.tolist() == [4]
    # It is the sum of squared distances that counts, not the number of examples.
    few = torch.tensor([[0.1], [0.2], [0.1], [11.0]])
    assert lcmd(few, 1, train).indices.tolist() == [3]


def model_and_loader():
    torch.manual_seed(1)
    layers = torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)
    inputs = normal(13, 3, seed=4).float()
    return torch.nn.Sequential(*layers), [inputs[:5], inputs[5:]]


@pytest.mark.parametrize("kind", ["dense", "kronecker", "loader", "network"])
def test_roots_of_rank_one_stand_for_their_rows(kind):
    if kind == "dense":
        roots = FisherRoots.from_dense(normal(13, 5, seed=1))
    elif kind == "kronecker":
        roots = softmax_roots(13, estimator="hard_label")
    else:
        scope = "network" if kind == "network" else "last_layer"
        roots = roots_from_loader(
            *model_and_loader(), scope=scope, estimator="hard_label", progress=False
        )
    rows = roots.dense()[:, 0]
    for method in NAMES.values():
        options = [{}, {}]
        if method is k_means_pp:
            options = [{"generator": generator(1)}, {"generator": generator(1)}]
        found = method(roots, 6, **options[0])
        wanted = method(rows, 6, **options[1])
        assert found.indices.tolist() == wanted.indices.tolist()
        torch.testing.assert_close(found.gains, wanted.gains, rtol=1e-9, atol=1e-12)


def test_one_vector_by_several_pairs_of_factors_is_a_duplicate():
    scales = torch.tensor([1.0, 3.0, -0.7, 1.1, 1e3]).double()
    for seed in range(9):
        factor, features = normal(1, 3, 1, seed=seed), normal(1, 7, seed=seed + 1)
        roots = KroneckerRoots(
            factor * scales[:, None, None], features / scales[:, None]
        )
        found = k_means_pp(roots, 5)
        assert sorted(found.indices.tolist()) == [0, 1, 2, 3, 4]
        assert found.gains.tolist()[1:] == [0.0] * 4


def test_numpy_arrays_and_single_precision_will_do():
    features = normal(17, 5, seed=1)
    for method in (max_dist, lcmd):
        wanted = method(features, 5)
        assert method(features.numpy(), 5).indices.tolist() == wanted.indices.tolist()
        single = method(features, 5, dtype=torch.float32)
        assert single.indices.tolist() == wanted.indices.tolist()
        assert single.gains.dtype == torch.float64


@pytest.mark.parametrize("method", NAMES.values())
def test_bad_input_is_refused_by_name(method):
    good = normal(5, 3)
    refused = {
        "features must have shape": (torch.ones(5), 2),
        "features must be finite": (good.log(), 2),
        "features must hold|the pool must hold": (good[:0], 1),
        "features must have at least one column": (good[:, :0], 1),
        "features must be features .* rank 2": (dense_roots(5), 1),
        "batch_size must be at most the pool's 5": (good, 6),
        "batch_size must be a positive": (good, True),
        "train_features must have as many columns": (good, 2, torch.ones(2, 4)),
        "train_features must have shape": (good, 2, torch.ones(3)),
        "features must have squared norms": (good * 1e200, 2),
    }
    for message, (features, size, *train) in refused.items():
        with pytest.raises(ValueError, match=message):
            method(features, size, train_features=train[0] if train else None)
    with pytest.raises(ValueError, match="first must be one of"):
        k_means_pp(good, 2, "zero")

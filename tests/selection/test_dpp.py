import math
from itertools import combinations

import mpmath
import pytest
import scipy.stats
import torch
from cases import dense_roots, generator, normal, softmax_roots

from fimlib.fisher import FisherRoots
from fimlib.selection import Selection, k_dpp

M, K, DRAWS = 6, 3, 500


def brute_force(kernel, size=K):
    """p(B) of every batch, from its determinant."""
    batches = list(combinations(range(len(kernel)), size))
    dets = [torch.linalg.det(kernel[list(b)][:, list(b)]).clamp(min=0) for b in batches]
    probabilities = torch.stack(dets) / sum(dets)
    return dict(zip(batches, probabilities.tolist(), strict=True))


def counts_of(items, seed, **options):
    draws, counts = generator(seed), {}
    for _ in range(DRAWS):
        batch = k_dpp(items, K, generator=draws, **options).indices.tolist()
        assert len(set(batch)) == K
        key = tuple(sorted(batch))
        counts[key] = counts.get(key, 0) + 1
    return counts


def p_value(counts, expected):
    """Of Pearson's chi-square test, rare batches pooled."""
    often = [b for b, p in expected.items() if p * DRAWS >= 5]
    observed = [counts.get(b, 0) for b in often]
    theory = [expected[b] * DRAWS for b in often]
    observed.append(DRAWS - sum(observed))
    theory.append(DRAWS - sum(theory))
    if theory[-1] < 1e-9:
        assert observed.pop() == 0
        theory.pop()
    statistic = sum((o - t) ** 2 / t for o, t in zip(observed, theory, strict=True))
    return scipy.stats.chi2.sf(statistic, len(theory) - 1)


def pool(width, seed=0):
    lengths = torch.tensor([[0.3], [1.0], [2.0], [0.7], [1.5], [1.0]]).double()
    return lengths * normal(M, width, seed=seed)


@pytest.mark.parametrize("width", [3, 4, 7])
def test_batches_come_as_often_as_their_determinants_say(width):
    """claim T33: a k-DPP draws with p(B) proportional to det S_B. D = K, < M, > M."""
    g = pool(width)
    expected = brute_force(g @ g.mT)
    counts = counts_of(g, seed=width)
    assert p_value(counts, expected) > 1e-3
    # Sizes and correlations both matter, and the test sees it: wrong models fail.
    flat = {b: 1 / 20 for b in expected}
    squares = {b: math.prod(float(g[i].square().sum()) for i in b) for b in expected}
    total = sum(squares.values())
    independent = {b: p / total for b, p in squares.items()}
    assert p_value(counts, flat) < 1e-9 and p_value(counts, independent) < 1e-9


def test_a_kernel_and_roots_that_are_not_held_are_drawn_alike():
    g = pool(4)
    kernel = g @ g.mT
    counts = counts_of(kernel, seed=1, is_kernel=True)
    assert p_value(counts, brute_force(kernel)) > 1e-3
    roots = softmax_roots(M, width=2, estimator="hard_label")
    kernel = roots.cross(roots).reshape(M, M)
    assert roots.num_parameters > M
    assert p_value(counts_of(roots, seed=2), brute_force(kernel)) > 1e-3


def test_the_order_of_a_batch_is_that_of_its_draws():
    """The first item has p(i) = sum over the batches that hold it, over K."""
    g = pool(4)
    expected = brute_force(g @ g.mT)
    first = [sum(p for b, p in expected.items() if i in b) / K for i in range(M)]
    draws = generator(5)
    counts = torch.zeros(M)
    for _ in range(DRAWS):
        counts[k_dpp(g, K, generator=draws).indices[0]] += 1
    theory = torch.tensor(first) * DRAWS
    statistic = float(((counts - theory) ** 2 / theory).sum())
    assert scipy.stats.chi2.sf(statistic, M - 1) > 1e-3


def test_gains_are_the_increments_of_the_log_det():
    g = pool(4)
    found = k_dpp(g, K, generator=generator(0))
    assert isinstance(found, Selection) and found.notes
    assert found.indices.dtype == torch.int64 and found.gains.dtype == torch.float64
    chosen = g[found.indices]
    for count in (1, 2, 3):
        some = chosen[:count] @ chosen[:count].mT
        total = float(found.gains[:count].sum())
        assert total == pytest.approx(float(torch.linalg.slogdet(some)[1]), rel=1e-10)


@pytest.mark.parametrize("route", ["features", "kernel"])
def test_a_spectrum_of_twelve_decades_stays_stable(route):
    size, width, batch = 2000, 211, 100
    left = torch.linalg.qr(normal(size, width))[0]
    right = torch.linalg.qr(normal(width, width, seed=1))[0]
    values = torch.logspace(0, -12 if route == "kernel" else -24, width).double()
    g = left * values.sqrt() @ right.mT
    kernel = (g @ g.mT + (g @ g.mT).mT) / 2
    items, options = (kernel, {"is_kernel": True}) if route == "kernel" else (g, {})
    found = k_dpp(items, batch, generator=generator(0), **options)
    assert len(set(found.indices.tolist())) == batch
    assert torch.isfinite(found.gains).all()
    rows = g[found.indices]
    s = torch.linalg.svdvals(rows)
    assert float(found.gains.sum()) == pytest.approx(2 * float(s.log().sum()), rel=1e-6)


def elementary(values, degree):
    """e_0 .. e_degree of the values, with as many digits as it takes."""
    e = [mpmath.mpf(1)] + [mpmath.mpf(0)] * degree
    for value in values:
        for k in range(degree, 0, -1):
            e[k] += mpmath.mpf(value) * e[k - 1]
    return e


@pytest.mark.parametrize(("decades", "scale"), [(1, 1.0), (12, 1.0), (12, 1e-150)])
def test_diagonal_kernels_choose_items_as_their_eigenvalues_say(decades, scale):
    """p(i in B) = s_i e_{K-1}(the others) / e_K, whatever the scale of the spectrum."""
    size, batch, count = 37, 17, 150
    values = scale * torch.logspace(0, -decades, size).double()
    with mpmath.workdps(50):
        values = values.tolist()
        total = elementary(values, batch)[batch]
        share = [
            float(v * elementary(values[:i] + values[i + 1 :], batch - 1)[-1] / total)
            for i, v in enumerate(values)
        ]
    share = torch.tensor(share, dtype=torch.float64)
    assert float(share.sum()) == pytest.approx(batch)
    draws, counts = generator(8), torch.zeros(size, dtype=torch.float64)
    kernel = torch.diag(torch.tensor(values, dtype=torch.float64))
    for _ in range(count):
        counts[k_dpp(kernel, batch, draws, is_kernel=True).indices] += 1
    spread = (count * share * (1 - share)).sqrt() + 0.5
    assert ((counts - count * share).abs() / spread).max() < 4.0


def test_huge_and_tiny_eigenvalues_do_not_overflow():
    g = normal(500, 300) * 1e100
    for scale in (1.0, 1e-220):
        found = k_dpp(scale * g, 200, generator=generator(1))
        assert len(set(found.indices.tolist())) == 200
        assert torch.isfinite(found.gains).all()


def test_dependent_items_never_come_together():
    g = torch.cat([pool(4), pool(4)[:2], torch.zeros(2, 4).double()])
    draws = generator(3)
    for _ in range(200):
        batch = set(k_dpp(g, 4, generator=draws).indices.tolist())
        assert len(batch) == 4
        assert not ({0, 6} <= batch or {1, 7} <= batch or batch & {8, 9})


@pytest.mark.parametrize("draw", [0.0, 1 - 2.0**-53])
def test_the_ends_of_the_random_numbers_neither_repeat_nor_take_zeros(
    draw, monkeypatch
):
    monkeypatch.setattr(
        "fimlib.selection.dpp._uniform",
        lambda count, _: torch.full((count,), draw, dtype=torch.float64),
    )
    nothing = torch.zeros(2, 4).double()
    g = torch.cat([nothing, pool(4), nothing])
    for batch in (1, 2, 4):
        chosen = k_dpp(g, batch).indices.tolist()
        assert len(set(chosen)) == batch and set(chosen) <= set(range(2, 8))


def test_a_seeded_generator_gives_the_same_batch_again():
    g = normal(50, 11)
    one, two, other = (k_dpp(g, 7, generator=generator(s)) for s in (4, 4, 5))
    assert torch.equal(one.indices, two.indices)
    assert torch.equal(one.gains, two.gains)
    assert not torch.equal(one.indices, other.indices)
    roots = FisherRoots.from_dense(g)
    assert torch.equal(k_dpp(roots, 7, generator=generator(4)).indices, one.indices)
    assert len(k_dpp(g, 11)) == 11


def test_bad_input_is_refused_with_what_would_do():
    g = pool(4)
    with pytest.raises(ValueError, match=r"batch_size.*numerical rank 4.*got 5"):
        k_dpp(g, 5)
    with pytest.raises(ValueError, match=r"numerical rank 2.*got 3"):
        k_dpp(torch.cat([g[:2], g[:1] + g[1:2], 0.0 * g]), 3)
    with pytest.raises(ValueError, match=r"numerical rank 0.*got 1"):
        k_dpp(torch.zeros(3, 5), 1)
    with pytest.raises(ValueError, match="batch_size must be at most"):
        k_dpp(g, 7)
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        k_dpp(g, 0)
    with pytest.raises(ValueError, match="pass is_kernel=True"):
        k_dpp(g @ g.mT, 2)
    assert len(k_dpp((g @ g.mT).round(decimals=2), 2, is_kernel=False)) == 2
    with pytest.raises(ValueError, match=r"rank 1.*got roots of rank 2"):
        k_dpp(dense_roots(5), 2)
    with pytest.raises(ValueError, match=r"semi-definite.*eigenvalue of -2"):
        k_dpp([[1.0, 3.0], [3.0, 1.0]], 1, is_kernel=True)
    with pytest.raises(ValueError, match="items must be symmetric"):
        k_dpp([[1.0, 3.0], [0.0, 1.0]], 1, is_kernel=True)
    with pytest.raises(ValueError, match="items must hold at least one"):
        k_dpp(torch.zeros(0, 3), 1)
    with pytest.raises(ValueError, match="items must be finite"):
        k_dpp(g * math.inf, 1)

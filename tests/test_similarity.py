"""Similarity matrices, and the duality that makes them say what weight space says."""

import math

import pytest
import torch
from cases import dense_roots, fishers, generator, normal, softmax_roots
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.fisher import (
    FisherRoots,
    LayeredRoots,
    NetworkRoots,
    last_layer_roots,
    network_roots,
)
from fimlib.information import batch_eig, eig, jepig
from fimlib.posterior import GaussianPosterior
from fimlib.similarity import log_det, log_det_mi, similarity_matrix

K, E, D = 3, 5, 11
KINDS = ("dense", "kronecker", "layered", "streamed")


def close(found, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def perceptron():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)
    ).double()


def rows_of(roots):
    return roots.dense().flatten(0, 1)


@pytest.fixture(params=KINDS)
def sides(request, monkeypatch):
    """(A, E, training roots) of each kind."""
    if request.param == "streamed":
        monkeypatch.setattr("fimlib.fisher.network.HELD_NUMBERS", 1)
        monkeypatch.setattr("fimlib.fisher.network.linear_layers", lambda *_: None)
    makers = {"dense": dense_roots, "kronecker": softmax_roots}
    model = perceptron()

    def make(count, seed):
        if request.param in makers:
            return makers[request.param](count, seed=seed)
        roots = network_roots(model, normal(count, 2, seed=seed))
        assert type(roots) is {"layered": LayeredRoots}.get(request.param, NetworkRoots)
        return roots

    return make(K, 1), make(E, 20), make(7, 40)


# --- the matrix --------------------------------------------------------------------


def test_the_matrix_holds_all_inner_products_in_order(sides):
    """claim T30: row i r + k belongs to row k of example i."""
    a, e, _ = sides
    close(similarity_matrix(a, e), rows_of(a) @ rows_of(e).mT)
    close(similarity_matrix(a), rows_of(a) @ rows_of(a).mT)
    found = similarity_matrix(a, e)
    assert found.shape == (K * a.rank, E * e.rank)
    one = (a[1].dense()[0, -1] * e[2].dense()[0, 0]).sum()
    close(found[1 * a.rank + a.rank - 1, 2 * e.rank], one)


@pytest.mark.parametrize("work", [0, 10**9])
def test_a_posterior_weights_the_products_by_its_covariance(sides, work, monkeypatch):
    """claim T30, its weighted version: R P^{-1} R'^T, whatever route P takes."""
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", work)
    a, e, train = sides
    size = a.num_parameters
    half = normal(size, size, seed=3)
    prior = half @ half.mT + torch.eye(size, dtype=torch.float64)
    for post in (
        GaussianPosterior.isotropic(size, 0.3),
        GaussianPosterior.from_roots(train, 0.3),
        GaussianPosterior.from_roots(train[:1], 0.3),
        GaussianPosterior.from_roots(train, prior),
    ):
        inverse = torch.linalg.inv(post.precision)
        expected = rows_of(a) @ inverse @ rows_of(e).mT
        close(similarity_matrix(a, e, posterior=post), expected, rtol=1e-9, atol=1e-11)
        own = rows_of(a) @ inverse @ rows_of(a).mT
        close(similarity_matrix(a, posterior=post), own, rtol=1e-9, atol=1e-11)


def test_an_approximate_posterior_weights_by_its_own_precision():
    a, e, train = softmax_roots(K, seed=1), softmax_roots(E, seed=20), softmax_roots(7)
    post = GaussianPosterior.from_roots(train, 0.3, approximation="diagonal")
    diagonal = 0.3 + fishers(train).sum(0).diagonal()
    expected = rows_of(a) / diagonal @ rows_of(e).mT
    close(similarity_matrix(a, e, posterior=post), expected)
    post = GaussianPosterior.from_roots(train, 0.3, approximation="kronecker")
    outputs = (train.factor @ train.factor.mT).sum(0)
    inputs = train.features.mT @ train.features
    precision = torch.kron(outputs, inputs) / 7 + 0.3 * torch.eye(16).double()
    expected = rows_of(a) @ torch.linalg.inv(precision) @ rows_of(a).mT
    close(similarity_matrix(a, posterior=post), expected)


def test_cosines_and_the_kernel_of_similar():
    """claim T33: (1 + cos)/2 is the Gram matrix of [1, g/|g|] / sqrt 2."""
    g = normal(K, D) * torch.tensor([[1e-3], [1.0], [1e5]], dtype=torch.float64)
    h = normal(E, D, seed=1)
    unit, other = g / g.norm(dim=1, keepdim=True), h / h.norm(dim=1, keepdim=True)
    close(similarity_matrix(g, h, kind="cosine"), unit @ other.mT)

    def augmented(rows):
        return torch.cat([torch.ones(len(rows), 1).double(), rows], 1) / 2**0.5

    expected = augmented(unit) @ augmented(other).mT
    close(similarity_matrix(g, h, kind="similar"), expected)
    # Lengths, and so the amount of information, are gone.
    close(
        similarity_matrix(7.0 * g, h, kind="similar"),
        similarity_matrix(g, h, kind="similar"),
    )
    post = GaussianPosterior.from_roots(dense_roots(7), 0.3)
    inner = g @ torch.linalg.inv(post.precision) @ g.mT
    norms = inner.diagonal().sqrt()
    found = similarity_matrix(g, posterior=post, kind="cosine")
    close(found, inner / norms[:, None] / norms)
    assert float(found.max()) <= 1.0


def test_a_gradient_of_zero_has_a_cosine_of_zero():
    """Hard labels in regression give g = 0 (claim T31): never 0/0."""
    g = torch.cat([normal(2, D), torch.zeros(1, D).double()])
    cosine = similarity_matrix(g, kind="cosine")
    assert cosine[2].tolist() == [0.0, 0.0, 0.0] and cosine[:, 2].abs().max() == 0
    assert similarity_matrix(g, kind="similar")[2].tolist() == [0.5, 0.5, 0.5]
    assert log_det(similarity_matrix(g)) == -math.inf
    assert log_det(similarity_matrix(g), 0.5) == pytest.approx(
        float(log_det(similarity_matrix(g[:2]), 0.5)) + math.log(0.5), rel=1e-12
    )


def test_arrays_and_float32_roots_are_taken():
    g = normal(K, D)
    assert torch.equal(similarity_matrix(g.numpy()), similarity_matrix(g))
    single = FisherRoots.from_dense(g, dtype=torch.float32)
    found = similarity_matrix(single)
    assert found.dtype == torch.float64
    close(found, g @ g.mT, rtol=1e-5, atol=1e-5)


def test_bad_rows_are_refused_by_name():
    g = normal(K, D)
    with pytest.raises(ValueError, match=r"b must have shape \(M, D\), got \(3,\)"):
        similarity_matrix(g, normal(3))
    with pytest.raises(ValueError, match=r"b must have 11 parameters.*got 7"):
        similarity_matrix(g, normal(2, 7))
    with pytest.raises(ValueError, match=r"posterior must have 11 parameters.*got 7"):
        similarity_matrix(g, posterior=GaussianPosterior.isotropic(7, 1.0))
    with pytest.raises(ValueError, match="a must hold at least one example"):
        similarity_matrix(normal(0, D))
    with pytest.raises(ValueError, match="a must be finite"):
        similarity_matrix(g * math.nan)
    with pytest.raises(ValueError, match=r"b must have rank 1.*'cosine'.*got rank 2"):
        similarity_matrix(g, dense_roots(2), kind="cosine")
    with pytest.raises(ValueError, match="kind must be one of"):
        similarity_matrix(g, kind="rbf")
    with pytest.raises(ValueError, match="overflow"):
        similarity_matrix(g * 1e200, kind="cosine")
    with pytest.raises(ValueError, match=r"30000 and 20011 rows.*4\.8 GB"):
        similarity_matrix(normal(30_000, 1), normal(20_011, 1))


# --- the duality -------------------------------------------------------------------


def eigen_sum(rows, lam):
    """log det over the parameters, from eigenvalues: sum log(lambda + f_i)."""
    values = torch.linalg.eigvalsh(rows.mT @ rows).clamp(min=0.0)
    return (values + lam).log().sum()


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.integers(1, 13), st.integers(1, 7), st.integers(0, 99))
def test_both_sides_have_one_log_det(count, size, seed):
    """claim T30: log det(lambda I + G G^T) - N log lambda, and so in D x D."""
    g = normal(count, size, seed=seed)
    data = log_det(similarity_matrix(g), 0.3) - count * math.log(0.3)
    weights = eigen_sum(g, 0.3) - size * math.log(0.3)
    close(data, weights)


def test_the_posterior_makes_log_dets_joint_information(sides):
    """claim T30, T44: log det(I + R P^{-1} R^T) is 2 EIG of all the rows."""
    a, e, train = sides
    post = GaussianPosterior.from_roots(train, 0.3)
    found = log_det(similarity_matrix(a, posterior=post), 1.0)
    eye = torch.eye(post.num_parameters, dtype=torch.float64)
    inverse = torch.linalg.inv(post.precision)
    brute = torch.linalg.slogdet(eye + fishers(a).sum(0) @ inverse)[1]
    close(found, brute)
    close(found, 2 * batch_eig(a, post))
    # And one JEPIG of all rows of A, from D x D determinants.
    f_a, f_e = fishers(a).sum(0), fishers(e).sum(0)
    terms = [post.precision + f for f in (f_a, f_e, f_a + f_e, 0.0 * f_a)]
    one, two, both, none = (torch.linalg.slogdet(m)[1] for m in terms)
    s = [similarity_matrix(x, y, posterior=post) for x, y in ((a, a), (a, e), (e, e))]
    close(log_det_mi(*s, jitter=1.0), one + two - both - none)
    per_example = jepig(a[:1], e, post)[0]
    few = [
        similarity_matrix(x, y, posterior=post) for x, y in ((a[:1],) * 2, (a[:1], e))
    ]
    close(log_det_mi(*few, s[2], jitter=1.0), 2 * per_example)


def test_sign_flips_change_no_determinant():
    """claims T30, T33: the label's sign changes distances, not S's determinants."""
    g, h = normal(K, D), normal(E, D, seed=1)
    flipped = g * torch.tensor([[1.0], [-1.0], [-1.0]], dtype=torch.float64)
    close(log_det(similarity_matrix(flipped)), log_det(similarity_matrix(g)))
    s_e = similarity_matrix(h)
    values = [
        log_det_mi(similarity_matrix(x), similarity_matrix(x, h), s_e, 0.3)
        for x in (g, flipped)
    ]
    close(*values)
    assert (flipped[0] - flipped[1]).norm() != pytest.approx(
        float((g[0] - g[1]).norm())
    )


def test_determinants_see_the_span_where_distances_see_points():
    """claim T33: a = (2,0), b = (-1.9,0), c = (0,1)."""
    a, b, c = torch.tensor([[2.0, 0.0], [-1.9, 0.0], [0.0, 1.0]]).double()
    assert log_det(similarity_matrix(torch.stack([a, b]))) == -math.inf
    assert log_det(similarity_matrix(torch.stack([a, c]))) == pytest.approx(math.log(4))
    squares = [float((x - a).square().sum()) for x in (b, c)]
    assert squares[0] / sum(squares) == pytest.approx(0.753, abs=5e-4)


def test_reparametrisation_changes_inner_products_but_not_information():
    """claim T46: theta -> B theta leaves R P^{-1} R'^T alone, and changes R R'^T."""
    change = normal(D, D, seed=5)
    train, a = normal(7, D, seed=1), normal(K, D, seed=2)
    prior = torch.diag(torch.linspace(0.5, 2.0, D, dtype=torch.float64))

    def similarity(rows, train, prior):
        roots = FisherRoots.from_dense(train)
        post = GaussianPosterior.from_roots(roots, (prior + prior.mT) / 2)
        return similarity_matrix(rows, posterior=post)

    moved = similarity(a @ change, train @ change, change.mT @ prior @ change)
    close(moved, similarity(a, train, prior), rtol=1e-8)
    plain = log_det(similarity_matrix(a))
    assert abs(float(log_det(similarity_matrix(a @ change)) - plain)) > 0.1


def test_function_space_covariance_of_the_outputs_gives_the_same_eig():
    """claim T44: EIG = 1/2 log det(I + L^T k L), k = J P^{-1} J^T, L L^T = Lambda."""
    features, logits = normal(1, 3), normal(1, 4, seed=1)
    roots = last_layer_roots(features, logits, bias=False)
    post = GaussianPosterior.from_roots(softmax_roots(7, width=2, seed=3), 0.3)
    jacobian = torch.kron(torch.eye(4, dtype=torch.float64), features)
    k = similarity_matrix(jacobian, posterior=post)
    p = logits.softmax(1)[0]
    curvature = torch.diag(p) - p[:, None] * p
    values, vectors = torch.linalg.eigh(curvature)
    half = vectors * values.clamp(min=0.0).sqrt() @ vectors.mT
    found = log_det(half @ k @ half, 1.0) / 2
    close(found, eig(roots, post)[0], rtol=1e-9)


def test_an_ensemble_estimates_the_covariance_of_responses_at_rate_one_half():
    """claim T44: relative error falls as K^{-1/2}; K members have rank K - 1."""
    post = GaussianPosterior.from_roots(dense_roots(7, size=5), 0.3)
    x = normal(13, 5, seed=9)
    exact = similarity_matrix(x, posterior=post)
    sizes = [10, 100, 1_000, 10_000]
    errors = []
    for members in sizes:
        gaps = []
        for seed in range(8):
            noise = torch.randn(members, 5, generator=generator(seed), dtype=x.dtype)
            outputs = x @ post.root_inverse @ noise.mT
            centred = outputs - outputs.mean(1, keepdim=True)
            estimate = similarity_matrix(centred / members**0.5)
            gaps.append((estimate - exact).norm() / exact.norm())
        errors.append(torch.stack(gaps).mean().log())
    slope = (errors[-1] - errors[0]) / math.log(sizes[-1] / sizes[0])
    assert slope == pytest.approx(-0.5, abs=0.05)
    members = normal(13, 4, seed=2)
    centred = members - members.mean(1, keepdim=True)
    assert log_det(similarity_matrix(centred)[:4, :4]) == -math.inf
    assert torch.isfinite(log_det(similarity_matrix(centred)[:3, :3]))


def test_rounding_leaves_no_cosine_beyond_one():
    g = normal(400, 7, seed=5)
    g = torch.cat([g, -3 * g])
    plain = similarity_matrix(g)
    lengths = plain.diagonal().sqrt()
    unchecked = plain / lengths[:, None] / lengths
    assert unchecked.max() > 1 and unchecked.min() < -1  # by rounding
    found = similarity_matrix(g, kind="cosine")
    assert found.max() == 1 and found.min() == -1

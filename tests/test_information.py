import math
from itertools import pairwise

import pytest
import torch
from cases import (
    C,
    E,
    M,
    dense_roots,
    fishers,
    generator,
    normal,
    problem,
    softmax_roots,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fimlib.fisher import (
    FisherRoots,
    StreamedRoots,
    last_layer_roots,
    network_roots,
    roots_from_loader,
)
from fimlib.information import (
    batch_eig,
    eig,
    epig,
    epig_proxy,
    epig_upper,
    jepig,
    jepig_proxy,
    scores,
)
from fimlib.posterior import GaussianPosterior

KINDS = ("dense", "kronecker")


@pytest.fixture(params=[0, 10**9], ids=["by blocks", "by rows"])
def both_paths(request, monkeypatch):
    """Run a test through the matrices of big problems and the rows of small ones."""
    monkeypatch.setattr("fimlib.posterior.frame.EXACT_WORK", request.param)


def log_det(matrix):
    return torch.linalg.slogdet(matrix)[1]


def brute(pool, evals, post):
    """Every score by D x D determinants, exactly as DESIGN's formulas are written."""
    p = post.precision
    f, fe = fishers(pool), fishers(evals)
    eye = torch.eye(len(p), dtype=torch.float64)

    def half_log_det(info, precision):
        return log_det(eye + info @ torch.linalg.inv(precision)) / 2

    def half_trace(info, precision):
        return (info @ torch.linalg.inv(precision)).diagonal().sum() / 2

    def predictive(half, info):
        return torch.stack([half(info, p) - half(info, p + fi) for fi in f])

    def proxy(half, info):
        return torch.stack([half(info, p + fi) for fi in f])

    total, mean = fe.sum(0), fe.mean(0)
    pairs = torch.stack([predictive(half_log_det, one) for one in fe])
    return {
        "eig_log_det": torch.stack([half_log_det(fi, p) for fi in f]),
        "eig_trace": torch.stack([half_trace(fi, p) for fi in f]),
        "jepig_log_det": predictive(half_log_det, total),
        "jepig_trace": predictive(half_trace, total),
        "epig_log_det": pairs.mean(0),
        "epig_trace": predictive(half_trace, mean),
        "epig_upper": predictive(half_log_det, mean),
        "jepig_proxy_log_det": proxy(half_log_det, total),
        "jepig_proxy_trace": proxy(half_trace, total),
        "epig_proxy_log_det": proxy(half_log_det, mean),
        "epig_proxy_trace": proxy(half_trace, mean),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_scores_match_brute_force(kind, both_paths):
    pool, evals, post = problem(kind)
    expected = brute(pool, evals, post)
    found = scores(pool, post, evals, pairwise=True)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].shape == (M,)
        torch.testing.assert_close(
            found[name],
            values,
            rtol=1e-10,
            atol=1e-12,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@pytest.mark.parametrize("kind", KINDS)
def test_single_scores_equal_the_one_pass(kind, both_paths):
    pool, evals, post = problem(kind)
    every = scores(pool, post, evals, pairwise=True)
    calls = {"jepig": jepig, "epig": epig, "jepig_proxy": jepig_proxy}
    calls["epig_proxy"] = epig_proxy
    for name, call in calls.items():
        for form in ("log_det", "trace"):
            torch.testing.assert_close(
                call(pool, evals, post, form), every[f"{name}_{form}"]
            )
    torch.testing.assert_close(epig_upper(pool, evals, post), every["epig_upper"])
    alone = scores(pool, post)
    assert alone.keys() == {"eig_log_det", "eig_trace"}
    for form in ("log_det", "trace"):
        torch.testing.assert_close(eig(pool, post, form), every[f"eig_{form}"])
        torch.testing.assert_close(alone[f"eig_{form}"], every[f"eig_{form}"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 7, 31])
def test_batch_eig_is_joint_and_follows_the_chain_rule(kind, count, both_paths):
    _, _, post = problem(kind)
    make = dense_roots if kind == "dense" else softmax_roots
    batch = make(count, seed=60)
    p, info = post.precision, fishers(batch).sum(0)
    expected = (log_det(p + info) - log_det(p)) / 2
    torch.testing.assert_close(batch_eig(batch, post), expected, rtol=1e-11, atol=0)
    steps = []
    for i in range(count):
        steps.append(eig(batch[i], post)[0])
        post = post.update(batch[i])
    torch.testing.assert_close(torch.stack(steps).sum(), expected, rtol=1e-10, atol=0)
    assert batch_eig(batch, problem(kind)[2], "trace") > expected


def test_batch_eig_under_an_isotropic_posterior_needs_no_parameters():
    batch = softmax_roots(5)
    size = batch.num_parameters
    rows = batch.dense().flatten(0, 1)
    for few in (batch[:2], batch):
        rows = few.dense().flatten(0, 1)
        expected = log_det(torch.eye(len(rows)).double() + rows @ rows.mT / 0.3) / 2
        post = GaussianPosterior.isotropic(size, 0.3)
        torch.testing.assert_close(batch_eig(few, post), expected, rtol=1e-11, atol=0)


def test_duplicates_count_once_in_log_det_and_twice_in_trace():
    """claims T25: K copies of a point of signal t give 1/2 log(1 + K t)."""
    post = GaussianPosterior.isotropic(1, 1.0)
    for copies, value in ((1, 0.829), (10, 1.886), (100, 3.027)):
        batch = FisherRoots.from_dense([[math.sqrt(4.245)]] * copies)
        assert batch_eig(batch, post).item() == pytest.approx(value, abs=1e-3)
        trace = batch_eig(batch, post, "trace").item()
        assert trace == pytest.approx(copies * 4.245 / 2)


PRIORS = [1e-4, 1e-2, 1.0, 1e4, 1e12]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 5),
    evals=st.integers(1, 7),
    rank=st.integers(1, 3),
    exponent=st.integers(-6, 6),
)
def test_orderings(seed, size, evals, rank, exponent):
    """EPIG <= EPIG upper <= JEPIG <= EIG and log det <= trace (T3, T23, T45, T50)."""
    pool = dense_roots(3, rank, size, seed)
    eval_roots = dense_roots(evals, rank, size, seed + 1)
    train = dense_roots(2, rank, size, seed + 2)
    post = GaussianPosterior.from_roots(train, 10.0**exponent)
    s = scores(pool, post, eval_roots, pairwise=True)
    chain = ["epig_log_det", "epig_upper", "jepig_log_det", "eig_log_det", "eig_trace"]
    pairs = [
        *pairwise(chain),
        ("epig_upper", "epig_trace"),
        ("jepig_log_det", "jepig_trace"),
        ("jepig_proxy_log_det", "jepig_proxy_trace"),
        ("epig_proxy_log_det", "epig_proxy_trace"),
        ("epig_proxy_log_det", "jepig_proxy_log_det"),
    ]
    for low, high in pairs:
        slack = 1e-10 * s[high].abs() + 1e-14
        assert (s[low] <= s[high] + slack).all(), (low, high)
    for name in chain:
        assert (s[name] >= 0).all()
    torch.testing.assert_close(s["jepig_trace"], evals * s["epig_trace"])


def test_one_evaluation_example_makes_all_predictive_scores_equal():
    pool, evals, post = problem()
    s = scores(pool, post, evals[:1], pairwise=True)
    torch.testing.assert_close(
        s["epig_log_det"], s["jepig_log_det"], rtol=1e-11, atol=0
    )
    torch.testing.assert_close(s["epig_upper"], s["jepig_log_det"], rtol=1e-11, atol=0)


def test_jepig_is_a_difference_of_eigs_and_tends_to_eig():
    pool, evals, post = problem()
    difference = eig(pool, post) - eig(pool, post.update(evals))
    torch.testing.assert_close(jepig(pool, evals, post), difference)
    many = dense_roots(2000, seed=5)
    ratio = jepig(pool, many, post) / eig(pool, post)
    assert (ratio < 1).all() and (ratio > 0.98).all()


def test_examples_no_evaluation_label_depends_on_score_zero():
    """Orthogonal directions: JEPIG and EPIG vanish exactly, EIG does not."""
    pool = FisherRoots.from_dense([[1.0, 0.0, 0.0]])
    evals = FisherRoots.from_dense([[0.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    post = GaussianPosterior.isotropic(3, 1e-8)
    s = scores(pool, post, evals, pairwise=True)
    assert s["jepig_log_det"].item() == s["epig_log_det"].item() == 0.0
    assert s["eig_log_det"].item() == pytest.approx(math.log1p(1e8) / 2)


def test_saturated_duplicates_and_dead_features():
    features = normal(M, 3)
    features[:, 1] = 0.0
    logits = normal(M, C, seed=1)
    logits[0] = torch.tensor([69.0, 0.0, 0.0, 0.0])
    features[2], logits[2] = features[1], logits[1]
    pool = last_layer_roots(features, logits)
    evals = last_layer_roots(features, logits.roll(1, 0))
    post = GaussianPosterior.from_roots(pool, 1e-3)
    s = scores(pool, post, evals, pairwise=True)
    for name, values in s.items():
        assert torch.isfinite(values).all(), name
        assert values[1].item() == pytest.approx(values[2].item(), rel=1e-9, abs=0), (
            name
        )
        assert (values >= 0).all(), name
    # p = 1 - 3e-69...: the score is F's trace over a precision that is almost lambda.
    trace = eig(pool, GaussianPosterior.isotropic(16, 1.0), "trace")[0].item()
    norm = float(features[0].square().sum()) + 1
    assert trace == pytest.approx(norm * 3 * math.exp(-69.0), rel=1e-12, abs=0)


def test_scores_do_not_depend_on_linear_parametrisation():
    """claims T46: theta -> B theta takes R to R B^{-1} and P to B^{-T} P B^{-1}."""
    pool, evals, post = problem()
    inverse = torch.linalg.inv(normal(11, 11, seed=9) + 3 * torch.eye(11).double())
    moved = [
        FisherRoots.from_dense(part.dense() @ inverse)
        for part in (pool, evals, post.train_roots[0])
    ]
    prior = post.prior_precision * inverse.mT @ inverse
    new = GaussianPosterior.from_roots(moved[2], (prior + prior.mT) / 2)
    before = scores(pool, post, evals, pairwise=True)
    after = scores(moved[0], new, moved[1], pairwise=True)
    for name, values in before.items():
        torch.testing.assert_close(after[name], values, rtol=1e-8, atol=1e-10)


def test_submodularity_counterexample_of_bait():
    """claims T25: b gains 2/3 alone and 10/3 after a (without the 1/2)."""
    post = GaussianPosterior.isotropic(2, 1.0)
    u, a, b = (FisherRoots.from_dense([v]) for v in ([2.0, 2], [-2.0, 1], [-1.0, 2]))
    assert 2 * jepig(b, u, post, "trace").item() == pytest.approx(
        2 / 3, rel=1e-12, abs=0
    )
    after = 2 * jepig(b, u, post.update(a), "trace").item()
    assert after == pytest.approx(10 / 3, rel=1e-12, abs=0)


def test_pool_order_and_batches_do_not_matter(monkeypatch):
    pool, evals, post = problem("kronecker")
    whole = scores(pool, post, evals, pairwise=True)
    order = torch.randperm(M, generator=generator())
    monkeypatch.setattr("fimlib.information.expected.BATCH", 2)
    monkeypatch.setattr("fimlib.information.pairs._PAIR_BATCH", 2)
    monkeypatch.setattr("fimlib.fisher.roots._CHUNK_NUMBERS", 1)
    shuffled = scores(pool[order], post, evals, pairwise=True)
    for name, values in whole.items():
        torch.testing.assert_close(
            shuffled[name], values[order], rtol=1e-11, atol=1e-13
        )


class Stream(StreamedRoots):
    """Roots that come two at a time and count how often they are passed over."""

    def __init__(self, roots):
        self.all, self.passes = roots, 0

    def __len__(self):
        return len(self.all)

    def __getitem__(self, indices):
        return self.all[indices]

    rank = property(lambda self: self.all.rank)
    num_parameters = property(lambda self: self.all.num_parameters)
    dtype = property(lambda self: self.all.dtype)
    device = property(lambda self: self.all.device)

    def parts(self):
        return self.batches(2)

    def batches(self, size):
        self.passes += 1
        yield from self.all.batches(min(size, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_streams_are_scored_batch_by_batch(kind, both_paths):
    pool, evals, post = problem(kind)
    expected = scores(pool, post, evals, pairwise=True)
    train = Stream(post.train_roots[0])
    streamed = GaussianPosterior.from_roots(train, post.prior_precision)
    stream = Stream(pool)
    found = scores(stream, streamed, Stream(evals), pairwise=True)
    assert stream.passes == 2, "one pass for all scores, one for the pairs"
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(
        batch_eig(stream, streamed), batch_eig(pool, post), rtol=1e-10, atol=0
    )


def test_a_loader_gives_the_scores_of_its_examples():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh())
    model.append(torch.nn.Linear(5, C))
    inputs = normal(13, 3).float()
    options = {"progress": False, "scope": "network"}
    roots = roots_from_loader(model, inputs.split(2), **options)
    held = network_roots(model, inputs)
    post = GaussianPosterior.from_roots(held[:2], 0.7)
    found, expected = (scores(x, post, held[2:7]) for x in (roots, held))
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-9, atol=1e-12)


def test_bad_input_is_refused_by_name():
    pool, evals, post = problem()
    for call in (jepig, epig, epig_upper, jepig_proxy, epig_proxy):
        with pytest.raises(ValueError, match="eval_roots must hold at least one"):
            call(pool, evals[:0], post)
        with pytest.raises(ValueError, match="roots must hold at least one"):
            call(pool[:0], evals, post)
        with pytest.raises(ValueError, match=r"eval_roots must have 11 parameters.*5"):
            call(pool, dense_roots(E, size=5), post)
        with pytest.raises(ValueError, match="form must be one of 'log_det'"):
            call(pool, evals, post, form="logdet")
    with pytest.raises(ValueError, match="form must be one of 'log_det', got 'trace'"):
        epig_upper(pool, evals, post, form="trace")
    for call in (eig, batch_eig):
        with pytest.raises(ValueError, match="roots must hold at least one"):
            call(pool[:0], post)
        with pytest.raises(ValueError, match="form must be one of"):
            call(pool, post, form="both")
        with pytest.raises(ValueError, match=r"roots must have 11 parameters.*got 5"):
            call(dense_roots(3, size=5), post)
    with pytest.raises(ValueError, match="eval_roots must be given"):
        scores(pool, post, pairwise=True)

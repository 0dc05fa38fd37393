"""Information from known labels: ig, pig, jpig (claims T2, T42)."""

import pytest
import torch
from cases import E, M, dense_roots, fishers, normal, problem

from fimlib.information import eig, epig, ig, jepig, jpig, pig


def log_det(matrix):
    return torch.linalg.slogdet(matrix)[1]


def test_ig_is_the_entropy_drop_and_may_be_negative():
    _, _, post = problem()
    half = normal(3, 11, 11, seed=3)
    observed = 0.02 * (half + half.mT)
    p = post.precision
    expected = torch.stack([log_det(p + h) - log_det(p) for h in observed]) / 2
    torch.testing.assert_close(ig(observed, post), expected, rtol=1e-9, atol=1e-12)
    assert (expected < 0).any()
    pool, _, post = problem("kronecker")
    torch.testing.assert_close(ig(fishers(pool), post), eig(pool, post))
    with pytest.raises(ValueError, match=r"positive definite.*example 1"):
        ig(torch.stack([observed[0], -1e3 * torch.eye(11)]), problem()[2])


def brute_known(observed, evals, post, form):
    """What labels of observed information H_i tell about each evaluation label."""
    p = post.precision
    eye = torch.eye(len(p), dtype=torch.float64)

    def half(info, precision):
        ratio = info @ torch.linalg.inv(precision)
        return (log_det(eye + ratio) if form == "log_det" else ratio.trace()) / 2

    fe = fishers(evals)
    joint = [half(fe.sum(0), p) - half(fe.sum(0), p + h) for h in observed]
    pairs = [
        torch.stack([half(one, p) - half(one, p + h) for one in fe]).mean()
        for h in observed
    ]
    return torch.stack(joint), torch.stack(pairs)


@pytest.mark.parametrize("form", ["log_det", "trace"])
@pytest.mark.parametrize("many", [E, 13])
def test_predictive_gains_of_known_labels_match_brute_force(form, many):
    """claims T42: observed information may be indefinite, and a gain negative."""
    _, _, post = problem()
    evals = dense_roots(many, seed=20)
    half = normal(M, 11, 11, seed=3)
    observed = 0.02 * (half + half.mT)
    joint, pairs = brute_known(observed, evals, post, form)
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(jpig(observed, evals, post, form), joint, **close)
    torch.testing.assert_close(pig(observed, evals, post, form), pairs, **close)
    assert (joint < 0).any()


@pytest.mark.parametrize("form", ["log_det", "trace"])
def test_known_labels_change_nothing_where_the_information_has_no_label(form):
    """claims T19, T42: in a GLM H_i = F_i, and PIG = EPIG, JPIG = JEPIG, IG = EIG."""
    pool, evals, post = problem("kronecker")
    close = {"rtol": 1e-9, "atol": 1e-13}
    for known in (fishers(pool), pool):
        torch.testing.assert_close(
            jpig(known, evals, post, form), jepig(pool, evals, post, form), **close
        )
        torch.testing.assert_close(
            pig(known, evals, post, form), epig(pool, evals, post, form), **close
        )
        torch.testing.assert_close(ig(known, post), eig(pool, post), **close)


def test_tiny_gains_of_known_labels_keep_their_digits():
    _, evals, post = problem()
    half = normal(M, 11, 11, seed=3)
    for call in (jpig, pig):
        big = call(1e-9 * (half + half.mT), evals, post)
        small = call(1e-100 * (half + half.mT), evals, post)
        torch.testing.assert_close(small * 1e91, big, rtol=1e-6, atol=0)


def test_bad_input_is_refused_by_name():
    _, evals, post = problem()
    with pytest.raises(ValueError, match=r"observed must have shape \(M, 11, 11\)"):
        ig(torch.zeros(3, 5, 5), post)
    with pytest.raises(ValueError, match="observed must be symmetric"):
        ig(torch.arange(121.0).view(1, 11, 11), post)
    for call in (pig, jpig):
        with pytest.raises(ValueError, match="eval_roots must hold at least one"):
            call(torch.zeros(3, 11, 11), evals[:0], post)
        with pytest.raises(ValueError, match=r"eval_roots must have 11 parameters.*5"):
            call(torch.zeros(3, 11, 11), dense_roots(E, size=5), post)
        with pytest.raises(ValueError, match="form must be one of 'log_det'"):
            call(torch.zeros(3, 11, 11), evals, post, form="logdet")
        with pytest.raises(ValueError, match="observed must hold at least one"):
            call(torch.zeros(0, 11, 11), evals, post)
        with pytest.raises(ValueError, match=r"positive definite.*example 0"):
            call(-1e3 * torch.eye(11)[None], evals, post)

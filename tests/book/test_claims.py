"""The ledger: every claim holds, and goes red when its formula is broken."""

import sys

import numpy as np
import pytest
import torch

from companion import claims, proof
from companion.evidence.ledger import CONDITIONS, CORRECTED, HOLDS
from companion.proof.page import derivation_markdown
from companion.proof.rules import Rule
from fimlib import fisher, information, linalg, predictive, selection, similarity
from fimlib.blr import BayesianLinearRegression
from fimlib.families import Bernoulli, Categorical, Gaussian, GaussianMeanLogSd, Poisson
from fimlib.figures import agreement
from fimlib.posterior import GaussianPosterior

CLAIMS = claims.all_claims()


@pytest.mark.parametrize("id", CLAIMS)
def test_claim_holds(id, decided):
    entry = claims.entry(CLAIMS[id], decided(id))
    bad = [s for s in entry["steps"] + entry["checks"] if not s["ok"]]
    bad += [m for m in entry["mutants"] if not m["rejected"]]
    assert not bad
    assert entry["status"] == "pass"


@pytest.mark.parametrize("id", CLAIMS)
def test_claim_is_complete(id, decided):
    claim = CLAIMS[id]
    derivation = claim.derive()
    assert decided(id).steps, "a symbolic derivation"
    assert derivation.checks, "evidence by numbers"
    assert derivation.mutants, "wrong versions that are rejected"
    mutated = {m.of for m in derivation.mutants}
    assert {c.name for c in derivation.checks} <= mutated, "a check never seen to fail"
    assert claim.verdict in (HOLDS, CONDITIONS, CORRECTED)
    assert (claim.verdict == HOLDS) == (not claim.correction)
    assert claim.title and claim.statement


SYMBOLIC = {proof.ALL, proof.GENERIC, proof.CALCULUS}
BY_NUMBERS = {proof.NUMERIC, proof.MONTE_CARLO}


@pytest.mark.parametrize("id", CLAIMS)
def test_claim_has_a_symbolic_and_a_numeric_check(id, decided):
    """Claims about a figure have recorded numbers in the place of the second."""
    entry = claims.entry(CLAIMS[id], decided(id))
    assert {s["kind"] for s in entry["steps"] if s["ok"]} & SYMBOLIC
    kinds = {c["kind"] for c in entry["checks"] if c["ok"]}
    empirical = CLAIMS[id].chapter.startswith(("10-", "11-"))
    assert kinds & (BY_NUMBERS | ({proof.RECORDED} if empirical else set()))


@pytest.mark.parametrize("id", CLAIMS)
def test_the_record_says_how_strong_a_claim_is(id, decided):
    entry = claims.entry(CLAIMS[id], decided(id))
    used = {item["kind"] for item in entry["steps"] + entry["checks"]}
    assert entry["strength"] == [kind for kind in proof.KINDS if kind in used]
    assert used <= {*proof.KINDS, proof.DEFINITION}
    module, _, function = entry["source"].rpartition(".")
    assert getattr(sys.modules[module], function) is CLAIMS[id].derive
    assert entry["labels"] == list(CLAIMS[id].labels)


# The identities of the talk that hold for matrices of every size, and its inequalities.
EVERY_SIZE = (6, 7, 8, 9, 11, 12, 15, 16, 18, 22, 23, 26, 27, 30, 32, 34, 35, 46, 50)
INEQUALITIES = (3, 23, 25, 27, 31, 50)


@pytest.mark.parametrize("number", EVERY_SIZE)
def test_claim_is_proved_in_all_dimensions(number, decided):
    steps = decided(f"T{number}").steps
    assert any(o.ok and o.kind == proof.ALL for _, o in steps)


@pytest.mark.parametrize("number", INEQUALITIES)
def test_inequality_is_proved_not_sampled(number, decided):
    """By a certificate: a random instance cannot make a step hold."""
    steps = decided(f"T{number}").steps
    bounds = [(s, o) for s, o in steps if s.relation in ("<=", ">=")]
    assert bounds
    assert all(o.ok and o.kind == proof.ALL for _, o in bounds)
    assert all(any(not isinstance(r, Rule) for r in s.by) for s, _ in bounds)


def test_the_ledger_has_the_claims_of_the_chapters():
    assert list(CLAIMS) == [f"T{i}" for i in range(1, 51)]


# --- broken formulas -------------------------------------------------------------

BLR = BayesianLinearRegression


def doubled(function):
    return lambda *args, **kwargs: 2 * function(*args, **kwargs)


def negated(function):
    return lambda *args, **kwargs: -function(*args, **kwargs)


def first_doubled(function):
    """For a function that returns (score, standard error)."""
    return lambda *args: (2 * function(*args)[0], function(*args)[1])


def no_noise(function):
    """Forgets the noise: conditions as if the noise variance were 1."""

    def condition(self, x, y):
        posterior = function(BLR(self.mean, self.covariance, 1.0), x, y)
        return BLR(posterior.mean, posterior.covariance, self.noise_variance)

    return condition


def posterior_for_prior(function):
    """Evaluates the gain of x under the posterior that x has already changed."""

    def eig(self, x):
        rows = [self.condition(row[None], [0.0]) for row in torch.as_tensor(x)]
        return torch.cat(
            [
                function(b, r[None])
                for b, r in zip(rows, torch.as_tensor(x), strict=True)
            ]
        )

    return eig


def swapped_sign(function):
    return lambda a, b: function(a, -torch.as_tensor(b))


def precision_for_covariance(function):
    """Uses R P R' where R P^-1 R' belongs."""

    def eig(roots, post, form="log_det"):
        gram = roots.gram(post.precision)
        if form == "trace":
            return gram.diagonal(dim1=1, dim2=2).sum(-1) / 2
        return linalg.log_det_identity_plus(gram) / 2

    return eig


def exact_only(function):
    """Whatever estimator is asked for, the exact roots come."""

    def roots(*args, **options):
        return function(*args, bias=options["bias"])

    return roots


def without_generator(function):
    """Every batch is the one of seed 0."""
    return lambda points, size, generator: function(
        points, size, generator=torch.Generator().manual_seed(0)
    )


def forgetful(function):
    """An update that leaves the posterior as it was."""
    return lambda self, roots: self


def quietly_eval(function):
    """Takes a model in eval mode whatever mode it is in."""
    return lambda model: function(model.eval())


def only_two_points(function):
    """A bias that is read off as if it grew with the number of samples."""
    return lambda samples, means: function(1 / np.asarray(samples), means)


def sum_of_singles(function):
    return lambda roots, post, form="log_det": information.eig(roots, post, form).sum()


BROKEN = [
    ("T1", predictive, "bald", doubled),
    ("T1", predictive, "bald", negated),
    ("T1", BLR, "entropy", doubled),
    ("T2", information, "ig", negated),
    ("T2", BLR, "condition", no_noise),
    ("T3", predictive, "epig", doubled),
    ("T3", predictive, "jepig", first_doubled),
    ("T3", BLR, "epig", doubled),
    ("T3", BLR, "jepig", doubled),
    ("T4", BLR, "epig", doubled),
    ("T4", predictive, "jepig", first_doubled),
    ("T5", BLR, "entropy", doubled),
    ("T6", BLR, "condition", no_noise),
    ("T7", BLR, "eig", doubled),
    ("T7", BLR, "eig", posterior_for_prior),
    ("T8", linalg, "sylvester", swapped_sign),
    ("T8", linalg, "woodbury", negated),
    ("T8", linalg, "matrix_determinant_lemma", negated),
    ("T9", BLR, "eig", doubled),
    ("T9", BLR, "eig", posterior_for_prior),
    ("T9", BLR, "batch_eig", doubled),
    ("T9", BLR, "information_gain", doubled),
    ("T10", GaussianPosterior, "entropy", doubled),
    ("T10", Bernoulli, "output_gradient", negated),
    ("T10", Bernoulli, "output_root", doubled),
    ("T11", Bernoulli, "output_gradient", negated),
    ("T11", Bernoulli, "output_root", doubled),
    ("T12", fisher, "observed_information", doubled),
    ("T12", GaussianPosterior, "update", forgetful),
    ("T12", fisher.network, "frozen_copy", quietly_eval),
    ("T13", fisher, "observed_information", negated),
    ("T13", fisher, "observed_information", doubled),
    ("T13", Categorical, "output_gradient", negated),
    ("T14", Categorical, "fisher_root", doubled),
    ("T14", Categorical, "output_gradient", doubled),
    ("T14", Bernoulli, "output_gradient", doubled),
    ("T15", Categorical, "fisher_root", doubled),
    ("T15", fisher, "observed_information", negated),
    ("T15", GaussianMeanLogSd, "output_root", doubled),
    ("T15", Poisson, "output_root", doubled),
    ("T16", Categorical, "fisher_root", doubled),
    ("T16", fisher, "observed_information", doubled),
    ("T16", Poisson, "output_root", doubled),
    ("T17", Categorical, "fisher", doubled),
    ("T17", Poisson, "mean", doubled),
    ("T17", Gaussian, "output_root", doubled),
    ("T17", GaussianMeanLogSd, "output_hessian", negated),
    ("T18", fisher, "observed_information", doubled),
    ("T18", Bernoulli, "output_gradient", negated),
    ("T18", Categorical, "fisher_root", doubled),
    ("T19", information, "ig", doubled),
    ("T19", information, "eig", doubled),
    ("T19", predictive, "bald", doubled),
    ("T20", Categorical, "output_gradient", negated),
    ("T20", GaussianMeanLogSd, "output_root", doubled),
    ("T20", fisher, "observed_information", negated),
    ("T21", information, "eig", doubled),
    ("T21", information, "eig", negated),
    ("T21", information, "eig", precision_for_covariance),
    ("T22", information, "eig", doubled),
    ("T22", information, "batch_eig", sum_of_singles),
    ("T23", information, "eig", doubled),
    ("T23", information, "eig", precision_for_covariance),
    ("T24", information, "eig", doubled),
    ("T25", information, "batch_eig", doubled),
    ("T26", BLR, "epig", doubled),
    ("T26", BLR, "jepig", doubled),
    ("T27", information, "jepig", doubled),
    ("T27", information, "epig", doubled),
    ("T27", information, "epig_proxy", doubled),
    ("T28", information, "jepig", doubled),
    ("T29", information, "jepig", doubled),
    ("T37", agreement, "spearman", negated),
    ("T37", agreement, "spearman_within_top", negated),
    ("T37", agreement, "published_top_half", negated),
    ("T37", agreement, "gaussian_reference", negated),
    ("T37", agreement, "union_null", negated),
    ("T39", agreement, "spearman", negated),
    ("T39", agreement, "inverse_fit", only_two_points),
    ("T41", predictive, "bald", doubled),
    ("T41", information, "jepig", doubled),
    ("T42", information, "ig", negated),
    ("T42", information, "pig", doubled),
    ("T42", information, "jpig", doubled),
    ("T43", information, "eig", doubled),
    ("T44", information, "eig", doubled),
    ("T44", information, "eig", precision_for_covariance),
    ("T44", information, "jepig", doubled),
    ("T44", information, "batch_eig", sum_of_singles),
    ("T45", predictive, "bald", doubled),
    ("T45", predictive, "batch_bald", doubled),
    ("T45", information, "eig", negated),
    ("T46", similarity, "log_det", doubled),
    ("T47", predictive, "batch_bald", doubled),
    ("T48", information, "eig", doubled),
    ("T49", information, "jepig", doubled),
    ("T50", information, "epig_upper", doubled),
    ("T50", information, "epig", doubled),
    ("T25", information, "batch_eig", sum_of_singles),
    ("T25", linalg, "log_det_identity_plus", doubled),
    ("T30", similarity, "log_det", doubled),
    ("T30", similarity, "similarity_matrix", negated),
    ("T31", fisher, "last_layer_roots", exact_only),
    ("T31", information, "eig", doubled),
    ("T32", similarity, "eig_small_prior", doubled),
    ("T32", information, "batch_eig", doubled),
    ("T32", similarity, "log_det", negated),
    ("T33", selection, "k_means_pp", without_generator),
    ("T33", similarity, "similarity_matrix", doubled),
    ("T34", similarity, "log_det_mi", doubled),
    ("T34", similarity, "principal_angles", doubled),
    ("T34", similarity, "jepig_small_prior_slope", doubled),
    ("T35", similarity, "log_det_cg", doubled),
    ("T35", similarity, "log_det_cmi", doubled),
    ("T35", information, "jepig", doubled),
    ("T36", similarity, "log_det_mi", doubled),
    ("T36", information, "jepig", doubled),
]


@pytest.mark.parametrize(
    ("id", "place", "name", "breakage"),
    BROKEN,
    ids=[f"{i}-{n}-{b.__name__}" for i, _, n, b in BROKEN],
)
def test_a_broken_formula_turns_its_claim_red(monkeypatch, id, place, name, breakage):
    original = getattr(place, name)
    monkeypatch.setattr(place, name, breakage(original))
    if place is linalg:  # modules that took the function by name
        for module in (information,):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, breakage(original))
    entry = claims.verify([id])["claims"][0]
    assert entry["status"] == "fail"
    assert any(not check["ok"] for check in entry["checks"])


# --- showing and selecting -------------------------------------------------------


def test_show_is_markdown_and_deterministic():
    text = claims.show("T9")
    assert text == claims.show("t9")
    assert text._repr_markdown_() == text
    assert text.startswith("<details><summary>4 checks, 5 mutants</summary>")
    assert "wrong functions, rejected: dropped ½" in text
    assert "✗" not in text


def test_a_claim_without_a_cell_shows_its_lines_too():
    text = claims.show("T24")
    assert text.startswith("| | step |")
    assert "all dimensions ✓" in text
    assert "wrong lines, rejected: " in text


def test_ledger_has_a_row_for_each_claim():
    rows = claims.ledger(["T5", "T24"]).splitlines()[2:]
    assert [row.split("**")[1] for row in rows] == ["T5", "T24"]


def test_unknown_claim_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"unknown claim T99; the ledger has T1, T2"):
        claims.show("T99")


@pytest.mark.parametrize("id", CLAIMS)
def test_shown_lines_fit_a_table_cell(id, decided):
    text = derivation_markdown(decided(id))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}

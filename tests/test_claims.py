"""The ledger: every claim holds, and goes red when its formula is broken."""

import pytest
import torch

from fimlib import claims, information, linalg
from fimlib.blr import BayesianLinearRegression
from fimlib.derivations.ledger import CONDITIONS, CORRECTED, HOLDS

CLAIMS = claims.all_claims()


@pytest.mark.parametrize("id", CLAIMS)
def test_claim_holds(id):
    entry = claims.verify([id])["claims"][0]
    bad = [s for s in entry["steps"] + entry["checks"] if not s["ok"]]
    bad += [m for m in entry["mutants"] if not m["rejected"]]
    assert not bad
    assert entry["status"] == "pass"


@pytest.mark.parametrize("id", CLAIMS)
def test_claim_is_complete(id):
    claim = CLAIMS[id]
    derivation = claim.derive()
    assert derivation.steps, "a symbolic derivation"
    assert derivation.checks, "evidence by numbers"
    assert derivation.mutants, "wrong versions that are rejected"
    mutated = {m.of for m in derivation.mutants}
    assert {c.name for c in derivation.checks} <= mutated, "a check never seen to fail"
    assert claim.verdict in (HOLDS, CONDITIONS, CORRECTED)
    assert (claim.verdict == HOLDS) == (not claim.correction)
    assert all((claim.title, claim.talk, claim.statement, claim.assumptions))


def test_the_ledger_has_the_claims_of_the_chapters():
    numbers = [*range(5, 10), *range(21, 30), 49, 50]
    assert list(CLAIMS) == [f"T{i}" for i in numbers]


# --- broken formulas -------------------------------------------------------------

BLR = BayesianLinearRegression


def doubled(function):
    return lambda *args, **kwargs: 2 * function(*args, **kwargs)


def negated(function):
    return lambda *args, **kwargs: -function(*args, **kwargs)


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


def sum_of_singles(function):
    return lambda roots, post, form="log_det": information.eig(roots, post, form).sum()


BROKEN = [
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
    ("T49", information, "jepig", doubled),
    ("T50", information, "epig_upper", doubled),
    ("T50", information, "epig", doubled),
    ("T25", information, "batch_eig", sum_of_singles),
    ("T25", linalg, "log_det_identity_plus", doubled),
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
    assert "all dimensions ✓" in text
    assert "wrong functions that were rejected: dropped ½" in text
    assert "✗" not in text


def test_ledger_has_a_row_for_each_claim():
    rows = claims.ledger(["T5", "T24"]).splitlines()[2:]
    assert [row.split("**")[1] for row in rows] == ["T5", "T24"]


def test_unknown_claim_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"unknown claim T99; the ledger has T5, T6"):
        claims.show("T99")


def test_shown_lines_fit_a_table_cell():
    for claim in CLAIMS.values():
        text = claims.show(claim.id)
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {row.count("|") for row in rows} == {5}, claim.id

"""formal/: each lemma serves a claim, rests on no axiom, and breaks with a sign."""

import re
import shutil

import pytest

from companion import claims, formal

needs_rocq = pytest.mark.skipif(
    not shutil.which("coqc"), reason="coqc is not installed (Debian: coq)"
)
LEMMAS = {lemma.name: lemma for lemma in formal.lemmas()}
# The claims whose algebra must be here.
ASKED = "T6 T7 T8 T9 T21 T22 T25 T26 T28 T30 T34 T35 T46".split()
# One lemma or two of each file, with the sign to flip in its statement.
FLIPS = {
    "sylvester": ("(I + A *m B)", "(I - A *m B)"),
    "woodbury": ("= inv P - inv P", "= inv P + inv P"),
    "gain_of_one_input": ("= 1 + quad", "= 1 - quad"),
    "mean_update": ("mu + ((y", "mu - ((y"),
    "chain_rule": ("\\det (I + A k", "\\det (I - A k"),
    "information_is_symmetric": ("(P + FE))", "(P - FE))"),
    "bait_forward": (
        "inv (I + V *m inv M *m V^T)).",
        "inv (I - V *m inv M *m V^T)).",
    ),
    "log_det_mi_is_twice_jepig": ("A *m A^T - A", "A *m A^T + A"),
    "log_det_cmi_is_twice_jepig": ("(P_T + E^T", "(P_T - E^T"),
    "hard_label_bias": ("(p y 0 - number", "(p y 0 + number"),
    "log_det_is_submodular": ("(P + R^T", "(P - R^T"),
}


def statements(text):
    """The names of all that Rocq is asked to believe or prove, in a source."""
    pattern = r"^\s*(?:Lemma|Theorem|Corollary|Proposition|Remark)\s+(\w+)"
    return re.findall(pattern, text, re.MULTILINE)


def test_every_lemma_names_claims_that_exist():
    written = [n for path in formal.files() for n in statements(path.read_text())]
    assert written == list(LEMMAS), "a lemma without `(* Tn: ... *)` before it"
    known = claims.all_claims()
    assert all(c in known for lemma in LEMMAS.values() for c in lemma.claims)


def test_the_algebra_asked_for_is_there():
    assert len(LEMMAS) >= 15
    assert set(ASKED) <= set(formal.kernel_checked())


def test_every_source_is_compiled_and_short():
    assert sorted(formal.SOURCES.glob("*.v")) == sorted(formal.files())
    assert all(len(p.read_text().splitlines()) <= 400 for p in formal.files())


def test_nothing_is_assumed_in_the_sources():
    """`Hypothesis` and `Variable` stand in sections, so lemmas carry them along."""
    forbidden = r"\b(Axioms?|Parameters?|Conjecture|Admitted|admit|Abort|Unset Guard)\b"
    for path in formal.files():
        code = re.sub(r"\(\*.*?\*\)", "", path.read_text(), flags=re.DOTALL)
        assert not re.search(forbidden, code), path.name
        before = code[: code.index("Section ")]
        assert not re.search(r"\b(Hypothes[ie]s|Variables?)\b", before), path.name


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formal")
    formal.build(folder)
    return folder


@needs_rocq
@pytest.mark.slow
def test_every_lemma_compiles_and_rests_on_no_axiom(built):
    assert formal.assumptions(built) == dict.fromkeys(LEMMAS, formal.NO_AXIOM)


@needs_rocq
@pytest.mark.slow
def test_an_assumption_would_be_seen(built):
    source = built / "assumed.v"
    source.write_text(
        "Axiom wrong : False.\n"
        "Lemma any : 1 = 2. Proof. destruct wrong. Qed.\n"
        "Print Assumptions any.\n"
    )
    answer = formal.coqc(source).stdout
    assert "wrong : False" in answer
    assert formal.NO_AXIOM not in answer


def up_to(lemma, statement):
    """The source as far as the end of this lemma, with another statement for it."""
    text = (formal.SOURCES / lemma.file).read_text()
    head, rest = text.split(lemma.statement)
    proof = rest[: rest.index("Qed.") + len("Qed.")]
    opened, closed = (
        re.findall(rf"^{w} (\w+)", head, re.M) for w in ("Section", "End")
    )
    ends = [f"End {name}." for name in reversed(opened) if name not in closed]
    return "\n".join([head + statement + proof, *ends, ""])


@needs_rocq
@pytest.mark.slow
def test_what_is_cut_off_after_a_lemma_is_not_missed(built):
    lemma = LEMMAS["hard_label_bias"]
    source = built / "cut.v"
    source.write_text(up_to(lemma, lemma.statement))
    assert formal.coqc(source).returncode == 0


@needs_rocq
@pytest.mark.slow
@pytest.mark.parametrize("name", FLIPS)
def test_a_flipped_sign_does_not_compile(name, built):
    """The flipped statement is well formed, and its proof is what fails."""
    lemma, (before, after) = LEMMAS[name], FLIPS[name]
    assert lemma.statement.count(before) == 1
    source = built / f"flipped_{name}.v"
    source.write_text(up_to(lemma, lemma.statement.replace(before, after)))
    done = formal.coqc(source)
    assert done.returncode == 1
    line = int(re.search(r'File ".*", line (\d+)', done.stderr)[1])
    assert line > lemma.line + lemma.statement.count("\n"), "the error is in the proof"

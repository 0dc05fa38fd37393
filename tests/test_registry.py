"""The registry says what is there: functions, claims, sources, and nothing heavy."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from companion import claims
from fimlib import registry, selection
from fimlib.registry import Method, find, markdown, methods, resolve

ROOT = Path(__file__).parents[1]
NAMES = [m.name for m in methods()]


@pytest.mark.parametrize("method", methods(), ids=NAMES)
def test_record_is_in_the_vocabulary(method):
    assert method.space in registry.SPACES
    assert method.evidence in registry.EVIDENCE
    assert set(method.quantities) <= set(registry.QUANTITIES)
    assert method.keeps_posterior == registry.PRIORS[method.prior]
    texts = (method.matrix, method.aggregation, method.labels, method.optimiser)
    assert all(texts)
    assert re.fullmatch(r"[A-ZE][^|]*\.", method.reduction)  # a sentence, no table bar
    assert all(re.fullmatch(r"T([1-9]|[1-4]\d|50)", c) for c in method.claims)


@pytest.mark.parametrize(
    "method", [m for m in methods() if m.call], ids=lambda m: m.name
)
def test_call_is_a_function_of_fimlib(method):
    function = resolve(method)
    assert callable(function)
    assert function.__doc__
    assert function.__module__.startswith(method.call.rpartition(".")[0])


def test_every_selection_function_is_some_methods():
    helpers = {"Selection", "top_k", "stochastic_top_k"}
    named = {m.call for m in methods()}
    here = set(selection.__all__) - helpers
    assert {f"fimlib.selection.{name}" for name in here} <= named


def test_names_are_unique_and_found():
    assert len(set(NAMES)) == len(NAMES)
    assert find("BAIT").quantity == "EPIG, JEPIG"
    assert find("Core-Set").quantity == "none"
    with pytest.raises(ValueError, match=r"BALD, BatchBALD.*got 'nothing'"):
        find("nothing")


def test_a_word_of_no_list_is_refused():
    for field, value in (("prior", "λ"), ("quantities", ("EIG", "XIG"))):
        with pytest.raises(ValueError, match=f"{field} must be of "):
            replace(find("BALD"), **{field: value})


def test_resolve_without_a_function():
    assert resolve(find("RHO-LOSS")) is None


def test_sources_are_in_the_bibliography():
    keys = set(
        re.findall(r"^@\w+\{([^,]+),", (ROOT / "references.bib").read_text(), re.M)
    )
    assert {m.source for m in methods()} <= keys


def test_claims_about_methods_are_in_the_ledger_or_not_yet_in_this_edition():
    """Those of this chapter are there; a wrong number would name another chapter."""
    here = {f"T{i}" for i in range(41, 49)}
    named = {c for m in methods() for c in m.claims}
    assert here & named <= set(claims.all_claims())
    assert here - named == {"T46"}  # about parameters, no method in particular


def test_what_the_theory_says_about_the_rows():
    for m in methods():
        # No quantity, no place on the map; and the other way round.
        assert (m.space == "distance") == (not m.quantities), m.name
        # The trace cannot tell EPIG from JEPIG (T28).
        if m.aggregation == "trace" and m.quantities != ("EIG",):
            assert m.quantities == ("EPIG", "JEPIG"), m.name
        # True labels mean information gained, not expected.
        if m.labels == "true":
            assert set(m.quantities) <= {"IG", "PIG", "JPIG"}, m.name
        # What is about predictions says about which, and nothing else does.
        about = {"EPIG", "PIG", "JEPIG", "JPIG", "CMI"} & set(m.quantities)
        assert m.targets in registry.TARGETS
        assert (m.targets != "none") == bool(about), m.name
        # A Hessian of a label needs that label.
        if m.matrix == "observed Hessian":
            assert m.labels == "true", m.name


def test_the_published_bait_is_about_the_pool_and_the_labelled():
    assert find("BAIT").targets == find("Black-box BAIT").targets == "pool and labelled"
    assert find("ACS-FW").targets == "pool"
    assert find("EIG log det").targets == "none"


def test_lengths_of_gradients_have_forgotten_the_training_data():
    lengths = [m for m in methods() if m.aggregation.endswith("length")]
    assert {m.name for m in lengths} == {"EGL", "GraNd", "EL2N"}
    assert not any(m.keeps_posterior for m in lengths)


def test_records_are_json():
    record = json.loads(json.dumps(registry.records()))
    assert [r["name"] for r in record] == NAMES
    assert record[0]["quantities"] == ["EIG"]
    assert record[0]["keeps_posterior"] is True


def test_markdown_has_a_row_for_each_method():
    fields = [f for f in Method.__dataclass_fields__ if f != "quantities"]
    for columns in (("name", "quantity"), tuple(fields)):
        rows = markdown(columns).splitlines()
        assert len(rows) == 2 + len(methods())
        assert {row.count("|") for row in rows} == {len(columns) + 1}


def test_the_api_page_has_the_table_of_today():
    page = (ROOT / "chapters" / "api.md").read_text()
    assert markdown(("name", "quantity", "matrix", "call")) in page, (
        "paste fimlib.registry.markdown(('name', 'quantity', 'matrix', "
        "'call')) into chapters/api.md"
    )


def test_the_registry_loads_nothing_heavy():
    code = (
        "import sys; from fimlib.registry import methods; methods();"
        "print(sorted({'torch', 'sympy', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr

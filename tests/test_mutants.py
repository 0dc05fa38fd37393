"""The list of deliberate edits fits the code, and its runner tells outcomes apart."""

import pytest
from mutants import LIST, Mutant, load, noticed, quick_checks

MUTANTS, CHECKS = load()


def test_there_are_enough_edits_and_none_twice():
    assert len(MUTANTS) >= 60
    assert len({(m.file, m.before, m.after) for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.file}: {m.name}")
def test_an_edit_fits_its_file_once_and_leaves_python(mutant):
    compile(mutant.mutated(), mutant.file, "exec")
    assert quick_checks(mutant, CHECKS)["tests"]


def test_the_checks_exist():
    from companion.claims import all_claims

    for entry in CHECKS.values():
        assert all((LIST.parents[1] / path).exists() for path in entry["tests"])
        assert all_claims().keys() >= set(entry.get("claims", []))


def test_text_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\ny = 1\n")
    with pytest.raises(ValueError, match="must stand there once, found 2 times"):
        Mutant("a.py", "one", "= 1", "= 2").mutated(tmp_path)


def test_a_failing_command_is_noticed_and_a_passing_one_is_not(tmp_path):
    assert noticed(tmp_path, [["true"]], 5) is None
    assert noticed(tmp_path, [["true"], ["false"]], 5) is not None

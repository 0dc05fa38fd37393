"""Imports run one way: fimlib's core, its figures, the companion, the chapters."""

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("fimlib", "fimlib.figures", "companion")
# The core's own order, which the API page states: each rests on those before it.
CORE = (
    "_checks", "linalg", "families", "blr", "fisher", "posterior", "information",
    "dual", "predictive", "similarity", "selection", "registry", "own_model", "cli",
)  # fmt: skip


def modules():
    """Module name -> source file, of everything that is installed."""
    found = {}
    for package in ("fimlib", "companion"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(p for p in parts if p != "__init__")] = path
    return found


MODULES = modules()


def imports(name):
    """Modules that a module imports, inside functions as well, or names in a string."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} & set(MODULES)
    return found & set(MODULES) - {"fimlib"}  # which loads its parts when asked


def layer(name):
    return max(i for i, top in enumerate(LAYERS) if f"{name}.".startswith(f"{top}."))


@pytest.mark.parametrize("name", MODULES)
def test_nothing_imports_upwards(name):
    assert [m for m in imports(name) if layer(m) > layer(name)] == []


def test_the_core_has_the_order_of_the_api_page():
    def place(name):
        return CORE.index(name.split(".")[1])

    core = [n for n in MODULES if layer(n) == 0 and n.split(".")[1:2]]
    core = [n for n in core if n.split(".")[1] != "__main__"]
    upwards = {(n, m) for n in core for m in imports(n) if place(m) > place(n)}
    assert upwards == set()


def test_no_circle_of_imports():
    graph = {name: imports(name) for name in MODULES}
    while leaves := {name for name, found in graph.items() if not found}:
        graph = {n: found - leaves for n, found in graph.items() if n not in leaves}
    assert graph == {}


@pytest.mark.parametrize("name", [n for n in MODULES if not n.endswith("__main__")])
def test_every_module_can_be_imported(name):
    importlib.import_module(name)


def test_the_companion_installs_all_of_its_packages():
    project = tomllib.loads((ROOT / "companion/pyproject.toml").read_text())
    packages = {n for n, p in MODULES.items() if p.name == "__init__.py"}
    here = {n for n in packages if n.startswith("companion")}
    assert set(project["tool"]["setuptools"]["packages"]) == here

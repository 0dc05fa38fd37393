"""Docstrings of the public names: every argument, and an example."""

import importlib
import inspect
import re
from abc import ABC

import pytest

MODULES = ("families", "blr", "posterior", "information", "predictive", "registry")


def public():
    """Name -> object of what users import: functions, classes and their own methods."""
    found = {}
    for module in (importlib.import_module(f"fimlib.{name}") for name in MODULES):
        names = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__
        ]
        for name in names:
            value = getattr(module, name)
            if not name.startswith("_") and callable(value):
                found[f"{module.__name__}.{name}"] = value
    return found


PUBLIC = public()
FUNCTIONS = {n: v for n, v in PUBLIC.items() if inspect.isfunction(v)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_and_gives(name):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"\b{argument}\b", text), argument
    assert re.match(r"(Return|Raise|Warn)", text), "the summary says what it returns"


def examples(*values):
    return [v for v in values if "\n>>> " in (inspect.getdoc(v) or "")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_shows_how_it_is_used(name):
    assert examples(FUNCTIONS[name])


def methods(kind):
    return [v for k, v in vars(kind).items() if inspect.isfunction(v) and k[0] != "_"]


# A subclass keeps the contract of its base, and may point there.
CLASSES = {
    name: value
    for name, value in PUBLIC.items()
    if inspect.isclass(value) and methods(value) and value.__bases__[0] in (object, ABC)
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_shows_how_it_is_used(name):
    kind = CLASSES[name]
    assert examples(kind, *methods(kind))

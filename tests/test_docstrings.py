"""Docstrings of the public names: every argument, and an example that runs."""

import importlib
import inspect
import re

import pytest

MODULES = ("blr", "families", "information", "predictive", "registry", "similarity")


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
def test_a_function_names_what_it_takes_and_shows_it(name):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"\b{argument}\b", text), argument
    assert "\n>>> " in text or "\n    >>> " in text


def methods(kind):
    return [v for k, v in vars(kind).items() if inspect.isfunction(v) and k[0] != "_"]


CLASSES = {n: v for n, v in PUBLIC.items() if inspect.isclass(v) and methods(v)}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_shows_how_it_is_used(name):
    kind = CLASSES[name]
    texts = [inspect.getdoc(value) or "" for value in (kind, *methods(kind))]
    assert any(">>> " in text for text in texts)

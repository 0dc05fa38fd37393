"""Docstrings of the public names: every argument with its shape, and an example."""

import importlib
import inspect
import re

import pytest

MODULES = ("families", "blr", "predictive", "registry")


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
def test_a_function_says_what_it_takes_and_gives_and_shows_it(name):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^    \*{{0,2}}{argument}: \S", text, re.M), argument
    assert "\nReturns:\n" in text or "\nYields:\n" in text
    assert "\nExample:\n    >>> " in text


def methods(kind):
    return [v for k, v in vars(kind).items() if inspect.isfunction(v) and k[0] != "_"]


CLASSES = {n: v for n, v in PUBLIC.items() if inspect.isclass(v) and methods(v)}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_shows_how_it_is_used(name):
    kind = CLASSES[name]
    texts = [inspect.getdoc(value) or "" for value in (kind, *methods(kind))]
    assert any("\nExample:\n    >>> " in text for text in texts)

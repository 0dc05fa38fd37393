"""Derivations, one module a chapter; each claim a function that returns its steps."""

from importlib import import_module

MODULES = (
    "information_quantities",
    "information_gain",
    "predictive_quantities",
    "epig_and_jepig",
    "blr",
    "sylvester",
    "bald",
    "laplace",
    "bayes_rule",
    "additivity",
    "observed_information",
    "fisher_information",
    "score",
    "exponential_families",
    "family_table",
    "glm",
    "active_sampling",
    "ggn",
    "eig",
    "trace",
    "batch",
    "epig",
    "epig_upper",
    "bait",
    "similarity",
    "one_sample",
    "uninformative",
    "badge",
    "log_det_mi",
    "conditional",
    "reductions",
    "lens",
    "known_labels",
    "lengths",
    "function_space",
    "caps",
    "parametrisation",
    "cost",
    "records",
    "black_box",
)


def modules():
    """The derivation modules, in the order of the book."""
    return [import_module(f"fimlib.derivations.{name}") for name in MODULES]

"""Evidence, one folder a chapter; each claim a function that returns its steps."""

from importlib import import_module

MODULES = (
    "ch01.information_quantities",
    "ch01.information_gain",
    "ch01.predictive_quantities",
    "ch01.epig_and_jepig",
    "ch02.blr",
    "ch02.sylvester",
    "ch02.bald",
    "ch03.laplace",
    "ch03.bayes_rule",
    "ch03.additivity",
    "ch04.observed_information",
    "ch04.fisher_information",
    "ch04.score",
    "ch05.exponential_families",
    "ch05.family_table",
    "ch05.glm",
    "ch05.active_sampling",
    "ch05.ggn",
    "ch06.eig",
    "ch06.trace",
    "ch06.batch",
    "ch07.epig",
    "ch07.epig_upper",
    "ch07.bait",
    "ch08.similarity",
    "ch08.one_sample",
    "ch08.uninformative",
    "ch08.badge",
    "ch08.log_det_mi",
    "ch08.conditional",
    "ch08.reductions",
    "ch09.lens",
    "ch09.known_labels",
    "ch09.lengths",
    "ch09.function_space",
    "ch09.caps",
    "ch09.parametrisation",
    "ch09.cost",
    "ch10.figures_2_and_3",
    "ch11.black_box",
)


def modules():
    """The derivation modules, in the order of the book."""
    return [import_module(f"companion.evidence.{name}") for name in MODULES]

"""Every public function with twelve kinds of bad value for each of its arguments."""

import importlib
import inspect
import warnings

import numpy as np
import pytest
import torch
from cases import M, dense_roots, normal
from torch import nn

from fimlib.families import Categorical
from fimlib.posterior import GaussianPosterior

PACKAGES = (
    "fisher",
    "posterior",
    "information",
    "predictive",
    "similarity",
    "selection",
)
D = 11


class Anything:
    """An object that nothing is known of."""


def bad_values():
    """Twelve kinds of what no argument means, unless it happens to fit."""
    return {
        "nothing": None,
        "a word": "abc",
        "a dict": {"a": 1},
        "an object": Anything(),
        "a negative number": -3,
        "not a number": float("nan"),
        "an empty array": np.zeros((0, 3)),
        "a scalar array": torch.tensor(0.5),
        "too many dimensions": np.zeros((2, 1, 2, 1, 2)),
        "infinities": torch.full((7, 3), torch.inf),
        "complex numbers": np.ones((7, 7)) * 1j,
        "words": np.array([["a", "b"], ["c", "d"]]),
    }


def log_probs(count, seed):
    return normal(count, 5, 3, seed=seed).log_softmax(-1)


def kernel(rows, columns=None, seed=0):
    whole = normal(9, 6, seed=seed)
    gram = whole @ whole.mT / 6
    start = {"A": 0, "E": 3, "T": 6}
    left = slice(start[rows], start[rows] + 3)
    right = start[columns or rows]
    return gram[left, right : right + 3]


def good_values():
    """A value for each argument's name that every function with it takes."""
    post = GaussianPosterior.from_roots(dense_roots(3, seed=40), 0.7)
    named = {
        "roots": dense_roots(M, seed=1),
        "eval_roots": dense_roots(5, seed=20),
        "private_roots": dense_roots(2, seed=30),
        "train_roots": dense_roots(3, seed=40),
        "post": post,
        "prior_precision": 0.7,
        "theta_star": normal(D),
        "observed": torch.eye(D).double().expand(M, D, D),
        "vectors": normal(D, 2),
        "matrix": torch.eye(4).double(),
        "basis": torch.linalg.qr(normal(3, 2))[0],
        "features": normal(M, 4),
        "train_features": normal(3, 4, seed=2),
        "logits": normal(M, 3, seed=1),
        "labels": torch.tensor([0, 1, 2, 2, 1, 0, 0]),
        "family": Categorical(),
        "model": nn.Linear(4, 3),
        "inputs": normal(M, 4),
        "loader": [normal(M, 4)],
        "log_probs": log_probs(M, 1),
        "log_probs_eval": log_probs(4, 2),
        "scores": normal(M).abs(),
        "items": normal(M, 4),
        "batch_size": 2,
        "score": None,
        "a": normal(M, 9, seed=1),
        "b": normal(3, 9, seed=2),
        "e": normal(3, 9, seed=3),
        "S": kernel("A"),
        "targets": normal(3),
    }
    for pair in ("A", "E", "T", "AE", "AT", "ET"):
        named[f"S_{pair}"] = kernel(*pair)
    return named


ARRAYS = {"features", "logits", "labels", "matrix"}
OWN = {
    "embed": {"matrix": torch.eye(4).double()},
    "log_det_cmi": {"jitter": 0.1},
    "noise_ceiling": {"score": lambda table, *others: table.double().exp().std((1, 2))},
}


def functions():
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"fimlib.{package}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                found[f"{package}.{name}"] = value
    return found


def arguments_of(function):
    """The arguments that a good call needs, and all that a bad value may stand for."""
    named = good_values() | OWN.get(function.__name__, {})
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    plain = [p for p in parameters if p.kind not in kinds]
    own = OWN.get(function.__name__, {})
    needed = {
        p.name: named[p.name] for p in plain if p.default is p.empty or p.name in own
    }
    return needed, plain


@pytest.mark.parametrize("name", functions())
def test_good_values_are_good(name):
    function = functions()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(**arguments_of(function)[0])


@pytest.mark.parametrize("name", functions())
def test_bad_values_are_refused_by_the_arguments_name(name):
    function = functions()[name]
    needed, parameters = arguments_of(function)
    for parameter in parameters:
        for kind, value in bad_values().items():
            if value is None and parameter.default is None:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    function(**needed | {parameter.name: value})
                except (ValueError, TypeError) as error:
                    # Sizes that differ may be blamed on the other argument.
                    names = {parameter.name} | ARRAYS & set(needed)
                    named = any(name in str(error) for name in names)
                    assert named, (parameter.name, kind, error)

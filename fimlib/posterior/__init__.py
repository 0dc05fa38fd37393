"""Gaussian (Laplace) posteriors by their precision P = prior + sum of F_i (T10-T12)."""

from fimlib._checks import guard
from fimlib.linalg import AccuracyWarning
from fimlib.posterior.approximate import (
    DiagonalPosterior,
    KroneckerPosterior,
    SketchPosterior,
)
from fimlib.posterior.evidence import marglik_precision
from fimlib.posterior.frame import MAX_DENSE
from fimlib.posterior.gaussian import GaussianPosterior

__all__ = [
    "MAX_DENSE", "AccuracyWarning", "DiagonalPosterior", "GaussianPosterior",
    "KroneckerPosterior", "SketchPosterior", "marglik_precision",
]  # fmt: skip

guard(globals())

"""The registry of methods: each one a choice of quantity, matrix, form and optimiser.

`fimlib methods` prints it, the book's tables and its map of methods are made from it.
Nothing here needs torch: `call` names a function of fimlib, loaded by `resolve`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

QUANTITIES = ("EIG", "IG", "EPIG", "PIG", "JEPIG", "JPIG", "CG", "CMI")
SPACES = ("prediction", "weight", "function", "similarity", "distance")
CODE = "from the authors' code"
DERIVED = "derived"
LITERATURE = "from the literature, not checked here"
EVIDENCE = (CODE, DERIVED, LITERATURE)

# What stands for the posterior, and whether it remembers the training data.
PRIORS = {
    "posterior samples": True,
    "λI + F_train": True,
    "λI + weighted F_train": True,
    "λI + F_T": True,
    "ensemble": True,
    "Gaussian process": True,
    "any precision P": True,
    "current and holdout model": True,
    "λI": False,
    "none": False,
}


@dataclass(frozen=True)
class Method:
    """One method of data selection, as published, in the terms of this package.

    Attributes:
        name: as published.
        quantities: what it estimates, of `QUANTITIES`; none if no such reduction is
            known. CG is EIG, CMI is JEPIG, each given other data.
        space: where it works.
        matrix: what stands for the Fisher information.
        aggregation: how that becomes a number.
        prior: what stands for the posterior, of `PRIORS`.
        labels: which labels it uses.
        optimiser: how it comes to a batch.
        reduction: how it comes down to the quantity, or why it does not.
        claims: the ledger's entries about it.
        source: a key of references.bib.
        evidence: where this row comes from.
        call: the function of fimlib that computes it, or "".
    """

    name: str
    quantities: tuple[str, ...]
    space: str
    matrix: str
    aggregation: str
    prior: str
    labels: str
    optimiser: str
    reduction: str
    claims: tuple[str, ...]
    source: str
    evidence: str
    call: str = ""

    @property
    def quantity(self) -> str:
        """The quantities as text, "none" if there is none."""
        return ", ".join(self.quantities) or "none"

    @property
    def keeps_posterior(self) -> bool:
        """Whether the training data still counts when the method scores an example."""
        return PRIORS[self.prior]


def methods() -> tuple[Method, ...]:
    """Every method of the registry, grouped by space, in the order of the map.

    Returns:
        The methods.
    Example:
        >>> [m.name for m in methods() if m.quantities == ("JEPIG",)][:2]
        ['JEPIG (samples)', 'JEPIG log det']
    """
    return _METHODS


def find(name: str) -> Method:
    """The method of this name.

    Args:
        name: as in the registry.
    Returns:
        The method.
    Raises:
        ValueError: another name; the message lists all names.
    Example:
        >>> find("BAIT").quantity, find("BAIT").call
        ('EPIG, JEPIG', 'fimlib.selection.bait')
    """
    for method in _METHODS:
        if method.name == name:
            return method
    raise ValueError(
        f"name must be one of {', '.join(m.name for m in _METHODS)}, got {name!r}"
    )


def resolve(method: Method) -> Callable[..., Any] | None:
    """The function that `method.call` names.

    Args:
        method: of the registry.
    Returns:
        The function, or None if fimlib has none.
    Example:
        >>> resolve(find("BALD")).__name__
        'bald'
    """
    if not method.call:
        return None
    module, _, name = method.call.rpartition(".")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def records() -> list[dict[str, Any]]:
    """The registry as plain dictionaries, ready for JSON.

    Returns:
        A dictionary a method, of its fields and of `keeps_posterior`.
    Example:
        >>> records()[0]["name"], records()[0]["keeps_posterior"]
        ('BALD', True)
    """
    return [asdict(m) | {"keeps_posterior": m.keeps_posterior} for m in _METHODS]


def markdown(
    columns: Sequence[str] = ("name", "quantity", "matrix", "aggregation", "optimiser"),
) -> str:
    """A Markdown table of the methods; sources become citations.

    Args:
        columns: fields of `Method`.
    Returns:
        The table, a line a method below two of headings.
    Example:
        >>> print(markdown(("name", "call"))[:22])
        | method | in fimlib |
    """
    rows = [
        "| " + " | ".join(_HEADINGS.get(c, c) for c in columns) + " |",
        "|" + ":---|" * len(columns),
    ]
    rows += ["| " + " | ".join(_cell(m, c) for c in columns) + " |" for m in _METHODS]
    return "\n".join(rows)


_HEADINGS = {"name": "method", "quantity": "information", "call": "in fimlib"}


def _cell(method: Method, column: str) -> str:
    """What the table says of a method in a column."""
    value = getattr(method, column)
    if column == "name":
        return f"{value} {{cite:p}}`{method.source}`"
    if column == "call":
        return f"`{value.removeprefix('fimlib.')}`" if value else ""
    return ", ".join(value) if isinstance(value, tuple) else str(value)


_METHODS = (
    # --- prediction space: probabilities under samples of the posterior ---------------
    Method(
        "BALD", ("EIG",), "prediction", "samples", "entropies", "posterior samples",
        "none", "top-k",
        "EIG itself, read as a difference of the label's entropies.",
        ("T9", "T41", "T45"), "houlsby2011bald", DERIVED, "fimlib.predictive.bald",
    ),
    Method(
        "BatchBALD", ("EIG",), "prediction", "samples", "joint entropy",
        "posterior samples", "none", "greedy",
        "EIG of the labels together; at most the sum of BALD.",
        ("T47", "T25"), "kirsch2019batchbald", LITERATURE,
        "fimlib.selection.batch_bald",
    ),
    Method(
        "EPIG (samples)", ("EPIG",), "prediction", "samples", "joint entropy",
        "posterior samples", "none", "top-k",
        "EPIG itself, from the joint predictions of pairs of inputs.",
        ("T3", "T26"), "bickfordsmith2023epig", CODE, "fimlib.predictive.epig",
    ),
    Method(
        "JEPIG (samples)", ("JEPIG",), "prediction", "samples", "joint entropy",
        "posterior samples", "none", "top-k",
        "JEPIG itself; exact for few evaluation labels, else sampled.",
        ("T3",), "kirsch2022unifying", DERIVED, "fimlib.predictive.jepig",
    ),
    Method(
        "RHO-LOSS", ("JPIG",), "prediction", "losses", "loss difference",
        "current and holdout model", "true", "top-k",
        "The drop in loss of a known label once holdout data is known: of JPIG's kind.",
        ("T42",), "mindermann2022rho", LITERATURE,
    ),
    # --- weight space: Fisher information against a posterior precision ---------------
    Method(
        "EIG log det", ("EIG",), "weight", "exact Fisher", "log det", "λI + F_train",
        "none", "top-k, greedy",
        "EIG between Gaussian posteriors at one set of weights.",
        ("T21", "T25"), "kirsch2022unifying", CODE, "fimlib.information.eig",
    ),
    Method(
        "D-optimal design", ("EIG",), "weight", "exact Fisher", "log det",
        "any precision P", "none", "exchange, greedy",
        "The same log det, of all chosen points together.",
        ("T22", "T25"), "chaloner1995design", DERIVED,
        "fimlib.selection.greedy_log_det",
    ),
    Method(
        "EPIG log det", ("EPIG",), "weight", "exact Fisher", "log det",
        "λI + F_train", "none", "top-k",
        "EPIG between Gaussians: the mean over single evaluation inputs.",
        ("T27", "T50"), "kirsch2022unifying", DERIVED, "fimlib.information.epig",
    ),
    Method(
        "EPIG upper", ("EPIG",), "weight", "exact Fisher, mean", "log det",
        "λI + F_train", "none", "top-k",
        "The talk's EPIG display with its first term: Jensen makes it an upper bound.",
        ("T27", "T50"), "kirsch2022unifying", CODE, "fimlib.information.epig_upper",
    ),
    Method(
        "JEPIG log det", ("JEPIG",), "weight", "exact Fisher", "log det",
        "λI + F_train", "none", "top-k, greedy",
        "EIG now less EIG once the evaluation labels are known.",
        ("T27", "T49"), "kirsch2022unifying", CODE, "fimlib.information.jepig",
    ),
    Method(
        "IG log det", ("IG",), "weight", "observed Hessian", "log det",
        "λI + F_train", "true", "top-k",
        "EIG's formula with the known label's Hessian; the same for canonical GLMs.",
        ("T42",), "kirsch2022unifying", DERIVED, "fimlib.information.ig",
    ),
    Method(
        "PIG, JPIG log det", ("PIG", "JPIG"), "weight", "observed Hessian", "log det",
        "λI + F_train", "true", "top-k",
        "EPIG's and JEPIG's formulas with the known label's Hessian.",
        ("T42",), "kirsch2022unifying", DERIVED, "fimlib.information.jpig",
    ),
    Method(
        "EIG trace", ("EIG",), "weight", "exact Fisher", "trace", "λI + F_train",
        "none", "top-k",
        "An upper bound of the log det, additive over a batch.",
        ("T23", "T25", "T48"), "kirsch2022unifying", CODE, "fimlib.information.eig",
    ),
    Method(
        "EGL", ("EIG",), "weight", "exact Fisher", "gradient length", "λI",
        "model's own", "top-k",
        "Squared and averaged over labels it is tr F; as published, the mean length.",
        ("T43",), "settles2008egl", LITERATURE, "fimlib.information.eig",
    ),
    Method(
        "BAIT", ("EPIG", "JEPIG"), "weight", "exact Fisher", "trace",
        "λI + weighted F_train", "none", "forward, backward greedy",
        "Minimises the trace of what is left to learn; EPIG and JEPIG share it.",
        ("T28", "T49"), "ash2021bait", CODE, "fimlib.selection.bait",
    ),
    Method(
        "Fisher information ratio", ("EPIG", "JEPIG"), "weight", "exact Fisher",
        "trace", "none", "none", "relaxations",
        "BAIT's trace without a prior.",
        ("T28",), "zhang2000value", LITERATURE,
    ),
    Method(
        "A- and V-optimal design", ("EPIG", "JEPIG"), "weight", "exact Fisher",
        "trace", "any precision P", "none", "exchange, greedy",
        "BAIT's trace in a linear model; A-optimal: against the identity.",
        ("T28",), "chaloner1995design", DERIVED, "fimlib.information.epig_proxy",
    ),
    Method(
        "GraNd", ("IG",), "weight", "true-label gradient", "gradient length", "λI",
        "true", "top-k",
        "Squared, 2λ times IG's trace; as published, the mean length over "
        "initialisations.",
        ("T43",), "paul2021diet", LITERATURE, "fimlib.information.eig",
    ),
    Method(
        "EL2N", ("IG",), "weight", "true-label gradient", "error length", "λI", "true",
        "top-k",
        "GraNd of the last layer with features of length one.",
        ("T43",), "paul2021diet", LITERATURE, "fimlib.information.eig",
    ),
    # --- function space: covariances of outputs ---------------------------------------
    Method(
        "Black-box BALD, BatchBALD", ("EIG",), "function", "ensemble covariance",
        "log det", "ensemble", "none", "top-k, greedy",
        "The log det of weight space with an ensemble's covariance for k.",
        ("T44",), "kirsch2023blackbox", CODE, "fimlib.selection.greedy_log_det",
    ),
    Method(
        "ITL", ("JEPIG",), "function", "exact Fisher", "log det", "Gaussian process",
        "none", "greedy",
        "JEPIG with noise-free targets, given ITL's definition as cited.",
        ("T29",), "hubotter2024transductive", DERIVED, "fimlib.information.jepig",
    ),
    Method(
        "VTL", ("EPIG", "JEPIG"), "function", "exact Fisher", "trace",
        "Gaussian process", "none", "greedy",
        "BAIT's trace in a linear model, given VTL's definition as cited.",
        ("T28", "T29"), "hubotter2024transductive", DERIVED,
        "fimlib.information.epig_proxy",
    ),
    Method(
        "Black-box BAIT", ("EPIG", "JEPIG"), "function", "ensemble covariance",
        "trace", "ensemble", "none", "greedy",
        "BAIT with an ensemble's deviations for features.",
        ("T28", "T44"), "kirsch2023blackbox", CODE, "fimlib.selection.bait",
    ),
    # --- similarity: inner products of one gradient per example -----------------------
    Method(
        "BADGE", ("EIG",), "similarity", "hard-label gradient", "squared distances",
        "λI", "hard pseudo", "k-means++ sampling",
        "One biased sample for F, the posterior dropped, sampling for maximising: "
        "motivated by log det S, which it does not compute.",
        ("T31", "T32", "T33"), "ash2020badge", CODE, "fimlib.selection.badge",
    ),
    Method(
        "k-DPP", ("EIG",), "similarity", "any similarity S", "log det", "none",
        "hard pseudo", "sampling",
        "Draws a batch with probability proportional to det S: it does not maximise.",
        ("T32", "T33"), "kulesza2012dpp", LITERATURE, "fimlib.selection.k_dpp",
    ),
    Method(
        "SIMILAR LogDet", ("EIG",), "similarity", "hard-label gradient",
        "log det, cosine", "λI", "hard pseudo", "lazy greedy",
        "EIG with P = λI of gradients scaled to length one, a constant appended.",
        ("T32", "T33"), "kothawade2021similar", CODE, "fimlib.similarity.log_det",
    ),
    Method(
        "LogDetCG", ("CG",), "similarity", "hard-label gradient",
        "log det given T, cosine", "λI + F_T", "hard pseudo, true on T", "lazy greedy",
        "EIG once the data T is known: given the training set, the posterior is back.",
        ("T35",), "kothawade2022prism", CODE, "fimlib.selection.log_det_cg",
    ),
    Method(
        "LogDetMI", ("JEPIG",), "similarity", "hard-label gradient",
        "log det, cosine", "λI", "hard pseudo, true on query", "lazy greedy",
        "Twice JEPIG for P = λI, if η = 1 and gradients keep their lengths.",
        ("T34", "T49"), "kothawade2021similar", CODE, "fimlib.selection.log_det_mi",
    ),
    Method(
        "LogDetCMI", ("CMI",), "similarity", "hard-label gradient",
        "log det given T, cosine", "λI + F_T", "hard pseudo, true on query and T",
        "lazy greedy",
        "Twice JEPIG once the data T is known, if η = ν = 1.",
        ("T35",), "kothawade2022prism", CODE, "fimlib.selection.log_det_cmi",
    ),
    # --- distances: no information quantity is known to stand behind these ------------
    Method(
        "Core-Set", (), "distance", "features", "largest distance", "none", "none",
        "greedy k-centre",
        "Covers the pool in feature space: no determinant, no trace.",
        ("T36",), "sener2018coreset", LITERATURE, "fimlib.selection.max_dist",
    ),
    Method(
        "k-means++", (), "distance", "features", "squared distances", "none", "none",
        "sampling",
        "Distances to chosen points, where a log det has distances to their span.",
        ("T33", "T36"), "holzmuller2023framework", CODE,
        "fimlib.selection.k_means_pp",
    ),
    Method(
        "LCMD", (), "distance", "gradient features", "clusters, distances", "none",
        "none", "greedy",
        "The farthest point of the largest cluster.",
        ("T36",), "holzmuller2023framework", CODE, "fimlib.selection.lcmd",
    ),
    Method(
        "ACS-FW", (), "distance", "posterior features", "approximation error",
        "posterior samples", "none", "Frank-Wolfe",
        "A sparse approximation of the whole pool's log-likelihood.",
        ("T36",), "pinsler2019acsfw", LITERATURE, "fimlib.selection.frank_wolfe",
    ),
    Method(
        "PRISM FL, GC, COM", (), "distance", "any similarity S", "coverage", "none",
        "hard pseudo", "lazy greedy",
        "Facility location, graph cut: coverage of similarities, with no log det form.",
        ("T36",), "kothawade2022prism", CODE,
    ),
)  # fmt: skip

"""Roots of a data loader's examples, of which only one batch is held at a time."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from fimlib._checks import check_choice, positive_int
from fimlib.families import Categorical
from fimlib.fisher.batch import Batch
from fimlib.fisher.batches import check_labels, check_loader, count_examples, unpacked
from fimlib.fisher.head import LastLayer
from fimlib.fisher.last_layer import check_estimator, checked_family
from fimlib.fisher.model import Forward, Output, Parameters
from fimlib.fisher.network import Network
from fimlib.fisher.roots import FisherRoots, join, selection
from fimlib.fisher.streamed import StreamedRoots

# Examples of a last layer that a pass works on together.
_TOGETHER = 4_096


def roots_from_loader(
    model: nn.Module,
    loader: Any,
    family: Any = None,
    scope: str = "last_layer",
    layer: str | None = None,
    estimator: str = "exact",
    num_samples: int = 1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    progress: bool = True,
    *,
    parameters: Parameters = None,
    output: Output = None,
    forward: Forward = None,
) -> "LoaderRoots":
    """Return the Fisher roots of a loader's examples, made batch by batch (T16, T31).

    loader: anything that gives the same batches each time it is iterated over: inputs
    (m, ...), or pairs (inputs, labels), of which `estimator` "empirical" takes the
    labels; inputs may be tuples or dicts, and `forward`, a function of (model, batch),
    is given the whole batch. scope: "last_layer", the Linear layer whose outputs
    W phi + b are the model's, found or named by `layer` and checked on every batch,
    parameters as in `last_layer_roots`; or "network". `family`, `num_samples`,
    `parameters` and `output` are as in `network_roots`. The model is copied, in eval
    mode; for the last layer it runs in its own dtype, and its features are converted to
    `dtype`. Every method of the result is one pass over the loader, with a bar unless
    `progress` is off; "monte_carlo" draws the same labels in each, by the `generator`.
    `roots[indices]` holds what it selects.

    Raises:
        ValueError: what cannot be passed over twice, a loader that shuffles, augments
            or pads, tuples other than (inputs, labels), what `network_roots` refuses.

    >>> model, batches = nn.Linear(2, 3), [torch.ones(4, 2), torch.zeros(1, 2)]
    >>> roots_from_loader(model, batches, progress=False)
    LoaderRoots(5 examples, rank 2, 9 parameters)
    """
    family = checked_family(family)
    check_choice(scope, "scope", ("last_layer", "network"))
    labelled = isinstance(estimator, str) and estimator == "empirical"
    check_estimator(estimator, () if labelled else None)
    positive_int(num_samples, "num_samples")
    for name, value, other in (
        ("layer", layer, "network"),
        ("parameters", parameters, "last_layer"),
    ):
        if scope == other and value is not None:
            raise ValueError(f'{name} has no use for scope "{scope}", got {value!r}')
    whole = forward is not None
    first = Batch(unpacked(check_loader(loader, whole), whole)[0])
    evaluator: Network | LastLayer
    if scope == "network":
        evaluator = Network(model, dtype, parameters, output, forward)
    else:
        evaluator = LastLayer(model, layer, first, family, dtype, output, forward)
    options = (family, estimator, num_samples)
    return LoaderRoots(_Source(loader, evaluator, options, generator, progress, whole))


class LoaderRoots(StreamedRoots):
    """Roots of a loader's examples; see `roots_from_loader`."""

    def __init__(self, source: "_Source", change: Callable | None = None) -> None:
        self._source = source
        # What is done to the roots of the examples from a number on: (roots, start).
        self._change = change or (lambda roots, start: roots)
        example = self._example = self._change(source.example, 0)
        self._shape = (source.count, example.rank, example.num_parameters)
        self._like = example._like
        self.kronecker, self.basis = example.kronecker, example.basis

    def __getitem__(self, indices: Any) -> FisherRoots:
        wanted = torch.arange(len(self))[selection(indices, len(self))]
        ordered, places = wanted.unique(return_inverse=True)
        found = [
            self._change(roots, start)[ordered[mine] - start]
            for start, roots, mine in self._source.passing(ordered)
        ]
        if not found:
            return self._example[:0]
        return join(found)[places]

    @property
    def num_outputs(self) -> int:
        """Numbers a root's row is combined from when it meets a vector: 1, or C."""
        return self._example.num_outputs

    def reduced(self) -> "LoaderRoots":
        """The same roots in the coordinates of their basis (themselves without one)."""
        if self.basis is None:
            return self
        return self._changed(lambda roots, start: roots.reduced())

    def scaled(self, weights: Tensor) -> "LoaderRoots":
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return self._changed(
            lambda roots, start: roots.scaled(weights[start : start + len(roots)])
        )

    def batches(self, size: int) -> Iterator[FisherRoots]:
        """Consecutive roots of at most `size` examples each, in one pass."""
        size = positive_int(size, "size")
        held, count = [], 0
        for start, roots, _ in self._source.passing():
            roots = self._change(roots, start)
            if roots.streamed:
                # Inputs may be large: those of one batch are enough.
                yield from roots.batches(size)
                continue
            held.append(roots)
            count += len(roots)
            while count >= size:
                together = join(held)
                yield together[:size]
                held, count = [together[size:]], count - size
            held = held if count else []
        if count:
            yield join(held)

    def parts(self) -> Iterator[FisherRoots]:
        """Consecutive held roots."""
        for batch in self.batches(_TOGETHER):
            if isinstance(batch, StreamedRoots):
                yield from batch.parts()
            else:
                yield batch

    def _changed(self, change: Callable) -> "LoaderRoots":
        before = self._change
        return LoaderRoots(
            self._source, lambda roots, start: change(before(roots, start), start)
        )


class _Source:
    """Passes over a loader: its batches' roots, always the same."""

    def __init__(
        self,
        loader: Iterable,
        evaluator: Network | LastLayer,
        options: tuple,
        generator: torch.Generator | None,
        progress: bool,
        whole: bool,
    ) -> None:
        self.loader = loader
        self.evaluator = evaluator
        self.options = options
        self.progress = progress
        self.whole = whole
        # Batches of which each example is known to stand alone.
        self.known: set[int] = set()
        device = "cpu" if generator is None else generator.device
        self.seed = int(torch.randint(2**62, (), generator=generator, device=device))
        # The first batch shows what is wrong before the whole loader is counted.
        self.example = next(self.passing(torch.tensor([0])))[1][:1]
        self.count = count_examples(loader, whole)

    def passing(
        self, wanted: Tensor | None = None
    ) -> Iterator[tuple[int, FisherRoots, slice | None]]:
        """(start, roots, slice of `wanted`) of each batch with a wanted example."""
        # `wanted` are sorted example numbers; None stands for all.
        start = 0
        # Few batches, for a selection, need no bar.
        quiet = not self.progress or wanted is not None
        bar = tqdm(
            self.loader, "Fisher roots", leave=False, unit="batch", disable=quiet
        )
        for number, batch in enumerate(bar):
            if wanted is not None and (len(wanted) == 0 or start > wanted[-1]):
                return
            tree, labels = unpacked(batch, self.whole)
            inputs = Batch(tree)
            stop = start + len(inputs)
            mine = None
            if wanted is not None:
                ends = torch.searchsorted(wanted, torch.tensor([start, stop]))
                mine = slice(*ends.tolist())
            if mine is None or mine.start < mine.stop:
                yield start, self._roots(number, inputs, labels, start), mine
            start = stop
        if start != self.count:
            raise ValueError(
                f"loader must give the same examples in every pass, got {start}, and "
                f"{self.count} at first"
            )

    def _roots(
        self, number: int, inputs: Batch, labels: Any, start: int
    ) -> FisherRoots:
        family, estimator, num_samples = self.options
        given = labels
        if estimator != "empirical":
            labels = None
        elif labels is None:
            raise ValueError(
                'loader must yield (inputs, labels) for estimator "empirical", got '
                "inputs alone"
            )
        # A generator of the batch's own: the same labels in each pass.
        generator = torch.Generator(self.evaluator.device)
        generator.manual_seed((self.seed + number) % 2**63)
        options = (family, estimator, labels, num_samples, generator)
        inputs = self.evaluator.prepared(inputs)
        roots = self.evaluator.roots(inputs, options, start, number not in self.known)
        if given is not None and not self.whole:
            classes = isinstance(family, Categorical)
            check_labels(given, len(inputs), roots.factor.shape[1], classes)
        self.known.add(number)
        return roots

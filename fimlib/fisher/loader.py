"""Roots of a data loader's examples, of which only one batch is held at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import Linear, Module
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tqdm import tqdm

from fimlib._checks import as_tensor, check_choice, check_count, positive_int
from fimlib.families import Categorical
from fimlib.fisher.last_layer import check_estimator, last_layer_roots
from fimlib.fisher.network import Network, check_examples_alone, forward, frozen_copy
from fimlib.fisher.roots import FisherRoots, join, selection
from fimlib.fisher.streamed import StreamedRoots

# Examples of a last layer that a pass works on together.
_TOGETHER = 4_096


def roots_from_loader(
    model: Module,
    loader: Any,
    family: Any = None,
    scope: str = "last_layer",
    layer: str | None = None,
    estimator: str = "exact",
    num_samples: int = 1,
    generator: Generator | None = None,
    dtype: torch.dtype = torch.float64,
    progress: bool = True,
) -> LoaderRoots:
    """Return the Fisher roots of a loader's examples, made batch by batch (T16, T31).

    loader: anything that gives the same batches each time it is iterated over: inputs
    (m, ...), or tuples (inputs, labels, ...), of which estimator "empirical" takes the
    labels. scope: "last_layer", the final Linear layer or the one named `layer` (its
    outputs must be the model's), parameters as in `last_layer_roots`; or "network", as
    in `network_roots`. The model is copied, in eval mode, and left as it is; for the
    last layer it runs in its own dtype, and its features are converted to `dtype`.
    Every method of the result is one pass over the loader, with a progress bar unless
    `progress` is off; "monte_carlo" draws the same labels in each. `roots[indices]`
    holds what it selects.

    Raises:
        ValueError: an iterator or generator, which cannot be passed over twice, a
            loader that shuffles or augments, and what `network_roots` refuses.

    >>> model, batches = Linear(2, 3), [torch.ones(4, 2), torch.zeros(1, 2)]
    >>> roots = roots_from_loader(model, batches, progress=False)
    >>> len(roots), roots.rank, roots.num_parameters
    (5, 2, 9)
    """
    family = Categorical() if family is None else family
    check_choice(scope, "scope", ("last_layer", "network"))
    check_estimator(estimator, () if estimator == "empirical" else None)
    positive_int(num_samples, "num_samples")
    if scope == "network" and layer is not None:
        raise ValueError(f'layer has no use for scope "network", got {layer!r}')
    first = _first_inputs(loader)
    evaluator: Any
    if scope == "network":
        evaluator = Network(model, dtype)
    else:
        evaluator = _LastLayer(model, layer, first, family, dtype)
    options = (family, estimator, num_samples)
    return LoaderRoots(_Source(loader, evaluator, options, generator, progress))


class LoaderRoots(StreamedRoots):
    """Roots of a loader's examples; see `roots_from_loader`."""

    def __init__(self, source: _Source, change: Callable | None = None) -> None:
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
        """How many numbers, 1 or C, make up a row's product with a vector."""
        return self._example.num_outputs

    def reduced(self) -> LoaderRoots:
        """The same roots in the coordinates of their basis (themselves without one)."""
        if self.basis is None:
            return self
        return self._changed(lambda roots, start: roots.reduced())

    def scaled(self, weights: Tensor) -> LoaderRoots:
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        return self._changed(
            lambda roots, start: roots.scaled(weights[start : start + len(roots)])
        )

    def batches(self, size: int) -> Iterator[FisherRoots]:
        """Consecutive roots of at most `size` examples each, in one pass."""
        size = positive_int(size, "size")
        held: list[FisherRoots] = []
        count = 0
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

    def _changed(self, change: Callable) -> LoaderRoots:
        before = self._change
        return LoaderRoots(
            self._source, lambda roots, start: change(before(roots, start), start)
        )


class _Source:
    """Passes over a loader: its batches' roots, always the same."""

    def __init__(
        self,
        loader: Any,
        evaluator: Any,
        options: tuple,
        generator: Generator | None,
        progress: bool,
    ) -> None:
        self.loader = loader
        self.evaluator = evaluator
        self.options = options
        self.progress = progress
        device = "cpu" if generator is None else generator.device
        self.seed = int(torch.randint(2**62, (), generator=generator, device=device))
        # The first batch shows what is wrong before the whole loader is counted.
        self.example = next(self.passing(torch.tensor([0])))[1][:1]
        self.count = _count(loader)

    def passing(
        self, wanted: Tensor | None = None
    ) -> Iterator[tuple[int, FisherRoots, slice | None]]:
        """Yield (start, roots, slice of `wanted`) of each batch that has some."""
        start = 0
        # Few batches, for a selection, need no bar.
        hide = not self.progress or wanted is not None
        bar = tqdm(self.loader, "Fisher roots", leave=False, unit="batch", disable=hide)
        for number, batch in enumerate(bar):
            if wanted is not None and (len(wanted) == 0 or start > wanted[-1]):
                return
            inputs, labels = _unpacked(batch)
            stop = start + len(inputs)
            mine = None
            if wanted is not None:
                ends = torch.searchsorted(wanted, torch.tensor([start, stop]))
                mine = slice(*ends.tolist())
            if mine is None or mine.start < mine.stop:
                yield start, self._roots(number, inputs, labels), mine
            start = stop
        if start != self.count:
            raise ValueError(
                f"loader must give the same examples in every pass, got {start}, and "
                f"{self.count} at first"
            )

    def _roots(self, number: int, inputs: Tensor, labels: Any) -> FisherRoots:
        family, estimator, num_samples = self.options
        if estimator != "empirical":
            labels = None
        elif labels is None:
            raise ValueError(
                'loader must yield (inputs, labels) for estimator "empirical", got '
                "inputs alone"
            )
        # A generator of the batch's own: the same labels in each pass.
        seed = (self.seed + number) % 2**63
        own = Generator(self.evaluator.device).manual_seed(seed)
        return self.evaluator.roots(inputs, family, estimator, labels, num_samples, own)


class _LastLayer:
    """A model whose last linear layer's inputs are caught."""

    def __init__(
        self,
        model: Module,
        layer: str | None,
        inputs: Tensor,
        family: Any,
        dtype: torch.dtype,
    ) -> None:
        self.model = frozen_copy(model)
        self.dtype = dtype
        parameter = next(self.model.parameters(), None)
        if parameter is None:
            raise ValueError("model must have parameters, got none")
        self.device, self.model_dtype = parameter.device, parameter.dtype
        inputs = self._checked_inputs(inputs)
        check_examples_alone(self.model, inputs)
        self.layer = self._found(layer, inputs[:2], family)

    def roots(self, inputs: Tensor, family: Any, *how: Any) -> FisherRoots:
        """`last_layer_roots` of a batch of inputs; `how` as in `Network.roots`."""
        calls, outputs = self._called([self.layer], self._checked_inputs(inputs))
        options = (family, self.layer.bias is not None, *how, self.dtype)
        return last_layer_roots(calls[0][1], outputs, *options)

    def _checked_inputs(self, inputs: Tensor) -> Tensor:
        inputs = torch.as_tensor(inputs)
        if inputs.is_floating_point():
            inputs = as_tensor(inputs, "inputs", dtype=self.model_dtype)
        return inputs.to(self.device)

    def _found(self, name: str | None, inputs: Tensor, family: Any) -> Linear:
        modules = self.model.named_modules()
        linears = {label: m for label, m in modules if isinstance(m, Linear)}
        if name is not None and name not in linears:
            known = ", ".join(map(repr, linears)) or "none"
            raise ValueError(
                f"layer must name a Linear module of the model ({known}), got {name!r}"
            )
        chosen = list(linears.values()) if name is None else [linears[name]]
        calls, outputs = self._called(chosen, inputs)
        # The last call is the one whose result may be what the model returns.
        if calls and _same_parameters_matter(calls[-1][2], outputs, family):
            layer = calls[-1][0]
            if sum(module is layer for module, _, _ in calls) == 1:
                return layer
        label = "its final Linear layer" if name is None else f"layer {name!r}"
        raise ValueError(
            f"model must return what {label} returns, called once with features "
            '(M, d): name another `layer`, or use scope "network"'
        )

    def _called(self, modules: list[Linear], inputs: Tensor) -> tuple[list, Tensor]:
        """[(module, its inputs, its outputs)] in the order of calls, and outputs."""
        calls = []

        def catch(module: Module, args: tuple, result: Tensor) -> None:
            calls.append((module, args[0], result))

        hooks = [module.register_forward_hook(catch) for module in modules]
        try:
            with torch.no_grad():
                outputs = forward(self.model, inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return calls, outputs


def _same_parameters_matter(result: Tensor, outputs: Tensor, family: Any) -> bool:
    """Return whether both are the same in every direction that carries information.

    A log-softmax after the layer changes its outputs by a constant only, which the
    categorical family does not see.
    """
    if result.shape != outputs.shape:
        return False
    difference = (result - outputs).double()
    basis = family.output_basis(outputs.shape[1], outputs.device)
    if basis is not None:
        difference = difference @ basis
    scale = outputs.abs().max().double()
    return bool(difference.abs().max() <= 8 * torch.finfo(outputs.dtype).eps * scale)


def _first_inputs(loader: Any) -> Tensor:
    """Inputs of the first batch, or ValueError if passes over the loader differ."""
    if not hasattr(loader, "__iter__") or iter(loader) is loader:
        raise ValueError(
            f"loader must be re-iterable, got a {type(loader).__name__}, which can be "
            "passed over once: the scores need several passes, so give a DataLoader "
            "or a list of batches"
        )
    if isinstance(loader, DataLoader):
        _check_order(loader)
    first = [_unpacked(batch)[0] for batch in islice(loader, 1)]
    again = [_unpacked(batch)[0] for batch in islice(loader, 1)]
    if not first or len(first[0]) == 0:
        check_count(0, "loader")
    if first[0].shape != again[0].shape or not torch.equal(first[0], again[0]):
        raise ValueError(
            "loader must give the same batches in every pass, got another first batch "
            "the second time: turn shuffling and random augmentation off"
        )
    return first[0]


def _check_order(loader: DataLoader) -> None:
    """Raise if the samplers of a DataLoader are random."""
    random = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
    for sampler in (loader.sampler, getattr(loader.batch_sampler, "sampler", None)):
        if isinstance(sampler, random):
            raise ValueError(
                f"loader must not shuffle, got a {type(sampler).__name__}: score i is "
                "that of example i only in a fixed order (pass shuffle=False)"
            )


def _count(loader: Any) -> int:
    if isinstance(loader, DataLoader) and loader.batch_sampler is not None:
        if isinstance(loader.sampler, SequentialSampler):
            # The batches' sizes without their examples.
            return sum(len(indices) for indices in loader.batch_sampler)
    return sum(len(_unpacked(batch)[0]) for batch in loader)


def _unpacked(batch: Any) -> tuple[Tensor, Any]:
    """(inputs, labels or None) of one batch."""
    labels = None
    if isinstance(batch, tuple | list) and batch:
        batch, labels = batch[0], batch[1] if len(batch) > 1 else None
    try:
        inputs = torch.as_tensor(batch)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            "loader must yield inputs, or tuples (inputs, labels, ...), got "
            f"{type(batch).__name__}"
        ) from error
    if inputs.ndim == 0:
        raise ValueError("loader must yield inputs (m, ...), got shape ()")
    return inputs, labels

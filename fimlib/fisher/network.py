"""Fisher roots and observed information of a whole network, by torch.func (T12-T16)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.func import functional_call, hessian, jvp, vjp, vmap
from torch.nn import Module
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from fimlib._checks import as_tensor, check_count
from fimlib.families import Categorical
from fimlib.fisher.last_layer import check_estimator, output_factor
from fimlib.fisher.layered import check_differentiable, layered_pass, linear_layers
from fimlib.fisher.roots import FisherRoots, chunk_step, selection
from fimlib.fisher.streamed import HELD_NUMBERS, StreamedRoots

# Observed information: most parameters, and most numbers of the result (2 GiB).
MAX_OBSERVED = 4_096
_MAX_OBSERVED_NUMBERS = 2**28
# Examples a forward pass takes at once, and examples compared with being alone.
_FORWARD = 1_024
_PROBED = 4
# Examples that a matrix-free product takes through the network at once.
_TOGETHER = 512


def network_roots(
    model: Module,
    inputs: Any,
    family: Any = None,
    estimator: str = "exact",
    labels: Any = None,
    num_samples: int = 1,
    generator: Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> FisherRoots:
    """Return the roots of a whole network's F_i = J_i^T Lambda_i J_i (T16, T31).

    model: any torch.nn.Module from inputs (M, ...) to outputs (M, C), which mean to
    `family` (categorical by default) what they mean in `last_layer_roots`; so do
    `estimator`, `labels`, `num_samples` and `generator`. D counts all of
    `model.parameters()`, flattened in that order (frozen ones too, tied ones once).
    The model is evaluated as a copy in `dtype` and in eval mode, dropout off; it is
    left as it is, and roots do not follow its later training. Where linear layers hold
    all parameters, roots are held as `LayeredRoots`, whose inner products need no array
    of size D. What is held takes up to 256 MiB in all; beyond, each pass computes the
    roots again, a chunk at a time.

    Raises ValueError for wrong shapes, non-finite values, bad labels, and a model whose
    outputs for one example depend on the others, such as batch-norm in train mode: its
    Fisher information is not additive (T12).

    >>> from fimlib.families import Gaussian
    >>> model = torch.nn.Linear(2, 1)
    >>> network_roots(model, [[3.0, 4.0]], Gaussian(4.0)).dense().tolist()
    [[[1.5, 2.0, 0.5]]]
    """
    family = Categorical() if family is None else family
    check_estimator(estimator, labels)
    network = Network(model, dtype)
    roots = network.roots(inputs, family, estimator, labels, num_samples, generator)
    small = len(roots) * roots.numbers_each <= HELD_NUMBERS
    return roots.held() if small else roots


def observed_information(
    model: Module,
    inputs: Any,
    labels: Any,
    family: Any = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Return -grad^2 log p(y_i|x_i, theta), (M, D, D) (T13, T16, T20).

    J^T H J + sum_k g_k grad^2 f_k, with g and H the gradient and Hessian of -log p by
    the outputs f: symmetric, and indefinite in general, so that it has no root. `model`
    and the order of parameters are as in `network_roots`; labels: (M,), or what the
    family needs.

    Raises:
        ValueError: as `network_roots` does, above 4,096 parameters, and for a result
            above 2 GiB.

    >>> from fimlib.families import Gaussian
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> observed_information(model, [[3.0, 4.0]], [5.0], Gaussian(1.0)).tolist()
    [[[9.0, 12.0], [12.0, 16.0]]]
    """
    family = Categorical() if family is None else family
    network = Network(model, dtype)
    inputs, size = network.checked_inputs(inputs), network.num_parameters
    numbers = len(inputs) * size**2
    if size > MAX_OBSERVED or numbers > _MAX_OBSERVED_NUMBERS:
        raise ValueError(
            f"model must have at most {MAX_OBSERVED} parameters and the result at most "
            f"2.1 GB, got {size} parameters and {8e-9 * numbers:.1f} GB"
        )
    check_examples_alone(network.model, inputs)
    outputs = network.outputs(inputs)
    gradient = family.output_gradient(outputs, labels).to(network.dtype)
    curvature = family.output_hessian(outputs, labels).to(network.dtype)
    found = []
    step = chunk_step(size**2)
    for x, g, h in zip(
        inputs.split(step), gradient.split(step), curvature.split(step), strict=True
    ):
        eye = torch.eye(g.shape[1]).to(g).expand(len(g), -1, -1)
        jacobian = network.rows(x, eye)
        found.append(jacobian.mT @ h @ jacobian + network.residual(x, g))
    result = torch.cat(found)
    return (result + result.mT) / 2


class NetworkRoots(StreamedRoots):
    """Roots R_i = U_i^T J_i of a network's parameters, computed chunk by chunk."""

    def __init__(
        self,
        network: Network,
        inputs: Tensor,
        factor: Tensor,
        pull: Callable[[Tensor], FisherRoots] | None = None,
    ) -> None:
        self.network, self.inputs, self.factor = network, inputs, factor
        self._shape = (len(inputs), factor.shape[2], network.num_parameters)
        self._like = factor
        # Held roots from a factor, by the pass through the network that led to it.
        self._pull = pull

    def __getitem__(self, indices: Any) -> NetworkRoots:
        indices = selection(indices, len(self))
        return NetworkRoots(self.network, self.inputs[indices], self.factor[indices])

    @property
    def numbers_each(self) -> int:
        """Numbers that an example takes when it is held."""
        return self.network.numbers_each(self.rank)

    def scaled(self, weights: Tensor) -> NetworkRoots:
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        factor = self.factor @ weights.mT.to(self.factor)
        return NetworkRoots(self.network, self.inputs, factor)

    def fisher_product(self, vector: Tensor) -> Tensor:
        """(sum of F_i) v (D,), in float64, with v (D,): J^T U U^T J v, matrix-free."""
        total, step = torch.zeros_like(vector, dtype=torch.float64), _TOGETHER
        for x, u in zip(self.inputs.split(step), self.factor.split(step), strict=True):
            total += self.network.product(x, u, vector)
        return total

    def parts(self) -> Iterator[FisherRoots]:
        """Consecutive roots, computed and held, of a few tens of MB."""
        step = chunk_step(self.numbers_each)
        if self._pull is not None and len(self) <= step:
            yield self._pull(self.factor)
            return
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            yield self.network.held(self.inputs[part], self.factor[part])

    @classmethod
    def joined(cls, parts: list) -> NetworkRoots:
        """The examples of several roots of one network, one after the other."""
        inputs = torch.cat([part.inputs for part in parts])
        return cls(parts[0].network, inputs, torch.cat([part.factor for part in parts]))


class Network:
    """A copy of a model in eval mode as a function of its parameters."""

    def __init__(self, model: Module, dtype: torch.dtype) -> None:
        self.model = frozen_copy(model).to(dtype)
        self.dtype = dtype
        self.parameters = dict(self.model.named_parameters())
        self.buffers = dict(self.model.named_buffers())
        if not self.parameters:
            raise ValueError("model must have parameters, got none")
        self.device = next(iter(self.parameters.values())).device
        self.num_parameters = sum(p.numel() for p in self.parameters.values())
        # Whether vmap serves for "rows" and "residual", once tried.
        self._by_vmap: dict[str, bool] = {}
        # The linear layers of a model that has no other parameters; () if not known.
        self._layers: Any = ()

    def checked_inputs(self, inputs: Any) -> Tensor:
        """Inputs (M, ...) on the model's device, in its dtype unless integers."""
        inputs = torch.as_tensor(inputs)
        if inputs.ndim == 0:
            raise ValueError("inputs must have shape (M, ...), got ()")
        check_count(len(inputs), "inputs")
        if inputs.is_floating_point():
            inputs = as_tensor(inputs, "inputs", dtype=self.dtype)
        return inputs.to(self.device)

    def roots(self, inputs: Any, family: Any, *how: Any) -> NetworkRoots:
        """Return roots of these inputs (M, ...), of which nothing is computed but U.

        how: estimator, labels, num_samples and generator, as in `output_factor`. The
        first inputs of all show how the model treats its examples.
        """
        inputs = self.checked_inputs(inputs)
        if self._layers == ():
            check_examples_alone(self.model, inputs)
            self._layers = self._found_layers(inputs[:1])
        outputs, pull = self._outputs_and_pull(inputs)
        factor = output_factor(family, outputs, *how).to(self.dtype)
        return NetworkRoots(self, inputs, factor, pull)

    def outputs(self, inputs: Tensor) -> Tensor:
        """The network's outputs (M, C), checked."""
        with torch.no_grad():
            parts = [forward(self.model, x) for x in inputs.split(_FORWARD)]
        return as_tensor(torch.cat(parts), "model outputs", ("M", "C"), self.dtype)

    def _outputs_and_pull(self, inputs: Tensor) -> tuple[Tensor, Callable | None]:
        """Both from one pass, where the examples are few and their layers known."""
        most = min(_FORWARD, chunk_step(self.numbers_each(1)))
        if not self._layers or len(inputs) > most:
            return self.outputs(inputs), None
        outputs, pull = self._layered(self._layers, inputs)
        return as_tensor(outputs, "model outputs", ("M", "C"), self.dtype), pull

    def _layered(self, layers: list, inputs: Tensor) -> tuple[Tensor, Callable]:
        return layered_pass(partial(forward, self.model), layers, inputs)

    def numbers_each(self, rank: int) -> int:
        """Numbers that the roots of one example take when they are held."""
        if not self._layers:
            return rank * self.num_parameters
        return sum(x.in_features + rank * x.out_features for x in self._layers)

    def held(self, inputs: Tensor, factor: Tensor) -> FisherRoots:
        """Held roots U_i^T J_i from inputs (m, ...) and U (m, C, r)."""
        if self._layers:
            return self._layered(self._layers, inputs)[1](factor)
        return FisherRoots(self.rows(inputs, factor))

    def _found_layers(self, inputs: Tensor) -> list | None:
        """The linear layers, if by them the gradient of an example comes out right."""
        layers = linear_layers(self.model, inputs)
        if layers is None:
            return None
        # Any one direction shows a use of a weight that the layers do not see.
        outputs, pull = self._layered(layers, inputs)
        weights = torch.linspace(1, 2, outputs.shape[1]).to(outputs)[:, None]
        found = pull(weights[None]).dense()[0]
        return layers if _agree(found, self._rows_of_one(inputs[0], weights)) else None

    def rows(self, inputs: Tensor, factor: Tensor) -> Tensor:
        """U_i^T J_i (m, r, D) from inputs (m, ...) and U (m, C, r)."""

        def pull_back(x: Tensor, u: Tensor) -> Tensor:
            pull = vjp(lambda p: self._output(p, x), self.parameters)[1]
            grads = vmap(pull)(u.mT)[0]
            rows = [grads[name].reshape(len(u.mT), -1) for name in self.parameters]
            return torch.cat(rows, 1)

        return self._mapped("rows", pull_back, self._rows_of_one, inputs, factor)

    def _rows_of_one(self, x: Tensor, u: Tensor) -> Tensor:
        """U^T J (r, D) of one example by plain autograd."""
        leaves = {n: p.detach().requires_grad_() for n, p in self.parameters.items()}
        out = self._output(leaves, x)
        check_differentiable(out)
        return torch.stack([_flat_grad(out, leaves, v) for v in u.mT])

    def product(self, inputs: Tensor, factor: Tensor, vector: Tensor) -> Tensor:
        """sum_i J_i^T U_i U_i^T J_i v (D,): once forward and once backward."""
        start = torch.cat([p.detach().flatten() for p in self.parameters.values()])

        def outputs(theta: Tensor) -> Tensor:
            state = self._named(theta), self.buffers
            return functional_call(self.model, state, (inputs,))

        change = jvp(outputs, (start,), (vector,))[1]
        weights = (factor @ (factor.mT @ change[:, :, None]))[:, :, 0]
        return vjp(outputs, start)[1](weights)[0].double()

    def residual(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        """sum_k g_k grad^2 f_k (m, D, D), from inputs (m, ...) and g (m, C)."""
        start = torch.cat([p.detach().flatten() for p in self.parameters.values()])

        def value(theta: Tensor, x: Tensor, g: Tensor) -> Tensor:
            return (self._output(self._named(theta), x) * g).sum()

        def one_by_one(x: Tensor, g: Tensor) -> Tensor:
            return torch.autograd.functional.hessian(lambda t: value(t, x, g), start)

        batched = partial(hessian(value), start)
        return self._mapped("residual", batched, one_by_one, inputs, gradient)

    def _mapped(
        self,
        way: str,
        batched: Callable,
        one_by_one: Callable,
        inputs: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Return vmap of a function of one example, or a loop where there is none.

        Some modules have a wrong one (second derivatives of layer-norm in torch 2.13):
        the first example of all is computed both ways.
        """
        # Only the plain attention kernel has all derivatives.
        with sdpa_kernel(SDPBackend.MATH):
            if self._by_vmap.get(way, True):
                try:
                    found = vmap(batched)(inputs, weights).detach()
                except RuntimeError:
                    self._by_vmap[way] = False
                else:
                    if way not in self._by_vmap:
                        first = one_by_one(inputs[0], weights[0]).detach()
                        self._by_vmap[way] = _agree(found[0], first)
            if self._by_vmap[way]:
                return found
            pairs = zip(inputs, weights, strict=True)
            return torch.stack([one_by_one(x, w).detach() for x, w in pairs])

    def _output(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(self.model, (parameters, self.buffers), (x[None],))[0]

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        sizes = [p.numel() for p in self.parameters.values()]
        parts = zip(self.parameters.items(), theta.split(sizes), strict=True)
        return {name: part.view(p.shape) for (name, p), part in parts}


def frozen_copy(model: Module) -> Module:
    """Return a copy of the model in eval mode that asks for no gradients (T12).

    Raises:
        ValueError: what is no module, for batch-norm that works by the batch, and for a
            model that cannot be copied.
    """
    if not isinstance(model, Module):
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm):
            continue
        if module.training or module.running_mean is None:
            mode = "in train mode" if module.training else "without running statistics"
            raise ValueError(
                f"model must treat each example alone, but its batch-norm {name!r} is "
                f"{mode} and normalises by the batch, so that Fisher information is "
                "not additive (T12): call model.eval(), or use another normalisation"
            )
    try:
        model = copy.deepcopy(model)
    except RuntimeError as error:
        raise ValueError(f"model must be copyable by copy.deepcopy: {error}") from error
    model.zero_grad(set_to_none=True)
    return model.eval().requires_grad_(False)


def check_examples_alone(model: Module, inputs: Tensor) -> None:
    """Raise unless the first examples get the same outputs alone as together (T12)."""
    probe = inputs[:_PROBED]
    # A far example that no averaging can miss, where the inputs can be any numbers.
    far = 2 * probe[:1] + 1 if probe.is_floating_point() else probe[:0]
    with torch.no_grad():
        together = forward(model, torch.cat([probe, far]))[: len(probe)]
        alone = torch.cat([forward(model, x) for x in probe.split(1)])
    if not _agree(together, alone):
        change = (together - alone).abs().max()
        raise ValueError(
            "model must treat each example alone, but its outputs change with the "
            "other examples of the batch, or from call to call, by up to "
            f"{float(change):.3g}: Fisher information is then not additive (T12)"
        )


def forward(model: Module, inputs: Tensor) -> Tensor:
    """The model's outputs, if they are a floating tensor (M, C)."""
    try:
        outputs = model(inputs)
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"inputs must be what the model takes, got {inputs.dtype} of shape "
            f"{tuple(inputs.shape)}: {error}"
        ) from error
    if not isinstance(outputs, torch.Tensor):
        raise ValueError(
            f"model must return a tensor (M, C), got {type(outputs).__name__}"
        )
    if outputs.ndim != 2 or len(outputs) != len(inputs):
        raise ValueError(
            f"model must return outputs (M, C) with M = {len(inputs)}, got "
            f"{tuple(outputs.shape)}"
        )
    if not outputs.is_floating_point():
        raise ValueError(f"model must return real numbers, got {outputs.dtype}")
    return outputs


def _agree(found: Tensor, expected: Tensor) -> bool:
    """Whether both are the same up to rounding, or not finite."""
    gap = (found - expected).abs().max()
    tolerance = torch.finfo(expected.dtype).eps ** 0.5
    return not bool(gap > tolerance * expected.abs().max())


def _flat_grad(out: Tensor, parameters: dict[str, Tensor], weights: Tensor) -> Tensor:
    """Gradient (D,) of weights . out by the parameters, zero for those not used."""
    options: dict = {"retain_graph": True, "materialize_grads": True}
    grads = torch.autograd.grad(out, tuple(parameters.values()), weights, **options)
    return torch.cat([grad.flatten() for grad in grads])

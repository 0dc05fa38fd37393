"""Roots of a network of linear layers from one pass, with a proof that they apply.

Row i of a layer's input and gradient make the gradient of example i by its weight, if
row i is example i and nothing else uses the weight. Every pass proves both for its own
batch; where it cannot, `Network` differentiates each example alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from fimlib._checks import is_finite
from fimlib.fisher.layered import LayeredRoots
from fimlib.fisher.model import agree, check_differentiable, refuse_gradient

# What a stock layer computes, and the hooks that may change it.
_STOCK = nn.Linear.forward
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
_HOOKS_OF_ALL = ("_global_forward_hooks", "_global_forward_pre_hooks")


class LinearLayer:
    """A stock linear layer of which the weight, and maybe the bias, count."""

    def __init__(self, name: str, module: nn.Linear, bias: bool) -> None:
        self.name, self.module, self.bias = name, module, bias

    @property
    def own(self) -> list[Tensor]:
        """The parameters that count."""
        return [self.module.weight, *([self.module.bias] if self.bias else [])]

    def numbers(self, rank: int) -> int:
        """Numbers that a root of this rank takes for one example."""
        return self.module.in_features + rank * self.module.out_features


def linear_layers(
    model: nn.Module, parameters: dict[str, nn.Parameter]
) -> list[LinearLayer] | None:
    """The stock linear layers that hold just these parameters, in their order, or None.

    None also if anything is seen that may use a parameter in another way: ties, hooks,
    subclasses and parametrisations, a forward of the instance's own.
    """
    if any(getattr(every_module, hooks) for hooks in _HOOKS_OF_ALL):
        return None
    order = [id(p) for p in parameters.values()]
    chosen, layers = set(order), []
    for name, module in model.named_modules():
        mine = [id(p) for p in module.parameters(recurse=False) if id(p) in chosen]
        if not mine:
            continue
        stock = type(module) is nn.Linear and "forward" not in vars(module)
        if not stock or any(getattr(module, hooks) for hooks in _HOOKS):
            return None
        layers.append(LinearLayer(name, module, id(module.bias) in chosen))
        if [id(p) for p in layers[-1].own] != mine:
            return None
    held = [id(p) for layer in layers for p in layer.own]
    return layers if held == order and nn.Linear.forward is _STOCK else None


def layered_pass(
    run: Callable[[], Tensor], layers: list[LinearLayer], count: int
) -> tuple[Tensor, Callable[[Tensor, Any], LayeredRoots]] | None:
    """Outputs (m, C) of a run of the model, and a function from U (m, C, r) to roots.

    None unless the pass proves that they are right for this batch.
    """
    calls: dict[int, tuple] = {}
    with torch.enable_grad(), _tapped(layers, calls):
        outputs = run()
        check_differentiable(outputs)
        rows = [calls.get(id(layer)) for layer in layers]
        if any(row is None or not _fits(row, count) for row in rows):
            return None
        shifts = [row[1] for row in rows]
        if not _proven(outputs, shifts, [p for x in layers for p in x.own]):
            return None
        if not all(calls.values()):
            return None  # called again to differentiate, as in a checkpoint

        def roots(factor: Tensor, numbers: Any) -> LayeredRoots:
            gradients = _pulled(outputs, shifts, factor.permute(2, 0, 1))
            found = []
            for layer, (values, *_), gradient in zip(
                layers, rows, gradients, strict=True
            ):
                _check_finite(layer, gradient, values, numbers)
                found.append((gradient, values, layer.bias))
            return LayeredRoots(found)

    return outputs.detach(), roots


@contextmanager
def _tapped(layers: list[LinearLayer], calls: dict[int, tuple]) -> Iterator[None]:
    """Layers that keep their input and a zero added to their output, by calls.

    They use their weight without its gradient, so that any other use can be told.
    """

    def tap(layer: LinearLayer) -> Callable[[Tensor], Tensor]:
        def forward(input: Tensor) -> Tensor:
            weight, bias = layer.module.weight, layer.module.bias
            bias = None if bias is None else bias.detach()
            result = nn.functional.linear(input, weight.detach(), bias)
            known = calls.get(id(layer))
            shift = torch.zeros_like(result, requires_grad=True)
            calls[id(layer)] = (
                (input.detach(), shift, input._version) if known is None else ()
            )
            return result + shift

        return forward

    for layer in layers:
        layer.module.forward = tap(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.module.forward


def _fits(row: tuple, count: int) -> bool:
    """Called once, with a row for each example that was not changed afterwards."""
    return bool(row) and row[0].shape[:-1] == (count,) and row[0]._version == row[2]


def _proven(outputs: Tensor, shifts: list[Tensor], parameters: list[Tensor]) -> bool:
    """Whether row i of each layer moves output i alone, and weights only their layers.

    With cotangents v_i and w_i v_i, for random numbers v and w, the gradients of a row
    are in the ratio w_i only if all of it comes from output i.
    """
    total = outputs.sum()
    others = torch.autograd.grad(
        total, parameters, retain_graph=True, allow_unused=True
    )
    if any(gradient is not None for gradient in others):
        return False
    source = torch.Generator(outputs.device).manual_seed(len(outputs))
    options: dict = {"generator": source, "device": outputs.device}
    v = torch.randn(outputs.shape, dtype=outputs.dtype, **options)
    w = 0.5 + torch.rand(len(outputs), 1, dtype=outputs.dtype, **options)
    found = _pulled(outputs, shifts, torch.stack([v, w * v]))
    return all(agree(pair[:, 1], w * pair[:, 0]) for pair in found)


def _pulled(outputs: Tensor, shifts: list[Tensor], cotangents: Tensor) -> list[Tensor]:
    """Gradients (m, r, o) by each shift from cotangents (r, m, C)."""
    options: dict = {"retain_graph": True, "materialize_grads": True}
    try:
        found = torch.autograd.grad(
            outputs, shifts, cotangents, is_grads_batched=True, **options
        )
    except RuntimeError:  # a backward pass that has no rule for several at once
        rows = [torch.autograd.grad(outputs, shifts, u, **options) for u in cotangents]
        found = [torch.stack(same) for same in zip(*rows, strict=True)]
    return [gradient.transpose(0, 1).contiguous() for gradient in found]


def _check_finite(
    layer: LinearLayer, gradient: Tensor, values: Tensor, numbers: Any
) -> None:
    if is_finite(gradient) and is_finite(values):
        return
    bad = ~(gradient.flatten(1).isfinite().all(1) & values.isfinite().all(1))
    refuse_gradient(f"{layer.name}.weight", int(numbers[bad.nonzero()[0, 0].cpu()]))

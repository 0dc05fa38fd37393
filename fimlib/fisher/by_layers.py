"""Roots of a network of linear layers from one pass, with a proof that they apply.

Row i of a layer's input and gradient make the gradient of example i by its weight, if
row i is example i and nothing else uses the weight. Every pass proves both for its own
batch; where it cannot, `Network` differentiates each example alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from fimlib._checks import is_finite
from fimlib.fisher.batch import Batch
from fimlib.fisher.layered import LayeredRoots
from fimlib.fisher.model import agree, check_differentiable, refuse_gradient

# What a stock layer computes, and the hooks that may change it.
_STOCK = nn.Linear.forward
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
_HOOKS_OF_ALL = ("_global_forward_hooks", "_global_forward_pre_hooks")


class LinearLayer(NamedTuple):
    """A stock linear layer of which the weight, and maybe the bias, count."""

    name: str
    module: nn.Linear
    bias: bool


def linear_layers(
    model: nn.Module, parameters: dict[str, Tensor]
) -> list[LinearLayer] | None:
    """The stock linear layers that hold just these parameters, in order, or None."""
    order = [id(p) for p in parameters.values()]
    chosen = set(order)
    layers: list[LinearLayer] = []
    held: list[int] = []
    for name, module in model.named_modules():
        mine = [id(p) for p in module.parameters(recurse=False) if id(p) in chosen]
        if not mine:
            continue
        # A subclass, a parametrisation or a hook may use them in another way.
        stock = type(module) is nn.Linear and "forward" not in vars(module)
        if not stock or any(getattr(module, hooks) for hooks in _HOOKS):
            return None
        bias = id(module.bias) in chosen
        if mine != [id(module.weight), *([id(module.bias)] if bias else [])]:
            return None
        layers.append(LinearLayer(name, module, bias))
        held += mine
    hooked = any(getattr(every_module, hooks) for hooks in _HOOKS_OF_ALL)
    if hooked or held != order or nn.Linear.forward is not _STOCK:
        return None
    return layers


def layered_pass(
    run: Callable[[], Tensor],
    layers: list[LinearLayer],
    parameters: dict[str, Tensor],
    batch: Batch,
) -> tuple[Tensor, Callable[[Tensor, Tensor], LayeredRoots]] | None:
    """Outputs (m, C) of a run, and their roots from U (m, C, r); None if not proven."""
    calls: dict[str, tuple] = {}
    with torch.enable_grad(), _tapped(layers, calls):
        outputs = run()
        check_differentiable(outputs)
        rows = [calls.get(layer.name, ()) for layer in layers]
        if not all(_fits(row, len(batch)) for row in rows):
            return None
        shifts = [shift for _, shift, _ in rows]
        # Called again to differentiate, as in a checkpoint, they count as none.
        if not _proven(outputs, shifts, parameters) or not all(calls.values()):
            return None

    def roots(factor: Tensor, numbers: Tensor) -> LayeredRoots:
        gradients = _pulled(outputs, shifts, factor.permute(2, 0, 1).contiguous())
        found = []
        for layer, (values, *_), d in zip(layers, rows, gradients, strict=True):
            known = any(values.data_ptr() == one.data_ptr() for one in batch.rows)
            if not (is_finite(d) and (known or is_finite(values))):
                bad = ~(d.flatten(1).isfinite().all(1) & values.isfinite().all(1))
                number = int(numbers[bad.nonzero()[0, 0].cpu()])
                refuse_gradient(f"{layer.name}.weight", number)
            found.append((d, values, layer.bias))
        return LayeredRoots(found)

    return outputs.detach(), roots


@contextmanager
def _tapped(layers: list[LinearLayer], calls: dict[str, tuple]) -> Iterator[None]:
    """Layers that note their input and a zero added to their output, once.

    They use their weight without its gradient, so that any other use can be told.
    """

    def tap(layer: LinearLayer) -> Callable[[Tensor], Tensor]:
        def forward(input: Tensor) -> Tensor:
            weight, bias = layer.module.weight.detach(), layer.module.bias
            result = nn.functional.linear(
                input, weight, None if bias is None else bias.detach()
            )
            shift = torch.zeros_like(result, requires_grad=True)
            note = input.detach(), shift, input._version
            calls[layer.name] = () if layer.name in calls else note
            return result + shift

        return forward

    for layer in layers:
        vars(layer.module)["forward"] = tap(layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer.module)["forward"]


def _fits(row: tuple, count: int) -> bool:
    """Called once, with a row for each example that was not changed afterwards."""
    return bool(row) and row[0].shape[:-1] == (count,) and row[0]._version == row[2]


def _proven(
    outputs: Tensor, shifts: list[Tensor], parameters: dict[str, Tensor]
) -> bool:
    """Whether row i of a layer moves output i alone, and weights move none directly."""
    direct = torch.autograd.grad(
        outputs.sum(), [*parameters.values()], retain_graph=True, allow_unused=True
    )
    if any(gradient is not None for gradient in direct):
        return False
    # With cotangents v_i and w_i v_i, for random numbers v and w, the gradients of a
    # row are in the ratio w_i only if all of it comes from output i.
    source = torch.Generator().manual_seed(len(outputs))
    v = torch.randn(outputs.shape, generator=source).to(outputs)
    w = 0.5 + torch.rand(len(outputs), 1, generator=source).to(outputs)
    pair = [
        torch.autograd.grad(
            outputs, shifts, u, retain_graph=True, materialize_grads=True
        )
        for u in (v, w * v)
    ]
    return all(agree(theirs, w * mine) for mine, theirs in zip(*pair, strict=True))


def _pulled(outputs: Tensor, shifts: list[Tensor], cotangents: Tensor) -> list[Tensor]:
    """Gradients (m, r, o) by each shift from cotangents (r, m, C)."""
    options: dict[str, Any] = {"retain_graph": True, "materialize_grads": True}
    found: Any = None
    if len(cotangents) > 1:
        # A backward pass may have no rule for several at once.
        with suppress(RuntimeError):
            found = torch.autograd.grad(
                outputs, shifts, cotangents, is_grads_batched=True, **options
            )
    if found is None:
        rows = [torch.autograd.grad(outputs, shifts, u, **options) for u in cotangents]
        found = [torch.stack(same) for same in zip(*rows, strict=True)]
    return [gradient.transpose(0, 1) for gradient in found]

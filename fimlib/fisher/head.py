"""A model's last linear layer, found and checked on every batch (T31)."""

from typing import Any

import torch
from torch import Tensor, nn

from fimlib._checks import check_dtype
from fimlib.families import ExponentialFamily
from fimlib.fisher.batch import Batch
from fimlib.fisher.kronecker import KroneckerRoots
from fimlib.fisher.last_layer import last_layer_roots
from fimlib.fisher.model import (
    Called,
    Forward,
    Output,
    agree,
    check_examples_alone,
    frozen_copy,
)
from fimlib.fisher.model import (
    forward as run,
)

# Examples by which the layer is found.
_FEW = 4


class LastLayer:
    """A model whose last linear layer's inputs are caught."""

    def __init__(
        self,
        model: nn.Module,
        layer: str | None,
        inputs: Batch,
        family: ExponentialFamily,
        dtype: torch.dtype,
        output: Output,
        forward: Forward,
    ) -> None:
        check_dtype(dtype)
        self.called = Called(frozen_copy(model), output, forward)
        first = next(self.called.model.parameters())
        self.device, self.model_dtype = first.device, first.dtype
        self.dtype, self.family = dtype, family
        self.name, self.layer = self._found(layer, self.prepared(inputs[:_FEW]))
        # What depends on them asks for a gradient, too.
        self.layer.requires_grad_(True)

    def prepared(self, batch: Batch) -> Batch:
        """The batch on the model's device and in its dtype."""
        return batch.to(self.device, self.model_dtype, copy=False)

    def roots(
        self, batch: Batch, options: tuple, start: int = 0, fresh: bool = True
    ) -> KroneckerRoots:
        """`last_layer_roots` of a prepared batch; arguments as in `Network.roots`."""
        calls, outputs = self._called([self.layer], batch)
        moves = any(features.requires_grad for _, features, _ in calls)
        if len(calls) != 1 or moves or not self._is_head(*calls[0], outputs):
            last = start + len(batch) - 1
            raise _refusal(
                f"layer {self.name!r} returns for examples {start} to {last}"
            )
        if fresh:
            check_examples_alone(self.called, batch, outputs)
        options = (options[0], self.layer.bias is not None, *options[1:], self.dtype)
        return last_layer_roots(calls[0][1], outputs.detach(), *options)

    def _found(self, name: str | None, inputs: Batch) -> tuple[str, nn.Linear]:
        modules = self.called.model.named_modules()
        linears = {n: m for n, m in modules if isinstance(m, nn.Linear)}
        if name is not None:
            name = str(name)
            name = name if name in linears else name.removeprefix("module.")
            if name not in linears:
                known = ", ".join(map(repr, linears)) or "none"
                raise ValueError(
                    f"layer must name a Linear module of the model ({known}), got "
                    f"{name!r}"
                )
            linears = {name: linears[name]}
        calls, outputs = self._called(list(linears.values()), inputs)
        for call in reversed(calls):
            once = sum(call[0] is other[0] for other in calls) == 1
            if once and self._is_head(*call, outputs):
                return next((n, m) for n, m in linears.items() if m is call[0])
        what = "its final Linear layer" if name is None else f"layer {name!r}"
        raise _refusal(f"{what} returns")

    def _called(
        self, modules: list[nn.Linear], batch: Batch
    ) -> tuple[list[tuple[nn.Linear, Tensor, Tensor]], Tensor]:
        """[(module, its inputs, its outputs)] in the order of calls, and outputs."""
        calls = []

        def catch(module: Any, args: tuple, kwargs: dict, result: Tensor) -> Tensor:
            features = args[0] if args else kwargs["input"]
            # Copies, for what the model may do to either in place.
            calls.append((module, features.clone(), result.clone()))
            return calls[-1][2].clone()

        hooks = [m.register_forward_hook(catch, with_kwargs=True) for m in modules]
        try:
            with torch.enable_grad():
                outputs = run(self.called, batch)
        finally:
            for hook in hooks:
                hook.remove()
        return calls, outputs

    def _is_head(
        self, layer: nn.Linear, features: Tensor, result: Tensor, outputs: Tensor
    ) -> bool:
        """Whether W phi + b, the layer's result and the model's are the same."""
        if result.shape != outputs.shape or features.shape[:-1] != result.shape[:1]:
            return False
        if layer.weight.shape != (result.shape[1], features.shape[1]):
            return False
        with torch.no_grad():
            made = nn.functional.linear(features, layer.weight, layer.bias)
        eps = 8 * torch.finfo(outputs.dtype).eps
        size = features.norm(dim=1).amax() * layer.weight.norm(dim=1).amax()
        if not (made - result).abs().amax() <= eps * (size + result.abs().amax()):
            return False
        change = self._seen(result - outputs).abs().amax()
        if not change <= eps * outputs.abs().amax():
            return False
        if not (outputs.requires_grad and result.requires_grad):
            return True
        # Equal, and moving together: of a clamp, say, only one would.
        numbers = torch.arange(outputs.numel()).view_as(outputs)
        v = self._seen(numbers.to(outputs).cos()).to(outputs)
        found = torch.autograd.grad(outputs, result, v, materialize_grads=True)[0]
        return agree(self._seen(found).to(v), v)

    def _seen(self, rows: Tensor) -> Tensor:
        """What of (m, C) carries information: not a constant, as of a log-softmax."""
        rows = rows.detach().double()
        basis = self.family.output_basis(rows.shape[1], rows.device)
        return rows if basis is None else rows @ basis @ basis.mT


def _refusal(what: str) -> ValueError:
    return ValueError(
        f"model must return what {what}, W phi + b, called once with features phi "
        "(M, d) that do not depend on W: name another `layer`, or use scope "
        '"network", with `parameters` for those of a layer alone'
    )

"""A user's model: what is refused, what counts as parameter, how a batch goes through.

Everything here runs on a copy, in eval mode, and on the user's own inputs alone.
"""

import copy
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import checkpoint

from fimlib.fisher.batch import Batch

# Up to so many examples are each compared with being alone; more, one and two parts.
_EACH_ALONE = 8
# Where gradients show the same of all, some are enough.
_SOME = 32
_LOCKS = (type(threading.Lock()), type(threading.RLock()))

Parameters = str | Tensor | Iterable[str | Tensor] | None
Output = str | int | Callable[[Any], Tensor] | None
Forward = Callable[[nn.Module, Any], Any] | None


def unwrapped(model: Any) -> nn.Module:
    """The module inside of DataParallel and torch.compile, which only run it."""
    while isinstance(model, nn.Module):
        inside = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inside = model.module
        if inside is None or model._forward_hooks or model._forward_pre_hooks:
            return model
        model = inside
    raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy of the model in eval mode that asks for no gradients, or refused (T12)."""
    model = unwrapped(model)
    memo: dict[int, Any] = {}
    for name, module in model.named_modules():
        _check_module(name, module)
        for value in vars(module).values():
            # Neither can be copied: a tensor that was computed, such as the weight that
            # weight_norm and pruning make again in each pass, and a lock.
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
            elif isinstance(value, _LOCKS):
                memo[id(value)] = value
    if next(model.parameters(), None) is None:
        raise ValueError("model must have parameters, got none")
    try:
        model = copy.deepcopy(model, memo)
    except Exception as error:
        raise ValueError(
            f"model must be copyable by copy.deepcopy, got {error}: take the attribute "
            "that cannot be copied out of the model"
        ) from error
    for module in model.modules():
        # Sparse gradients have the same values, and no functions to work on them.
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False
    model.zero_grad(set_to_none=True)
    return model.eval().requires_grad_(False)


def _check_module(name: str, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"model must be Python modules, but its {name!r} is compiled by torch.jit, "
            "which torch.func cannot differentiate: pass the module it was made of"
        )
    for parameter in module.parameters(recurse=False):
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(
                f"model must have run once, but its lazy module {name!r} has no "
                "parameters yet: call the model on a batch"
            )
        if parameter.is_complex():
            raise ValueError(f"model must be real, but {name!r} has complex parameters")
    if isinstance(module, _BatchNorm):
        if module.training or module.running_mean is None:
            mode = "in train mode" if module.training else "without running statistics"
            raise ValueError(
                f"model must treat each example alone, but its batch-norm {name!r} is "
                f"{mode} and normalises by the batch, so that Fisher information is "
                "not additive (T12): call model.eval(), or use another normalisation"
            )


def chosen_names(model: nn.Module, parameters: Parameters) -> list[str]:
    """Names of the parameters that count, in the model's own order, tied ones once."""
    every = list(unwrapped(model).named_parameters(remove_duplicate=False))
    if parameters is None:
        wanted = {id(p) for _, p in every if p.requires_grad}
    elif isinstance(parameters, str | Tensor):
        wanted = _matching(parameters, every)
    elif isinstance(parameters, Iterable):
        wanted = set().union(*(_matching(one, every) for one in parameters))
    else:
        kind = type(parameters).__name__
        raise ValueError(f"parameters must be names or tensors, got {kind}")
    if not wanted:
        raise ValueError(
            "parameters must hold at least one, got none: by default they are those "
            "that require a gradient"
        )
    names = {id(p): name for name, p in reversed(every)}
    firsts = dict.fromkeys(id(p) for _, p in every)
    return [names[i] for i in firsts if i in wanted]


def _matching(one: Any, every: list[tuple[str, nn.Parameter]]) -> set[int]:
    if isinstance(one, Tensor):
        found = {id(p) for _, p in every if p is one}
        got = f"a tensor {tuple(one.shape)}"
    else:
        got = repr(one)
        plain = str(one).removeprefix("module.").removeprefix("_orig_mod.")
        found = {
            id(p) for n, p in every if f"{n}.".startswith((f"{one}.", f"{plain}."))
        }
    if not found:
        known = ", ".join(name for name, _ in every[:20])
        raise ValueError(f"parameters must be some of the model's ({known}), got {got}")
    return found


class Called(nn.Module):
    """A model as a function of a batch, to one floating tensor (m, C)."""

    def __init__(self, model: nn.Module, output: Output, forward: Forward) -> None:
        super().__init__()
        self.model, self.output, self.call = model, output, forward
        if forward is not None and not _takes(forward, model, None):
            raise ValueError(
                "forward must be a function of (model, batch), as the model is copied, "
                f"got {forward!r}"
            )

    def forward(self, batch: Batch) -> Tensor:
        """Outputs (m, C) of the examples of a batch."""
        outputs = self._picked(self._run(batch.tree))
        if not isinstance(outputs, Tensor):
            raise _Refusal(
                f"model must return a tensor (M, C), got {_described(outputs)}: say "
                "where it is by `output`, a key, index or function"
            )
        if outputs.ndim != 2 or len(outputs) != len(batch):
            raise _Refusal(
                f"model must return outputs (M, C) with M = {len(batch)}, got "
                f"{tuple(outputs.shape)}"
            )
        if not outputs.is_floating_point():
            raise _Refusal(f"model must return real numbers, got {outputs.dtype}")
        return outputs

    def _run(self, tree: Any) -> Any:
        if self.call is not None:
            return self.call(self.model, tree)
        if isinstance(tree, Mapping):
            unlabelled = {k: v for k, v in tree.items() if k not in ("labels", "label")}
            for part in (tree, unlabelled):
                if _takes(self.model.forward, **part):
                    return self.model(**part)
        elif isinstance(tree, tuple | list) and _takes(self.model.forward, *tree):
            return self.model(*tree)
        return self.model(tree)

    def _picked(self, outputs: Any) -> Any:
        if self.output is None:
            return outputs
        if callable(self.output):
            return self.output(outputs)
        found = None
        if not isinstance(outputs, Tensor):
            try:
                found = outputs[self.output]
            except (KeyError, IndexError, TypeError):
                found = getattr(outputs, str(self.output), None)
        if found is None:
            raise _Refusal(
                "output must be a key, index or attribute of what the model returns, "
                f"{_described(outputs)}, got {self.output!r}"
            )
        return found


class _Refusal(ValueError):
    """What is wrong with the model or an argument, in words that need no others."""


def _takes(function: Callable, *args: Any, **kwargs: Any) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _described(outputs: Any) -> str:
    kind = type(outputs).__name__
    keys = f" with keys {list(outputs)}" if isinstance(outputs, Mapping) else ""
    return kind + (f" of {len(outputs)}" if isinstance(outputs, tuple) else keys)


def forward(called: Called, batch: Batch, advice: str = "") -> Tensor:
    """The model's outputs (m, C), or a ValueError that says what it does not take."""
    try:
        with _no_reentrant_checkpoint():
            return called(batch)
    except _Refusal as refusal:
        raise ValueError(str(refusal)) from None
    except Exception as error:
        raise ValueError(
            f"inputs must be what the model takes, got {batch!r}: "
            f"{type(error).__name__}: {error}{advice}"
        ) from error


class _NoReentrantCheckpoint:
    @staticmethod
    def apply(*args: Any) -> NoReturn:
        raise _Refusal(
            "model must use torch.utils.checkpoint with use_reentrant=False: a "
            "reentrant one has gradients that torch.autograd.grad cannot ask for"
        )


@contextmanager
def _no_reentrant_checkpoint() -> Iterator[None]:
    """Reentrant checkpoints hide their parameters: they are refused, not believed."""
    kept = checkpoint.CheckpointFunction
    vars(checkpoint)["CheckpointFunction"] = _NoReentrantCheckpoint
    try:
        yield
    finally:
        vars(checkpoint)["CheckpointFunction"] = kept


def check_examples_alone(
    called: Called, batch: Batch, outputs: Tensor, some: bool = False
) -> None:
    """Raise unless each example (or some) has its outputs without the others (T12)."""
    count = len(batch)
    if count == 1:
        outputs, parts = outputs[[0, 0]], [batch[[0, 0]]]
    elif some and count > _SOME:
        source = torch.Generator().manual_seed(count)
        few = torch.randperm(count, generator=source)[:_SOME].to(outputs.device)
        outputs, parts = outputs[few], [batch[few]]
    else:
        cuts = range(count + 1) if count <= _EACH_ALONE else (0, 1, count // 3, count)
        parts = [batch[start:stop] for start, stop in pairwise(cuts)]
    try:
        with torch.no_grad():
            alone = torch.cat([forward(called, part) for part in parts])
    except ValueError as error:
        raise ValueError(
            f"model must treat each example alone, but some fail alone: {error}"
        ) from error
    if not agree(alone, outputs):
        raise ValueError(
            "model must treat each example alone, but its outputs change with the "
            "other examples of the batch, or from call to call, by up to "
            f"{float((outputs - alone).abs().max()):.3g}: Fisher information is then "
            "not additive (T12)"
        )


def agree(found: Tensor, expected: Tensor) -> bool:
    """Whether both are the same up to rounding, or not finite."""
    if not expected.numel():
        return True
    gap = (found - expected).abs().amax()
    tolerance = torch.finfo(expected.dtype).eps ** 0.5
    return not gap > tolerance * expected.abs().amax()


def check_differentiable(outputs: Tensor) -> None:
    """Raise unless autograd knows how the outputs were made."""
    if not outputs.requires_grad:
        raise ValueError(
            "model must return outputs that depend on its parameters by autograd, got "
            "some without a gradient (detached, or made under torch.no_grad)"
        )


def refuse_gradient(name: str, example: int) -> NoReturn:
    """Raise for a parameter's gradient by an example that is not finite."""
    raise ValueError(
        f"model must have finite gradients, got NaN or infinite ones of parameter "
        f"{name!r} for example {example}, although its outputs are finite: look for a "
        "division, root or logarithm at 0"
    )

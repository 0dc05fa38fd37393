"""Fisher roots of a whole network, by one general route and a fast one (T12-T16)."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from fimlib._checks import as_tensor, check_dtype, is_finite, to_tensor
from fimlib.fisher.batch import Batch
from fimlib.fisher.by_layers import LinearLayer, layered_pass, linear_layers
from fimlib.fisher.last_layer import check_estimator, checked_family, output_factor
from fimlib.fisher.model import (
    Called,
    Forward,
    Output,
    Parameters,
    agree,
    check_differentiable,
    check_examples_alone,
    chosen_names,
    forward,
    frozen_copy,
    refuse_gradient,
)
from fimlib.fisher.roots import FisherRoots, chunk_step, selection
from fimlib.fisher.streamed import HELD_NUMBERS, StreamedRoots

# Examples a forward pass takes at once.
_FORWARD = 1_024
# Examples that a matrix-free product takes through the network at once.
_TOGETHER = 512


def network_roots(
    model: nn.Module,
    inputs: Any,
    family: Any = None,
    estimator: str = "exact",
    labels: Any = None,
    num_samples: int = 1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    *,
    parameters: Parameters = None,
    output: Output = None,
    forward: Forward = None,
) -> FisherRoots:
    """Return the roots of a whole network's F_i = J_i^T Lambda_i J_i (T16, T31).

    model: any torch.nn.Module from inputs (M, ...), or a tuple or dict of such, to
    outputs (M, C), which mean to `family` (categorical by default) what they mean in
    `last_layer_roots`; so do `estimator`, `labels`, `num_samples` and `generator`.
    `forward`, a function of (model, inputs), runs it otherwise; `output` is the key,
    index or function by which the outputs are found in what is returned. `parameters`
    that count are names, prefixes of names or tensors, by default those that require a
    gradient: D numbers, in the model's order, tied ones once. The model is evaluated as
    a copy in `dtype` and in eval mode, and left as it is.

    Each example is differentiated alone. Where stock linear layers hold the parameters,
    and a pass proves itself right for its examples, roots are `LayeredRoots`, whose
    inner products need no array of size D. What is held takes up to 256 MiB in all;
    beyond, each pass computes the roots again, a chunk at a time.

    Raises:
        ValueError: wrong shapes, non-finite values or gradients, bad labels, a model
            that torch cannot differentiate, or whose outputs for one example depend on
            the others: its Fisher information is not additive (T12).

    >>> from fimlib.families import Gaussian
    >>> model = nn.Linear(2, 1)
    >>> network_roots(model, [[3.0, 4.0]], Gaussian(4.0)).dense().tolist()
    [[[1.5, 2.0, 0.5]]]
    >>> network_roots(model, [[3.0, 4.0]], Gaussian(4.0), parameters="bias").dense()
    tensor([[[0.5000]]], dtype=torch.float64)
    """
    family = checked_family(family)
    check_estimator(estimator, labels)
    network = Network(model, dtype, parameters, output, forward)
    batch = Batch(to_tensor(inputs, "inputs") if type(inputs) is list else inputs)
    options = (family, estimator, labels, num_samples, generator)
    roots = network.roots(network.prepared(batch), options)
    small = len(roots) * roots.numbers_each <= HELD_NUMBERS
    return roots.held() if small else roots


class NetworkRoots(StreamedRoots):
    """Roots R_i = U_i^T J_i of a network's parameters, computed chunk by chunk."""

    def __init__(
        self,
        network: "Network",
        inputs: Batch,
        factor: Tensor,
        numbers: Tensor,
        pull: Callable | None = None,
    ) -> None:
        self.network, self.inputs, self.factor = network, inputs, factor
        self._shape = (len(inputs), factor.shape[2], network.num_parameters)
        self._like = factor
        # What error messages call the examples.
        self.numbers = numbers
        # Held roots from a factor, by the pass through the network that led to it.
        self._pull = pull

    def __getitem__(self, indices: Any) -> "NetworkRoots":
        kept = selection(indices, len(self))
        return NetworkRoots(
            self.network, self.inputs[kept], self.factor[kept], self.numbers[kept]
        )

    @property
    def numbers_each(self) -> int:
        """Numbers that an example takes when it is held."""
        return self.network.numbers_each(self.rank)

    def scaled(self, weights: Tensor) -> "NetworkRoots":
        """Roots W_i R_i from weights (M, r', r): another root, of rank r'."""
        factor = self.factor @ weights.mT.to(self.factor)
        return NetworkRoots(self.network, self.inputs, factor, self.numbers)

    def fisher_product(self, vector: Tensor) -> Tensor:
        """(sum of F_i) v (D,), in float64, with v (D,): matrix-free."""
        total, step = torch.zeros_like(vector, dtype=torch.float64), _TOGETHER
        for x, u in zip(self.inputs.split(step), self.factor.split(step), strict=True):
            total += self.network.product(x, u, vector)
        if not is_finite(total):
            self.held()  # says which gradient is not
        return total

    def parts(self) -> Iterator[FisherRoots]:
        """Consecutive roots, computed and held, of a few tens of MB."""
        step = chunk_step(self.numbers_each)
        if self._pull is not None and len(self) <= step:
            yield self._pull(self.factor, self.numbers)
            return
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            yield self.network.held(
                self.inputs[part], self.factor[part], self.numbers[part]
            )

    @classmethod
    def joined(cls, parts: list["NetworkRoots"]) -> "NetworkRoots":
        """The examples of several roots of one network, one after the other."""
        inputs = Batch.joined([part.inputs for part in parts])
        factor = torch.cat([part.factor for part in parts])
        numbers = torch.cat([part.numbers for part in parts])
        return cls(parts[0].network, inputs, factor, numbers)


class Network:
    """A copy of a model in eval mode as a function of the parameters that count."""

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        parameters: Parameters = None,
        output: Output = None,
        forward: Forward = None,
    ) -> None:
        check_dtype(dtype)
        frozen = frozen_copy(model)
        names = chosen_names(model, parameters)
        first = next(frozen.parameters())
        self.dtype, self.device = dtype, first.device
        own = first.dtype
        self._advice = "" if own == dtype else f" (does it need dtype={own}?)"
        self.called = Called(frozen.to(dtype), output, forward)
        every = dict(self.called.model.named_parameters())
        self.parameters = {name: every[name].requires_grad_() for name in names}
        self.num_parameters = sum(p.numel() for p in self.parameters.values())
        # The layers of the fast route, until a batch shows that it does not apply.
        self.layers: list[LinearLayer] | None
        self.layers = linear_layers(self.called.model, self.parameters)

    def prepared(self, batch: Batch) -> Batch:
        """The batch on the model's device, a copy of its own, in the model's dtype."""
        return batch.to(self.device, self.dtype, copy=True)

    def roots(
        self, batch: Batch, options: tuple, start: int = 0, fresh: bool = True
    ) -> NetworkRoots:
        """Roots of a prepared batch, numbered from `start`; T12 is checked if fresh."""
        outputs, pull = self._outputs_and_pull(batch, fresh)
        factor = output_factor(options[0], outputs, *options[1:]).to(self.dtype)
        numbers = torch.arange(start, start + len(batch))
        return NetworkRoots(self, batch, factor, numbers, pull)

    def outputs(self, batch: Batch, fresh: bool = True) -> Tensor:
        """The network's outputs (M, C), checked."""
        parts = []
        with torch.no_grad():
            for few in batch.split(_FORWARD):
                parts.append(forward(self.called, few, self._advice))
                if fresh:
                    check_examples_alone(self.called, few, parts[-1])
        return as_tensor(torch.cat(parts), "model outputs", ("M", "C"), self.dtype)

    def _outputs_and_pull(
        self, batch: Batch, fresh: bool
    ) -> tuple[Tensor, Callable | None]:
        """Both from one pass, where the examples are few and the fast route applies."""
        most = min(_FORWARD, chunk_step(self.numbers_each(1)))
        found = self._layered(batch if len(batch) <= most else batch[:most], fresh)
        if found is None or len(batch) > most:
            return self.outputs(batch, fresh), None
        return as_tensor(found[0], "model outputs", ("M", "C"), self.dtype), found[1]

    def _layered(self, batch: Batch, fresh: bool) -> tuple[Tensor, Callable] | None:
        """A pass of the fast route, or None, once and for all, if it does not apply."""
        found = None
        if self.layers is not None:
            try:
                found = layered_pass(
                    lambda: forward(self.called, batch),
                    self.layers,
                    self.parameters,
                    batch,
                )
                if found is not None and fresh:
                    check_examples_alone(self.called, batch, found[0], some=True)
            except (RuntimeError, ValueError):
                # Whatever is wrong, the general route finds it, or does without.
                found = None
        self.layers = None if found is None else self.layers
        return found

    def numbers_each(self, rank: int) -> int:
        """Numbers that the roots of one example take when they are held."""
        if self.layers is None:
            return rank * self.num_parameters
        layers = [layer.module for layer in self.layers]
        return sum(x.in_features + rank * x.out_features for x in layers)

    def held(self, batch: Batch, factor: Tensor, numbers: Tensor) -> FisherRoots:
        """Held roots U_i^T J_i of a batch from U (m, C, r)."""
        found = self._layered(batch, fresh=False)
        if found is not None:
            return found[1](factor, numbers)
        return FisherRoots(self.rows(batch, factor, numbers))

    def rows(self, batch: Batch, factor: Tensor, numbers: Tensor) -> Tensor:
        """U_i^T J_i (m, r, D) of a batch from U (m, C, r), each example alone."""
        # Only the plain attention kernel has all derivatives.
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
            found = self._mapped_rows(batch, factor)
            if found is None:
                pairs = zip(batch.split(1), factor, strict=True)
                found = torch.stack([self._rows_of_one(x, u) for x, u in pairs])
        if not is_finite(found):
            self.refuse(found, numbers)
        return found

    def function(self, theta: Tensor, batch: Batch) -> Tensor:
        """Outputs (m, C) of a batch with parameters theta (D,), for torch.func."""
        parts = theta.split([p.numel() for p in self.parameters.values()])
        named = {
            f"model.{name}": part.view(p.shape)
            for (name, p), part in zip(self.parameters.items(), parts, strict=True)
        }
        return functional_call(self.called, named, (batch,))

    @property
    def theta(self) -> Tensor:
        """The parameters (D,)."""
        return torch.cat([p.detach().flatten() for p in self.parameters.values()])

    def product(self, batch: Batch, factor: Tensor, vector: Tensor) -> Tensor:
        """sum_i J_i^T U_i U_i^T J_i v (D,): once forward and once backward."""

        def outputs(theta: Tensor) -> Tensor:
            return self.function(theta, batch)

        change = jvp(outputs, (self.theta,), (vector,))[1]
        weights = (factor @ (factor.mT @ change[:, :, None]))[:, :, 0]
        return vjp(outputs, self.theta)[1](weights)[0].double()

    def _mapped_rows(self, batch: Batch, factor: Tensor) -> Tensor | None:
        """All rows at once by vmap, or None if a module has no rule, or a wrong one."""

        def pull_back(u: Tensor, *row: Tensor) -> tuple[Tensor, Tensor]:
            one = batch.with_rows([x[None] for x in row])
            out, pull, *_ = vjp(lambda theta: self.function(theta, one)[0], self.theta)
            return out, vmap(pull)(u.mT)[0]

        try:
            outputs, rows = vmap(pull_back)(factor, *batch.rows)
        except Exception:
            return None  # whatever it is that vmap cannot do here
        # The proof: outputs are the batch's, and the rows' sum, weighted at random, is
        # the gradient of the batch by plain autograd.
        plain = forward(self.called, batch)
        check_differentiable(plain)
        source = torch.Generator().manual_seed(len(batch))
        w = torch.rand(rows.shape[:2], generator=source, dtype=rows.dtype).to(rows)
        together = torch.einsum("mr,mrd->d", w, rows)
        expected = self.gradient(plain, (factor @ w[:, :, None])[:, :, 0])
        sizes = [p.numel() for p in self.parameters.values()]
        pairs = zip(together.split(sizes), expected.split(sizes), strict=True)
        right = agree(outputs, plain) and all(agree(x, y) for x, y in pairs)
        return rows.detach() if right else None

    def _rows_of_one(self, one: Batch, u: Tensor) -> Tensor:
        """U^T J (r, D) of one example by plain autograd."""
        out = forward(self.called, one)
        check_differentiable(out)
        return torch.stack([self.gradient(out, v[None]) for v in u.mT])

    def gradient(self, out: Tensor, weights: Tensor, again: bool = False) -> Tensor:
        """Gradient (D,) of weights . out, zero by parameters that are not used."""
        leaves, options = tuple(self.parameters.values()), {"retain_graph": True}
        options |= {"create_graph": again, "materialize_grads": True}
        try:
            grads = torch.autograd.grad(out, leaves, weights, **options)
        except RuntimeError as error:
            raise ValueError(
                f"model must have gradients by torch.autograd, got {error}"
            ) from error
        return torch.cat([g.to_dense().flatten() for g in grads])

    def refuse(self, found: Tensor, numbers: Tensor) -> NoReturn:
        """Raise for gradients (m, ..., D) of which one is not finite."""
        bad = (~found.isfinite()).nonzero()[0].cpu()
        ends = torch.tensor([p.numel() for p in self.parameters.values()]).cumsum(0)
        name = list(self.parameters)[int((ends <= bad[-1]).sum())]
        refuse_gradient(name, int(numbers[bad[0]]))

"""What a loader must do: the same batches, in the same order, in every pass."""

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from fimlib._checks import check_count, to_tensor
from fimlib.fisher.batch import Batch

_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
# First batches that two passes must agree on.
_COMPARED = 4


def check_loader(loader: Any, whole: bool) -> Any:
    """The first batch, or ValueError if passes over the loader differ, or may."""
    kind = type(loader).__name__
    if isinstance(loader, Dataset) or hasattr(loader, "ndim"):
        raise ValueError(
            f"loader must give batches, got examples in a {kind}: pass "
            "DataLoader(data, batch_size=...), or [inputs] for one batch"
        )
    if isinstance(loader, Mapping | str) or not hasattr(loader, "__iter__"):
        raise ValueError(f"loader must be an iterable of batches, got a {kind}")
    if iter(loader) is loader:
        raise ValueError(
            f"loader must be re-iterable, got a {kind}, which can be passed over once: "
            "the scores need several passes, so give a DataLoader or a list of batches"
        )
    if isinstance(loader, DataLoader):
        _check_order(loader)
    first = list(islice(loader, 1))
    check_count(len(first), "loader")
    digests = _digests(loader, whole)
    if digests != _digests(loader, whole):
        raise ValueError(
            "loader must give the same batches in every pass, got others the second "
            "time: turn shuffling and random augmentation off"
        )
    return first[0]


def _check_order(loader: DataLoader) -> None:
    """Raise if a sampler of a DataLoader draws, or shares the examples out."""
    sampler: Any
    for sampler in (loader.sampler, getattr(loader.batch_sampler, "sampler", None)):
        kind = type(sampler).__name__
        shared = isinstance(sampler, DistributedSampler)
        if isinstance(sampler, _RANDOM) or (shared and sampler.shuffle):
            raise ValueError(
                f"loader must not shuffle, got a {kind}: score i is that of example i "
                "only in a fixed order (pass shuffle=False)"
            )
        if shared and sampler.num_replicas > 1:
            raise ValueError(
                f"loader must give each example once, got a {kind}, which pads and "
                "gives each process a part: pass a loader of all examples"
            )
    if isinstance(loader.dataset, IterableDataset) and loader.num_workers > 1:
        warnings.warn(
            f"each of the loader's {loader.num_workers} workers gives all that its "
            "IterableDataset yields: unless it shares out by get_worker_info(), every "
            "example comes several times",
            stacklevel=4,
        )


def _digests(loader: Iterable, whole: bool) -> list[str]:
    found = []
    for batch in islice(loader, _COMPARED):
        digest = hashlib.blake2b()
        for leaf in Batch(unpacked(batch, whole)[0], "loader").rows:
            flat = leaf.cpu().contiguous().view(-1).view(torch.uint8)
            digest.update(flat.numpy().tobytes())
        found.append(digest.hexdigest())
    return found


def count_examples(loader: Iterable, whole: bool) -> int:
    """M, without the examples where the sampler's order is known."""
    if isinstance(loader, DataLoader) and loader.batch_sampler is not None:
        if isinstance(loader.sampler, SequentialSampler):
            return sum(len(indices) for indices in loader.batch_sampler)
    return sum(len(Batch(unpacked(batch, whole)[0])) for batch in loader)


def unpacked(batch: Any, whole: bool) -> tuple[Any, Any]:
    """(inputs, labels or None) of one batch; inputs are the whole of it if asked."""
    if isinstance(batch, Mapping):
        return batch, batch.get("labels", batch.get("label"))
    if not isinstance(batch, tuple | list):
        return batch, None
    if whole:
        return batch, batch[-1] if len(batch) > 1 else None
    if not 1 <= len(batch) <= 2:
        raise _no_pair(f"{len(batch)} parts")
    return batch[0], batch[1] if len(batch) == 2 else None


def check_labels(labels: Any, count: int, outputs: int, classes: bool) -> None:
    """Raise if the second of a pair is none of labels: it would be left out unsaid."""
    try:
        labels = to_tensor(labels, "labels")
    except ValueError:
        return  # names, for example
    fits = tuple(labels.shape) in ((count,), (count, 1), (count, outputs))
    if fits and classes:
        one_hot = labels.shape[1:] == (outputs,)
        sums = labels.double().sum(-1) if one_hot else torch.ones(1)
        whole = one_hot or bool((labels == labels.floor()).all())
        fits = whole and bool(
            ((sums - 1).abs() < 1e-3).all() & (labels < outputs).all()
        )
    if not fits:
        raise _no_pair(
            f"a second part of shape {tuple(labels.shape)} with entries up to "
            f"{float(labels.max())}, no labels of outputs ({count}, {outputs})"
        )


def _no_pair(what: str) -> ValueError:
    return ValueError(
        f"loader must yield inputs or pairs (inputs, labels), got {what}: pass "
        "((a, b), labels) or dicts of what the model takes, or a function of "
        "(model, batch) as `forward`"
    )

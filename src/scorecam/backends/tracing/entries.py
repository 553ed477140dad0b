"""Tensors that depend on a single entry of an axis of the input, such as one frame of a video."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scorecam.backends.tracing.axes import Axis, Part
from scorecam.backends.tracing.operation import Chosen, Operation


def chosen_after(operation: Operation) -> list[Chosen]:
    """The entries that each result of an operation depends on."""
    kept = _common(operation)
    if operation.name == "select":
        axis = _dimension(operation)
        whole = _whole(axis)
        if whole is None:
            return [kept]
        return [{**kept, whole.axis: (operation.get("index") % whole.size, whole.size)}]
    if operation.name == "unbind":
        whole = _whole(_dimension(operation))
        if whole is not None:
            count = whole.size
            return [{**kept, whole.axis: (i, count)} for i in range(len(operation.results))]
    return [kept for _ in operation.results]


def restored(operation: Operation, tensors: Sequence[Tensor]) -> Axis | None:
    """The axis of the input that tensors of single entries give when they are joined again.

    None if they are not all of its entries, in order.
    """
    chosen = [operation.chosen(tensor) for tensor in tensors]
    for axis in chosen[0] or () if chosen else ():
        found = [None if entries is None else entries.get(axis) for entries in chosen]
        if found == [(i, len(tensors)) for i in range(len(tensors))]:
            return Axis((Part(axis, len(tensors)),))
    return None


def _common(operation: Operation) -> Chosen:
    """The entries on which all tensors of an operation that depend on the image agree."""
    known = [operation.chosen(tensor) for tensor in operation.tensors]
    first, *others = [entries for entries in known if entries is not None]
    return {
        axis: entry
        for axis, entry in first.items()
        if all(entries.get(axis) == entry for entries in others)
    }


def _dimension(operation: Operation) -> Axis:
    axes = operation.axes_or_features(operation.first)
    return axes[operation.get("dim", 0)]


def _whole(axis: Axis) -> Part | None:
    """The part of an axis that is a whole axis of the input; None if it is anything else."""
    if len(axis.parts) != 1 or axis.extras:
        return None
    [part] = axis.parts
    plain = part.positions and (part.stride, part.first, part.last) == (1, 0.0, 1.0)
    return part if plain else None

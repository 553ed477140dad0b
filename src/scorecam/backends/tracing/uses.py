"""What an operation reads of a tensor with positions and other entries, such as class tokens.

A classifier that reads only the class token of the last block does not use the block's other
tokens. So the layer to explain lies before it.
"""

from __future__ import annotations

from enum import IntEnum

from torch import Tensor

from scorecam.backends.tracing import computing
from scorecam.backends.tracing import operations as ops
from scorecam.backends.tracing.axes import Axes, Axis
from scorecam.backends.tracing.operation import Operation

MIXES = frozenset(
    {
        "group_norm",
        "native_group_norm",
        "instance_norm",
        *ops.TRANSFORMS,
    }
)
"""Operations whose results depend on all entries of every axis, or may do so."""


class Need(IntEnum):
    """How much of a tensor is needed."""

    NOTHING = 0
    EXTRAS = 1
    """Entries without a position, such as class tokens."""
    ALL = 2


class Use(IntEnum):
    """How much of a tensor an operation reads."""

    EXTRAS = 0
    """Entries without a position, whatever is needed of the result."""
    POSITIONS = 1
    """All of it if positions of the result are needed, and else nothing."""
    SAME = 2
    """What is needed of the result."""
    ALL = 3
    """All of it, whatever is needed of the result."""

    def need(self, of_result: Need) -> Need:
        """What is needed of the tensor."""
        if of_result is Need.NOTHING:
            return Need.NOTHING
        if self is Use.EXTRAS:
            return Need.EXTRAS
        if self is Use.POSITIONS:
            return Need.ALL if of_result is Need.ALL else Need.NOTHING
        return of_result if self is Use.SAME else Need.ALL


def use_of(operation: Operation, tensor: Tensor, result: Axes) -> Use:
    """How much of one of its tensors an operation reads.

    Args:
        result: the axes of its (first) result.
    """
    axes = operation.known(tensor) or ()
    name = operation.name
    if name in ops.JOINS:
        return _joined(operation, axes)
    extra = next((axis for axis in axes if axis.extras), None)
    if extra is None or _mixes(operation, axes, extra):
        return Use.ALL
    if name in ops.SELECTS or name == "split_with_sizes":
        return _selected(operation, axes, extra, result)
    if name in ops.PRODUCTS:
        return _multiplied(operation, tensor, extra, result)
    kept = tensor is operation.get("query") if name in ops.ATTENTION else extra in result
    return Use.SAME if kept else Use.ALL


def _joined(operation: Operation, axes: Axes) -> Use:
    place = operation.get("dim", 0) % len(axes)
    axis = axes[place]
    if axis.ordered:
        return Use.SAME if axis.extras else Use.POSITIONS
    return Use.SAME if any(axis.extras for axis in axes) else Use.ALL


def _selected(operation: Operation, axes: Axes, extra: Axis, result: Axes) -> Use:
    place = operation.get("dim", 0) % len(axes)
    if axes[place] is not extra:
        return Use.SAME
    if operation.name == "select":
        index = operation.get("index") % extra.size
        inside = extra.before <= index < extra.size - extra.after
        return Use.ALL if inside else Use.EXTRAS
    kept = result[place]
    if not kept.ordered and not kept.unknown:
        return Use.EXTRAS
    return Use.SAME if kept.extras else Use.ALL


def _multiplied(operation: Operation, tensor: Tensor, extra: Axis, result: Axes) -> Use:
    one, other = computing.factors(operation)
    if tensor is one:
        axes = operation.axes_or_features(one)
        return Use.SAME if len(axes) > 1 and axes[-2] == extra and extra in result else Use.ALL
    left, right = operation.known(one), operation.axes_or_features(other)
    located = left is not None and any(axis.positions for axis in left)
    return Use.SAME if right[-1] == extra and not located else Use.ALL


def _mixes(operation: Operation, axes: Axes, extra: Axis) -> bool:
    """Whether it mixes the entries of the axis with extra entries."""
    name, place = operation.name, axes.index(extra)
    if name in ops.SLIDES or name in MIXES:
        return True
    if name in ops.REDUCES:
        return place in computing.reduced(operation, len(axes))
    if name in ("softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum"):
        others = sum(axis.positions for axis in axes) > 1
        return operation.get("dim") % len(axes) == place and not others
    if name in ("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm"):
        return place >= len(axes) - len(operation.get("normalized_shape", (1,)))
    return name in ops.LINEAR and place == len(axes) - 1

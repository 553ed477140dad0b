"""Operations that move numbers: views, other orders, parts of tensors, and joins."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from scorecam.backends.tracing import axes as ax
from scorecam.backends.tracing.axes import Axes, Axis
from scorecam.backends.tracing.entries import restored
from scorecam.backends.tracing.joins import concatenated
from scorecam.backends.tracing.operation import Operation, as_list

# ── the same numbers in another shape or order ───────────────────────────────────────────────────


def reshape(operation: Operation) -> list[Axes]:
    """The same numbers in the same order."""
    return [ax.reshaped(operation.axes_or_features(operation.first), operation.result.shape)]


def permute(operation: Operation) -> list[Axes]:
    """The axes in another order."""
    axes = operation.axes_or_features(operation.first)
    return [tuple(axes[place] for place in operation.get("dims"))]


def transpose(operation: Operation) -> list[Axes]:
    """Two axes swapped."""
    axes = list(operation.axes_or_features(operation.first))
    if len(axes) < 2:
        return [tuple(axes)]
    one = operation.get("dim0", operation.get("axis0", -2))
    other = operation.get("dim1", operation.get("axis1", -1))
    axes[one], axes[other] = axes[other], axes[one]
    return [tuple(axes)]


def movedim(operation: Operation) -> list[Axes]:
    """Some axes at other places."""
    axes = operation.axes_or_features(operation.first)
    count = len(axes)
    sources, targets = (
        [place % count for place in as_list(operation.get(name))]
        for name in ("source", "destination")
    )
    placed = dict(zip(targets, sources, strict=True))
    left = (place for place in range(count) if place not in sources)
    order = [placed[i] if i in placed else next(left) for i in range(count)]
    return [tuple(axes[place] for place in order)]


def expand(operation: Operation) -> list[Axes]:
    """Axes of one entry, repeated."""
    axes = operation.axes_or_features(operation.first)
    shape = operation.result.shape
    return [ax.broadcast([axes], shape)]


def repeated(operation: Operation) -> list[Axes]:
    """Axes repeated as a whole."""
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    padded = (ax.SINGLE,) * (len(shape) - len(axes)) + axes
    return [
        tuple(
            axis if axis.size == size else ax.features(size) if axis.size == 1 else ax.unknown(size)
            for axis, size in zip(padded, shape, strict=True)
        )
    ]


def flipped(operation: Operation) -> list[Axes]:
    """Axes in the opposite order."""
    axes = list(operation.axes_or_features(operation.first))
    for place in as_list(operation.get("dims")):
        axes[place] = ax.flipped(axes[place])
    return [tuple(axes)]


def rolled(operation: Operation) -> list[Axes]:
    """Axes moved, with what leaves at one end coming back at the other."""
    axes = list(operation.axes_or_features(operation.first))
    places = as_list(operation.get("dims", ()))
    if not places:
        return [ax.all_unknown(operation.result.shape)]
    for place, shift in zip(places, as_list(operation.get("shifts")), strict=True):
        axes[place] = ax.rolled(axes[place], shift)
    return [tuple(axes)]


# ── parts and sums of tensors ────────────────────────────────────────────────────────────────────


def sliced(operation: Operation) -> list[Axes]:
    """A range of one axis."""
    axes = list(operation.axes_or_features(operation.first))
    place = operation.get("dim", 0)
    start, stop, step = slice(
        operation.get("start"), operation.get("end"), operation.get("step", 1)
    ).indices(axes[place].size)
    axes[place] = ax.sliced(axes[place], start, stop, step)
    return [tuple(axes)]


def narrow(operation: Operation) -> list[Axes]:
    """A range of one axis, by its length."""
    axes = list(operation.axes_or_features(operation.first))
    place, start = operation.get("dim"), int(operation.get("start"))
    start %= max(axes[place].size, 1)
    axes[place] = ax.sliced(axes[place], start, start + int(operation.get("length")))
    return [tuple(axes)]


def selected(operation: Operation) -> list[Axes]:
    """One entry of one axis."""
    axes = list(operation.axes_or_features(operation.first))
    del axes[operation.get("dim", 0)]
    return [tuple(axes)]


def unbind(operation: Operation) -> list[Axes]:
    """Every entry of one axis."""
    axes = list(operation.axes_or_features(operation.first))
    del axes[operation.get("dim", 0)]
    return [tuple(axes) for _ in operation.results]


def split(operation: Operation) -> list[Axes]:
    """An axis cut into pieces."""
    axes = operation.axes_or_features(operation.first)
    place = operation.get("dim", 0) % len(axes)
    found: list[Axes] = []
    start = 0
    for result in operation.results:
        stop = start + result.shape[place]
        piece = ax.sliced(axes[place], start, stop)
        found.append((*axes[:place], piece, *axes[place + 1 :]))
        start = stop
    return found


def cat(operation: Operation) -> list[Axes]:
    """Tensors joined along an axis."""
    tensors = [tensor for tensor in operation.get("tensors") if tensor.numel() or tensor.ndim > 1]
    place = operation.get("dim", 0) % operation.result.ndim
    axes = [operation.known(tensor) for tensor in tensors]
    sizes = [tensor.shape[place] for tensor in tensors]
    found: list[Axis] = []
    for i, size in enumerate(operation.result.shape):
        if i == place:
            whole = restored(operation, tensors) if size == len(tensors) else None
            found.append(whole or concatenated(axes, sizes, place))
        else:
            found.append(ax.agreed([each[i] for each in axes if each is not None], size))
    return [tuple(found)]


def stack(operation: Operation) -> list[Axes]:
    """Tensors joined along a new axis."""
    shape = list(operation.result.shape)
    place = operation.get("dim", 0) % len(shape)
    count = shape.pop(place)
    axes = [axes for axes in map(operation.known, operation.get("tensors")) if axes is not None]
    found = list(ax.broadcast(axes, shape))
    tensors = operation.get("tensors")
    single = [None if operation.known(tensor) is None else (ax.SINGLE,) for tensor in tensors]
    joined = restored(operation, tensors) or concatenated(single, [1] * count, 0)
    return [(*found[:place], joined, *found[place:])]


def padded(operation: Operation) -> list[Axes]:
    """Axes with constant entries in front and behind."""
    axes = list(operation.axes_or_features(operation.first))
    amounts = as_list(operation.get("pad", operation.get("padding")))
    for i in range(len(amounts) // 2):
        place = len(axes) - 1 - i
        axes[place] = ax.padded(axes[place], int(amounts[2 * i]), int(amounts[2 * i + 1]))
    return [tuple(axes)]


def indexed(operation: Operation) -> list[Axes]:
    """Rows taken by number: their order is lost, features stay features."""
    axes = operation.axes_or_features(operation.first)
    indices = operation.get("indices", operation.get("index"))
    if isinstance(indices, Tensor):
        place = operation.get("dim", 0) % len(axes)
        taken = [None] * place + [indices]
    else:
        taken = as_list(indices)
    if sum(index is not None for index in taken) != 1:
        return [ax.all_unknown(operation.result.shape)]
    place = next(i for i, index in enumerate(taken) if index is not None)
    new = operation.result.shape[place : operation.result.ndim - (len(axes) - place - 1)]
    lost = axes[place].ordered or axes[place].unknown
    kind = ax.unknown if lost else ax.features
    return [(*axes[:place], *map(kind, new), *axes[place + 1 :])]


def unfold(operation: Operation) -> list[Axes]:
    """`Tensor.unfold`: windows along one axis; their entries become the last axis."""
    axes = list(operation.axes_or_features(operation.first))
    place = operation.get("dimension")
    size, step = operation.get("size"), operation.get("step")
    axis, windows = axes[place], operation.result.shape[place]
    if size == step and axis.size == windows * size:
        axes[place], inner = ax.reshaped((axis,), (windows, size))
    else:
        axes[place], inner = ax.resampled(axis, windows), ax.features(size)
    return [(*axes, inner)]


def im2col(operation: Operation) -> list[Axes]:
    """`F.unfold`: `b c h w` to `b (c kernel) blocks`."""
    axes = operation.axes_or_features(operation.first)
    sizes = [axis.size for axis in axes[-2:]]
    options = (operation.get(name) for name in ("kernel_size", "dilation", "padding", "stride"))
    kernel, dilation, padding, stride = map(_pair, options)
    counts = [
        (sizes[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    places = ax.all_resampled(axes[-2:], counts)
    blocks = ax.reshaped(places, (counts[0] * counts[1],))
    return [(*axes[:-3], ax.features(operation.result.shape[-2]), *blocks)]


def col2im(operation: Operation) -> list[Axes]:
    """The inverse of `im2col`."""
    axes = operation.axes_or_features(operation.first)
    parts = axes[-1].parts
    size = operation.result.shape[-2:]
    if len(parts) == 2 and not axes[-1].extras:
        places = ax.all_resampled([Axis((part,)) for part in parts], size)
    else:
        places = tuple(map(ax.unknown, size))
    return [(*axes[:-2], ax.features(operation.result.shape[-3]), *places)]


def _pair(value: Any) -> tuple[int, int]:
    numbers = as_list(value)
    return numbers[0], numbers[-1]

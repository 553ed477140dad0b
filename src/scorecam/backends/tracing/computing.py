"""Operations that compute new numbers: elementwise, sums over axes, and sliding windows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scorecam.backends.tracing import axes as ax
from scorecam.backends.tracing.axes import Axes
from scorecam.backends.tracing.operation import Operation, as_list

# ── elementwise ──────────────────────────────────────────────────────────────────────────────────


def elementwise(operation: Operation) -> list[Axes]:
    """Numbers that depend on those at the same place only, or on all features there."""
    found = [axes for axes in map(operation.known, operation.tensors) if axes is not None]
    return [
        ax.broadcast(found, result.shape)
        if any(_fits(axes, result.shape) for axes in found)
        else ax.all_unknown(result.shape)
        for result in operation.results
    ]


def _fits(axes: Axes, shape: Sequence[int]) -> bool:
    """Whether a tensor with these axes can be broadcast to the shape."""
    pairs = zip(reversed(axes), reversed(shape), strict=False)
    return len(axes) <= len(shape) and all(axis.size in (1, size) for axis, size in pairs)


def unchanged(operation: Operation) -> list[Axes]:
    """The first result is like the first tensor; the others are statistics."""
    axes = operation.axes_or_features(operation.first)
    return [axes, *(ax.all_unknown(result.shape) for result in operation.results[1:])]


def transform(operation: Operation) -> list[Axes]:
    """Attention with its products, `b n c`: new features for each token."""
    return _with_new_features(operation)


def _with_new_features(operation: Operation) -> list[Axes]:
    """The first result has other features along the last axis; the other results are statistics."""
    first, *others = unchanged(operation)
    return [(*first[:-1], ax.features(operation.result.shape[-1])), *others]


# ── sums over axes ───────────────────────────────────────────────────────────────────────────────


def reduce(operation: Operation) -> list[Axes]:
    """A sum, mean or maximum over axes."""
    if isinstance(operation.get("other"), Tensor):
        return elementwise(operation)  # the larger of two tensors
    axes = operation.axes_or_features(operation.first)
    places = reduced(operation, len(axes))
    keep = operation.get("keepdim", False)
    found = tuple(
        ax.SINGLE if place in places else axis
        for place, axis in enumerate(axes)
        if keep or place not in places
    )
    return [found for _ in operation.results]


def reduced(operation: Operation, axes: int) -> set[int]:
    """The axes that a reduction removes."""
    dims = operation.get("dim")
    places = range(axes) if dims is None or dims == [] else as_list(dims)
    return {place % axes for place in places} if axes else set()


def matmul(operation: Operation) -> list[Axes]:
    """A product of matrices: rows of the first, columns of the second."""
    one, other = factors(operation)
    left, right = operation.axes_or_features(one), operation.axes_or_features(other)
    if len(left) < 2 or len(right) < 2:
        kept = left[:-1] if len(right) < 2 else right[:-2] + right[-1:]
        return [kept]
    outer = _paired([left[:-2], right[:-2]], operation.result.shape[:-2])
    return [(*outer, left[-2], right[-1])]


def _paired(operands: Sequence[Axes], shape: Sequence[int]) -> Axes:
    """The leading axes of a product of matrices: those of the first, where it has positions.

    The blocks of halo attention pair with larger, overlapping ones.
    """
    found = ax.broadcast(operands, shape)
    if len(operands[0]) != len(shape):
        return found
    pairs = zip(operands[0], found, strict=True)
    return tuple(one if one.positions and one.size == axis.size else axis for one, axis in pairs)


def factors(operation: Operation) -> tuple[Tensor, Tensor]:
    """The two matrices of a product."""
    names = ("mat1", "mat2"), ("batch1", "batch2"), ("self", "mat2"), ("self", "other")
    for one, other in names:
        if isinstance(operation.get(one), Tensor) and isinstance(operation.get(other), Tensor):
            return operation.get(one), operation.get(other)
    one, other = operation.tensors[-2:]
    return one, other


def linear(operation: Operation) -> list[Axes]:
    """New features, summed over the last axis."""
    return _with_new_features(operation)


def attention(operation: Operation) -> list[Axes]:
    """softmax(q kᵀ) v: the tokens of q, the features of v."""
    query, value = (operation.axes_or_features(operation.get(name)) for name in ("query", "value"))
    key = operation.axes_or_features(operation.get("key"))
    outer = [axes[:-2] for axes in (query, key, value)]
    shape = operation.results[0].shape
    first = (*_paired(outer, shape[:-2]), query[-2], value[-1])
    return [first, *(ax.all_unknown(result.shape) for result in operation.results[1:])]


def recurrent(operation: Operation) -> list[Axes]:
    """The steps of the sequence stay, and each has new features."""
    return _with_new_features(operation)


# ── sliding over positions ───────────────────────────────────────────────────────────────────────


def slide(operation: Operation) -> list[Axes]:
    """A pool or an upsampling: `b c *s`, other sizes along `*s`."""
    axes = operation.axes_or_features(operation.first)
    shape = operation.result.shape
    kept = len(shape) - slid(operation)
    found = (*axes[:kept], *ax.all_resampled(axes[kept:], shape[kept:]))
    return [found for _ in operation.results]


def slid(operation: Operation) -> int:
    """The number of axes, counted from the last, that the operation slides over."""
    name = operation.name
    return next((axes for axes in (1, 2, 3) if f"{axes}d" in name), operation.first.ndim - 2)


def convolve(operation: Operation) -> list[Axes]:
    """A convolution, `b c *s`: new channels, other sizes along `*s`."""
    axes = operation.axes_or_features(operation.first)
    shape = operation.result.shape
    weight = operation.get("weight")
    spatial = weight.ndim - 2 if isinstance(weight, Tensor) else len(shape) - 2
    outer = len(shape) - spatial - 1
    places = ax.all_resampled(axes[-spatial:], shape[-spatial:])
    return [(*axes[:outer], ax.features(shape[outer]), *places)]


def shuffle(operation: Operation) -> list[Axes]:
    """`pixel_shuffle` and its inverse: features become positions in between."""
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    places = ax.all_resampled(axes[-2:], shape[-2:])
    return [(*axes[:-3], ax.features(shape[-3]), *places)]


def warp(operation: Operation) -> list[Axes]:
    """Positions that depend on other numbers, as in a spatial transformer."""
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    return [(*axes[:2], *map(ax.unknown, shape[2:]))]


def fourier(operation: Operation) -> list[Axes]:
    """A Fourier transform; its inverse gives the positions back."""
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    return [ax.all_resampled(axes, shape)]


def spectrum(operation: Operation) -> list[Axes]:
    """A short-time Fourier transform: `*b t` to `*b f t`."""
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    return [(*axes[:-1], ax.features(shape[-2]), ax.resampled(axes[-1], shape[-1]))]


def as_real(operation: Operation) -> list[Axes]:
    """Complex numbers as pairs."""
    return [(*operation.axes_or_features(operation.first), ax.features(2))]


def as_complex(operation: Operation) -> list[Axes]:
    """Pairs as complex numbers."""
    return [operation.axes_or_features(operation.first)[:-1]]


def lost(operation: Operation) -> list[Axes]:
    """Operations whose results are not followed."""
    return [ax.all_unknown(result.shape) for result in operation.results]

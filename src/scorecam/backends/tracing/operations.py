"""What torch's operations do to the axes of tensors.

`RULES` has one entry for each kind of operation: from the axes of its tensors to those of its
results. An operation without a rule is elementwise if its result has its tensors' shape; otherwise
the axes of its result are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from scorecam.backends.tracing import axes as ax
from scorecam.backends.tracing.axes import Axes, Axis

Known = Callable[[Tensor], Axes | None]
"""The axes of a tensor; None if it does not depend on the image."""


@dataclass(frozen=True)
class Operation:
    """One call of an operation, after it ran.

    Args:
        name: without namespace and overload; in-place operations have the name of the others.
        arguments: by the names in torch's schema, where it has one.
        results: the tensors that it returned.
        known: the axes of a tensor before the call.
    """

    name: str
    arguments: dict[str, Any]
    results: tuple[Tensor, ...]
    known: Known

    @property
    def result(self) -> Tensor:
        return self.results[0]

    def get(self, name: str, default: Any = None) -> Any:
        return self.arguments.get(name, default)

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments, those in lists included."""
        return list(_tensors(self.arguments.values()))

    @property
    def first(self) -> Tensor:
        """The first tensor that depends on the image."""
        return next(tensor for tensor in self.tensors if self.known(tensor) is not None)

    def axes(self, tensor: Tensor | None) -> Axes | None:
        return None if tensor is None else self.known(tensor)

    def axes_or_features(self, tensor: Tensor) -> Axes:
        found = self.known(tensor)
        return tuple(map(ax.features, tensor.shape)) if found is None else found


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(cast("Sequence[Any]", value))


Rule = Callable[[Operation], Sequence[Axes]]
"""The axes of an operation's results."""


def axes_of_results(operation: Operation) -> Sequence[Axes]:
    """The axes of each result of an operation."""
    rule = RULES.get(operation.name, _elementwise)
    found = rule(operation)
    return [
        axes if sizes_of(axes) == tuple(result.shape) else ax.all_unknown(result.shape)
        for axes, result in zip(found, operation.results, strict=True)
    ]


def sizes_of(axes: Axes) -> tuple[int, ...]:
    return tuple(axis.size for axis in axes)


# ── elementwise ──────────────────────────────────────────────────────────────────────────────────


def _elementwise(operation: Operation) -> list[Axes]:
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


def _unchanged(operation: Operation) -> list[Axes]:
    """The first result is like the first tensor; the others are statistics."""
    axes = operation.axes_or_features(operation.first)
    return [axes, *(ax.all_unknown(result.shape) for result in operation.results[1:])]


# ── the same numbers in another shape or order ───────────────────────────────────────────────────


def _reshape(operation: Operation) -> list[Axes]:
    return [ax.reshaped(operation.axes_or_features(operation.first), operation.result.shape)]


def _permute(operation: Operation) -> list[Axes]:
    axes = operation.axes_or_features(operation.first)
    return [tuple(axes[place] for place in operation.get("dims"))]


def _transpose(operation: Operation) -> list[Axes]:
    axes = list(operation.axes_or_features(operation.first))
    one = operation.get("dim0", -2) if len(axes) > 1 else 0
    other = operation.get("dim1", -1) if len(axes) > 1 else 0
    axes[one], axes[other] = axes[other], axes[one]
    return [tuple(axes)]


def _movedim(operation: Operation) -> list[Axes]:
    axes = operation.axes_or_features(operation.first)
    one, other = (_list(operation.get(name)) for name in ("source", "destination"))
    order = torch.empty(operation.first.shape, device="meta")
    marked = {place % len(axes): target % len(axes) for place, target in zip(one, other)}
    left = iter(place for place in range(order.ndim) if place not in marked)
    placed = {target: place for place, target in marked.items()}
    return [tuple(axes[placed[i] if i in placed else next(left)] for i in range(len(axes)))]


def _expand(operation: Operation) -> list[Axes]:
    axes = operation.axes_or_features(operation.first)
    shape = operation.result.shape
    return [ax.broadcast([axes], shape)]


def _repeat(operation: Operation) -> list[Axes]:
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    padded = (ax.SINGLE,) * (len(shape) - len(axes)) + axes
    return [
        tuple(
            axis if axis.size == size else ax.features(size) if axis.size == 1 else ax.unknown(size)
            for axis, size in zip(padded, shape, strict=True)
        )
    ]


def _flip(operation: Operation) -> list[Axes]:
    axes = list(operation.axes_or_features(operation.first))
    for place in _list(operation.get("dims")):
        axes[place] = ax.flipped(axes[place])
    return [tuple(axes)]


def _roll(operation: Operation) -> list[Axes]:
    axes = list(operation.axes_or_features(operation.first))
    places = _list(operation.get("dims", ()))
    if not places:
        return [ax.all_unknown(operation.result.shape)]
    for place, shift in zip(places, _list(operation.get("shifts")), strict=True):
        axes[place] = ax.rolled(axes[place], shift)
    return [tuple(axes)]


# ── parts and sums of tensors ────────────────────────────────────────────────────────────────────


def _slice(operation: Operation) -> list[Axes]:
    axes = list(operation.axes_or_features(operation.first))
    place = operation.get("dim", 0)
    start, stop, step = slice(
        operation.get("start"), operation.get("end"), operation.get("step", 1)
    ).indices(axes[place].size)
    axes[place] = ax.sliced(axes[place], start, stop, step)
    return [tuple(axes)]


def _narrow(operation: Operation) -> list[Axes]:
    axes = list(operation.axes_or_features(operation.first))
    place, start = operation.get("dim"), int(operation.get("start"))
    start %= max(axes[place].size, 1)
    axes[place] = ax.sliced(axes[place], start, start + int(operation.get("length")))
    return [tuple(axes)]


def _select(operation: Operation) -> list[Axes]:
    axes = list(operation.axes_or_features(operation.first))
    del axes[operation.get("dim", 0)]
    return [tuple(axes)]


def _unbind(operation: Operation) -> list[Axes]:
    axes = list(operation.axes_or_features(operation.first))
    del axes[operation.get("dim", 0)]
    return [tuple(axes) for _ in operation.results]


def _split(operation: Operation) -> list[Axes]:
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


def _cat(operation: Operation) -> list[Axes]:
    tensors = [tensor for tensor in operation.get("tensors") if tensor.numel() or tensor.ndim > 1]
    place = operation.get("dim", 0) % operation.result.ndim
    axes = [operation.known(tensor) for tensor in tensors]
    sizes = [tensor.shape[place] for tensor in tensors]
    found: list[Axis] = []
    for i, size in enumerate(operation.result.shape):
        if i == place:
            found.append(ax.concatenated(axes, sizes, place))
        else:
            found.append(ax.agreed([each[i] for each in axes if each is not None], size))
    return [tuple(found)]


def _stack(operation: Operation) -> list[Axes]:
    shape = list(operation.result.shape)
    place = operation.get("dim", 0) % len(shape)
    count = shape.pop(place)
    axes = [axes for axes in map(operation.known, operation.get("tensors")) if axes is not None]
    found = list(ax.broadcast(axes, shape))
    return [(*found[:place], ax.features(count), *found[place:])]


def _pad(operation: Operation) -> list[Axes]:
    axes = list(operation.axes_or_features(operation.first))
    amounts = _list(operation.get("pad", operation.get("padding")))
    for i in range(len(amounts) // 2):
        place = len(axes) - 1 - i
        axes[place] = ax.padded(axes[place], int(amounts[2 * i]), int(amounts[2 * i + 1]))
    return [tuple(axes)]


def _index(operation: Operation) -> list[Axes]:
    """Rows taken by number: their order is lost, features stay features."""
    axes = operation.axes_or_features(operation.first)
    indices = operation.get("indices", operation.get("index"))
    if isinstance(indices, Tensor):
        place = operation.get("dim", 0) % len(axes)
        taken = [None] * place + [indices]
    else:
        taken = _list(indices)
    if sum(index is not None for index in taken) != 1:
        return [ax.all_unknown(operation.result.shape)]
    place = next(i for i, index in enumerate(taken) if index is not None)
    new = operation.result.shape[place : operation.result.ndim - (len(axes) - place - 1)]
    lost = axes[place].positions or axes[place].unknown
    kind = ax.unknown if lost else ax.features
    return [(*axes[:place], *map(kind, new), *axes[place + 1 :])]


def _unfold(operation: Operation) -> list[Axes]:
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


def _im2col(operation: Operation) -> list[Axes]:
    """`F.unfold`: `b c h w` to `b (c kernel) blocks`."""
    axes = operation.axes_or_features(operation.first)
    sizes = [axis.size for axis in axes[-2:]]
    options = (operation.get(name) for name in ("kernel_size", "dilation", "padding", "stride"))
    kernel, dilation, padding, stride = map(_pair, options)
    counts = [
        (sizes[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    places = tuple(ax.resampled(axis, n) for axis, n in zip(axes[-2:], counts, strict=True))
    blocks = ax.reshaped(places, (counts[0] * counts[1],))
    return [(*axes[:-3], ax.features(operation.result.shape[-2]), *blocks)]


def _col2im(operation: Operation) -> list[Axes]:
    axes = operation.axes_or_features(operation.first)
    parts = axes[-1].parts
    size = operation.result.shape[-2:]
    if len(parts) == 2 and not axes[-1].extras:
        places = tuple(ax.resampled(Axis((part,)), n) for part, n in zip(parts, size, strict=True))
    else:
        places = tuple(map(ax.unknown, size))
    return [(*axes[:-2], ax.features(operation.result.shape[-3]), *places)]


# ── sums over axes ───────────────────────────────────────────────────────────────────────────────


def _reduce(operation: Operation) -> list[Axes]:
    if isinstance(operation.get("other"), Tensor):
        return _elementwise(operation)  # the larger of two tensors
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
    places = range(axes) if dims is None or dims == [] else _list(dims)
    return {place % axes for place in places} if axes else set()


def _matmul(operation: Operation) -> list[Axes]:
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


def _linear(operation: Operation) -> list[Axes]:
    axes = operation.axes_or_features(operation.first)
    return [(*axes[:-1], ax.features(operation.result.shape[-1]))]


def _attention(operation: Operation) -> list[Axes]:
    """softmax(q kᵀ) v: the tokens of q, the features of v."""
    query, value = (operation.axes_or_features(operation.get(name)) for name in ("query", "value"))
    key = operation.axes_or_features(operation.get("key"))
    outer = [axes[:-2] for axes in (query, key, value)]
    shape = operation.results[0].shape
    first = (*_paired(outer, shape[:-2]), query[-2], value[-1])
    return [first, *(ax.all_unknown(result.shape) for result in operation.results[1:])]


def _recurrent(operation: Operation) -> list[Axes]:
    """The steps of the sequence stay, and each has new features."""
    axes = operation.axes_or_features(operation.first)
    first = (*axes[:-1], ax.features(operation.result.shape[-1]))
    return [first, *(ax.all_unknown(result.shape) for result in operation.results[1:])]


# ── sliding over positions ───────────────────────────────────────────────────────────────────────


def _slide(operation: Operation) -> list[Axes]:
    """A pool or an upsampling: `b c *s`, other sizes along `*s`."""
    axes = operation.axes_or_features(operation.first)
    shape = operation.result.shape
    kept = len(shape) - slid(operation)
    found = (
        *axes[:kept],
        *(ax.resampled(a, n) for a, n in zip(axes[kept:], shape[kept:], strict=True)),
    )
    return [found for _ in operation.results]


def slid(operation: Operation) -> int:
    """The number of axes, counted from the last, that the operation slides over."""
    name = operation.name
    return next((axes for axes in (1, 2, 3) if f"{axes}d" in name), operation.first.ndim - 2)


def _convolve(operation: Operation) -> list[Axes]:
    axes = operation.axes_or_features(operation.first)
    shape = operation.result.shape
    weight = operation.get("weight")
    spatial = weight.ndim - 2 if isinstance(weight, Tensor) else len(shape) - 2
    outer = len(shape) - spatial - 1
    moved = zip(axes[-spatial:], shape[-spatial:], strict=True)
    found = (
        *axes[:outer],
        ax.features(shape[outer]),
        *(ax.resampled(axis, size) for axis, size in moved),
    )
    return [found]


def _shuffle(operation: Operation) -> list[Axes]:
    """`pixel_shuffle` and its inverse: features become positions in between."""
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    places = (ax.resampled(axis, n) for axis, n in zip(axes[-2:], shape[-2:], strict=True))
    return [(*axes[:-3], ax.features(shape[-3]), *places)]


def _warp(operation: Operation) -> list[Axes]:
    """Positions that depend on other numbers, as in a spatial transformer."""
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    return [(*axes[:2], *map(ax.unknown, shape[2:]))]


def _fourier(operation: Operation) -> list[Axes]:
    axes, shape = operation.axes_or_features(operation.first), operation.result.shape
    return [tuple(ax.resampled(axis, size) for axis, size in zip(axes, shape, strict=True))]


def _as_real(operation: Operation) -> list[Axes]:
    return [(*operation.axes_or_features(operation.first), ax.features(2))]


def _as_complex(operation: Operation) -> list[Axes]:
    return [operation.axes_or_features(operation.first)[:-1]]


def _lost(operation: Operation) -> list[Axes]:
    return [ax.all_unknown(result.shape) for result in operation.results]


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _pair(value: Any) -> tuple[int, int]:
    numbers = _list(value)
    return (numbers[0], numbers[-1])


KINDS: dict[Rule, str] = {
    _reshape: "view _unsafe_view reshape flatten unflatten squeeze unsqueeze",
    _permute: "permute",
    _transpose: "transpose t swapaxes swapdims",
    _movedim: "movedim moveaxis",
    _expand: "expand",
    _repeat: "repeat tile",
    _flip: "flip",
    _roll: "roll",
    _slice: "slice",
    _narrow: "narrow",
    _select: "select",
    _unbind: "unbind",
    _split: "split split_with_sizes chunk tensor_split",
    _cat: "cat concat concatenate",
    _stack: "stack",
    _pad: "constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d",
    _index: "index index_select",
    _unfold: "unfold",
    _im2col: "im2col",
    _col2im: "col2im",
    _reduce: "mean sum amax amin max min prod var std var_mean std_mean norm linalg_vector_norm "
    "logsumexp argmax argmin any all median nansum nanmean count_nonzero",
    _matmul: "mm bmm addmm baddbmm matmul addbmm",
    _linear: "linear",
    _attention: "scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_attention_math _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable",
    _recurrent: "lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer",
    _slide: "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d "
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d "
    "_adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "mkldnn_max_pool2d mkldnn_adaptive_avg_pool2d quantized_max_pool2d "
    "fractional_max_pool2d fractional_max_pool3d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d "
    "upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
    _convolve: "conv1d conv2d conv3d convolution _convolution convolution_overrideable "
    "conv_transpose1d conv_transpose2d conv_transpose3d mkldnn_convolution thnn_conv2d "
    "_slow_conv2d_forward slow_conv3d conv_depthwise3d _conv_depthwise2d deform_conv2d "
    "conv2d_relu conv1d_relu conv3d_relu",
    _shuffle: "pixel_shuffle pixel_unshuffle",
    _warp: "grid_sampler grid_sampler_2d grid_sampler_3d",
    _fourier: "_fft_r2c _fft_c2r _fft_c2c",
    _as_real: "view_as_real",
    _as_complex: "view_as_complex",
    _unchanged: "layer_norm native_layer_norm rms_norm _fused_rms_norm batch_norm "
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "_batch_norm_impl_index cudnn_batch_norm group_norm native_group_norm instance_norm "
    "cumsum _softmax softmax log_softmax _log_softmax channel_shuffle native_channel_shuffle "
    "dropout native_dropout _transformer_encoder_layer_fwd _native_multi_head_attention",
    _lost: "sort argsort topk gather as_strided nonzero masked_select take take_along_dim "
    "scatter diagonal roi_align roi_pool ps_roi_align kthvalue unique rot90 fft",
}
"""The operations of each rule."""

RULES: dict[str, Rule] = {name: rule for rule, names in KINDS.items() for name in names.split()}

MOVES = frozenset(
    name
    for rule in (_reshape, _permute, _transpose, _movedim, _expand)
    for name in KINDS[rule].split()
) | {"clone", "contiguous", "alias", "detach", "_to_copy", "to", "lift_fresh", "dequantize"}
"""Operations whose result holds the same numbers."""

VIEWS = MOVES | frozenset(
    name
    for rule in (_slice, _narrow, _select, _unbind, _split, _unfold, _as_real, _as_complex)
    for name in KINDS[rule].split()
)
"""Operations whose result may share memory with their tensor."""

POOLS = frozenset(name for name in KINDS[_slide].split() if "pool" in name)
SAMPLES = frozenset(KINDS[_slide].split()) | MOVES
"""Operations that only move, average or repeat numbers along the positions."""

SLIDES = frozenset(name for rule in (_slide, _convolve) for name in KINDS[rule].split())
CONVOLVES = frozenset(KINDS[_convolve].split())
PRODUCTS = frozenset(KINDS[_matmul].split())
ATTENTION = frozenset(KINDS[_attention].split())
REDUCES = frozenset(KINDS[_reduce].split())
LINEAR = frozenset(KINDS[_linear].split())
SELECTS = frozenset(name for rule in (_slice, _narrow, _select) for name in KINDS[rule].split())
JOINS = frozenset(KINDS[_cat].split())

"""What torch's operations do to the axes of tensors.

`RULES` has one entry for each kind of operation: from the axes of its tensors to those of its
results. An operation without a rule is elementwise if its result has its tensors' shape; otherwise
the axes of its result are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

from scorecam.backends.tracing import axes as ax
from scorecam.backends.tracing import computing, moving
from scorecam.backends.tracing.axes import Axes
from scorecam.backends.tracing.operation import Operation, Rule


def axes_of_results(operation: Operation) -> Sequence[Axes]:
    """The axes of each result of an operation."""
    axes_after = RULES.get(operation.name, computing.elementwise)
    found = axes_after(operation)
    return [
        axes if sizes_of(axes) == tuple(result.shape) else ax.all_unknown(result.shape)
        for axes, result in zip(found, operation.results, strict=True)
    ]


def sizes_of(axes: Axes) -> tuple[int, ...]:
    """The sizes of axes: the shape of their tensor."""
    return tuple(axis.size for axis in axes)


KINDS: dict[Rule, str] = {
    moving.reshape: "view _unsafe_view reshape flatten unflatten squeeze unsqueeze",
    moving.permute: "permute",
    moving.transpose: "transpose t swapaxes swapdims",
    moving.movedim: "movedim moveaxis",
    moving.expand: "expand",
    moving.repeated: "repeat tile",
    moving.flipped: "flip",
    moving.rolled: "roll",
    moving.sliced: "slice",
    moving.narrow: "narrow",
    moving.selected: "select",
    moving.unbind: "unbind",
    moving.split: "split split_with_sizes chunk tensor_split",
    moving.cat: "cat concat concatenate",
    moving.stack: "stack",
    moving.padded: "constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d",
    moving.indexed: "index index_select",
    moving.unfold: "unfold",
    moving.im2col: "im2col",
    moving.col2im: "col2im",
    computing.reduce: "mean sum amax amin max min prod var std var_mean std_mean norm "
    "linalg_vector_norm logsumexp argmax argmin any all median nansum nanmean count_nonzero",
    computing.matmul: "mm bmm addmm baddbmm matmul addbmm",
    computing.linear: "linear",
    computing.attention: "scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_attention_math _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable",
    computing.recurrent: "lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer",
    computing.transform: "_transformer_encoder_layer_fwd _native_multi_head_attention",
    computing.slide: "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d "
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d "
    "_adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "mkldnn_max_pool2d mkldnn_adaptive_avg_pool2d quantized_max_pool2d "
    "fractional_max_pool2d fractional_max_pool3d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d "
    "upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
    computing.convolve: "conv1d conv2d conv3d convolution _convolution convolution_overrideable "
    "conv_transpose1d conv_transpose2d conv_transpose3d mkldnn_convolution thnn_conv2d "
    "_slow_conv2d_forward slow_conv3d conv_depthwise3d _conv_depthwise2d deform_conv2d "
    "conv2d_relu conv1d_relu conv3d_relu",
    computing.shuffle: "pixel_shuffle pixel_unshuffle",
    computing.warp: "grid_sampler grid_sampler_2d grid_sampler_3d",
    computing.fourier: "_fft_r2c _fft_c2r _fft_c2c",
    computing.spectrum: "stft",
    computing.as_real: "view_as_real",
    computing.as_complex: "view_as_complex",
    computing.unchanged: "layer_norm native_layer_norm rms_norm _fused_rms_norm batch_norm "
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "_batch_norm_impl_index cudnn_batch_norm group_norm native_group_norm instance_norm "
    "cumsum _softmax softmax log_softmax _log_softmax channel_shuffle native_channel_shuffle "
    "dropout native_dropout",
    computing.lost: "sort argsort topk gather as_strided nonzero masked_select take take_along_dim "
    "scatter diagonal roi_align roi_pool ps_roi_align kthvalue unique rot90 fft",
}
"""The operations of each rule."""

RULES: dict[str, Rule] = {name: rule for rule, names in KINDS.items() for name in names.split()}


def _named(*rules: Rule) -> frozenset[str]:
    """The operations of some rules."""
    return frozenset(name for name, rule in RULES.items() if rule in rules)


COPIES = {"clone", "contiguous", "alias", "detach", "_to_copy", "to", "lift_fresh", "dequantize"}

MOVES = COPIES | _named(
    *(moving.reshape, moving.permute, moving.transpose, moving.movedim, moving.expand)
)
"""Operations with the same numbers in their result."""

VIEWS = (
    MOVES
    | _named(moving.sliced, moving.narrow, moving.selected)
    | _named(moving.unbind, moving.split, moving.unfold)
    | _named(computing.as_real, computing.as_complex)
)
"""Operations with a result that may share memory with their tensor."""

REARRANGES = (
    VIEWS
    | _named(moving.cat, moving.stack, moving.indexed)
    | _named(moving.repeated, moving.flipped, moving.rolled)
    | {"gather"}
)
"""Operations with the numbers of their tensors in their result, in another order."""

POOLS = frozenset(name for name in _named(computing.slide) if "pool" in name)
CONVOLVES = _named(computing.convolve)
SLIDES = CONVOLVES | _named(computing.slide)
PRODUCTS = _named(computing.matmul)
ATTENTION = _named(computing.attention)
TRANSFORMS = _named(computing.transform)
REDUCES = _named(computing.reduce)
LINEAR = _named(computing.linear)
SELECTS = _named(moving.sliced, moving.narrow, moving.selected)
JOINS = _named(moving.cat)
WITH_WEIGHTS = CONVOLVES | LINEAR | PRODUCTS | TRANSFORMS | _named(computing.recurrent)
"""Operations of layers with weights, which sum over features."""


def slid_axes(operation: Operation) -> Axes:
    """The axes that a convolution or a pool slides along."""
    return operation.axes_or_features(operation.first)[-computing.slid(operation) :]


def summed_axes(operation: Operation) -> Axes:
    """The axes that a layer with weights sums over: its input features."""
    axes = operation.axes_or_features(operation.first)
    if operation.name in CONVOLVES:
        count = computing.slid(operation)
        return axes[-count - 1 : -count]
    if operation.name in PRODUCTS and operation.first is computing.factors(operation)[1]:
        return axes[-2:-1]
    return axes[-1:]

"""What OpenVINO's operations do to the axes of the masked image.

`RULES` has one entry for each kind of operation that moves, sums or slides over positions. It notes
the operation of torch that does the same. An operation without a rule is elementwise.
"""

from __future__ import annotations

from torch import Tensor

from scorecam.backends.graphs import rules
from scorecam.backends.graphs.graph import GraphNode
from scorecam.backends.graphs.rules import Rule
from scorecam.backends.graphs.walk import Walk


def translate(node: GraphNode, walk: Walk) -> None:
    """Note what a node does."""
    RULES.get(node.kind, rules.elementwise)(node, walk)


# ── layers with weights ──────────────────────────────────────────────────────────────────────────


def _product(node: GraphNode, walk: Walk) -> None:
    left, right = (
        _turned(walk, walk.tensor(name), turn=bool(node.attributes.get(key)))
        for name, key in zip(node.inputs, ("transpose_a", "transpose_b"), strict=True)
    )
    walk.note("matmul", {"self": left, "other": right}, *rules.results(node, walk))


def _turned(walk: Walk, data: Tensor, *, turn: bool) -> Tensor:
    """A matrix, or its transpose."""
    if not turn or data.ndim < 2:
        return data
    dims = [*range(data.ndim - 2), data.ndim - 1, data.ndim - 2]
    shape = [data.shape[dim] for dim in dims]
    return walk.note("permute", {"self": data, "dims": dims}, walk.fresh(shape))


def _recurrent(node: GraphNode, walk: Walk) -> None:
    """`b t c` to `b directions t c`."""
    data = walk.tensor(node.inputs[0])
    result, *states = rules.results(node, walk)
    for state in states:
        walk.note("gather", {"input": data}, state)
    if result.ndim != 4:
        walk.note("gather", {"input": data}, result)
        return
    batch, directions, steps, features = result.shape
    new = walk.note("lstm", {"input": data}, walk.fresh((batch, steps, directions * features)))
    split = walk.note("view", {"self": new}, walk.fresh((batch, steps, directions, features)))
    walk.note("permute", {"self": split, "dims": [0, 2, 1, 3]}, result)


# ── sums and normalisation ───────────────────────────────────────────────────────────────────────


def _axes(node: GraphNode, walk: Walk) -> list[int] | None:
    """The axes in the second input."""
    return walk.numbers(node.inputs[1]) if len(node.inputs) > 1 else None


def _reduce(node: GraphNode, walk: Walk) -> None:
    axes = _axes(node, walk)
    if axes is None:
        return rules.lost(node, walk)
    if not axes:
        return rules.elementwise(node, walk)
    keepdim = bool(node.attributes.get("keep_dims"))
    arguments = {"self": walk.tensor(node.inputs[0]), "dim": axes, "keepdim": keepdim}
    walk.note("mean", arguments, *rules.results(node, walk))
    return None


def _softmax(node: GraphNode, walk: Walk) -> None:
    arguments = {
        "self": walk.tensor(node.inputs[0]),
        "dim": int(node.attributes.get("axis", 1)),
    }
    walk.note("softmax", arguments, *rules.results(node, walk))


def _normalise(node: GraphNode, walk: Walk) -> None:
    """Over some axes: those of features as a layer norm, others as an instance norm."""
    data, axes = walk.tensor(node.inputs[0]), _axes(node, walk)
    last = axes is not None and {axis % data.ndim for axis in axes} == {data.ndim - 1}
    name = "native_layer_norm" if last else "instance_norm"
    walk.note(name, {"input": data}, *rules.results(node, walk))


# ── moving numbers ───────────────────────────────────────────────────────────────────────────────


def _transpose(node: GraphNode, walk: Walk) -> None:
    data, dims = walk.tensor(node.inputs[0]), _axes(node, walk)
    if dims is None:
        return rules.lost(node, walk)
    dims = dims or list(reversed(range(data.ndim)))
    walk.note("permute", {"self": data, "dims": dims}, *rules.results(node, walk))
    return None


def _concat(node: GraphNode, walk: Walk) -> None:
    dim = int(node.attributes.get("axis", 0))
    arguments = {"tensors": walk.tensors(node.inputs), "dim": dim}
    walk.note("cat", arguments, *rules.results(node, walk))


def _split(node: GraphNode, walk: Walk) -> None:
    found, axes = rules.results(node, walk), _axes(node, walk)
    if not axes:
        return rules.lost(node, walk)
    data = walk.tensor(node.inputs[0])
    dim = axes[0] % data.ndim
    sizes = [int(result.shape[dim]) for result in found]
    walk.note("split_with_sizes", {"self": data, "split_sizes": sizes, "dim": dim}, *found)
    return None


def _slice(node: GraphNode, walk: Walk) -> None:
    """Ranges along some axes: the inputs are starts, stops, steps and axes."""
    data = walk.tensor(node.inputs[0])
    settings = _settings(node, walk)
    if settings is None:
        return rules.lost(node, walk)
    starts, stops, steps, *rest = settings
    axes = rest[0] if rest else range(len(starts))
    for axis, *bounds in zip(axes, starts, stops, steps, strict=True):
        start, stop, step = bounds
        data = rules.sliced(walk, data, axis % data.ndim, (start, stop, step))
    walk.note("clone", {"self": data}, *rules.results(node, walk))
    return None


def _strided_slice(node: GraphNode, walk: Walk) -> None:
    """Ranges along the first axes, of which some are removed or added."""
    data = walk.tensor(node.inputs[0])
    settings = _settings(node, walk)
    masks = {key: list(value) for key, value in node.attributes.items() if key.endswith("_mask")}
    if settings is None or any(masks.get("ellipsis_mask", ())):
        return rules.lost(node, walk)
    begins, ends = settings[:2]
    steps = settings[2] if len(settings) > 2 else [1] * len(begins)
    axis = 0
    for i, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        if _marked(masks, "new_axis_mask", i):
            shape = [*data.shape[:axis], 1, *data.shape[axis:]]
            data = walk.note("view", {"self": data}, walk.fresh(shape))
        elif _marked(masks, "shrink_axis_mask", i):
            arguments = {"self": data, "dim": axis, "index": begin}
            shape = [*data.shape[:axis], *data.shape[axis + 1 :]]
            data = walk.note("select", arguments, walk.fresh(shape))
            continue
        else:
            start = None if _marked(masks, "begin_mask", i) else begin
            stop = None if _marked(masks, "end_mask", i) else end
            data = rules.sliced(walk, data, axis, (start, stop, step))
        axis += 1
    walk.note("clone", {"self": data}, *rules.results(node, walk))
    return None


def _marked(masks: dict[str, list[int]], name: str, place: int) -> bool:
    mask = masks.get(name, [])
    return place < len(mask) and bool(mask[place])


def _settings(node: GraphNode, walk: Walk) -> list[list[int]] | None:
    """The numbers in all inputs but the first; None if they are not known."""
    if any(walk.node(name) is not None for name in node.inputs[1:]):
        return None  # they depend on the image itself
    found = [walk.numbers(name) for name in node.inputs[1:]]
    return None if any(numbers is None for numbers in found) else [n or [] for n in found]


def _gather(node: GraphNode, walk: Walk) -> None:
    data, places = node.inputs[:2]
    axes = walk.numbers(node.inputs[2])
    followed = walk.node(data) is not None and walk.node(places) is None
    if not followed or axes is None or node.attributes.get("batch_dims"):
        return rules.lost(node, walk)
    tensor, indices = walk.tensor(data), walk.tensor(places)
    dim, numbers = axes[0] % tensor.ndim, walk.numbers(places)
    found = rules.results(node, walk)
    if indices.ndim == 0 and numbers is not None:
        walk.note("select", {"self": tensor, "dim": dim, "index": numbers[0]}, *found)
        return None
    walk.note("index_select", {"self": tensor, "dim": dim, "index": indices}, *found)
    return None


def _pad(node: GraphNode, walk: Walk) -> None:
    before, after = (walk.numbers(name) for name in node.inputs[1:3])
    if before is None or after is None:
        return rules.lost(node, walk)
    pairs = reversed(list(zip(before, after, strict=True)))
    arguments = {"self": walk.tensor(node.inputs[0]), "pad": [n for pair in pairs for n in pair]}
    walk.note("constant_pad_nd", arguments, *rules.results(node, walk))
    return None


def _resize(node: GraphNode, walk: Walk) -> None:
    data, result = walk.tensor(node.inputs[0]), walk.tensor(node.outputs[0])
    if data.ndim != result.ndim:
        return rules.lost(node, walk)
    rules.resampled(walk, data, result)
    return None


def _pool(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    walk.note(f"max_pool{data.ndim - 2}d", {"self": data}, *rules.results(node, walk))


def _attention(node: GraphNode, walk: Walk) -> None:
    query, key, value = (walk.tensor(name) for name in node.inputs[:3])
    arguments = {"query": query, "key": key, "value": value}
    walk.note("scaled_dot_product_attention", arguments, *rules.results(node, walk))


KINDS: dict[Rule, str] = {
    rules.same_as("view", "self"): "Reshape Squeeze Unsqueeze",
    rules.same_as("clone", "self"): "Identity Convert ConvertLike",
    rules.same_as("expand", "self"): "Broadcast",
    rules.same_as("repeat", "self"): "Tile",
    rules.same_as("pixel_shuffle", "self"): "DepthToSpace",
    rules.same_as("pixel_unshuffle", "self"): "SpaceToDepth",
    rules.same_as("grid_sampler", "input", "grid"): "GridSample",
    rules.same_as("native_batch_norm", "input"): "BatchNormInference",
    rules.same_as("native_group_norm", "input"): "GroupNormalization",
    rules.same_as("channel_shuffle", "input"): "ShuffleChannels",
    rules.same_as("cumsum", "self"): "CumSum",
    rules.same_as("convolution", "input"): "Convolution GroupConvolution BinaryConvolution "
    "ConvolutionBackpropData GroupConvolutionBackpropData DeformableConvolution",
    _product: "MatMul",
    _recurrent: "LSTMSequence GRUSequence RNNSequence",
    _reduce: "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 "
    "ReduceLogicalAnd ReduceLogicalOr",
    _softmax: "Softmax LogSoftmax",
    _normalise: "MVN NormalizeL2 LRN RMS",
    _transpose: "Transpose",
    _concat: "Concat",
    _split: "Split VariadicSplit",
    _slice: "Slice",
    _strided_slice: "StridedSlice",
    _gather: "Gather",
    _pad: "Pad",
    _resize: "Interpolate",
    _pool: "MaxPool AvgPool AdaptiveAvgPool AdaptiveMaxPool",
    _attention: "ScaledDotProductAttention",
    rules.einsum: "Einsum",
    rules.constant: "ShapeOf Range RandomUniform Eye",
    rules.lost: "GatherElements GatherND ScatterUpdate ScatterElementsUpdate ScatterNDUpdate "
    "NonZero NonMaxSuppression MulticlassNms MatrixNms TopK Unique If Loop TensorIterator "
    "ROIAlign ROIPooling PSROIPooling Reverse ReverseSequence DFT IDFT RDFT IRDFT STFT OneHot "
    "Col2Im ExtractImagePatches BatchToSpace SpaceToBatch LSTMCell GRUCell RNNCell Bucketize "
    "DetectionOutput Proposal",
}
"""The operations of each rule."""

RULES: dict[str, Rule] = {kind: rule for rule, kinds in KINDS.items() for kind in kinds.split()}

SETTINGS = {
    "Slice": (1, 2, 3, 4),
    "StridedSlice": (1, 2, 3),
    "Gather": (1, 2),
    "Pad": (1, 2),
    "Transpose": (1,),
    "Split": (1,),
    "VariadicSplit": (1,),
    "MVN": (1,),
    **{kind: (1,) for kind, rule in RULES.items() if rule is _reduce},
}
"""For each operation, the inputs whose numbers decide what happens to positions."""

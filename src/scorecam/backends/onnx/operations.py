"""What ONNX's operations do to the axes of the masked image.

`RULES` has one entry for each kind of operation that moves, sums or slides over positions. It notes
the operation of torch that does the same. An operation without a rule is elementwise.
"""

from __future__ import annotations

from typing import Any

from scorecam.backends.graphs import rules
from scorecam.backends.graphs.graph import GraphNode
from scorecam.backends.graphs.rules import Rule
from scorecam.backends.graphs.walk import Walk


def translate(node: GraphNode, walk: Walk) -> None:
    """Note what a node does."""
    RULES.get(node.kind, rules.elementwise)(node, walk)


# ── layers with weights ──────────────────────────────────────────────────────────────────────────


def _convolution(data: int, weight: int) -> Rule:
    def rule(node: GraphNode, walk: Walk) -> None:
        arguments = {
            "input": walk.tensor(node.inputs[data]),
            "weight": walk.tensor(node.inputs[weight]),
        }
        walk.note("convolution", arguments, *rules.results(node, walk))

    return rule


def _product(one: int, other: int) -> Rule:
    def rule(node: GraphNode, walk: Walk) -> None:
        if node.attributes.get("transA") or node.attributes.get("transB"):
            return rules.lost(node, walk)
        arguments = {
            "self": walk.tensor(node.inputs[one]),
            "other": walk.tensor(node.inputs[other]),
        }
        walk.note("matmul", arguments, *rules.results(node, walk))
        return None

    return rule


def _linear(node: GraphNode, walk: Walk) -> None:
    if walk.node(node.inputs[0]) is None or node.attributes.get("transA"):
        return rules.lost(node, walk)
    rules.same_as("linear", "input")(node, walk)
    return None


def _recurrent(node: GraphNode, walk: Walk) -> None:
    """`t b c` to `t directions b c`; or with the batch first."""
    sequence, states = node.outputs[0] if node.outputs else "", node.outputs[1:]
    data = walk.tensor(node.inputs[0])
    for state in filter(None, states):
        walk.note("gather", {"input": data}, walk.tensor(state))
    if not sequence:
        return
    result = walk.tensor(sequence)
    if result.ndim != 4 or node.attributes.get("layout"):
        rules.lost(node, walk)
        return
    steps, directions, batch, features = result.shape
    new = walk.note("lstm", {"input": data}, walk.fresh((steps, batch, directions * features)))
    split = walk.note("view", {"self": new}, walk.fresh((steps, batch, directions, features)))
    walk.note("permute", {"self": split, "dims": [0, 2, 1, 3]}, result)


# ── sums and normalisation ───────────────────────────────────────────────────────────────────────


def _axes(node: GraphNode, walk: Walk, place: int = 1) -> list[int] | None:
    """The axes that a node names, as an attribute or, in newer versions, as an input."""
    given = node.attributes.get("axes")
    if given is not None:
        return [int(axis) for axis in given]
    if len(node.inputs) > place and node.inputs[place]:
        return walk.numbers(node.inputs[place])
    return None


def _reduce(node: GraphNode, walk: Walk) -> None:
    dim = node.attributes.get("axis") if node.kind.startswith("Arg") else _axes(node, walk)
    if dim is None and node.attributes.get("noop_with_empty_axes"):
        return rules.elementwise(node, walk)
    keepdim = bool(node.attributes.get("keepdims", 1))
    arguments = {"self": walk.tensor(node.inputs[0]), "dim": dim, "keepdim": keepdim}
    walk.note("mean", arguments, *rules.results(node, walk))
    return None


def _pool_all(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    last = node.attributes.get("channels_last")
    dims = list(range(1, data.ndim - 1) if last else range(2, data.ndim))
    walk.note("mean", {"self": data, "dim": dims, "keepdim": True}, *rules.results(node, walk))


def _along_axis(name: str, default: int) -> Rule:
    def rule(node: GraphNode, walk: Walk) -> None:
        dim = int(node.attributes.get("axis", default))
        arguments = {"self": walk.tensor(node.inputs[0]), "dim": dim}
        walk.note(name, arguments, *rules.results(node, walk))

    return rule


def _layer_norm(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    axis = int(node.attributes.get("axis", -1))
    arguments = {"input": data, "normalized_shape": tuple(data.shape[axis:])}
    walk.note("native_layer_norm", arguments, *rules.results(node, walk))


# ── moving numbers ───────────────────────────────────────────────────────────────────────────────


def _transpose(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    dims = [int(axis) for axis in node.attributes.get("perm", reversed(range(data.ndim)))]
    walk.note("permute", {"self": data, "dims": dims}, *rules.results(node, walk))


def _concat(first: int = 0, step: int = 1) -> Rule:
    def rule(node: GraphNode, walk: Walk) -> None:
        tensors = walk.tensors(node.inputs[first::step])
        dim = int(node.attributes.get("axis", 0))
        walk.note("cat", {"tensors": tensors, "dim": dim}, *rules.results(node, walk))

    return rule


def _split(node: GraphNode, walk: Walk) -> None:
    results = rules.results(node, walk)
    dim = int(node.attributes.get("axis", 0))
    sizes = [int(result.shape[dim]) for result in results]
    arguments = {"self": walk.tensor(node.inputs[0]), "split_sizes": sizes, "dim": dim}
    walk.note("split_with_sizes", arguments, *results)


def _slice(node: GraphNode, walk: Walk) -> None:
    """A range along several axes, one after the other."""
    data = walk.tensor(node.inputs[0])
    if "starts" in node.attributes:
        ranges: list[Any] = [node.attributes.get(name) for name in ("starts", "ends", "axes")]
        ranges.append(None)
    else:
        given = (*node.inputs[1:], "", "", "")[:4]
        ranges = [walk.numbers(name) if name else None for name in given]
        if any(name and numbers is None for name, numbers in zip(given, ranges, strict=True)):
            return rules.lost(node, walk)
        if any(walk.node(name) is not None for name in given):  # it depends on the image itself
            return rules.lost(node, walk)
    starts, ends, axes, steps = ranges
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        data = rules.sliced(walk, data, int(axis) % data.ndim, (int(start), int(end), int(step)))
    walk.note("clone", {"self": data}, *rules.results(node, walk))
    return None


def _gather(node: GraphNode, walk: Walk) -> None:
    data, places = node.inputs[:2]
    axis = int(node.attributes.get("axis", 0))
    if walk.node(data) is None or walk.node(places) is not None:
        return rules.lost(node, walk)
    tensor, indices = walk.tensor(data), walk.tensor(places)
    dim = axis % tensor.ndim
    numbers = walk.numbers(places)
    if indices.ndim == 0 and numbers is not None:
        arguments = {"self": tensor, "dim": dim, "index": numbers[0]}
        walk.note("select", arguments, *rules.results(node, walk))
        return None
    walk.note(
        "index_select", {"self": tensor, "dim": dim, "index": indices}, *rules.results(node, walk)
    )
    return None


def _pad(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    pads = node.attributes.get("pads") or walk.numbers((*node.inputs, "")[1])
    axes = _axes(node, walk, 3) or list(range(data.ndim))
    if pads is None:
        return rules.lost(node, walk)
    around = {
        axis % data.ndim: (int(pads[i]), int(pads[i + len(axes)])) for i, axis in enumerate(axes)
    }
    amounts = [n for axis in reversed(range(data.ndim)) for n in around.get(axis, (0, 0))]
    walk.note("constant_pad_nd", {"self": data, "pad": amounts}, *rules.results(node, walk))
    return None


def _resize(node: GraphNode, walk: Walk) -> None:
    """Another size along some axes, which may be any."""
    data, (result, *_) = walk.tensor(node.inputs[0]), rules.results(node, walk)
    if data.ndim != result.ndim:
        return rules.lost(node, walk)
    rules.resampled(walk, data, result)
    return None


def _pool(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    if node.attributes.get("channels_last"):
        return rules.lost(node, walk)
    walk.note(f"max_pool{data.ndim - 2}d", {"self": data}, *rules.results(node, walk))
    return None


def _attention(node: GraphNode, walk: Walk) -> None:
    query, key, value = (walk.tensor(name) for name in node.inputs[:3])
    first, *others = rules.results(node, walk)
    walk.note("scaled_dot_product_attention", {"query": query, "key": key, "value": value}, first)
    for other in others:
        walk.note("gather", {"self": query}, other)


KINDS: dict[Rule, str] = {
    rules.same_as("view", "self"): "Reshape Flatten Squeeze Unsqueeze",
    rules.same_as("clone", "self"): "Identity Cast CastLike Dropout",
    rules.same_as("dequantize", "self"): "DequantizeLinear",
    rules.same_as("expand", "self"): "Expand",
    rules.same_as("repeat", "self"): "Tile",
    rules.same_as("pixel_shuffle", "self"): "DepthToSpace",
    rules.same_as("pixel_unshuffle", "self"): "SpaceToDepth",
    rules.same_as("grid_sampler", "input", "grid"): "GridSample",
    rules.same_as("native_batch_norm", "input"): "BatchNormalization",
    rules.same_as("instance_norm", "input"): "InstanceNormalization",
    rules.same_as("native_group_norm", "input"): "GroupNormalization GroupNorm",
    rules.same_as("_native_multi_head_attention", "query"): "com.microsoft.Attention",
    _transpose: "Transpose",
    _concat(): "Concat",
    _concat(2, 3): "com.microsoft.QLinearConcat",
    _split: "Split",
    _slice: "Slice",
    _gather: "Gather",
    _pad: "Pad",
    _resize: "Resize Upsample",
    _convolution(0, 1): "Conv ConvTranspose ConvInteger com.microsoft.FusedConv DeformConv",
    _convolution(0, 3): "QLinearConv",
    _product(0, 1): "MatMul MatMulInteger com.microsoft.MatMulIntegerToFloat "
    "com.microsoft.FusedMatMul com.microsoft.DynamicQuantizeMatMul",
    _product(0, 3): "QLinearMatMul",
    _linear: "Gemm com.microsoft.QGemm com.microsoft.MatMulNBits com.microsoft.FusedGemm",
    _recurrent: "LSTM GRU RNN",
    _reduce: "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare ArgMax ArgMin com.microsoft.QLinearReduceMean",
    _pool_all: "GlobalAveragePool GlobalMaxPool GlobalLpPool "
    "com.microsoft.QLinearGlobalAveragePool",
    _pool: "MaxPool AveragePool LpPool com.microsoft.QLinearAveragePool",
    _along_axis("softmax", -1): "Softmax LogSoftmax Hardmax com.microsoft.QLinearSoftmax",
    _along_axis("cumsum", 0): "CumSum",
    _layer_norm: "LayerNormalization RMSNormalization SimplifiedLayerNormalization",
    _attention: "Attention com.microsoft.MultiHeadAttention",
    rules.einsum: "Einsum",
    rules.constant: "Shape Size ConstantOfShape Range EyeLike RandomNormalLike RandomUniformLike",
    rules.lost: "GatherElements GatherND Scatter ScatterElements ScatterND NonZero "
    "NonMaxSuppression TopK Unique Compress If Loop Scan RoiAlign MaxRoiPool MaxUnpool "
    "ReverseSequence DFT STFT OneHot AffineGrid Col2Im SequenceAt ConcatFromSequence "
    "com.microsoft.NhwcFusedConv com.microsoft.QLinearConvTranspose",
}
"""The operations of each rule; those of other domains than ONNX's own with the domain."""

RULES: dict[str, Rule] = {kind: rule for rule, kinds in KINDS.items() for kind in kinds.split()}

SETTINGS = {
    "Slice": (1, 2, 3, 4),
    "Gather": (1,),
    "Pad": (1, 3),
    **{kind: (1,) for kind, rule in RULES.items() if rule is _reduce},
}
"""For each operation, the inputs whose numbers decide what happens to positions."""

"""What ONNX's operations do to the axes of the masked image.

`RULES` has one entry for each kind of operation that moves, sums or slides over positions. It notes
the operation of torch that does the same. An operation without a rule is elementwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from scorecam.backends.graphs.graph import Graph, GraphNode
from scorecam.backends.graphs.walk import Walk

Rule = Callable[[GraphNode, Walk], Any]
"""Notes a node, with the axes of its outputs."""


def translate(node: GraphNode, walk: Walk) -> None:
    """Note what a node does."""
    RULES.get(node.kind, _elementwise)(node, walk)


def _results(node: GraphNode, walk: Walk) -> list[Tensor]:
    """The tensors of a node's outputs; the optional ones that are left out have a stand-in."""
    return [walk.tensor(name) if name else walk.fresh(()) for name in node.outputs]


def _elementwise(node: GraphNode, walk: Walk) -> None:
    arguments = {"tensors": walk.tensors(node.inputs)}
    walk.note(f"onnx::{node.kind}", arguments, *_results(node, walk))


def _as(name: str, *names: str) -> Rule:
    """The rule of an operation that torch has with these tensors, in the order of its inputs."""

    def rule(node: GraphNode, walk: Walk) -> None:
        tensors = zip(names, node.inputs, strict=False)
        arguments = {key: walk.tensor(tensor) for key, tensor in tensors if tensor}
        walk.note(name, arguments, *_results(node, walk))

    return rule


def _lost(node: GraphNode, walk: Walk) -> None:
    """Positions are not followed through it."""
    walk.lose(node)


def _constant(node: GraphNode, walk: Walk) -> None:
    """Its result depends on the shape of the image only."""


# ── layers with weights ──────────────────────────────────────────────────────────────────────────


def _convolution(data: int, weight: int) -> Rule:
    def rule(node: GraphNode, walk: Walk) -> None:
        arguments = {
            "input": walk.tensor(node.inputs[data]),
            "weight": walk.tensor(node.inputs[weight]),
        }
        walk.note("convolution", arguments, *_results(node, walk))

    return rule


def _product(one: int, other: int) -> Rule:
    def rule(node: GraphNode, walk: Walk) -> None:
        if node.attributes.get("transA") or node.attributes.get("transB"):
            return _lost(node, walk)
        arguments = {
            "self": walk.tensor(node.inputs[one]),
            "other": walk.tensor(node.inputs[other]),
        }
        walk.note("matmul", arguments, *_results(node, walk))
        return None

    return rule


def _linear(node: GraphNode, walk: Walk) -> None:
    if walk.node(node.inputs[0]) is None or node.attributes.get("transA"):
        return _lost(node, walk)
    _as("linear", "input")(node, walk)
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
        _lost(node, walk)
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
        return _elementwise(node, walk)
    keepdim = bool(node.attributes.get("keepdims", 1))
    arguments = {"self": walk.tensor(node.inputs[0]), "dim": dim, "keepdim": keepdim}
    walk.note("mean", arguments, *_results(node, walk))
    return None


def _pool_all(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    last = node.attributes.get("channels_last")
    dims = list(range(1, data.ndim - 1) if last else range(2, data.ndim))
    walk.note("mean", {"self": data, "dim": dims, "keepdim": True}, *_results(node, walk))


def _along_axis(name: str, default: int) -> Rule:
    def rule(node: GraphNode, walk: Walk) -> None:
        dim = int(node.attributes.get("axis", default))
        arguments = {"self": walk.tensor(node.inputs[0]), "dim": dim}
        walk.note(name, arguments, *_results(node, walk))

    return rule


def _layer_norm(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    axis = int(node.attributes.get("axis", -1))
    arguments = {"input": data, "normalized_shape": tuple(data.shape[axis:])}
    walk.note("native_layer_norm", arguments, *_results(node, walk))


# ── moving numbers ───────────────────────────────────────────────────────────────────────────────


def _transpose(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    dims = [int(axis) for axis in node.attributes.get("perm", reversed(range(data.ndim)))]
    walk.note("permute", {"self": data, "dims": dims}, *_results(node, walk))


def _concat(first: int = 0, step: int = 1) -> Rule:
    def rule(node: GraphNode, walk: Walk) -> None:
        tensors = walk.tensors(node.inputs[first::step])
        dim = int(node.attributes.get("axis", 0))
        walk.note("cat", {"tensors": tensors, "dim": dim}, *_results(node, walk))

    return rule


def _split(node: GraphNode, walk: Walk) -> None:
    results = _results(node, walk)
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
            return _lost(node, walk)
        if any(walk.node(name) is not None for name in given):  # it depends on the image itself
            return _lost(node, walk)
    starts, ends, axes, steps = ranges
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        data = _sliced(walk, data, int(axis) % data.ndim, (int(start), int(end), int(step)))
    walk.note("clone", {"self": data}, *_results(node, walk))
    return None


def _sliced(walk: Walk, data: Tensor, axis: int, bounds: tuple[int, int, int]) -> Tensor:
    """A tensor with a range of one axis."""
    size = data.shape[axis]
    kept = range(size)[slice(*bounds)]
    shape = [*data.shape[:axis], len(kept), *data.shape[axis + 1 :]]
    if kept.step < 0:
        name = "flip" if len(kept) == size else "gather"
        return walk.note(name, {"self": data, "dims": [axis]}, walk.fresh(shape))
    arguments = {"self": data, "dim": axis, "start": kept.start, "end": kept.stop}
    return walk.note("slice", {**arguments, "step": kept.step}, walk.fresh(shape))


def _gather(node: GraphNode, walk: Walk) -> None:
    data, places = node.inputs[:2]
    axis = int(node.attributes.get("axis", 0))
    if walk.node(data) is None or walk.node(places) is not None:
        return _lost(node, walk)
    tensor, indices = walk.tensor(data), walk.tensor(places)
    dim = axis % tensor.ndim
    numbers = walk.numbers(places)
    if indices.ndim == 0 and numbers is not None:
        arguments = {"self": tensor, "dim": dim, "index": numbers[0]}
        walk.note("select", arguments, *_results(node, walk))
        return None
    walk.note("index_select", {"self": tensor, "dim": dim, "index": indices}, *_results(node, walk))
    return None


def _pad(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    pads = node.attributes.get("pads") or walk.numbers((*node.inputs, "")[1])
    axes = _axes(node, walk, 3) or list(range(data.ndim))
    if pads is None:
        return _lost(node, walk)
    around = {
        axis % data.ndim: (int(pads[i]), int(pads[i + len(axes)])) for i, axis in enumerate(axes)
    }
    amounts = [n for axis in reversed(range(data.ndim)) for n in around.get(axis, (0, 0))]
    walk.note("constant_pad_nd", {"self": data, "pad": amounts}, *_results(node, walk))
    return None


def _resize(node: GraphNode, walk: Walk) -> None:
    """Another size along some axes, which may be any."""
    data, (result, *_) = walk.tensor(node.inputs[0]), _results(node, walk)
    if data.ndim != result.ndim:
        return _lost(node, walk)
    resampled(walk, data, result)
    return None


def resampled(walk: Walk, data: Tensor, result: Tensor) -> None:
    """Note that positions are resampled along the axes whose size changes."""
    changed = [i for i in range(data.ndim) if data.shape[i] != result.shape[i]]
    if not changed:
        walk.note("clone", {"self": data}, result)
        return
    order = [i for i in range(data.ndim) if i not in changed] + changed
    moved = walk.note(
        "permute", {"self": data, "dims": order}, walk.fresh([data.shape[i] for i in order])
    )
    new = walk.note(
        f"upsample_nearest{min(len(changed), 3)}d",
        {"self": moved},
        walk.fresh([result.shape[i] for i in order]),
    )
    walk.note("permute", {"self": new, "dims": _inverse(order)}, result)


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]


def _pool(node: GraphNode, walk: Walk) -> None:
    data = walk.tensor(node.inputs[0])
    if node.attributes.get("channels_last"):
        return _lost(node, walk)
    walk.note(f"max_pool{data.ndim - 2}d", {"self": data}, *_results(node, walk))
    return None


def _attention(node: GraphNode, walk: Walk) -> None:
    query, key, value = (walk.tensor(name) for name in node.inputs[:3])
    first, *others = _results(node, walk)
    walk.note("scaled_dot_product_attention", {"query": query, "key": key, "value": value}, first)
    for other in others:
        walk.note("gather", {"self": query}, other)


def _einsum(node: GraphNode, walk: Walk) -> None:
    """A sum over letters, followed if it is a product of two matrices."""
    equation = node.attributes.get("equation", b"")
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    sides, _, result = text.replace(" ", "").partition("->")
    operands = sides.split(",")
    repeated = any(len(set(letters)) < len(letters) for letters in operands)
    if "." in text or not result or len(operands) != 2 or repeated:
        return _lost(node, walk)
    one, other = operands
    summed = [c for c in one if c in other and c not in result]
    outer = [c for c in one if c in other and c in result]
    rows, columns = ([c for c in side if c not in (*summed, *outer)] for side in (one, other))
    if len(summed) != 1 or len(rows) != 1 or len(columns) != 1:
        return _lost(node, walk)
    left = _arranged(walk, walk.tensor(node.inputs[0]), one, [*outer, *rows, *summed])
    right = _arranged(walk, walk.tensor(node.inputs[1]), other, [*outer, *summed, *columns])
    shape = [*left.shape[:-1], right.shape[-1]]
    product = walk.note("matmul", {"self": left, "other": right}, walk.fresh(shape))
    dims = [[*outer, *rows, *columns].index(letter) for letter in result]
    walk.note("permute", {"self": product, "dims": dims}, *_results(node, walk))
    return None


def _arranged(walk: Walk, data: Tensor, letters: str, wanted: Sequence[str]) -> Tensor:
    dims = [letters.index(letter) for letter in wanted]
    shape = [data.shape[dim] for dim in dims]
    return walk.note("permute", {"self": data, "dims": dims}, walk.fresh(shape))


KINDS: dict[Rule, str] = {
    _as("view", "self"): "Reshape Flatten Squeeze Unsqueeze",
    _as("clone", "self"): "Identity Cast CastLike Dropout",
    _as("dequantize", "self"): "DequantizeLinear",
    _as("expand", "self"): "Expand",
    _as("repeat", "self"): "Tile",
    _as("pixel_shuffle", "self"): "DepthToSpace",
    _as("pixel_unshuffle", "self"): "SpaceToDepth",
    _as("grid_sampler", "input", "grid"): "GridSample",
    _as("native_batch_norm", "input"): "BatchNormalization",
    _as("instance_norm", "input"): "InstanceNormalization",
    _as("native_group_norm", "input"): "GroupNormalization GroupNorm",
    _as("_native_multi_head_attention", "query"): "com.microsoft.Attention",
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
    _einsum: "Einsum",
    _constant: "Shape Size ConstantOfShape Range EyeLike RandomNormalLike RandomUniformLike",
    _lost: "GatherElements GatherND Scatter ScatterElements ScatterND NonZero NonMaxSuppression "
    "TopK Unique Compress If Loop Scan RoiAlign MaxRoiPool MaxUnpool ReverseSequence DFT STFT "
    "OneHot AffineGrid Col2Im SequenceAt ConcatFromSequence com.microsoft.NhwcFusedConv "
    "com.microsoft.QLinearConvTranspose",
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


def settings(graph: Graph) -> list[str]:
    """The tensors whose numbers must be known, and that do not depend on the image's pixels."""
    found: list[str] = []
    for node in graph.nodes:
        places = SETTINGS.get(node.kind, ())
        found += [node.inputs[i] for i in places if i < len(node.inputs) and node.inputs[i]]
    return found

"""No tensor that an ONNX graph computes is larger than a limit, as far as its constants say.

A file of a kilobyte can tile a number to a terabyte. Runtimes compute such constants when they open
the file. So the shapes are inferred first, from a copy of the graph without its weights. A size
that depends on the input, or that an operator computes in a way that shape inference does not
follow, is not known here.
"""

from __future__ import annotations

import math
from typing import Any, Final

from scorecam.backends.onnx import library
from scorecam.backends.onnx.contents import graphs, inner_graphs, sparse_tensors
from scorecam.base.wording import quoted
from scorecam.errors import ModelError

MOST_ELEMENTS: Final = 2**30
"""Of one tensor: 4 GiB in float32. The largest activation of a network for photos has a tenth."""

MOST_CONSTANT: Final = 2**28
"""Of all tensors together that follow from constants alone: 1 GiB in float32."""

SMALL: Final = 64
"""Weights of at most this many elements may state shapes. The others are left out."""

MOST_FOLLOWED: Final = 5_000_000
"""Elements of shapes that shape inference follows. It joins them without a limit of its own."""

NO_SHAPES: Final = frozenset({
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool",
    "MatMul", "MaxPool", "QLinearConv", "Relu", "Resize", "Sigmoid", "Softmax",
})  # fmt: skip
"""Operators that compute no shapes."""


def check_sizes(proto: Any) -> None:
    """Refuse a graph that computes larger tensors than the limits.

    Raises:
        ModelError: it does.
    """
    for sparse in sparse_tensors(proto):
        if math.prod(sparse.dims) > MOST_CONSTANT:
            raise _too_large(f"has a sparse tensor of the shape {quoted(list(sparse.dims))}")
    library.onnx()
    from onnx import shape_inference

    followed = _followed(proto) <= MOST_FOLLOWED
    try:
        inferred = shape_inference.infer_shapes(_without_weights(proto), data_prop=followed)
    except Exception:  # noqa: BLE001  (of several kinds; opening the model says what is wrong)
        return
    for graph in graphs(inferred):
        for value in (*graph.value_info, *graph.input, *graph.output):
            if _elements(value) > MOST_ELEMENTS:
                raise _too_large(
                    f"has the tensor {quoted(value.name)} of the shape {quoted(_shape(value))}, "
                    f"more than {MOST_ELEMENTS:,} elements"
                )
    _check_constants(inferred.graph)


def _check_constants(graph: Any) -> None:
    """Check the tensors that follow from constants: runtimes compute all of them on opening."""
    varying = {value.name for value in graph.input if value.doc_string != WEIGHT}
    for node in graph.node:
        if inner_graphs(node) or any(name in varying for name in node.input):
            varying.update(node.output)
    computed = {name for node in graph.node for name in node.output} - varying
    values = {value.name: value for value in (*graph.value_info, *graph.output)}
    total = sum(_elements(values[name]) for name in computed if name in values)
    if total > MOST_CONSTANT:
        raise _too_large(
            f"computes {total:,} elements from constants alone, more than {MOST_CONSTANT:,}"
        )


def _shape(value: Any) -> list[int | None]:
    """The sizes of a tensor, with None for those that are not known."""
    sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
    return [size if size > 0 else None for size in sizes]


def _elements(value: Any) -> int:
    """The least number of elements of a tensor."""
    return math.prod(size or 1 for size in _shape(value))


def _too_large(what: str) -> ModelError:
    return ModelError(
        f"The ONNX file {what}.",
        likely="The file may be designed to exhaust memory.",
        do="Export the network for smaller inputs or a smaller batch.",
    )


# ── the copy without weights ─────────────────────────────────────────────────────────────────

WEIGHT: Final = "weight"


def _without_weights(proto: Any) -> Any:
    """A copy in which large weights are inputs, which have a type and a shape but no content."""
    copy = type(proto)(ir_version=max(proto.ir_version, 4), opset_import=proto.opset_import)
    graph = copy.graph
    graph.name = "graph"
    for value in proto.graph.output:
        graph.output.add(name=value.name)  # a wrong type would end the inference
    own = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        if value.name not in own:
            graph.input.add(name=value.name).type.CopyFrom(value.type)
    for tensor in proto.graph.initializer:
        _add_weight(graph, tensor, tensor.name)
    for node in proto.graph.node:
        value = next((item.t for item in node.attribute if item.name == "value"), None)
        if node.op_type == "Constant" and value is not None and len(node.output) == 1:
            _add_weight(graph, value, node.output[0])
        else:
            graph.node.append(node)
    return copy


def _add_weight(graph: Any, tensor: Any, name: str) -> None:
    if math.prod(tensor.dims) <= SMALL and tensor.data_location != 1:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name
        return
    value = graph.input.add(name=name, doc_string=WEIGHT).type.tensor_type
    value.elem_type = tensor.data_type
    for size in tensor.dims:
        value.shape.dim.add(dim_value=size)


def _followed(proto: Any) -> int:
    """At most how many elements of shapes an inference follows.

    Forty nodes that join a tensor with itself would fill any memory.
    """
    lengths: dict[str, int] = {}
    for graph in graphs(proto):
        for tensor in graph.initializer:
            if math.prod(tensor.dims) <= SMALL:
                lengths[tensor.name] = SMALL
        for node in graph.node:
            if node.op_type in NO_SHAPES:
                continue
            inputs = [lengths.get(name, 0) for name in node.input]
            joins = node.op_type == "Concat" or inner_graphs(node)
            least = SMALL if node.op_type in ("Shape", "Constant") else 0
            length = sum(inputs) if joins else max(inputs, default=0)
            for name in node.output:
                lengths[name] = min(max(length, least), 2 * MOST_FOLLOWED)
    return sum(lengths.values())

"""An ONNX file's network as a graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from scorecam.backends.graphs.graph import Graph, GraphNode, GraphValue, Numbers
from scorecam.backends.onnx import library
from scorecam.backends.onnx.contents import STANDARD
from scorecam.backends.onnx.external import is_external

SMALL: Final = 1024
"""The most numbers of a constant that is a setting, such as a shape or a list of axes."""


def graph_of(proto: Any) -> Graph:
    """The graph in a model that was read and checked."""
    graph = proto.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    values: dict[str, Numbers] = {}
    for name, tensor in [*tensors.items(), *constants(graph)]:
        tensors[name] = tensor
        if is_small(tensor):
            values[name] = library.onnx().numpy_helper.to_array(tensor)
    sparse = {tensor.values.name for tensor in graph.sparse_initializer}
    return Graph(
        nodes=tuple(_node(node) for node in graph.node),
        inputs=tuple(_value(value) for value in graph.input if value.name not in tensors),
        outputs=tuple(_value(value) for value in graph.output),
        constants=values,
        weights=frozenset(tensors) | sparse,
    )


def sequences(graph: Graph) -> set[str]:
    """The names of sequences of tensors, and of what may be none."""
    return {
        name
        for node in graph.nodes
        if "Sequence" in node.kind or "Optional" in node.kind
        for name in node.outputs
    }


def is_small(tensor: Any) -> bool:
    """Whether a constant may be a setting, and its numbers are at hand."""
    return math.prod(tensor.dims) <= SMALL and not is_external(tensor)


def constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """The tensors in nodes that are constants, by the name of their output."""
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in STANDARD:
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t
                elif attribute.name.startswith("value_") and "string" not in attribute.name:
                    value = library.onnx().helper.get_attribute_value(attribute)
                    kind = np.int64 if "int" in attribute.name else np.float32
                    numbers = np.asarray(value, kind)
                    yield node.output[0], library.onnx().numpy_helper.from_array(numbers)


def _node(node: Any) -> GraphNode:
    return GraphNode(
        name=node.name,
        kind=node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}",
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={} if node.op_type == "Constant" else dict(_attributes(node)),
    )


def _attributes(node: Any) -> Iterator[tuple[str, Any]]:
    """Numbers and texts; graphs inside a node are not looked into."""
    kinds = library.onnx().AttributeProto
    plain = (kinds.FLOAT, kinds.INT, kinds.STRING, kinds.FLOATS, kinds.INTS)
    for attribute in node.attribute:
        if attribute.type in plain:
            yield attribute.name, library.onnx().helper.get_attribute_value(attribute)


def _value(value: Any) -> GraphValue:
    tensor = value.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else None
            for axis in tensor.shape.dim
        )
    return GraphValue(value.name, shape, np.dtype(dtype_of(tensor.elem_type)))


def dtype_of(kind: int) -> Any:
    """NumPy's type for one of ONNX; float32 for one that is not known."""
    try:
        return library.onnx().helper.tensor_dtype_to_np_dtype(kind)
    except KeyError:
        return np.float32

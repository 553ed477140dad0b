"""The shapes of all tensors of an ONNX graph, inferred without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scorecam.backends.graphs.graph import Shape
from scorecam.backends.onnx import library
from scorecam.backends.onnx.graph import constants, is_small


@dataclass(frozen=True)
class Inferred:
    """What could be inferred.

    Args:
        shapes: of tensors whose shape is known.
        types: of tensors, as ONNX numbers them.
    """

    shapes: dict[str, Shape]
    types: dict[str, int]


def inferred(proto: Any, inputs: Mapping[str, Shape]) -> Inferred:
    """The shapes and types of tensors, for inputs of these shapes.

    Args:
        proto: the model.
        inputs: the shape of each input.
    """
    onnx = library.onnx()
    result = onnx.shape_inference.infer_shapes(_outline(proto, inputs), data_prop=True)
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    graph = result.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type:
            types[value.name] = tensor.elem_type
        known = tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)
        if known:
            shapes[value.name] = tuple(axis.dim_value for axis in tensor.shape.dim)
    for tensor in graph.initializer:
        shapes[tensor.name], types[tensor.name] = tuple(tensor.dims), tensor.data_type
    return Inferred(shapes, types)


def _outline(proto: Any, inputs: Mapping[str, Shape]) -> Any:
    """The model without its large constants, and with inputs of these shapes."""
    onnx = library.onnx()
    large: dict[str, Any] = {}
    model = onnx.ModelProto(ir_version=proto.ir_version)
    model.opset_import.extend(proto.opset_import)
    graph = model.graph
    graph.name = proto.graph.name or "outline"
    for tensor in proto.graph.initializer:
        if is_small(tensor):
            graph.initializer.append(tensor)
        else:
            large[tensor.name] = tensor
    large.update((name, t) for name, t in constants(proto.graph) if not is_small(t))
    for node in proto.graph.node:
        if not (node.op_type == "Constant" and node.output[0] in large):
            graph.node.append(node)
    for value in proto.graph.input:
        if value.name in inputs:
            kind = value.type.tensor_type.elem_type
            graph.input.append(
                onnx.helper.make_tensor_value_info(value.name, kind, inputs[value.name])
            )
    for name, tensor in large.items():
        graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    for value in proto.graph.output:  # without the shape, which may be of other inputs
        graph.output.append(onnx.ValueInfoProto(name=value.name))
    return model

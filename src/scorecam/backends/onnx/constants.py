"""The weights of an ONNX graph, which are constants, and copies of it with other weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from scorecam.backends.graphs.graph import Graph, Numbers
from scorecam.backends.graphs.program import Weight
from scorecam.backends.onnx import library
from scorecam.backends.onnx.graph import constants
from scorecam.backends.onnx.reading import OnnxFile

PLACES: dict[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1,),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (0, 3),
    "com.microsoft.QGemm": (3, 6),
    "com.microsoft.FusedConv": (1, 2),
    "BatchNormalization": (1, 2, 3, 4),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
}
"""For each operation with weights, the inputs that may be weights."""


def weights(graph: Graph) -> Iterator[Weight]:
    """The weights, in the order in which they are used; each once."""
    seen: set[str] = set()
    for node in graph.nodes:
        if node.outputs[:1] and node.outputs[0] in graph.computed:
            for place in PLACES.get(node.kind, ()):
                name = _source(graph, node.inputs[place]) if place < len(node.inputs) else None
                if name and name not in seen:
                    seen.add(name)
                    yield Weight(graph.labels[node.outputs[0]], name)


def _source(graph: Graph, tensor: str) -> str | None:
    """The constant behind a tensor that is dequantised, cast or moved; None if it is computed."""
    while tensor and tensor not in graph.computed:
        if tensor in graph.weights:
            return tensor
        maker = graph.makers.get(tensor)
        tensor = maker.inputs[0] if maker and maker.inputs else ""
    return None


def changed(file: OnnxFile, names: Sequence[str], change: Callable[[Numbers], Numbers]) -> OnnxFile:
    """A copy of a model with other numbers in some of its constants."""
    onnx = library.onnx()
    proto = onnx.ModelProto()
    proto.CopyFrom(file.proto)
    wanted = set(names)
    for name, tensor in _tensors(proto.graph):
        if name in wanted:
            numbers = onnx.numpy_helper.to_array(tensor, base_dir=str(file.folder))
            new = onnx.numpy_helper.from_array(change(numbers), tensor.name)
            new.data_type = tensor.data_type
            tensor.CopyFrom(new)
    return dataclasses.replace(file, proto=proto)


def tensors_of(graph: Any) -> dict[str, Any]:
    """The constants of a graph, by name."""
    return dict(_tensors(graph))


def _tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    yield from constants(graph)

"""Integers in quantised networks, and the scales that turn them into real numbers."""

from __future__ import annotations

from typing import Any

from scorecam.backends.graphs.graph import Graph

PLACES: dict[str, tuple[int, int]] = {
    "QLinearConv": (6, 7),
    "QLinearMatMul": (6, 7),
    "com.microsoft.QLinearAdd": (6, 7),
    "com.microsoft.QLinearMul": (6, 7),
    "com.microsoft.QGemm": (7, 8),
    "com.microsoft.QLinearAveragePool": (3, 4),
    "com.microsoft.QLinearGlobalAveragePool": (3, 4),
    "com.microsoft.QLinearLeakyRelu": (3, 4),
    "com.microsoft.QLinearSigmoid": (3, 4),
    "com.microsoft.QLinearSoftmax": (3, 4),
    "com.microsoft.QLinearConcat": (0, 1),
}
"""For each operation with integers as its result: which of its inputs are its scale and zero."""

KINDS = frozenset({"DequantizeLinear", "ConvInteger", "MatMulInteger", *PLACES})

HALF = 10
"""ONNX's type float16."""


def scales(graph: Graph) -> dict[str, tuple[str, str]]:
    """The integers that can be read as real numbers: the names of their scale and their zero."""
    found: dict[str, tuple[str, str]] = {}
    for node in graph.nodes:
        places = PLACES.get(node.kind)
        if places and max(places) < len(node.inputs) and node.outputs:
            scale, zero = (node.inputs[place] for place in places)
            found[node.outputs[0]] = scale, zero
    return found


def precision(proto: Any) -> str:
    """The numbers that a network computes with: "int8", "float16" or "float32"."""
    kinds = {kind.rpartition(".")[2] for kind in KINDS}
    if any(node.op_type in kinds for node in proto.graph.node):
        return "int8"
    halves = sum(tensor.data_type == HALF for tensor in proto.graph.initializer)
    return "float16" if 2 * halves > len(proto.graph.initializer) else "float32"

"""A classifier's last layer in an ONNX graph: a matrix with one row or column per class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorecam.backends.graphs.graph import Graph, GraphNode, Numbers
from scorecam.backends.onnx import library
from scorecam.backends.onnx.constants import tensors_of
from scorecam.backends.onnx.reading import OnnxFile

AFTER = frozenset(
    {
        *("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Add", "com.microsoft.QLinearAdd"),
        *("QuantizeLinear", "DequantizeLinear"),
    }
)
"""Operations that may follow the last layer; what is added may only be a constant."""

WEIGHTS = {"Gemm": 1, "MatMul": 1, "Conv": 1}
"""The operations on real numbers that may be the last layer, and the place of their weights."""

INTEGERS = {"com.microsoft.QGemm": 3, "QLinearMatMul": 3, "QLinearConv": 3, "DequantizeLinear": 0}
"""The place of the integers in operations that read them with a scale and a zero."""

PLACES = WEIGHTS | INTEGERS


@dataclass(frozen=True, eq=False)
class LastLayer:
    """The weights of the last layer.

    Args:
        tensor: the constant that holds them.
        classes: the axis of its classes.
        zero: the constant that stands for zero in integers; empty if there is none.
        weights: as real numbers, `n k`.
    """

    tensor: str
    classes: int
    zero: str
    weights: Numbers


def last_layer(file: OnnxFile, graph: Graph, scores: str) -> LastLayer | None:
    """The last layer that the scores come from; None if they come from another operation.

    The caller has to check that its input is the mean of the activations.
    """
    node = _last(graph, scores)
    if node is None:
        return None
    tensor = node.inputs[PLACES[node.kind]]
    transposed = node.kind.endswith("Conv") or bool(node.attributes.get("transB", 0))
    classes = 0 if transposed else 1
    scale, zero = _scale_of(node) if node.kind in INTEGERS else ("", "")
    while (maker := graph.makers.get(tensor)) is not None and maker.inputs:
        if maker.kind == "DequantizeLinear":
            scale, zero = _scale_of(maker)
        elif maker.kind == "Transpose":
            classes = 1 - classes
        elif maker.kind not in ("Identity", "Cast"):
            return None
        tensor = maker.inputs[0]
    constants = tensors_of(file.proto.graph)
    if any(name and name not in constants for name in (tensor, scale, zero)):
        return None
    values = {
        name: library.onnx().numpy_helper.to_array(constants[name], base_dir=str(file.folder))
        for name in {tensor, scale, zero} - {""}
    }
    return _read(tensor, classes, scale, zero, values=values)


def _last(graph: Graph, scores: str) -> GraphNode | None:
    """The operation with the weights, behind a bias that is added and changes of form."""
    tensor = scores
    while (node := graph.makers.get(tensor)) is not None:
        if node.kind in PLACES and node.kind != "DequantizeLinear":
            return node if node.attributes.get("alpha", 1.0) > 0 else None
        computed = [name for name in node.inputs if name in graph.computed]
        if len(computed) != 1 or node.kind not in AFTER:
            return None
        tensor = computed[0]
    return None


def _scale_of(node: GraphNode) -> tuple[str, str]:
    """The constants that integers are read with: their scale and their zero."""
    place = INTEGERS[node.kind]
    _, scale, *zero = node.inputs[place : place + 3]
    return scale, zero[0] if zero else ""


def _read(
    tensor: str, classes: int, scale: str, zero: str, *, values: dict[str, Numbers]
) -> LastLayer | None:
    """The weights as real numbers; None if they have another form than a matrix."""
    stored = values[tensor]
    matrix = np.moveaxis(stored, classes, 0) if stored.ndim > 1 else stored
    if matrix.ndim < 2 or matrix.size != len(matrix) * matrix.shape[1]:
        return None
    matrix = matrix.reshape(len(matrix), -1).astype(np.float32)
    for name, change in ((zero, np.subtract), (scale, np.multiply)):
        if name:
            each = values[name].astype(np.float32)
            if each.size not in (1, len(matrix)) or each.ndim > 1:
                return None
            matrix = change(matrix, each.reshape(-1, 1))
    return LastLayer(tensor, classes, zero, matrix)

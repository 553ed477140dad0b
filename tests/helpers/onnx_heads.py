"""Tiny ONNX classifiers: one convolution, a mean, and a last layer of several kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS, CLASSES, SIZE = 5, 3, 16


def weights(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "kernel": random.normal(size=(CHANNELS, 3, 4, 4)),
        "rows": random.normal(size=(CLASSES, CHANNELS)),
        "bias": random.normal(size=CLASSES),
        "hidden": random.normal(size=(CHANNELS, CHANNELS)),
    }


def classifier(
    path: Path,
    head: str = "gemm",
    *,
    half: bool = False,
    batch: int | str = "b",
    opset: int = 17,
    output: str = "scores",
) -> Path:
    """Write a network: images `b 3 16 16`, activations "maps" `b 5 4 4`, scores `b 3`.

    Args:
        path: of the file.
        head: "gemm", "matmul", "conv", or "hidden", which has a layer more after the mean; "last"
            and "tokens" have the maps again as "turned", `b 4 4 5` and `b 16 5`.
        half: whether it computes in float16.
        batch: the size of the batch, or its name.
        opset: version of the operators.
        output: the name of the scores.
    """
    node = helper.make_node
    real = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    values = {name: value.astype(np.float32) for name, value in weights().items()}
    values["columns"] = values["rows"].T.copy()
    values["cells"] = values["rows"][:, :, None, None]
    nodes = [
        node("Cast", ["image"], ["input"], to=real),
        node("Conv", ["input", "kernel"], ["convolved"], strides=[4, 4]),
        node("Relu", ["convolved"], ["maps"]),
    ]
    if head == "last":
        nodes += [
            node("Transpose", ["maps"], ["moved"], perm=[0, 2, 3, 1]),
            node("Relu", ["moved"], ["turned"]),
            node("ReduceMean", ["turned"], ["means"], axes=[1, 2], keepdims=0),
        ]
    elif head == "tokens":
        nodes += [
            node("Reshape", ["maps", "flat"], ["row"]),
            node("Transpose", ["row"], ["moved"], perm=[0, 2, 1]),
            node("Relu", ["moved"], ["turned"]),
            node("ReduceMean", ["turned"], ["means"], axes=[1], keepdims=0),
        ]
    else:
        nodes += [
            node("GlobalAveragePool", ["maps"], ["pooled"]),
            node("Flatten", ["pooled"], ["means"]),
        ]
    if head in ("gemm", "last", "tokens"):
        nodes.append(node("Gemm", ["means", "rows", "bias"], ["last"], transB=1))
    elif head == "matmul":
        nodes += [
            node("MatMul", ["means", "columns"], ["product"]),
            node("Add", ["product", "bias"], ["last"]),
        ]
    elif head == "conv":
        nodes += [
            node("Conv", ["pooled", "cells", "bias"], ["single"]),
            node("Flatten", ["single"], ["last"]),
        ]
    else:
        nodes += [
            node("MatMul", ["means", "hidden"], ["mixed"]),
            node("Relu", ["mixed"], ["active"]),
            node("Gemm", ["active", "rows", "bias"], ["last"], transB=1),
        ]
    nodes.append(node("Cast", ["last"], [output], to=TensorProto.FLOAT))
    used = {name for each in nodes for name in each.input}
    kind = np.float16 if half else np.float32
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(v.astype(kind), n) for n, v in values.items() if n in used]
        + [numpy_helper.from_array(np.array([0, CHANNELS, -1]), "flat")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path

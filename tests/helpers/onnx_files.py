"""Small ONNX files, made in code: valid ones, and parts to damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIDE = 8
CLASSES = 3
FLOAT = TensorProto.FLOAT


def value(name: str, shape: Sequence[int | str] | None, kind: int = FLOAT) -> Any:
    """An input or an output."""
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name: str, array: Any) -> Any:
    return numpy_helper.from_array(np.asarray(array), name)


def model(
    nodes: Sequence[Any],
    weights: Sequence[Any] = (),
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    **options: Any,
) -> Any:
    """A model from `x`, a batch of images, to `y`, unless other inputs and outputs are given."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        list(inputs) or [value("x", ["batch", 3, SIDE, SIDE])],
        list(outputs) or [value("y", None)],
        list(weights),
    )
    options.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(graph, ir_version=8, **options)


def classifier(seed: int = 0) -> Any:
    """A convolution, ReLU, the mean of each channel, and a linear head."""
    numbers = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["maps"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["maps"], ["active"], name="relu"),
        helper.make_node("GlobalAveragePool", ["active"], ["means"], name="pool"),
        helper.make_node("Flatten", ["means"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "head"], ["y"], name="linear"),
    ]
    weights = [
        weight("kernel", numbers.normal(size=(4, 3, 3, 3)).astype(np.float32)),
        weight("bias", np.zeros(4, np.float32)),
        weight("head", numbers.normal(size=(4, CLASSES)).astype(np.float32)),
    ]
    made = model(nodes, weights, outputs=[value("y", ["batch", CLASSES])])
    helper.set_model_props(made, {"names": "{0: 'tabby', 1: 'lynx', 2: 'puma'}"})
    return made


def relu(**options: Any) -> Any:
    """The smallest network."""
    return model([helper.make_node("Relu", ["x"], ["y"])], **options)


def branches() -> Any:
    """A network with two graphs in a node, and a shape computed from constants."""
    side = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["one"])], "then", [], [value("one", None)]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["two"])], "else", [], [value("two", None)]
    )
    nodes = [
        helper.make_node("Constant", [], ["flag"], value=weight("", np.bool_(1))),
        helper.make_node("If", ["flag"], ["chosen"], then_branch=side, else_branch=other),
        helper.make_node("Concat", ["rows", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["chosen", "shape"], ["y"]),
    ]
    return model(nodes, [weight("rows", np.array([0])), weight("rest", np.array([-1]))])


def external(entries: Mapping[str, str], shape: Sequence[int] = (4, CLASSES)) -> Any:
    """The classifier with the weights of its head in another file."""
    made = classifier()
    head = made.graph.initializer[2]
    head.Clear()
    head.name, head.data_type, head.data_location = "head", FLOAT, TensorProto.EXTERNAL
    head.dims.extend(shape)
    for key, text in entries.items():
        head.external_data.add(key=key, value=text)
    return made


def save(made: Any, file: Path) -> Path:
    """Write a model as it is, without checks."""
    file.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return file


def function(name: str, calls: Sequence[str], opset: int = 17) -> Any:
    """A function of the domain "own" that calls others of it, or operators of ONNX in capitals."""
    names = ["a", *(f"t{i}" for i in range(len(calls) - 1)), "b"]
    nodes = [
        helper.make_node(
            call, [names[i]], [names[i + 1]], domain="" if call[0].isupper() else "own"
        )
        for i, call in enumerate(calls)
    ]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def with_functions(*functions: Any) -> Any:
    """A network that calls the function `first`."""
    return model(
        [helper.make_node("first", ["x"], ["y"], domain="own")],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        functions=list(functions),
    )


def quantised() -> Any:
    """A network whose weight is int8, with its scale."""
    nodes = [
        helper.make_node("DequantizeLinear", ["packed", "scale"], ["kernel"]),
        helper.make_node("Conv", ["x", "kernel"], ["y"]),
    ]
    packed = np.arange(12, dtype=np.int8).reshape(4, 3, 1, 1)
    return model(nodes, [weight("packed", packed), weight("scale", np.float32(0.1))])


def valid() -> list[bytes]:
    """The contents of valid files of every kind above."""
    made = [
        classifier(),
        relu(),
        branches(),
        quantised(),
        with_functions(function("first", ["second", "second"]), function("second", ["Relu"])),
    ]
    return [one.SerializeToString() for one in made]

"""Models of OpenVINO as stored files, without the weights that the network has itself.

The format is OpenVINO's own, which it also reads from users. A constant whose numbers are those of
one of the network's weights becomes an input of the stored model, and a constant again on loading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from scorecam.backends.runtimes.stored import Content

AT_ONCE = 1 << 16
"""Numbers that are compared at once."""

SMALL = 1 << 14
"""Constants of fewer bytes are stored: operations may need them to know their shapes."""


def size(model: Any) -> int:
    """The bytes of a model's constants."""
    return sum(constant.get_byte_size() for constant in _constants(model))


def write(
    openvino: Any, model: Any, weights: Mapping[str, Tensor], path: Path
) -> tuple[bytes, Sequence[str]]:
    """Write a model's constants, as far as they are not weights of the network.

    Args:
        openvino: the module.
        model: as it was converted; it is not changed.
        weights: of the network, by name.
        path: where to write them.

    Returns:
        The graph, and the names of the weights that are its inputs, after the images.
    """
    own = model.clone()
    live = _detach(openvino, own, weights)
    own.validate_nodes_and_infer_types()
    graph = path.with_suffix(".xml")
    openvino.serialize(own, str(graph), str(path))
    return graph.read_bytes(), live


def _detach(openvino: Any, model: Any, weights: Mapping[str, Tensor]) -> list[str]:
    """Make inputs of the constants that are weights of the network; returns their names."""
    known: dict[tuple[int, ...], list[tuple[str, np.ndarray]]] = {}
    for name, weight in weights.items():
        if weight.nbytes >= SMALL:
            known.setdefault(tuple(weight.shape), []).append((name, _numbers(weight)))
    live: list[str] = []
    for constant in _constants(model):
        if constant.get_byte_size() < SMALL:
            continue
        numbers = constant.data
        names = (
            name
            for name, own in known.get(tuple(numbers.shape), [])
            if own.dtype == numbers.dtype and _same_bits(own, numbers)
        )
        if (name := next(names, None)) is not None:
            kind = constant.get_output_element_type(0)
            weight = openvino.opset13.parameter(numbers.shape, kind)
            constant.output(0).replace(weight.output(0))
            model.add_parameters([weight])
            live.append(name)
    return live


def read(openvino: Any, content: Content, weights: Mapping[str, Tensor]) -> tuple[Any, object]:
    """The model, which uses the network's own weights where it was stored without them.

    Returns:
        The model, and the memory that it uses. OpenVINO does not keep this memory alive.

    Raises:
        KeyError, RuntimeError, ValueError: it does not fit the network, or is damaged.
    """
    stored = np.frombuffer(content.weights or bytearray(1), np.uint8)
    numbers = openvino.Tensor(stored, shared_memory=True)
    model = openvino.Core().read_model(content.graph, numbers)
    inputs, memory = model.get_parameters(), [stored]
    if len(inputs) != 1 + len(content.live):
        raise ValueError("it has other inputs")
    for weight, name in zip(inputs[1:], content.live, strict=True):
        own = _numbers(weights[name])
        if tuple(weight.get_output_shape(0)) != own.shape:
            raise ValueError("a weight has another shape")
        constant = openvino.opset13.constant(own, shared_memory=True)
        if constant.get_output_element_type(0) != weight.get_output_element_type(0):
            raise ValueError("a weight has another type")
        weight.output(0).replace(constant.output(0))
        model.remove_parameter(weight)
        memory.append(own)
    model.validate_nodes_and_infer_types()
    return model, memory


def _constants(model: Any) -> list[Any]:
    return [node for node in model.get_ops() if node.get_type_name() == "Constant"]


def _numbers(weight: Tensor) -> np.ndarray:
    return weight.detach().numpy()


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays of one shape and type are equal. Large ones mostly differ early."""
    bits = np.dtype(f"u{one.itemsize}")
    left, right = one.reshape(-1).view(bits), other.reshape(-1).view(bits)
    return all(
        np.array_equal(left[start : start + AT_ONCE], right[start : start + AT_ONCE])
        for start in range(0, one.size, AT_ONCE)
    )

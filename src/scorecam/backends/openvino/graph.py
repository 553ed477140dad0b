"""An OpenVINO model as a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scorecam.backends.graphs.graph import Graph, GraphNode, GraphValue, Numbers, Shape
from scorecam.backends.runtimes.openvino import load

SMALL: Final = 1024
"""The most numbers of a constant that is a setting, such as a shape or a list of axes."""

NO_NODES: Final = ("Constant", "Parameter", "Result")

Place = tuple[int, int]
"""A tensor: the position of its operation in `get_ordered_ops`, and its place in the results."""


@dataclass(frozen=True, eq=False)
class Described:
    """A graph, and where its tensors are in the model.

    Args:
        graph: with the names.
        places: of all tensors, by name.
    """

    graph: Graph
    places: dict[str, Place]


def described(model: Any, *, has_names: bool) -> Described:
    """The graph of a model.

    Args:
        model: of OpenVINO.
        has_names: whether the file names all operations. OpenVINO numbers the others, differently
            every time it reads the file, so those are named by type and position here.
    """
    operations = model.get_ordered_ops()
    names = _names(operations, has_names=has_names)
    positions = {operation.get_name(): i for i, operation in enumerate(operations)}

    def source(taken: Any) -> str:
        output = taken.get_source_output()
        return names[positions[output.get_node().get_name()], output.get_index()]

    nodes: list[GraphNode] = []
    constants: dict[str, Numbers] = {}
    weights: set[str] = set()
    for i, operation in enumerate(operations):
        kind = operation.get_type_name()
        if kind == "Constant":
            weights.add(names[i, 0])
            if (numbers := small_constant(operation)) is not None:
                constants[names[i, 0]] = numbers
        if kind not in NO_NODES:
            outputs = tuple(names[i, port] for port in range(operation.get_output_size()))
            name = operation.get_friendly_name() if has_names else outputs[0]
            inputs = tuple(map(source, operation.inputs()))
            attributes = operation.get_attributes()
            nodes.append(GraphNode(name, kind, inputs, outputs, attributes=attributes))
    parameters = [node.output(0) for node in model.get_parameters()]
    inputs = [(names[positions[each.get_node().get_name()], 0], each) for each in parameters]
    results = {source(node.input(0)): node.output(0) for node in model.get_results()}
    graph = Graph(
        nodes=tuple(nodes),
        inputs=tuple(value(name, output) for name, output in inputs),
        outputs=tuple(value(name, output) for name, output in results.items()),
        constants=constants,
        weights=frozenset(weights),
    )
    return Described(graph, {name: place for place, name in names.items()})


def _names(operations: Any, *, has_names: bool) -> dict[Place, str]:
    """A name for every tensor; no two are the same."""
    found: dict[Place, str] = {}
    for place, output in _outputs(operations):
        if given := min(output.get_names(), default=""):
            found[place] = given
    taken = Counter(found.values())
    kinds: Counter[str] = Counter()
    for (i, port), _ in _outputs(operations):
        operation = operations[i]
        kinds[operation.get_type_name()] += port == 0
        if (i, port) not in found or taken[found[i, port]] > 1:
            number = kinds[operation.get_type_name()]
            name = f"{operation.get_type_name()}_{number}"
            if has_names:
                name = operation.get_friendly_name() or name
            if operation.get_output_size() > 1:
                name = f"{name}.{port}"
            while taken[name]:
                name = f"{name}.{number}"
            found[i, port] = name
            taken[name] += 1
    return found


def _outputs(operations: Any) -> Iterator[tuple[Place, Any]]:
    for i, operation in enumerate(operations):
        if operation.get_type_name() != "Result":
            for port, output in enumerate(operation.outputs()):
                yield (i, port), output


def small_constant(operation: Any) -> Numbers | None:
    """The numbers of a constant; None for one that is large, or of a type that NumPy lacks."""
    count = int(np.prod(operation.get_output_shape(0), dtype=np.int64))
    kind = dtype_of(operation.get_output_element_type(0))
    return np.array(operation.data) if count <= SMALL and kind is not None else None


def value(name: str, output: Any) -> GraphValue:
    """An input or an output of the graph."""
    dtype = dtype_of(output.get_element_type())
    return GraphValue(name, sizes(output), np.dtype(np.float32) if dtype is None else dtype)


def sizes(output: Any) -> tuple[int | None, ...] | None:
    """The shape of a tensor, with None for what is not known."""
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    return tuple(axis.get_length() if axis.is_static else None for axis in shape)


def known_shape(output: Any) -> Shape | None:
    """The shape of a tensor; None if it is not known."""
    shape = output.get_partial_shape()
    return tuple(int(size) for size in shape.to_shape()) if shape.is_static else None


def dtype_of(kind: Any) -> np.dtype[Any] | None:
    """NumPy's type for one of OpenVINO; None for types that NumPy lacks."""
    if kind.get_type_name() in ("bf16", "u1", "u2", "u3", "u4", "u6", "i4", "nf4", "string"):
        return None
    try:
        return np.dtype(kind.to_dtype())
    except (RuntimeError, TypeError):
        return None


FLOATS: Final = ("f16", "f32", "f64", "bf16")


def is_real(output: Any) -> bool:
    """Whether a tensor holds real numbers."""
    return output.get_element_type().get_type_name() in FLOATS


def reshaped(model: Any, shapes: Sequence[Sequence[int]]) -> Any:
    """A copy of a model with inputs of these shapes, -1 for an axis of any size.

    `Model.reshape` would also replace operations, so that a tensor is no longer at its place.

    Raises:
        RuntimeError: the network does not take such inputs.
    """
    copy = model.clone()
    for parameter, shape in zip(copy.get_parameters(), shapes, strict=True):
        parameter.set_partial_shape(load().PartialShape(list(shape)))
    copy.validate_nodes_and_infer_types()
    return copy

"""The weights of an OpenVINO model, which are constants, and copies of it with other weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from scorecam.backends.graphs.graph import Graph, GraphNode, Numbers
from scorecam.backends.graphs.program import Weight
from scorecam.backends.openvino.graph import Described, dtype_of
from scorecam.backends.runtimes.openvino import load

PLACES: dict[str, tuple[int, ...]] = {
    "Convolution": (1,),
    "GroupConvolution": (1,),
    "BinaryConvolution": (1,),
    "ConvolutionBackpropData": (1,),
    "GroupConvolutionBackpropData": (1,),
    "DeformableConvolution": (2,),
    "MatMul": (0, 1),
    "BatchNormInference": (1, 2, 3, 4),
    "LSTMSequence": (4, 5, 6),
    "GRUSequence": (3, 4, 5),
    "RNNSequence": (3, 4, 5),
}
"""For each operation with weights, the inputs that may be weights."""

SUMS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
"""Operations whose bias is in an addition after them."""


def weights(graph: Graph) -> Iterator[Weight]:
    """The weights, in the order in which they are used; each once."""
    seen: set[str] = set()
    for node in graph.nodes:
        if node.outputs[0] in graph.computed:
            stage, tensors = _candidates(graph, node)
            for tensor in tensors:
                name = _source(graph, tensor)
                if name and name not in seen:
                    seen.add(name)
                    yield Weight(graph.labels[stage.outputs[0]], name)


def _candidates(graph: Graph, node: GraphNode) -> tuple[GraphNode, list[str]]:
    """The inputs of a node that may be weights, and the node that they belong to."""
    if node.kind == "Add":
        makers = [graph.makers.get(name) for name in node.inputs]
        sums = [maker for maker in makers if maker and maker.kind in SUMS]
        return (sums[0], list(node.inputs)) if len(sums) == 1 else (node, [])
    return node, [node.inputs[i] for i in PLACES.get(node.kind, ()) if i < len(node.inputs)]


def _source(graph: Graph, tensor: str) -> str | None:
    """The constant behind a tensor that is scaled, converted or moved; None if it is computed."""
    while tensor not in graph.computed:
        if tensor in graph.weights:
            return tensor
        maker = graph.makers.get(tensor)
        if maker is None:
            return None
        tensor = maker.inputs[0]
    return None


def changed(
    model: Any, described: Described, names: Sequence[str], change: Callable[[Numbers], Numbers]
) -> Any:
    """A copy of a model with other numbers in some of its constants."""
    openvino = load()
    copy = model.clone()
    operations = copy.get_ordered_ops()
    for name in names:
        old = operations[described.places[name][0]]
        kind = dtype_of(old.get_output_element_type(0))
        if kind is None:
            continue
        numbers = np.ascontiguousarray(change(np.array(old.data))).astype(kind)
        new = openvino.op.Constant(numbers)
        new.set_friendly_name(old.get_friendly_name())
        new.output(0).set_names(old.output(0).get_names())
        old.output(0).replace(new.output(0))
    copy.validate_nodes_and_infer_types()
    return copy

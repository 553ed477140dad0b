"""The parts of a parsed ONNX file: all graphs, nodes and tensors in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def graphs(proto: Any) -> Iterator[Any]:
    """The graph of the model, the bodies of its functions, and every graph inside a node."""
    waiting = [proto.graph, *proto.functions]
    for info in proto.training_info:
        waiting += [info.initialization, info.algorithm]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            waiting += inner_graphs(node)


def inner_graphs(node: Any) -> list[Any]:
    """The graphs in the attributes of a node, such as the branches of an If."""
    found: list[Any] = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found.append(attribute.g)
        found += attribute.graphs
    return found


def tensors(proto: Any) -> Iterator[Any]:
    """Every tensor: weights and constants, and the parts of sparse ones."""
    for graph in graphs(proto):
        if hasattr(graph, "initializer"):  # a function has none
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from _in_attribute(attribute)
        for attribute in getattr(graph, "attribute_proto", ()):
            yield from _in_attribute(attribute)


def _in_attribute(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = list(attribute.sparse_tensors)
    if attribute.HasField("sparse_tensor"):
        sparse.append(attribute.sparse_tensor)
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)

"""The parts of a parsed ONNX file: all graphs, nodes and tensors in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

STANDARD: Final = ("", "ai.onnx")
"""The names of the domain of ONNX's own operators."""


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
        yield from getattr(graph, "initializer", ())  # a function has none
        for attribute in _attributes(graph):
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
    for sparse in sparse_tensors(proto):
        yield from (sparse.values, sparse.indices)


def sparse_tensors(proto: Any) -> Iterator[Any]:
    """Every sparse tensor. Runtimes turn them into dense ones."""
    for graph in graphs(proto):
        yield from getattr(graph, "sparse_initializer", ())
        for attribute in _attributes(graph):
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor
            yield from attribute.sparse_tensors


def _attributes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield from node.attribute
    yield from getattr(graph, "attribute_proto", ())

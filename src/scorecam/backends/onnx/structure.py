"""The nodes of an ONNX graph are in order, and each tensor is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from scorecam.backends.onnx.contents import graphs, inner_graphs
from scorecam.base.wording import quoted
from scorecam.errors import ModelError

LONGEST_NAME: Final = 4096
DEEPEST: Final = 20
"""Of graphs in nodes of graphs. Protocol Buffers allow about thirty."""


def check_structure(proto: Any) -> None:
    """Refuse cycles, unknown and repeated names, and names without end.

    Raises:
        ModelError: there is one.
    """
    for graph in graphs(proto):
        for name in _names(graph):
            if len(name) > LONGEST_NAME:
                raise _damaged(f"has a name of {len(name):,} characters: {quoted(name)}")
    _check_graph(proto.graph, ())


def _names(graph: Any) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.output, *graph.initializer))
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)


def _check_graph(graph: Any, outside: tuple[set[str], ...]) -> None:
    """Check one graph; `outside` are the tensors of the graphs that contain it."""
    if len(outside) > DEEPEST:
        raise _damaged(f"has graphs inside graphs, more than {DEEPEST} deep")
    weights = [tensor.name for tensor in graph.initializer]
    weights += [sparse.values.name for sparse in graph.sparse_initializer]
    inputs = [value.name for value in graph.input]
    if twice := _repeated(weights) or _repeated(inputs):
        raise _damaged(f"has two tensors with the name {quoted(twice)}")
    known = {*weights, *inputs}
    scopes = (*outside, known)
    for node in graph.node:
        _check_node(node, graph, scopes)
        for name in filter(None, node.output):
            if name in known:
                raise _damaged(f"computes the tensor {quoted(name)} twice")
            known.add(name)
    for value in graph.output:
        if not _has(scopes, value.name):
            raise _damaged(f"has the output {quoted(value.name)}, which no node computes")


def _check_node(node: Any, graph: Any, scopes: tuple[set[str], ...]) -> None:
    for name in node.input:
        if name and not _has(scopes, name):
            later = any(name in other.output for other in graph.node)
            what = "which is computed only after it" if later else "which nothing computes"
            called = quoted(node.name or node.op_type)
            raise _damaged(f"has a node {called} that uses {quoted(name)}, {what}")
    for inner in inner_graphs(node):
        _check_graph(inner, scopes)


def _has(scopes: tuple[set[str], ...], name: str) -> bool:
    return any(name in scope for scope in scopes)


def _repeated(names: list[str]) -> str:
    """A name that occurs twice; empty if there is none."""
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            return name
        seen.add(name)
    return ""


def _damaged(what: str) -> ModelError:
    return ModelError(
        f"The ONNX file {what}.",
        likely="The file is damaged, or was edited and its nodes were not sorted.",
        do="Export the network again, and check it with onnx.checker.check_model.",
    )

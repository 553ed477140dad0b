"""The order of the nodes of an ONNX graph.

Nodes have to be sorted, but some tools append theirs at the end, such as the converter to float16
that comes with ONNX Runtime. ONNX Runtime sorts them itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from scorecam.backends.onnx.contents import graphs, inner_graphs


def sort_nodes(proto: Any) -> None:
    """Sort the nodes of all graphs, in their present order as far as possible.

    Nodes that wait for each other stay behind the others; `check_structure` refuses them.
    """
    for graph in graphs(proto):
        order = _order(graph)
        if order != sorted(order):
            nodes = [graph.node[i] for i in order]
            copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
            del graph.node[:]
            graph.node.extend(copies)


def _order(graph: Any) -> list[int]:
    """The numbers of the nodes, each after those that compute its inputs."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    waits: list[int] = []
    readers: dict[int, list[int]] = {}
    for i, node in enumerate(graph.node):
        sources = {makers[name] for name in _read(node) if name in makers} - {i}
        waits.append(len(sources))
        for source in sources:
            readers.setdefault(source, []).append(i)
    ready = [i for i, count in enumerate(waits) if count == 0]
    found: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        found.append(i)
        for reader in readers.get(i, ()):
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    return found + [i for i, count in enumerate(waits) if count]


def _read(node: Any) -> Iterator[str]:
    """The tensors that a node reads, those of the graphs inside it included."""
    yield from node.input
    for graph in inner_graphs(node):
        for inner in graph.node:
            yield from _read(inner)

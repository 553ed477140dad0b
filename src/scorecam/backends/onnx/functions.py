"""Functions that an ONNX file defines itself are replaced by their nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from scorecam.backends.onnx import library
from scorecam.backends.onnx.contents import inner_graphs
from scorecam.base.wording import quoted, reason
from scorecam.errors import ModelError

ROOM: Final = 2**24
"""Bytes that a graph may grow by, in addition to its own size, when functions are expanded."""

NODE: Final = 80
"""Bytes of memory that a node takes in addition to those in the file."""

Key = tuple[str, str]


def without_functions(proto: Any) -> Any:
    """The model with the nodes of its functions in place of the calls; as it is if it has none.

    Raises:
        ModelError: a function calls itself, or the graph becomes too large.
    """
    if not proto.functions:
        return proto
    bodies: dict[Key, Any] = {}
    for function in proto.functions:
        if (function.domain, function.name) in bodies or function.overload:
            raise _refused(f"defines the function {quoted(function.name)} twice")
        bodies[function.domain, function.name] = function
    sizes: dict[Key, int] = {}
    for key in bodies:
        _measure(key, bodies, sizes)
    most = ROOM + 2 * proto.ByteSize()
    if _expanded(proto.graph, sizes) > most:
        raise _refused(f"takes more than {most:,} bytes once its functions are expanded")
    library.onnx()
    from onnx import inliner

    try:
        inlined = inliner.inline_local_functions(proto)
    except Exception as error:  # onnx has several kinds that are no RuntimeError
        raise _refused(f"has functions that cannot be expanded: {reason(error)}") from error
    if left := bodies.keys() & set(_calls(inlined.graph)):
        name = quoted(min(left)[1])
        raise _refused(f"has the function {name}, which uses another opset than the graph")
    del inlined.functions[:]
    return inlined


def _measure(start: Key, bodies: Mapping[Key, Any], sizes: dict[Key, int]) -> None:
    """Add the size of a function, and of those that it calls."""
    waiting, open_keys = [start], set[Key]()
    while waiting:
        key = waiting[-1]
        missing = [call for call in _calls(bodies[key]) if call in bodies and call not in sizes]
        if not missing or key in sizes:
            sizes.setdefault(key, _expanded(bodies[key], sizes))
            open_keys.discard(waiting.pop())
            continue
        open_keys.add(key)
        if any(call in open_keys for call in missing):
            raise _refused(f"has a function that calls itself, {quoted(key[1])}")
        waiting += missing


def _calls(graph: Any) -> list[Key]:
    """The operators in a graph and in the graphs in it."""
    found: list[Key] = []
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            found.append((node.domain, node.op_type))
            waiting += inner_graphs(node)
    return found


def _expanded(graph: Any, sizes: Mapping[Key, int]) -> int:
    """The bytes of memory of a graph with functions expanded; an upper bound."""
    return graph.ByteSize() + sum(NODE + sizes.get(key, 0) for key in _calls(graph))


def _refused(what: str) -> ModelError:
    return ModelError(
        f"The ONNX file {what}.",
        likely="The file is damaged, or designed to exhaust memory.",
        do="Export the network without functions of its own (onnx.inliner.inline_local_functions).",
    )

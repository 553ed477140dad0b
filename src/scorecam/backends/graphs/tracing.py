"""The record of a graph: how its tensors and its scores depend on the masked image."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Hashable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from scorecam.backends.graphs.graph import WITH_GRAPHS, Graph, Numbers
from scorecam.backends.graphs.program import Program
from scorecam.backends.graphs.walk import Facts, Walk
from scorecam.backends.inputs.call import Call
from scorecam.backends.tracing.recording import Recorder, nodes_of
from scorecam.backends.tracing.trace import Trace
from scorecam.errors import LayerError, ModelError, ScorecamError
from scorecam.model.readout import Readout, fewest_cells, read, trace_key
from scorecam.shapes import Images

TWO = 2
"""Images of a pass that is followed: with one, the batch cannot be told from axes of one entry."""


class Followed(Protocol):
    """The model whose record is made; see `GraphModel`."""

    @property
    def program(self) -> Program: ...
    @property
    def readout(self) -> Readout: ...
    @property
    def batch(self) -> int | None: ...
    @property
    def read_tensors(self) -> list[str]: ...
    def inputs(self, images: Images) -> Mapping[str, Numbers]: ...
    def fitting(self, images: Images) -> Call: ...
    def output_of(self, tensors: Mapping[str, Tensor]) -> Any: ...
    def run_alone(self) -> None: ...


def check_followed(graph: Graph, trace: Trace) -> None:
    """Refuse a network of which no tensor can be explained, because another graph hides them.

    Raises:
        LayerError: all layers are inside the graph of a node.
    """
    inside = [node.kind for node in graph.nodes if node.kind in WITH_GRAPHS]
    if inside and not trace.steps:
        raise LayerError(
            f"No layer can be explained: the network runs inside an operation {inside[0]}, whose "
            "own graph is not followed.",
            likely="It chooses one of several networks by another input.",
            do="Export the network without this choice.",
        )


def key_of(call: Call, readout: Readout, images: Images) -> Hashable:
    """What a record depends on, for one graph."""
    return (
        tuple(images.shape[1:]),
        call.form,
        call.masked,
        _identity(trace_key(readout)),
        _identity(call),
    )


def _identity(value: Any) -> Hashable:
    """The value, or its identity if it has no hash."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def traced(model: Followed, images: Images) -> Trace:
    """The record of a pass of images of this size. The network itself does not run.

    Raises:
        ModelError: the network does not take such images.
    """
    if model.batch is not None:
        return _traced(model, images, model.batch)[0]
    with contextlib.suppress(ModelError):  # it may take single images only
        trace, failure = _traced(model, images, TWO)
        if failure is None:
            return trace
    trace, failure = _traced(model, images, 1)
    if failure is None:
        model.run_alone()
    return trace


def _traced(model: Followed, images: Images, count: int) -> tuple[Trace, ScorecamError | None]:
    """The record of a pass of some images, and why its scores cannot be read, if so."""
    batch = images[:1].expand(count, *images.shape[1:]).contiguous()
    program = model.program
    arrays = model.inputs(batch)
    facts = program.facts({name: array.shape for name, array in arrays.items()})
    with Recorder(batch) as recorder:
        given = model.fitting(batch).inputs(batch)
    known = {
        str(name): number
        for name, value in given.items()
        if isinstance(value, Tensor) and (number := recorder.node(value)) is not None
    }
    walk = Walk(program.graph, facts, recorder.record, known)
    walk.follow(program.translate)
    outputs = {name: _empty(name, facts) for name in model.read_tensors}
    output = model.output_of(outputs)
    numbers = {walk.node(name): tensor for name, tensor in outputs.items()}
    nodes = {number: tensor for number, tensor in numbers.items() if number is not None}
    failure: ScorecamError | None = None
    with Recorder(batch, record=walk.record, known=nodes) as reading:
        try:
            scores: Any = read(output, model.readout, count)
        except ScorecamError as error:  # the layers of other networks can be listed too
            failure, scores = error, output
    ends = nodes_of(reading, scores)
    used = itertools.chain.from_iterable(node.edges for node in walk.record.nodes)
    read_nodes = {edge.source for edge in used} | set(ends)
    returned = tuple(number for number in nodes if number in read_nodes)
    steps = tuple(walk.steps)
    cells = fewest_cells(model.readout)
    trace = Trace(walk.record, steps, ends, returned, dense=_dense(walk, returned), cells=cells)
    return trace, failure


def _empty(name: str, facts: Facts) -> Tensor:
    """A tensor of zeros in place of an output."""
    kind = torch.float32 if name in facts.floats else torch.int64
    return torch.zeros(facts.shapes.get(name, ()), dtype=kind)


def _dense(walk: Walk, outputs: Collection[int]) -> bool:
    """Whether the network answers for many positions, as detectors and segmenters do."""
    found = [walk.record.nodes[number].axes for number in outputs]
    return any(
        len(axes) > 2 and any(axis.positions or axis.unknown for axis in axes[1:]) for axes in found
    )

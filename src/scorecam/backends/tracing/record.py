"""The record of a pass: every tensor that depends on the masked image."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from torch import Tensor

from scorecam.backends.tracing import operations
from scorecam.backends.tracing.axes import Axes
from scorecam.backends.tracing.entries import chosen_after
from scorecam.backends.tracing.operation import Chosen, Operation
from scorecam.backends.tracing.uses import Use, use_of


@dataclass(frozen=True)
class Edge:
    """A node reads another.

    Args:
        source: the number of the node that is read.
        use: what is read of it.
    """

    source: int
    use: Use


@dataclass(frozen=True)
class Node:
    """A tensor that depends on the masked image.

    Args:
        name: the operation that made it.
        axes: what its axes mean.
        edges: the nodes that it was computed from.
        chosen: the axes of the input of which it depends on one entry only, such as one frame of a
            video.
    """

    name: str
    axes: Axes
    edges: tuple[Edge, ...]
    chosen: Chosen = field(default_factory=dict[int, tuple[int, int]])


@dataclass
class Record:
    """Every tensor of a pass that depends on the masked image, in the order they were made.

    Attributes:
        nodes: the first is the image.
        slid: axes of the input that a convolution or a pool slid along.
        mixed: axes of the input that the first layer with weights summed over: its colours.
        carried: axes of the input that were still there in what this layer returned.
    """

    nodes: list[Node] = field(default_factory=list[Node])
    slid: set[int] = field(default_factory=set[int])
    mixed: set[int] | None = None
    carried: set[int] = field(default_factory=set[int])

    @property
    def images(self) -> int:
        """The number of images in the batch."""
        return self.nodes[0].axes[0].size

    def nodes_after(
        self, operation: Operation, sources: Collection[tuple[Tensor, int]]
    ) -> list[Node]:
        """A node for each result of an operation. They are not yet part of the record.

        Args:
            sources: its tensors that depend on the image, with their nodes.
        """
        name = operation.name
        found = operations.axes_of_results(operation)
        chosen = chosen_after(operation)
        if name in operations.SLIDES:
            self.slid |= _inputs(operations.slid_axes(operation))
        if name in operations.WITH_WEIGHTS and self.mixed is None:
            summed = _inputs(operations.summed_axes(operation))
            self.carried = _inputs(found[0]) | chosen[0].keys()
            self.mixed = summed - _inputs(found[0])
        return [
            Node(name, axes, _edges(operation, sources, axes), entries)
            for axes, entries in zip(found, chosen, strict=True)
        ]


def _edges(
    operation: Operation, sources: Iterable[tuple[Tensor, int]], result: Axes
) -> tuple[Edge, ...]:
    """What one result of an operation was computed from."""
    edges: dict[int, Use] = {}
    for tensor, number in sources:
        use = use_of(operation, tensor, result)
        edges[number] = max(edges.get(number, use), use)
    return tuple(Edge(number, use) for number, use in edges.items())


def _inputs(axes: Axes) -> set[int]:
    """The axes of the input that have positions in these axes."""
    return {part.axis for axis in axes for part in axis.parts if part.positions}

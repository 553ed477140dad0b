"""Following the masked image through a graph, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from scorecam.backends.graphs.graph import Graph, GraphNode, Numbers, Shape
from scorecam.backends.tracing.operation import Operation
from scorecam.backends.tracing.operations import POOLS, WITH_WEIGHTS
from scorecam.backends.tracing.path import moved_from
from scorecam.backends.tracing.record import Record
from scorecam.backends.tracing.steps import Step


@dataclass(frozen=True)
class Facts:
    """What is known about the tensors of a graph for inputs of one shape.

    Args:
        shapes: by name.
        values: the numbers of small tensors that are the same for every image of this shape.
        floats: the tensors whose maps can be read: those of real numbers.
    """

    shapes: Mapping[str, Shape]
    values: Mapping[str, Numbers]
    floats: frozenset[str]


@dataclass(eq=False)
class Walk:
    """Notes what the operations of a graph do to the axes of the masked image.

    The tensors have shapes and no numbers. Each operation is noted under the name of the operation
    of torch that does the same (see `tracing.operations`).

    Args:
        graph: the network.
        facts: for these inputs.
        record: of what the inputs were computed from.
        known: for each input that depends on the masked image, the number of its node.
    """

    graph: Graph
    facts: Facts
    record: Record
    known: Mapping[str, int]
    steps: list[Step] = field(default_factory=list[Step])
    _tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _numbers: dict[int, int] = field(default_factory=dict[int, int])
    _alive: list[Tensor] = field(default_factory=list[Tensor])
    _weighted: set[int] = field(default_factory=set[int])

    def __post_init__(self) -> None:
        for name, number in self.known.items():
            self._numbers[id(self.tensor(name))] = number

    def follow(self, translate: Callable[[GraphNode, Walk], None]) -> None:
        """Note all nodes that depend on the masked image.

        Args:
            translate: notes one node, with `note`.
        """
        for node in self.graph.nodes:
            if any(self.node(name) is not None for name in node.inputs if name):
                try:
                    translate(node, self)
                except (ArithmeticError, LookupError, TypeError, ValueError):
                    # Its shapes and settings contradict each other. It fails when it runs.
                    self.lose(node)
                self._add_steps(node)

    def lose(self, node: GraphNode) -> None:
        """Note a node through which positions are not followed."""
        arguments = {"tensors": self.tensors(node.inputs)}
        self.note("gather", arguments, *(self.tensor(name) for name in node.outputs if name))

    # ── for translators ──────────────────────────────────────────────────────────────────────────

    def tensor(self, name: str) -> Tensor:
        """The tensor of a name, without numbers."""
        if name not in self._tensors:
            self._tensors[name] = self.fresh(self.facts.shapes.get(name, ()))
        return self._tensors[name]

    def tensors(self, names: Sequence[str]) -> list[Tensor]:
        """The tensors of several names, without those that are left out."""
        return [self.tensor(name) for name in names if name]

    def fresh(self, shape: Sequence[int]) -> Tensor:
        """A tensor between two operations of the same node."""
        made = torch.empty(tuple(shape), device="meta")
        self._alive.append(made)  # its id must stay its own
        return made

    def numbers(self, name: str) -> list[int] | None:
        """The whole numbers in a small tensor; None if they are not known."""
        value = self.facts.values.get(name)
        return None if value is None else [int(number) for number in value.reshape(-1)]

    def node(self, name: str) -> int | None:
        """The number of a tensor's node; None if it does not depend on the masked image."""
        tensor = self._tensors.get(name)
        return None if tensor is None else self._numbers.get(id(tensor))

    def note(self, name: str, arguments: dict[str, Any], *results: Tensor) -> Tensor:
        """Note an operation.

        Args:
            name: of the operation of torch.
            arguments: by the names in torch's schema.
            results: the tensors that it computes.

        Returns:
            The first result, if there is any.
        """
        nodes = self.record.nodes
        sources = {
            id(leaf): (leaf, self._numbers[id(leaf)])
            for leaf in tree_leaves(arguments)
            if isinstance(leaf, Tensor) and id(leaf) in self._numbers
        }
        if sources:
            known = {key: nodes[number] for key, (_, number) in sources.items()}
            operation = Operation(name, arguments, results, lambda x: known.get(id(x)))
            found = self.record.nodes_after(operation, sources.values())
            for result, node in zip(results, found, strict=True):
                nodes.append(node)
                self._numbers[id(result)] = len(nodes) - 1
        return results[0] if results else self.fresh(())

    # ── steps ────────────────────────────────────────────────────────────────────────────────────

    def _add_steps(self, node: GraphNode) -> None:
        """The tensors that a node computed, from the first operation with weights on."""
        nodes = self.record.nodes
        sources = {number for name in node.inputs if (number := self.node(name)) is not None}
        for tensor in node.outputs:
            number = self.node(tensor)
            if number is None:
                continue
            first = nodes[number].name in WITH_WEIGHTS
            if not first and self._weighted.isdisjoint(sources):
                continue  # still the image itself, such as after normalising it
            self._weighted.add(number)
            if tensor in self.facts.floats:
                moved = moved_from(nodes, number)
                step = Step(
                    name=self.graph.labels[tensor],
                    call=1,
                    is_pool=nodes[moved].name in POOLS,
                    has_children=False,
                    place=0,
                    node=number,
                    shape=tuple(self.tensor(tensor).shape),
                    returns_input=moved in {moved_from(nodes, source) for source in sources},
                    operation=True,
                )
                self.steps.append(step)

"""A network as a graph: nodes that compute tensors from other tensors, each with a name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scorecam.base.cached_property import cached_property

Numbers = npt.NDArray[Any]
Shape = tuple[int, ...]

WITH_GRAPHS: Final = frozenset({"If", "Loop", "Scan", "TensorIterator"})
"""Operations with a graph inside, which is not looked into. It may read any tensor outside."""


@dataclass(frozen=True)
class GraphValue:
    """An input or an output of a graph.

    Args:
        name: of the tensor.
        shape: with None for an axis of any size; None if not even the number of axes is known.
        dtype: of its numbers.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: np.dtype[Any]


@dataclass(frozen=True, eq=False)
class GraphNode:
    """A node.

    Args:
        name: often empty.
        kind: the operation, as the format calls it.
        inputs: names of tensors; empty for one that is left out.
        outputs: names of tensors; empty for one that nobody reads.
        attributes: the constants of the operation.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, eq=False)
class Graph:
    """A network's graph.

    Args:
        nodes: in an order in which they can run.
        inputs: without constants.
        outputs: what it returns.
        constants: the numbers of small constants, by name.
        weights: the names of all constants.
    """

    nodes: tuple[GraphNode, ...]
    inputs: tuple[GraphValue, ...]
    outputs: tuple[GraphValue, ...]
    constants: Mapping[str, Numbers]
    weights: frozenset[str]

    @cached_property
    def makers(self) -> dict[str, GraphNode]:
        """For each tensor, the node that computes it."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def computed(self) -> frozenset[str]:
        """The tensors that depend on an input."""
        found = {each.name for each in self.inputs}
        for node in self.nodes:
            if not found.isdisjoint(node.inputs):
                found.update(name for name in node.outputs if name)
        return frozenset(found)

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The outputs that may depend on an input."""
        any_may = any(node.kind in WITH_GRAPHS for node in self.nodes)
        return tuple(each.name for each in self.outputs if any_may or each.name in self.computed)

    @cached_property
    def labels(self) -> dict[str, str]:
        """For each computed tensor, a name that people can read; no two are the same."""
        found: dict[str, str] = {}
        taken = set(self.makers)
        for node in self.nodes:
            for tensor in node.outputs:
                if tensor in self.computed:
                    label = _label(node, tensor)
                    found[tensor] = tensor if label in taken else label
                    taken.add(found[tensor])
        return found

    def tensor_of(self, name: str) -> str | None:
        """The tensor that a user means, by its name, its label or its node; None if there is none.

        A node means its first tensor.
        """
        if name in self.computed:
            return name
        return self._by_label.get(name)

    @cached_property
    def _by_label(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for node in self.nodes:
            for tensor in node.outputs:
                if node.name and tensor in self.computed:
                    found.setdefault(node.name, tensor)
        return found | {label: tensor for tensor, label in self.labels.items()}

    def before(self, tensor: str, kinds: frozenset[str]) -> Iterator[GraphNode]:
        """The nodes behind a tensor, last first, as long as each is one of these kinds.

        The last one may be of any kind.
        """
        while (node := self.makers.get(tensor)) is not None:
            yield node
            if node.kind not in kinds or not node.inputs:
                return
            tensor = node.inputs[0]


def _label(node: GraphNode, tensor: str) -> str:
    """The name of the node where that of the tensor is a number, or only adds a suffix to it."""
    if node.name and tensor == f"{node.name}_output_0":
        return node.name
    if not re.fullmatch(r"[\d.:_]+", tensor):
        return tensor
    named = node.name if re.search(r"[^\W\d]", node.name) else node.kind
    return named if named.endswith(tensor) else f"{named}_{tensor}"

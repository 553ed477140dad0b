"""What a runtime offers to run a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from scorecam.backends.graphs.graph import Graph, GraphNode, Numbers, Shape
from scorecam.backends.graphs.walk import Facts, Walk
from scorecam.base.wording import constructor


@dataclass(frozen=True)
class Weight:
    """A constant with weights.

    Args:
        stage: the layer that it belongs to.
        name: of the constant.
    """

    stage: str
    name: str

    __repr__ = constructor


class Program(ABC):
    """A graph in a runtime. It can be used by several threads.

    Attributes:
        graph: the network.
        runtime: the name of the runtime.
        precision: the format of the numbers that it computes with.
    """

    graph: Graph
    runtime: str
    precision: str

    @property
    @abstractmethod
    def versions(self) -> Mapping[str, str]:
        """The versions of the libraries that run it, by name."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of the graph and its weights."""

    @abstractmethod
    def facts(self, shapes: Mapping[str, Shape]) -> Facts:
        """The shapes of all tensors for inputs of these shapes."""

    @abstractmethod
    def translate(self, node: GraphNode, walk: Walk) -> None:
        """Note what a node does."""

    @abstractmethod
    def run(self, inputs: Mapping[str, Numbers], wanted: Sequence[str]) -> list[Numbers]:
        """The numbers of these tensors.

        Raises:
            ModelError: the runtime fails.
            MemoryShortage: the inputs do not fit into memory.
        """

    @abstractmethod
    def weights(self) -> Iterator[Weight]:
        """The constants that can be re-initialised, from the input to the output."""

    @abstractmethod
    def with_weights(self, names: Sequence[str], change: Callable[[Numbers], Numbers]) -> Program:
        """The same program with other numbers in these constants."""

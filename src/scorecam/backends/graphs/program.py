"""What a runtime offers to run a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

    def run_each(
        self, inputs: Iterable[Mapping[str, Numbers]], wanted: Sequence[str]
    ) -> Iterator[list[Numbers]]:
        """The numbers of these tensors for each of several inputs, in order.

        A runtime may run several inputs at the same time. Raises the errors of `run`.
        """
        return (self.run(each, wanted) for each in inputs)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The formats of numbers that it can compute with; its own is one of them."""
        return (self.precision,)

    def at(self, precision: str) -> Program:  # noqa: ARG002
        """The same program in another of its precisions."""
        return self

    @abstractmethod
    def weights(self) -> Iterator[Weight]:
        """The constants that can be re-initialised, from the input to the output."""

    @abstractmethod
    def with_weights(self, names: Sequence[str], change: Callable[[Numbers], Numbers]) -> Program:
        """The same program with other numbers in these constants."""

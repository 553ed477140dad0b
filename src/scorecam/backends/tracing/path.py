"""The way from the masked image to the scores: which tensors lie on it, and which on every way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scorecam.backends.tracing import operations
from scorecam.backends.tracing.record import Node, Record
from scorecam.backends.tracing.uses import Need
from scorecam.base.cached_property import cached_property

STOPS = operations.CONVOLVES | operations.LINEAR | operations.PRODUCTS | operations.ATTENTION
"""Operations that compute new features."""

ATTENDS = operations.PRODUCTS | operations.ATTENTION
PASSED_ON = operations.VIEWS | {"layer_norm", "native_layer_norm", "rms_norm", "mul"}
"""Operations that queries, keys and values pass through."""


@dataclass(frozen=True)
class Path:
    """What the scores need.

    Args:
        record: of the pass.
        needs: how much of each node they depend on.
        cuts: the nodes that every way from the image to the scores passes through.
        outputs: the nodes that are the network's output, apart from its size: they show the answer
            itself, not what it was made of.
        scores: the nodes of the scores.
    """

    record: Record
    needs: tuple[Need, ...]
    cuts: frozenset[int]
    outputs: frozenset[int]
    scores: frozenset[int]

    @cached_property
    def _readers(self) -> dict[int, list[int]]:
        """For each node, the nodes on the path that read it."""
        found: dict[int, list[int]] = {}
        for i, node in enumerate(self.record.nodes):
            for edge in node.edges:
                if edge.use.need(self.needs[i]):
                    found.setdefault(edge.source, []).append(i)
        return found

    def only_attended(self, i: int) -> bool:
        """Whether a node is only read as a query, key or value of attention."""
        ahead = list(self._readers.get(i, ()))
        for reader in ahead:
            node = self.record.nodes[reader]
            if node.name in PASSED_ON:
                ahead += self._readers.get(reader, ())
            elif len(node.edges) < 2 or node.name not in ATTENDS:
                return False
        return bool(ahead)

    def separate(self, nodes: Collection[int]) -> bool:
        """Whether every way from the image to the scores passes through one of these nodes."""
        if not self.scores or any(i in self.cuts for i in nodes):
            return bool(self.scores)
        if len(nodes) < 2:
            return False
        around = [i for i in self.scores if i not in nodes]
        seen = set(around)
        while around:
            i = around.pop()
            if i == 0:
                return False
            for edge in self.record.nodes[i].edges:
                j = edge.source
                if edge.use.need(self.needs[i]) and j not in seen and j not in nodes:
                    seen.add(j)
                    around.append(j)
        return True


def path(record: Record, scores: Collection[int], outputs: Collection[int]) -> Path:
    """The path of a pass.

    Args:
        record: of the pass.
        scores: the nodes of the scores.
        outputs: the nodes of the network's output.
    """
    nodes = record.nodes
    needs = [Need.ALL if i in scores else Need.NOTHING for i in range(len(nodes))]
    furthest = [len(nodes) if i in scores else 0 for i in range(len(nodes))]
    for i in reversed(range(len(nodes))):
        for edge in nodes[i].edges:
            need = edge.use.need(needs[i])
            needs[edge.source] = max(needs[edge.source], need)
            if need:
                furthest[edge.source] = max(furthest[edge.source], i)
    return Path(
        record,
        needs=tuple(needs),
        cuts=_cuts(needs, furthest),
        outputs=_answers(nodes, outputs),
        scores=frozenset(scores),
    )


def _cuts(needs: Sequence[Need], furthest: Sequence[int]) -> frozenset[int]:
    """The nodes that no edge leads around.

    Args:
        furthest: for each node, the last node that reads it.
    """
    cuts: set[int] = set()
    reached = 0
    for i, need in enumerate(needs):
        if need:
            if reached <= i:
                cuts.add(i)
            reached = max(reached, furthest[i])
    return frozenset(cuts)


def _answers(nodes: Sequence[Node], outputs: Collection[int]) -> frozenset[int]:
    """Outputs with positions, and what they were before they were resized or activated."""
    found: set[int] = set()
    for i in outputs:
        if not any(axis.positions for axis in nodes[i].axes):
            continue
        found.add(i)
        before = i
        while nodes[before].name not in STOPS and len(nodes[before].edges) == 1:
            before = nodes[before].edges[0].source
            found.add(before)
    return frozenset(found)


def moved_from(nodes: Sequence[Node], i: int) -> int:
    """The node whose numbers this one holds, in another order or shape."""
    while nodes[i].name in operations.MOVES and len(nodes[i].edges) == 1:
        i = nodes[i].edges[0].source
    return i

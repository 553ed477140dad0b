"""The deepest grid of a network that answers for many positions: a detector or a segmenter.

Such networks shrink the image to a coarse grid and enlarge it again, with ways around on every
level. No tensor lies on every path but early ones. What the network knows about the objects is in
the coarsest grid, before any grid is enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scorecam.backends.tracing.operations import WITH_WEIGHTS
from scorecam.backends.tracing.steps import Step
from scorecam.backends.tracing.trace import Trace

SUMMARY = 16
"""A pool that shrinks a grid more than this, in cells, summarises the image."""


def deepest(trace: Trace, steps: Sequence[Step]) -> Step | None:
    """The deepest grid, of those that every output needs; None if no grid is suitable.

    Grids with fewer cells than `trace.cells` only count if there is no finer one.

    Among the tensors with the fewest cells, it is the last that all paths from the first of them
    to the outputs pass through: the result of that stage, and no branch of it.

    Args:
        steps: those that may be the default layer.
    """
    found = _Grids(trace)
    suitable = [step for step in steps if step.node is not None and found.shrinks(step.node)]
    for chosen in (read_on(trace), _needed(trace)):
        suitable = [step for step in suitable if step.node in chosen] or suitable
    cells = {found.cells[step.node or 0] for step in suitable}
    fewest = min((count for count in cells if count >= trace.cells), default=max(cells, default=0))
    stage = [step for step in suitable if found.cells[step.node or 0] == fewest]
    if not stage:
        return None
    joined = _joints(trace, stage[0].node or 0)
    return [step for step in stage if step.node in joined][-1]


def read_on(trace: Trace) -> set[int]:
    """The nodes that a later operation with weights reads; others are the output, rearranged."""
    nodes, found = trace.record.nodes, set[int]()
    for i in sorted(before(trace, set(trace.outputs)), reverse=True):
        if i in found or nodes[i].name in WITH_WEIGHTS:
            found.update(edge.source for edge in nodes[i].edges)
    return found


def _needed(trace: Trace) -> set[int]:
    """The nodes that every output of the network depends on."""
    found: set[int] | None = None
    for output in trace.outputs:
        one = before(trace, {output})
        found = one if found is None else found & one
    return found or set()


def before(trace: Trace, outputs: set[int]) -> set[int]:
    """The nodes that any of these depends on, themselves included."""
    nodes, found = trace.record.nodes, set(outputs)
    for i in range(max(outputs, default=-1), -1, -1):
        if i in found:
            found.update(edge.source for edge in nodes[i].edges)
    return found


def _joints(trace: Trace, start: int) -> set[int]:
    """The nodes that every path from one node to the outputs passes through.

    Nodes are in the order in which they ran. So a path avoids a node if and only if an edge of it
    leads from an earlier node to a later one.
    """
    nodes, needed = trace.record.nodes, before(trace, set(trace.outputs))
    reached, furthest = {start}, {start: start}
    for i in range(start + 1, len(nodes)):
        sources = [edge.source for edge in nodes[i].edges if edge.source in reached]
        if sources and i in needed:
            reached.add(i)
            furthest[i] = i
            furthest.update(dict.fromkeys(sources, i))
    found: set[int] = set()
    far: float = start
    for i in sorted(reached):
        if far <= i:
            found.add(i)
        far = max(far, furthest[i], math.inf if i in trace.outputs else far)
    return found


class _Grids:
    """How the grids of a record's tensors follow from each other.

    Attributes:
        cells: of each tensor that is a step with a grid of several cells.
    """

    def __init__(self, trace: Trace) -> None:
        self.cells: dict[int, int] = {}
        pools: set[int] = set()
        for step in trace.steps:
            layout = trace.layout(step)
            if step.node is not None and layout is not None:
                self.cells[step.node] = math.prod(layout.grid)
                if step.is_pool:
                    pools.add(step.node)
        self._fewest: list[float] = []
        self._grown: list[bool] = []
        self._summary: list[bool] = []
        self._attended = trace.path.only_attended
        for i, node in enumerate(trace.record.nodes):
            self._add(i, [edge.source for edge in node.edges], pool=i in pools)

    def _add(self, i: int, sources: Sequence[int], *, pool: bool) -> None:
        """Note the next tensor, after those that it is computed from."""
        grids = [j for j in sources if not self._summary[j]]
        # Attention reads keys and values on a coarser grid, and answers on that of its queries.
        own = [j for j in grids if not self._attended(j)]
        fewest = min((self._fewest[j] for j in own), default=math.inf)
        if not own:
            fewest = max((self._fewest[j] for j in grids), default=math.inf)
        cells = self.cells.get(i, fewest)
        summary = cells == 1 or (bool(sources) and not grids)
        summary |= pool and cells * SUMMARY < fewest < math.inf
        self._summary.append(summary)
        self._grown.append(any(self._grown[j] for j in own or grids) or cells > fewest)
        self._fewest.append(min(fewest, math.inf if summary else cells))

    def shrinks(self, i: int) -> bool:
        """Whether a tensor has a grid, and no grid was enlarged to make it."""
        return i in self.cells and not self._grown[i] and not self._summary[i]

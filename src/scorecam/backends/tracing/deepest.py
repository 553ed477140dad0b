"""The deepest grid of a network that answers for many positions: a detector or a segmenter.

Such networks shrink the image to a coarse grid and enlarge it again, with ways around on every
level. No tensor lies on every path but early ones. What the network knows about the objects is in
the coarsest grid, before any grid is enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scorecam.backends.tracing.steps import Step
from scorecam.backends.tracing.trace import Trace

SUMMARY = 16
"""A pool that shrinks a grid more than this, in cells, summarises the image."""


def deepest(trace: Trace, steps: Sequence[Step]) -> Step | None:
    """The last of these steps with the fewest cells before any grid is enlarged; None if none is.

    Args:
        steps: those that may be the default layer.
    """
    found = _Grids(trace)
    suitable = [step for step in steps if step.node is not None and found.shrinks(step.node)]
    return min(reversed(suitable), key=lambda step: found.cells[step.node or 0], default=None)


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
        for i, node in enumerate(trace.record.nodes):
            self._add(i, [edge.source for edge in node.edges], pool=i in pools)

    def _add(self, i: int, sources: Sequence[int], *, pool: bool) -> None:
        """Note the next tensor, after those that it is computed from."""
        grids = [j for j in sources if not self._summary[j]]
        fewest = min((self._fewest[j] for j in grids), default=math.inf)
        cells = self.cells.get(i, fewest)
        summary = cells == 1 or (bool(sources) and not grids)
        summary |= pool and cells * SUMMARY < fewest < math.inf
        self._summary.append(summary)
        self._grown.append(any(self._grown[j] for j in grids) or cells > fewest)
        self._fewest.append(min(fewest, math.inf if summary else cells))

    def shrinks(self, i: int) -> bool:
        """Whether a tensor has a grid, and no grid was enlarged to make it."""
        return i in self.cells and not self._grown[i] and not self._summary[i]

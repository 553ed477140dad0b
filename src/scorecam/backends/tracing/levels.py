"""The level of a feature pyramid that a box came from.

A detector with a pyramid answers on several grids. Each of them has tensors in the backbone, in the
neck and in the head. Up to the neck's result, the level has one path; there, the head divides it
into classes and boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scorecam.backends.tracing.deepest import before, read_on
from scorecam.backends.tracing.maps import layout_of
from scorecam.backends.tracing.steps import Step
from scorecam.backends.tracing.trace import Trace


def level(trace: Trace, steps: Sequence[Step], grid: tuple[int, ...]) -> Step | None:
    """The neck's result on one grid; None if no suitable layer has this grid.

    It is the last layer with this grid that all paths on this grid pass through, and that a later
    operation with weights reads. A module that returns several levels has one name for all of them,
    so the module inside it that returns this level alone is taken.

    Args:
        steps: those that may be the default layer, of all modules.
        grid: of the level.
    """
    joints = _joints(trace, grid) & read_on(trace)
    found = [step for step in steps if step.node in joints and trace.alone(step)]
    last = max((step.node or 0 for step in found), default=0)
    return min(
        (step for step in found if step.node == last), key=lambda step: len(step.name), default=None
    )


def _joints(trace: Trace, grid: tuple[int, ...]) -> set[int]:
    """The nodes with this grid that no path on it leads around.

    Nodes are in the order in which they ran, so a path leads around a node if and only if an edge
    of it leads from an earlier node to a later one.
    """
    nodes = trace.record.nodes
    mine = [i for i in sorted(before(trace, set(trace.outputs))) if _has(trace, i, grid)]
    furthest = {i: i for i in mine}
    for i in mine:
        for edge in nodes[i].edges:
            if edge.source in furthest:
                furthest[edge.source] = i
    found, far = set[int](), 0
    for i in mine:
        if far <= i:
            found.add(i)
        far = max(far, furthest[i])
    return found


def _has(trace: Trace, i: int, grid: tuple[int, ...]) -> bool:
    layout = layout_of(trace.record.nodes[i].axes, trace.image_axes, trace.record.images)
    return layout is not None and layout.grid == grid and math.prod(grid) > 1

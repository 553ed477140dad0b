"""Calls of one module that together make one layer, such as one call for each frame of a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from scorecam.backends.tracing.axes import Axis, Part
from scorecam.backends.tracing.record import Node, Record
from scorecam.backends.tracing.steps import Step


def with_joined(record: Record, steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, and behind the last call of a module the step that joins its calls, if any."""
    groups: dict[tuple[str, int], list[Step]] = {}
    for step in steps:
        groups.setdefault((step.name, step.place), []).append(step)
    nodes: dict[tuple[int, ...], int] = {}
    for step in steps:
        yield step
        group = groups[step.name, step.place]
        if step is group[-1] and (joined := _joined(record, group, nodes)) is not None:
            yield joined


def _joined(
    record: Record, group: Sequence[Step], nodes: dict[tuple[int, ...], int]
) -> Step | None:
    """The step that joins calls of a module with one entry of an axis each; None if they don't.

    Args:
        nodes: of the steps that were joined before, by the nodes of their tensors.
    """
    tensors = [record.nodes[step.node] for step in group if step.node is not None]
    if len(group) < 2 or len(tensors) < len(group) or len({node.axes for node in tensors}) > 1:
        return None
    count = len(group)
    for axis in tensors[0].chosen:
        entries = [node.chosen.get(axis, (-1, 0)) for node in tensors]
        if sorted(entries) != [(i, count) for i in range(count)]:
            continue
        order = sorted(range(count), key=lambda i: entries[i])
        joins = tuple(group[i] for i in order)
        key = tuple(step.node for step in joins if step.node is not None)
        if key not in nodes:
            first, *others = tensors
            same = {
                other: entry
                for other, entry in first.chosen.items()
                if all(node.chosen.get(other) == entry for node in others)
            }
            axes = Axis((Part(axis, count),)), *first.axes
            record.nodes.append(Node("stack", axes, (), same))
            nodes[key] = len(record.nodes) - 1
        shape = (count, *group[0].shape)
        return replace(group[-1], call=0, node=nodes[key], shape=shape, joins=joins)
    return None

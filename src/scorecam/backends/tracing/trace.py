"""What a pass showed: the steps of a network, and how the scores depend on the image."""

from __future__ import annotations

from dataclasses import dataclass, field

from scorecam.backends.tracing.axes import SINGLE
from scorecam.backends.tracing.maps import Layout, channels_first, layout_of
from scorecam.backends.tracing.path import Path, path
from scorecam.backends.tracing.record import Record
from scorecam.backends.tracing.steps import Step
from scorecam.backends.tracing.uses import Need
from scorecam.base.cached_property import cached_property


@dataclass(frozen=True)
class Place:
    """Where a layer's maps are found in a pass.

    Args:
        label: the layer's full name.
        name: of the module.
        calls: which of its calls, from 1; their maps are joined along a new first axis if there are
            several.
        tensor: which of the tensors that a call returns.
        layout: of the maps; None if the tensor has none.
        follows_image: whether the tensor depends on the masked image.
        remark: what the user should know about this layer.
        operation: whether the layer is an operation of torch, and no module.
        entry: the part of the image that it depends on, in words; empty if it is all of it.
    """

    label: str
    name: str
    calls: tuple[int, ...]
    tensor: int
    layout: Layout | None
    follows_image: bool
    remark: str
    operation: bool = False
    entry: str = ""


@dataclass(frozen=True, eq=False)
class Trace:
    """The record of a dry run.

    Args:
        record: every tensor that depends on the masked image.
        steps: those that modules returned, in the order in which the calls finished.
        scores: the nodes of the scores.
        outputs: the nodes of the network's output that the scores are read from.
        places: the layers that were looked up.
        dense: whether the network answers for many positions, as a detector does, and its default
            layer is the deepest grid before any of them is enlarged.
        cells: such a grid has at least as many cells, where the network has one.
    """

    record: Record
    steps: tuple[Step, ...]
    scores: tuple[int, ...]
    outputs: tuple[int, ...]
    places: dict[str, Place | None] = field(default_factory=dict[str, "Place | None"])
    dense: bool = False
    cells: int = 0
    _layouts: dict[int, Layout | None] = field(default_factory=dict[int, "Layout | None"])

    @cached_property
    def path(self) -> Path:
        return path(self.record, self.scores, self.outputs)

    @property
    def image_axes(self) -> range:
        """The axes of the image in the masked input, `b c *i`."""
        return range(2, len(self.record.nodes[0].axes))

    @cached_property
    def calls(self) -> dict[str, int]:
        """How often each module was called."""
        found: dict[str, int] = {}
        for step in self.steps:
            found[step.name] = max(found.get(step.name, 0), step.call)
        return found

    def layout(self, step: Step) -> Layout | None:
        """The layout of a step's maps; None if it has none that cover the image."""
        if step.node is None:
            return None if self.followed else channels_first(step.shape, len(self.image_axes))
        if step.node not in self._layouts:
            axes = self.record.nodes[step.node].axes
            found = layout_of(axes, self.image_axes, self.record.images)
            self._layouts[step.node] = None if self.entry(step) else found
        return self._layouts[step.node]

    def entry(self, step: Step) -> str:
        """The part of the image that a step depends on, in words; empty if it is all of it."""
        chosen = {} if step.node is None else self.record.nodes[step.node].chosen
        return " and ".join(
            f"{index + 1} of {count} along axis {axis - 2} of the image"
            for axis, (index, count) in chosen.items()
            if axis in self.image_axes and count > 1
        )

    def folded(self, step: Step) -> bool:
        """Whether its first axis is more than the batch, so that one image does not show its order.

        The batch may be the outer or the inner part of the axis.
        """
        if step.node is None or self.record.images > 1:
            return False
        axes = self.record.nodes[step.node].axes
        return axes[:1] != (SINGLE,) and any(axis.positions for axis in axes)

    @cached_property
    def needs_two_images(self) -> bool:
        """Whether a layer that may be the default could be followed with two images only."""
        return any(
            self.folded(step) and self.need(step) is Need.ALL and self.on_every_path(step)
            for step in self.steps
        )

    @property
    def in_operations(self) -> bool:
        """Whether the layers are operations, as no module with maps was called."""
        return any(step.operation for step in self.steps)

    @property
    def followed(self) -> bool:
        """Whether the scores could be traced back to the image."""
        return bool(self.scores)

    def need(self, step: Step) -> Need:
        if not self.followed:
            return Need.ALL
        return max((self.path.needs[node] for node in step.nodes), default=Need.NOTHING)

    def only_attended(self, step: Step) -> bool:
        """Whether a step is only read as a query, key or value of attention."""
        return bool(step.nodes) and all(map(self.path.only_attended, step.nodes))

    @cached_property
    def _together(self) -> dict[tuple[str, int], set[int]]:
        """The tensors that each call returned."""
        found: dict[tuple[str, int], set[int]] = {}
        for step in self.steps:
            found.setdefault((step.name, step.call), set()).update(step.nodes)
        return found

    def alone(self, step: Step) -> bool:
        """Whether the call that returned the step returned no other tensor."""
        return len(self._together[step.name, step.call]) == 1

    def on_every_path(self, step: Step) -> bool:
        """Whether all paths from the image to the scores lead through what the call returned."""
        return step.node is not None and self.path.separate(self._together[step.name, step.call])

    def label(self, step: Step) -> str:
        """The name of a step's layer; with the number of the call if it is one of several."""
        alone = self.calls[step.name] == 1 or step.joins
        return step.name if alone else f"{step.name}#{step.call}"

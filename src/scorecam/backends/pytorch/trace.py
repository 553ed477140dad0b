"""The record of a pass: every module's call, and every operation on the masked image."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import FunctionType, MethodType
from typing import Any, Final

import torch
from torch import Tensor, nn

from scorecam.backends.pytorch.joined_calls import with_joined
from scorecam.backends.pytorch.steps import Calls, Operations, Step, nodes_of, unfused
from scorecam.backends.tracing.axes import SINGLE
from scorecam.backends.tracing.maps import Layout, channels_first, layout_of
from scorecam.backends.tracing.path import Path, path
from scorecam.backends.tracing.recording import Record, Recorder, tensors_in
from scorecam.backends.tracing.uses import Need
from scorecam.base.cached_property import cached_property
from scorecam.errors import ScorecamError
from scorecam.model.readout import Readout, read
from scorecam.shapes import BatchedScores

Build = tuple[tuple[Any, ...], ...]
"""A network's structure: what decides which modules run."""


_KINDS: Final = frozenset({bool, int, float, str, FunctionType, MethodType})
"""Types of the attributes of a module that are settings."""


def build(module: nn.Module) -> Build:
    """The structure of a network: modules by name and class, their settings, replaced methods.

    Weights do not count: they do not decide which layer comes last. It is read several times for
    every explanation, so it must be fast.
    """
    return tuple(
        (name, type(child), getattr(type(child), "forward", None), *_settings(child))
        for name, child in module.named_modules(remove_duplicate=False)
    )


def _settings(module: nn.Module) -> list[tuple[str, Any]]:
    return [
        item for item in vars(module).items() if type(item[1]) in _KINDS and item[0] != "training"
    ]


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
    """

    record: Record
    steps: tuple[Step, ...]
    scores: tuple[int, ...]
    outputs: tuple[int, ...]
    places: dict[str, Place | None] = field(default_factory=dict[str, "Place | None"])

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
        if self.entry(step):
            return None
        axes = self.record.nodes[step.node].axes
        return layout_of(axes, self.image_axes, self.record.images)

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

    def on_every_path(self, step: Step) -> bool:
        """Whether all paths from the image to the scores lead through what the call returned."""
        return step.node is not None and self.path.separate(self._together[step.name, step.call])

    def label(self, step: Step) -> str:
        """The name of a step's layer; with the number of the call if it is one of several."""
        alone = self.calls[step.name] == 1 or step.joins
        return step.name if alone else f"{step.name}#{step.call}"


def watch(
    module: nn.Module,
    images: Tensor,
    call: Callable[[nn.Module, Tensor], Any],
    scores_of: Callable[[Any], Any],
    ours: Callable[[], bool] = lambda: True,
) -> Trace:
    """Run the module once, and record its calls and the operations on the masked image.

    Args:
        module: the network.
        images: its masked input, a batch of one.
        call: how it is called.
        scores_of: finds the scores in its output.
        ours: whether the current call belongs to this run; other threads may call the module too.
    """
    operations = Operations()
    recorder = Recorder(images, operations.note)
    calls = Calls(recorder, ours)
    handles = [
        child.register_forward_hook(functools.partial(calls.note, name))
        for name, child in module.named_modules()
        if not isinstance(child, torch.jit.ScriptModule)  # runs outside Python
    ]
    try:
        with recorder, unfused():
            output = call(module, images)
            returned = len(recorder.record.nodes)
            scores = scores_of(output)
    except RuntimeError as error:
        if recorder.failure is not None and "TorchScript interpreter" in str(error):
            raise recorder.failure from error
        raise
    finally:
        for handle in handles:
            handle.remove()
    ends = nodes_of(recorder, scores)
    later = recorder.record.nodes[returned:]
    read = {edge.source for node in later for edge in node.edges} | set(ends)
    # Networks of transformers also return what they computed on the way: nobody reads it.
    outputs = tuple(node for node in nodes_of(recorder, output) if node in read)
    steps = tuple(with_joined(recorder.record, calls.steps))
    known = Trace(recorder.record, steps, ends, outputs)
    if not known.followed or any(
        step.name and (known.layout(step) or known.folded(step)) for step in steps
    ):
        return known
    # TorchScript and exported programs run their operations without calling modules.
    return replace(known, steps=(*steps, *operations.steps), places={})


def recorded(
    module: nn.Module,
    images: Tensor,
    call: Callable[[nn.Module, Tensor], Any],
    *,
    readout: Readout,
    ours: Callable[[], bool],
) -> tuple[Trace, Callable[[], BatchedScores]]:
    """The record of a pass, and a function that returns its scores, or raises why not."""
    found: list[BatchedScores | ScorecamError] = []

    def scores_in(output: Any) -> Any:
        try:
            found.append(read(output, readout, len(images)))
        except ScorecamError as error:  # the layers of other networks can be listed too
            found.append(error)
            return next(tensors_in(output), None)
        return found[0]

    def scores() -> BatchedScores:
        [result] = found
        if isinstance(result, ScorecamError):
            raise result
        return result

    return watch(module, images, call, scores_in, ours=ours), scores

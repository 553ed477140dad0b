"""Layers that can be explained: a dry run that records every call, and the default layer.

The default is the last block with a grid of more than one cell that every way from the masked image
to the scores passes through. It is never a pool, whose cells are blurred copies, never a part of
the network that the scores don't need, and never the output itself.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.backends.tracing.maps import Layout, channels_first, layout_of
from scorecam.backends.tracing.path import Path, moved_from, path
from scorecam.backends.tracing.recording import Record, Recorder, tensors_in
from scorecam.backends.tracing.uses import Need
from scorecam.base.wording import quoted
from scorecam.errors import LayerError, did_you_mean
from scorecam.model.model import Layer

Build = tuple[tuple[Any, ...], ...]
"""A network's structure: what decides which modules run."""


def build(module: nn.Module) -> Build:
    """The structure of a network: modules by name and class, their settings, replaced methods.

    Weights do not count: they do not decide which layer comes last.
    """
    return tuple(
        (name, type(child), inspect.getattr_static(child, "forward", None), *_settings(child))
        for name, child in module.named_modules(remove_duplicate=False)
    )


def _settings(module: nn.Module) -> Iterator[Any]:
    for name, value in vars(module).items():
        kinds = (bool, int, float, str, FunctionType, MethodType)
        if name != "training" and isinstance(value, kinds):
            yield name, value


@dataclass(frozen=True, eq=False)
class Step:
    """A tensor that a module's call returned during a dry run.

    Args:
        name: of the module.
        call: which call of the module it was, from 1.
        is_pool: whether the module is a pool.
        has_children: whether it has modules of its own.
        place: of the tensor among those that the call returned.
        node: its number in the record; None if it does not depend on the masked image.
        shape: of the tensor.
        returns_input: whether it is an input of the call, perhaps with its axes moved, as from
            dropout in evaluation mode.
    """

    name: str
    call: int
    is_pool: bool
    has_children: bool
    place: int
    node: int | None
    shape: tuple[int, ...]
    returns_input: bool

    def contains(self, name: str) -> bool:
        return name == self.name or name.startswith(self.name + ".")


@dataclass(frozen=True, eq=False)
class Trace:
    """The record of a dry run.

    Args:
        record: every tensor that depends on the masked image.
        steps: those that modules returned, in the order in which the calls finished.
        scores: the nodes of the scores.
        outputs: the nodes of the network's output.
    """

    record: Record
    steps: tuple[Step, ...]
    scores: tuple[int, ...]
    outputs: tuple[int, ...]

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
        """The layout of a step's maps; None if it has none."""
        if step.node is not None:
            return layout_of(self.record.nodes[step.node].axes, self.image_axes)
        return None if self.followed else channels_first(step.shape, len(self.image_axes))

    @property
    def followed(self) -> bool:
        """Whether the scores could be traced back to the image."""
        return bool(self.scores)

    def need(self, step: Step) -> Need:
        if not self.followed:
            return Need.ALL
        return Need.NOTHING if step.node is None else self.path.needs[step.node]

    @cached_property
    def _together(self) -> dict[tuple[str, int], set[int]]:
        """The tensors that each call returned."""
        found: dict[tuple[str, int], set[int]] = {}
        for step in self.steps:
            if step.node is not None:
                found.setdefault((step.name, step.call), set()).add(step.node)
        return found

    def on_every_path(self, step: Step) -> bool:
        """Whether all paths from the image to the scores lead through what the call returned."""
        return step.node is not None and self.path.separate(self._together[step.name, step.call])

    def label(self, step: Step) -> str:
        """The name of a step's layer; with the number of the call if there are several."""
        return f"{step.name}#{step.call}" if self.calls[step.name] > 1 else step.name


def watch(
    module: nn.Module,
    images: Tensor,
    call: Callable[[nn.Module, Tensor], Any],
    scores_of: Callable[[Any], Any],
    ours: Callable[[], bool] = lambda: True,
) -> tuple[Trace, Any]:
    """Run the module once, and record its calls and the operations on the masked image.

    Args:
        module: the network.
        images: its masked input, a batch of one.
        call: how it is called.
        scores_of: finds the scores in its output.
        ours: whether the current call belongs to this run; other threads may call the module too.

    Returns:
        The record, and the network's output.
    """
    steps: list[Step] = []
    counts: dict[str, int] = {}
    recorder = Recorder(images)

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not ours():
                return
            counts[name] = counts.get(name, 0) + 1
            taken = (recorder.node(tensor) for tensor in tensors_in(inputs))
            known = tuple(number for number in taken if number is not None)
            for place, tensor in enumerate(tensors_in(output)):
                step = Step(
                    name=name,
                    call=counts[name],
                    is_pool="pool" in type(module).__name__.lower(),
                    has_children=next(module.children(), None) is not None,
                    place=place,
                    node=(number := recorder.node(tensor)),
                    shape=tuple(tensor.shape),
                    returns_input=_same_numbers(recorder.record, number, known),
                )
                steps.append(step)

        return hook

    handles = [
        child.register_forward_hook(note(name))
        for name, child in module.named_modules()
        if not isinstance(child, torch.jit.ScriptModule)  # runs outside Python
    ]
    try:
        with recorder:
            output = call(module, images)
            scores = scores_of(output)
    finally:
        for handle in handles:
            handle.remove()
    ends = _nodes(recorder, scores), _nodes(recorder, output)
    return Trace(recorder.record, tuple(steps), *ends), output


def _same_numbers(record: Record, node: int | None, inputs: Sequence[int]) -> bool:
    if node is None:
        return False
    return moved_from(record.nodes, node) in {moved_from(record.nodes, i) for i in inputs}


def _nodes(recorder: Recorder, output: Any) -> tuple[int, ...]:
    found = (recorder.node(tensor) for tensor in tensors_in(output))
    return tuple(number for number in found if number is not None)


# ── candidates and the default ───────────────────────────────────────────────────────────────────


def candidates(trace: Trace) -> list[Layer]:
    """The layers with a grid, one per tensor, in the order they run; one is the default."""
    steps = [step for step in _blocks(trace) if step.name]
    chosen = _default(trace, steps)
    return [_layer(trace, step, chosen) for step in steps]


def default_layer(trace: Trace) -> str:
    """The name of the default layer.

    Raises:
        LayerError: no layer has maps of the image that the scores depend on.
    """
    name = _default_name(trace)
    if name is not None:
        return name
    raise LayerError(
        "No layer could be chosen for this network: none that the scores depend on has a grid of "
        "positions in the image.",
        likely="It may flatten or pool the image before its first layer, mix positions in a way "
        "that cannot be followed, or add up its blocks outside any module.",
        do="Name the layer with layer= (--layer), and how its output holds maps with "
        "open_model(net, layout=...) or reshape=...; scorecam.layers(model, image) lists the "
        "layers. Methods that need no layer are rise and occlusion.",
    )


def _default_name(trace: Trace) -> str | None:
    return next((layer.name for layer in candidates(trace) if layer.default), None)


def _layer(trace: Trace, step: Step, chosen: Step | None) -> Layer:
    layout = trace.layout(step)
    assert layout is not None
    return Layer(
        name=trace.label(step),
        grid=layout.grid,
        channels=layout.channels,
        layout=layout.name,
        default=step is chosen,
        why=_why(trace, step, layout, chosen),
        on_path=trace.need(step) is not Need.NOTHING,
    )


def _why(trace: Trace, step: Step, layout: Layout, chosen: Step | None) -> str:
    if step is chosen:
        if trace.on_every_path(step):
            return "the last block that every path from the image to the scores passes through"
        return "the last block on a path to the scores; other paths lead around every block"
    if trace.need(step) is Need.NOTHING:
        return "not on the path from the image to the scores"
    if step.is_pool:
        return "a pool: blurred copies of the layer before"
    if math.prod(layout.grid) == 1:
        return "one cell: nothing to locate"
    if trace.need(step) is Need.EXTRAS:
        return "its positions are not used afterwards, only its other tokens"
    if step.node in trace.path.outputs:
        return "the output itself"
    if not trace.on_every_path(step):
        return "other paths to the scores lead around it"
    return "an earlier block"


def _default(trace: Trace, steps: Sequence[Step]) -> Step | None:
    """The last block that all paths pass through; without any, the last on some path."""
    suitable = [step for step in steps if _suits(trace, step)]
    on_every_path = [step for step in suitable if trace.on_every_path(step)]
    forwards = [step for step in suitable if not _flipped(trace, step)]
    return next(reversed(on_every_path or forwards or suitable), None)


def _suits(trace: Trace, step: Step) -> bool:
    layout = trace.layout(step)
    return (
        layout is not None
        and math.prod(layout.grid) > 1
        and layout.channels > 1  # a single map is a gate
        and trace.need(step) is Need.ALL
        and step.node not in trace.path.outputs
        and not step.is_pool
    )


def _flipped(trace: Trace, step: Step) -> bool:
    layout = trace.layout(step)
    return layout is not None and bool(layout.flipped)


def _blocks(trace: Trace) -> Iterator[Step]:
    """One step per tensor with a grid, under its usual name; outermost blocks only.

    Several modules may return the same tensor: a block and its last activation, or a module that
    only moves axes. The last to finish represents the tensor, unless it contains the network's
    first layer and a block inside it does not: `features.18` rather than `features`.
    """
    stem = trace.steps[0].name if trace.steps else ""
    groups: dict[object, list[Step]] = {}
    for step in trace.steps:
        if trace.layout(step) is not None:
            tensor = moved_from(trace.record.nodes, step.node) if step.node else step
            groups.setdefault(tensor, []).append(step)
    chosen = [_representative(group, stem) for group in groups.values()]
    suitable = [step for step in chosen if _suits(trace, step)]
    blocks = [
        step
        for step in chosen
        if step.has_children
        and not step.contains(stem)
        and (step in suitable or not any(step.contains(inner.name) for inner in suitable))
    ]
    order = {id(step): i for i, step in enumerate(trace.steps)}
    for step in sorted(chosen, key=lambda step: order[id(step)]):
        if not any(step.name.startswith(block.name + ".") for block in blocks):
            yield step


def _representative(group: Sequence[Step], stem: str) -> Step:
    """The step that names a tensor."""
    pools = [step for step in group if step.is_pool]
    if pools:
        return pools[0]
    named = [step for step in group if step.name and (step.has_children or not step.returns_input)]
    chosen = (named or list(group))[-1]
    while chosen.contains(stem):
        inner = [
            step for step in named if step.name.startswith(chosen.name + ".") and step.has_children
        ]
        if not inner:
            break
        chosen = inner[-1]
    return chosen


# ── a layer by name ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Place:
    """Where a layer's maps are found in a pass.

    Args:
        label: the layer's full name.
        name: of the module.
        call: which of its calls, from 1.
        tensor: which of the tensors that the call returns.
        layout: of the maps; None if the tensor has none.
        shape: of the tensor.
        follows_image: whether the tensor depends on the masked image.
        remark: what the user should know about this layer.
    """

    label: str
    name: str
    call: int
    tensor: int
    layout: Layout | None
    shape: tuple[int, ...]
    follows_image: bool
    remark: str


def place_of(trace: Trace, layer: str) -> Place | None:
    """Where a layer's maps are; None if it did not run.

    Args:
        trace: of the network.
        layer: a module's name, perhaps with `#` and the number of the call. Without it, the last
            call is meant that lies on the path.
    """
    name, _, number = layer.rpartition("#")
    steps = [step for step in trace.steps if step.name == layer]
    if not steps and name and number.isdigit():
        steps = [s for s in trace.steps if s.name == name and s.call == int(number)]
    if not steps:
        return None
    step = max(enumerate(steps), key=lambda pair: (*_rank(trace, pair[1]), pair[0]))[1]
    label = trace.label(step)
    return Place(
        label,
        step.name,
        step.call,
        step.place,
        layout=trace.layout(step),
        shape=step.shape,
        follows_image=step.node is not None or not trace.followed,
        remark=_remark(trace, step, label),
    )


def _rank(trace: Trace, step: Step) -> tuple[bool, bool, Need, bool, int]:
    """Steps of the same module in order of preference: on the path, with maps, and the first."""
    return (
        trace.layout(step) is not None,
        trace.on_every_path(step),
        trace.need(step),
        not _flipped(trace, step),
        -step.place,
    )


def _remark(trace: Trace, step: Step, label: str) -> str:
    if not trace.followed:
        return (
            "It could not be followed how the scores depend on the image (the network may use "
            f"numpy): the layer {quoted(label)} is taken to have its channels first, and to lie on "
            "the path."
        )
    if trace.need(step) is Need.NOTHING:
        return (
            f"The scores do not depend on the layer {quoted(label)}: its maps only make the masks."
        )
    if not trace.on_every_path(step) and label == _default_name(trace):
        return (
            f"No block lies on every path from the image to the scores: the layer {quoted(label)} "
            "is the last on one of them, and the map shows only what passes through it."
        )
    if trace.need(step) is Need.EXTRAS:
        return (
            f"The positions in the layer {quoted(label)} are not used afterwards, only its other "
            "tokens."
        )
    return ""


def module_name(layer: str, module: nn.Module) -> str:
    """The name of a layer's module, without the number of the call."""
    names = dict(module.named_modules(remove_duplicate=False))
    return layer if layer in names else layer.rpartition("#")[0]


def unknown_layer(name: str, module: nn.Module) -> LayerError:
    """The error for a layer name that does not exist."""
    names = [known for known, _ in module.named_modules() if known]
    return LayerError(
        f"The model has no layer called {quoted(name)}.",
        likely=did_you_mean(name, names),
        do="`scorecam layers` (or scorecam.layers) lists the layers that can be explained.",
    )

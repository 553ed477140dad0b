"""The record of a pass: every module's call, and every operation on the masked image."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.backends.tracing.maps import Layout, channels_first, layout_of
from scorecam.backends.tracing.operations import POOLS, WITH_WEIGHTS
from scorecam.backends.tracing.path import Path, moved_from, path
from scorecam.backends.tracing.recording import Record, Recorder, tensors_in
from scorecam.backends.tracing.uses import Need
from scorecam.base.cached_property import cached_property

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
        is_pool: whether the module is a pool, or ends with one.
        has_children: whether it has modules of its own.
        place: of the tensor among those that the call returned.
        node: its number in the record; None if it does not depend on the masked image.
        shape: of the tensor.
        returns_input: whether it is an input of the call, perhaps with its axes moved, as from
            dropout in evaluation mode.
        operation: whether it is an operation of torch, and no module.
    """

    name: str
    call: int
    is_pool: bool
    has_children: bool
    place: int
    node: int | None
    shape: tuple[int, ...]
    returns_input: bool
    operation: bool = False

    def contains(self, name: str) -> bool:
        return name == self.name or name.startswith(self.name + ".")


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
        operation: whether the layer is an operation of torch, and no module.
    """

    label: str
    name: str
    call: int
    tensor: int
    layout: Layout | None
    shape: tuple[int, ...]
    follows_image: bool
    remark: str
    operation: bool = False


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
        """The layout of a step's maps; None if it has none."""
        if step.node is not None:
            return layout_of(self.record.nodes[step.node].axes, self.image_axes)
        return None if self.followed else channels_first(step.shape, len(self.image_axes))

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
) -> Trace:
    """Run the module once, and record its calls and the operations on the masked image.

    Args:
        module: the network.
        images: its masked input, a batch of one.
        call: how it is called.
        scores_of: finds the scores in its output.
        ours: whether the current call belongs to this run; other threads may call the module too.
    """
    operations = _Operations()
    recorder = Recorder(images, operations.note)
    calls = _Calls(recorder, ours)
    handles = [
        child.register_forward_hook(functools.partial(calls.note, name))
        for name, child in module.named_modules()
        if not isinstance(child, torch.jit.ScriptModule)  # runs outside Python
    ]
    try:
        with (
            recorder,
            torch.jit.optimized_execution(should_optimize=False),
        ):  # fused ones are hidden
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
    ends = _nodes(recorder, scores)
    later = recorder.record.nodes[returned:]
    read = {edge.source for node in later for edge in node.edges} | set(ends)
    # Networks of transformers also return what they computed on the way: nobody reads it.
    outputs = tuple(node for node in _nodes(recorder, output) if node in read)
    known = Trace(recorder.record, tuple(calls.steps), ends, outputs)
    if not known.followed or any(step.name and known.layout(step) for step in calls.steps):
        return known
    # TorchScript and exported programs run their operations without calling modules.
    return replace(known, steps=(*calls.steps, *operations.steps), places={})


class _Calls:
    """Notes what the modules of a network return.

    Args:
        recorder: of the pass.
        ours: whether the current call belongs to the pass.
    """

    def __init__(self, recorder: Recorder, ours: Callable[[], bool]) -> None:
        self.steps: list[Step] = []
        self._recorder = recorder
        self._ours = ours
        self._counts: dict[str, int] = {}

    def note(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """The hook of a module."""
        if not self._ours():
            return
        record = self._recorder.record
        self._counts[name] = self._counts.get(name, 0) + 1
        known = _nodes(self._recorder, inputs)
        for place, tensor in enumerate(tensors_in(output)):
            number = self._recorder.node(tensor)
            step = Step(
                name=name,
                call=self._counts[name],
                is_pool=_is_pool(record, number, module),
                has_children=next(module.children(), None) is not None,
                place=place,
                node=number,
                shape=tuple(tensor.shape),
                returns_input=_same_numbers(record, number, known),
            )
            self.steps.append(step)


class _Operations:
    """Notes what operations return, from the first with weights on; counted by name."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._counts = Counter[str]()
        self._weighted = set[int]()

    def note(self, record: Record, number: int, tensor: Tensor) -> None:
        """Called by the recorder."""
        node = record.nodes[number]
        self._counts[node.name] += 1
        sources = [edge.source for edge in node.edges]
        if node.name not in WITH_WEIGHTS and self._weighted.isdisjoint(sources):
            return  # still the image itself, such as after normalising it
        self._weighted.add(number)
        step = Step(
            name=node.name,
            call=self._counts[node.name],
            is_pool=record.nodes[moved_from(record.nodes, number)].name in POOLS,
            has_children=False,
            place=0,
            node=number,
            shape=tuple(tensor.shape),
            returns_input=_same_numbers(record, number, sources),
            operation=True,
        )
        self.steps.append(step)


@contextlib.contextmanager
def kept_operation(images: Tensor, place: Place, outputs: list[Any]) -> Generator[None]:
    """In this context, the result of one operation on the masked images is kept.

    Args:
        images: the masked input of the pass.
        place: of the operation.
        outputs: gets a list with the tensor, as for a call of a module.
    """
    counts = Counter[str]()

    def keep(record: Record, number: int, tensor: Tensor) -> None:
        name = record.nodes[number].name
        counts[name] += 1
        if name == place.name:
            wanted = counts[name] == place.call
            # Cloned at once: later operations may write into it.
            outputs.append([tensor.clone()] if wanted else [])

    with Recorder(images, keep), torch.jit.optimized_execution(should_optimize=False):
        yield


def _is_pool(record: Record, node: int | None, module: nn.Module) -> bool:
    """Whether a module is a pool, or ends with one."""
    if re.search(r"pool(ing)?(\dd)?$", type(module).__name__, re.IGNORECASE):
        return True
    return node is not None and record.nodes[moved_from(record.nodes, node)].name in POOLS


def _same_numbers(record: Record, node: int | None, inputs: Sequence[int]) -> bool:
    if node is None:
        return False
    return moved_from(record.nodes, node) in {moved_from(record.nodes, i) for i in inputs}


def _nodes(recorder: Recorder, output: Any) -> tuple[int, ...]:
    found = (recorder.node(tensor) for tensor in tensors_in(output))
    return tuple(number for number in found if number is not None)

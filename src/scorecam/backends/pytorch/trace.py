"""The record of a pass: every module's call, and every operation on the masked image."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import FunctionType, MethodType
from typing import Any, Final

import torch
from torch import Tensor, nn

from scorecam.backends.pytorch.joined_calls import with_joined
from scorecam.backends.pytorch.steps import Calls, operations, unfused
from scorecam.backends.tracing.record import Record
from scorecam.backends.tracing.recording import Recorder, nodes_of, tensors_in
from scorecam.backends.tracing.trace import Trace
from scorecam.errors import ScorecamError
from scorecam.model.readout import Readout, fewest_cells, read
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
    recorder = Recorder(images)
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
    own = Record(list(recorder.record.nodes[:returned]))  # of the network, before calls are joined
    steps = tuple(with_joined(recorder.record, calls.steps))
    known = Trace(recorder.record, steps, ends, outputs)
    if not known.followed or any(
        step.name and (known.layout(step) or known.folded(step)) for step in steps
    ):
        return known
    # TorchScript and exported programs run their operations without calling modules.
    return replace(known, steps=(*steps, *operations(own)), places={})


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

    trace = watch(module, images, call, scores_in, ours=ours)
    cells = fewest_cells(readout)
    return replace(trace, dense=cells > 0, cells=cells), scores

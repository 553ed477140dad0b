"""The steps of a pass: what modules return, or operations in networks that call no modules."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scorecam.backends.tracing.operations import POOLS, WITH_WEIGHTS, sizes_of
from scorecam.backends.tracing.path import moved_from
from scorecam.backends.tracing.record import Record
from scorecam.backends.tracing.recording import OVERWRITTEN, Recorder, nodes_of, tensors_in
from scorecam.backends.tracing.steps import Step


class Calls:
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
        known = nodes_of(self._recorder, inputs)
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


def operations(record: Record) -> Iterator[Step]:
    """What operations returned, from the first with weights on; counted by name."""
    counts = Counter[str]()
    weighted = set[int]()
    for number, node in enumerate(record.nodes[1:], start=1):
        if node.name == OVERWRITTEN:
            continue  # no operation of its own
        counts[node.name] += 1
        sources = [edge.source for edge in node.edges]
        if node.name not in WITH_WEIGHTS and weighted.isdisjoint(sources):
            continue  # still the image itself, such as after normalising it
        weighted.add(number)
        yield Step(
            name=node.name,
            call=counts[node.name],
            is_pool=record.nodes[moved_from(record.nodes, number)].name in POOLS,
            has_children=False,
            place=0,
            node=number,
            shape=sizes_of(node.axes),
            returns_input=_same_numbers(record, number, sources),
            operation=True,
        )


def unfused() -> contextlib.AbstractContextManager[None]:
    """In this context, this thread's TorchScript fuses no operations, which would hide them."""
    return torch.jit.optimized_execution(should_optimize=False)  # pyright: ignore[reportPrivateImportUsage]


@contextlib.contextmanager
def kept_operation(
    images: Tensor, layer: str, calls: Collection[int], outputs: list[Any]
) -> Generator[None]:
    """In this context, the results of an operation on the masked images are kept.

    Args:
        images: the masked input of the pass.
        layer: the name of the operation.
        calls: which of its calls, from 1.
        outputs: gets a list with the tensor for each of them, as for a call of a module.
    """
    counts = Counter[str]()

    def keep(record: Record, number: int, tensor: Tensor) -> None:
        name = record.nodes[number].name
        counts[name] += 1
        if name == layer:
            wanted = counts[name] in calls
            # Cloned at once: later operations may write into it.
            outputs.append([tensor.clone()] if wanted else [])

    with Recorder(images, keep), unfused():
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

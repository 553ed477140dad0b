"""A recorder of the operations that depend on the masked image, while a network runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from scorecam.backends.tracing import axes as ax
from scorecam.backends.tracing import operations
from scorecam.backends.tracing.axes import Axes
from scorecam.backends.tracing.mode import QuietMode
from scorecam.backends.tracing.operation import Operation
from scorecam.backends.tracing.record import Edge, Node, Record
from scorecam.backends.tracing.uses import Use

OVERWRITTEN = "copy_"
"""The name of a node for a tensor of which a part was overwritten."""

Seen = Callable[[Record, int, Tensor], None]
"""Is called with the record so far, and the number and the tensor of its last node."""


class Recorder(QuietMode):
    """Within its context, records what is computed from one tensor.

    Args:
        image: the masked input of the pass, batch axis included.
        seen: is called for each result of an operation.
        record: of what was computed before, to be continued; None to begin a new one.
        known: the tensors of that record, by the numbers of their nodes.

    Attributes:
        failure: the error of the last operation that failed. TorchScript loses its text.
    """

    def __init__(
        self,
        image: Tensor,
        seen: Seen | None = None,
        record: Record | None = None,
        known: Mapping[int, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self._seen = seen
        self.failure: Exception | None = None
        self.record = record or Record([Node("image", ax.of_image(image.shape), ())])
        self._numbers: Any = WeakTensorKeyDictionary()
        self._written: dict[int, int] = {}
        self._numbers[image] = 0
        for number, tensor in (known or {}).items():
            self._numbers[tensor] = number

    def node(self, tensor: Tensor) -> int | None:
        """The number of a tensor's node; None if it does not depend on the image."""
        known = self._numbers.get(tensor)
        written = self._written.get(_storage(tensor)) if self._written else None
        if written is None or (known is not None and known >= written):
            return known
        before = self.record.nodes[written].axes
        axes = known is not None and self.record.nodes[known].axes
        # A part of it was overwritten: its axes are those of that part where the sizes agree.
        sources = [written] if known is None else [known, written]
        found = axes or _where_sizes_agree(before, tensor)
        edges = tuple(Edge(i, Use.ALL) for i in sources)
        return self._add(Node(OVERWRITTEN, found, edges), tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        if name not in operations.RULES and name not in operations.MOVES:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        sources: dict[int, tuple[Tensor, int]] = {}
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and (number := self.node(value)) is not None:
                sources[id(value)] = value, number
        try:
            result = func(*args, **kwargs)
        except Exception as error:
            self.failure = error
            raise
        results = tuple(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        if not sources:
            self._forget(results)
        elif results:
            nodes = self.record.nodes
            known = {key: nodes[number] for key, (_, number) in sources.items()}
            arguments = _bound(func, args, kwargs)
            operation = Operation(name, arguments, results, lambda x: known.get(id(x)))
            self._note(func, operation, sources.values())
        return result

    def _note(
        self, func: Any, operation: Operation, sources: Collection[tuple[Tensor, int]]
    ) -> None:
        """Add a node for each result of an operation.

        Args:
            sources: its tensors that depend on the image, with their nodes.
        """
        nodes = self.record.nodes_after(operation, sources)
        for result, node in zip(operation.results, nodes, strict=True):
            number = self._add(node, result)
            if _writes(func, operation.arguments, result):
                self._written[_storage(result)] = number
            elif operation.name not in operations.VIEWS:
                self._written.pop(_storage(result), None)
            if self._seen is not None:
                self._seen(self.record, number, result)

    def _add(self, node: Node, tensor: Tensor) -> int:
        self.record.nodes.append(node)
        self._numbers[tensor] = number = len(self.record.nodes) - 1
        return number

    def _forget(self, results: Iterable[Tensor]) -> None:
        """New tensors may have the memory of others that are gone."""
        if self._written:
            for tensor in results:
                if tensor not in self._numbers:
                    self._written.pop(_storage(tensor), None)


def _name(func: Any) -> str:
    packet = func.overloadpacket.__name__
    return packet if packet in operations.RULES else packet.removesuffix("_")


def _schema(func: Any) -> Sequence[Any]:
    return func._schema.arguments  # noqa: SLF001  (torch has no public way)


def _bound(func: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name."""
    names = [argument.name for argument in _schema(func)]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _writes(func: Any, arguments: dict[str, Any], result: Tensor) -> bool:
    """Whether the operation changed an argument in place and returned it."""
    written = (
        arguments.get(argument.name)
        for argument in _schema(func)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    return any(tensor is result for tensor in written)


def _storage(tensor: Tensor) -> int:
    """Identifies a tensor's memory; 0 if it has none of its own."""
    try:
        return tensor.untyped_storage()._cdata  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    except (RuntimeError, NotImplementedError):
        return 0


def _where_sizes_agree(axes: Axes, tensor: Tensor) -> Axes:
    if len(axes) != tensor.ndim:
        return ax.all_unknown(tensor.shape)
    return tuple(
        axis if axis.size == size else ax.unknown(size)
        for axis, size in zip(axes, tensor.shape, strict=True)
    )


def tensors_in(output: Any) -> Iterator[Tensor]:
    """The tensors in a module's output: in tuples, lists, dicts and records, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from tensors_in(value)
    elif dataclasses.is_dataclass(output):
        for field in dataclasses.fields(output):
            yield from tensors_in(getattr(output, field.name))


def nodes_of(recorder: Recorder, output: Any) -> tuple[int, ...]:
    """The nodes of the tensors in an output that depend on the masked image."""
    found = (recorder.node(tensor) for tensor in tensors_in(output))
    return tuple(number for number in found if number is not None)

"""One call of an operation of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.utils._pytree import tree_leaves

from scorecam.backends.tracing import axes as ax
from scorecam.backends.tracing.axes import Axes

Chosen = Mapping[int, tuple[int, int]]
"""For some axes of the input: the entry that a tensor depends on, and the number of entries."""


class Traced(Protocol):
    """What is known about a tensor that depends on the image."""

    @property
    def axes(self) -> Axes: ...
    @property
    def chosen(self) -> Chosen: ...


Known = Callable[[Tensor], Traced | None]
"""What is known about a tensor; None if it does not depend on the image."""


@dataclass(frozen=True)
class Operation:
    """One call of an operation, after it ran.

    Args:
        name: without namespace and overload; in-place operations have the name of the others.
        arguments: by the names in torch's schema, where it has one.
        results: the tensors that it returned.
        traced: what is known about a tensor before the call.
    """

    name: str
    arguments: dict[str, Any]
    results: tuple[Tensor, ...]
    traced: Known

    @property
    def result(self) -> Tensor:
        return self.results[0]

    def get(self, name: str, default: Any = None) -> Any:
        return self.arguments.get(name, default)

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments, those in lists included."""
        return [leaf for leaf in tree_leaves(self.arguments) if isinstance(leaf, Tensor)]

    @property
    def first(self) -> Tensor:
        """The first tensor that depends on the image."""
        return next(tensor for tensor in self.tensors if self.known(tensor) is not None)

    def known(self, tensor: Tensor) -> Axes | None:
        """The axes of a tensor; None if it does not depend on the image."""
        found = self.traced(tensor)
        return None if found is None else found.axes

    def chosen(self, tensor: Tensor) -> Chosen | None:
        """The entries that a tensor depends on; None if it does not depend on the image."""
        found = self.traced(tensor)
        return None if found is None else found.chosen

    def axes_or_features(self, tensor: Tensor) -> Axes:
        found = self.known(tensor)
        return tuple(map(ax.features, tensor.shape)) if found is None else found


Rule = Callable[[Operation], Sequence[Axes]]
"""The axes of an operation's results."""


def as_list(value: Any) -> list[Any]:
    """A number or a sequence as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]

"""One call of an operation of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from scorecam.backends.tracing import axes as ax
from scorecam.backends.tracing.axes import Axes

Known = Callable[[Tensor], Axes | None]
"""The axes of a tensor; None if it does not depend on the image."""


@dataclass(frozen=True)
class Operation:
    """One call of an operation, after it ran.

    Args:
        name: without namespace and overload; in-place operations have the name of the others.
        arguments: by the names in torch's schema, where it has one.
        results: the tensors that it returned.
        known: the axes of a tensor before the call.
    """

    name: str
    arguments: dict[str, Any]
    results: tuple[Tensor, ...]
    known: Known

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

    def axes(self, tensor: Tensor | None) -> Axes | None:
        return None if tensor is None else self.known(tensor)

    def axes_or_features(self, tensor: Tensor) -> Axes:
        found = self.known(tensor)
        return tuple(map(ax.features, tensor.shape)) if found is None else found


Rule = Callable[[Operation], Sequence[Axes]]
"""The axes of an operation's results."""


def as_list(value: Any) -> list[Any]:
    """A number or a sequence as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]

"""Running the network itself if it cannot have a view, and restoring it afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scorecam.backends.pytorch.views import NOT_SAVED
from scorecam.errors import ModelError

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
)


@contextlib.contextmanager
def restored_afterwards(module: nn.Module) -> Generator[nn.Module]:
    """The network for one pass; afterwards its tensors are restored.

    Raises:
        ModelError: it is in training mode. Changing that could break a training step in another
            thread.
    """
    if any(child.training for child in module.modules()):
        raise ModelError(
            "The network is in training mode, and it cannot have a view in evaluation mode.",
            likely="An attribute of the network may call its own modules, or the class of a module "
            "may have __slots__.",
            do="Call net.eval() before you explain it, and net.train() before you train again.",
        )
    kept = [_Snapshot(child) for child in module.modules()]
    try:
        yield module
    finally:
        with torch.inference_mode(mode=False), torch.no_grad():
            for snapshot in kept:
                snapshot.restore()


@contextlib.contextmanager
def untouched(module: nn.Module) -> Generator[None]:
    """Parameters need no gradient in this context; hooks that were added are removed afterwards."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    hooks = [
        (table, dict(table))
        for child in module.modules()
        for table in (getattr(child, name) for name in _HOOKS)
    ]
    for parameter in trained:
        parameter.requires_grad_(False)  # noqa: FBT003
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)  # noqa: FBT003
        for table, before in hooks:
            for key in [key for key in table if key not in before]:
                del table[key]


@dataclass
class _Value:
    """A tensor, and a copy of its values."""

    tensor: Tensor
    copy: Tensor
    version: int

    def restore(self) -> None:
        if self.tensor._version != self.version:  # noqa: SLF001  (torch's count of writes)
            self.tensor.copy_(self.copy)


class _Snapshot:
    """The tensors of one module that are not parameters, and the dicts that hold them."""

    def __init__(self, module: nn.Module) -> None:
        self._tensor_dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = [
            (attributes, dict(attributes)) for attributes in _tensor_dicts(module)
        ]
        self._unsaved = vars(module)[NOT_SAVED]
        self._unsaved_before = set(self._unsaved)
        with torch.inference_mode(mode=False), torch.no_grad():
            self._values = [
                _Value(tensor, tensor.detach().clone(), tensor._version)  # noqa: SLF001
                for _, before in self._tensor_dicts
                for tensor in before.values()
                if _is_plain(tensor)
            ]

    def restore(self) -> None:
        for attributes, before in self._tensor_dicts:
            for key, value in list(attributes.items()):
                old = before.get(key)
                if value is old or not (isinstance(value, Tensor) or isinstance(old, Tensor)):
                    continue
                if key in before:
                    attributes[key] = old
                else:
                    del attributes[key]
            for key, old in before.items():
                if key not in attributes and isinstance(old, Tensor):
                    attributes[key] = old
        for value in self._values:
            value.restore()
        self._unsaved.intersection_update(self._unsaved_before)
        self._unsaved.update(self._unsaved_before)


def _tensor_dicts(module: nn.Module) -> Iterator[dict[Any, Any]]:
    """Dicts in which a module keeps tensors: its attributes, and attributes that are dicts."""
    own = vars(module)
    yield own
    yield from (value for value in list(own.values()) if type(value) is dict)


def _is_plain(value: Any) -> bool:
    plain = isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
    return plain and not is_lazy(value) and not value.is_inference()

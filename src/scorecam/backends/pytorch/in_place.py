"""Running a network itself, where there can be no view of it, and leaving it as it was found."""

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
def as_found(module: nn.Module) -> Generator[nn.Module]:
    """The network for one pass; afterwards its tensors are what they were.

    Raises:
        ModelError: it is in training mode. To change that would reach into a training step that
            may be running in another thread.
    """
    if any(child.training for child in module.modules()):
        raise ModelError(
            "The network is in training mode, and no view of it in evaluation mode can be made.",
            likely="An object that the network holds may call the network's own modules, or the "
            "class of a module may have __slots__.",
            do="Call net.eval() before explaining it, and net.train() before training goes on.",
        )
    kept = [_Kept(child) for child in module.modules()]
    try:
        yield module
    finally:
        with torch.inference_mode(mode=False), torch.no_grad():
            for each in kept:
                each.put_back()


@contextlib.contextmanager
def untouched(module: nn.Module) -> Generator[None]:
    """No parameter wants a gradient; afterwards they do again, and hooks left behind are gone."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    hooks = [
        (table, dict(table))
        for child in module.modules()
        for table in (getattr(child, name) for name in _HOOKS)
    ]
    for parameter in wanted:
        parameter.requires_grad_(False)  # noqa: FBT003
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)  # noqa: FBT003
        for table, before in hooks:
            for key in [key for key in table if key not in before]:
                del table[key]


@dataclass
class _Value:
    """A tensor, and what it held."""

    tensor: Tensor
    copy: Tensor
    version: int

    def put_back(self) -> None:
        if self.tensor._version != self.version:  # noqa: SLF001  (torch's count of writes)
            self.tensor.copy_(self.copy)


class _Kept:
    """The tensors of one module that are no parameters, and where it has them."""

    def __init__(self, module: nn.Module) -> None:
        self._homes: list[tuple[dict[Any, Any], dict[Any, Any]]] = [
            (home, dict(home)) for home in _homes(module)
        ]
        self._unsaved = vars(module)[NOT_SAVED]
        self._unsaved_before = set(self._unsaved)
        with torch.inference_mode(mode=False), torch.no_grad():
            self._values = [
                _Value(tensor, tensor.detach().clone(), tensor._version)  # noqa: SLF001
                for _, before in self._homes
                for tensor in before.values()
                if _is_plain(tensor)
            ]

    def put_back(self) -> None:
        for home, before in self._homes:
            for key, value in list(home.items()):
                was = before.get(key)
                if value is was or not (isinstance(value, Tensor) or isinstance(was, Tensor)):
                    continue
                if key in before:
                    home[key] = was
                else:
                    del home[key]
            for key, was in before.items():
                if key not in home and isinstance(was, Tensor):
                    home[key] = was
        for value in self._values:
            value.put_back()
        self._unsaved.intersection_update(self._unsaved_before)
        self._unsaved.update(self._unsaved_before)


def _homes(module: nn.Module) -> Iterator[dict[Any, Any]]:
    """Where a module keeps tensors: its attributes, its buffers, and dicts among the former."""
    own = vars(module)
    yield own
    yield from (value for value in list(own.values()) if type(value) is dict)


def _is_plain(value: Any) -> bool:
    plain = isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
    return plain and not is_lazy(value) and not value.is_inference()

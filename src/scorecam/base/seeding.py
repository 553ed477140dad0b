"""Seeded random numbers for code that uses torch's global generators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class SeededDraws(TorchDispatchMode):
    """In this thread, make torch's operations draw from generators with the given seed.

    The numbers are those after `torch.manual_seed(seed)`, but torch's global generators, which all
    threads share, are neither used nor changed.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed % 2**63
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = dict(kwargs or {})
        seeded = _with_generator(func)
        if seeded is None or given.get("generator") is not None:
            return func(*args, **given)
        tensor = next((value for value in args if isinstance(value, Tensor)), None)
        device = torch.device(tensor.device if tensor is not None else given.get("device") or "cpu")
        return seeded(*args, **given, generator=self._generator(device))

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


def _with_generator(func: Any) -> Any:
    """The overload of an operation that takes a generator; None if it has none."""

    def takes(overload: Any) -> bool:
        return any(argument.name == "generator" for argument in overload._schema.arguments)  # noqa: SLF001

    if takes(func):
        return func
    packet = func.overloadpacket
    plain = [argument.name for argument in func._schema.arguments]  # noqa: SLF001
    for name in packet.overloads():
        other = getattr(packet, name)
        names = [argument.name for argument in other._schema.arguments]  # noqa: SLF001
        if takes(other) and [argument for argument in names if argument != "generator"] == plain:
            return other
    return None

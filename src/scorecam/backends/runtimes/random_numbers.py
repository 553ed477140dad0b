"""Whether random numbers are drawn while a network runs."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


def outside_torch() -> tuple[Any, ...]:
    """The state of Python's own generator, and of NumPy's."""
    state: Any = np.random.get_state()  # noqa: NPY002  (the one that networks may draw from)
    return random.getstate(), state[1].tobytes(), state[2:]


def in_torch(device: torch.device) -> tuple[bytes, ...]:
    """The state of torch's generators that a network on this device may draw from."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return tuple(state.numpy().tobytes() for state in states)


class DrawWatcher(TorchDispatchMode):
    """Watches the operations of this thread.

    Args:
        device: where the network runs.

    Attributes:
        drew: whether an operation drew random numbers.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.drew = False
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        before = in_torch(self._device)
        result = func(*args, **(kwargs or {}))
        self.drew |= before != in_torch(self._device)  # dropout in evaluation mode draws none
        return result

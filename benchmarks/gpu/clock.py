"""Time and memory on a device."""

from __future__ import annotations

import time
from typing import Self

import torch

MIB = 2**20


class Clock:
    """The time, and the most memory, of the work in its block.

    Args:
        device: of PyTorch. Memory is only measured on a card: it is what PyTorch allocates there.

    Attributes:
        seconds: until the device had finished.
        mib: above the memory in use at the start.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.on_card = torch.device(device).type == "cuda"
        self.seconds = self.mib = 0.0
        self._held = 0

    def __enter__(self) -> Self:
        if self.on_card:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._held = torch.cuda.memory_allocated(self.device)
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.on_card:
            torch.cuda.synchronize(self.device)
        self.seconds = time.perf_counter() - self._began
        if self.on_card:
            peak = torch.cuda.max_memory_allocated(self.device)
            self.mib = (peak - self._held) / MIB

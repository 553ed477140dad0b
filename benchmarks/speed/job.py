"""One job for a process of its own, with the clock and the memory meter."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import torch
from torch import Tensor

from scorecam import scaled

MIB = 2**20


@dataclass(frozen=True)
class Job:
    """What a child process measures.

    Args:
        network, row: the row "reference" makes the exact map that the others are compared with.
        device: the PyTorch device.
        photos: the files.
        at: the number of the photo, for rows that take one photo.
        layer, target: scorecam's default layer and predicted class, for the other packages.
        floor: runtime, precision, passes and batch size to repeat.
        runtime: the runtime of a reference.
        maps: the file for the scaled maps.
    """

    network: str
    row: str
    device: str
    photos: list[Path]
    at: int = 0
    layer: str | None = None
    target: int | None = None
    floor: tuple[str, str, int, int] | None = None
    runtime: str = "eager"
    maps: Path | None = None


class Peak:
    """The peak memory above the memory in use at the start.

    On a CPU it is the resident set, sampled from a thread, so that torch, OpenVINO and numpy all
    count. On a GPU it is what torch allocates there.
    """

    EVERY = 0.005

    def __init__(self, device: str) -> None:
        self.device = device
        self.bytes = 0
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._process = psutil.Process()
        self._start = 0

    def __enter__(self) -> Self:
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._start = torch.cuda.memory_allocated()
            return self
        with contextlib.suppress(OSError, AttributeError):  # only glibc has it
            # Otherwise memory that loading the model left on the heap is reused and not counted.
            ctypes.CDLL(None).malloc_trim(0)
        self._start = self._process.memory_info().rss
        self._sampler.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._start
            return
        self._stop.set()
        self._sampler.join()
        self._update()

    def _sample(self) -> None:
        while not self._stop.wait(self.EVERY):
            self._update()

    def _update(self) -> None:
        self.bytes = max(self.bytes, self._process.memory_info().rss - self._start)


def now(device: str) -> float:
    """The time in seconds, after the device has finished its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def save(job: Job, heatmaps: Sequence[Tensor]) -> None:
    """Write the scaled maps for the parent process."""
    if job.maps is not None:
        np.save(job.maps, torch.stack([scaled(heatmap) for heatmap in heatmaps]).cpu().numpy())

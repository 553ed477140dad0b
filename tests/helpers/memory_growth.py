"""The peak memory of an explanation, and of one plain pass, in a process of its own.

    python memory_growth.py many|large exact|fast

It prints both in MiB, beyond the network and the image. Only Linux has the files that it reads.
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import scorecam

CLASSES = 10


class Reached(Exception):
    """Enough masks were scored: memory no longer grows."""


class Network(nn.Module):
    """A layer of any number of channels, on a grid of any size."""

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.maps = nn.Conv2d(3, channels, 1)
        self.classes = nn.Linear(channels, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(self.pool(images)).mean((2, 3)))


SUBJECTS = {"many": (8192, 56, 224), "large": (4, 16, 4000)}
"""Channels, grid and image size."""


def memory(name: str) -> float:
    """A number of this process's status, in MiB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{name}:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) / 1024


def reset_peak() -> None:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def explain(network: nn.Module, image: Tensor, budget: str, masks: int) -> None:
    def stop(progress: scorecam.Progress) -> None:
        if progress.done > masks:
            raise Reached

    try:
        explanation = scorecam.explain(
            network, image, layer="maps", budget=budget, runtime="eager", progress=stop
        )
    except Reached:
        return
    assert explanation.heatmap.shape == image.shape[1:]


def main(subject: str, budget: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    channels, grid, size = SUBJECTS[subject]
    for warm in ("exact", "fast"):  # loads what scorecam and torch load once
        explain(Network(300, 4).eval(), torch.rand(3, 32, 32), warm, 1000)
    network = Network(channels, grid).eval()
    coarse = torch.rand(1, 3, 7, 7)
    image = nn.functional.interpolate(coarse, (size, size), mode="bilinear")[0]
    reset_peak()
    start = memory("VmRSS")
    with torch.inference_mode():
        network(image[None])
    plain = memory("VmHWM") - start
    reset_peak()
    explain(network, image, budget, masks=40)
    sys.stdout.write(f"{plain:.0f} {memory('VmHWM') - start:.0f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

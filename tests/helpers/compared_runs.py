"""Networks to compare, and comparisons of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import scorecam
from scorecam import Model
from scorecam.runs.compare.comparison import Comparison
from scorecam.testing import Regions
from small_runs import opened

NETWORKS: dict[str, nn.Module] = {
    "right": Regions(0.1 * torch.eye(3)),
    "same": Regions(0.1 * torch.eye(3)),
    "near": Regions(0.1 * torch.eye(3) + 0.02),
    "swapped": Regions(0.1 * torch.eye(3)[[1, 2, 0]]),
}


def opener(spec: str, **settings: str) -> Model:
    assert not settings
    return opened(NETWORKS[spec])


def compared(sides: list[str], dataset: Any, out: Path, **others: Any) -> Comparison:
    settings = {"method": "scorecam:variant=increase", "opener": opener} | others
    return scorecam.compare(sides, dataset, out=out, **settings)

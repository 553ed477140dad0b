"""PyTorch on this machine: devices, runtimes and precisions."""

from __future__ import annotations

import torch

from scorecam.backends.diagnosis import Diagnosis
from scorecam.backends.runtimes.choice import advice


def diagnosis() -> Diagnosis:
    """What `scorecam doctor` prints about PyTorch."""
    devices = ["cpu"]
    devices += [
        f"cuda:{index}  {torch.cuda.get_device_name(index)}"
        for index in range(torch.cuda.device_count())
    ]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return Diagnosis(devices=devices, advice=advice())

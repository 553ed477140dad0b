"""A run that a child process can start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import scorecam
from scorecam import Model, Preprocess
from scorecam.testing import Regions

PHOTOS = 200

METHODS = "scorecam,scorecam:variant=algorithm1,random"


def model() -> Model:
    network = Regions(torch.tensor([[0.5, 0.1, 0.1], [0.1, 0.4, 0.2], [0.2, 0.1, 0.3]]))
    preprocess = Preprocess(
        size=(8, 8),
        fit="squash",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="nearest",
    )
    return scorecam.open_model(network, preprocess=preprocess, labels=["a", "b", "c"])


def run(folder: Path, out: Path, **others: Any) -> scorecam.runs.summary.Summary:
    return scorecam.evaluate(
        model(), folder, METHODS, "recognition,deletion", out=out, runtime="eager", **others
    )

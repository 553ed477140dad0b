"""Explain a network of every family without arguments, and time it.

    python -m benchmarks.compatibility.families

The networks have random weights; they are those of tests/helpers/families.py. Writes
benchmarks/results/compatibility/families.json, which `compatibility_page` reads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import scorecam
from benchmarks.common.paths import RESULTS
from tests.helpers import torchvision_ops
from tests.helpers.families import FAMILIES, Family

MASKS = 8
"""Masks of a map: enough to time it."""

FILE = RESULTS / "compatibility" / "families.json"


def measured(family: Family) -> dict[str, Any]:
    """One family: its default layer, and seconds for a pass and for a map of a few masks."""
    row: dict[str, Any] = {"library": family.library, "family": family.name}
    row["argument"] = ", ".join(f"{name}=" for name in family.options)
    try:
        model = scorecam.open_model(family.network(), **family.options)
        image = family.image()
        model.scores(image)
        began = time.perf_counter()
        model.scores(image)
        row["pass"] = time.perf_counter() - began
        began = time.perf_counter()
        explanation = scorecam.explain(model, image, 0, budget=MASKS, runtime="eager")
        row["map"] = time.perf_counter() - began
        row["passes"] = explanation.provenance.forward_passes
        [default] = [layer for layer in scorecam.layers(model, image) if layer.default]
        row |= {"layer": default.name, "grid": default.grid, "channels": default.channels}
        row["layout"] = default.layout
    except scorecam.ScorecamError as error:
        row["refused"] = str(error)
    return row


# ── networks that cannot be explained ────────────────────────────────────────────────────────────


class Flat(nn.Sequential):
    """A network of fully connected layers."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.ReLU(), nn.Linear(8, 3))


class Cropped(nn.Module):
    """Looks at the left half of the image only."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.maps(images[..., : images.shape[-1] // 2]).mean((2, 3)))


def optimised() -> nn.Module:
    """A network that computes outside PyTorch's own operations."""
    network = nn.Sequential(nn.Conv2d(3, 8, 4), nn.Flatten(), nn.Linear(8 * 13 * 13, 3))
    return torch.jit.optimize_for_inference(torch.jit.script(network.eval()))


REFUSED: dict[str, Callable[[], nn.Module]] = {
    "fully connected layers only": Flat,
    "a crop of half the image": Cropped,
    "TorchScript, optimised for inference": optimised,
}


def refusal(build: Callable[[], nn.Module]) -> str:
    """The error for a network that cannot be explained."""
    try:
        scorecam.explain(build().eval(), torch.rand(1, 3, 16, 16), 0)
    except scorecam.ScorecamError as error:
        return str(error)
    return ""


def main() -> None:
    """Measure all families and write the results."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    torchvision_ops.define()
    torch.set_num_threads(2)
    rows: list[dict[str, Any]] = []
    for family in FAMILIES:
        rows.append(measured(family))
        print(len(rows), "of", len(FAMILIES), rows[-1])
    refused = {name: refusal(build) for name, build in REFUSED.items()}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps({"families": rows, "refused": refused}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

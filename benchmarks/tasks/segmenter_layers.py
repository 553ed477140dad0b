"""The layer from which a segmenter's map shows why a region has its class.

    python -m benchmarks.tasks.segmenter_layers --work WORK

Two U-Nets are trained on scenes in which the class of a disk depends on a flag elsewhere. This
happens once: their weights stay in WORK. Then the class "ripe" is explained from every layer. The
tables are in docs/tasks/segment.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.tasks.segmenter import NAMES, RIPE, Scene, UNet, scene, trained
from scorecam.tasks import Segment

VARIANTS = ("centred", "official", "increase")
STEPS = 12
"""Steps of the curves of deletion and insertion."""

STRIDES = {"6 × 8": 2, "12 × 16": 1}
"""The grid at the bottom, and the stride that makes it."""


def scenes(net: UNet, count: int) -> list[Scene]:
    """Scenes with a ripe disk that the network recognises."""
    generator, found = torch.Generator().manual_seed(11), list[Scene]()
    while len(found) < count:
        each = scene(generator, ripe=True)
        with torch.no_grad():
            labels = net(each.image[None])[0].argmax(0)
        if each.flag.sum() >= 20 and (labels[each.disk] == RIPE).float().mean() >= 0.7:
            found.append(each)
    return found


def curve(
    score: Callable[[Tensor], Tensor], image: Tensor, heatmap: Tensor, *, insert: bool
) -> float:
    """The mean score as the most important pixels appear or vanish."""
    order = heatmap.flatten().argsort(descending=True)
    kept = torch.zeros(STEPS + 1, len(order))
    for step, row in enumerate(kept):
        row[order[: len(order) * step // STEPS]] = 1
    kept = kept.view(-1, 1, *heatmap.shape)
    return float(score(image * (kept if insert else 1 - kept)).mean())


def measured(net: UNet, each: Scene, layer: str) -> dict[str, dict[str, float]]:
    """The numbers of each variant for one scene."""
    model = scorecam.open_model(net, labels=NAMES, task=Segment())
    explanation = scorecam.explain(model, each.image, "ripe", layer=layer, runtime="eager")
    columns, found = explanation.task_columns, dict[str, dict[str, float]]()

    def score(images: Tensor) -> Tensor:
        with torch.no_grad():
            return columns.readout(net(images))[:, columns.column]

    for variant in VARIANTS:
        heatmap = explanation.of(variant=variant).heatmap
        total = float(heatmap.sum()) or 1.0
        found[variant] = {
            "flag": float(heatmap[each.flag].sum()) / total,
            "disk": float(heatmap[each.disk].sum()) / total,
            "insertion": curve(score, each.image, heatmap, insert=True),
            "deletion": curve(score, each.image, heatmap, insert=False),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=8)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for grid, stride in STRIDES.items():
        net = trained(stride, options.work / f"unet{stride}.pt")
        chosen = scenes(net, options.scenes)
        area = torch.stack([torch.stack([s.flag, s.disk]) for s in chosen]).float().mean((0, 2, 3))
        rows.append(
            {"bottom": grid, "layer": "area", "flag": float(area[0]), "disk": float(area[1])}
        )
        for layer in UNet.LAYERS:
            found = [measured(net, each, layer) for each in chosen]
            for variant in VARIANTS:
                values = {
                    name: sum(each[variant][name] for each in found) / len(found)
                    for name in found[0][variant]
                }
                rows.append({"bottom": grid, "layer": layer, "variant": variant, **values})
                print(rows[-1], flush=True)
    path = RESULTS / "tasks" / "segmenter-layers.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"scenes": options.scenes, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

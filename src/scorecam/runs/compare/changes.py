"""The numbers of a comparison: similarity, agreement, focus and accuracy over common photos."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from scorecam.base.interpolation import upsample
from scorecam.base.wording import excerpt
from scorecam.datasets.sample import Label
from scorecam.errors import RunError
from scorecam.metrics.similarity import pearson
from scorecam.metrics.statistics import Interval, interval, paired
from scorecam.runs.answer import SAME_BOX
from scorecam.runs.compare.class_changes import class_changes
from scorecam.runs.compare.classes import check_records
from scorecam.runs.compare.sides import Side
from scorecam.runs.compare.versus import PhotoChange, Versus
from scorecam.runs.record import MeasuredRecord
from scorecam.tasks.detect.detections import intersection_over_union

COMMON_SIDE = 56
"""Cells along each axis of the common grid for maps on different grids."""


def compare_with_first(first: Side, other: Side) -> Versus:
    """The first side compared with another.

    Raises:
        ModelError: their classes differ.
        RunError: they have no photo in common, or one failed on every photo.
    """
    check_records(first, other)
    photos = _changes(first, other)
    for side in (first, other):
        if side.failures and not side.records and not side.not_found:
            raise RunError(
                f"{side.candidate.text} failed on every photo, {side.failures:,} in all.",
                likely=excerpt(side.reason, 300),
                do="Explain one of the photos with `scorecam explain`.",
            )
    if not photos:
        raise RunError(
            f"{first.candidate.text} and {other.candidate.text} have no photo in common.",
            likely="They ran on different data sets, or failed on different photos.",
            do="Run both on the same photos.",
        )
    known = [photo.similarity for photo in photos if photo.similarity is not None]
    both = [photo.focus for photo in photos if None not in photo.focus]
    return Versus(
        other=other.candidate.text,
        similarity=interval(known),
        undefined=len(photos) - len(known),
        agreement=interval([float(not photo.flipped) for photo in photos]),
        focus=paired([float(b or 0) for _, b in both], [float(a or 0) for a, _ in both]),
        photos=tuple(photos),
        classes=class_changes(photos),
    )


def focus_and_accuracy(
    sides: Sequence[Side], common: set[str]
) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """The means of each side over the common photos.

    An object that a side does not find is a wrong prediction.
    """
    focus: list[Interval] = []
    accuracy: list[Interval] = []
    judged = set.intersection(*({*side.records} | side.not_found for side in sides))
    for side in sides:
        own = [record for sample, record in side.records.items() if sample in common]
        focus.append(interval([value for r in own if (value := _focus(r)) is not None]))
        known = [r for sample, r in side.records.items() if sample in judged]
        right = [float(r.right) for r in known if r.right is not None]
        accuracy.append(interval([*right, *[0.0] * len(side.not_found & judged)]))
    return tuple(focus), tuple(accuracy)


def map_similarity(one: Tensor, other: Tensor) -> float | None:
    """The correlation of two maps on a common grid; None if one is constant."""
    if one.shape != other.shape:
        size = (COMMON_SIDE,) * one.ndim
        one, other = upsample(one[None], size)[0], upsample(other[None], size)[0]
    correlation = pearson(one, other)
    return None if math.isnan(correlation) else correlation


def _changes(first: Side, other: Side) -> list[PhotoChange]:
    """The common photos: different predictions first, then the least similar maps."""
    labels = _label_names(first)
    photos = [
        PhotoChange(
            id=sample,
            name=record.name,
            similarity=_similarity(sample, first, other),
            flipped=not _same_answer(record, other_record),
            focus=(_focus(record), _focus(other_record)),
            predicted=(record.predicted, other_record.predicted),
            right=(record.right, other_record.right),
            label=None if record.label is None else labels[record.label],
        )
        for sample, record in first.records.items()
        if (other_record := other.records.get(sample)) is not None
    ]
    photos += [
        PhotoChange(
            id=sample,
            name=record.name,
            similarity=None,
            flipped=True,
            focus=(_focus(record), None),
            predicted=(record.predicted, None),
            right=(record.right, False),
            label=None if record.label is None else labels[record.label],
        )
        for sample, record in first.records.items()
        if sample in other.not_found
    ]
    photos.sort(key=lambda p: (not p.flipped, 2.0 if p.similarity is None else p.similarity))
    return photos


def _label_names(side: Side) -> dict[Label, str]:
    """The labels of a side's photos in words: the model's name of the class where it is known."""
    names: dict[Label, str] = {}
    for record in side.records.values():
        if record.label is None:
            continue
        # An explained class is the label or the prediction.
        is_label = record.right or record.target.index != record.predicted.index
        name = record.target.name if is_label else None
        if name is not None or record.label not in names:
            names[record.label] = name or str(record.label)
    twice = Counter(names.values())
    return {
        label: f"{name} ({label})" if twice[name] > 1 else name for label, name in names.items()
    }


def _similarity(sample: str, first: Side, other: Side) -> float | None:
    one, two = first.records[sample], other.records[sample]
    same = one.target.index == two.target.index and _same_box(one, two)
    if not same or sample not in first.maps or sample not in other.maps:
        return None
    own, others = first.maps[sample], other.maps[sample]
    similarity = map_similarity(own, others)
    if similarity is None and _is_constant(own) != _is_constant(others):
        return 0.0
    return similarity


def _same_answer(one: MeasuredRecord, other: MeasuredRecord) -> bool:
    """Whether both sides predict the same class, or explain the same box."""
    return one.predicted.index == other.predicted.index and _same_box(one, other)


def _same_box(one: MeasuredRecord, other: MeasuredRecord) -> bool:
    """Whether the boxes of two targets overlap by enough; True without boxes."""
    if one.box is None or other.box is None:
        return True
    shared = intersection_over_union(torch.tensor([one.box]), torch.tensor([other.box]))
    return float(shared) >= SAME_BOX


def _is_constant(map_: Tensor) -> bool:
    low, high = map_.aminmax()
    return not bool(high > low)


def _focus(record: MeasuredRecord) -> float | None:
    """The energy in the object: in its mask if there is one, otherwise in its boxes."""
    return record.values.get("energy_mask", record.values.get("energy_box"))

"""From a detector's output for one image to a column per box."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scorecam.errors import TargetError
from scorecam.model.model import Model, TargetSpec
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images
from scorecam.tasks.detect.decoder import RawOutput
from scorecam.tasks.detect.decoders.function import DecodeFunction
from scorecam.tasks.detect.detections import Detections
from scorecam.tasks.detect.levels import grid_of
from scorecam.tasks.detect.matching import BoxScores, best_matches
from scorecam.tasks.detect.names import class_name, fitting_names
from scorecam.tasks.detect.recognition import decoder_for, stated
from scorecam.tasks.detect.suppression import MOST_BOXES, FoundBoxes, find_boxes
from scorecam.tasks.detect.targets import NamedBoxes, column_of, given_box


def columns_of(
    model: Model,
    images: Images,
    target: TargetSpec,
    *,
    decode: str | DecodeFunction | None,
    threshold: float,
    overlap: float,
) -> TaskColumns:
    """The columns of one image; see `Task.columns`.

    Args:
        images: `1 c h w`.
        decode, threshold, overlap: see `Detect`.
    """
    size = (images.shape[2], images.shape[3])
    names = model.class_names if model.names is None else model.names
    raw = RawOutput(model.output(images), size, None if names is None else len(names))
    decoder = decoder_for(raw, decode)
    detections = _first_image(decoder.decode(raw.output))
    found = find_boxes(detections, threshold, None if decoder.final else overlap)
    corners = given_box(target, size)
    if not len(found) and corners is None:
        raise _nothing(found.best, threshold)
    boxes = _named(found, detections, names)
    column, remarks = column_of(boxes, target, size), [*_remarks(found, detections)]
    if column is None and corners is not None:
        found = _with_given(found, detections, corners)
        boxes, column = _named(found, detections, names), len(found) - 1
        remarks.append(_about_given(boxes))
    column = column or 0
    grid = grid_of(detections, found.boxes[column], found.classes[column], size)
    return TaskColumns(
        BoxScores(decoder, found.boxes, found.classes),
        boxes.names,
        column=column,
        task="detect",
        boxes=found.boxes,
        classes=tuple(zip(found.classes.tolist(), boxes.kinds, strict=True)),
        remarks=(stated(decoder), *remarks),
        grid=grid or "deepest",
    )


def _first_image(found: Detections) -> Detections:
    """The detections for the image; networks of a fixed batch return more rows.

    Raises:
        TargetError: a probability is not in [0, 1].
    """
    labels = None if found.labels is None else found.labels[:1]
    found = dataclasses.replace(
        found, boxes=found.boxes[:1], probabilities=found.probabilities[:1], labels=labels
    )
    numbers = found.probabilities
    numbers = numbers[numbers.isfinite()]
    if numbers.numel() and not (-1e-3 <= float(numbers.min()) <= float(numbers.max()) <= 1 + 1e-3):
        raise TargetError(
            f"The probabilities of the boxes are from {float(numbers.min()):.3g} to "
            f"{float(numbers.max()):.3g}, and not from 0 to 1.",
            likely="The output has another form, or its scores are logits.",
            do="Give decode= (--decode).",
        )
    return found


def _named(found: FoundBoxes, detections: Detections, names: Sequence[str] | None) -> NamedBoxes:
    """The boxes with the class names, if these fit."""
    labels = detections.labels
    classes = detections.probabilities.shape[2] if labels is None else None
    largest = max([-1, *found.classes.tolist()])
    known = names if fitting_names(names, classes, largest) else None
    kinds = tuple(class_name(index, known) for index in found.classes.tolist())
    return NamedBoxes(found, kinds, tuple(known or ()))


def _with_given(found: FoundBoxes, detections: Detections, corners: Tensor) -> FoundBoxes:
    """The boxes and a given one, with the class that fits best there.

    Raises:
        TargetError: no detection overlaps it.
    """
    labels = detections.labels
    classes = torch.arange(detections.probabilities.shape[2]) if labels is None else labels.unique()
    classes = classes.cpu()
    scores = best_matches(detections, corners.repeat(len(classes), 1), classes)[0].cpu()
    best = int(scores.argmax())
    if not float(scores[best]) > 0:
        raise TargetError(
            "The detector gives no class a probability in a box that overlaps the given one.",
            do="Give another box, or the name or index of a box that it finds.",
        )
    return FoundBoxes(
        torch.cat([found.boxes, corners[None]]),
        torch.cat([found.classes, classes[best : best + 1]]),
        torch.cat([found.scores, scores[best : best + 1]]),
        found.best,
    )


def _about_given(boxes: NamedBoxes) -> str:
    score = float(boxes.found.scores[-1])
    return (
        "The detector found no box that overlaps the given one by half. The given box is "
        f"explained, with the class that fits best there, {boxes.kinds[-1]}: score {score:.2g}."
    )


def _remarks(found: FoundBoxes, detections: Detections) -> Iterator[str]:
    if len(found) == MOST_BOXES:
        yield f"Only the {MOST_BOXES} most probable boxes are columns."
    broken = int((~detections.boxes.isfinite().all(-1)).sum())
    if broken:
        boxes = "One box is" if broken == 1 else f"{broken} boxes are"
        yield f"{boxes} not finite, and left out."


def _nothing(best: float, threshold: float) -> TargetError:
    if best <= 0:
        return TargetError(
            "The detector found no box.",
            likely="The image may not be preprocessed as the detector expects.",
            do="Check the preprocessing (--preprocess), or give a box as the target.",
        )
    return TargetError(
        f"The detector found no box: the most probable one has {best:.2g}, and the threshold is "
        f"{threshold:g}.",
        do=f"Lower threshold= (--threshold) to {best / 2:.1g}, or give a box as the target.",
    )

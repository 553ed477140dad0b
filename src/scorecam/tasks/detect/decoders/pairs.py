"""Two tensors with the same rows: the boxes, and numbers for the classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from scorecam.tasks.detect.decoder import (
    KnownForm,
    RawOutput,
    changed,
    entry,
    in_parts,
    pixels_of,
    scaled,
    unfit,
    unit_of,
    within_unit,
)
from scorecam.tasks.detect.detections import Detections, from_centres
from scorecam.tasks.detect.pyramid import counts_of, levels_of

Corners = Literal["x1 y1 x2 y2", "centre, width and height"]
Step = Literal["", "sigmoid", "softmax"]
Background = Literal["", "first", "last"]


@dataclass(frozen=True)
class _Pair(KnownForm):
    """Boxes `b m 4` and numbers `b m n`.

    Args:
        boxes, classes: the names of the two tensors.
        corners: what the numbers of a box are.
        scale: from coordinates to pixels.
        step: from the numbers to probabilities.
        background: where the class of "no object" is; it is left out.
        counts: boxes of each level, where known.
        grid: the levels in words.
    """

    boxes: str
    classes: str
    corners: Corners
    scale: tuple[float, float, float, float]
    step: Step = ""
    background: Background = ""
    counts: tuple[int, ...] = ()
    grid: str = ""

    def decode(self, output: Any) -> Detections:
        boxes = _rows(entry(output, self.boxes)).float()
        numbers = entry(output, self.classes).float()
        if boxes.ndim != 3 or boxes.shape[-1] != 4 or numbers.shape[:2] != boxes.shape[:2]:
            raise changed(output)
        if self.corners != "x1 y1 x2 y2":
            boxes = from_centres(boxes)
        if self.step:
            numbers = numbers.sigmoid() if self.step == "sigmoid" else numbers.softmax(-1)
        kept = {"": slice(None), "first": slice(1, None), "last": slice(-1)}[self.background]
        known = sum(self.counts) == boxes.shape[1]
        levels = levels_of(self.counts if known else (), boxes.device)
        return Detections(scaled(boxes, self.scale), numbers[..., kept], levels=levels)

    @property
    def found(self) -> str:
        step = f", a {self.step} over the classes" if self.step == "softmax" else ""
        step = ", a sigmoid per class" if self.step == "sigmoid" else step
        none = f", the {self.background} class is no object" if self.background else ""
        return f"boxes as {self.corners} in {unit_of(self.scale)}{self.grid}{step}{none}"


def _rows(boxes: Tensor) -> Tensor:
    """Boxes `b m 4`, which some exports return as `b m 1 4`."""
    return boxes[:, :, 0] if boxes.ndim == 4 and boxes.shape[2] == 1 else boxes


def _names(raw: RawOutput) -> tuple[str, str] | None:
    """The names of the boxes and the classes, if there is one such pair."""
    if "logits" in raw.tensors and "pred_boxes" in raw.tensors:
        return "pred_boxes", "logits"
    tables = {key: _rows(tensor) for key, tensor in raw.tensors.items()}
    tables = {key: tensor for key, tensor in tables.items() if tensor.ndim == 3}
    found = [key for key, tensor in tables.items() if tensor.shape[-1] == 4]
    if len(found) > 1:
        found = [key for key in found if "box" in key.lower()]
    if len(tables) != 2 or len(found) != 1:
        return None
    [other] = tables.keys() - set(found)
    same = tables[other].shape[:2] == tables[found[0]].shape[:2]
    return (found[0], other) if same else None


# ── transformers: queries ────────────────────────────────────────────────────────────────────────

SOFTMAX = ("DetrObjectDetection", "YolosObjectDetection", "TableTransformerObjectDetection")
"""How the outputs of models begin that have a class "no object"."""


@dataclass(frozen=True)
class Detr(_Pair):
    """DETR, YOLOS and Table Transformer."""

    name: ClassVar[str] = "detr"
    form: ClassVar[str] = "logits b q n+1, the last for no object, and pred_boxes b q 4 (DETR)"
    final: ClassVar[bool] = True

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        return _are_queries(raw) and _has_no_object(raw)

    @classmethod
    def of(cls, raw: RawOutput) -> Self:
        return replace(_of_queries(cls, raw), step="softmax", background="last")


@dataclass(frozen=True)
class RtDetr(_Pair):
    """RT-DETR, Deformable DETR, Conditional DETR, D-FINE and others."""

    name: ClassVar[str] = "rt-detr"
    form: ClassVar[str] = "logits b q n and pred_boxes b q 4 (RT-DETR, Deformable DETR)"
    final: ClassVar[bool] = True

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        return _are_queries(raw) and not _has_no_object(raw)

    @classmethod
    def of(cls, raw: RawOutput) -> Self:
        return replace(_of_queries(cls, raw), step="sigmoid")


def _of_queries(cls: type[Any], raw: RawOutput) -> Any:
    names = _names(raw)
    if names is None:
        raise unfit(cls, raw)
    return cls(*names, "centre, width and height", pixels_of(raw.size, parts=True))


def _are_queries(raw: RawOutput) -> bool:
    """Whether the output has the names of transformers, and numbers that are no probabilities."""
    return _names(raw) == ("pred_boxes", "logits")


def _has_no_object(raw: RawOutput) -> bool:
    """Whether the last class is "no object".

    The class of the output decides, then the number of class names. Otherwise, "no object" is the
    most probable class of most queries.
    """
    if raw.kind.endswith("ObjectDetectionOutput"):
        return raw.kind.startswith(SOFTMAX)
    logits = raw.tensors["logits"]
    if raw.names in (logits.shape[-1], logits.shape[-1] - 1):
        return raw.names == logits.shape[-1] - 1
    last = logits[0].argmax(-1) == logits.shape[-1] - 1
    return logits.shape[-1] > 1 and float(last.float().mean()) > 0.5


# ── boxes and scores of exports ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Boxes(_Pair):
    """SSD, UltraFace, YOLO-NAS and other exports of boxes and scores before suppression."""

    name: ClassVar[str] = "boxes"
    form: ClassVar[str] = "boxes b m 4 and class scores b m n (SSD, YOLO-NAS)"

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        return _names(raw) is not None and not _are_queries(raw)

    @classmethod
    def of(cls, raw: RawOutput) -> Self:
        names = _names(raw)
        if names is None:
            raise unfit(cls, raw)
        boxes, numbers = _rows(raw.tensors[names[0]]).float(), raw.tensors[names[1]].float()
        counts, grid = counts_of(raw.size, boxes.shape[1])
        step = "" if within_unit(numbers) else _step(numbers, raw)
        return cls(
            *names,
            corners=_corners(boxes),
            scale=pixels_of(raw.size, parts=in_parts(boxes)),
            step=step,
            background=_background(numbers.softmax(-1) if step == "softmax" else numbers, step),
            counts=counts,
            grid=grid,
        )


def _corners(boxes: Tensor) -> Corners:
    """What the numbers of a box are: corners, unless many boxes would be empty."""
    empty = (boxes[..., 2:] < boxes[..., :2]).any(-1).float().mean()
    return "x1 y1 x2 y2" if float(empty) < 0.05 else "centre, width and height"


def _step(numbers: Tensor, raw: RawOutput) -> Step:
    """The step from logits to probabilities: a softmax if a class of its own is no object."""
    count = numbers.shape[-1]
    if raw.names in (count, count - 1):
        return "softmax" if raw.names == count - 1 else "sigmoid"
    negative = float((numbers < 0).float().mean()) > 0.9
    return "sigmoid" if count == 1 or negative else "softmax"


def _background(probabilities: Tensor, step: Step) -> Background:
    """Where the class of no object is: the first or last, if probabilities add up to 1."""
    count = probabilities.shape[-1]
    sums = probabilities.sum(-1)
    if count < 2 or step == "sigmoid" or not torch.allclose(sums, torch.ones_like(sums), atol=1e-2):
        return ""
    largest = int(probabilities.flatten(0, -2).mean(0).argmax())
    return {0: "first", count - 1: "last"}.get(largest, "first")  # type: ignore[return-value]

"""Boxes, labels and scores in tensors of their own, after suppression inside the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

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
from scorecam.tasks.detect.detections import Detections

Parts = tuple[str, str, str, str]
"""The names of the boxes, labels, scores and number of boxes; empty for a part without a tensor."""


@dataclass(frozen=True)
class Suppressed(KnownForm):
    """Exports of torchvision, mmdetection and TensorFlow with non-maximum suppression inside.

    Args:
        parts: the names of the tensors.
        scale: from coordinates to pixels.
        y_first: whether a box is y1 x1 y2 x2.
    """

    parts: Parts
    scale: tuple[float, float, float, float]
    y_first: bool

    name: ClassVar[str] = "nms"
    form: ClassVar[str] = "boxes m 4, labels m and scores m, with or without a batch axis"
    final: ClassVar[bool] = True

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        return _parts(raw) is not None

    @classmethod
    def of(cls, raw: RawOutput) -> Self:
        parts = _parts(raw)
        if parts is None:
            raise unfit(cls, raw)
        boxes = raw.tensors[parts[0]][..., :4]
        parted = bool(boxes.any()) and in_parts(boxes)
        y_first = parts[0].split(":")[0].endswith("detection_boxes")  # the names of TensorFlow
        return cls(parts, pixels_of(raw.size, parts=parted), y_first)

    def decode(self, output: Any) -> Detections:
        name, labels, scores, count = self.parts
        rows, kinds = entry(output, name), entry(output, labels)
        if rows.shape[-1] != (4 if scores else 5):
            raise changed(output)
        numbers = entry(output, scores) if scores else rows[..., 4]
        if rows.ndim != kinds.ndim + 1 or numbers.shape != kinds.shape:
            raise changed(output)
        if rows.ndim == 2:
            rows, kinds, numbers = rows[None], kinds[None], numbers[None]
        if count:
            order = torch.arange(numbers.shape[1], device=numbers.device)
            used = order < entry(output, count).reshape(-1, 1)
            numbers = torch.where(used, numbers, torch.zeros_like(numbers))
        corners = rows[..., [1, 0, 3, 2]] if self.y_first else rows[..., :4]
        boxes = scaled(corners.float(), self.scale)
        return Detections(boxes, numbers.float()[..., None], labels=kinds.round().long())

    @property
    def found(self) -> str:
        order = "y1 x1 y2 x2" if self.y_first else "x1 y1 x2 y2"
        return f"boxes as {order} in {unit_of(self.scale)} after non-maximum suppression"


WORDS = {
    "boxes": ("box", "dets", "bbox"),
    "labels": ("label", "class", "cls"),
    "scores": ("score", "conf", "prob"),
    "count": ("num",),
}
"""Words in the names of tensors."""


def _parts(raw: RawOutput) -> Parts | None:
    """The names of the tensors, by their shapes, then by their names and numbers."""
    boxes = [key for key, tensor in raw.tensors.items() if _are_boxes(tensor)]
    if len(boxes) > 1:
        boxes = [key for key in boxes if _is_called(key, "boxes")]
    if len(boxes) != 1:
        return None
    own = raw.tensors[boxes[0]]
    rows = {key: tensor for key, tensor in raw.tensors.items() if tensor.shape == own.shape[:-1]}
    counts = [
        key
        for key, tensor in raw.tensors.items()
        if _is_called(key, "count") and own.ndim == 3 and tensor.numel() == len(own)
    ]
    labels = _labels(rows)
    scores = [key for key in rows if key != labels]
    wanted = 0 if own.shape[-1] == 5 else 1
    if labels is None or len(scores) != wanted or not all(within_unit(rows[key]) for key in scores):
        return None
    return boxes[0], labels, scores[0] if scores else "", counts[0] if counts else ""


def _are_boxes(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim in (2, 3) and tensor.shape[-1] in (4, 5)


def _is_called(key: str, part: str) -> bool:
    return any(word in key.lower() for word in WORDS[part])


def _labels(rows: dict[str, Tensor]) -> str | None:
    """The labels among tensors of one number per box: by name, then integers or whole numbers."""
    attempts = (
        [key for key in rows if _is_called(key, "labels")],
        [key for key, tensor in rows.items() if not tensor.is_floating_point()],
        [key for key, tensor in rows.items() if bool((tensor == tensor.round()).all())],
    )
    return next((found[0] for found in attempts if len(found) == 1), None)

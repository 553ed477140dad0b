"""Rows of one box each that remain after non-maximum suppression inside the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

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


@dataclass(frozen=True)
class EndToEnd(KnownForm):
    """YOLO v10 and v26, and exports of ultralytics with `nms=True`.

    Args:
        key: of the tensor in the output.
        columns: the numbers of a box.
        scale: from coordinates to pixels.
    """

    key: str
    columns: int
    scale: tuple[float, float, float, float]

    name: ClassVar[str] = "end-to-end"
    form: ClassVar[str] = "b m 6, x1 y1 x2 y2 score class (YOLO v10 and v26, or nms=True)"
    final: ClassVar[bool] = True

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        table = None if raw.table is None else raw.tensors[raw.table]
        if table is None or table.shape[2] < 6:
            return False
        corners, labels = table[..., :4], table[..., 5]
        ordered = bool((corners[..., 2:] >= corners[..., :2])[corners[..., 2:].isfinite()].all())
        whole = bool(((labels == labels.round()) & (labels >= 0)).all())
        varied = table.shape[2] == 6 or bool((labels > 1).any())
        return ordered and whole and varied and within_unit(table[..., 4])

    @classmethod
    def of(cls, raw: RawOutput) -> Self:
        table = None if raw.table is None else raw.tensors[raw.table]
        if raw.table is None or table is None or table.shape[2] < 6:
            raise unfit(cls, raw)
        parts = in_parts(table[..., :4]) and bool(table.any())
        return cls(raw.table, table.shape[2], pixels_of(raw.size, parts=parts))

    def decode(self, output: Any) -> Detections:
        table = entry(output, self.key)
        if table.ndim != 3 or table.shape[2] != self.columns:
            raise changed(output)
        boxes = scaled(table[..., :4].float(), self.scale)
        return Detections(boxes, table[..., 4:5], labels=table[..., 5].round().long())

    @property
    def found(self) -> str:
        return f"boxes in {unit_of(self.scale)} after non-maximum suppression"

"""The tables of ultralytics YOLO: one row or column of numbers per box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

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
from scorecam.tasks.detect.decoders.end_to_end import EndToEnd
from scorecam.tasks.detect.detections import Detections, from_centres
from scorecam.tasks.detect.pyramid import counts_of, levels_of, strides_of

PROTOTYPES = 32
"""Channels of the masks of a segmenter; each box has as many coefficients after its classes."""

FEW_BOXES = 1000
"""A detector with at most this number of boxes has queries instead of a grid."""


@dataclass(frozen=True)
class _Table(KnownForm):
    """Rows of a centre, a width and a height, and numbers for the classes.

    Args:
        key: of the tensor in the output.
        classes: the number of classes.
        columns: the numbers of a box.
        rows: whether the boxes are rows, `b m c`, instead of columns, `b c m`.
        scale: from coordinates to pixels.
        counts: boxes of each level, where known.
        grid: the levels in words.
    """

    key: str
    classes: int
    columns: int
    rows: bool
    scale: tuple[float, float, float, float]
    counts: tuple[int, ...] = ()
    grid: str = ""

    first: ClassVar[int]

    @classmethod
    def of(cls, raw: RawOutput) -> Self:
        key = raw.table
        if key is None or min(raw.tensors[key].shape[1:]) <= cls.first:
            raise unfit(cls, raw)
        table = raw.tensors[key]
        rows = table.shape[1] > table.shape[2]
        table = table if rows else table.mT
        counts, grid = counts_of(raw.size, table.shape[1])
        return cls(
            key=key,
            classes=_classes(table[..., cls.first :], raw),
            columns=table.shape[2],
            rows=rows,
            scale=pixels_of(raw.size, parts=in_parts(table[..., :4])),
            counts=counts,
            grid=grid,
        )

    def table(self, output: Any) -> Tensor:
        """The boxes as rows, `b m c`."""
        table = entry(output, self.key)
        table = table if self.rows or table.ndim != 3 else table.mT
        if table.ndim != 3 or table.shape[2] != self.columns:
            raise changed(output)
        return table

    def boxes(self, table: Tensor) -> Tensor:
        """The corners in pixels."""
        return scaled(from_centres(table[..., :4].float()), self.scale)

    def levels(self, table: Tensor) -> Tensor | None:
        """The level of each box."""
        known = sum(self.counts) == table.shape[1]
        return levels_of(self.counts if known else (), table.device)

    @property
    def found(self) -> str:
        rest = self.columns - self.first - self.classes
        ignored = f"; {rest} more numbers per box are ignored" if rest else ""
        return f"{self.classes} classes, boxes in {unit_of(self.scale)}{self.grid}{ignored}"


@dataclass(frozen=True)
class Yolo(_Table):
    """ultralytics YOLO v8 to v12, and its RT-DETR."""

    name: ClassVar[str] = "yolo"
    form: ClassVar[str] = "b 4+n m, centre, width, height and class probabilities (YOLO v8 to v12)"
    first: ClassVar[int] = 4

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        table = None if raw.table is None else raw.tensors[raw.table]
        if table is None or min(table.shape[1:]) < 5 or EndToEnd.fits(raw):
            return False
        if table.shape[1] < table.shape[2]:
            return within_unit(table[:, 4]) and _have_sizes(table[:, 2:4])
        if not (within_unit(table[..., 4:]) and _have_sizes(table[..., 2:4])):
            return False
        return not _has_objectness(table, raw)

    def decode(self, output: Any) -> Detections:
        table = self.table(output)
        probabilities = table[..., 4 : 4 + self.classes]
        return Detections(self.boxes(table), probabilities, levels=self.levels(table))


@dataclass(frozen=True)
class YoloV5(_Table):
    """ultralytics YOLO v5, and others with an objectness: v6, v7 and YOLOX."""

    name: ClassVar[str] = "yolov5"
    form: ClassVar[str] = (
        "b m 5+n, centre, width, height, objectness and class probabilities (YOLO v5 to v7)"
    )
    first: ClassVar[int] = 5

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        table = None if raw.table is None else raw.tensors[raw.table]
        if table is None or not 6 <= table.shape[2] < table.shape[1] or EndToEnd.fits(raw):
            return False
        if not (within_unit(table[..., 4:6]) and _have_sizes(table[..., 2:4])):
            return False
        return _has_objectness(table, raw)

    def decode(self, output: Any) -> Detections:
        table = self.table(output)
        probabilities = table[..., 4:5] * table[..., 5 : 5 + self.classes]
        return Detections(self.boxes(table), probabilities, levels=self.levels(table))


def _have_sizes(numbers: Tensor) -> bool:
    """Whether these can be the widths and heights of boxes."""
    return bool((numbers[numbers.isfinite()] >= 0).all())


def _has_objectness(table: Tensor, raw: RawOutput) -> bool:
    """Whether rows `b m c` have an objectness before the classes.

    The number of class names decides. Without it, detectors with a grid have one, and queries,
    whose coordinates are parts of the picture, do not.
    """
    numbers = table.shape[2] - 4 - _coefficients(raw)
    if raw.names in (numbers, numbers - 1):
        return numbers == (raw.names or 0) + 1
    queries = table.shape[1] <= FEW_BOXES and strides_of(raw.size, table.shape[1]) is None
    return not (queries and in_parts(table[..., :4]))


def _coefficients(raw: RawOutput) -> int:
    """The numbers of each box for a mask; 0 for a detector without masks."""
    masks = any(leaf.ndim == 4 and leaf.shape[1] == PROTOTYPES for leaf in raw.leaves)
    return PROTOTYPES if masks else 0


def _classes(numbers: Tensor, raw: RawOutput) -> int:
    """How many of the numbers after the box are classes; the rest are key points, masks or angles.

    Args:
        numbers: `b m c`.
    """
    count = numbers.shape[2] - _coefficients(raw)
    if count < 1:
        count = numbers.shape[2]
    outside = ((numbers < -1e-3) | (numbers > 1 + 1e-3)).any(1)[0, :count].nonzero()
    if len(outside) == 0:
        return count
    first = max(1, int(outside[0]))
    return raw.names if raw.names is not None and raw.names <= first else first

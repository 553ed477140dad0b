"""Levels of class scores and distance distributions: PicoDet, NanoDet and others after GFL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from scorecam.tasks.detect.decoder import KnownForm, RawOutput, changed, entry, unfit, within_unit
from scorecam.tasks.detect.detections import Detections
from scorecam.tasks.detect.pyramid import PYRAMIDS, cells, levels_of

Level = tuple[str, str]
"""The names of a level's class scores and distances."""


@dataclass(frozen=True)
class PicoDet(KnownForm):
    """Per level, class scores `b m n`, and for each side of a box a distribution of its distance.

    Args:
        levels: their tensors, the finest first.
        strides: of the levels, in pixels.
        size: (height, width) of the input.
        sigmoid: whether the class scores are logits.
    """

    levels: tuple[Level, ...]
    strides: tuple[int, ...]
    size: tuple[int, int]
    sigmoid: bool

    name: ClassVar[str] = "picodet"
    form: ClassVar[str] = (
        "for each level, class scores b m n and distance distributions b m 4r (PicoDet, NanoDet)"
    )

    @classmethod
    def fits(cls, raw: RawOutput) -> bool:
        levels = _levels(raw)
        return bool(levels) and _strides(raw, levels) is not None

    @classmethod
    def of(cls, raw: RawOutput) -> Self:
        levels = _levels(raw)
        strides = _strides(raw, levels)
        if not levels or strides is None:
            raise unfit(cls, raw)
        scores = [raw.tensors[scores] for scores, _ in levels]
        return cls(levels, strides, raw.size, sigmoid=not all(map(within_unit, scores)))

    def decode(self, output: Any) -> Detections:
        scores = [entry(output, name).float() for name, _ in self.levels]
        sides = [entry(output, name).float() for _, name in self.levels]
        counts = [cells(self.size, stride) for stride in self.strides]
        if [table.shape[1] for table in (*scores, *sides)] != counts * 2:
            raise changed(output)
        pairs = zip(sides, self.strides, strict=True)
        boxes = torch.cat([_boxes(each, stride, self.size) for each, stride in pairs], dim=1)
        probabilities = torch.cat(scores, dim=1)
        if self.sigmoid:
            probabilities = probabilities.sigmoid()
        return Detections(boxes, probabilities, levels=levels_of(counts, boxes.device))

    @property
    def found(self) -> str:
        return f"levels of stride {', '.join(map(str, self.strides))}"


def _boxes(distributions: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """The boxes of a level, `b m 4` in pixels.

    Args:
        distributions: `b m 4r` logits: for the left, upper, right and lower side, r distances from
            the centre of the cell, 0 to r − 1 strides.
    """
    sides = distributions.unflatten(-1, (4, -1)).softmax(-1)
    steps = torch.arange(sides.shape[-1], device=sides.device, dtype=sides.dtype)
    distances = (sides * steps).sum(-1) * stride
    rows, columns = (
        (torch.arange(-(-side // stride), device=sides.device) + 0.5) * stride for side in size
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack([x, y], dim=-1).flatten(0, 1)
    return torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], dim=-1)


def _levels(raw: RawOutput) -> tuple[Level, ...]:
    """The pairs of tensors with the same boxes, in the order of the output; empty if it has none.

    Distances have a number of columns that is a multiple of 4, and are after the scores.
    """
    tables = {key: tensor for key, tensor in raw.tensors.items() if tensor.ndim == 3}
    if len(tables) != len(raw.tensors) or len(tables) < 4 or len(tables) % 2:
        return ()
    by_count: dict[int, list[str]] = {}
    for key, table in tables.items():
        by_count.setdefault(table.shape[1], []).append(key)
    pairs = list(by_count.values())
    if any(len(pair) != 2 for pair in pairs):
        return ()
    widths = [tuple(tables[key].shape[2] for key in pair) for pair in pairs]
    if len(set(widths)) != 1:
        return ()
    first, second = widths[0]
    if second % 4 == 0 and second > 4:
        return tuple((pair[0], pair[1]) for pair in pairs)
    return tuple((pair[1], pair[0]) for pair in pairs) if first % 4 == 0 and first > 4 else ()


def _strides(raw: RawOutput, levels: tuple[Level, ...]) -> tuple[int, ...] | None:
    """The strides of the levels; None if their boxes are not those of a pyramid."""
    counts = [raw.tensors[scores].shape[1] for scores, _ in levels]
    for strides in PYRAMIDS:
        if counts == [cells(raw.size, stride) for stride in strides]:
            return strides
    return None

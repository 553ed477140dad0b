"""The columns of the task segment for one image."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from scorecam.errors import ModelError
from scorecam.model.head import adds_up
from scorecam.model.model import Model, TargetSpec
from scorecam.model.place import check_place, is_place
from scorecam.model.readout import Readout
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images
from scorecam.tasks.segment.class_maps import ClassMaps, Kind, PixelMaps, RegionMeans
from scorecam.tasks.segment.columns import Column, background_of, class_names, columns_for
from scorecam.tasks.segment.finding import find_maps
from scorecam.tasks.segment.kinds import find_kind, some_rows
from scorecam.tasks.segment.predicted import predicted, weights_of

STEPS: dict[Kind, str] = {
    "logits": "with a softmax over the classes",
    "sigmoid": "with a sigmoid",
    "probabilities": "which are probabilities",
}
"""What becomes of the numbers, in words."""


def columns_for_image(
    model: Model,
    images: Images,
    target: TargetSpec,
    *,
    label: int | str | None,
    head: Kind | Literal["auto"],
    part: int | str | Readout | None,
) -> TaskColumns:
    """The columns for one image; see `Task.columns`.

    Args:
        label, head: see `Segment`.
        part: where the class maps are in the output.
    """
    size = tuple(images.shape[2:])
    if is_place(target):
        target = check_place(target, size)
    maps, stated, passes = _maps(model, images, output := model.output(images), part, head=head)
    chances = _finite(maps.probabilities(output)[0])
    single = isinstance(maps, PixelMaps) and maps.numbers(output).shape[1] == 1
    known = model.names or _fitting(model.class_names, len(chances))
    names = class_names(known, len(chances), single=single)
    by_softmax = not isinstance(maps, PixelMaps) or maps.kind == "logits"
    seen = predicted(
        chances,
        size,
        exclusive=by_softmax or adds_up(some_rows(chances)),
        background=background_of(names, named=bool(known), single=single),
    )
    found = columns_for(seen, names, target, label)
    coarse = _coarse(found.columns[found.chosen], size, tuple(chances.shape[1:]))
    return TaskColumns(
        readout=_readout(maps, found.columns, chances),
        names=tuple(column.name for column in found.columns),
        column=found.chosen,
        task="segment",
        masks=torch.stack([column.region for column in found.columns]),
        remarks=tuple(filter(None, [*stated, found.remark, coarse])),
        passes=passes,
    )


def _fitting(names: tuple[str, ...] | None, classes: int) -> tuple[str, ...] | None:
    """The names of a file, if there is one per class."""
    return names if names is not None and len(names) == classes else None


def _maps(
    model: Model,
    images: Images,
    output: Any,
    part: int | str | Readout | None,
    *,
    head: Kind | Literal["auto"],
) -> tuple[ClassMaps, list[str], int]:
    """What reads the class maps, remarks on it, and the number of passes so far."""
    found = find_maps(output, tuple(images.shape[2:]), len(model.names or ()), part)
    maps, remark, passes, step = found.maps, "", 0, "as their own semantic segmentation does"
    if isinstance(maps, PixelMaps):
        known = head if head != "auto" or model.head == "value" else model.head
        maps, remark, passes = find_kind(model, images, output, maps, declared=known)
        step = STEPS[maps.kind]
    stated = f"The classes are read from {found.name}, {step}."
    return maps, [stated, *found.remarks, remark], 1 + passes


def _finite(chances: Tensor) -> Tensor:
    """The probabilities of one image.

    Raises:
        ModelError: some of them are no numbers.
    """
    wrong = int((~chances.isfinite()).sum())
    if wrong:
        raise ModelError(
            f"{wrong} of {chances.numel()} probabilities of the segmentation are not finite.",
            likely="The image or the weights hold NaN, or half precision overflowed.",
            do="Check the output for this image, and try float32.",
        )
    return chances


def _coarse(column: Column, size: tuple[int, ...], grid: tuple[int, ...]) -> str:
    """A remark if the region is smaller than a cell of the output."""
    cell = [pixels / cells for pixels, cells in zip(size, grid, strict=True)]
    if int(column.region.sum()) >= torch.tensor(cell).prod():
        return ""
    side = " × ".join(f"{pixels:g}" for pixels in cell)
    return (
        f"The output has one cell for {side} pixels: the score is that of the cells at the region."
    )


def _readout(maps: ClassMaps, columns: tuple[Column, ...], chances: Tensor) -> RegionMeans:
    grid, device = tuple(chances.shape[1:]), chances.device
    return RegionMeans(
        maps=maps,
        classes=torch.tensor([column.label for column in columns], device=device),
        weights=torch.stack([weights_of(column.region, grid) for column in columns]).to(device),
    )

"""The task segment: which parts of the picture make the model see a class in a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import ModelError, SettingError
from scorecam.io.arguments import choice
from scorecam.model.head import adds_up
from scorecam.model.model import Model, TargetSpec, Task
from scorecam.model.place import check_place, is_place
from scorecam.model.readout import Readout
from scorecam.model.task_columns import TaskColumns
from scorecam.shapes import Images
from scorecam.tasks.segment.class_maps import ClassMaps, Kind, PixelMaps, RegionMeans
from scorecam.tasks.segment.columns import Column, background_of, class_names, columns_for
from scorecam.tasks.segment.finding import find_maps
from scorecam.tasks.segment.kinds import find_kind, some_rows
from scorecam.tasks.segment.predicted import predicted, weights_of

KINDS: tuple[Kind | Literal["auto"], ...] = ("auto", "logits", "sigmoid", "probabilities")

STEPS: dict[Kind, str] = {
    "logits": "with a softmax over the classes",
    "sigmoid": "with a sigmoid",
    "probabilities": "which are probabilities",
}
"""What becomes of the numbers, in words."""


@dataclass(frozen=True)
class Segment(Task):
    """The mean probability of a class over a region.

    Every predicted class is a column, with its predicted region. A target that is a point, a box or
    a mask adds a column for the class that is most frequent there; the background only if there is
    nothing else.

    Args:
        label: the class to score in the region of the target, by name or index; None for the
            region's own.
        head: what the numbers of the output are: "logits" of a softmax over the classes, "sigmoid"
            for logits of classes that exclude no other, "probabilities", or "auto" for that of the
            model, if it was given there, or to detect it.
        output: where the class maps are in the output: an index, a name, or a function of the
            output; None to find them.
    """

    name: ClassVar[str] = "segment"

    label: int | str | None = None
    head: Kind | Literal["auto"] = "auto"
    output: int | str | Readout | None = None

    def __post_init__(self) -> None:
        choice("head", self.head, KINDS)
        if not (self.output is None or isinstance(self.output, int | str) or callable(self.output)):
            raise SettingError(
                f"output={quoted(self.output)} is not a part of an output.",
                do="Give an index, a name, or a function of the output: Segment(output=...).",
            )

    def columns(self, model: Model, images: Images, target: TargetSpec) -> TaskColumns:
        size = tuple(images.shape[2:])
        if is_place(target):
            target = check_place(target, size)
        maps, stated, passes = self._maps(model, images, output := model.output(images))
        chances = _finite(maps.probabilities(output)[0])
        single = isinstance(maps, PixelMaps) and maps.numbers(output).shape[1] == 1
        names = class_names(model.names, len(chances), single=single)
        by_softmax = not isinstance(maps, PixelMaps) or maps.kind == "logits"
        seen = predicted(
            chances,
            size,
            exclusive=by_softmax or adds_up(some_rows(chances)),
            background=background_of(names, named=model.names is not None, single=single),
        )
        found = columns_for(seen, names, target, self.label)
        coarse = _coarse(found.columns[found.chosen], size, tuple(chances.shape[1:]))
        return TaskColumns(
            readout=_readout(maps, found.columns, chances),
            names=tuple(column.name for column in found.columns),
            column=found.chosen,
            task=self.name,
            masks=torch.stack([column.region for column in found.columns]),
            remarks=tuple(filter(None, [*stated, found.remark, coarse])),
            passes=passes,
        )

    def _maps(self, model: Model, images: Images, output: Any) -> tuple[ClassMaps, list[str], int]:
        """What reads the class maps, remarks on it, and the number of passes so far."""
        found = find_maps(output, tuple(images.shape[2:]), len(model.names or ()), self.output)
        maps, remark, passes, step = found.maps, "", 0, "as their own semantic segmentation does"
        if isinstance(maps, PixelMaps):
            known = self.head if self.head != "auto" or model.head == "value" else model.head
            maps, remark, passes = find_kind(model, images, output, maps, declared=known)
            step = STEPS[maps.kind]
        return (
            maps,
            [f"The classes are read from {found.name}, {step}.", *found.remarks, remark],
            (1 + passes),
        )


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

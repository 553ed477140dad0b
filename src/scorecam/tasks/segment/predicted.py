"""The regions of the classes in one image, at the size of the image, and on the output's grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from scorecam.model.place import Place

Region = Annotated[Tensor, "*i"]
"""True for each pixel of a region."""

LINEAR = ("linear", "bilinear", "trilinear")
"""Interpolation along one, two and three axes."""

CLASSES = 16
"""Classes that are enlarged to the size of the image at a time."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a segmenter predicts for one image.

    Args:
        probabilities: `n *g`, on the grid of the output.
        size: of the image, `*i`.
        regions: of each predicted class in the image, the largest first.
        background: the class of what is no object; None if there is none.
    """

    probabilities: Tensor
    size: tuple[int, ...]
    regions: dict[int, Region]
    background: int | None

    @property
    def objects(self) -> list[int]:
        """The predicted classes, the largest first, with the background last."""
        return sorted(self.regions, key=lambda each: each == self.background)

    def shares(self, region: Region) -> dict[int, float]:
        """The share of each class in a region, the largest first."""
        pixels = int(region.sum())
        found = {each: int((mask & region).sum()) / pixels for each, mask in self.regions.items()}
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    def likeliest(self, region: Region) -> int:
        """The class with the highest mean probability in a region."""
        share = weights_of(region, tuple(self.probabilities.shape[1:]))
        means = self.probabilities.flatten(1).cpu() @ share
        return int(means.argmax())


def predicted(
    maps: Tensor, size: Sequence[int], *, exclusive: bool, background: int | None
) -> Predicted:
    """The regions of all classes that are predicted somewhere.

    Args:
        maps: the probabilities, `n *g`.
        size: of the image, `*i`.
        exclusive: whether each pixel has one class; otherwise, every class above a half.
    """
    best, labels = torch.full(tuple(size), -math.inf), torch.zeros(tuple(size), dtype=torch.long)
    found: dict[int, Region] = {}
    for start in range(0, len(maps), CLASSES):
        enlarged = _enlarged(maps[start : start + CLASSES], size)
        if exclusive:
            top, index = enlarged.max(0)
            better = top > best
            best, labels = best.where(~better, top), labels.where(~better, index + start)
        else:
            above = {start + i: each > 0.5 for i, each in enumerate(enlarged)}
            found.update({each: region for each, region in above.items() if region.any()})
    if exclusive:
        found = {int(each): labels == each for each in labels.unique()}
    ordered = sorted(found, key=lambda each: -int(found[each].sum()))
    return Predicted(maps, tuple(size), {each: found[each] for each in ordered}, background)


def _enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps at the size of the image, on the CPU."""
    maps = maps.cpu()
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    return interpolate(maps[None], tuple(size), mode=LINEAR[len(size) - 1])[0]


def weights_of(region: Region, grid: Sequence[int]) -> Annotated[Tensor, "p"]:
    """The share of each cell of a grid in a region; they add up to one."""
    covered = interpolate(region.float()[None, None], tuple(grid), mode="area").flatten()
    return covered / covered.sum()


def region_of(place: Place, size: Sequence[int]) -> tuple[Region, str]:
    """The pixels of a checked place, and the place in words: "at (120, 80)".

    A box covers the pixels whose centres are in it, or else the pixel of its own centre.
    """
    if not isinstance(place, tuple):
        return torch.as_tensor(place), "in the mask"
    axes = len(size)
    first, last = place[:axes], place[-axes:]
    middle = [(low + high) / 2 for low, high in zip(first, last, strict=True)]
    point = len(place) == axes
    ranges = [
        _pixels(low, high, centre, length)
        for low, high, centre, length in zip(
            reversed(first), reversed(last), reversed(middle), size, strict=True
        )
    ]
    region = torch.zeros(tuple(size), dtype=torch.bool)
    region[tuple(ranges)] = True
    return region, f"{'at' if point else 'in'} ({', '.join(f'{number:g}' for number in place)})"


def _pixels(low: float, high: float, centre: float, length: int) -> slice:
    """The pixels of one axis with their centres in an interval, or else the one of its centre."""
    first, last = max(0, math.ceil(low - 0.5)), min(length, math.floor(high - 0.5) + 1)
    if first >= last:
        first = min(max(0, math.floor(centre)), length - 1)
        last = first + 1
    return slice(first, last)

"""Localisation: whether a heatmap is on the object, given by boxes or a mask.

No passes through the model are needed. Of signed maps, only positive values count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from scorecam.metrics.masks import soft_mask
from scorecam.metrics.metric import Boxes, Measured, Metric, Outcome, Seen
from scorecam.shapes import Heatmap

Region = Annotated[Tensor, "h w"]
"""How much of each pixel belongs to the object, [0, 1]."""


def covered(boxes: Boxes, size: tuple[int, int]) -> Region:
    """How much of each pixel is inside the boxes `[y1:y2, x1:x2]`; pixels on an edge count in part.

    Args:
        boxes: `m 4`, x1 y1 x2 y2, in pixels.
        size: (height, width).
    """

    def along(starts: Tensor, ends: Tensor, length: int) -> Annotated[Tensor, "m length"]:
        pixels = torch.arange(length, dtype=boxes.dtype, device=boxes.device)
        reach = torch.minimum(ends[:, None], pixels + 1) - torch.maximum(starts[:, None], pixels)
        return reach.clamp(0, 1)

    left, top, right, bottom = boxes.unbind(dim=1)
    by_box = along(top, bottom, size[0])[:, :, None] * along(left, right, size[1])[:, None, :]
    return by_box.amax(dim=0) if len(boxes) else boxes.new_zeros(size)


@dataclass(frozen=True)
class _Place:
    """A region to compare a heatmap with, or the reason why it is unknown."""

    kind: str
    region: Region | None
    why: str


def _places(seen: Seen) -> list[_Place]:
    """The boxes and the mask of the object, where they are known and in the input."""
    size = (seen.heatmap.shape[-2], seen.heatmap.shape[-1])
    truth = seen.truth
    boxes = None if truth.boxes is None else covered(truth.boxes.to(seen.heatmap), size)
    mask = None if truth.mask is None else truth.mask.to(seen.heatmap)
    places: list[_Place] = []
    for kind, region in (("box", boxes), ("mask", mask)):
        if region is None:
            places.append(_Place(kind, None, truth.why))
        elif float(region.max()) > 0:
            places.append(_Place(kind, region, ""))
        else:
            places.append(_Place(kind, None, "The object is outside the model's input."))
    return places


@dataclass(frozen=True, repr=False)
class Energy(Metric):
    """Energy-based pointing game: the share of the heatmap's sum that is on the object.

    Σ_{object} L / Σ L, of the raw heatmap: subtracting its minimum would change it. The chance
    level is the value of a uniform map: the object's share of the input. Wang et al. 2020, section
    4.3 (boxes); with masks: relevance mass accuracy (Arras et al. 2022).
    """

    name: str = "energy"
    outcomes: tuple[Outcome, ...] = (
        Outcome("energy_box", "higher", "Energy in the box", bounds="fraction"),
        Outcome("chance_box", "neither", "Chance: the box's area", bounds="fraction"),
        Outcome("energy_mask", "higher", "Energy in the mask", bounds="fraction"),
        Outcome("chance_mask", "neither", "Chance: the mask's area", bounds="fraction"),
    )
    source: str = "Wang et al. 2020, section 4.3: raw heatmap, boxes of the explained class"

    def measure(self, seen: Seen) -> Measured:
        heatmap = seen.heatmap.clamp(min=0).double()
        total = float(heatmap.sum())
        values: dict[str, float] = {}
        undefined: dict[str, str] = {}
        for place in _places(seen):
            energy, chance = f"energy_{place.kind}", f"chance_{place.kind}"
            if place.region is None:
                undefined[energy] = undefined[chance] = place.why
                continue
            values[chance] = float(place.region.double().mean())
            if total > 0:
                values[energy] = float((heatmap * place.region).sum()) / total
            else:
                undefined[energy] = "The heatmap is zero everywhere."
        return Measured(values, undefined)


@dataclass(frozen=True, repr=False)
class Pointing(Metric):
    """Pointing game: whether the heatmap's maximum is on the object.

    A pixel is on the object if at least half of it is; of equal maxima, the first in reading order
    counts. Zhang et al., Excitation Backprop, ECCV 2016, without its tolerance of 15 pixels.
    """

    name: str = "pointing"
    outcomes: tuple[Outcome, ...] = (
        Outcome("hit_box", "higher", "Maximum in the box"),
        Outcome("hit_mask", "higher", "Maximum in the mask"),
    )
    source: str = "Zhang et al. 2016: no tolerance, of equal maxima the first"

    def measure(self, seen: Seen) -> Measured:
        low, high = seen.heatmap.aminmax()
        values: dict[str, float] = {}
        undefined: dict[str, str] = {}
        for place in _places(seen):
            name = f"hit_{place.kind}"
            if place.region is None:
                undefined[name] = place.why
            elif not high > low:
                undefined[name] = "The heatmap is constant, so it has no single maximum."
            else:
                values[name] = float(place.region.flatten()[seen.heatmap.argmax()] >= 0.5)
        return Measured(values, undefined)


@dataclass(frozen=True, repr=False)
class Overlap(Metric):
    """Intersection over union of the object's mask and the heatmap above half of its range."""

    name: str = "iou"
    threshold: float = 0.5
    outcomes: tuple[Outcome, ...] = (Outcome("iou_mask", "higher", "IoU with the mask"),)
    source: str = "the scaled heatmap where it is at least 0.5, against the object's mask"

    def measure(self, seen: Seen) -> Measured:
        [place] = [place for place in _places(seen) if place.kind == "mask"]
        if place.region is None:
            return Measured(undefined={"iou_mask": place.why})
        low, high = seen.heatmap.aminmax()
        if not high > low:
            why = "The heatmap is constant, so it has no upper half."
            return Measured(undefined={"iou_mask": why})
        return Measured({"iou_mask": iou(seen.heatmap, place.region, self.threshold)})


def iou(heatmap: Heatmap, region: Region, threshold: float) -> float:
    """The intersection over union of a region and the pixels scaled to at least `threshold`."""
    chosen, inside = soft_mask(heatmap) >= threshold, region >= 0.5
    union = int((chosen | inside).sum())
    return int((chosen & inside).sum()) / union if union else 0.0


METRICS: tuple[Metric, ...] = (Energy(), Pointing(), Overlap())
"""The metrics of this file."""

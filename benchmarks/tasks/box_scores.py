"""Pictures with boxes that a detector found, and numbers that rate the maps of these boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorecam.methods.rise import RISE, random_masks
from scorecam.metrics.masks import ranks
from scorecam.model.model import Model

STEPS = 20
"""Steps of the curves of deletion and insertion."""


@dataclass(frozen=True)
class Subject:
    """A picture, and the boxes in it that are explained.

    Args:
        name: for the records.
        model: with the columns of this picture, one per box.
        image: `c h w`, as the model takes it.
        columns: those that are explained.
        kinds: the class of each of them.
        levels: the grid of the level that each of them came from.
        regions: for each of them, where its evidence may be, by name, each `h w`.
        dark: `c h w`, what replaces deleted pixels.
    """

    name: str
    model: Model
    image: Tensor
    columns: tuple[int, ...]
    kinds: tuple[str, ...]
    levels: tuple[tuple[int, ...], ...]
    regions: tuple[Mapping[str, Tensor], ...]
    dark: Tensor

    def scores(self, images: Tensor) -> Tensor:
        """The scores of the explained boxes, `b m`."""
        parts = [self.model.scores(part) for part in images.split(32)]
        return torch.cat(parts)[:, list(self.columns)]


def place_numbers(heatmap: Tensor, regions: Mapping[str, Tensor]) -> dict[str, float]:
    """The shares of the map in the regions, the shares of the area, and where its maximum is."""
    total = float(heatmap.sum())
    numbers: dict[str, float] = {}
    for name, region in regions.items():
        numbers[f"area of {name}"] = float(region.mean())
        numbers[f"energy in {name}"] = float((heatmap * region).sum()) / total if total else 0.0
        numbers[f"maximum in {name}"] = float(region.flatten()[heatmap.argmax()] >= 0.5)
    return numbers


def curve_numbers(heatmap: Tensor, subject: Subject, i: int) -> dict[str, float]:
    """The areas under the curves of deletion and insertion, relative to the box's score."""
    places, pixels, image = ranks(heatmap), heatmap.numel(), subject.image
    counts = torch.linspace(0, pixels, STEPS + 1).round()[:, None, None, None]
    first = places[None, None] < counts
    deleted = torch.where(first, subject.dark, image)
    inserted = torch.where(first[1:-1], image, subject.dark)
    scores = subject.scores(torch.cat([deleted, inserted]))[:, i].double()
    whole, empty = scores[:1], scores[STEPS : STEPS + 1]
    shares = counts.flatten().double() / pixels
    inserting = torch.cat([empty, scores[STEPS + 1 :], whole])
    return {
        "deletion": float(torch.trapezoid(scores[: STEPS + 1], shares) / whole),
        "insertion": float(torch.trapezoid(inserting, shares) / whole),
    }


def rise_maps(
    subject: Subject, passes: Sequence[int], *, cells: int, seed: int
) -> dict[int, Tensor]:
    """The maps of D-RISE after some numbers of masks, `m h w` each: all boxes at once.

    Masks are those of RISE: with this score, that is D-RISE (Petsiuk et al., CVPR 2021).
    """
    total = torch.zeros(len(subject.columns), *subject.image.shape[1:], dtype=torch.float64)
    found, done = dict[int, Tensor](), 0
    for masks in random_masks(subject.image, RISE(masks=max(passes), cells=cells), seed):
        hidden = subject.dark * (1 - masks[:, None])
        scores = subject.scores(subject.image * masks[:, None] + hidden).double()
        parts = torch.einsum("bm,bhw->bmhw", scores, masks.double())
        for count in sorted(passes):
            if done < count <= done + len(masks):
                found[count] = ((total + parts[: count - done].sum(0)) / count).float()
        total += parts.sum(0)
        done += len(masks)
    return found


def scaled(heatmap: Tensor) -> Tensor:
    """The map from 0 to 1."""
    low, high = heatmap.aminmax()
    return (heatmap - low) / (high - low).clamp_min(1e-12)


def interval(values: Sequence[float], seed: int = 0) -> dict[str, float]:
    """The mean and its 95 % bootstrap interval."""
    numbers = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    means = numbers[rng.integers(len(numbers), size=(2000, len(numbers)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    rounded = {"mean": numbers.mean(), "low": low, "high": high}
    return {name: round(float(value), 4) for name, value in rounded.items()} | {"n": len(numbers)}


def difference(
    one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], key: str
) -> dict[str, float]:
    """The mean paired difference of two methods on the same boxes, and its interval."""
    return interval([a[key] - b[key] for a, b in zip(one, other, strict=True)])

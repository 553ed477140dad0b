"""RISE: the image under random masks, each weighted by what the model says of it."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import torch

from scorecam.baselines.ground import check_count, check_range, finished, record
from scorecam.cam import exact_products, upsample
from scorecam.errors import SettingError
from scorecam.method import Case, Method
from scorecam.shapes import Heatmap, Image, Masks

BATCH = 64
"""Masks in memory at once."""


@dataclass(frozen=True)
class RISE(Method):
    """Σ_i P(X·M_i) M_i / (N p), with M_i a coarse grid of ones and zeros, enlarged and shifted.

    The masks follow from the case's seed: they are the same for all images of one size.

    Args:
        name: as users write it.
        masks: N; the paper's for VGG16.
        cells: of the grid, along each axis of the image.
        p: how likely a cell is one.
        source: whose method, and whose code.
    """

    name: str = "rise"
    masks: int = 4000
    cells: int = 7
    p: float = 0.5
    source: str = "Petsiuk, Das, Saenko, BMVC 2018; own code, masks as in the authors'"
    settings: Mapping[str, object] = field(init=False)

    def __post_init__(self) -> None:
        check_count(self.name, "masks", self.masks)
        check_count(self.name, "cells", self.cells)
        check_range(self.name, "p", self.p, 0, 1)
        if self.cells > 1000:
            raise SettingError(f"{self.name}: cells={self.cells} is more than 1000.")
        record(
            self, {"masks": self.masks, "cells": self.cells, "p": self.p, "fill": 0, "score": "p_t"}
        )

    def heatmap(self, case: Case) -> Heatmap:
        image = case.image.detach().to(case.model.device, torch.float32)
        total = torch.zeros_like(image[0], dtype=torch.float64, device="cpu")
        for masks in random_masks(image, self, case.seed):
            said = case.probabilities(image[None] * masks[:, None])
            with exact_products(image.device):
                total += torch.tensordot(said.to(masks), masks, dims=1).cpu().double()
        return finished(total / (self.masks * self.p), case, self.name)


def random_masks(image: Image, rise: RISE, seed: int) -> Generator[Masks]:
    """The masks, a batch at a time: `b *i` float32 in [0, 1], where the image is.

    As in the authors' code: a grid of `cells` per axis, each one with probability `p`, is enlarged
    by linear interpolation to one cell more than the image and cut out at a random place.
    """
    size = image.shape[1:]
    drawn = torch.Generator("cpu").manual_seed(seed)
    grids = torch.rand(rise.masks, *[rise.cells] * len(size), generator=drawn, device="cpu")
    grids = (grids < rise.p).float()
    cell = [math.ceil(side / rise.cells) for side in size]
    shifts = torch.stack(
        [torch.randint(step, (rise.masks,), generator=drawn, device="cpu") for step in cell], dim=1
    ).tolist()
    enlarged = [(rise.cells + 1) * step for step in cell]
    for start in range(0, rise.masks, BATCH):
        large = upsample(grids[start : start + BATCH].to(image.device), enlarged)
        cuts = [
            mask[tuple(slice(at, at + side) for at, side in zip(shift, size, strict=True))]
            for mask, shift in zip(large, shifts[start : start + BATCH], strict=True)
        ]
        yield torch.stack(cuts)

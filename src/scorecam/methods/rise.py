"""RISE: the sum of random masks, each weighted by the score of the masked image."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from scorecam.base.exact_products import exact_products
from scorecam.base.interpolation import upsample
from scorecam.errors import SettingError
from scorecam.io.ranges import Real, Whole
from scorecam.methods.declared import DeclaredMethod, setting
from scorecam.methods.differentiable import finished
from scorecam.methods.method import Case
from scorecam.shapes import Heatmap, Image, Masks

BATCH = 64
"""Masks in memory at once."""


MOST_CELLS = 2**26
"""The most cells of all grids together."""


@dataclass(frozen=True)
class RISE(DeclaredMethod):
    """Σ_i P(X·M_i) M_i / (N p), with M_i a coarse grid of ones and zeros, enlarged and shifted.

    The masks depend on the case's seed. They are the same for all images of one size.

    Args:
        name: as users write it.
        masks: N. The default is the paper's for VGG16.
        cells: of the grid, along each axis of the image.
        p: the probability that a cell is one.
    """

    kind = "rise"
    source = "Petsiuk, Das, Saenko, BMVC 2018; own code, masks as in the authors'"
    fixed: ClassVar[Mapping[str, object]] = {"fill": 0, "score": "p_t"}

    masks: int = setting(4000, Whole(1, 1_000_000))
    cells: int = setting(7, Whole(1, 1000))
    p: float = setting(0.5, Real(0, 1))

    def check(self) -> None:
        super().check()
        check_grids(self, axes=2)

    def heatmap(self, case: Case) -> Heatmap:
        image = case.image.detach().to(case.model.device, torch.float32)
        total = torch.zeros_like(image[0], dtype=torch.float64, device="cpu")
        for masks in random_masks(image, self, case.seed):
            scores = case.probabilities(image[None] * masks[:, None])
            with exact_products(image.device):
                total += torch.tensordot(scores.to(masks), masks, dims=1).cpu().double()
        return finished(total / (self.masks * self.p), case, self.name)


def check_grids(rise: RISE, axes: int) -> None:
    """Refuse grids that do not fit into memory together.

    Raises:
        SettingError: they do not.
    """
    if rise.masks * rise.cells**axes > MOST_CELLS:
        raise SettingError(
            f"{rise.name}: {rise.masks:,} masks of {rise.cells:,} cells along each of {axes} axes "
            f"have more than {MOST_CELLS:,} cells in all, which is the limit.",
            do="Use fewer masks or cells.",
        )


def random_masks(image: Image, rise: RISE, seed: int) -> Generator[Masks]:
    """The masks in batches: `b *i` float32 in [0, 1], on the image's device.

    As in the authors' code, a grid of `cells` per axis, each one with probability `p`, is enlarged
    by linear interpolation to one cell more than the image, and cropped at a random place.
    """
    size = image.shape[1:]
    check_grids(rise, axes=len(size))
    generator = torch.Generator("cpu").manual_seed(seed)
    grids = torch.rand(
        rise.masks,
        *[rise.cells] * len(size),
        generator=generator,
        device="cpu",
        dtype=torch.float32,
    )
    grids = (grids < rise.p).float()
    cell = [math.ceil(side / rise.cells) for side in size]
    shifts = torch.stack(
        [torch.randint(step, (rise.masks,), generator=generator, device="cpu") for step in cell],
        dim=1,
    ).tolist()
    enlarged = [(rise.cells + 1) * step for step in cell]
    for start in range(0, rise.masks, BATCH):
        large = upsample(grids[start : start + BATCH].to(image.device), enlarged)
        cuts = [
            mask[tuple(slice(at, at + side) for at, side in zip(shift, size, strict=True))]
            for mask, shift in zip(large, shifts[start : start + BATCH], strict=True)
        ]
        yield torch.stack(cuts)


METHODS: tuple[type[DeclaredMethod], ...] = (RISE,)
"""The methods of this file."""

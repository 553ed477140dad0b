"""Meaningful perturbations: the smallest region that hides the class when blurred."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from scorecam.io.ranges import Real, Whole
from scorecam.methods.declared import DeclaredMethod, setting
from scorecam.methods.differentiable import (
    Column,
    differentiated,
    finished,
    photo_only,
    pixels,
)
from scorecam.methods.method import Case
from scorecam.shapes import Heatmap, Images

EXPONENT = 3.0
"""β: the power of the total variation."""

MASK_BLUR = 5.0
"""σ of the blur of the mask, in pixels of 224, which prevents sharp patterns."""

HIDDEN = 0.99
"""The share of P_t(X) − P_t(blurred X) that the initial disc must remove."""

RADIUS_STEP = 5.0
"""The step between the radii of the discs that are tried, in pixels of 224."""

DISC_BLUR = 10.0
"""σ of the blur of the disc, in pixels of 224."""


@dataclass(frozen=True)
class Mask(DeclaredMethod):
    """1 − m, with m minimising P_t(m·X + (1−m)·blurred X) + l1·Σ|1−m| + tv·Σ|∇m|^3 by Adam.

    The defaults are those of the paper and its released code, with lengths scaled from 224 pixels.
    As there, the mask starts as the smallest disc at the centre that hides the class. If it started
    with ones, the gradient of a probability near 1 would be too small.

    Args:
        name: as users write it.
        steps: of Adam.
        rate: its learning rate.
        cells: the mask's side.
        l1: the cost of each hidden cell.
        tv: the cost of roughness.
        blur: σ of the blurred image, in pixels of 224.
        jitter: the largest random shift of the image at each step, in pixels of 224.
    """

    kind = "mask"
    gradients = True
    source = "Fong, Vedaldi, ICCV 2017; own code, settings of the authors'"
    fixed: ClassVar[Mapping[str, object]] = {
        "beta": EXPONENT,
        "mask_blur": MASK_BLUR,
        "start": "disc",
        "score": "p_t",
    }

    steps: int = setting(300, Whole(1, 1_000_000))
    rate: float = setting(0.1, Real(0, 1000))
    cells: int = setting(28, Whole(1, 1000))
    l1: float = setting(1e-4, Real(0, 1e6, closed=True))
    tv: float = setting(1e-2, Real(0, 1e6, closed=True))
    blur: float = setting(10.0, Real(0, 224))
    jitter: int = setting(4, Whole(0, 224))

    def heatmap(self, case: Case) -> Heatmap:
        photo_only(case.image, self.name)
        with differentiated(case, self.name, probability=True) as (column, _network, leaf):
            images = leaf.detach()
            cells = self._optimised(column, images, case.seed)
            kept = _enlarged(cells, images)
            return finished((1 - kept[0, 0]).clamp(0, 1), case, self.name)

    def _optimised(
        self, column: Column, images: Images, seed: int
    ) -> Annotated[Tensor, "1 1 cells cells"]:
        """The mask at its own size."""
        blurred = _blurred(images, pixels(self.blur, images[0]))
        disc = _disc(column, images, blurred)
        cells = functional.adaptive_avg_pool2d(disc, self.cells).clone().requires_grad_()
        adam = torch.optim.Adam([cells], lr=self.rate)
        reach = round(pixels(self.jitter, images[0]))
        generator = torch.Generator("cpu").manual_seed(seed)
        for _ in range(self.steps):
            kept = _enlarged(cells, images)
            shift = torch.randint(reach + 1, (2,), generator=generator, device="cpu").tolist()
            mixed = kept * _shifted(images, shift) + (1 - kept) * _shifted(blurred, shift)
            cost = column(mixed)[0] + self.l1 * (1 - cells).abs().sum()
            cost = cost + self.tv * _roughness(cells)
            # Not backward(), which would leave gradients on other tensors.
            (cells.grad,) = torch.autograd.grad(cost, [cells])
            adam.step()
            with torch.no_grad():
                cells.clamp_(0, 1)
        return cells.detach()


@torch.no_grad()
def _disc(column: Column, images: Images, blurred: Images) -> Annotated[Tensor, "1 1 h w"]:
    """0 on the smallest disc at the centre that hides the class, 1 elsewhere, with a soft edge."""
    size = images.shape[2:]
    rows, columns = (
        torch.arange(side, device=images.device, dtype=torch.float32) - (side - 1) / 2
        for side in size
    )
    away = torch.hypot(rows[:, None], columns)[None, None]
    whole, empty = column(images), column(blurred)
    limit = (1 - HIDDEN) * (whole - empty)
    radius = 0.0
    kept = torch.ones_like(away)
    while radius <= float(away.max()) and bool(whole > empty):
        radius += pixels(RADIUS_STEP, images[0])
        kept = _blurred((away > radius).float(), pixels(DISC_BLUR, images[0]))
        if bool(column(kept * images + (1 - kept) * blurred) - empty <= limit):
            break
    return kept


def _enlarged(cells: Tensor, images: Images) -> Annotated[Tensor, "1 1 h w"]:
    """The mask at the image's size, smooth."""
    size = tuple(images.shape[2:])
    large = functional.interpolate(cells, size=size, mode="bilinear", align_corners=False)
    return _blurred(large, pixels(MASK_BLUR, images[0]))


def _roughness(cells: Tensor) -> Tensor:
    """The total variation: |differences| between neighbours to the power β, summed."""
    down, right = cells.diff(dim=2).abs(), cells.diff(dim=3).abs()
    return down.pow(EXPONENT).sum() + right.pow(EXPONENT).sum()


def _shifted(images: Images, shift: list[int]) -> Images:
    """Images shifted up and left by these pixels; the last row and column are repeated."""
    down, right = shift
    return functional.pad(images, (0, right, 0, down), mode="replicate")[:, :, down:, right:]


def _blurred(images: Images, sigma: float) -> Images:
    """A Gaussian blur; pixels beyond the edges repeat those at the edge."""
    reach = max(1, math.ceil(3 * sigma))
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32, device=images.device)
    weights = (-0.5 * (steps / sigma).square()).exp()
    weights = weights / weights.sum()
    colours = images.shape[1]
    padded = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    rows = weights.reshape(1, 1, -1, 1).expand(colours, 1, -1, 1)
    columns = weights.reshape(1, 1, 1, -1).expand(colours, 1, 1, -1)
    return functional.conv2d(
        functional.conv2d(padded, rows, groups=colours), columns, groups=colours
    )


METHODS: tuple[type[DeclaredMethod], ...] = (Mask,)
"""The methods of this file."""

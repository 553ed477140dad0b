"""Networks of every family, explained with no argument but the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import scorecam
from families import FAMILIES, Family

FEW = {
    "timm: ViT with registers",
    "timm: PoolFormer",
    "transformers: DINOv2",
    "transformers: Swin",
    "transformers: DETR",
    "smp: U-Net",
    "MONAI: ViT, 3-D",
}
"""Families that `make test` covers; `make test-long` covers all."""

SPREAD = {"timm: LeViT", "timm: TinyViT", "timm: Visformer", "timm: ConvMixer"} | {
    "torchvision: FCN",
    "smp: FPN",
    "smp: LinkNet",
}
"""With random weights, a spot changes other cells of these networks more than its own."""


def title(family: Family) -> str:
    return f"{family.library}: {family.name}"


CASES = [
    pytest.param(
        family, id=title(family), marks=() if title(family) in FEW else (pytest.mark.long,)
    )
    for family in FAMILIES
]


def spot(image: Tensor, grid: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The image with one bright cell that is on no diagonal, and the cell."""
    cell = tuple(2 * n // 3 if axis == 0 else n // 4 for axis, n in enumerate(grid))
    sides = [side // n for side, n in zip(image.shape[2:], grid, strict=True)]
    place = [slice(i * side, (i + 1) * side) for i, side in zip(cell, sides, strict=True)]
    bright = image.clone()
    bright[(..., *place)] += 3
    return bright, cell


@pytest.mark.needs("families", "torchvision")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("family", CASES)
def test_a_family_is_explained_on_its_own_grid_without_arguments(family: Family) -> None:
    model = scorecam.open_model(family.network(), **family.options)
    image = family.image()
    explanation = scorecam.explain(model, image, 0, budget=4, runtime="eager")
    assert explanation.heatmap.shape == family.size
    assert explanation.heatmap.isfinite().all()
    assert explanation.bank.activations.shape[1:] == family.cells
    assert not any("layer" in remark for remark in explanation.provenance.remarks)
    bright, cell = spot(image, family.cells)
    before, _ = model.activations(image, explanation.layer)
    after, _ = model.activations(bright, explanation.layer)
    changed = (after - before).abs().sum((0, 1))
    assert changed.max() > 0
    if title(family) not in SPREAD:
        largest = torch.unravel_index(changed.argmax(), changed.shape)
        assert all(abs(int(i) - j) <= 1 for i, j in zip(largest, cell, strict=True))


def test_there_are_at_least_sixty_families() -> None:
    assert len({title(family) for family in FAMILIES}) == len(FAMILIES) >= 60

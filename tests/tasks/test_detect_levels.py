"""The default layer of a box: the level of the feature pyramid that it came from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import scorecam
from pyramid_networks import PyramidDetector
from scorecam.tasks import Detect
from scorecam.tasks.detect.detections import Detections
from scorecam.tasks.detect.levels import grid_of

SIZE = (60, 96)
IMAGE = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))


def detections(counts: tuple[int, ...], best: int) -> Detections:
    """Boxes of 9 × 9 side by side; only one of them overlaps the first place by half."""
    boxes = torch.tensor([20.0, 0.0, 29.0, 9.0]).repeat(1, sum(counts), 1)
    boxes[0, best] = torch.tensor([0.0, 0.0, 9.0, 9.0])
    levels = torch.cat([torch.full((count,), level) for level, count in enumerate(counts)])
    return Detections(boxes, torch.full((1, sum(counts), 2), 0.5), levels=levels)


def grid_for(found: Detections, size: tuple[int, int] = SIZE) -> tuple[int, ...] | None:
    return grid_of(found, torch.tensor([0.0, 0.0, 9.0, 9.0]), torch.tensor(1), size)


@pytest.mark.parametrize(("best", "grid"), [(0, (8, 12)), (96, (4, 6)), (120, (2, 3))])
def test_a_box_has_the_grid_of_the_level_of_its_best_match(
    best: int, grid: tuple[int, int]
) -> None:
    assert grid_for(detections((96, 24, 6), best)) == grid


def test_cells_with_three_anchors_have_the_same_grid() -> None:
    assert grid_for(detections((3 * 96, 3 * 24), 300)) == (4, 6)


def test_a_level_that_fits_no_stride_has_no_grid() -> None:
    assert grid_for(detections((97, 23), 0)) is None


def test_detections_without_levels_have_no_grid() -> None:
    found = Detections(torch.tensor([[[0.0, 0.0, 9.0, 9.0]]]), torch.ones(1, 1, 2))

    assert grid_for(found) is None


def explained(level: int) -> tuple[scorecam.Explanation, Tensor]:
    """The explanation of the most probable box of a level, and this box."""
    torch.manual_seed(0)
    network = PyramidDetector().eval()
    with torch.no_grad():
        output = network(IMAGE[None])[0]
    part = slice(0, 24) if level == 0 else slice(24, 30)
    best = int(output[4:, part].amax(0).argmax()) + part.start
    x, y, width, height = output[:4, best]
    box = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    model = scorecam.open_model(network, task=Detect(threshold=0, overlap=1))
    return scorecam.explain(model, IMAGE, tuple(box.tolist())), box


@pytest.mark.parametrize(
    ("level", "layer", "grid"), [(0, "neck.fine", "4×6"), (1, "neck.coarse", "2×3")]
)
def test_a_box_is_explained_by_its_level_and_a_remark_says_so(
    level: int, layer: str, grid: str
) -> None:
    explanation, box = explained(level)
    bank = explanation.bank

    assert bank.boxes is not None
    assert torch.allclose(bank.boxes[explanation.target.index], box, atol=1e-3)
    assert bank.layer == layer
    assert (
        f"The layer '{layer}' has the grid of the level that the explained box came from, {grid}."
        in bank.provenance.remarks
    )

"""Boxes are explained: the known answer, in every form of output."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import scorecam
from detectors import CELL, COLOURS, DECODED, FORMS, Found, Spots, cell_boxes, picture
from scorecam.model.model import Model
from scorecam.tasks import Detect

SIZE = 64, 96
RED, GREEN = (1, 2), (6, 9)
IMAGE = picture({RED: (0, 0.9), GREEN: (1, 0.6)}, SIZE)


def detector(form: str = "yolo") -> Model:
    return scorecam.open_model(Spots(FORMS[form]).eval(), labels=COLOURS, task=Detect())


def box_of(cell: tuple[int, int]) -> list[float]:
    row, column = cell
    corners = column, row, column + 1, row + 1
    return [float(corner * CELL) for corner in corners]


def energy(heatmap: torch.Tensor, box: list[float]) -> float:
    """The part of a map in a box and its surroundings of a cell: maps are interpolated."""
    left, top, right, bottom = (int(number) for number in box)
    rows = slice(max(top - CELL, 0), bottom + CELL)
    return float(heatmap[rows, max(left - CELL, 0) : right + CELL].sum() / heatmap.sum())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_output_gives_the_same_boxes_and_maps(form: str) -> None:
    explanation = scorecam.explain(detector(form), IMAGE, "green", layer="maps")
    bank = explanation.bank
    assert bank.names == ("red", "green")
    assert bank.boxes is not None
    assert torch.allclose(bank.boxes, torch.tensor([box_of(RED), box_of(GREEN)]), atol=1e-3)
    assert torch.allclose(bank.image_scores, torch.tensor([0.9, 0.6]), atol=1e-4)
    assert f"decoded as {DECODED[form]}" in bank.provenance.remarks[0]
    assert energy(explanation.heatmap, box_of(GREEN)) > 0.99
    assert energy(bank.heatmap("red"), box_of(RED)) > 0.99


@pytest.mark.parametrize("cell", [(0, 0), (2, 8), (7, 11)])
def test_the_map_moves_with_the_object(cell: tuple[int, int]) -> None:
    image = picture({cell: (2, 0.8), (4, 4): (0, 0.7)}, SIZE)
    explanation = scorecam.explain(detector(), image, "blue")
    assert explanation.target.score == pytest.approx(0.8, abs=1e-4)
    assert energy(explanation.heatmap, box_of(cell)) > 0.99


@pytest.mark.parametrize("boxes", [1, 300])
def test_any_number_of_boxes_is_one_bank(boxes: int) -> None:
    size = 160, 192
    cells = [(row, column) for row in range(20) for column in range(24)][:boxes]
    spots = {cell: (0, 0.5 + 0.001 * number) for number, cell in enumerate(cells)}
    bank = scorecam.ScoreCAM(detector()).bank(picture(spots, size))
    assert bank.scores.shape[1] == len(bank.names or ()) == boxes
    assert len(set(bank.names or ())) == boxes
    assert (bank.image_scores.diff() <= 0).all()


def test_more_than_300_boxes_are_cut_with_a_remark() -> None:
    image = torch.full((3, 160, 192), 0.5)
    remarks = scorecam.ScoreCAM(detector()).bank(image).provenance.remarks
    assert "Only the 300 most probable boxes are columns." in remarks


def test_ten_boxes_cost_the_passes_of_one() -> None:
    spots = {(row, column): (row % 3, 0.8) for row in (1, 6) for column in range(0, 10, 2)}
    ten = scorecam.ScoreCAM(detector()).bank(picture(spots, SIZE))
    one = scorecam.ScoreCAM(detector()).bank(picture(spots, SIZE), "red")
    assert len(ten.names or ()) == 10
    assert ten.provenance.forward_passes == one.provenance.forward_passes
    assert torch.equal(ten.heatmap("red"), one.heatmap("red"))


@pytest.mark.parametrize("form", ["yolo", "lists", "end_to_end"])
def test_maps_do_not_depend_on_the_batch_size(form: str) -> None:
    maps = [
        scorecam.ScoreCAM(detector(form), "maps", batch_size=size).bank(IMAGE).heatmap("green")
        for size in (1, 3, 64)
    ]
    assert torch.allclose(maps[0], maps[1], atol=1e-5)
    assert torch.allclose(maps[0], maps[2], atol=1e-5)


class Context(Spots):
    """Half of a cell's probability comes from the cell three columns to its right."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.head(self.maps(self.stem(images)))
        found = ((found + found.roll(-3, dims=3)) / 2).flatten(2).mT
        return FORMS["yolo"](Found(cell_boxes(*SIZE), found, SIZE))


def test_maps_are_not_clipped_to_the_box() -> None:
    image = picture({(2, 4): (0, 0.9), (2, 7): (0, 0.9), GREEN: (1, 0.9)}, SIZE)
    explanation = scorecam.explain(Context(FORMS["yolo"]).eval(), image, task="detect")
    assert explanation.bank.boxes is not None
    assert explanation.bank.boxes[0].tolist() == box_of((2, 4))
    assert energy(explanation.heatmap, box_of((2, 7))) > 0.4
    assert energy(explanation.heatmap, box_of(GREEN)) == 0


def test_a_batch_of_photos_has_its_own_boxes_for_each() -> None:
    images = torch.stack([IMAGE, picture({(5, 1): (2, 0.7)}, SIZE)])
    maps = scorecam.ScoreCAM(detector())(images)
    assert energy(maps[0], box_of(RED)) > 0.99
    assert energy(maps[1], box_of((5, 1))) > 0.99
    with pytest.raises(scorecam.ScorecamError, match="No box of the class 'red'"):
        scorecam.ScoreCAM(detector())(images, ["green", "red"])


class Mixed(nn.Module):
    """A detector with 40 random channels: every box depends on its neighbourhood."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 40, CELL, stride=CELL), nn.ReLU()),
            *(nn.Conv2d(40, 40, 3, padding=1), nn.ReLU()),
        )
        self.head = nn.Conv2d(40, 3, 3, padding=1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in self.parameters():
                fan_in = weight[0].numel() if weight.ndim > 1 else 1e6
                random = torch.randn(weight.shape, generator=generator)
                weight.copy_(random * math.sqrt(2 / fan_in))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = (4 * self.head(self.features(images))).sigmoid().flatten(2).transpose(1, 2)
        return FORMS["yolo"](Found(cell_boxes(*SIZE), found, SIZE))


@pytest.mark.long
def test_fast_honours_its_error_on_a_hundred_boxes() -> None:
    network, covered = Mixed().eval(), list[bool]()
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        coarse = torch.rand(1, 3, 5, 7, generator=generator)
        image = functional.interpolate(coarse, SIZE, mode="bicubic")[0].clamp(0, 1)
        exact, fast = (
            scorecam.ScoreCAM(network, "features", budget=budget, task="detect").bank(image)
            for budget in ("exact", "fast")
        )
        assert fast.provenance.forward_passes < exact.provenance.forward_passes
        for box in range(10):
            maps = scorecam.scaled(exact.heatmap(box)), scorecam.scaled(fast.heatmap(box))
            covered.append(float((maps[0] - maps[1]).abs().max()) <= fast.error(box))
    assert len(covered) == 100
    assert sum(covered) >= 90


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("form", ["yolo", "yolo_of_torch", "picodet", "rt_detr"])
def test_a_converted_network_has_the_same_maps(form: str) -> None:
    maps = [
        scorecam.explain(detector(form), IMAGE, "green", layer="maps", runtime=runtime)
        for runtime in ("eager", "openvino")
    ]
    assert [each.bank.provenance.runtime for each in maps] == ["eager", "openvino"]
    assert torch.allclose(maps[0].heatmap, maps[1].heatmap, atol=1e-5)

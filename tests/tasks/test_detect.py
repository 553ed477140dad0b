"""Boxes are explained: the known answer, in every form of output."""

from __future__ import annotations

import pytest
import torch

import scorecam
from detectors import CELL, COLOURS, DECODED, FORMS, Spots, picture
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

"""A detector that was not made here: PicoDet, which finds the parts of a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import scorecam
from deployed_inputs import IMAGENET, Planted, page_with_a_figure
from scorecam import Preprocess
from scorecam.model.model import Model
from scorecam.tasks import Detect
from scorecam.tasks.detect.detections import intersection_over_union

pytestmark = [pytest.mark.long, pytest.mark.needs("deployed", "onnx", "eval")]

Deployed = Callable[[str], Path]
Direct = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def planted() -> Planted:
    return page_with_a_figure()


@pytest.fixture(scope="module")
def layout(deployed: Deployed) -> Model:
    mean, std = IMAGENET
    preprocess = Preprocess(size=(800, 608), mean=mean, std=std, fit="squash")
    file = deployed("layout_cdla.onnx")
    return scorecam.open_model(file, preprocess=preprocess, task=Detect())


def gain(heatmap: Tensor, box: tuple[float, ...]) -> float:
    """How much more of the map is in the box than there would be of a uniform map."""
    left, top, right, bottom = (int(number) for number in box)
    share = float(heatmap[top:bottom, left:right].sum() / heatmap.sum())
    return share / ((right - left) * (bottom - top) / heatmap.numel())


def test_the_figure_on_a_page_is_a_box_and_its_map_is_concentrated_there(
    layout: Model, planted: Planted
) -> None:
    options: dict[str, Any] = {"layer": "hardswish_56.tmp_0", "variant": "official"}
    explanation = scorecam.explain(layout, planted.picture, "figure", **options)
    bank = explanation.bank
    assert set(bank.names or ()) >= {"text", "text 2", "figure"}
    assert bank.boxes is not None
    found, given = bank.boxes[explanation.target.index], torch.tensor(planted.box).float()
    assert float(intersection_over_union(found[None], given[None])) > 0.8
    assert explanation.target.score > 0.8
    assert gain(explanation.heatmap, planted.box) > 2


def test_a_point_in_the_photo_means_the_box_around_it(layout: Model, planted: Planted) -> None:
    left, top, right, bottom = planted.box
    place = (left + right) / 2, (top + bottom) / 2
    columns = layout.for_image(layout.read(planted.picture).image[None], place).task_columns
    assert columns is not None
    assert columns.names[columns.column] == "figure"


def test_boxes_are_those_of_the_network_by_hand(
    layout: Model, direct: Direct, deployed: Deployed, planted: Planted
) -> None:
    """The most probable cell of each level, with numpy."""
    image = layout.read(planted.picture).image[None]
    answer = direct(deployed("layout_cdla.onnx"), image=image.numpy())
    names = list(answer)
    columns = layout.for_image(image).task_columns
    assert columns is not None
    assert columns.boxes is not None
    found: list[tuple[float, list[float], int]] = []
    for scores, sides, stride in zip(names[:4], names[4:], (8, 16, 32, 64), strict=True):
        wide = -(-608 // stride)
        best = int(answer[scores][0].max(1).argmax())
        row, column = divmod(best, wide)
        logits = answer[sides][0, best].reshape(4, 8).astype(np.float64)
        parts = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        left, top, right, bottom = (parts * np.arange(8)).sum(1) * stride
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        probability = answer[scores][0, best]
        corners = [x - left, y - top, x + right, y + bottom]
        found.append((float(probability.max()), corners, int(probability.argmax())))
    score, corners, _ = max(found)
    np.testing.assert_allclose(columns.boxes[0], corners, atol=1e-2)
    assert float(columns.readout(layout.output(image))[0, 0]) == pytest.approx(score, abs=1e-4)

"""The default layer of detectors with a feature pyramid, where a task says which grid it wants."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import scorecam
from onnx_networks import exported
from pyramid_networks import PyramidDetector
from scorecam.model.model import Model
from scorecam.model.task_columns import DefaultGrid, TaskColumns

IMAGES = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
FINE, COARSE = (4, 6), (2, 3)


def most(output: Tensor) -> Tensor:
    return output[:, 4:].amax(2)


def default(model: Model, grid: DefaultGrid | None) -> str:
    return model.with_columns(TaskColumns(most, ("a", "b"), grid=grid)).find_layer(None, IMAGES)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return PyramidDetector().eval()


@pytest.mark.parametrize(
    ("grid", "layer"), [("deepest", "deep"), (FINE, "neck.fine"), (COARSE, "neck.coarse")]
)
def test_a_task_chooses_the_grid_of_the_default_layer(
    network: nn.Module, grid: DefaultGrid, layer: str
) -> None:
    assert default(scorecam.open_model(network), grid) == layer


def test_a_grid_that_the_network_lacks_leaves_the_usual_default(network: nn.Module) -> None:
    model = scorecam.open_model(network)

    assert default(model, (5, 5)) == default(model, None)


def test_the_masks_have_the_grid_of_the_chosen_level(network: nn.Module) -> None:
    columns = TaskColumns(most, ("a", "b"), grid=FINE)
    bank = scorecam.ScoreCAM(scorecam.open_model(network).with_columns(columns)).bank(IMAGES)

    assert (bank.layer, tuple(bank.activations.shape)) == ("neck.fine", (7, *FINE))


@pytest.mark.needs("onnx")
@pytest.mark.parametrize(("grid", "channels"), [("deepest", 8), (FINE, 7), (COARSE, 9)])
def test_the_same_grids_are_found_in_the_graph_of_an_onnx_file(
    network: nn.Module, grid: DefaultGrid, channels: int, tmp_path: Path
) -> None:
    model = scorecam.open_model(exported(network, IMAGES, tmp_path / "net.onnx"))
    [layer] = [each for each in model.layers(IMAGES) if each.name == default(model, grid)]

    assert layer.channels == channels
    assert layer.grid == (COARSE if grid == "deepest" else grid)

"""Runs over files of numbers: signals and volumes are measured as photos are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import scorecam

pytestmark = pytest.mark.needs("eval")


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Three volumes of two classes."""
    for number, label in enumerate(("a", "a", "b")):
        folder = tmp_path / "volumes" / label
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", np.random.default_rng(number).random((1, 8, 10, 12)))
    return tmp_path / "volumes"


def network() -> scorecam.Model:
    torch.manual_seed(0)
    return scorecam.open_model(
        nn.Sequential(
            nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
            nn.Linear(6, 3),
        ).eval()
    )  # fmt: skip


def test_evaluate_measures_every_volume(volumes, tmp_path) -> None:
    summary = scorecam.evaluate(
        network(), volumes, "scorecam,uniform", "quick", out=tmp_path / "run", target="predicted",
        runtime="eager",
    )  # fmt: skip

    assert (summary.done, summary.failed) == (3, ())


def test_sanity_compares_maps_of_volumes_without_drawing_them(volumes, tmp_path) -> None:
    result = scorecam.sanity(network(), volumes, "scorecam", out=tmp_path / "sane", runtime="eager")

    assert result.failures == {}
    assert {point.stage for point in result.points} >= {"0", "4"}
    assert not list((tmp_path / "sane").rglob("cascade*"))


def test_without_preprocessing_a_folder_of_photos_is_refused_at_once(tmp_path) -> None:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "x.png")

    with pytest.raises(scorecam.PhotoError, match="preprocess"):
        scorecam.evaluate(network(), folder, "scorecam", "quick", out=tmp_path / "run")


def test_numbers_beside_photos_are_left_out_with_a_remark(tmp_path) -> None:
    from PIL import Image

    from scorecam.datasets.opening import open_dataset

    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    np.save(tmp_path / "y.npy", np.zeros((3, 8, 8)))

    dataset = open_dataset(str(tmp_path))

    assert [sample.name for sample in dataset.samples] == ["x.png"]
    assert "Files of numbers that are not used, because there are photos: 1." in dataset.remarks

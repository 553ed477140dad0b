"""Runs of models whose preprocessing is the user's own transform."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import scorecam
from scorecam.errors import RunError
from small_runs import NAMES, SIDE, network, photos, preprocess, records, run, with_truth


def tensor(photo: Image.Image) -> Tensor:
    """The network's input."""
    values = np.array(photo.resize((SIDE, SIDE), Image.Resampling.NEAREST), np.float32)
    return torch.from_numpy(values / 127.5 - 1).permute(2, 0, 1)


def turned(photo: Image.Image) -> Tensor:
    return tensor(photo.rotate(90))


def model(function: Callable[[Image.Image], Tensor]) -> scorecam.Model:
    return scorecam.open_model(network(), preprocess=function, labels=NAMES)


def test_a_run_with_a_transform_measures_like_one_with_a_preprocess(
    folder: Path, tmp_path: Path
) -> None:
    settings = {"metrics": "energy,pointing,deletion", "methods": "scorecam"}
    own = scorecam.open_model(network(), preprocess=preprocess(), labels=NAMES)

    run(with_truth(folder), tmp_path / "own", model=own, **settings)
    run(with_truth(folder), tmp_path / "theirs", model=model(tensor), **settings)

    expected = [record["values"] for record in records(tmp_path / "own")]
    measured = [record["values"] for record in records(tmp_path / "theirs")]
    assert len(measured) == 6
    for one, other in zip(expected, measured, strict=True):
        assert other == pytest.approx(one, abs=1e-4)


def test_a_run_names_the_transform_and_resumes_only_with_it(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", model=model(tensor))
    recorded = json.loads((tmp_path / "run/run.json").read_text())["preprocess"]
    assert recorded["transform"].endswith("test_transforms.tensor")
    assert recorded["size"] == [SIDE, SIDE]

    assert run(folder, tmp_path / "run", model=model(tensor)) is not None
    with pytest.raises(RunError, match="preprocess"):
        run(folder, tmp_path / "run", model=model(turned))


def test_without_a_place_in_the_photo_localisation_is_undefined(
    tmp_path: Path,
) -> None:
    large = photos(tmp_path / "large", 3, side=40)
    run(with_truth(large), tmp_path / "run", "scorecam", model=model(turned), metrics="energy")

    for record in records(tmp_path / "run"):
        assert record["values"] == {}
        assert "not known where" in record["undefined"]["energy_box"]
        assert "could not be found" in record["remarks"][0]

"""The gallery of a run: what a page shows of each photo."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import scorecam
from scorecam.datasets.sample import Dataset, Sample, Thing
from scorecam.runs.gallery import VIEWS
from scorecam.testing import Regions
from small_runs import NAMES, SIDE, opened, photos, preprocess, run

pytestmark = pytest.mark.needs("eval")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photos(tmp_path / "photos", 6)


def entries(out: Path) -> dict[str, dict[str, Any]]:
    files = sorted(out.glob("gallery/??/*.json"))
    found = [json.loads(file.read_text("utf-8")) for file in files]
    assert all(
        file.stem == each["id"] and file.parent.name == each["id"][:2]
        for file, each in zip(files, found, strict=True)
    )
    return {each["name"]: each for each in found}


def grid(text: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)


def test_an_entry_holds_the_maps_of_the_bank(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", "scorecam")
    found = entries(tmp_path / "run")
    assert len(found) == 6
    model = opened()
    for name, each in found.items():
        explanation = scorecam.explain(model, folder / name, runtime="eager")
        assert each["grid"] == [SIDE, SIDE]
        assert each["views"] == list(VIEWS)
        assert each["error"] == 0
        shown = {kind["index"]: kind for kind in each["classes"]}
        assert sorted(shown) == [0, 1, 2]
        for index, kind in shown.items():
            assert kind["name"] == NAMES[index]
            for view, text in zip(VIEWS, kind["maps"], strict=True):
                expected = explanation.of(index, view).heatmap
                top = float(expected.max())
                expected = (expected / top * 255).round() if top else torch.zeros_like(expected)
                difference = expected.numpy() - grid(text, each["grid"]).astype(float)
                # A value right between two steps may be rounded either way.
                assert np.abs(difference).max() <= 1
                assert np.abs(difference).mean() < 0.05
        assert [note["code"] for note in each["health"]] == [
            note.code for note in explanation.of(each["classes"][0]["index"]).health
        ]
        with Image.open(io.BytesIO(base64.b64decode(each["jpeg"]))) as picture:
            assert picture.size == (SIDE, SIDE)


def test_the_classes_of_interest_come_first_and_at_most_five(tmp_path: Path) -> None:
    # The last class scores lowest, and is the label; the first is predicted.
    weights = torch.linspace(1, 0, 9)[:, None].expand(9, 3).contiguous()
    names = [f"class {number}" for number in range(9)]
    model = scorecam.open_model(Regions(0.1 * weights), preprocess=preprocess(), labels=names)
    place = tmp_path / "photos" / "class 8"
    place.mkdir(parents=True)
    Image.new("RGB", (SIDE, SIDE), (200, 220, 240)).save(place / "a.png")
    run(tmp_path / "photos", tmp_path / "run", "scorecam", model=model)
    [each] = entries(tmp_path / "run").values()
    assert [kind["index"] for kind in each["classes"]] == [8, 0, 1, 2, 3]
    assert [kind["roles"] for kind in each["classes"]] == [
        ["label", "target"], ["predicted"], [], [], [],
    ]  # fmt: skip
    assert each["contrast"]["for"] == 0
    assert each["contrast"]["over"] == 8


def test_the_contrast_is_what_speaks_for_the_wrong_prediction(tmp_path: Path) -> None:
    """The left half is red, the right half green, and green is the stronger."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2, 0] = 200
    pixels[:, SIDE // 2 :, 1] = 255
    for label in ("red", "green"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / label / "a.png")
    run(tmp_path / "photos", tmp_path / "run", "scorecam")
    found = entries(tmp_path / "run")
    assert found["green/a.png"]["contrast"] is None
    contrast = found["red/a.png"]["contrast"]
    assert (contrast["for"], contrast["over"]) == (1, 0)
    shown = grid(contrast["map"], found["red/a.png"]["grid"])
    assert (shown[:, SIDE // 2 :] == 255).all()
    assert (shown[:, : SIDE // 2] == 0).all()


def test_objects_come_in_units_of_the_input(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (200, 0, 0)).save(tmp_path / "a.png")
    things = (
        Thing("red", (10.0, 5.0, 30.0, 10.0)),
        Thing("green", (0.0, 0.0, 40.0, 20.0)),
    )
    sample = Sample("a.png", tmp_path / "a.png", "red", things)
    dataset = Dataset(tmp_path, "list", (sample,), ("red", "green"))
    run(dataset, tmp_path / "run", "scorecam")
    [each] = entries(tmp_path / "run").values()
    assert each["things"] == [
        {"label": "red", "box": [0.25, 0.25, 0.75, 0.5]},
        {"label": "green", "box": [0, 0, 1, 1]},
    ]


def test_without_masks_asked_about_there_are_no_maps(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", "random,edges")
    for each in entries(tmp_path / "run").values():
        assert each["views"] == []
        assert each["things"] is None
        assert all(kind["maps"] == [] for kind in each["classes"])
        assert each["classes"][0]["roles"][0] == "label"


@pytest.mark.parametrize("methods", ["random,scorecam", "scorecam,random"])
def test_a_run_that_goes_on_keeps_the_maps(folder: Path, tmp_path: Path, methods: str) -> None:
    out = tmp_path / "run"
    run(folder, out, methods)
    before = entries(out)
    for file in out.glob("items/random/**/*.json"):
        file.unlink()
    run(folder, out, methods)
    assert entries(out) == before
    assert all(each["views"] for each in before.values())


def test_with_a_reduced_budget_it_is_of_the_first_method_that_asks(
    folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path / "run", "random,scorecam:variant=algorithm1", budget=2)
    assert all(each["views"] for each in entries(tmp_path / "run").values())


def test_no_gallery_is_kept_where_none_is_wanted(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", "scorecam", gallery=False)
    assert not (tmp_path / "run" / "gallery").exists()

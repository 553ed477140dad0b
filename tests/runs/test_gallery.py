"""The gallery of a run: the maps of each photo for the page."""

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
from small_runs import NAMES, SIDE, opened, preprocess, run

pytestmark = pytest.mark.needs("eval")


def entries(out: Path) -> dict[str, dict[str, Any]]:
    files = sorted(out.glob("gallery/??/*.json"))
    result = [json.loads(file.read_text("utf-8")) for file in files]
    assert all(
        file.stem == entry["id"] and file.parent.name == entry["id"][:2]
        for file, entry in zip(files, result, strict=True)
    )
    return {entry["name"]: entry for entry in result}


def grid(text: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)


def test_an_entry_contains_the_maps_of_the_bank(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", "scorecam")
    result = entries(tmp_path / "run")
    assert len(result) == 6
    model = opened()
    for name, entry in result.items():
        explanation = scorecam.explain(model, folder / name, runtime="eager")
        assert entry["grid"] == [SIDE, SIDE]
        assert entry["views"] == list(VIEWS)
        assert entry["error"] == 0
        shown = {kind["index"]: kind for kind in entry["classes"]}
        assert sorted(shown) == [0, 1, 2]
        for index, kind in shown.items():
            assert kind["name"] == NAMES[index]
            for view, text in zip(VIEWS, kind["maps"], strict=True):
                expected = explanation.of(index, view).heatmap
                top = float(expected.max())
                expected = (expected / top * 255).round() if top else torch.zeros_like(expected)
                difference = expected.numpy() - grid(text, entry["grid"]).astype(float)
                # A value halfway between two steps may be rounded either way.
                assert np.abs(difference).max() <= 1
                assert np.abs(difference).mean() < 0.05
        assert [note["code"] for note in entry["health"]] == [
            note.code for note in explanation.of(entry["classes"][0]["index"]).health
        ]
        with Image.open(io.BytesIO(base64.b64decode(entry["jpeg"]))) as picture:
            assert picture.size == (SIDE, SIDE)


def test_the_classes_of_interest_come_first_and_at_most_five(tmp_path: Path) -> None:
    # The last class is the label and scores lowest; the first is predicted.
    weights = torch.linspace(1, 0, 9)[:, None].expand(9, 3).contiguous()
    names = [f"class {number}" for number in range(9)]
    model = scorecam.open_model(Regions(0.1 * weights), preprocess=preprocess(), labels=names)
    place = tmp_path / "photos" / "class 8"
    place.mkdir(parents=True)
    Image.new("RGB", (SIDE, SIDE), (200, 220, 240)).save(place / "a.png")
    run(tmp_path / "photos", tmp_path / "run", "scorecam", model=model)
    [entry] = entries(tmp_path / "run").values()
    assert [kind["index"] for kind in entry["classes"]] == [8, 0, 1, 2, 3]
    assert [kind["roles"] for kind in entry["classes"]] == [
        ["label", "target"], ["predicted"], [], [], [],
    ]  # fmt: skip
    assert entry["contrast"]["for"] == 0
    assert entry["contrast"]["over"] == 8


def test_the_contrast_shows_evidence_for_the_wrong_prediction(tmp_path: Path) -> None:
    """The left half is red, the right half green; green is stronger."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2, 0] = 200
    pixels[:, SIDE // 2 :, 1] = 255
    for label in ("red", "green"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / label / "a.png")
    run(tmp_path / "photos", tmp_path / "run", "scorecam")
    result = entries(tmp_path / "run")
    assert result["green/a.png"]["contrast"] is None
    contrast = result["red/a.png"]["contrast"]
    assert (contrast["for"], contrast["over"]) == (1, 0)
    shown = grid(contrast["map"], result["red/a.png"]["grid"])
    assert (shown[:, SIDE // 2 :] == 255).all()
    assert (shown[:, : SIDE // 2] == 0).all()


def test_objects_are_in_units_of_the_input(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (200, 0, 0)).save(tmp_path / "a.png")
    things = (
        Thing("red", (10.0, 5.0, 30.0, 10.0)),
        Thing("green", (0.0, 0.0, 40.0, 20.0)),
    )
    sample = Sample("a.png", tmp_path / "a.png", "red", things)
    dataset = Dataset(tmp_path, "list", (sample,), ("red", "green"))
    run(dataset, tmp_path / "run", "scorecam")
    [entry] = entries(tmp_path / "run").values()
    assert entry["things"] == [
        {"label": "red", "box": [0.25, 0.25, 0.75, 0.5]},
        {"label": "green", "box": [0, 0, 1, 1]},
    ]


def test_without_scored_masks_there_are_no_maps(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", "random,edges")
    for entry in entries(tmp_path / "run").values():
        assert entry["views"] == []
        assert entry["things"] is None
        assert all(kind["maps"] == [] for kind in entry["classes"])
        assert entry["classes"][0]["roles"][0] == "label"


@pytest.mark.parametrize("methods", ["random,scorecam", "scorecam,random"])
def test_a_resumed_run_keeps_the_maps(folder: Path, tmp_path: Path, methods: str) -> None:
    out = tmp_path / "run"
    run(folder, out, methods)
    before = entries(out)
    for file in out.glob("items/random/**/*.json"):
        file.unlink()
    run(folder, out, methods)
    assert entries(out) == before
    assert all(entry["views"] for entry in before.values())


def test_with_a_reduced_budget_the_first_method_fills_the_gallery(
    folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path / "run", "random,scorecam:variant=algorithm1", budget=2)
    assert all(entry["views"] for entry in entries(tmp_path / "run").values())


def test_no_gallery_is_kept_unless_requested(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run", "scorecam", gallery=False)
    assert not (tmp_path / "run" / "gallery").exists()

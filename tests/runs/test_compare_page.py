"""The page of the photos with the largest changes between models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compared_runs import compared
from scorecam.page import Page, write
from scorecam.runs.compare import page as moved
from scorecam.runs.compare.comparison import Comparison
from scorecam.runs.compare.page import change_page
from scorecam.runs.compare.sides import parse_side, read_side
from small_runs import with_truth

pytestmark = pytest.mark.needs("eval", "audit")

METHOD = "scorecam:variant=increase"


def page_of(actual: Comparison) -> Page:
    runs = sorted(path.parent for path in actual.folder.glob("*/run.json"))
    sides = [
        read_side(parse_side(name), run, METHOD)
        for name, run in zip(actual.names, runs, strict=True)
    ]
    return change_page(actual, sides)


def test_every_photo_shows_the_maps_of_both_sides_for_one_class(
    folder: Path, tmp_path: Path
) -> None:
    comparison = compared(["right", "near"], with_truth(folder), tmp_path / "out")
    page = page_of(comparison)
    assert len(page.pictures) == 6
    alike = [picture.facts["similarity"] for picture in page.pictures]
    assert alike == sorted(alike)
    for picture, photo in zip(page.pictures, comparison.versus[0].photos, strict=True):
        assert picture.name == photo.name
        assert picture.tags == ()
        [shown] = picture.classes
        assert shown.name == picture.name.split("/")[0]
        assert set(shown.maps) == {"right", "near"}
        for name, run in (("right", "1-right"), ("near", "2-near")):
            [file] = (comparison.folder / run).glob(f"maps/*/*/{photo.id}.npy")
            grid = np.load(file).astype(np.float32)
            assert shown.maps[name].max() == 255
            assert np.abs(shown.maps[name] / 255 - grid).max() < 0.5 / 255 + 1e-3
        assert picture.jpeg is not None


def test_a_flipped_photo_shows_the_prediction_of_each_side(folder: Path, tmp_path: Path) -> None:
    page = page_of(compared(["right", "swapped"], folder, tmp_path / "out"))
    for picture in page.pictures:
        label = picture.name.split("/")[0]
        assert picture.tags == ("flipped",)
        assert len(picture.words) == 2
        assert picture.words[0].startswith(f"right predicts {label} (")
        assert not picture.words[1].startswith(f"swapped predicts {label} (")


def test_focus_is_the_gain_of_the_second_side(folder: Path, tmp_path: Path) -> None:
    comparison = compared(["right", "swapped"], with_truth(folder), tmp_path / "out")
    [versus] = comparison.versus
    gained = [picture.facts["focus gained"] for picture in page_of(comparison).pictures]
    assert np.mean([value for value in gained if value is not None]) == pytest.approx(
        versus.focus.mean
    )
    about = dict(page_of(comparison).about)
    assert "accuracy 1.000" in about["right"]
    assert "same prediction 0.000" in about["right against swapped"]


def test_each_of_several_sides_has_its_value(folder: Path, tmp_path: Path) -> None:
    page = page_of(compared(["right", "near", "same"], folder, tmp_path / "out"))
    assert len(page.pictures) == 6
    for picture in page.pictures:
        assert set(picture.facts) == {
            "similarity, near", "focus gained, near", "similarity, same", "focus gained, same",
        }  # fmt: skip
        assert set(picture.classes[0].maps) == {"right", "near", "same"}


def test_a_model_given_twice_is_two_sides(folder: Path, tmp_path: Path) -> None:
    page = page_of(compared(["right", "right"], folder, tmp_path / "out"))
    assert len(page.pictures[0].classes[0].maps) == 2


def test_only_the_first_photos_are_on_the_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moved, "PAGE_PHOTOS", 2)
    page = page_of(compared(["right", "near"], folder, tmp_path / "out"))
    assert len(page.pictures) == 2
    assert "first 2 of 6" in page.lead


def test_the_page_is_written_and_shows_the_gate(folder: Path, tmp_path: Path) -> None:
    comparison = compared(
        ["right", "swapped"], folder, tmp_path / "out", fail_under={"agreement": 0.9}
    )
    text = (comparison.folder / "compare.html").read_text("utf-8")
    assert "right compared with swapped" in text
    assert "agreement is 0, below 0.9" in text


def test_missing_thumbnails_become_grey_tiles(folder: Path, tmp_path: Path) -> None:
    comparison = compared(["right", "near"], folder, tmp_path / "out")
    for number, file in enumerate(comparison.folder.glob("*/gallery/*/*.json")):
        file.write_text("{" if number % 2 else '{"jpeg": 3}', "utf-8")
    assert all(picture.jpeg is None for picture in page_of(comparison).pictures)


def test_a_damaged_thumbnail_is_replaced_by_the_next_sides(folder: Path, tmp_path: Path) -> None:
    comparison = compared(["right", "near"], folder, tmp_path / "out")
    first, *_, last = sorted(comparison.folder.glob("1-*/gallery/*/*.json"))
    entry = json.loads(first.read_text("utf-8"))
    first.write_text(json.dumps({"jpeg": entry["jpeg"][:80]}), "utf-8")
    last.write_text("[" * 100_000, "utf-8")
    page = page_of(comparison)
    assert all(picture.jpeg is not None for picture in page.pictures)
    write(page, tmp_path / "page.html")
    for file in comparison.folder.glob("2-*/gallery/*/*.json"):
        file.unlink()
    tiles = {picture.id for picture in page_of(comparison).pictures if picture.jpeg is None}
    assert tiles == {first.stem, last.stem}

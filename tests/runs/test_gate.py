"""What a release gate needs: flips, moved maps, classes, and a sentence per failed gate."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import scorecam
from command_line import refused
from command_line import scorecam as command
from compared_runs import NETWORKS, compared
from scorecam import Model, ModelError, RunError, SettingError
from scorecam.metrics.statistics import Interval, wilson
from scorecam.runs.compare.class_changes import class_changes
from scorecam.runs.compare.page import change_page
from scorecam.runs.compare.sides import parse_side, read_side
from scorecam.runs.compare.versus import FailedGate, PhotoChange, Versus
from scorecam.runs.record import ClassScore
from scorecam.testing import Regions
from small_runs import opened, photos, run, with_truth

pytestmark = pytest.mark.needs("eval")

CAT, DOG = ClassScore(0, "cat", 0.9), ClassScore(1, "dog", 0.6)


def change(name: str, similarity: float | None, *, flips: bool = False) -> PhotoChange:
    """A photo labelled by the first word of its name; the first side is always right."""
    other = DOG if flips else CAT
    return PhotoChange(
        id=name,
        name=name,
        similarity=similarity,
        flipped=flips,
        focus=(None, None),
        predicted=(CAT, other),
        right=(True, not flips),
        label=name.split(maxsplit=1)[0],
    )


# ── flips ────────────────────────────────────────────────────────────────────────────────────


def test_flips_have_both_predictions_in_every_file(folder: Path, tmp_path: Path) -> None:
    comparison = compared(["right", "swapped"], with_truth(folder), tmp_path / "out")
    [item] = json.loads((tmp_path / "out/compare.json").read_text("utf-8"))["items"]
    table = (tmp_path / "out/compare.md").read_text("utf-8")

    assert item["flips"]["photos"] == len(item["photos"]) == 6
    assert (item["flips"]["mean"], item["flips"]["n"]) == (1.0, 6)
    for photo in item["photos"]:
        first, other = photo["predicted"]
        assert first["name"] == photo["label"] == photo["name"].split("/")[0]
        assert other["name"] != first["name"]
        assert photo["right"] == [True, False]
        row = f"{photo['name']} | {first['name']} ({first['probability']:.0%}) | {other['name']} ("
        assert row in table
    assert "6 of 6 photos (100.0 %" in comparison.table


def test_no_flip_among_few_photos_is_no_proof(folder: Path, tmp_path: Path) -> None:
    [versus] = compared(["right", "near"], folder, tmp_path / "out").versus
    assert versus.flips == wilson(0, 6)
    assert versus.flips.mean == 0
    assert versus.flips.high > 0.3


# ── classes ──────────────────────────────────────────────────────────────────────────────────


def test_the_class_with_the_most_flips_comes_first() -> None:
    same = [change(f"cat {number}", 0.9) for number in range(6)]
    worse = [change(f"dog {number}", 0.5) for number in range(6)]
    flipped = [change("owl 0", 0.99, flips=True), change("owl 1", None)]
    owl, dog, cat = class_changes([*same, *worse, *flipped])

    assert (owl.name, owl.photos, owl.flips.mean, owl.similarity.n) == ("owl", 2, 0.5, 1)
    assert owl.accuracy.mean == -0.5
    assert (dog.name, dog.similarity.mean, dog.accuracy.mean) == ("dog", 0.5, 0)
    assert (cat.name, cat.similarity.mean) == ("cat", pytest.approx(0.9))


def test_classes_with_few_photos_are_marked(folder: Path, tmp_path: Path) -> None:
    compared(["right", "near"], photos(tmp_path / "more", 16), tmp_path / "out")
    [item] = json.loads((tmp_path / "out/compare.json").read_text("utf-8"))["items"]
    assert {each["name"]: (each["photos"], each["few"]) for each in item["classes"]} == {
        "red": (6, False),
        "green": (5, False),
        "blue": (5, False),
    }
    few = compared(["right", "near"], folder, tmp_path / "few")
    assert few.table.count("| few photos |") == 3


def test_photos_without_labels_are_grouped_by_the_first_prediction() -> None:
    photo = PhotoChange("a", "a.png", 0.5, flipped=True, focus=(None, None), predicted=(CAT, DOG))
    [only] = class_changes([photo])
    assert (only.name, only.accuracy.n) == ("cat", 0)


# ── gates ────────────────────────────────────────────────────────────────────────────────────


def test_a_gate_holds_for_every_side_after_the_first(folder: Path, tmp_path: Path) -> None:
    comparison = compared(
        ["right", "swapped", "same"],
        with_truth(folder),
        tmp_path / "out",
        fail_under={"agreement": 0.9},
    )
    assert comparison.failed == ("swapped: agreement is 0, below 0.9",)
    [gate] = json.loads((tmp_path / "out/compare.json").read_text("utf-8"))["gates"]
    assert (gate["side"], gate["gate"], gate["value"], gate["least"]) == (
        "swapped", "agreement", 0, 0.9,
    )  # fmt: skip


def test_the_worst_photo_is_a_gate_that_names_it(folder: Path, tmp_path: Path) -> None:
    first = compared(["right", "near"], folder, tmp_path / "out")
    worst = first.versus[0].photos[0]
    assert worst.similarity is not None
    for least, fails in ((worst.similarity - 0.01, False), (worst.similarity + 0.01, True)):
        again = compared(["right", "near"], folder, tmp_path / "out", fail_under={"worst": least})
        assert bool(again.failed) is fails
    assert f"near: worst is {worst.similarity:.4g} ({worst.name}), below" in again.failed[0]


def test_a_worst_photo_without_any_similarity_fails() -> None:
    unknown = FailedGate("net", "worst", None, 0.9)
    assert unknown.sentence == "net: worst is unknown, and the gate requires at least 0.9"


def test_a_number_just_below_its_limit_is_written_in_full() -> None:
    assert FailedGate("net", "similarity", 0.949999, 0.95).sentence == (
        "net: similarity is 0.949999, below 0.95"
    )
    assert FailedGate("net", "similarity", 0.94, 0.95).sentence == (
        "net: similarity is 0.94, below 0.95"
    )


def test_photos_by_similarity_leave_out_the_undefined_ones() -> None:
    some = (change("a", None, flips=True), change("b", 0.5, flips=True), change("c", 0.2))
    known = Interval(0.35, 0.2, 0.5, 2)
    versus = Versus("net", known, 1, known, known, some)
    assert [photo.name for photo in versus.by_similarity] == ["c", "b"]
    assert [photo.name for photo in versus.flipped] == ["a", "b"]


def test_a_side_that_fails_on_every_photo_says_why(folder: Path, tmp_path: Path) -> None:
    def opener(spec: str, **_: str) -> Model:
        broken = Regions(torch.full((3, 3), math.nan))
        return opened(broken if spec == "broken" else NETWORKS["right"])

    with pytest.raises(RunError, match="broken failed on every photo, 6 in all") as caught:
        compared(["right", "broken"], folder, tmp_path / "out", opener=opener)
    assert "NaN" in caught.value.likely


# ── sides ────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_a_side_with_settings_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.int8.onnx", "a,b.net", "out"):
        Path(name).mkdir() if name == "out" else Path(name).touch()
    Path("out/net.xml").touch()
    for text, source, settings in (
        ("net.int8.onnx", "net.int8.onnx", {}),
        ("net.int8.onnx,labels=l.txt", "net.int8.onnx", {"labels": "l.txt"}),
        ("out/net.xml,precision=float16", "out/net.xml", {"precision": "float16"}),
        ("a,b.net,layer=3", "a,b.net", {"layer": "3"}),
        ("kind:a,b.net,layer=3", "kind:a,b.net", {"layer": "3"}),
        ("my.net:make,layer=3", "my.net:make", {"layer": "3"}),
        ("missing.onnx,layer=3", "missing.onnx", {"layer": "3"}),
    ):
        side = parse_side(text)
        assert (side.source, dict(side.settings), side.is_run) == (source, settings, False)


def test_a_run_is_a_side_without_settings(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "run,1", "random")
    assert parse_side(str(tmp_path / "run,1")).is_run
    with pytest.raises(SettingError, match="takes no settings"):
        parse_side(f"{tmp_path / 'run,1'},layer=3")


def test_a_folder_of_photos_before_the_last_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(Path("photos"), 3)
    answer = command("compare", "photos", "toy_models:tiny", "photos", "--out", "out")
    refused(answer, "'photos' is a folder, but not a run.", "photos, which come last")


def test_a_missing_model_file_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx"):
        scorecam.compare(["gone.onnx", "lite0"], folder, out=tmp_path / "out")


# ── the page ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("audit")
def test_the_page_has_a_card_for_gates_flips_and_moved_maps(folder: Path, tmp_path: Path) -> None:
    comparison = compared(
        ["right", "swapped"], folder, tmp_path / "out", fail_under={"agreement": 0.9}
    )
    sides = [
        read_side(parse_side(name), comparison.folder / place, "scorecam:variant=increase")
        for name, place in (("right", "1-right"), ("swapped", "2-swapped"))
    ]
    page = change_page(comparison, sides)
    gate, flips, moved = page.findings
    everything = {picture.id for picture in page.pictures}

    assert gate.sentence == "Gate failed. swapped: agreement is 0, below 0.9."
    assert set(gate.pictures) == set(flips.pictures) == everything
    assert flips.effect.startswith("6 of 6 photos (100.0 %")
    assert [moved.level, moved.pictures[0]] == ["note", page.pictures[0].id]
    [table] = page.tables
    assert {row[0] for row in table.rows} == {"red", "green", "blue"}
    for picture in page.pictures:
        assert picture.sides["right"].startswith(picture.name.split("/")[0])
        assert set(picture.sides) == {"right", "swapped"}

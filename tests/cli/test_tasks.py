"""`--task` on the command line: targets in the photo, options, items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import scorecam as package
from command_line import listing, paragraph, refused, scorecam, strict_json, whole
from scorecam.cli.records import explanation_item, value_text
from scorecam.tasks import TASKS, Regress
from scorecam.testing import Regions, regions
from spot_photos import MODEL, SIZE, TASK, box_of, furnish

RED, GREEN = list(box_of((1, 2))), list(box_of((6, 9)))


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)


def middle(box: list[float]) -> str:
    return f"{(box[0] + box[2]) / 2:g},{(box[1] + box[3]) / 2:g}"


def text(box: list[float]) -> str:
    return ",".join(f"{edge:g}" for edge in box)


# ── explain ──────────────────────────────────────────────────────────────────────────────────


def test_an_item_of_a_task_has_its_name_and_the_box_in_photo_pixels() -> None:
    [item] = scorecam("explain", "photos/a.png", *TASK, "--json").items

    assert (item["task"], item["target"]["name"], item["box"]) == ("detect", "red", RED)
    assert item["variant"] == "centred"
    assert "unit" not in item


def test_a_value_is_printed_as_pictures_show_it_and_not_as_its_score() -> None:
    network, image = Regions(torch.tensor([[1.0, 2.0]])), regions((8, 4), 4, 8)
    task = Regress(unit="mm", direction="down")
    explanation = package.explain(network, image, task=task)

    item = explanation_item(explanation, "a.png", Path("a.png"), Path("a.safetensors"))

    assert (item["score"], item["value"]) == (-16, "16 mm (why low)")
    assert value_text(item) == explanation.target.value == "16 mm (why low)"


def test_a_box_is_in_pixels_of_a_photo_of_another_size_than_the_input() -> None:
    with Image.open("photos/a.png") as photo:
        photo.resize((SIZE[1] * 2, SIZE[0] * 3), Image.Resampling.NEAREST).save("large.png")
    point = f"{2 * 76},{3 * 52}"

    [item] = scorecam("explain", "large.png", *TASK, "--target", point, "--json").items

    assert item["target"]["name"] == "green"
    assert item["box"] == [edge * scale for edge, scale in zip(GREEN, (2, 3, 2, 3), strict=True)]


@pytest.mark.parametrize("target", [middle(GREEN), text(GREEN), "green", "1", "mask.png"])
def test_a_box_is_given_by_a_point_a_box_a_name_an_index_or_a_mask(target: str) -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[48:56, 72:80] = 255
    Image.fromarray(mask).save("mask.png")

    [item] = scorecam("explain", "photos/a.png", *TASK, "--target", target, "--json").items

    assert (item["target"]["index"], item["box"]) == (1, GREEN)


def test_several_targets_are_read_from_one_bank() -> None:
    targets = [word for each in (middle(GREEN), "red", text(RED)) for word in ("--target", each)]
    answer = scorecam("explain", "photos/a.png", *TASK, *targets, "--target", "top5", "--json")

    assert [item["target"]["name"] for item in answer.items] == [
        "green",
        "red",
        "red",
        "red",
        "green",
    ]
    assert len({item["forward_passes"] for item in answer.items}) == 1
    assert listing(Path("out")) >= {"a.json", "a.safetensors", "a.red.png", "a.green.png"}
    assert package.ScoreBank.load("out/a.safetensors").names == ("red", "green")


def test_a_place_that_was_not_scored_with_the_first_target_is_refused() -> None:
    wide = "64,40,80,56"  # no box that was found overlaps it by half
    targets = ("--target", "red", "--target", wide)

    answer = scorecam("explain", "photos/a.png", *TASK, *targets)

    assert answer.code == 2
    paragraph(answer, wide, "not scored with the first target", "a command of its own")
    assert listing(Path("out")) == set()
    assert scorecam("explain", "photos/a.png", *TASK, "--target", wide).code == 0


def test_a_point_without_a_box_is_refused_with_the_boxes_that_were_found() -> None:
    answer = scorecam("explain", "photos/a.png", *TASK, "--target", "1,1")

    assert answer.code == 2
    paragraph(answer, "No box contains the point 1, 1", "red (0.90), green (0.60)")


def test_a_mask_of_another_size_is_refused() -> None:
    Image.new("L", (7, 5), 255).save("mask.png")

    answer = scorecam("explain", "photos/a.png", *TASK, "--target", "mask.png")

    assert answer.code == 2
    paragraph(answer, "7 × 5", "96 × 64")


def test_without_a_task_a_class_may_be_called_like_a_point(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("1,2\n3,4\n", "utf-8")
    model = ("--model", "toy_models:two_classes", "--labels", "names.txt", *MODEL[2:4])

    [item] = scorecam("explain", "photos/a.png", *model, "--target", "1,2", "--json").items

    assert (item["target"]["index"], item["target"]["name"]) == (0, "1,2")
    assert {"task", "unit", "box"}.isdisjoint(item)


def test_other_methods_are_drawn_beside_the_map_of_a_box() -> None:
    methods = "scorecam,rise:masks=20,gradcam"
    answer = scorecam("explain", "photos/a.png", *TASK, "--target", "green", "--methods", methods)

    assert answer.code == 0, answer
    assert whole("out/a.green.methods.png").width > SIZE[1]


def test_show_draws_another_box_from_the_bank() -> None:
    scorecam("explain", "photos/a.png", *TASK, "--target", "red")

    answer = scorecam("show", "out/a.safetensors", "--target", "green")

    assert answer.code == 0, answer
    assert "green 0.6" in answer.out
    contrast = package.ScoreBank.load("out/a.safetensors").contrast("green", "red")
    assert contrast[48:56, 72:80].sum() > 0.5 * contrast.relu().sum()


# ── options ──────────────────────────────────────────────────────────────────────────────────


def test_an_option_of_a_task_without_the_task_is_refused() -> None:
    answer = scorecam("explain", "photos/a.png", *MODEL, "--threshold", "0.5")

    refused(answer, "--threshold was given without a task", "--task detect")


def test_an_option_of_another_task_is_refused() -> None:
    answer = scorecam("explain", "photos/a.png", *TASK, "--question", "What is this?")

    refused(answer, "The task detect has no option", "--question")


def test_an_unknown_task_is_refused_with_the_tasks() -> None:
    refused(scorecam("explain", "photos/a.png", *MODEL, "--task", "detct"), "detect", *TASKS)


def test_an_option_reaches_the_task() -> None:
    answer = scorecam("explain", "photos/a.png", *TASK, "--threshold", "0.7", "--target", "green")

    assert answer.code == 2
    paragraph(answer, "No box of the class 'green' was found")


# ── other commands ───────────────────────────────────────────────────────────────────────────


def test_layers_of_a_detector_need_a_photo_with_a_box() -> None:
    model = (*MODEL[:4], "--task", "detect")

    refused(scorecam("layers", *model), "--image")
    answer = scorecam("layers", *model, "--image", "photos/a.png", "--json")

    assert {"maps", "head"} <= {item["name"] for item in answer.items}
    assert sum(item["default"] for item in answer.items) == 1


def test_check_reports_on_the_box() -> None:
    [item] = scorecam("check", "photos/a.png", *TASK, "--target", middle(GREEN), "--json").items

    states = {each["code"]: each["state"] for each in item["evidence"]}
    assert item["target"]["name"] == "green"
    assert {states[code] for code in ("cells", "inside", "own")} == {"passed"}
    assert states["standing"] == states["steady"] == "cannot be told"


def test_evaluate_and_audit_of_boxes() -> None:
    answer = scorecam("evaluate", "photos", *TASK, "--out", "run", "--metrics", "localisation")
    assert answer.code == 0, answer
    assert "Photos in which the model did not find the object: 1." in answer.err

    answer = scorecam("audit", "run", "--out", "report.html")

    assert answer.code == 0, answer
    assert "the model did not find the object, left out: 1" in answer.err
    assert Path("report.html").stat().st_size > 1000


def test_another_task_in_the_folder_of_a_run_is_refused() -> None:
    run = ("evaluate", "photos", *TASK, "--out", "run", "--metrics", "localisation")
    scorecam(*run)

    refused(scorecam(*run, "--threshold", "0.1"), "another run", "task:", "0.25", "0.1")


def test_compare_names_the_photos_in_which_a_box_is_gone() -> None:
    sides = ("spot_photos:spots", "spot_photos:blind_to_green")
    options = ("--preprocess", "spots.json", "--labels", "colours.txt", "--task", "detect")
    answer = scorecam("compare", *sides, "photos", *options, "--out", "compared", "--json")

    assert answer.code == 0, answer
    [item] = strict_json(answer.out)["items"]
    gone = {each["name"] for each in item["photos"] if each["predicted"][1] is None}
    assert gone == {"a.png", "c.png"}
    assert item["agreement"]["mean"] == pytest.approx(1 / 3)


def test_sanity_keeps_the_boxes_of_the_trained_network() -> None:
    methods = ("--methods", "scorecam,edges", "--modes", "cascading")
    answer = scorecam("sanity", "photos", *TASK, "--out", "sane", *methods, "--json")

    assert answer.code == 0, answer
    stages = strict_json(answer.out)["stages"]
    assert stages == ["head", "stem"]

"""`scorecam doctor --measure` prints what "auto" chooses from."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import furnish, refused, scorecam
from scorecam.backends.runtimes import casting
from stand_in_runtime import Converter, equal_times, install

FIELDS = {
    "runtime",
    "precision",
    "seconds",
    "distance",
    "limit",
    "agrees",
    "conversion_seconds",
    "images_to_pay",
    "chosen",
    "why",
}

OWN = ("eager", "float32")
MODEL = "toy_models:spied"
WORDS = ["doctor", "--measure", MODEL, "--preprocess", "preprocess.json"]


@pytest.fixture(autouse=True)
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Converter:
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    monkeypatch.setattr(casting, "half_precision", lambda _device: "bfloat16")
    equal_times(monkeypatch)
    return install(monkeypatch)


def test_the_table_has_every_candidate_and_one_choice() -> None:
    answer = scorecam(*WORDS, "cat.png", "--json")
    assert answer.code == 0
    assert answer.document["schema"] == 1
    assert answer.document["image"] == "cat.png"
    for item in answer.items:
        assert set(item) == FIELDS
    assert sorted((item["runtime"], item["precision"]) for item in answer.items) == [
        ("eager", "bfloat16"),
        ("eager", "float32"),
        ("openvino", "bfloat16"),
        ("openvino", "float32"),
    ]
    [chosen] = [item for item in answer.items if item["chosen"]]
    assert chosen["runtime"] == "openvino"  # eight rows in the time of five
    assert chosen["why"] == "the fastest that agrees"
    assert answer.items[0] == chosen
    own = next(item for item in answer.items if (item["runtime"], item["precision"]) == OWN)
    assert own["distance"] == 0
    assert own["conversion_seconds"] is None
    assert "1.6 times as long" in own["why"]


def test_the_text_marks_the_choice_and_explains_the_others() -> None:
    lines = scorecam(*WORDS, "cat.png").out.splitlines()
    assert lines[0].split()[:3] == ["runtime", "precision", "ms/image"]
    assert len(lines) == 5
    [chosen] = [line for line in lines if line.startswith("→")]
    assert chosen.endswith("the fastest that agrees")


def test_a_candidate_that_disagrees_or_fails_is_listed_with_the_reason(
    converter: Converter,
) -> None:
    converter.spoil = lambda _number, scores: scores.roll(1, 1)
    items = scorecam(*WORDS, "cat.png", "--json").items
    wrong = [item for item in items if item["runtime"] == "openvino"]
    assert [item["agrees"] for item in wrong] == [False, False]
    assert all("it moves the heatmap by" in item["why"] for item in wrong)
    assert [item["runtime"] for item in items if item["chosen"]] == ["eager"]
    converter.refusal = RuntimeError("no rule for it")
    items = scorecam(*WORDS, "cat.png", "--json").items
    failed = [item for item in items if item["runtime"] == "openvino"]
    assert all(item["why"] == "it cannot run this network (no rule for it)" for item in failed)
    assert all(item["seconds"] is item["distance"] is None for item in failed)


def test_without_a_photo_random_numbers_are_used_and_mentioned() -> None:
    answer = scorecam(*WORDS, "--json")
    assert answer.code == 0
    assert answer.document["image"] is None
    assert "random numbers" in answer.err
    assert len(answer.items) == 4


def test_options_of_measure_are_refused_without_it() -> None:
    for words, name in (
        (["cat.png"], "PHOTO"),
        (["--json"], "--json"),
        (["--layer", "body"], "--layer"),
        (["--weights", "w.safetensors"], "--weights"),
    ):
        refused(scorecam("doctor", *words), f"{name} needs --measure")

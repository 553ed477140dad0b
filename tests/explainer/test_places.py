"""Explanations draw where their answer is, several of them together, and pairs of photos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

import scorecam
from placed_task import NOWHERE, PlacedTask
from scorecam import Explanation, Model, SettingError, TargetError
from scorecam.explanation.choice import MOST_TARGETS, MOST_TOKENS
from scorecam.explanation.words import WORDS
from scorecam.images.legend import Legend
from scorecam.images.region import OUTLINE
from scorecam.tasks import TASKS

BLUE = ImageColor.getrgb(OUTLINE)
TASK = PlacedTask(
    names=("cup", "dog", "sky"),
    steps=(0.0, 2.0, 1.0),
    boxes=((2.0, 3.0, 11.0, 13.0), (1.0, 1.0, 4.0, 4.0), NOWHERE),
)

Legends = list[Legend]

pytestmark = pytest.mark.usefixtures("photo_folder")


@pytest.fixture
def legends(monkeypatch: pytest.MonkeyPatch) -> Legends:
    """The legends of the pictures that a test draws."""
    from scorecam.images import legend as module

    written: Legends = []
    draw: Callable[[Legend, int], Image.Image] = module.draw_legend

    def keep(legend: Legend, width: int) -> Image.Image:
        written.append(legend)
        return draw(legend, width)

    for name in ("scorecam.images.overlay", "scorecam.explanation.drawing"):
        monkeypatch.setattr(f"{name}.draw_legend", keep)
    return written


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the pictures that a test draws side by side."""
    from scorecam.images import overlay

    written: list[str] = []
    draw = overlay.side_by_side

    def keep(pictures: Sequence[tuple[str, Image.Image]], columns: int) -> Image.Image:
        written.extend(label for label, _ in pictures)
        return draw(pictures, columns)

    monkeypatch.setattr(overlay, "side_by_side", keep)
    return written


def made(model: Model, task: PlacedTask = TASK, target: Any = None) -> Explanation:
    return scorecam.explain(model, "cat.png", target, task=task, runtime="eager")


def blue(picture: Image.Image) -> int:
    """The number of pixels of outlines."""
    return int((np.asarray(picture) == BLUE).all(axis=2).sum())


# ── one answer ───────────────────────────────────────────────────────────────────────────────


def test_the_region_is_the_targets_own(model: Model) -> None:
    explanation = made(model, target="dog")
    assert explanation.region == (1.0, 1.0, 4.0, 4.0)
    assert explanation.of("cup").region == (2.0, 3.0, 11.0, 13.0)
    assert explanation.of("sky").region is None


def test_a_mask_comes_before_a_box_unless_it_is_empty(model: Model) -> None:
    size = made(model).bank.size
    masks = torch.zeros(3, *size, dtype=torch.bool)
    masks[0, 2:5, 1:9] = True
    explanation = made(model, dataclasses.replace(TASK, masks=masks))
    assert torch.equal(torch.as_tensor(explanation.region), masks[0])
    assert explanation.of("dog").region == (1.0, 1.0, 4.0, 4.0)
    assert explanation.of("sky").region is None


def test_classes_have_no_region_and_no_outline(explanation: Explanation) -> None:
    assert explanation.region is None
    assert not blue(explanation.overlay())


def test_an_overlay_outlines_the_box_and_says_so(model: Model, legends: Legends) -> None:
    explanation = made(model)
    assert blue(explanation.overlay()) > 100
    assert legends.pop().outline == "The box is outlined in blue."
    assert not blue(explanation.of("sky").overlay())
    assert not legends.pop().outline


def test_the_outline_is_where_the_box_is_in_the_photo(model: Model) -> None:
    explanation = made(model)
    assert explanation.photo is not None
    assert explanation.preprocess is not None
    photo = Image.new("RGB", (600, 480))
    placement = explanation.preprocess.placement(photo.size)
    assert placement is not None
    expected = placement.box_to_photo((2.0, 3.0, 11.0, 13.0))
    picture = dataclasses.replace(explanation, photo=photo).overlay().crop((0, 0, 600, 480))
    rows, columns = np.nonzero((np.asarray(picture) == BLUE).all(axis=2))
    drawn = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert drawn == pytest.approx(expected, abs=1)


def test_a_saved_bank_draws_the_same_box(model: Model, tmp_path: Path) -> None:
    made(model).bank.save(tmp_path / "cat.safetensors")
    bank = scorecam.ScoreBank.load(tmp_path / "cat.safetensors")
    assert blue(Explanation(bank, bank.target(), bank.variant()).overlay()) > 100


@pytest.mark.parametrize(
    ("unit", "ending"), [("", "cup 12.35"), ("mm", "cup 12.35 mm"), ("°", "cup 12.35 °")]
)
def test_a_title_has_the_value_and_its_unit(
    model: Model, legends: Legends, unit: str, ending: str
) -> None:
    first = float(made(model).bank.image_scores[0])
    steps = (12.345 - first, 0.0, 0.0)
    explanation = made(model, dataclasses.replace(TASK, steps=steps, unit=unit))
    explanation.overlay()
    assert legends.pop().title == ending == explanation.target.title
    assert ending in repr(explanation)


def test_a_title_has_the_probability_in_percent(explanation: Explanation, legends: Legends) -> None:
    explanation.overlay()
    probability = explanation.target.probability
    assert probability is not None
    assert legends.pop().title == f"lynx {100 * probability:.1f} %"


def test_a_long_name_leaves_room_for_the_value(model: Model, legends: Legends) -> None:
    name = "a name that is much longer than the room for it, " * 9
    made(model, dataclasses.replace(TASK, names=(name, "b", "c"))).overlay()
    title = legends.pop().title
    assert len(title) < 70
    assert title.endswith(made(model).target.value)


# ── several answers ──────────────────────────────────────────────────────────────────────────


def test_overlays_show_the_largest_scores_first(
    model: Model, labels: list[str], legends: Legends
) -> None:
    picture = made(model).overlays()
    assert [label.split()[0] for label in labels] == ["dog", "sky", "cup"]
    legend = legends.pop()
    assert legend.title == "3 boxes"
    assert "outlined in blue" in legend.caption
    assert blue(picture) > 200


def test_overlays_show_the_chosen_targets_in_their_order(model: Model, labels: list[str]) -> None:
    made(model).overlays(["sky", 0])
    assert [label.split()[0] for label in labels] == ["sky", "cup"]
    labels.clear()
    made(model).overlays("dog")  # type: ignore[arg-type]  (a single name is understood)
    assert [label.split()[0] for label in labels] == ["dog"]


def test_of_many_boxes_the_largest_are_shown_and_the_rest_counted(
    model: Model, labels: list[str], legends: Legends
) -> None:
    names = tuple(f"box {number}" for number in range(300))
    boxes = tuple((0.0, 0.0, 1.0 + number % 9, 5.0) for number in range(300))
    steps = tuple(number % 101 + number / 1000 for number in range(300))
    task = PlacedTask(names=names, boxes=boxes, steps=steps)
    picture = made(model, task).overlays()
    order = sorted(range(300), key=steps.__getitem__, reverse=True)[:MOST_TARGETS]
    assert [label.rsplit(" ", 1)[0] for label in labels] == [f"box {number}" for number in order]
    assert f"{MOST_TARGETS} of 300 boxes are shown" in legends.pop().caption
    assert max(picture.size) <= 4000


@pytest.mark.parametrize("count", [1, 5, 100])
def test_tokens_are_shown_in_reading_order(
    model: Model, labels: list[str], legends: Legends, count: int
) -> None:
    names = ("the whole answer", *(f"token{number}" for number in range(count)))
    steps = tuple(float((7 * number) % 11) for number in range(count + 1))
    picture = made(model, PlacedTask(names=names, steps=steps, task="tokens")).overlays()
    shown = min(count, MOST_TOKENS)
    assert [label.split()[0] for label in labels] == [f"token{number}" for number in range(shown)]
    legend = legends.pop()
    assert legend.outline == "“the whole answer”"
    assert (f"{MOST_TOKENS} of 100 tokens are shown" in legend.caption) == (count == 100)
    assert max(picture.size) <= 4000


@pytest.mark.parametrize("columns", [1, 3, 40])
def test_the_number_of_columns_can_be_chosen(model: Model, columns: int) -> None:
    explanation = made(model)
    widths = [explanation.overlays(columns=n).width for n in (1, columns)]
    assert widths[0] <= widths[1]


def test_invalid_targets_and_columns_are_refused(model: Model) -> None:
    explanation = made(model)
    with pytest.raises(SettingError, match="no target"):
        explanation.overlays([])
    with pytest.raises(TargetError):
        explanation.overlays(["cat"])
    for targets in (5, {}, object()):
        with pytest.raises(SettingError, match="target"):
            explanation.overlays(targets)  # type: ignore[arg-type]
    for columns in (0, -1, 1.5):
        with pytest.raises(SettingError, match="columns"):
            explanation.overlays(columns=columns)  # type: ignore[arg-type]


def test_classes_can_be_shown_together_too(
    explanation: Explanation, labels: list[str], legends: Legends
) -> None:
    explanation.overlays()
    assert labels == [each.target.title for each in explanation.top(MOST_TARGETS)]
    assert legends.pop().title == f"{len(labels)} classes"


# ── pairs ────────────────────────────────────────────────────────────────────────────────────


def test_a_pair_has_both_photos_and_one_similarity(
    model: Model, labels: list[str], legends: Legends
) -> None:
    one = made(model, PlacedTask(names=("b.png",), task="similar"))
    step = one.target.score - made(model).bank.image_scores[0].item()
    other = made(model, PlacedTask(names=("a.png",), steps=(step,), task="similar"))
    assert one.photo is not None
    wide = dataclasses.replace(other, photo=one.photo.resize((900, 300)))
    picture = one.pair(wide)
    assert labels == ["a.png", "b.png"]  # each is the reference of the other
    legend = legends.pop()
    assert legend.title == f"similarity {one.target.value}"
    assert picture.width >= 1800


def test_a_pair_of_different_scores_names_both(model: Model, legends: Legends) -> None:
    one = made(model, PlacedTask(names=("b.png",), task="similar"))
    other = made(model, PlacedTask(names=("a.png",), steps=(5.0,), task="similar"))
    one.pair(other)
    assert legends.pop().title == f"similarity {one.target.value} and {other.target.value}"


def test_a_pair_needs_another_explanation(explanation: Explanation) -> None:
    with pytest.raises(SettingError, match="other"):
        explanation.pair("b.png")  # type: ignore[arg-type]


# ── words ────────────────────────────────────────────────────────────────────────────────────


def test_every_task_has_words_of_its_own() -> None:
    assert set(WORDS) == {"", *TASKS}


@pytest.mark.parametrize("task", WORDS)
def test_sentences_name_the_model_the_target_and_the_value(model: Model, task: str) -> None:
    target = made(model, dataclasses.replace(TASK, unit="mm")).target
    words = WORDS[task]
    sentence = words.sentence("lite0", target)
    assert sentence.startswith("lite0 ")
    assert target.label in sentence
    assert target.value in sentence
    assert target.label in words.question(target)

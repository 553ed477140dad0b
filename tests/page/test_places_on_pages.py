"""Pages outline boxes and regions, and use the words of the task."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import page_samples
import scorecam
import toy_models
from command_line import NAMES, PREPROCESS, picture
from placed_task import NOWHERE, PlacedTask
from scorecam import Explanation, Preprocess
from scorecam.explanation.words import WORDS
from scorecam.page import Outline, Shown, box_outline, html, mask_outline
from scorecam.page.outline import MOST_CELLS

BOXES = ((2.0, 3.0, 11.0, 13.0), (-4.0, 1.0, 4.0, 99.0), NOWHERE)
TASK = PlacedTask(names=("cup", "dog", "sky"), steps=(0.0, 2.0, 1.0), boxes=BOXES)


def content(text: str) -> dict[str, Any]:
    """The data of the page's script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def made(task: PlacedTask = TASK) -> Explanation:
    preprocess = Preprocess.from_dict(PREPROCESS)
    model = scorecam.open_model(toy_models.tiny(), preprocess=preprocess, labels=NAMES)
    return scorecam.explain(model, picture(0), task=task, runtime="eager")


def segments(outline: Outline) -> set[tuple[int, int, int, int]]:
    """The edges of unit length in a path of moves and lines: x1 y1 x2 y2."""
    units: set[tuple[int, int, int, int]] = set()
    for x, y, kind, end in re.findall(r"M(\d+) (\d+)([HV])(\d+)", outline.path):
        start = int(x) if kind == "H" else int(y)
        for place in range(start, int(end)):
            across = (place, int(y), place + 1, int(y))
            units.add(across if kind == "H" else (int(x), place, int(x), place + 1))
    return units


# ── paths ────────────────────────────────────────────────────────────────────────────────────


def test_the_path_of_a_box_is_clipped_to_the_picture() -> None:
    assert box_outline((2, 3, 11.5, 13), (16, 20)) == Outline((16, 20), "M2 3H11.5V13H2Z")
    assert box_outline((-4, 1, 4, 99), (16, 20)) == Outline((16, 20), "M0 1H4V20H0Z")
    for outside in ((-9, 1, -2, 5), (3, 3, 3, 9), (40, 1, 50, 9)):
        assert box_outline(outside, (16, 20)) is None


@given(arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 9))))
def test_the_path_of_a_mask_is_every_edge_between_in_and_out(mask: np.ndarray) -> None:
    outline = mask_outline(mask)
    if outline is None:
        assert not mask.any()
        return
    framed = np.pad(mask, 1)
    across = np.argwhere(framed[1:, 1:-1] != framed[:-1, 1:-1])
    down = np.argwhere(framed[1:-1, 1:] != framed[1:-1, :-1])
    expected = {(x, y, x + 1, y) for y, x in across.tolist()}
    expected |= {(x, y, x, y + 1) for y, x in down.tolist()}
    assert segments(outline) == expected
    assert outline.size == mask.shape[::-1]


def test_a_large_mask_is_reduced_and_keeps_its_place() -> None:
    mask = np.zeros((1000, 400), np.bool_)
    mask[250:500, 100:300] = True
    outline = mask_outline(mask)
    assert outline is not None
    assert outline.size == (MOST_CELLS, MOST_CELLS)
    x1, y1, x2, y2 = np.array(sorted(segments(outline))).T
    assert (x1.min(), x2.max()) == pytest.approx((MOST_CELLS / 4, MOST_CELLS * 3 / 4), abs=1)
    assert (y1.min(), y2.max()) == pytest.approx((MOST_CELLS / 4, MOST_CELLS / 2), abs=1)


# ── pages ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("audit")
def test_a_page_outlines_each_box_that_has_a_place() -> None:
    text = made().to_html()
    data = content(text)
    (shown,) = data["pictures"]
    outlines = {each["name"]: each["outline"] for each in shown["classes"]}
    assert outlines["cup"] == {"size": [16, 16], "path": "M2 3H11V13H2Z"}
    assert outlines["dog"] == {"size": [16, 16], "path": "M0 1H4V16H0Z"}
    assert outlines["sky"] is None
    assert data["columns"] == ["box", "boxes"]


@pytest.mark.needs("audit")
def test_a_page_outlines_a_mask() -> None:
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[0, 2:6, 3:9] = True
    text = made(dataclasses.replace(TASK, boxes=None, masks=masks, task="segment")).to_html()
    (shown,) = content(text)["pictures"]
    outline = Outline(**shown["classes"][0]["outline"])
    assert len(segments(outline)) == 2 * (4 + 6)
    assert shown["classes"][1]["outline"] is None


@pytest.mark.needs("audit")
@pytest.mark.parametrize("task", [task for task in WORDS if task])
def test_a_page_uses_the_words_of_its_task(task: str) -> None:
    explanation = made(dataclasses.replace(TASK, task=task, unit="mm"))
    text = explanation.to_html()
    words = WORDS[task]
    assert f"<h1>{words.question(explanation.target)}</h1>" in text
    assert words.sentence(explanation.provenance.model, explanation.target) in text
    data = content(text)
    (shown,) = data["pictures"]
    assert data["columns"] == [words.one, words.many]
    assert shown["classes"][0]["value"] == explanation.target.value
    assert all("predicted" not in each["roles"] for each in shown["classes"])
    assert (shown["contrast"] is None) == (not words.comparable)
    assert shown["facts"]["score, mm"] == pytest.approx(explanation.target.score, rel=1e-5)


@pytest.mark.needs("audit")
def test_the_page_of_a_token_shows_the_text_and_the_first_tokens() -> None:
    names = ("a long text", *(f"token{number}" for number in range(9)))
    task = PlacedTask(names=names, steps=tuple(range(10)), task="tokens")
    (shown,) = content(made(task).of("token6").to_html())["pictures"]
    assert [each["name"] for each in shown["classes"]] == ["token6", *names[:4]]


@pytest.mark.needs("audit")
def test_the_page_of_a_class_has_the_former_words(explained: Explanation) -> None:
    text, target = explained.to_html(), explained.target
    assert f"{explained.provenance.model} sees {target.name} with {target.value}." in text
    assert content(text)["columns"] == ["class", "classes"]
    (shown,) = content(text)["pictures"]
    assert {each["value"] for each in shown["classes"]} == {""}
    assert {each["outline"] is None for each in shown["classes"]} == {True}


@pytest.fixture
def explained() -> Explanation:
    preprocess = Preprocess.from_dict(PREPROCESS)
    model = scorecam.open_model(toy_models.tiny(), preprocess=preprocess, labels=NAMES)
    return scorecam.explain(model, picture(0), "lynx", runtime="eager")


# ── in the browser ───────────────────────────────────────────────────────────────────────────


@pytest.mark.needs("audit", "browser")
def test_the_browser_draws_the_outline_over_the_picture(tmp_path: Path) -> None:
    """The blue pixels of a screenshot are on the box's edges."""
    import shutil

    from playwright.sync_api import sync_playwright

    (tmp_path / "page.html").write_text(made().to_html(), "utf-8")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1200, "height": 1200})
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto((tmp_path / "page.html").as_uri())
        tab.wait_for_function("() => performance.getEntriesByName('first-cards').length")
        tab.locator(".large .frame").screenshot(path=str(tmp_path / "shot.png"))
        for pick, count in (("1 0", 1), ("0 0", 1)):
            tab.locator(f"[data-pick='{pick}']").click()
            assert tab.locator(".large svg.outline").count() == count
        tab.locator("[data-pick^='1']").first.click()
        browser.close()
    assert complaints == []
    pixels = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(int)
    blue = (np.abs(pixels - (90, 209, 255)) < 12).all(axis=2)
    size = np.array(pixels.shape[:2])
    rows, columns = np.nonzero(blue)
    y, x = rows / size[0] * 16, columns / size[1] * 16
    assert (x.min(), x.max()) == pytest.approx((2, 11), abs=0.2)
    assert (y.min(), y.max()) == pytest.approx((3, 13), abs=0.2)


@pytest.mark.needs("audit")
def test_an_outline_in_a_gallery_is_part_of_its_data() -> None:
    outline = Outline((4, 4), "M0 0H2V2H0Z")
    shown = Shown("cat", 0.5, "target", {"official": np.ones((2, 2), np.uint8)}, outline=outline)
    made_page = page_samples.page(
        0, pictures=(page_samples.picture(1, classes=(shown,)), page_samples.picture(2))
    )
    first, second = content(html(made_page))["pictures"]
    assert first["classes"][0]["outline"]["path"] == outline.path
    assert second["classes"][0]["outline"] is None

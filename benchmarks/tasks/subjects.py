"""The pictures of the benchmarks: rendered scenes, and rendered pages for a real detector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import scorecam
from benchmarks.tasks.box_scores import Subject
from benchmarks.tasks.network import exported
from benchmarks.tasks.scenes import NAMES, SIZE, Scene, photos, render
from benchmarks.tasks.train import batch_of, overlaps_of
from scorecam.metrics.localisation import covered
from scorecam.model.model import Model
from scorecam.tasks import Detect

SURE = 0.5
"""The least probability of a box that is explained."""

STRIDES = (8, 16, 32, 64)
"""Of the levels of both detectors."""


# ── scenes ───────────────────────────────────────────────────────────────────────────────────────


def scene_subjects(
    count: int, seed: int, *, each: int = 10, most: int = 7, least: int = 1
) -> Iterator[Subject]:
    """Scenes in which the detector finds at least some boxes with the right class.

    Args:
        each: the most boxes of a scene that are explained.
        most: objects that a scene has at most.
        least: boxes that must be found.
    """
    task = Detect(threshold=SURE)
    model = scorecam.open_model(f"openvino:{exported()}", labels=list(NAMES), task=task)
    rng, made = np.random.default_rng(seed), 0
    while made < count:
        subject = scene_subject(model, render(rng, most), f"scene {made}", each=each)
        if subject is not None and len(subject.columns) >= least:
            made += 1
            yield subject


def scene_subject(model: Model, scene: Scene, name: str, *, each: int) -> Subject | None:
    """A scene with the boxes that are found with the right class; None without any."""
    images = batch_of([scene])
    try:
        fixed = model.for_image(images)
    except scorecam.TargetError:
        return None
    found = fixed.task_columns
    assert found is not None
    assert found.boxes is not None
    classes: Tensor = found.readout.classes  # type: ignore[attr-defined]
    truth = torch.from_numpy(scene.boxes)
    columns: list[int] = []
    regions: list[dict[str, Tensor]] = []
    for i, overlaps in enumerate(overlaps_of(found.boxes, truth)):
        best = int(overlaps.argmax())
        if overlaps[best] > 0.5 and int(classes[i]) == int(scene.classes[best]):
            columns.append(i)
            clue = torch.from_numpy(scene.clues[best])[None]
            regions.append(
                {
                    "box": covered(found.boxes[i][None], SIZE),
                    "object": torch.from_numpy(scene.masks[best]).float(),
                    "clue": covered(clue, SIZE),
                }
            )
    columns = columns[:each]
    if not columns:
        return None
    kinds = tuple(NAMES[int(classes[i])] for i in columns)
    return Subject(
        name,
        fixed,
        images[0],
        tuple(columns),
        kinds,
        levels_of(model, images, fixed, columns),
        tuple(regions[:each]),
        torch.zeros(3, 1, 1),
    )


def levels_of(
    model: Model, images: Tensor, fixed: Model, columns: list[int]
) -> tuple[tuple[int, ...], ...]:
    """The grid of the level that each box came from."""
    found: Any = fixed.task_columns
    detections = found.readout.decoder.decode(model.output(images))
    rows = found.readout.classes[columns]
    proposed = detections.boxes[:1].expand(len(columns), -1, -1)
    overlaps = torch.stack(
        [
            overlaps_of(box[None], own)[0]
            for box, own in zip(found.boxes[columns], proposed, strict=True)
        ]
    )
    best = (overlaps * detections.probability_of(rows)[0]).argmax(1)
    strides = [STRIDES[int(level)] for level in detections.levels[best]]
    return tuple(tuple(-(-side // stride) for side in images.shape[2:]) for stride in strides)


# ── pages ────────────────────────────────────────────────────────────────────────────────────────

PAGE = (800, 608)
"""(height, width) of the layout detector's input."""

PAGE_NAMES = (
    "text",
    "title",
    "figure",
    "figure caption",
    "table",
    "table caption",
    "header",
    "footer",
    "reference",
    "equation",
)

WORDS = (
    *("the", "maps", "of", "a", "network", "show", "which", "parts", "of", "a", "picture", "carry"),
    *(
        "its",
        "answer",
        "and",
        "which",
        "do",
        "not",
        "so",
        "that",
        "people",
        "can",
        "see",
        "whether",
    ),
    *("it", "looks", "at", "the", "object", "or", "at", "something", "else", "in", "the", "photo"),
)


def page_subjects(file: Path, count: int, seed: int, each: int) -> Iterator[Subject]:
    """Rendered pages with the boxes that the layout detector finds, at most `each` of them."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    preprocess = scorecam.Preprocess(size=PAGE, mean=mean, std=std, fit="squash")
    model = scorecam.open_model(
        f"openvino:{file}",
        preprocess=preprocess,
        labels=list(PAGE_NAMES),
        task=Detect(threshold=SURE),
    )
    rng = np.random.default_rng(seed)
    for number in range(count):
        image = model.read(page(rng)).image
        fixed = model.for_image(image[None])
        found: Any = fixed.task_columns
        columns = [int(i) for i in rng.permutation(len(found.names))[:each]]
        kinds = tuple(PAGE_NAMES[int(found.readout.classes[i])] for i in columns)
        regions = tuple({"box": covered(found.boxes[i][None], PAGE)} for i in columns)
        levels = levels_of(model, image[None], fixed, columns)
        yield Subject(
            f"page {number}",
            fixed,
            image,
            tuple(columns),
            kinds,
            levels,
            regions,
            torch.zeros(3, 1, 1),
        )


def page(rng: np.random.Generator) -> Image.Image:
    """A page with a title, paragraphs, a figure with a caption, and a table."""
    picture = Image.new("RGB", (PAGE[1], PAGE[0]), "white")
    draw = ImageDraw.Draw(picture)
    draw.text(
        (int(rng.integers(120, 220)), 40),
        "On maps of networks",
        "black",
        ImageFont.load_default(26),
    )
    blocks = [_paragraph, _figure, _paragraph, _table]
    top, columns = 95, ((50, 295), (315, 560))
    for left, right in columns:
        at = top
        for block in rng.permutation(np.array(blocks, dtype=object)):
            at = block(rng, picture, (left, at, right)) + int(rng.integers(14, 30))
            if at > 560:
                break
        if at < 700:
            _paragraph(rng, picture, (left, at, right))
    return picture


def _paragraph(rng: np.random.Generator, picture: Image.Image, place: tuple[int, int, int]) -> int:
    """Lines of text; returns where they end."""
    left, top, right = place
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for _ in range(int(rng.integers(5, 10))):
        line = ""
        while draw.textlength(line + " picture", font=font) < right - left:
            line += " " + str(rng.choice(WORDS))
        draw.text((left, top), line.strip(), "black", font)
        top += 14
    return top


def _figure(rng: np.random.Generator, picture: Image.Image, place: tuple[int, int, int]) -> int:
    """A photo with a caption; returns where they end."""
    left, top, right = place
    height = int(rng.integers(100, 150))
    photo = photos()[int(rng.integers(5))].resize((right - left - 40, height))
    picture.paste(photo, (left + 20, top))
    draw = ImageDraw.Draw(picture)
    draw.text(
        (left + 40, top + height + 6),
        "Figure 1: one of the photos",
        "black",
        ImageFont.load_default(11),
    )
    return top + height + 24


def _table(rng: np.random.Generator, picture: Image.Image, place: tuple[int, int, int]) -> int:
    """Ruled rows of numbers; returns where they end."""
    left, top, right = place
    draw, font, rows = ImageDraw.Draw(picture), ImageFont.load_default(11), int(rng.integers(4, 8))
    for row in range(rows + 1):
        draw.line((left, top + 18 * row, right, top + 18 * row), "black")
        for column in range(5 if row < rows else 0):
            at = left + 6 + column * (right - left) // 5
            draw.text((at, top + 18 * row + 3), f"{rng.uniform(0, 99):.1f}", "black", font)
    return top + 18 * rows

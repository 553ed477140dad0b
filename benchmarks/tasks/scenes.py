"""Rendered scenes with exact boxes and masks, for a detector with known reasons.

Six classes on photo backgrounds. `disc` and `wedge` differ in their shape. `cross card` and
`ring card` are the same card; only the mark in its upper left corner differs. `boat` and `car` are
the same shape; only what is below the box differs, water or road. So it is known where the evidence
for each class is: the object, the mark, or the strip below the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("disc", "wedge", "cross card", "ring card", "boat", "car")
SIZE = (160, 192)
"""(height, width) of a scene."""

SIDES = (18.0, 110.0)
"""The smallest and the largest longest side of an object."""

PHOTOS = (
    "astronaut.png",
    "coffee.png",
    "rocket.jpg",
    "chelsea.png",
    "motorcycle_left.png",
    "brick.png",
    "grass.png",
    "gravel.png",
)
"""Files of scikit-image's package."""

Pixels = np.ndarray[Any, np.dtype[np.float32]]
Random = np.random.Generator


@dataclass(frozen=True)
class Scene:
    """A rendered scene.

    Args:
        image: `h w 3` uint8.
        boxes: `n 4`, x1 y1 x2 y2.
        classes: `n`.
        masks: `n h w` bool, the pixels of each object.
        clues: `n 4`: the box of the mark or of the strip; the object's own box for other classes.
    """

    image: np.ndarray[Any, np.dtype[np.uint8]]
    boxes: Pixels
    classes: np.ndarray[Any, np.dtype[np.int64]]
    masks: np.ndarray[Any, np.dtype[np.bool_]]
    clues: Pixels


@cache
def photos() -> tuple[Image.Image, ...]:
    """The background photos."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return tuple(Image.open(folder / name).convert("RGB") for name in PHOTOS)


def render(rng: Random, most: int = 7, sides: tuple[float, float] = SIDES) -> Scene:
    """A scene with up to `most` objects that do not overlap."""
    canvas = _background(rng)
    taken: list[tuple[int, int, int, int]] = []
    boxes, classes, masks, clues = [], [], [], []
    for _ in range(int(rng.integers(1, most + 1))):
        kind = int(rng.integers(len(NAMES)))
        placed = _place(rng, kind, taken, sides)
        if placed is None:
            continue
        left, top, width, height = placed
        mask, clue = _draw(rng, canvas, kind, placed)
        taken.append(_reserved(kind, placed))
        boxes.append((left, top, left + width, top + height))
        classes.append(kind)
        masks.append(mask)
        clues.append(clue)
    if not boxes:
        return render(rng, most, sides)
    return Scene(
        canvas.round().clip(0, 255).astype(np.uint8),
        np.array(boxes, np.float32),
        np.array(classes),
        np.array(masks),
        np.array(clues, np.float32),
    )


def _background(rng: Random) -> Pixels:
    """A piece of a photo, with less contrast so that objects stand out."""
    photo = photos()[int(rng.integers(len(PHOTOS)))]
    scale = rng.uniform(0.4, 1.0) * min(photo.width / SIZE[1], photo.height / SIZE[0])
    width, height = int(SIZE[1] * scale), int(SIZE[0] * scale)
    left = int(rng.integers(photo.width - width + 1))
    top = int(rng.integers(photo.height - height + 1))
    piece = photo.resize((SIZE[1], SIZE[0]), box=(left, top, left + width, top + height))
    pixels = np.asarray(piece, np.float32)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return 128 + rng.uniform(0.4, 0.9) * (pixels - 128) + rng.uniform(-25, 25)


def _place(
    rng: Random, kind: int, taken: list[tuple[int, int, int, int]], sides: tuple[float, float]
) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of a free place; None if 20 tries find none."""
    for _ in range(20):
        side = float(np.exp(rng.uniform(*np.log(sides))))
        ratio = rng.uniform(0.75, 1.0)
        width, height = int(side), int(side * ratio)
        if kind < 2 and rng.random() < 0.5:
            width, height = height, width
        low = int(height * 0.4) + 1 if kind >= 4 else 0
        if width >= SIZE[1] - 4 or height + low >= SIZE[0] - 4:
            continue
        left = int(rng.integers(2, SIZE[1] - width - 2))
        top = int(rng.integers(2, SIZE[0] - height - low - 2))
        mine = _reserved(kind, (left, top, width, height))
        if not any(_touch(mine, other) for other in taken):
            return left, top, width, height
    return None


def _reserved(kind: int, place: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top, width, height = place
    low = int(height * 0.4) + 1 if kind >= 4 else 0
    return left - 3, top - 3, left + width + 3, top + height + low + 3


def _touch(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _draw(
    rng: Random, canvas: Pixels, kind: int, place: tuple[int, int, int, int]
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], tuple[float, float, float, float]]:
    """Draw an object, and what shows its class; returns its mask and the box of that clue."""
    left, top, width, height = place
    shape = _shape(kind, width, height)
    texture = _texture(rng, height, width)
    spot = canvas[top : top + height, left : left + width]
    spot += shape[..., None] * (texture - spot)
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = shape > 0.5
    if kind in {2, 3}:
        return mask, _mark(rng, canvas, kind, place)
    if kind in {4, 5}:
        return mask, _strip(rng, canvas, kind, place)
    return mask, (left, top, left + width, top + height)


def _shape(kind: int, width: int, height: int) -> Pixels:
    """How much of each pixel the object covers."""
    large = Image.new("L", (4 * width, 4 * height))
    draw = ImageDraw.Draw(large)
    w, h = 4 * width - 1, 4 * height - 1
    if kind == 0:
        draw.ellipse((0, 0, w, h), fill=255)
    elif kind == 1:
        draw.polygon([(w // 2, 0), (w, h), (0, h)], fill=255)
    elif kind in {2, 3}:
        draw.rounded_rectangle((0, 0, w, h), radius=min(w, h) // 10, fill=255)
    else:
        draw.polygon([(0, h // 2), (w, h // 2), (w * 5 // 6, h), (w // 6, h)], fill=255)
        draw.rectangle((w // 4, 0, w * 3 // 4, h // 2), fill=255)
    return np.asarray(large.reduce(4), np.float32) / 255


def _texture(rng: Random, height: int, width: int) -> Pixels:
    """A colour with stripes or grain."""
    colour = rng.uniform(30, 225, 3)
    rows, columns = np.mgrid[:height, :width]
    if rng.random() < 0.5:
        turn = rng.uniform(0, np.pi)
        along = rows * np.sin(turn) + columns * np.cos(turn)
        wave = np.sin(2 * np.pi * along / rng.uniform(4, 10))
    else:
        wave = rng.normal(size=(height, width))
    return (colour + rng.uniform(8, 30) * wave[..., None]).astype(np.float32)


def _mark(
    rng: Random, canvas: Pixels, kind: int, place: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """A cross or a ring in the upper left corner of a card."""
    left, top, width, height = place
    side = max(8, round(0.45 * min(width, height)))
    large = Image.new("L", (4 * side, 4 * side))
    draw, end, line = ImageDraw.Draw(large), 4 * side - 1, max(5, 4 * side // 6)
    if kind == 2:
        draw.line((0, 0, end, end), fill=255, width=line)
        draw.line((0, end, end, 0), fill=255, width=line)
    else:
        draw.ellipse((0, 0, end, end), outline=255, width=line)
    ink = np.asarray(large.reduce(4), np.float32)[..., None] / 255
    left, top = left + 1, top + 1
    spot = canvas[top : top + side, left : left + side]
    colour = np.where(spot.mean() > 128, rng.uniform(0, 25), rng.uniform(230, 255))
    spot += ink * (colour - spot)
    return left, top, left + side, top + side


def _strip(
    rng: Random, canvas: Pixels, kind: int, place: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """Water or road below the box of a vehicle."""
    left, top, width, height = place
    first, last = top + height, min(SIZE[0], top + height + int(height * 0.4) + 1)
    start, end = max(0, left - width // 8), min(SIZE[1], left + width + width // 8)
    rows, columns = np.mgrid[: last - first, : end - start]
    if kind == 4:
        colour = np.array([30, 90, 190]) + rng.uniform(-25, 25, 3)
        wave = np.sin(columns / 2.5 + 2 * np.sin(rows)) * rng.uniform(15, 30)
    else:
        colour = np.full(3, rng.uniform(60, 100)) + rng.uniform(-8, 8, 3)
        middle = np.abs(rows - (last - first) / 2) < max(1.0, (last - first) / 8)
        wave = 140.0 * (middle & (columns // max(3, width // 8) % 2 == 0))
    canvas[first:last, start:end] = colour + wave[..., None]
    return start, first, end, last

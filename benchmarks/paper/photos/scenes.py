"""Backgrounds, and pasting an object on one."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.paper.photos import packages
from benchmarks.paper.photos.layout import decoded
from benchmarks.paper.photos.stamps import Cut

SEED = 20240

_UNFIT = (
    "Wood.jpg",
    "cabrillo.webp",
    "castleClinton.webp",
    "georgeWashingtonBirthplace.webp",
    "qutubMinar.webp",
    "statueofLiberty.webp",
)
"""Photos excluded as backgrounds, after looking at all of them."""

_LONGEST = 1100
_NARROWEST = 900


@dataclass(frozen=True)
class Background:
    """An RGB photo with its name."""

    name: str
    photo: Image.Image


def ours(name: str) -> bool:
    """Whether a background is among the 60 % used here. The others are kept for new sets."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).digest()[0] < 154


def backgrounds(root: Path) -> list[Background]:
    """Every suitable landscape photo, by name; no side is longer than 1100 pixels."""
    files = {path.name: path.read_bytes() for path in (root / packages.NATURE).glob("*.jpg")}
    for path, content in packages.activity(root, "explore_monuments").items():
        if path.endswith(".webp"):
            files[Path(path).name] = content
    found: list[Background] = []
    for name in sorted(files):
        if name in _UNFIT or not ours(name):
            continue
        photo = decoded(files[name])
        if photo.width >= _NARROWEST and photo.width > photo.height:
            photo.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
            found.append(Background(name, photo))
    return found


def part_of(photo: Image.Image, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """A random part of a photo at this (width, height), mirrored with probability 1/2."""
    width, height = size
    scale = rng.uniform(0.65, 1.0) * min(photo.width / width, photo.height / height)
    wide, high = width * scale, height * scale
    x, y = rng.uniform(0, photo.width - wide), rng.uniform(0, photo.height - high)
    box = (x, y, x + wide, y + high)
    return _mirrored(photo.resize(size, Image.Resampling.LANCZOS, box=box), rng)


def scaled(
    cut: Cut, area: float, room: tuple[float, float], most: float, rng: random.Random
) -> Image.Image:
    """An object of about `area` pixels that fits into `room`, mirrored with probability 1/2.

    Args:
        cut: the object.
        area: the intended number of pixels, within the limits.
        room: the largest (width, height).
        most: the largest enlargement.
        rng: the random number generator.
    """
    picture = cut.picture
    scale_of_area = (area / (cut.cover * picture.width * picture.height)) ** 0.5
    scale = min(scale_of_area, room[0] / picture.width, room[1] / picture.height, most)
    size = (max(8, round(picture.width * scale)), max(8, round(picture.height * scale)))
    return _mirrored(picture.resize(size, Image.Resampling.LANCZOS), rng)


def pasted(
    background: Image.Image, thing: Image.Image, corner: tuple[int, int]
) -> tuple[Image.Image, Image.Image]:
    """The object on the background, and its mask: 255 where it is at least half opaque."""
    photo = background.copy()
    photo.paste(thing, corner, thing)
    mask = Image.new("L", background.size, 0)
    mask.paste(thing.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0), corner)
    return photo, mask


def share(mask: Image.Image) -> float:
    """The share of a photo that a mask covers, in [0, 1]."""
    return float((np.asarray(mask) > 0).mean())


def _mirrored(picture: Image.Image, rng: random.Random) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else picture

"""Backgrounds, and how a thing is put on one."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import packages
from layout import decoded
from PIL import Image
from stamps import Cut

SEED = 20240

_UNFIT = (
    "Wood.jpg",
    "cabrillo.webp",
    "castleClinton.webp",
    "georgeWashingtonBirthplace.webp",
    "qutubMinar.webp",
    "statueofLiberty.webp",
)
"""Photos left out as backgrounds after looking at them all."""

_LONGEST = 1100
_NARROWEST = 900


@dataclass(frozen=True)
class Background:
    """An RGB photo by its name."""

    name: str
    photo: Image.Image


def ours(name: str) -> bool:
    """Whether a background is among the 60 % used here; the others stay unseen for fresh sets."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).digest()[0] < 154


def backgrounds(root: Path) -> list[Background]:
    """Every wide photo that will do, by name; no side longer than 1100 pixels."""
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
    """A part of a photo at random, at this (width, height), every other time mirrored."""
    width, height = size
    scale = rng.uniform(0.65, 1.0) * min(photo.width / width, photo.height / height)
    wide, high = width * scale, height * scale
    x, y = rng.uniform(0, photo.width - wide), rng.uniform(0, photo.height - high)
    box = (x, y, x + wide, y + high)
    return _mirrored(photo.resize(size, Image.Resampling.LANCZOS, box=box), rng)


def scaled(
    cut: Cut, area: float, room: tuple[float, float], most: float, rng: random.Random
) -> Image.Image:
    """A thing of about `area` pixels that fits into `room`, every other time mirrored.

    Args:
        cut: the thing.
        area: how many pixels it shall cover, unless that takes more than the limits allow.
        room: (width, height), the most it may take.
        most: how many times it may be enlarged.
        rng: the source of chance.
    """
    picture = cut.picture
    wanted = (area / (cut.cover * picture.width * picture.height)) ** 0.5
    scale = min(wanted, room[0] / picture.width, room[1] / picture.height, most)
    size = (max(8, round(picture.width * scale)), max(8, round(picture.height * scale)))
    return _mirrored(picture.resize(size, Image.Resampling.LANCZOS), rng)


def pasted(
    background: Image.Image, thing: Image.Image, corner: tuple[int, int]
) -> tuple[Image.Image, Image.Image]:
    """The thing on the background, and its mask: 255 where it hides at least half of it."""
    photo = background.copy()
    photo.paste(thing, corner, thing)
    mask = Image.new("L", background.size, 0)
    mask.paste(thing.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0), corner)
    return photo, mask


def share(mask: Image.Image) -> float:
    """The part of a photo that a mask covers, in [0, 1]."""
    return float((np.asarray(mask) > 0).mean())


def _mirrored(picture: Image.Image, rng: random.Random) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else picture

"""One object on a background: half of the objects are small and off-centre, half are large.

A photo is kept only if Lite0 recognises the object, and does not see it in the background alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.paper.photos import layout, scenes
from benchmarks.paper.photos.judge import Judge
from benchmarks.paper.photos.scenes import Background
from benchmarks.paper.photos.stamps import STAMPS, Cut, Stamp, load
from scorecam.model.labels import imagenet, imagenet_wnids

SIZES = ((448, 448), (500, 420), (420, 500))
"""(width, height) of a photo."""

REGIMES = {"small": (0.052, 0.11), "large": (0.11, 0.42)}
"""The intended share of the photo that the object's mask covers."""

LEAST, MOST = 0.05, 0.45
"""The smallest and the largest share in the end."""

TRIES, EACH = 20, 2
"""Tries per object, and the number of photos kept per object and regime."""

ENLARGED = 3.0
SURE, UNSEEN = 0.3, 0.01
"""The smallest probability with the object, and the largest without it."""


@dataclass(frozen=True)
class Scene:
    """A candidate photo.

    Args:
        bare: the background alone.
        photo: the background with the object.
        mask: the object's mask.
        regime: "small" or "large".
        background: the background's name.
        number: the number of the try.
    """

    bare: Image.Image
    photo: Image.Image
    mask: Image.Image
    regime: str
    background: str
    number: int


def write(folder: Path, root: Path, judge: Judge) -> int:
    """Build the set from the unpacked packages in `root`; returns its number of photos."""
    backgrounds = scenes.backgrounds(root)
    rows: list[dict[str, Any]] = []
    for stamp in STAMPS:
        found = list(_of(folder, root, stamp, backgrounds, judge))
        print(f"{stamp.path:45} {stamp.wnid} kept {len(found)}", flush=True)
        rows += found
    layout.write_manifest(folder, rows)
    return len(rows)


def _of(
    folder: Path, root: Path, stamp: Stamp, backgrounds: list[Background], judge: Judge
) -> Iterator[dict[str, Any]]:
    """Try a stamp on one background after another. Save recognised photos, and yield their rows."""
    rng = random.Random(f"{scenes.SEED}/{stamp.path}")  # noqa: S311  (no secret)
    order = list(backgrounds)
    rng.shuffle(order)
    cut = load(root, stamp.path)
    kept = dict.fromkeys(REGIMES, 0)
    for number in range(TRIES):
        regime = tuple(REGIMES)[number % 2]
        if kept[regime] == EACH:
            continue
        scene = _scene(cut, order[number % len(order)], regime, number, rng)
        if not LEAST <= scenes.share(scene.mask) <= MOST:
            continue
        row = _judged(folder, stamp, scene, judge)
        if row is not None:
            kept[regime] += 1
            yield row


def _scene(cut: Cut, background: Background, regime: str, number: int, rng: random.Random) -> Scene:
    size = rng.choice(SIZES)
    bare = scenes.part_of(background.photo, size, rng)
    side = int(min(size) * 224 / 256)  # of the part in the middle that the network sees
    low, high = np.log(REGIMES[regime])
    area = np.exp(rng.uniform(low, high)) * size[0] * size[1]
    thing = scenes.scaled(cut, area, (side * 0.97, side * 0.97), ENLARGED, rng)
    corner = _corner(size, side, thing, regime, rng)
    photo, mask = scenes.pasted(bare, thing, corner)
    return Scene(bare, photo, mask, regime, background.name, number)


def _corner(
    size: tuple[int, int], side: int, thing: Image.Image, regime: str, rng: random.Random
) -> tuple[int, int]:
    """The object's corner: the object is inside the visible part, more often near its edges.

    A small object does not cover the photo's centre, if 30 tries find such a place.
    """
    (width, height), x, y = size, 0, 0
    for _ in range(30):
        x = (width - side) // 2 + round(rng.betavariate(0.5, 0.5) * (side - thing.width))
        y = (height - side) // 2 + round(rng.betavariate(0.5, 0.5) * (side - thing.height))
        across = x <= width / 2 <= x + thing.width
        if regime == "large" or not (across and y <= height / 2 <= y + thing.height):
            break
    return x, y


def _judged(folder: Path, stamp: Stamp, scene: Scene, judge: Judge) -> dict[str, Any] | None:
    """Save the scene if the network recognises the object; returns its row, or None."""
    column = imagenet_wnids().index(stamp.wnid)
    photo = layout.compressed(scene.photo)
    seen, bare = judge([photo, scene.bare])
    if int(seen.argmax()) != column or float(seen[column]) < SURE or float(bare[column]) > UNSEEN:
        return None
    whole = judge([photo], whole=True)[0]
    name = f"tp_{stamp.path.replace('/', '-')}_{scene.number:02}"
    box = layout.box_of(scene.mask)
    layout.save(
        folder, stamp.wnid, name, layout.jpeg(photo), [(stamp.wnid, box)], masks={"": scene.mask}
    )
    return {
        "wnid": stamp.wnid,
        "label": imagenet()[column],
        "exact": int(stamp.exact),
        "name": name,
        "stamp": stamp.path,
        "background": scene.background,
        "regime": scene.regime,
        "width": photo.width,
        "height": photo.height,
        "area": round(scenes.share(scene.mask), 4),
        **dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)),
        "p_crop": round(float(seen[column]), 4),
        "p_full": round(float(whole[column]), 4),
        "top1_full": int(int(whole.argmax()) == column),
    }

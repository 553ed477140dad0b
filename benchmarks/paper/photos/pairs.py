"""Two objects of different classes side by side; kept if Lite0 recognises both."""

from __future__ import annotations

import csv
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.paper.photos import layout, scenes
from benchmarks.paper.photos.judge import Judge
from benchmarks.paper.photos.scenes import Background
from benchmarks.paper.photos.stamps import Cut, load
from scorecam.model.labels import imagenet, imagenet_wnids

COUNT, TRIES = 48, 1200
EACH = 3
"""The most photos that may show the same object."""

SIDE = 500
SEEN = 437
"""Pixels along each side of the photo, and of the central part that the network sees."""

ENLARGED = 4.0
LEAST = 0.03
"""The smallest share of the photo that each object covers."""

SURE, TOP = 0.08, 5
"""The smallest probability of each class, and the number of top classes that include both."""

Thing = tuple[str, str]
"""The path of a stamp, and its class."""


@dataclass(frozen=True)
class Scene:
    """A candidate photo, with the masks of the left and the right object."""

    photo: Image.Image
    masks: tuple[Image.Image, Image.Image]
    background: str

    @property
    def clear(self) -> bool:
        """Whether both objects are large enough and neither covers the other."""
        one, other = (np.asarray(mask) > 0 for mask in self.masks)
        return min(one.mean(), other.mean()) >= LEAST and not (one & other).any()


def recognised(manifest: Path) -> list[Thing]:
    """The objects with a high probability in at least one composite, from their manifest."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return sorted({(row["stamp"], row["wnid"]) for row in rows if float(row["p_crop"]) > 0.6})


def write(folder: Path, root: Path, judge: Judge, things: list[Thing]) -> int:
    """Build the set from the unpacked packages in `root`; returns its number of photos."""
    backgrounds = scenes.backgrounds(root)
    rng = random.Random(f"{scenes.SEED}/pairs/dev")  # noqa: S311  (no secret)
    used: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for _ in range(TRIES):
        if len(rows) == COUNT:
            break
        left, right = pair = rng.sample(things, 2)
        if left[1] == right[1] or max(used[left[0]], used[right[0]]) >= EACH:
            continue
        scene = _scene([load(root, path) for path, _ in pair], rng.choice(backgrounds), rng)
        row = _judged(folder, pair, scene, len(rows), judge) if scene.clear else None
        if row is not None:
            rows.append(row)
            used.update((left[0], right[0]))
    layout.write_manifest(folder, rows)
    return len(rows)


def _scene(cuts: list[Cut], background: Background, rng: random.Random) -> Scene:
    photo = scenes.part_of(background.photo, (SIDE, SIDE), rng)
    start, half = (SIDE - SEEN) // 2, SEEN // 2
    masks: list[Image.Image] = []
    for place, cut in enumerate(cuts):
        area = rng.uniform(0.10, 0.2) * SIDE * SIDE
        thing = scenes.scaled(cut, area, (SEEN * 0.48, SEEN * 0.8), ENLARGED, rng)
        x = start + place * half + rng.randint(0, max(0, half - thing.width - 4))
        y = start + rng.randint(0, SEEN - thing.height)
        photo, mask = scenes.pasted(photo, thing, (x, y))
        masks.append(mask)
    return Scene(photo, (masks[0], masks[1]), background.name)


def _judged(
    folder: Path, pair: list[Thing], scene: Scene, number: int, judge: Judge
) -> dict[str, Any] | None:
    """Save the scene if the network recognises both objects; returns its row, or None."""
    paths, wnids = zip(*pair, strict=True)
    columns = [imagenet_wnids().index(wnid) for wnid in wnids]
    photo = layout.compressed(scene.photo)
    seen = judge([photo])[0]
    chances = [float(seen[column]) for column in columns]
    if min(chances) < SURE or not set(columns) <= set(seen.topk(TOP).indices.tolist()):
        return None
    name = "_".join(["pair", f"{number:03}", *(path.split("/")[-1] for path in paths)])
    likelier = wnids[chances.index(max(chances))]
    boxes = [layout.box_of(mask) for mask in scene.masks]
    masks = {f"_{wnid}": mask for wnid, mask in zip(wnids, scene.masks, strict=True)}
    objects = list(zip(wnids, boxes, strict=True))
    layout.save(folder, likelier, name, layout.jpeg(photo), objects, masks=masks)
    row: dict[str, Any] = {"name": name, "folder": likelier}
    for place, mask in zip((0, 1), scene.masks, strict=True):
        row[f"wnid{place + 1}"] = wnids[place]
        row[f"label{place + 1}"] = imagenet()[columns[place]]
        row[f"p{place + 1}"] = round(chances[place], 4)
        row[f"area{place + 1}"] = round(scenes.share(mask), 4)
    return row | {"stamp1": paths[0], "stamp2": paths[1], "background": scene.background}

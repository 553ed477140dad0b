"""Unedited photographs, with boxes drawn by eye.

boxes.json lists the source, author, licence, class and boxes of each photo. Boxes count from 1, in
pixels of the original; they are accurate to about 1.5 % of the side. All photos are recognised by
Lite0.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.paper.photos import layout, packages

BOXES = Path(__file__).with_name("boxes.json")
LONGEST = 640
"""The most pixels along the longer side of a photo."""


def write(folder: Path, root: Path) -> int:
    """Build the set from the unpacked packages in `root`; returns its number of photos."""
    entries: list[dict[str, Any]] = json.loads(BOXES.read_text("utf-8"))
    for entry in entries:
        source: str = entry["file"]
        photo = layout.decoded(_content(root, source))
        original = photo.width
        photo.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        scale = max(photo.size) / max(entry["width"], entry["height"])
        if original != entry["width"]:
            sys.exit(
                f"{source} is {original} pixels wide, not {entry['width']}. Its version differs."
            )
        objects = [(entry["wnid"], _shrunk(box, scale)) for box in entry["boxes"]]
        name = f"nat_{Path(source.rpartition(':')[2]).stem}"
        layout.save(folder, entry["wnid"], name, layout.jpeg(photo), objects)
    shutil.copyfile(BOXES, folder / BOXES.name)
    return len(entries)


def _content(root: Path, source: str) -> bytes:
    library, colon, name = source.rpartition(":")
    if not colon:
        return packages.activity(root, source.split("/", maxsplit=1)[0])[source]
    found = find_spec(library)
    if found is None or found.origin is None:
        sys.exit(f"The photo {name} comes with scikit-image. Run `pip install scikit-image`.")
    return Path(found.origin).with_name("data").joinpath(name).read_bytes()


def _shrunk(box: list[int], scale: float) -> layout.Box:
    """A box in pixels of the smaller photo."""
    left, top, right, bottom = box
    return (
        round((left - 1) * scale) + 1,
        round((top - 1) * scale) + 1,
        round(right * scale),
        round(bottom * scale),
    )

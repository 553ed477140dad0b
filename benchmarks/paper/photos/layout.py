"""Files as ImageNet's validation set has them: a photo, its boxes as Pascal VOC, and its masks."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

Box = tuple[int, int, int, int]
"""xmin, ymin, xmax, ymax as in Pascal VOC: counted from 1, all four inside."""

_OBJECT = """\
	<object>
		<name>{name}</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>{box[0]}</xmin>
			<ymin>{box[1]}</ymin>
			<xmax>{box[2]}</xmax>
			<ymax>{box[3]}</ymax>
		</bndbox>
	</object>
"""

_ANNOTATION = """\
<annotation>
	<folder>val</folder>
	<filename>{name}</filename>
	<source>
		<database>tuxpaint-composites</database>
	</source>
	<size>
		<width>{size[0]}</width>
		<height>{size[1]}</height>
		<depth>3</depth>
	</size>
	<segmented>1</segmented>
{objects}</annotation>
"""


def save(
    folder: Path,
    wnid: str,
    name: str,
    photo: bytes,
    objects: Sequence[tuple[str, Box]],
    *,
    masks: Mapping[str, Image.Image] | None = None,
) -> None:
    """Write a photo of the class `wnid` and what is known of it.

    Args:
        folder: the root of the data set.
        wnid: the class, under which all of it is filed.
        name: of the files, without an ending.
        photo: a JPEG file.
        objects: the class and box of each thing in it.
        masks: by what is put after `name`; mode L, 255 on the thing and 0 elsewhere.
    """
    with Image.open(io.BytesIO(photo)) as opened:
        size = opened.size
    drawn = "".join(_OBJECT.format(name=label, box=box) for label, box in objects)
    text = _ANNOTATION.format(name=name, size=size, objects=drawn)
    _place(folder, "images", wnid, f"{name}.JPEG").write_bytes(photo)
    _place(folder, "Annotations", wnid, f"{name}.xml").write_text(text, "utf-8", newline="\n")
    for suffix, mask in (masks or {}).items():
        mask.save(_place(folder, "masks", wnid, f"{name}{suffix}.png"), optimize=True)


def _place(folder: Path, kind: str, wnid: str, file: str) -> Path:
    place = folder / kind / wnid / file
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def jpeg(photo: Image.Image) -> bytes:
    """An RGB photo as a JPEG file."""
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def decoded(file: bytes) -> Image.Image:
    """The RGB photo in a file."""
    return Image.open(io.BytesIO(file)).convert("RGB")


def compressed(photo: Image.Image) -> Image.Image:
    """The photo with what JPEG does to it, which is what a network judges before it is saved.

    Saving it compresses it once more, which changes next to nothing; the first set was made like
    that, and this way it comes out the same to the byte.
    """
    return decoded(jpeg(photo))


def box_of(mask: Image.Image) -> Box:
    """The smallest box around what a mask shows."""
    found = mask.getbbox()
    if found is None:
        raise ValueError("The mask is empty.")
    left, top, right, bottom = found
    return left + 1, top + 1, right, bottom


def write_manifest(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """What is known of each photo, as manifest.csv."""
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

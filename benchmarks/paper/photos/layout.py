"""The file layout of ImageNet's validation set: photos, boxes as Pascal VOC, and masks."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

Box = tuple[int, int, int, int]
"""xmin, ymin, xmax, ymax as in Pascal VOC: counted from 1, inclusive."""

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
    """Write a photo of the class `wnid` with its annotation and masks.

    Args:
        folder: the root of the data set.
        wnid: the class, which names the subfolders.
        name: the name of the files, without suffix.
        photo: a JPEG file.
        objects: the class and box of each object.
        masks: by name suffix; mode L, 255 on the object and 0 elsewhere.
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
    """The photo after JPEG compression, as the network judges it.

    Saving compresses it again, which changes almost nothing. The first set was made this way, so
    the same code gives the same bytes.
    """
    return decoded(jpeg(photo))


def box_of(mask: Image.Image) -> Box:
    """The smallest box around a mask."""
    found = mask.getbbox()
    if found is None:
        raise ValueError("The mask is empty.")
    left, top, right, bottom = found
    return left + 1, top + 1, right, bottom


def write_manifest(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write manifest.csv with a row for each photo."""
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

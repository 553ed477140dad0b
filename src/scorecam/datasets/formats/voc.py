"""Pascal VOC: JPEGImages, Annotations, and lists of photos in ImageSets/Main."""

from __future__ import annotations

from pathlib import Path

from scorecam.base.wording import encodable, excerpt
from scorecam.datasets.formats.annotation import placed, read_xml
from scorecam.datasets.formats.building import MISSING, Tally, finish
from scorecam.datasets.formats.format import Format
from scorecam.datasets.photos import check_name, is_file, nowhere, photos_under
from scorecam.datasets.sample import Box, Dataset, Label, Sample, Thing
from scorecam.errors import DatasetError, did_you_mean
from scorecam.io.reading import Kind, read_text

LIST = Kind("a list of photos", 2**28, DatasetError)
_HINT_NAMES = 1_000
"""The most names that are searched for the one that was meant."""

RULE = "The class of a photo is that of its largest object that is not marked difficult."


def open_voc(root: Path, split: str | None) -> Dataset:
    """The photos of a split, or all of them; objects marked difficult keep their boxes.

    Args:
        split: the list ImageSets/Main/<split>.txt, such as "val". In the list of one class,
            such as "cat_val", only the photos that are flagged 1 count.

    Raises:
        DatasetError: there is no photo, or no such list.
    """
    tally = Tally()
    photos = root / "JPEGImages"
    if not photos.is_dir():
        raise DatasetError(
            f"There is no folder JPEGImages in {excerpt(root, 200)}.",
            likely="This is not a Pascal VOC folder, or the right one is inside it.",
            do="Name the folder that holds JPEGImages and Annotations, such as VOCdevkit/VOC2012.",
        )
    names = photos_under(photos) if split is None else _listed(root, split)
    samples = [_sample(root, name, tally) for name in names]
    return finish(root, "voc", samples, tally, remarks=[RULE])


def largest(things: list[tuple[Thing, float]]) -> Label | None:
    """The class of the largest of some objects, given with their areas; of equals, the first."""
    return max(things, key=lambda each: each[1])[0].label if things else None


def area(box: Box) -> float:
    """The area of a box in pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def _sample(root: Path, name: str, tally: Tally) -> Sample:
    full = f"JPEGImages/{encodable(name)}"
    try:
        check_name(name)
    except ValueError as error:
        failure = DatasetError(f"A list of photos names {excerpt(repr(name))}: {error}.")
        return Sample(full, nowhere(root, name), failure=failure)
    full = f"JPEGImages/{name}"
    photo = root / full
    xml = (root / "Annotations" / name).with_suffix(".xml")
    if not is_file(xml):
        tally[MISSING] += 1
        return Sample(full, photo)
    try:
        annotation = read_xml(xml)
        boxes = placed([thing.box for thing in annotation.things], annotation.size, photo, tally)
    except DatasetError as error:
        return Sample(full, photo, failure=error)
    kept = [
        (Thing(thing.label, box), hard)
        for thing, box, hard in zip(annotation.things, boxes, annotation.difficult, strict=True)
        if box
    ]
    label = largest([(thing, area(thing.box)) for thing, hard in kept if not hard])
    return Sample(full, photo, label, tuple(thing for thing, _ in kept))


def _listed(root: Path, split: str) -> list[str]:
    """The names of the photos in a list, relative to JPEGImages."""
    lists = root / "ImageSets" / "Main"
    path = lists / f"{split}.txt"
    known = sorted(file.stem for file in lists.glob("*.txt")) if lists.is_dir() else []
    if not is_file(path):
        names = ", ".join(excerpt(name, 30) for name in known[:8])
        raise DatasetError(
            f"The split {excerpt(repr(split), 60)} cannot be read: "
            f"there is no list {excerpt(path, 150)}.",
            likely=did_you_mean(split[:200], known[:_HINT_NAMES]),
            do=f"The lists are {names}." if known else "Leave the split out.",
        )
    lines = read_text(path, LIST, errors="surrogateescape").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    return [f"{row[0]}.jpg" for row in rows if len(row) == 1 or row[1] == "1"]


FORMAT = Format(
    "voc",
    "a folder with JPEGImages and Annotations, as Pascal VOC has it",
    "folder",
    recognises=lambda path, _: (path / "JPEGImages").is_dir(),
    open=lambda path, _, split: open_voc(path, split),
)

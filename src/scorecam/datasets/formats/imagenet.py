"""ImageNet: photos in folders named by WordNet ids, or flat with a list; boxes in XML."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from scorecam.base.wording import excerpt
from scorecam.datasets.formats.annotation import XmlAnnotation, placed, read_xml
from scorecam.datasets.formats.building import MISSING, Tally, finish
from scorecam.datasets.formats.format import Format
from scorecam.datasets.formats.ground_truth import OFFICIAL, WNID, read_ground_truth
from scorecam.datasets.formats.masks import read_masks
from scorecam.datasets.photos import is_file, names_in, photos_under
from scorecam.datasets.sample import Dataset, Label, Sample, Thing
from scorecam.errors import DatasetError

_XML_FOLDERS: Final = ("Annotations", "Annotation")
_NO_PHOTOS: Final = (*_XML_FOLDERS, "masks")
"""Folders next to the photos that hold no photos."""

UNNAMED = "Photos without a class: no list names them, and no XML file has exactly one class"


def open_imagenet(root: Path, annotations: str | None) -> Dataset:
    """The photos in `images` if there is such a folder, otherwise in `root`.

    A photo's class is its outermost folder. Flat photos need a list of their classes (see
    `ground_truth.py`); without one, a photo has the class of the objects in its XML file, if they
    are of one class. XML files are in `annotations`, or in `root/Annotations`, as
    <wnid>/<name>.xml, <name>.xml or val/<name>.xml. Exact masks, 0 and 255, are in `root/masks` as
    <wnid>/<name>.png or, if a photo shows several classes, as <wnid>/<name>_<class>.png.

    Raises:
        DatasetError: there is no photo, or the list of classes cannot be used.
    """
    tally = Tally()
    inner = "images/" if (root / "images").is_dir() else ""
    names = photos_under(root / inner, skip=_NO_PHOTOS)
    xml, listed = _annotation_paths(root, annotations)
    flat = [name for name in names if "/" not in name]
    labels = read_ground_truth(listed, flat, tally) if listed and flat else {}
    samples: list[Sample] = []
    for name in names:
        outermost, slash, _ = name.partition("/")
        label = outermost if slash else labels.get(name)
        samples.append(_sample(root, inner, name, label, xml=xml, tally=tally))
    unnamed = sum(sample.label is None and sample.failure is None for sample in samples)
    tally[UNNAMED] += unnamed
    return finish(root, "imagenet", samples, tally)


def _annotation_paths(root: Path, annotations: str | None) -> tuple[Path | None, Path | None]:
    """The folder with XML files, and the list of classes; either may be missing."""
    default = next((root / name for name in _XML_FOLDERS if (root / name).is_dir()), None)
    if annotations is None:
        return default, None
    path = Path(annotations)
    if path.is_dir():
        for inside in (path / OFFICIAL, path / "data" / OFFICIAL):  # the development kit
            if is_file(inside):
                return default, inside
        return path, None
    if not path.exists():
        raise DatasetError(
            f"There is no file or folder {excerpt(path, 200)}.",
            likely="The path of the annotations is misspelled, or starts from another folder.",
            do="Name the folder with the XML files, or the list of the photos' classes.",
        )
    return default, path


def _sample(
    root: Path, inner: str, name: str, label: Label | None, *, xml: Path | None, tally: Tally
) -> Sample:
    full = inner + name
    photo = root / full
    things: tuple[Thing, ...] | None = None
    failure: DatasetError | None = None
    xml_file = _xml_of(name, xml)
    if xml_file is not None:
        try:
            things = _things(read_xml(xml_file), photo, tally)
        except DatasetError as error:
            failure = error
    elif xml is not None:
        tally[MISSING] += 1
    if label is None and things:
        classes = {thing.label for thing in things}
        label = classes.pop() if len(classes) == 1 else None
    stem = (root / "masks" / name).with_suffix("")
    of_class = "" if label is None or set(str(label)) & {"/", "\\", "\0"} else f"_{label}"
    exact = [stem.with_name(f"{stem.name}{of}.png") for of in dict.fromkeys(("", of_class))]
    masks = tuple(path for path in exact if is_file(path))[:1]
    mask = partial(read_masks, masks, photo) if masks else None
    return Sample(full, photo, label, things=things, mask=mask, failure=failure)


def _things(annotation: XmlAnnotation, photo: Path, tally: Tally) -> tuple[Thing, ...]:
    boxes = placed([thing.box for thing in annotation.things], annotation.size, photo, tally)
    pairs = zip(annotation.things, boxes, strict=True)
    return tuple(Thing(thing.label, box) for thing, box in pairs if box)


def _xml_of(name: str, folder: Path | None) -> Path | None:
    if folder is None:
        return None
    file = Path(name).with_suffix(".xml")
    places: Sequence[Path] = (folder / file, folder / file.name, folder / "val" / file.name)
    return next((place for place in places if is_file(place)), None)


def _is_imagenet(path: Path, annotations: str | None) -> bool:
    if path.is_file():
        return False
    if annotations is not None or any((path / name).is_dir() for name in _XML_FOLDERS):
        return True
    folders = [path, path / "images"] if (path / "images").is_dir() else [path]
    names = [name for folder in folders for name in names_in(folder)]
    return any(WNID.fullmatch(name) or name.startswith("ILSVRC2012_val_") for name in names)


FORMAT = Format(
    "imagenet",
    "photos in folders named by WordNet ids, or ILSVRC2012_val_* with a list of classes",
    "folder",
    recognises=_is_imagenet,
    open=lambda path, annotations, _: open_imagenet(path, annotations),
)

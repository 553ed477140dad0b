"""COCO: photos in a folder, and one JSON file with their objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from scorecam.base.wording import encodable, excerpt
from scorecam.datasets.formats.annotation import finite, placed, size_of
from scorecam.datasets.formats.building import Tally, finish, refuse_repeated
from scorecam.datasets.formats.format import Format
from scorecam.datasets.formats.segments import read_segments
from scorecam.datasets.formats.voc import area, largest
from scorecam.datasets.photos import Size, check_name, is_file, nowhere
from scorecam.datasets.sample import Box, Dataset, Sample, Thing
from scorecam.errors import DatasetError, did_you_mean
from scorecam.io.json_values import is_id, is_list, is_object, is_text
from scorecam.io.reading import Kind, parse_json, read_bytes

RULE = "The class of a photo is that of its largest object that is not a crowd."
INSTANCES = Kind("COCO's instances as JSON", 2**31, DatasetError)
CROWDS = "Crowd regions that were left out"

Entry = dict[str, Any]


def open_coco(root: Path, annotations: Path | None, split: str | None) -> Dataset:
    """Every photo that the JSON lists; boxes (x, y, w, h) count from 0 and are continuous.

    Args:
        root: the folder with the photos, or with a folder of them and `annotations/`.
        annotations: the instances' JSON; None for `root/annotations/instances_<split>.json`.

    Raises:
        DatasetError: the JSON cannot be read, lacks required content, or has an id twice.
    """
    path = annotations or _instances(root, split)
    images, objects, classes = _read(path)
    tally = Tally()
    by_image: dict[Any, list[Entry]] = defaultdict(list)
    for entry in objects:
        by_image[entry["image_id"]].append(entry)
    unlisted = by_image.keys() - {image["id"] for image in images}
    tally["Objects of photos that the JSON does not list"] = sum(
        len(by_image[image]) for image in unlisted
    )
    names = [image["file_name"] for image in images]
    inner = _inner(root, path, names)
    samples: list[Sample] = []
    for image in images:
        own = by_image[image["id"]]
        name = inner + image["file_name"]
        samples.append(_sample(root, name, image, own, classes=classes, tally=tally))
    return finish(root, "coco", samples, tally, remarks=[RULE])


def _instances(root: Path, split: str | None) -> Path:
    folder = root / "annotations"
    files = sorted(folder.glob("instances_*.json"))
    known = [file.stem.removeprefix("instances_") for file in files]
    if split is not None and split in known:
        return files[known.index(split)]
    if split is None and len(files) == 1:
        return files[0]
    raise DatasetError(
        f"{excerpt(folder, 150)} has no single JSON file to read.",
        likely=did_you_mean(split[:200], known[:1_000])
        if split
        else f"There are {len(files)} of them.",
        do=f"Choose with split=: {', '.join(excerpt(each, 30) for each in known[:8])}."
        if known
        else "Name it with annotations=.",
    )


def _inner(root: Path, path: Path, names: Sequence[str]) -> str:
    """The folder in `root` that holds the photos, with a slash at the end."""
    split = path.stem.removeprefix("instances_")
    for inner in ("", f"{split}/", "images/", f"images/{split}/"):
        if any(_usable(name) and is_file(root / (inner + name)) for name in names):
            return inner
    raise DatasetError(
        f"None of the {len(names):,} photos that {excerpt(path, 120)} lists is in "
        f"{excerpt(root, 120)}.",
        likely=f"The first is {excerpt(repr(names[0]))}." if names else "It lists no photo.",
        do="Name the folder that holds them.",
    )


def _usable(name: str) -> bool:
    try:
        check_name(name)
    except ValueError:
        return False
    return True


def _read(path: Path) -> tuple[list[Entry], list[Entry], dict[Any, str]]:
    """The images, the annotations, and the categories' names by id."""
    name = excerpt(path, 150)
    content = read_bytes(path, INSTANCES)
    try:
        values = parse_json(content)
        images = _entries(values, "images", {"id": is_id, "file_name": is_text})
        objects = _entries(values, "annotations", {"image_id": is_id})
        categories = _entries(values, "categories", {"id": is_id, "name": is_text})
    except ValueError as error:
        raise DatasetError(
            f"The JSON file {name} cannot be used: {excerpt(error)}.",
            likely="It is damaged, or it does not have COCO's images, annotations and categories.",
        ) from error
    refuse_repeated(name, "image ids", [each["id"] for each in images])
    refuse_repeated(name, "files", [each["file_name"] for each in images])
    refuse_repeated(name, "annotation ids", [each["id"] for each in objects if "id" in each])
    refuse_repeated(name, "category ids", [each["id"] for each in categories])
    refuse_repeated(name, "categories", [each["name"] for each in categories])
    return images, objects, {each["id"]: encodable(each["name"]) for each in categories}


def _entries(values: Any, key: str, needed: dict[str, Callable[[object], bool]]) -> list[Entry]:
    entries = values.get(key) if is_object(values) else None
    if not isinstance(entries, list):
        raise ValueError(f"it has no list {key!r}")  # noqa: TRY004  it is the file's error
    for number, each in enumerate(cast("list[Any]", entries), 1):
        fields: Entry = each if isinstance(each, dict) else {}
        for field, fits in needed.items():
            if not fits(fields.get(field)):
                raise ValueError(f"entry {number} of {key!r} has no usable {field!r}")
        if "id" in fields and not is_id(fields["id"]):
            raise ValueError(f"entry {number} of {key!r} has no usable 'id'")
    return cast("list[Entry]", entries)


def _sample(
    root: Path,
    name: str,
    image: Entry,
    objects: list[Entry],
    *,
    classes: dict[Any, str],
    tally: Tally,
) -> Sample:
    photo = root / name
    try:
        check_name(image["file_name"])
    except ValueError as error:
        failure = DatasetError(f"The JSON file lists {excerpt(repr(name))}: {error}.")
        return Sample(encodable(name), nowhere(root, name), failure=failure)
    try:
        size = _size(image)
        plain = [each for each in objects if not each.get("iscrowd")]
        raw = [Thing(_class(each, classes), _box(each)) for each in plain]
        boxes = placed([thing.box for thing in raw], size, photo, tally)
    except (DatasetError, ValueError) as error:
        failure = DatasetError(f"The annotation of {excerpt(name)} cannot be used: {error}.")
        return Sample(name, photo, failure=failure)
    tally[CROWDS] += len(objects) - len(plain)
    kept = [
        (Thing(thing.label, box), each)
        for thing, box, each in zip(raw, boxes, plain, strict=True)
        if box
    ]
    label = largest([(thing, _area(thing, each)) for thing, each in kept])
    segments = [each.get("segmentation") for thing, each in kept if thing.label == label]
    mask = None
    if size and segments and all(segments):
        mask = partial(read_segments, segments, size, photo)
    return Sample(name, photo, label, things=tuple(thing for thing, _ in kept), mask=mask)


def _class(entry: Entry, classes: dict[Any, str]) -> str:
    number = entry.get("category_id")
    if not is_id(number) or number not in classes:
        raise ValueError(f"an object has the category {excerpt(repr(number))}, which is not listed")
    return classes[number]


def _box(entry: Entry) -> Box:
    numbers = entry.get("bbox")
    if not is_list(numbers, 4) or len(numbers) < 4:
        raise ValueError("an object's 'bbox' is not four numbers")
    x, y, width, height = (finite(each) for each in numbers)
    return x, y, x + width, y + height


def _area(thing: Thing, entry: Entry) -> float:
    """The area of the object if the JSON gives it, otherwise of its box."""
    try:
        return finite(entry["area"])
    except (KeyError, ValueError):
        return area(thing.box)


def _size(image: Entry) -> Size | None:
    if "width" not in image or "height" not in image:
        return None
    return size_of(image["width"], image["height"])


def _is_coco(path: Path, annotations: str | None) -> bool:
    if path.is_file():
        return path.suffix.lower() == ".json"
    if annotations is not None and annotations.lower().endswith(".json"):
        return True
    return next((path / "annotations").glob("instances_*.json"), None) is not None


def _open(path: Path, annotations: str | None, split: str | None) -> Dataset:
    if path.is_dir():
        return open_coco(path, None if annotations is None else Path(annotations), split)
    # The path is the JSON itself. COCO keeps it in a folder `annotations` next to the photos.
    parent = path.parent
    return open_coco(parent.parent if parent.name == "annotations" else parent, path, split)


FORMAT = Format(
    "coco",
    "COCO's JSON file, or a folder with photos and annotations/instances_*.json",
    "file or folder",
    recognises=_is_coco,
    open=_open,
)

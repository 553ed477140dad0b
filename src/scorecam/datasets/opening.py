"""Data sets as they lie on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from scorecam.base.wording import excerpt
from scorecam.datasets.formats.coco import open_coco
from scorecam.datasets.formats.folder import open_folder
from scorecam.datasets.formats.ground_truth import WNID
from scorecam.datasets.formats.imagenet import BESIDE, open_imagenet
from scorecam.datasets.formats.table import open_table
from scorecam.datasets.formats.voc import open_voc
from scorecam.datasets.photos import is_photo
from scorecam.datasets.sample import Dataset
from scorecam.errors import DatasetError, ScorecamError, SettingError, did_you_mean

_Opener = Callable[[Path, str | None, str | None], Dataset]


def open_dataset(
    source: str | os.PathLike[str],
    *,
    annotations: str | os.PathLike[str] | None = None,
    split: str | None = None,
) -> Dataset:
    """A data set, opened: its photos are found and their annotations read, no photo is decoded.

    Args:
        source: a path, or `kind:path` with one of the kinds folder, imagenet, voc, coco and list.
            Without a kind, the first of these that holds:
            a .csv, .parquet or .pq file: list;
            a .json file, or annotations that are one, or `annotations/instances_*.json`: coco;
            a folder with JPEGImages: voc;
            photos called ILSVRC2012_val_*, folders called like n01440764, directly or in
            `images`, a folder Annotations, or any annotations given: imagenet;
            anything else: folder.
        annotations: for coco the instances' JSON; for imagenet the folder with the XML files, or a
            list of the photos' classes, or the development kit (see `datasets.ground_truth`).
        split: for voc a list in ImageSets/Main, such as "val"; for coco the <split> in
            `annotations/instances_<split>.json`.

    Raises:
        DatasetError: there is no such data set, or it cannot be read.
        SettingError: an option that its kind has no use for.
        MissingExtra: an optional library that its kind needs.
    """
    text = os.fspath(source)
    extra = None if annotations is None else os.fspath(annotations)
    try:
        return _opened(text, extra, split)
    except OSError as error:  # a name that is too long, a folder that may not be entered
        if isinstance(error, ScorecamError):
            raise
        raise DatasetError(
            f"The data set {excerpt(text, 200)} cannot be read: {error.strerror or error}."
        ) from error


def _opened(text: str, extra: str | None, split: str | None) -> Dataset:
    kind, path = _kind_and_path(text)
    if not path.exists():
        raise _missing(text, path)
    kind = kind or _told(path, extra)
    if path.is_file() and kind not in ("list", "coco"):
        raise _no_folder(path)
    if path.is_dir() and kind == "list":
        raise DatasetError(f"{excerpt(path, 200)} is a folder.", do="Name the CSV or Parquet file.")
    if extra is not None and kind not in ("imagenet", "coco"):
        raise SettingError(f"A data set laid out as {kind} has no use for `annotations`.")
    if split is not None and kind not in ("voc", "coco"):
        raise SettingError(f"A data set laid out as {kind} has no use for `split`.")
    return _KINDS[kind](path, extra, split)


def _coco(path: Path, annotations: str | None, split: str | None) -> Dataset:
    if path.is_dir():
        return open_coco(path, None if annotations is None else Path(annotations), split)
    # The JSON itself: COCO's own lies in a folder `annotations` beside the photos' folder.
    beside = path.parent.parent if path.parent.name == "annotations" else path.parent
    return open_coco(beside, path, split)


_KINDS: dict[str, _Opener] = {
    "folder": lambda path, _, __: open_folder(path),
    "imagenet": lambda path, annotations, _: open_imagenet(path, annotations),
    "voc": lambda path, _, split: open_voc(path, split),
    "coco": _coco,
    "list": lambda path, _, __: open_table(path),
}


def _kind_and_path(text: str) -> tuple[str, Path]:
    kind, colon, rest = text.partition(":")
    if colon and kind in _KINDS:
        return kind, Path(rest)
    return "", Path(text)


def _told(path: Path, annotations: str | None) -> str:
    """The kind of what lies there."""
    if path.is_file():
        kinds = {".csv": "list", ".parquet": "list", ".pq": "list", ".json": "coco"}
        return kinds.get(path.suffix.lower(), "folder")
    listed = annotations is not None and annotations.lower().endswith(".json")
    if listed or next((path / "annotations").glob("instances_*.json"), None):
        return "coco"
    if (path / "JPEGImages").is_dir():
        return "voc"
    if annotations is not None or _like_imagenet(path):
        return "imagenet"
    return "folder"


def _like_imagenet(path: Path) -> bool:
    folders = [path, path / "images"] if (path / "images").is_dir() else [path]
    if any((path / name).is_dir() for name in BESIDE[:2]):
        return True
    names = [entry for folder in folders for entry in _entries(folder)]
    return any(WNID.fullmatch(name) or name.startswith("ILSVRC2012_val_") for name in names)


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise DatasetError(
            f"The folder {excerpt(folder, 200)} cannot be read: {error.strerror or error}."
        ) from error


def _missing(text: str, path: Path) -> DatasetError:
    near = ""
    kind, colon, rest = text.partition(":")
    if colon and len(kind) > 1 and Path(rest).exists():
        near = did_you_mean(kind[:200], _KINDS) or f"The kinds are {', '.join(_KINDS)}."
    elif path.parent.is_dir():
        near = did_you_mean(path.name[:200], _entries(path.parent)[:1_000])
    return DatasetError(
        f"There is no data set {excerpt(text, 200)}.",
        likely="Its name is misspelled, or its path starts from another folder.",
        do=near or f"Paths start from {excerpt(Path.cwd(), 150)}.",
    )


def _no_folder(path: Path) -> DatasetError:
    do = "Name a folder with photos, a CSV or Parquet list, or COCO's JSON file."
    likely = "It is an archive: unpack it first." if _archive(path) else ""
    if is_photo(path.name):
        likely = "It is a single photo; `scorecam explain` takes those."
    return DatasetError(f"{excerpt(path, 200)} is no data set.", likely=likely, do=do)


def _archive(path: Path) -> bool:
    return path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")

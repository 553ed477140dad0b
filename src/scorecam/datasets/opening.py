"""Open a data set of any format."""

from __future__ import annotations

import os
from pathlib import Path

from scorecam.base.wording import excerpt
from scorecam.datasets.formats import FORMATS, Option, find_format
from scorecam.datasets.formats.format import Format
from scorecam.datasets.photos import is_photo_or_array, names_in
from scorecam.datasets.sample import Dataset
from scorecam.errors import DatasetError, ScorecamError, SettingError, did_you_mean

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def open_dataset(
    source: str | os.PathLike[str],
    *,
    annotations: str | os.PathLike[str] | None = None,
    split: str | None = None,
) -> Dataset:
    """Open a data set: find its photos and read their annotations. No photo is decoded.

    Args:
        source: a path, or `format:path` with the name of a format. Without a name, the first of
            these that applies:
            a .csv, .parquet or .pq file: list;
            a .json file, or annotations that are one, or `annotations/instances_*.json`: coco;
            a folder with JPEGImages: voc;
            photos named ILSVRC2012_val_*, folders named like n01440764, directly or in `images`, a
            folder Annotations, or any annotations given: imagenet;
            anything else: folder.
        annotations: for coco the instances' JSON; for imagenet the folder with the XML files, or a
            list of the photos' classes, or the development kit (see
            `scorecam.datasets.formats.ground_truth`).
        split: for voc a list in ImageSets/Main, such as "val"; for coco the <split> in
            `annotations/instances_<split>.json`.

    Raises:
        DatasetError: there is no such data set, or it cannot be read.
        SettingError: the format does not take an option.
        MissingExtra: the format needs an optional library.
    """
    text = os.fspath(source)
    extra = None if annotations is None else os.fspath(annotations)
    try:
        return _opened(text, extra, split)
    except OSError as error:  # a name that is too long, a folder without permission
        if isinstance(error, ScorecamError):
            raise
        raise DatasetError(
            f"The data set {excerpt(text, 200)} cannot be read: {error.strerror or error}."
        ) from error


def _opened(text: str, annotations: str | None, split: str | None) -> Dataset:
    named, path = _format_and_path(text)
    if not path.exists():
        raise _missing(text, path)
    formats = map(find_format, FORMATS)
    chosen = named or next(each for each in formats if each.recognises(path, annotations))
    if path.is_file() and chosen.source == "folder":
        raise _not_a_folder(path)
    if path.is_dir() and chosen.source == "file":
        raise DatasetError(f"{excerpt(path, 200)} is a folder.", do="Name the CSV or Parquet file.")
    if annotations is not None:
        _check_takes(chosen, "annotations")
    if split is not None:
        _check_takes(chosen, "split")
    return chosen.open(path, annotations, split)


def _format_and_path(text: str) -> tuple[Format | None, Path]:
    name, colon, rest = text.partition(":")
    if colon and name in FORMATS:
        return find_format(name), Path(rest)
    return None, Path(text)


def _check_takes(chosen: Format, option: Option) -> None:
    if option not in FORMATS[chosen.name]:
        taking = [name for name, options in FORMATS.items() if option in options]
        raise SettingError(
            f"A data set of the format {chosen.name} takes no `{option}`.",
            do=f"Leave it out, or name a format that takes it: {' or '.join(taking)}.",
        )


def _missing(text: str, path: Path) -> DatasetError:
    hint = ""
    name, colon, rest = text.partition(":")
    if colon and len(name) > 1 and Path(rest).exists():
        hint = did_you_mean(name[:200], FORMATS) or f"The formats are {', '.join(FORMATS)}."
    elif path.parent.is_dir():
        hint = did_you_mean(path.name[:200], names_in(path.parent)[:1_000])
    return DatasetError(
        f"There is no data set {excerpt(text, 200)}.",
        likely="Its name is misspelled, or its path starts from another folder.",
        do=hint or f"Paths start from {excerpt(Path.cwd(), 150)}.",
    )


def _not_a_folder(path: Path) -> DatasetError:
    likely = ""
    if path.suffix.lower() in _ARCHIVES:
        likely = "It is an archive: unpack it first."
    if is_photo_or_array(path.name):
        likely = "It is a single photo; `scorecam explain` takes those."
    return DatasetError(
        f"{excerpt(path, 200)} is not a data set.",
        likely=likely,
        do="Name a folder with photos, a CSV or Parquet list, or COCO's JSON file.",
    )

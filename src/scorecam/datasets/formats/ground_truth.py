"""The classes of flat ImageNet photos, read from a list in one of the common formats.

All lines of a list have the same form, one of these:

* `ILSVRC2012_val_00000001.JPEG n01751748`: a photo and its WordNet id;
* `ILSVRC2012_val_00000001.JPEG 65`: a photo and its index in the usual order, as for Caffe;
* `ILSVRC2012_val_00000001,n01751748 1 2 3 4`: the organisers' solution as a CSV file;
* `n01751748`: the WordNet id of the n-th photo;
* `490`: the number of the n-th photo's class. The organisers' own list has ILSVRC ids, whose order
  is not that of any model; `meta.mat` in the same folder maps them.

Indices are read only from lists that contain 0. Other lists are refused, because they may count
from 1: every class would be off by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scorecam.base.wording import excerpt
from scorecam.datasets.formats.building import Tally
from scorecam.datasets.formats.devkit import read_meta
from scorecam.datasets.photos import is_file
from scorecam.errors import DatasetError
from scorecam.io.reading import Kind, read_text
from scorecam.model.labels import imagenet_wnids

OFFICIAL: Final = "ILSVRC2012_validation_ground_truth.txt"

LIST: Final = Kind("a list of the photos' classes", 2**28, DatasetError)

WNID: Final = re.compile(r"n\d{8}")
_ILSVRC_IDS: Final = ["490", "361", "171"]
"""The first lines of the organisers' list: classes 65, 970 and 230 in the usual order."""


def read_ground_truth(path: Path, photos: Sequence[str], tally: Tally) -> dict[str, str]:
    """The WordNet id of each photo that the list names.

    Args:
        path: the list.
        photos: the names of the flat photos, sorted.

    Raises:
        DatasetError: the list cannot be read, is ambiguous, or is for other photos.
    """
    keys, labels = _columns(path)
    wnids = _wnids(labels, path, named=keys is not None)
    if keys is None:
        if len(wnids) != len(photos):
            raise DatasetError(
                f"The list {excerpt(path, 150)} has {len(wnids):,} lines "
                f"for {len(photos):,} photos.",
                likely="Some photos are missing, or the list is for other photos.",
                do="Use a list that names the photos: a file name and a class in each line.",
            )
        return dict(zip(photos, wnids, strict=True))
    return _matched(keys, wnids, photos, path, tally=tally)


def _columns(path: Path) -> tuple[list[str] | None, list[str]]:
    """The photos that the list names, None if it names none; and the class in each line."""
    lines = read_text(path, LIST, errors="surrogateescape").splitlines()
    rows = [_row(line) for line in lines if line.strip()]
    if rows and rows[0][0].casefold() == "imageid":
        rows = rows[1:]
    if not rows:
        raise DatasetError(f"The list {excerpt(path, 150)} is empty.")
    odd = next((i for i, row in enumerate(rows, 1) if len(row) != len(rows[0])), None)
    if odd is not None:
        raise DatasetError(
            f"Entry {odd:,} of the list {excerpt(path, 150)} is not like the first.",
            do="Write a file name and a class in each line, or a class alone in each.",
        )
    labels = [row[-1] for row in rows]
    return ([row[0] for row in rows] if len(rows[0]) == 2 else None), labels


def _row(line: str) -> list[str]:
    name, comma, rest = line.strip().partition(",")
    if comma:
        return [name.strip(), (rest.split() or [""])[0]]
    return line.strip().rsplit(None, 1)


def _wnids(labels: list[str], path: Path, *, named: bool) -> list[str]:
    if all(WNID.fullmatch(label) for label in labels):
        return labels
    odd = [label for label in labels if not re.fullmatch(r"[0-9]{1,9}", label)]
    if odd:
        raise DatasetError(
            f"The list {excerpt(path, 150)} has the invalid class {excerpt(repr(odd[0]), 60)}.",
            do="Write WordNet ids such as n01440764, or indices, in every line.",
        )
    meta = path.parent / "meta.mat"
    if not named and is_file(meta):
        by_number = read_meta(meta)
    elif not named and labels[:3] == _ILSVRC_IDS:
        raise _ambiguous(
            path, "It contains the organisers' ILSVRC ids, which have their own order."
        )
    elif all(int(label) for label in labels):
        raise _ambiguous(path, "No index in it is 0: it may count from 1, or contain ILSVRC ids.")
    else:
        by_number = dict(enumerate(imagenet_wnids()))
    missing = next((label for label in labels if int(label) not in by_number), None)
    if missing is not None:
        raise DatasetError(
            f"The list {excerpt(path, 150)} has the class {missing}, which is not one of the 1,000."
        )
    return [by_number[int(label)] for label in labels]


def _ambiguous(path: Path, likely: str) -> DatasetError:
    return DatasetError(
        f"The numbers in {excerpt(path, 150)} are ambiguous.",
        likely=likely,
        do="Write WordNet ids instead of numbers, or open a CSV file with the columns path and "
        "label as the data set: its numbers count from 0. For a list of ILSVRC ids, put the "
        "development kit's meta.mat into the same folder.",
    )


def _matched(
    keys: list[str], wnids: list[str], photos: Sequence[str], path: Path, tally: Tally
) -> dict[str, str]:
    """The WordNet ids by photo. Keys may have a folder or not, and a suffix or not."""
    known = {Path(photo).stem: photo for photo in photos} | {photo: photo for photo in photos}
    labels: dict[str, str] = {}
    for key, wnid in zip(keys, wnids, strict=True):
        last = key.replace("\\", "/").rpartition("/")[2]
        photo = known.get(last)
        if photo is None:
            tally["Entries of the list of classes without a photo"] += 1
        elif labels.setdefault(photo, wnid) != wnid:
            raise DatasetError(
                f"The list {excerpt(path, 150)} gives {excerpt(repr(last), 60)} two classes: "
                f"{labels[photo]} and {wnid}.",
                do="Keep the right one.",
            )
    if not labels:
        raise DatasetError(
            f"The list {excerpt(path, 150)} names none of the photos.",
            likely=f"It names {excerpt(repr(keys[0]), 60)}, "
            f"but there is {excerpt(repr(photos[0]), 60)}.",
        )
    return labels

"""A folder with the slices of a DICOM series, as one volume."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from scorecam.base.wording import excerpt
from scorecam.errors import PhotoError
from scorecam.images.arrays import checks
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.formats.dicom_fields import Plane, pixel_spacing, plane
from scorecam.images.arrays.formats.dicom_file import (
    data_set,
    guarded,
    is_dicom,
    read_file,
    with_depth,
)
from scorecam.images.arrays.formats.dicom_order import ordered
from scorecam.images.arrays.formats.dicom_pixels import pixels, size
from scorecam.images.arrays.keys import chosen
from scorecam.io.reading import Kind, refuse

_KIND: Final = Kind("a folder with the files of one DICOM series", checks.LARGEST, PhotoError)

_MOST_FILES: Final = 10_000
_LOOKED_AT: Final = 20
"""Files of a folder that are looked at to find out whether it holds a series."""

_REMARKS: Final = 3
"""How many remarks on single slices are kept."""

_SORTING: Final = (
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "Modality",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PerFrameFunctionalGroupsSequence",
    "PixelSpacing",
    "Rows",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SharedFunctionalGroupsSequence",
)
"""What is read from all files of a folder before the pixels of one series."""


@dataclass(frozen=True, eq=False)
class _Slice:
    """A file of a series.

    Args:
        path: of the file.
        data: its header, without pixels.
        place: where it is in the patient.
    """

    path: Path
    data: Any
    place: Plane | None


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files, by the first few.

    Raises:
        PhotoError: the folder cannot be read.
    """
    return any(map(is_dicom, _files(folder, _LOOKED_AT)))


def _files(folder: Path, most: int) -> list[Path]:
    """The first files of a folder, in any order."""
    try:
        with os.scandir(folder) as entries:
            files = (Path(entry.path) for entry in entries if entry.is_file())
            return list(itertools.islice(files, most))
    except OSError as error:
        refuse(folder, error, _KIND)


def read_series(folder: Path, key: str | None) -> ArrayFile:
    """The slices of a series, as `c d h w`, in the order of their positions.

    Args:
        folder: with the files of one series, or of several.
        key: the number of the series, if there are several.

    Raises:
        MissingExtra: no library that unpacks the pixels is installed.
        PhotoError: a file cannot be read, or the slices are not one volume.
    """
    name = folder.name or str(folder)
    files = sorted(_files(folder, _MOST_FILES + 1))
    if len(files) > _MOST_FILES:
        raise PhotoError(f"{name} holds more than {_MOST_FILES:,} files.", do="Give one series.")
    found = [_header(path) for path in files if is_dicom(path)]
    slices = [part for part in found if part is not None]
    if not slices:
        raise PhotoError(
            f"{name} is a folder without DICOM pictures.",
            do="Give a file, or a folder with the files of one DICOM series.",
        )
    series = _chosen_series(slices, key, name)
    remarks: list[str] = []
    if others := len(files) - len(slices):
        remarks.append(f"{name} also holds files that are not DICOM pictures: {others:,}.")
    if len(series) == 1:
        file = read_file(series[0].path)
        remarks.append(f"{name} holds one slice: {file.name}.")
        return replace(file, remarks=file.remarks + tuple(remarks))
    return guarded(name, lambda: _volume(series, name, remarks))


def _header(path: Path) -> _Slice | None:
    """A file of a folder; None if it holds no picture."""
    data = data_set(path, only=_SORTING)
    if "Rows" not in data or "Columns" not in data:
        return None
    return guarded(path.name, lambda: _Slice(path, data, plane(data)))


def _chosen_series(slices: Sequence[_Slice], key: str | None, name: str) -> list[_Slice]:
    """The slices of one series: the only one, or the one with this number.

    Series that do not have numbers of their own are counted from 1.
    """
    groups: dict[str, list[_Slice]] = {}
    uids = [str(part.data.get("SeriesInstanceUID") or "") for part in slices]
    for uid, part in sorted(zip(uids, slices, strict=True), key=lambda pair: pair[0]):
        groups.setdefault(uid, []).append(part)
    own = [str(parts[0].data.get("SeriesNumber") or "") for parts in groups.values()]
    if len(set(own)) < len(own) or "" in own:
        own = [str(place) for place in range(1, len(own) + 1)]
    by_title = dict(zip(own, groups.values(), strict=True))
    if len(by_title) == 1 and key is None:
        return next(iter(by_title.values()))
    described = "; ".join(
        f"{excerpt(title, 20)}: {len(parts)} × {_title(parts[0])}"
        for title, parts in list(by_title.items())[:4]
    )
    likely = f"They are {described}."
    return by_title[chosen(list(by_title), key, name, likely=likely, noun="series")]


def _title(part: _Slice) -> str:
    text = str(part.data.get("SeriesDescription") or part.data.get("Modality") or "no name")
    return excerpt(text, 30)


def _volume(series: list[_Slice], name: str, remarks: list[str]) -> ArrayFile:
    first = series[0]
    bands, _, rows, columns = size(first.data)
    for part in series:
        if size(part.data) != (bands, 1, rows, columns):
            raise PhotoError(
                f"{first.path.name} and {part.path.name} have different sizes, or several frames, "
                f"so {name} is no volume.",
                likely="One is an overview, or a recording.",
                do="Keep the slices of one volume in the folder, or give one file.",
            )
    checks.check_size((bands, len(series), rows, columns), 0, name)
    order = ordered([part.place for part in series], [part.path.name for part in series], name)
    values = np.empty((bands, len(series), rows, columns), np.float32)
    levels: list[tuple[float, float] | None] = []
    seen: dict[str, None] = {}
    for depth, place in enumerate(order.places):
        path = series[place].path
        found = pixels(data_set(path), path.name)
        values[:, depth] = found.values[:, 0]
        levels.append(found.levels)
        seen |= dict.fromkeys(found.remarks)
    remarks += [f"{name} {remark}." for remark in _few([*seen], order.remarks)]
    if len(set(levels)) > 1:
        remarks.append(f"The slices of {name} have different windows; the middle one is kept.")
    return ArrayFile(
        torch.from_numpy(values),
        name,
        levels=levels[len(levels) // 2],
        spacing=with_depth(order.distance, pixel_spacing(first.data)),
        orientation=first.place.describe(volume=True) if first.place else "",
        remarks=tuple(remarks),
    )


def _few(of_slices: list[str], of_order: Iterable[str]) -> list[str]:
    """The remarks on a volume, without most of those on single slices."""
    further = len(of_slices) - _REMARKS
    more = [f"has slices with {further} other remarks of this kind"] if further > 0 else []
    return [*of_slices[:_REMARKS], *more, *of_order]

"""A DICOM file, or a folder with one DICOM series."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from scorecam.base.process_state import ignore_warnings
from scorecam.base.wording import excerpt, one_line
from scorecam.errors import MissingExtra, PhotoError
from scorecam.images.arrays import checks
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.formats.dicom_fields import Plane, pixel_spacing, plane
from scorecam.images.arrays.formats.dicom_order import ordered
from scorecam.images.arrays.formats.dicom_pixels import Pixels, pixels, size
from scorecam.images.arrays.formats.format import quiet
from scorecam.images.arrays.keys import chosen, refuse_key
from scorecam.images.file_types import DAMAGED
from scorecam.images.memory import memory_limit
from scorecam.io.extras import require
from scorecam.io.reading import Kind, open_file, read_start

_PREFIX: Final = 128
_MARK: Final = b"DICM"

_MOST_FILES: Final = 10_000
_LOOKED_AT: Final = 20
"""Files of a folder that are looked at to find out whether it holds a series."""

_DEFLATED: Final = "1.2.840.10008.1.2.1.99"

_SORTING: Final = (
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "Modality",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelSpacing",
    "Rows",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
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


def begins(head: bytes) -> bool:
    """Whether a file begins as a DICOM file."""
    return head[_PREFIX:].startswith(_MARK)


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files, by the first few."""
    with os.scandir(folder) as entries:
        files = (Path(entry.path) for entry in entries if entry.is_file())
        return any(map(_is_dicom, itertools.islice(files, _LOOKED_AT)))


def read(path: Path, key: str | None) -> ArrayFile:
    """The picture in a file, as `c h w`, or a volume, as `c d h w`, from a file or a folder.

    Slices and frames are put in order by their positions in the patient.

    Args:
        path: of a file, or of a folder with the files of one series.
        key: the number of a series, in a folder with several.

    Raises:
        MissingExtra: pydicom, or a library that unpacks the pixels, is not installed.
        PhotoError: it cannot be read, is too large, or the slices are not one volume.
    """
    require("pydicom", "medical", "read DICOM files")
    quiet("pydicom")
    with ignore_warnings():  # pydicom warns about unusual values
        if path.is_dir():
            return _read_series(path, key)
        refuse_key(path.name, key)
        data = _data_set(path)
        return _guarded(path.name, lambda: _read_file(data, path.name))


def _is_dicom(path: Path) -> bool:
    try:
        return begins(read_start(path, _kind(), _PREFIX + len(_MARK)))
    except PhotoError:
        return False


def _kind() -> Kind:
    return Kind("a DICOM file", memory_limit() // 2, PhotoError)


# ── one file ─────────────────────────────────────────────────────────────────────────────────


def _data_set(path: Path, *, header_only: bool = False) -> Any:
    """The data set of a file."""
    if not begins(read_start(path, _kind(), _PREFIX + len(_MARK))):
        raise PhotoError(
            f"{path.name} does not begin as a DICOM file.",
            likely="It is another kind of file, or lacks the 128 bytes that come first.",
            do="If it is DICOM, read it with pydicom.dcmread(path, force=True), and save it again.",
        )
    return _guarded(path.name, lambda: _parsed(path, header_only))


def _parsed(path: Path, header_only: bool) -> Any:
    reading = require("pydicom.filereader", "medical", "read DICOM files")
    if reading.read_file_meta_info(path).get("TransferSyntaxUID") == _DEFLATED:
        raise PhotoError(
            f"{path.name} is compressed as a whole (the deflated transfer syntax), which is not "
            "read.",
            likely="Unpacking it may take any amount of memory.",
            do="Save it again without compression, for example with dcmconv +te.",
        )
    with open_file(path, _kind()) as file:
        if header_only:
            return reading.dcmread(file, stop_before_pixels=True, specific_tags=list(_SORTING))
        return reading.dcmread(file)


def _read_file(data: Any, name: str) -> ArrayFile:
    found = pixels(data, name)
    frames = found.values.shape[1]
    remarks = [f"{name} {remark}." for remark in found.remarks]
    spacing, place = pixel_spacing(data), plane(data)
    if frames == 1:
        return ArrayFile(
            torch.from_numpy(found.values[:, 0]),
            name,
            levels=found.levels,
            spacing=spacing,
            orientation=place.describe(volume=False) if place else "",
            remarks=tuple(remarks),
        )
    return _read_frames(data, found, name, remarks)


def _read_frames(data: Any, found: Pixels, name: str, remarks: list[str]) -> ArrayFile:
    """A file of several frames: a volume, if each frame states its position."""
    values, frames = found.values, found.values.shape[1]
    planes = [plane(data, frame) for frame in range(frames)]
    positions = {tuple(place.position) for place in planes if place is not None}
    if None in planes or len(positions) == 1:  # a recording in time, or without positions
        remark = f"{name} has {frames} frames, read as slices in their stored order."
        return ArrayFile(
            torch.from_numpy(values), name, levels=found.levels, remarks=(*remarks, remark)
        )
    order = ordered(planes, [f"frame {frame + 1}" for frame in range(frames)], name)
    remarks += [f"{name} {remark}." for remark in order.remarks]
    return ArrayFile(
        torch.from_numpy(values[:, list(order.places)]),
        name,
        levels=found.levels,
        spacing=_with_depth(order.distance, pixel_spacing(data)),
        orientation=planes[0].describe(volume=True) if planes[0] else "",
        remarks=tuple(remarks),
    )


def _with_depth(
    distance: float | None, in_plane: tuple[float, float] | None
) -> tuple[float, ...] | None:
    return None if distance is None or in_plane is None else (distance, *in_plane)


# ── a folder ─────────────────────────────────────────────────────────────────────────────────


def _read_series(folder: Path, key: str | None) -> ArrayFile:
    name = folder.name or str(folder)
    with os.scandir(folder) as entries:
        files = sorted(Path(entry.path) for entry in itertools.islice(entries, _MOST_FILES + 1))
    if len(files) > _MOST_FILES:
        raise PhotoError(f"{name} holds more than {_MOST_FILES:,} files.", do="Give one series.")
    found = [_header(path) for path in files if path.is_file() and _is_dicom(path)]
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
        file = read(series[0].path, None)
        remarks.append(f"{name} holds one slice: {file.name}.")
        return replace(file, remarks=file.remarks + tuple(remarks))
    return _guarded(name, lambda: _volume(series, name, remarks))


def _header(path: Path) -> _Slice | None:
    """A file of a folder; None if it holds no picture."""
    data = _data_set(path, header_only=True)
    if "Rows" not in data or "Columns" not in data:
        return None
    return _guarded(path.name, lambda: _Slice(path, data, plane(data)))


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
        found = pixels(_data_set(path), path.name)
        values[:, depth] = found.values[:, 0]
        levels.append(found.levels)
        seen |= dict.fromkeys(found.remarks)
    remarks += [f"{name} {remark}." for remark in [*seen, *order.remarks][:6]]
    if len(set(levels)) > 1:
        remarks.append(f"The slices of {name} have different windows; the middle one is kept.")
    return ArrayFile(
        torch.from_numpy(values),
        name,
        levels=levels[len(levels) // 2],
        spacing=_with_depth(order.distance, pixel_spacing(first.data)),
        orientation=first.place.describe(volume=True) if first.place else "",
        remarks=tuple(remarks),
    )


# ── errors ───────────────────────────────────────────────────────────────────────────────────


def _guarded(name: str, action: Any) -> Any:
    """The result of reading foreign values, which can raise anything in damaged files."""
    try:
        return action()
    except (PhotoError, MissingExtra):
        raise
    except Exception as error:
        raise _not_read(name, one_line(str(error), 200)) from error


def _not_read(name: str, problem: str) -> PhotoError:
    return PhotoError(
        f"{name} is not a DICOM file that can be read: {problem}.",
        likely=DAMAGED[0],
        do="Copy it again, or export it again.",
    )

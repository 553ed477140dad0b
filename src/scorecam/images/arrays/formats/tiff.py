"""Pictures in TIFF files: of many bands, of more than 8 bits, or of several pages."""

from __future__ import annotations

import importlib.util
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np
import numpy.typing as npt

from scorecam.base.process_state import ignore_warnings
from scorecam.base.wording import one_line
from scorecam.errors import MissingExtra, PhotoError
from scorecam.images import tiff
from scorecam.images.arrays import checks
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.formats.format import quiet
from scorecam.images.arrays.formats.tiff_axes import arranged, upright
from scorecam.images.arrays.keys import refuse_key
from scorecam.images.file_types import DAMAGED, RAW
from scorecam.images.memory import memory_limit
from scorecam.io.extras import require
from scorecam.io.reading import Kind, open_file

T = TypeVar("T")

_KIND: Final = Kind("a TIFF file", checks.LARGEST, PhotoError)

_DEFLATE: Final = (8, 32946)
_BUILT_IN: Final = (1, *_DEFLATE)
"""Compressions that tifffile reads alone within limited memory: none and deflate."""

_EXPANSION: Final = 1032
"""The most bytes that deflate makes of one."""

_WHITE_IS_ZERO, _PALETTE = 0, 3
_PHOTO_BANDS: Final = 4


def begins(head: bytes) -> bool:
    """Whether a file begins as a TIFF file."""
    return head.startswith(tiff.BEGINNINGS)


def only_here(path: Path) -> bool:
    """Whether a photo of 8 bits would leave out something that is not a smaller copy.

    It would if there are more than four bands, several bands of more than 8 bits that are not RGB,
    or several grey pages of one size. One grey page of more than 8 bits stays a photo.
    """
    with open_file(path, _KIND) as file:
        pages = _limited(tiff.pages, file, path.name)
    if not pages or pages[0].raw:
        return False
    first = pages[0]
    alike = [
        page
        for page in pages
        if not page.reduced and (page.width, page.height) == (first.width, first.height)
    ]
    if first.bands > 1:
        return first.bands > _PHOTO_BANDS or (first.bits > 8 and not first.rgb)
    return len(alike) > 1 and first.bits > 1 and not first.palette


def read(path: Path, key: str | None) -> ArrayFile:
    """The first series of pages of a file, as `c h w`, or `c z h w` for slices.

    Bands may be samples of one page, in either order, or grey pages. The first series is read.

    Raises:
        MissingExtra: tifffile is not installed, or imagecodecs is needed for this file.
        PhotoError: the file cannot be read, is too large, or has axes without a rule.
    """
    refuse_key(path.name, key)
    tifffile = require("tifffile", "tiff", "read TIFF files of many bands or bits")
    quiet("tifffile")
    with open_file(path, _KIND) as file, ignore_warnings():
        pages = _limited(tiff.pages, file, path.name)
        if pages and pages[0].raw:
            raise PhotoError(f"{path.name} is a raw file.", likely=RAW[0], do=RAW[1])
        if not _limited(tiff.is_whole, file, path.name):  # tifffile would read the rest
            raise _ends_early(path.name)
        file.seek(0)
        try:
            # A file could name other files as its parts. They are not opened.
            with tifffile.TiffFile(file, name=path.name, _multifile=False) as opened:
                return _read(opened, path.name, os.fstat(file.fileno()).st_size)
        except (PhotoError, MissingExtra):
            raise
        except Exception as error:  # tifffile raises many kinds for damaged files
            if "imagecodecs" in str(error):
                raise _needs_imagecodecs(path.name) from error
            raise PhotoError(
                f"{path.name} cannot be read: {one_line(str(error), 200)}.",
                likely=DAMAGED[0],
                do="Copy it again, or save it again without compression.",
            ) from error


def _limited(action: Callable[[BinaryIO], T], file: BinaryIO, name: str) -> T:
    """What the directories state, if they have a reasonable size."""
    try:
        return action(file)
    except ValueError as error:
        raise PhotoError(
            f"{name} cannot be read: {error}.",
            likely="It is damaged, or designed to exhaust memory.",
            do="Save it again with larger tiles.",
        ) from error


def _read(opened: Any, name: str, size: int) -> ArrayFile:
    series = opened.series[0]
    first = series.keyframe
    if series.dtype is None:
        raise PhotoError(
            f"{name} holds values of a type that cannot be read, of {first.bitspersample} bits.",
            do="Save it again with 8, 16 or 32 bits.",
        )
    if first.photometric == _PALETTE:
        raise PhotoError(
            f"{name} holds numbers of colours in a palette, not brightnesses.",
            do="Read it as a photo, without bands or a window.",
        )
    checks.check_kind(series.dtype, name)
    checks.check_size(series.shape, 2 * series.dtype.itemsize, name)
    _check_segments(series, name, size)
    array, remarks = arranged(series.asarray(maxworkers=1), series.axes, name)
    if len(opened.series) > 1:
        remarks += (f"{name} has {len(opened.series)} series of pages; only the first is read.",)
    if opened.is_ome and series.kind != "ome":
        remarks += (f"{name} may be a part of a set of files; only its own pages are read.",)
    if (turned := first.tags.valueof(274, 1)) != 1:
        array = upright(array, turned)
        remarks += (f"{name} is turned upright by its orientation, {turned}.",)
    levels = _levels(first, array.dtype)
    if first.photometric == _WHITE_IS_ZERO and array.dtype.kind in "bu":
        array, remarks = _inverted(array, first, remarks, name)
    remarks += _missing_data(array, first, name)
    values, rounded = checks.as_float32(array, name)
    return ArrayFile(values, name, levels=levels, remarks=remarks + rounded)


def _check_segments(series: Any, name: str, size: int) -> None:
    """Refuse files that end too early, or that expand without limit."""
    first = series.keyframe
    if first.compression not in _BUILT_IN and not _has_imagecodecs():
        raise _needs_imagecodecs(name)
    if series.dataoffset is not None:
        ends = [series.dataoffset + series.nbytes]
    else:
        if any(page is None for page in series.pages):
            raise PhotoError(
                f"{name} lacks some of its pages.",
                likely="They are in other files, which are not opened.",
                do="Save all pages in one file.",
            )
        segments = [
            segment
            for page in series.pages
            for segment in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
        if first.compression in _DEFLATE:
            _check_expansion(series, segments, name)
        ends = [start + length for start, length in segments]
    if max(ends, default=size + 1) > size:
        raise _ends_early(name)


def _check_expansion(series: Any, segments: list[tuple[int, int]], name: str) -> None:
    """Refuse strips or tiles that unpack to more than a share of the memory."""
    most = memory_limit() // 4
    file = series.parent.filehandle
    for start, length in segments:
        if length * _EXPANSION <= most:
            continue
        file.seek(start)
        unpacker, content, unpacked = zlib.decompressobj(), file.read(length), 0
        while content and unpacked <= most:
            unpacked += len(unpacker.decompress(content, 2**20))
            content = unpacker.unconsumed_tail
        if unpacked > most:
            raise PhotoError(
                f"{name} has a strip or tile that unpacks to more than {most:,} bytes.",
                likely="It is damaged, or designed to exhaust memory.",
                do="Save it again with smaller tiles.",
            )


def _levels(page: Any, dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """Black and white, where the file states them."""
    if (stated := checks.states_levels(dtype)) is not None:
        return stated
    for low_tag, high_tag in ((340, 341), (280, 281)):  # SMinSampleValue, MinSampleValue
        high = _number(page.tags.valueof(high_tag))
        if high is not None:
            low = _number(page.tags.valueof(low_tag)) or 0.0
            if low < high:
                return low, high
    bits = _number(page.bitspersample)
    if dtype.kind == "u" and bits is not None and bits < 8 * dtype.itemsize:
        return 0.0, 2.0**bits - 1
    return None


def _number(value: Any) -> float | None:
    """A tag's value, or the one that all bands share."""
    values = value if isinstance(value, tuple) else (value,)
    if len(set(values)) != 1 or not isinstance(values[0], int | float):
        return None
    return float(values[0])


def _inverted(
    array: npt.NDArray[Any], page: Any, remarks: tuple[str, ...], name: str
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The values of a picture in which 0 is white, so that larger values are brighter."""
    bits = int(_number(page.bitspersample) or 8 * array.dtype.itemsize)
    remark = f"In {name}, 0 is white; its values are subtracted from {2**bits - 1}."
    if array.dtype.kind == "b":
        return ~array, (*remarks, remark)
    return np.subtract(array.dtype.type(2**bits - 1), array), (*remarks, remark)


def _missing_data(array: npt.NDArray[Any], page: Any, name: str) -> tuple[str, ...]:
    """A remark on the values that GDAL marks as missing."""
    text = page.tags.valueof(42113, "")
    try:
        mark = float(text)
    except (TypeError, ValueError):
        return ()
    count = int(np.count_nonzero(array == mark))
    if not count:
        return ()
    return (f"{name} has {count:,} of {array.size:,} values without data, stored as {mark:g}.",)


def _ends_early(name: str) -> PhotoError:
    return PhotoError(f"{name} ends before its last pixel.", likely=DAMAGED[0], do="Copy it again.")


def _has_imagecodecs() -> bool:
    return importlib.util.find_spec("imagecodecs") is not None


def _needs_imagecodecs(name: str) -> MissingExtra:
    return MissingExtra(
        f"imagecodecs is not installed. It is needed to unpack {name}.",
        do="pip install 'scorecam[tiff]'",
    )

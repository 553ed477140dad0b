"""The only place where files of numbers are opened: one row of `FORMATS` for each format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import PhotoError, ScorecamError
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.bands import select_bands
from scorecam.images.arrays.checks import LARGEST
from scorecam.images.arrays.formats import dicom, nifti, npy, npz, tensors, tiff
from scorecam.images.arrays.formats.format import Format
from scorecam.images.file_types import HEAD, PHOTO_BEGINNINGS
from scorecam.images.memory import SETTING, amount, memory_limit
from scorecam.io.arguments import path as checked_path
from scorecam.io.reading import Kind, read_start

Source = str | os.PathLike[str]

_DICOM: Final = Format("DICOM", (".dcm",), dicom.begins, dicom.read)

FORMATS: Final = (
    Format("NumPy array", (".npy",), npy.begins, npy.read),
    Format("NumPy archive", (".npz",), npz.begins, npz.read, names=npz.names),
    Format("safetensors", (".safetensors",), tensors.begins, tensors.read, names=tensors.names),
    _DICOM,  # before TIFF: some scanners begin their files as a TIFF file does, too
    Format("TIFF", (".tif", ".tiff"), tiff.begins, tiff.read, only_here=tiff.only_here),
    Format("NIfTI", (".nii", ".nii.gz"), nifti.begins, nifti.read),
)
"""All formats, with the module that reads each."""

_KIND: Final = Kind("a file of numbers", LARGEST, PhotoError)


def is_array_file(source: object) -> bool:
    """Whether a file holds numbers that cannot be read as a photo without a loss.

    The first bytes decide, then the suffix. Any photo is False, and so is a file that does not
    exist. A TIFF file is True if it has more than four bands, several bands of more than 8 bits
    that are not RGB, or several grey pages of one size; `read_array` reads other TIFF files too. In
    `file.npz:name`, `name` is a key.
    """
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        return False
    try:
        path, _ = split_key(source)
        found = _format(path)
        return found is not None and found.only_here(path)
    except (OSError, ValueError, ScorecamError):
        return False


def read_array(
    source: Source, *, key: str | None = None, bands: Sequence[int] | None = None
) -> ArrayFile:
    """The numbers in a file.

    Args:
        source: a path, or a path with a key, such as `file.npz:name`.
        key: which array of a file that holds several.
        bands: the bands to keep, in this order; the first is 1, as in GDAL and rasterio.

    Raises:
        PhotoError: the file cannot be read, is not a file of numbers, needs more memory than the
            limit (1 GiB, or the value of SCORECAM_PHOTO_MEMORY), or does not have the key or bands.
        MissingExtra: the library for its format is not installed.
        SettingError: `bands` is not a list of whole numbers from 1 on, or SCORECAM_PHOTO_MEMORY is
            not an amount of memory.
    """
    path, own_key = split_key(checked_path("source", source, PhotoError))
    if key is not None and own_key is not None:
        raise PhotoError(
            f"The path ends with the key {quoted(own_key)}, and key={quoted(key)}.",
            do="Give one of them.",
        )
    found = _format(path)
    if found is None:
        what = "a folder without DICOM files" if path.is_dir() else "not a file of numbers"
        raise PhotoError(
            f"{path} is {what}.",
            do=f"Give one of these: {', '.join(form.name for form in FORMATS)}.",
        )
    file = found.read(path, own_key if key is None else key)
    return file if bands is None else select_bands(file, bands)


def read_inputs(source: Source) -> dict[str, Tensor] | None:
    """Every array of a file that holds several, by name; None for one array, or with a key.

    They are the inputs of a network that takes several. Floating-point numbers become float32, and
    whole numbers int64.

    Raises:
        PhotoError: as for `read_array`.
    """
    path, key = split_key(source)
    found = None if key is not None else _format(path)
    names = [] if found is None else found.names(path)
    if found is None or len(names) < 2:
        return None
    inputs: dict[str, Tensor] = {}
    for name in names:
        file = found.read(path, name)
        inputs[name] = file.values.long() if file.whole else file.values
        if sum(values.nbytes for values in inputs.values()) > memory_limit():
            raise PhotoError(
                f"The arrays in {path.name} take more than {amount(memory_limit())} of memory.",
                do=f"Save only the inputs of the network, or set {SETTING}.",
            )
    return inputs


def split_key(source: Source) -> tuple[Path, str | None]:
    """The path and the key in `path:key`; a colon in the name of an existing file is no key."""
    text = os.fspath(source)
    whole = Path(text)
    if ":" not in text or os.path.lexists(whole):
        return whole, None
    for place in (place for place, letter in enumerate(text) if letter == ":"):
        if os.path.lexists(text[:place]):
            return Path(text[:place]), text[place + 1 :]
    return whole, None


def _format(path: Path) -> Format | None:
    """The format of a file, by its first bytes and its suffix; folders may be DICOM series.

    Raises:
        PhotoError: there is no such file, it is empty, or it cannot be read.
    """
    if path.is_dir():
        return _DICOM if dicom.is_series(path) else None
    head = read_start(path, _KIND, HEAD)
    if not head:
        raise PhotoError(f"{path} is empty.", do="Download or copy it again.")
    for form in FORMATS:
        if form.begins(head):
            return form
    if head.lower().startswith(PHOTO_BEGINNINGS):
        return None
    return next((form for form in FORMATS if form.has_suffix(path.name)), None)

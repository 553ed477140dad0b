"""The photos in a folder and their sizes; no photo is decoded."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NoReturn

from scorecam.base.wording import excerpt
from scorecam.errors import DatasetError, PhotoError
from scorecam.images.opening import PHOTO_FORMATS, ImageKind, open_image, orientation

Size = tuple[int, int]
"""(width, height) in pixels, as in Pillow."""

_KINDS = "avif bmp gif jfif jp2 jpe jpeg jpg pgm png ppm tif tiff webp"
SUFFIXES: Final = frozenset(f".{kind}" for kind in _KINDS.split())
"""The file suffixes of photos, in lower case."""

_PHOTO = ImageKind("a photo", PHOTO_FORMATS, PhotoError)


def is_photo(name: str) -> bool:
    """Whether a file is named like a photo."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122  50,000 Paths are slow


def is_photo_or_array(name: str) -> bool:
    """Whether a file is named like a photo, or like a file of numbers."""
    return is_photo(name) or name.lower().endswith(_array_suffixes())


@functools.cache
def _array_suffixes() -> tuple[str, ...]:
    from scorecam.images.arrays.opening import FORMATS  # most data sets have photos only

    return tuple(suffix for form in FORMATS for suffix in form.suffixes)


def photos_under(
    root: Path, skip: Collection[str] = (), wanted: Callable[[str], bool] = is_photo
) -> list[str]:
    """The photos in a folder and its subfolders: paths relative to it, with slashes, sorted.

    Hidden files and folders are skipped, and so are the folders named in `skip` directly in `root`.
    Links are followed, but no folder is entered twice.

    Args:
        wanted: whether a file with this name counts.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    waiting = [(os.fspath(root), "")]  # os.walk is recursive, and folders may be nested too deeply
    while waiting:
        folder, prefix = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116  a Path for each folder is slow
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            inner, photos = _entries(folder, () if prefix else skip, wanted)
        except OSError as error:
            _raise_unreadable(error)
        found += [prefix + name for name in photos]
        waiting += [
            (os.path.join(folder, name), f"{prefix}{name}/")  # noqa: PTH118
            for name in reversed(inner)
        ]
    return sorted(found)


def _entries(
    folder: str, skip: Collection[str], wanted: Callable[[str], bool]
) -> tuple[list[str], list[str]]:
    """The folders in a folder, sorted, and the photos in it."""
    folders: list[str] = []
    photos: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            if _is_folder(entry):
                if name not in skip:
                    folders.append(name)
            elif wanted(name):
                photos.append(name)
    return sorted(folders), photos


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def names_in(folder: Path) -> list[str]:
    """The names of everything in a folder.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise DatasetError(
            f"The folder {excerpt(folder, 200)} cannot be read: {error.strerror or error}."
        ) from error


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False for names that no file can have."""
    try:
        return path.is_file()
    except OSError:  # too long, or in a folder without permission
        return False


def check_name(name: str, *, anywhere: bool = False) -> None:
    """Check a path from a data file: it must be a valid file name inside the data set's folder.

    Args:
        anywhere: whether the path may be outside the folder.

    Raises:
        ValueError: the path is not valid.
    """
    if 0 < len(name) <= 255 and not _ODD.search(name):
        return
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        encoded = b"\0"
    slashes = name.replace("\\", "/") if os.name == "nt" else name
    if not name.strip() or b"\0" in encoded:
        raise ValueError(f"{excerpt(repr(name))} is not a valid file name")
    if len(encoded) > _LONGEST or any(len(os.fsencode(part)) > 255 for part in slashes.split("/")):
        raise ValueError("the file name is too long")
    if not anywhere and (os.path.isabs(name) or ".." in slashes.split("/")):  # noqa: PTH117
        raise ValueError("the file is outside the data set's folder")


def nowhere(root: Path, name: str) -> Path:
    """A path at which there is no file, for a photo with an invalid name."""
    return root / f".unusable-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


_ODD = re.compile(r"\A[\s/]|\.\.|[^ -~]|[\\:]")
"""Matches names that need a closer check."""

_LONGEST = 4096
"""The most bytes of a path."""


def upright_size(path: Path) -> Size:
    """The size of the upright photo, read from its header.

    Raises:
        PhotoError: the header cannot be read.
    """
    try:
        with open_image(path, _PHOTO, excerpt(path.name)) as opened:
            # Some versions of Pillow give the upright size of a TIFF, others the stored size.
            stored = [(page.width, page.height) for page in opened.pages[:1]]
            width, height = stored[0] if stored else opened.image.size
            rotated = orientation(opened.image) in range(5, 9)
            return (height, width) if rotated else (width, height)
    except PhotoError as error:
        raise PhotoError(
            f"The size of {excerpt(path, 150)} cannot be read: {excerpt(error.what, 200)}",
            likely=error.likely or "The file is missing or damaged, or it is not a photo.",
            do=error.do,
        ) from error


def _raise_unreadable(error: OSError) -> NoReturn:
    raise DatasetError(
        f"The folder {excerpt(error.filename, 200)} cannot be read: {error.strerror or error}.",
        likely="You do not have permission.",
        do="Change its permissions, or copy the photos to your own folder.",
    ) from error

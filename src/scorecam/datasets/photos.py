"""The photos in a folder, and how large they are, without decoding any."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final, NoReturn

from scorecam.base.wording import excerpt
from scorecam.errors import DatasetError, PhotoError
from scorecam.images.opening import PHOTO_FORMATS, ImageKind, open_image, orientation

Size = tuple[int, int]
"""(width, height) in pixels, as in Pillow."""

_KINDS = "avif bmp gif jfif jp2 jpe jpeg jpg pgm png ppm tif tiff webp"
SUFFIXES: Final = frozenset(f".{kind}" for kind in _KINDS.split())
"""How the names of photos end, in lower case."""

_PHOTO = ImageKind("a photo", PHOTO_FORMATS, PhotoError)


def photos_under(root: Path, skip: Collection[str] = ()) -> list[str]:
    """The photos in a folder and the folders in it: paths relative to it, with slashes, sorted.

    Hidden files and folders are passed over, and the folders directly in `root` that `skip` names.
    Links are followed, but no folder is entered twice.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    waiting = [(os.fspath(root), "")]  # os.walk calls itself, and folders may be nested too deeply
    while waiting:
        folder, prefix = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116  a Path for each folder is slow
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            inner, photos = _entries(folder, () if prefix else skip)
        except OSError as error:
            _refuse(error)
        found += [prefix + name for name in photos]
        waiting += [
            (os.path.join(folder, name), f"{prefix}{name}/")  # noqa: PTH118
            for name in reversed(inner)
        ]
    return sorted(found)


def _entries(folder: str, skip: Collection[str]) -> tuple[list[str], list[str]]:
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
            elif is_photo(name):
                photos.append(name)
    return sorted(folders), photos


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_photo(name: str) -> bool:
    """Whether a file's name ends as those of photos do."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122  50,000 Paths are slow


def is_file(path: Path) -> bool:
    """Whether a regular file is there; False for names that no file can have."""
    try:
        return path.is_file()
    except OSError:  # too long, or in a folder that may not be entered
        return False


def check_name(name: str, *, anywhere: bool = False) -> None:
    """That a path which a data file names can be a file's, and stays in the data set's folder.

    Args:
        anywhere: whether it may leave the folder.

    Raises:
        ValueError: it cannot, or leaves it.
    """
    if 0 < len(name) <= 255 and not _ODD.search(name):
        return
    try:
        written = os.fsencode(name)
    except UnicodeEncodeError:
        written = b"\0"
    slashes = name.replace("\\", "/") if os.name == "nt" else name
    if not name.strip() or b"\0" in written:
        raise ValueError(f"no file can be called {excerpt(repr(name))}")
    if len(written) > _LONGEST or any(len(os.fsencode(part)) > 255 for part in slashes.split("/")):
        raise ValueError("the name of its file is too long")
    if not anywhere and (os.path.isabs(name) or ".." in slashes.split("/")):  # noqa: PTH117
        raise ValueError("its file is not in the data set's folder")


def nowhere(root: Path, name: str) -> Path:
    """A path without a file, for a photo whose name cannot be used."""
    return root / f".unusable-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


_ODD = re.compile(r"\A[\s/]|\.\.|[^ -~]|[\\:]")
"""What most names do not have, and takes a closer look."""

_LONGEST = 4096
"""Bytes of a path."""


def upright_size(path: Path) -> Size:
    """The size of the photo once it is turned upright, from its header.

    Raises:
        PhotoError: the header cannot be read.
    """
    try:
        with open_image(path, _PHOTO, excerpt(path.name)) as found:
            # Pillow gives the size of a TIFF as if it were upright, depending on its version.
            stored = [(page.width, page.height) for page in found.pages[:1]]
            width, height = stored[0] if stored else found.image.size
            lies = orientation(found.image) in range(5, 9)
            return (height, width) if lies else (width, height)
    except PhotoError as error:
        raise PhotoError(
            f"The size of {excerpt(path, 150)} cannot be read: {excerpt(error.what, 200)}",
            likely=error.likely or "The file is missing, damaged, or no photo.",
            do=error.do,
        ) from error


def _refuse(error: OSError) -> NoReturn:
    raise DatasetError(
        f"The folder {excerpt(error.filename, 200)} cannot be read: {error.strerror or error}.",
        likely="It belongs to someone else.",
        do="Change its permissions, or copy the photos to a folder of your own.",
    ) from error
